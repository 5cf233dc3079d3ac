"""The streams of TRex: what `add_stream` asks for, and what a multiplier makes of it.

A frame is what is given and 4 bytes of FCS, at least 64. Rates of streams that measure latency stay as they are,
whatever the multiplier. Not simulated, and refused when it is added: bursts that repeat, streams that follow each
other, gaps before a stream, instructions that change a frame's size.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .port import Port
from .trex_rpc import PARAMETERS, Params, Refused, refused

MULTIPLIERS = ("raw", "bps", "bpsl1", "pps", "percentage")
_INSTRUCTIONS = (
    *("fix_checksum_hw", "fix_checksum_ipv4", "fix_checksum_icmpv6", "flow_var", "write_flow_var", "tuple_flow_var"),
    *("trim_pkt_size", "write_mask_flow_var", "flow_var_rand_limit"),
)
_RATES = ("pps", "bps_L1", "bps_L2", "percentage")
_SHORTEST, _LONGEST = 14, 9 * 1024 + 22
"""Bytes of a packet that is taken, without FCS."""
_LEAST = 60
_FCS = 4
_ROOM = 1.0001
"""By how much a rate may be above the line's."""


@dataclass(frozen=True)
class StreamSettings:
    """One stream. rate: frames/s at factor 1; packets: of a burst, None = continuous; group: its packet group id."""

    number: int
    size: int
    rate: Fraction
    packets: int | None
    enabled: bool
    group: int | None
    latency: bool
    text: dict[str, Any]

    def frame_rate(self, factor: Fraction) -> Fraction:
        """Return frames/s at a factor."""
        return self.rate if self.latency else self.rate * factor

    def bits(self, factor: Fraction, gap: int) -> Fraction:
        """Return bit/s at a factor, `gap` bytes counted between frames."""
        return self.frame_rate(factor) * 8 * (self.size + gap)


def parse_stream(number: int, asked: Params, port: Port, cores: int) -> StreamSettings:
    """Return a stream as `add_stream` gives it; raises Refused."""
    mode = asked.object("mode")
    packets = _packets(mode)
    pps = _rate(mode.object("rate"))
    enabled, self_start = asked.flag("enabled"), asked.flag("self_start")
    paused = asked.flag("start_paused", False)
    flags, actions = asked.integer("flags"), asked.unsigned("action_count")
    gap, following = asked.number("isg", positive=True), asked.integer("next_stream_id")
    core = asked.integer("core_id", -1)
    if core >= cores:
        one = "There is only one core, hence core ID must be 0."
        more = f"Core ID is: {core}. It must be an integer between 0 and {cores - 1} (inclusive)."
        raise refused(one if cores == 1 else more)
    size = _size(asked.object("packet"))
    _check_instructions(asked.object("vm"))
    group, latency = _group(asked.object("flow_stats"), core)
    unsimulated = {
        "start_paused": paused,
        "flags": flags & 8,
        "action_count": actions,
        "isg": gap,
        "next_stream_id": following >= 0,
        "self_start": not self_start,
    }
    for name, asks in unsimulated.items():
        if asks:
            raise refused(f"{name} = {asked.value[name]} is not simulated")
    rate = {
        "pps": lambda value: Fraction(value),
        "bps_L1": lambda value: Fraction(value) / (8 * (size + port.gap)),
        "bps_L2": lambda value: Fraction(value) / (8 * size),
        "percentage": lambda value: Fraction(value) / 100 * port.line_rate / (8 * (size + port.gap)),
    }[pps[0]](pps[1])
    return StreamSettings(number, size, rate, packets, enabled, group, latency, dict(asked.value))


def _packets(mode: Params) -> int | None:
    kind = mode.string("type")
    if kind == "continuous":
        return None
    if kind == "single_burst":
        packets = mode.unsigned("total_pkts")
        if packets == 0:
            raise Refused(PARAMETERS, "single_burst: 'total_pkts' cannot be zero.")
        return packets
    if kind == "multi_burst":
        mode.number("ibg", positive=True)
        mode.unsigned("count")
        if mode.unsigned("pkts_per_burst") == 0:
            raise Refused(PARAMETERS, "multi_burst: 'pkts_per_burst' cannot be zero.")
        raise refused("multi_burst is not simulated")
    raise Refused(PARAMETERS, f"bad stream type provided: '{kind}'")


def _rate(rate: Params) -> tuple[str, float]:
    value = rate.number("value", positive=True)
    return rate.choice("type", _RATES), value


def _size(packet: Params) -> int:
    try:
        binary = base64.b64decode(packet.string("binary"), validate=True)
    except (binascii.Error, ValueError):
        binary = b""
    if not _SHORTEST <= len(binary) <= _LONGEST:
        raise refused(f"Bad packet size provided: {len(binary)}. Should be between {_SHORTEST} and {_LONGEST}")
    packet.string("meta")
    return max(len(binary), _LEAST) + _FCS


def _check_instructions(machine: Params) -> None:
    for instruction in machine.array("instructions"):
        if Params(instruction).choice("type", _INSTRUCTIONS) == "trim_pkt_size":
            raise refused("trim_pkt_size is not simulated")


def _group(asked: Params, core: int) -> tuple[int | None, bool]:
    if not asked.flag("enabled"):
        return None, False
    group = asked.unsigned("stream_id")
    if asked.flag("ieee_1588", False):
        raise refused("Driver doesn't support IEEE-1588.")
    kind = asked.string("rule_type")
    if kind == "tpg":
        raise refused("tagged packet groups are not simulated")
    if kind != "stats" and core >= 0:
        raise refused("Core ID pinning is not supported for sequenced streams.")
    return group, kind == "latency"


def factor_of(kind: str, value: float, streams: Sequence[StreamSettings], port: Port, force: bool) -> Fraction:
    """Return the factor that a multiplier stands for; raises Refused where the port's line has no room for it."""
    one = Fraction(value)
    gap = port.gap
    if kind == "raw":
        factor = one
    elif kind == "pps":
        factor = _share(one, streams, lambda stream: stream.rate)
    elif kind == "bps":
        factor = _share(one, streams, lambda stream: stream.rate * 8 * stream.size)
    else:
        wanted = one if kind == "bpsl1" else one / 100 * port.line_rate
        factor = _share(wanted, streams, lambda stream: stream.rate * 8 * (stream.size + gap))
    bits = sum((stream.bits(factor, gap) for stream in streams if stream.enabled), Fraction(0))
    if bits <= 0:
        raise refused(
            "Effective bandwidth is zero, this means that your dpdk driver does not know the link throughput "
            f"(virtual), please use absolute bandwidth  {float(bits):g}"
        )
    if factor <= 0:
        raise refused(f"Factor must be positive, got: {float(factor):g}")
    if not force and bits / port.line_rate > _ROOM:
        expected, line = (f"'{float(rate) / 1e9:g} Gbps'" for rate in (bits, port.line_rate))
        raise refused(f"Expected L1 B/W: {expected} exceeds port line rate: {line}")
    return factor


def _share(wanted: Fraction, streams: Iterable[StreamSettings], of: Any) -> Fraction:
    """Return the factor at which all streams together come to what is wanted, those of fixed rate included."""
    enabled = [stream for stream in streams if stream.enabled]
    fixed = sum((of(stream) for stream in enabled if stream.latency), Fraction(0))
    moving = sum((of(stream) for stream in enabled if not stream.latency), Fraction(0))
    return (wanted - fixed) / moving if moving else Fraction(1)
