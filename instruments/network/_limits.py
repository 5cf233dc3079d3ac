"""What a tester, its ports or the line do not have, told before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aicalib_hw import rates
from aicalib_hw.errors import OutOfRange
from aicalib_hw.interfaces import NetworkTesterCapabilities, PortInfo, Stream

from . import _evaluation

_TOLERANCE = 1e-6


def require_possible(
    streams: Sequence[Stream],
    can: NetworkTesterCapabilities,
    reserved: Sequence[str],
    ports: Sequence[PortInfo],
    *,
    gap: float,
    where: str,
) -> None:
    """Raise OutOfRange unless every stream can be sent: its ports, frame size, latency mode and load.

    reserved: names of the ports that are ours. gap: bytes of preamble and gap in force. where: address of the tester.
    """
    speeds = {port.port: port.speed for port in ports}
    for stream in streams:
        for port in (stream.tx, stream.rx):
            if port not in reserved:
                raise OutOfRange(f"port {port!r} is not reserved", where=where, why=", ".join(reserved))
        if not (can.min_frame_size or 0) <= stream.frame_size <= (can.max_frame_size or 0):
            raise OutOfRange(
                f"a frame of {stream.frame_size} bytes is not offered",
                where=where,
                why=f"{can.min_frame_size} to {can.max_frame_size} bytes with FCS",
            )
        if stream.latency_mode is not None and stream.latency_mode not in (can.latency_modes or ()):
            offered = ", ".join(can.latency_modes or ()) or "none"
            raise OutOfRange(f"there is no latency mode {stream.latency_mode!r}", why=f"this tester has {offered}")
        if not isinstance(stream.load, float | int):
            if not (math.isfinite(stream.load.value) and stream.load.value > 0):
                raise OutOfRange(f"a rate of {stream.load.value:g} bit/s cannot be asked for", where=where)
            _require_below_line(stream, speeds.get(stream.tx), gap, where)
        elif not 0 < stream.load <= 1:
            raise OutOfRange(f"a load of {stream.load:g} of the line is none", why="above 0, up to 1")


def _require_below_line(stream: Stream, speed: float | None, gap: float, where: str) -> None:
    asked = _evaluation.intended_frames(stream, speed, gap)
    if speed is None or asked is None:
        return
    most = rates.most_frames_per_second(speed, rates.Frame(stream.frame_size, gap=gap))
    if asked > most * (1 + _TOLERANCE):
        raise OutOfRange(
            f"{asked:.6g} frames/s of {stream.frame_size} bytes are above the line",
            where=where,
            why=f"{speed / 1e9:g} Gbit/s carry {most:.6g}",
        )
