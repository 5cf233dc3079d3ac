"""Measuring cycles of a ZES LMG600 as they stand on the wire, in SHORT, and the readings that they are.

Source: a public program that drives an LMG670 (lmgtools), and a log of one: time stamp, length, values of each channel.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aicalib_hw.errors import ProtocolError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import ElementReading, PowerSettings
from aicalib_hw.readings import Reading, Status, Window
from aicalib_hw.scpi.codec import measured, parse_number

from . import _evaluation

QUANTITIES = {"utrms": "V", "itrms": "A", "p": "W", "s": "VA", "q": "var", "pf": "1", "fcyc": "Hz"}


@dataclass(frozen=True, slots=True)
class Cycle:
    """One measuring cycle as it stands on the wire: the instrument's own time, its length, values of each channel."""

    stamp: str
    length: float
    texts: tuple[str, ...]


def parse(line: str, channels: int, address: str) -> Cycle:
    """Return the cycle that a line shows; raises ProtocolError."""
    texts = tuple(text.strip() for text in line.split(";"))
    if len(texts) != 2 + channels * len(QUANTITIES):
        raise ProtocolError(
            f"{line!r} is no cycle of {channels} channels",
            where=address,
            advice="read again: the stream begins anew",
        )
    stamp, length = texts[0], parse_number(texts[1])
    if not length > 0:
        raise ProtocolError(f"a cycle of {texts[1]} s is none", where=address)
    return Cycle(stamp, length, texts[2:])


def element(
    place: int,
    texts: Sequence[str],
    in_force: PowerSettings,
    window: Window,
    extra: Status,
    channel: int,
    source: Identity,
) -> ElementReading:
    """Return the readings of one channel from its texts. place: among the channels that are measured, from 0."""
    full: dict[str, float] = {}
    if in_force.voltage_range:
        full = {"utrms": in_force.voltage_range[place], "itrms": in_force.current_range[place]}
    if any(text.startswith("-") for text in texts[:2]):
        extra |= Status.INVALID  # no true rms value is negative: the instrument shows nonsense
    found: dict[str, Reading] = {}
    for (quantity, unit), text in zip(QUANTITIES.items(), texts, strict=True):
        value, status = measured(text)
        found[quantity] = Reading(
            value,
            unit,
            status | extra,
            window,
            source,
            f"{quantity}{channel}",
            full.get(quantity),
            None if value is None else _evaluation.last_digit(text),
            text,
        )
    return ElementReading(*(found[quantity] for quantity in QUANTITIES))


def total(elements: Sequence[ElementReading], window: Window, source: Identity) -> ElementReading:
    """What the host makes of several channels: powers add up with their sign, voltage and current are means."""

    def of_all(name: str, unit: str, form: Any) -> Reading:
        parts = [getattr(element, name) for element in elements]
        status = Status.VALID
        for part in parts:
            status |= part.status
        value = None if any(part.value is None for part in parts) else float(form(part.value for part in parts))
        raw = ";".join(part.raw for part in parts)
        return Reading(value, unit, status, window, source, f"{name} of all channels, by the host", raw=raw)

    return ElementReading(
        voltage=of_all("voltage", "V", statistics.fmean),
        current=of_all("current", "A", statistics.fmean),
        active_power=of_all("active_power", "W", sum),
    )


def moment(stamp: str) -> datetime:
    """Return `2015:01:21D17:20:55.437817000+0000` as a time, to the microsecond; raises ProtocolError."""
    date, _, rest = stamp.partition("D")
    clock, zone = rest[:15], rest[-5:]
    try:
        return datetime.strptime(f"{date} {clock} {zone}", "%Y:%m:%d %H:%M:%S.%f %z")
    except ValueError:
        raise ProtocolError(f"{stamp!r} is no time stamp") from None
