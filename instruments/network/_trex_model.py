"""What goes to TRex as JSON, and what comes back: frames, streams, counters.

Source: trex-core 3.08 (stateless). A frame is UDP over IPv4, because statistics of a flow need an IP header; addresses
are those that RFC 2544 reserves for tests. MAC addresses of a stream without headers of its own are left to the server,
which puts in those of its ports.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

from aicalib_hw import rates
from aicalib_hw.errors import OutOfRange, ProtocolError
from aicalib_hw.interfaces import Latency, PortCounters, Rate, Stream

PROFILE = "_"
LATENCY_MODES = ("software",)
LARGEST_FRAME = 9018
_MICROSECOND = 1e-6
_SOURCE, _DESTINATION = bytes((198, 18, 0, 1)), bytes((198, 19, 0, 1))
_PORTS = 1025, 12


def stream(one: Stream, number: int, *, gap: float) -> dict[str, Any]:
    """Return a stream of one frame size that sends until its port stops; `number` ties what is received to it.

    Raises OutOfRange for headers that are no hex text or longer than the frame.
    """
    return {
        "enabled": True,
        "self_start": True,
        "start_paused": False,
        "flags": 0,
        "action_count": 0,
        "isg": 0.0,
        "core_id": -1,
        "next_stream_id": -1,
        "mode": {"type": "continuous", "rate": _rate(one, gap)},
        "packet": {"binary": base64.b64encode(frame(one)).decode("ascii"), "meta": ""},
        "vm": {"instructions": []},
        "flow_stats": {
            "enabled": True,
            "stream_id": number,
            "rule_type": "stats" if one.latency_mode is None else "latency",
        },
    }


def frame(one: Stream) -> bytes:
    """Return the bytes of one frame without its FCS, padded with zeros; raises OutOfRange."""
    size = one.frame_size - rates.FCS
    if one.headers:
        try:
            given = bytes.fromhex(one.headers)
        except ValueError as error:
            raise OutOfRange(f"the headers of {one.name} are no hex text", why=str(error)) from error
        if len(given) > size:
            raise OutOfRange(f"{len(given)} bytes of headers do not fit a frame of {one.frame_size}")
        return given.ljust(size, b"\0")
    ethernet = bytes(12) + b"\x08\x00"
    datagram = size - len(ethernet)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, datagram, 0, 0, 64, 17, 0, _SOURCE, _DESTINATION)
    ip = ip[:10] + struct.pack(">H", _checksum(ip)) + ip[12:]
    udp = struct.pack(">HHHH", *_PORTS, datagram - len(ip), 0)
    return (ethernet + ip + udp).ljust(size, b"\0")


def _checksum(header: bytes) -> int:
    """The checksum of an IPv4 header (RFC 791)."""
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _rate(one: Stream, gap: float) -> dict[str, Any]:
    if isinstance(one.load, Rate):
        frames = rates.frames_per_second(one.load.value, one.load.layer, rates.Frame(one.frame_size, gap=gap))
        return {"type": "pps", "value": frames}
    return {"type": "percentage", "value": 100 * one.load}


def count(entry: Any, *path: str) -> int:
    """Return a count that may be nested, 0 where the server has none yet; raises ProtocolError for no whole number."""
    found = entry
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return 0
    if type(found) is not int:
        raise ProtocolError(f"{'.'.join(path)} is {found!r} and no count")
    return found


def latency(entry: Any) -> Latency | None:
    """Return the delays of one flow, s; None where the server measured none."""
    found = entry.get("lat") if isinstance(entry, dict) else None
    names = ("total_min", "average", "total_max")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), int | float) for name in names):
        return None
    least, mean, greatest = (float(found[name]) * _MICROSECOND for name in names)
    return Latency(least, mean, greatest)


def port_counters(counts: Mapping[str, int], told: Mapping[str, Any], *, fcs_counted: bool | None) -> PortCounters:
    """Return the counters of one port from counts by the server's names, and its own rates in `told`, bit/s.

    fcs_counted: whether the server counts the FCS, None = unknown, so that its rates are of no layer and left out.
    """

    def rate(name: str) -> Rate | None:
        value = told.get(name)
        if fcs_counted is None or not isinstance(value, int | float):
            return None
        return Rate(float(value), "L2-fcs" if fcs_counted else "L2-nofcs")

    return PortCounters(
        tx_frames=counts["opackets"],
        tx_bytes=counts["obytes"],
        rx_frames=counts["ipackets"],
        rx_bytes=counts["ibytes"],
        tx_rate=rate("m_total_tx_bps"),
        rx_rate=rate("m_total_rx_bps"),
    )
