"""What goes to an Open Traffic Generator as JSON, and what comes back (model 1.x).

64-bit integers travel as text; fields that a controller lacks are absent, which is not 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aicalib_hw import rates
from aicalib_hw.errors import OutOfRange, ProtocolError
from aicalib_hw.interfaces import Latency, PortCounters, Rate, Stream

SPEEDS = {speed * 1e9: f"speed_{speed}_gbps" for speed in (1, 10, 25, 40, 50, 100, 200, 400, 800)}
"""bit/s → name of the speed."""

LATENCY_MODES = ("store_forward", "cut_through")
_MOST_PACKETS = 2**32 - 1
_NS = 1e-9


def config(
    ports: Mapping[str, str], speed: float | None, streams: Sequence[Mapping[str, Any]], mark: str, *, force: bool
) -> dict[str, Any]:
    """Return a whole configuration: ports by name and location, their speed in bit/s, flows; `mark` tells whose."""
    layer_1: dict[str, Any] = {"name": mark, "port_names": list(ports)}
    if speed is not None:
        layer_1["speed"] = SPEEDS[speed]
    return {
        "ports": [{"name": name, "location": location} for name, location in ports.items()],
        "layer1": [layer_1],
        "flows": list(streams),
        "options": {"port_options": {"location_preemption": force}},
    }


def flow(stream: Stream, *, gap: float) -> dict[str, Any]:
    """Return a flow of one frame size that runs until it is stopped; raises OutOfRange for what cannot be asked."""
    made: dict[str, Any] = {
        "name": stream.name,
        "tx_rx": {"choice": "port", "port": {"tx_name": stream.tx, "rx_names": [stream.rx]}},
        "size": {"choice": "fixed", "fixed": stream.frame_size},
        "rate": _rate(stream, gap),
        "duration": {"choice": "continuous"},
        "metrics": {"enable": True, "timestamps": True},
    }
    if stream.headers:
        made["packet"] = [{"choice": "custom", "custom": {"bytes": stream.headers}}]
    if stream.latency_mode is not None:
        made["metrics"]["latency"] = {"enable": True, "mode": stream.latency_mode}
    return made


def _rate(stream: Stream, gap: float) -> dict[str, Any]:
    """Frames/s or a share of the line: bit rates of the model do not say which layer they are of."""
    if isinstance(stream.load, Rate):
        frames = rates.frames_per_second(stream.load.value, stream.load.layer, rates.Frame(stream.frame_size, gap=gap))
        if not 1 <= frames < 2**64:
            raise OutOfRange(f"{frames:g} frames/s cannot be asked for", why="1 at the least")
        return {"choice": "pps", "pps": str(round(frames))}
    return {"choice": "percentage", "percentage": 100 * stream.load}


def gated(flow: Mapping[str, Any], kind: str, amount: float) -> dict[str, Any]:
    """Return the flow bounded by the tester's own gate: seconds, or packets (a 32-bit number)."""
    if kind == "packets":
        if not 2 <= amount <= _MOST_PACKETS or amount != int(amount):
            raise OutOfRange(f"{amount:g} frames cannot be a gate", why=f"whole, 2 to {_MOST_PACKETS}")
        duration = {"choice": "fixed_packets", "fixed_packets": {"packets": int(amount)}}
    else:
        if not amount > 0:
            raise OutOfRange(f"a gate of {amount:g} s is none")
        duration = {"choice": "fixed_seconds", "fixed_seconds": {"seconds": amount}}
    return {**flow, "duration": duration}


def integer(entry: Mapping[str, Any], name: str) -> int | None:
    """Return a 64-bit integer, which travels as text; None where the field is absent."""
    value = entry.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ProtocolError(f"{name} is {value!r} and no whole number") from None


def number(entry: Mapping[str, Any], name: str) -> float | None:
    """Return a number; None where the field is absent."""
    value = entry.get(name)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ProtocolError(f"{name} is {value!r} and no number") from None


def counters(entry: Mapping[str, Any]) -> PortCounters:
    """Return the counts of one port or flow; what the controller leaves out stays None."""
    sent, received = integer(entry, "frames_tx"), integer(entry, "frames_rx")
    return PortCounters(
        tx_frames=sent,
        tx_bytes=integer(entry, "bytes_tx"),
        rx_frames=received,
        rx_bytes=integer(entry, "bytes_rx"),
        latency=_latency(entry.get("latency")),
        tx_rate=_layer_1(entry, "tx_l1_rate_bps"),
        rx_rate=_layer_1(entry, "rx_l1_rate_bps"),
    )


def _layer_1(entry: Mapping[str, Any], name: str) -> Rate | None:
    value = number(entry, name)
    return None if value is None else Rate(value, "L1")


def _latency(entry: Any) -> Latency | None:
    if not isinstance(entry, Mapping):
        return None
    found = [number(entry, f"{which}_ns") for which in ("minimum", "average", "maximum")]
    if any(one is None for one in found):
        return None
    least, mean, greatest = (float(one or 0.0) * _NS for one in found)
    return Latency(least, mean, greatest)


def span(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the time from the first to the last frame received, s, and the steps it comes in; None without stamps.

    A stamp is a double: of an epoch in ns it has steps of about 256 ns, half a step either way at both ends.
    """
    stamps = entry.get("timestamps")
    if not isinstance(stamps, Mapping):
        return None
    first, last = number(stamps, "first_timestamp_ns"), number(stamps, "last_timestamp_ns")
    if first is None or last is None:
        return None
    return (last - first) * _NS, max(math.ulp(first), math.ulp(last)) * _NS
