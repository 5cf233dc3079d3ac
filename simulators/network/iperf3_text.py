"""What the two sides of an iperf3 test say of it for people, made of what each of them counted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from . import iperf3_report as report
from .iperf3_report import Row
from .iperf3_run import Test


def server_intervals(test: Test) -> list[tuple[float, float]]:
    """Return the intervals that a server tells, the last one short."""
    step = test.asked.interval or 1.0
    end = test.end(False)
    edges = [0.0]
    while edges[-1] + step < end:
        edges.append(edges[-1] + step)
    return [*pairwise(edges), (edges[-1], end)]


def accepted(test: Test, clients: Sequence[int], port: int) -> str:
    """Return what a server says of a client. clients: its ports, that of the control connection first."""
    text = f"Accepted connection from 127.0.0.1, port {clients[0]}\n"
    for (_, _, socket), remote in zip(test.flows, clients[1:], strict=True):
        text += f"[{socket:3d}] local 127.0.0.1 port {port} connected to 127.0.0.1 port {remote}\n"
    asked = test.asked
    return text + report.head(asked.udp, final=False, sender=asked.reverse, bidir=asked.bidir)


def server_text(test: Test, clients: Sequence[int], port: int) -> str:
    """Return what the server would print of a test."""
    text = f"{report.LINE}\nServer listening on {port} (test #1)\n{report.LINE}\n" + accepted(test, clients, port)
    for start, stop in server_intervals(test):
        text += "".join(report.interval_line(row, "a") for row in test.rows(False, start, stop))
    return text + summary(test, "a", client=False)


def summary(test: Test, unit: str, *, client: bool) -> str:
    """Return the last lines for people; a server knows its own side only."""
    asked = test.asked
    sends = not asked.reverse if client else asked.reverse
    text = report.RULE[:-1] + "\n" + report.head(asked.udp, final=True, sender=sends or client, bidir=asked.bidir)
    for back in (False, True):
        sums: dict[bool, list[Row]] = {}
        for flow, reverse, socket in test.flows:
            for side in (True, False):
                mine = side is (reverse is not client)
                if reverse is not back or not (client or mine):
                    continue
                row = test.final(flow, reverse, side)
                row.socket = socket
                if not mine and test.interrupted is not None:
                    row.size, row.lost, row.packets = 0, row.lost and 0, row.packets and 0
                if row.packets is not None and row.lost is None:
                    row.lost = 0
                if asked.bidir:
                    row.role = ("TX" if reverse is not client else "RX") + ("-C" if client else "-S")
                text += report.final_line(row, unit, "sender" if side else "receiver")
                sums.setdefault(side, []).append(row)
        if asked.parallel > 1:
            for side, rows in sums.items():
                text += report.final_line(report.added(rows), unit, "sender" if side else "receiver", total=True)
    return text


def poisoned(end: dict[str, Any]) -> dict[str, Any]:
    """Put a NaN where old versions divided by zero; the library prints it as it is, which is no JSON."""
    for name in ("sum", "sum_received"):
        if name in end:
            end[name] = {**end[name], "lost_percent" if "lost_percent" in end[name] else "bits_per_second": "-nan"}
    return end
