"""A stream of a simulated Xena port: its settings (PS_), and as it leaves.

Bursts, modifiers, headers and payloads are kept and change no count: frames leave evenly. Not simulated, and
refused with NOTSUPPORTED: packet length MIX, frames without FCS.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from .port import Port, Stream
from .xena_commands import CODED, Refused

Values = list[Any]

_STREAM_DEFAULTS: dict[str, Values] = {
    "PS_ENABLE": [0],
    "PS_PACKETLIMIT": [-1],
    "PS_COMMENT": [""],
    "PS_TPLDID": [-1],
    "PS_INSERTFCS": [1],
    "PS_BURST": [-1, 100],
    "PS_BURSTGAP": [0, 0],
    "PS_PACKETHEADER": [bytes(12) + b"\xff\xff"],
    "PS_HEADERPROTOCOL": [1],
    "PS_MODIFIERCOUNT": [0],
    "PS_PACKETLENGTH": [0, 64, 64],
    "PS_PAYLOAD": [0, b"\0"],
}
RATES = ("PS_RATEFRACTION", "PS_RATEPPS", "PS_RATEL2BPS")
"""The three forms of a stream's rate: only the one that was set last can be read."""
_TEST_PAYLOAD = 20
"""Bytes of the NORMAL test payload, with sequence number and time stamp."""
_FCS = 4
_MOST_TEST_PAYLOAD = 2015


class Transmitted(Stream):
    """A stream as it leaves. index, tpld: its sub-index and test payload id; mode: latency mode of its port."""

    index = -1
    tpld = -1
    mode = 0


class StreamSettings:
    """One stream of a port. rate: the command that set it last, and its value: only that form can be read."""

    def __init__(self) -> None:
        self.values = {name: list(values) for name, values in _STREAM_DEFAULTS.items()}
        self.rate: tuple[str, int] = ("PS_RATEFRACTION", 0)

    def sizes(self) -> tuple[int, ...]:
        """Return the bytes of its frames, in their order."""
        kind, least, most = self.values["PS_PACKETLENGTH"]
        if kind == CODED["LENGTH"]["FIXED"]:
            return (least,)
        upwards = list(range(least, most + 1))
        if kind == CODED["LENGTH"]["BUTTERFLY"]:
            downwards = upwards[::-1]
            pairs = [size for pair in zip(upwards, downwards, strict=True) for size in pair]
            return tuple(pairs[: len(upwards)])
        if kind == CODED["LENGTH"]["RANDOM"]:
            random.Random(least).shuffle(upwards)
        return tuple(upwards)

    def cannot_be_built(self) -> bool:
        """True if header, test payload and FCS do not fit its frames."""
        test_payload = _TEST_PAYLOAD if self.values["PS_TPLDID"][0] >= 0 else 0
        return len(self.values["PS_PACKETHEADER"][0]) + test_payload + _FCS > min(self.sizes())

    def give(self, name: str, values: Values, port: Port) -> None:
        """Carry out a setting; raises Refused."""
        if name == "PS_PACKETLENGTH":
            kind, least, most = values
            if kind == CODED["LENGTH"]["MIX"]:
                raise Refused("NOTSUPPORTED")
            if not port.options.least_frame <= least <= most <= port.options.largest_frame:
                raise Refused("BADVALUE")
        elif name == "PS_TPLDID" and not -1 <= values[0] <= _MOST_TEST_PAYLOAD:
            raise Refused("BADVALUE")
        elif name == "PS_INSERTFCS" and not values[0]:
            raise Refused("NOTSUPPORTED")
        self.values[name] = values

    def frame_rate(self, port: Port, rate: tuple[str, int] | None = None) -> Fraction:
        """Return frames/s."""
        form, value = rate or self.rate
        if form == "PS_RATEFRACTION":
            return port.frame_rate(self.sizes(), fraction=Fraction(value, 10**6))
        if form == "PS_RATEL2BPS":
            return port.frame_rate(self.sizes(), bits=Fraction(value), layer="L2")
        return Fraction(value)

    def share(self, port: Port, rate: tuple[str, int] | None = None) -> Fraction:
        """Return the part of the port's rate that it takes, gaps included."""
        return self.frame_rate(port, rate) / port.frame_rate(self.sizes(), fraction=1)
