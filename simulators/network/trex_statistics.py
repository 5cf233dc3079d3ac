"""Counters of TRex beyond those of its ports: packet groups, their latencies, and names of what a NIC counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .port import Stream
from .trex_port import TrexPort

XSTATS = {
    "rx_good_packets": "ipackets",
    "tx_good_packets": "opackets",
    "rx_good_bytes": "ibytes",
    "tx_good_bytes": "obytes",
    "rx_errors": "ierrors",
    "tx_errors": "oerrors",
}
ZEROS = tuple(
    f"m_{name}"
    for words in (
        "bw_per_core rx_cpu_util rx_core_pps tx_cps tx_expected_cps tx_expected_pps tx_expected_bps total_alloc_error",
        "total_queue_full total_queue_drop rx_drop_bps active_flows open_flows total_clients total_servers",
        "active_sockets socket_util total_nat_time_out total_nat_time_out_wait_ack total_nat_no_fid total_nat_active",
        "total_nat_syn_wait total_nat_open total_nat_learn_error",
    )
    for name in words.split()
)


def flow_counts(streams: Iterable[tuple[TrexPort, Stream, bool]], ports: int) -> dict[str, dict[str, float]]:
    """Return the counters of a packet group: what left (t) and arrived (r) at each port, and how fast."""
    fields = ("tp", "tb", "rp", "rb", "tps", "tbs", "rps", "rbs")
    shown: dict[str, dict[str, float]] = {field: {str(port): 0 for port in range(ports)} for field in fields}
    for _, stream, _ in streams:
        for letter, side, at, count in (
            ("t", "sent", stream.port.name, stream.sent),
            ("r", "received", stream.to.name, stream.received),
        ):
            second = stream.last_second("sent" if side == "sent" else "received")
            shown[f"{letter}p"][at] += count.frames
            shown[f"{letter}b"][at] += count.size
            shown[f"{letter}ps"][at] += round(float(second.frames), 2)
            shown[f"{letter}bs"][at] += round(float(8 * second.size), 2)
    return shown


def latency_counts(streams: Iterable[Stream]) -> dict[str, Any]:
    """Return the latencies of a group, µs, and its errors of sequence, of which only those are shown that occurred."""
    shown: dict[str, Any] = {"lat": {"average": 0.0, "total_max": 0.0, "total_min": 0.0, "last_max": 0.0, "jit": 0}}
    errors = {"drp": 0, "ooo": 0}
    for stream in streams:
        found = stream.latency("first2first")
        received = stream.received
        if found is None:
            continue
        least, mean, most = (one * 1e6 for one in found)
        shown["lat"] = {
            "average": mean,
            "total_max": float(round(most)),
            "total_min": float(round(least)),
            "last_max": float(round(most)),
            "jit": round(most - mean),
            "histogram": {str(_bucket(mean)): received.frames},
        }
        # A frame under way is not missed yet: its successor has not come either.
        now = stream.port.network.now()
        arrived = sum(run.sent(now - run.latency).frames for run in stream.runs)
        errors["drp"] += max(0, arrived - received.frames)
        errors["ooo"] += stream.reordered
    if any(errors.values()):
        shown["er"] = {name: count for name, count in errors.items() if count}
    return shown


def _bucket(latency: float) -> int:
    """Return the histogram's bucket of a latency, µs: its first digit; what is below 10 µs is in 0."""
    base = 10
    while latency >= base * 10:
        base *= 10
    return int(latency // base * base) if latency >= 10 else 0
