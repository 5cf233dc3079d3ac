"""What iperf3 prints at the end of a run: its JSON, its failures, and what the receiver got."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aicalib_hw.errors import (
    AicalibError,
    ConnectionFailed,
    DeadlineExceeded,
    InstrumentReportedError,
    LockedByOther,
    ProtocolError,
)
from aicalib_hw.readings import Component

_SLEW = 500e-6
"""Half-width of the rate error of a clock of which nothing is known: the kernel's limit of slew."""


_SENDER_TOLERANCE = 0.01
"""Share of the rate asked for that a sender of datagrams may fall short of: it paces them by a timer of the host."""


def parse(text: str) -> dict[str, Any]:
    """Parse the one JSON object that iperf3 prints; raises ValueError, also for the NaN that old versions print."""

    def refuse(word: str) -> float:
        raise ValueError(f"{word} stands for a number")

    said = json.loads(text, parse_constant=refuse)
    if not isinstance(said, dict):
        raise ValueError("it is no object")
    return said


def failure_of(failure: str, where: str, command: str) -> AicalibError:
    """Return the error for what iperf3 says went wrong."""
    if "busy" in failure:
        return LockedByOther(
            "the iperf3 server is running a test for somebody else",
            where=where,
            why=failure,
            advice="wait, or ask them",
        )
    if "timed out" in failure:
        return DeadlineExceeded("the iperf3 server did not answer in time", where=where, why=failure)
    if "unable to connect" in failure:
        return ConnectionFailed(
            "no iperf3 server answers",
            where=where,
            why=failure,
            advice="start one there: iperf3 -s",
        )
    return InstrumentReportedError(1, failure, command, where=where)


def received(said: Mapping[str, Any], where: str) -> tuple[int, float]:
    """Return the bytes that the receiver counted and its time, s; raises ProtocolError where the JSON lacks them."""
    try:
        got = said["end"]["sum_received"]
        count, seconds = int(got["bytes"]), float(got["end"]) - float(got["start"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(
            "iperf3 does not say what the receiver got",
            where=where,
            why=f"end.sum_received: {type(error).__name__} {error}",
            advice="the sender's count is no measurement; use iperf3 3.7 or later at both ends",
        ) from error
    if not seconds > 0 or count < 0:
        raise ProtocolError(f"iperf3 received {count} bytes in {seconds} s", where=where)
    return count, seconds


def lost(said: Mapping[str, Any]) -> int | None:
    """Return the datagrams that did not arrive, None where iperf3 does not count them (TCP)."""
    got = said["end"].get("sum_received", {})
    return int(got["lost_packets"]) if "lost_packets" in got else None


def components(said: Mapping[str, Any], count: int) -> tuple[Component, ...]:
    """State the receiver's clock, one block of each connection at either end of its time, and how late that ends.

    The receiver's time ends when it is told that the sender has ended, and the data may have ended earlier: by how much
    is not told, at most by what its time is longer than the sender's.
    """
    test = said.get("start", {}).get("test_start", {})
    edge = float(test.get("blksize", 0)) * float(test.get("num_streams", 1))
    clock = Component(
        name="time base of the receiver",
        kind="B",
        unit="1",
        relative=True,
        half_width=_SLEW,
        source="a host's clock of which nothing is known: the kernel slews it by at most 500 ppm (adjtimex(2))",
    )
    if not count or not edge:
        return (clock,)
    ends = Component(
        name="start and stop",
        kind="B",
        unit="1",
        relative=True,
        half_width=edge / count,
        distribution="triangular",
        source="one block of each connection, counted or not, at either end of the time",
    )
    sent, got = (_seconds(said["end"].get(name, {})) for name in ("sum_sent", "sum_received"))
    late = Component(
        name="end of the receiver's time",
        kind="B",
        unit="1",
        relative=True,
        half_width=max(0.0, got - sent) / got if sent and got else 0.0,
        source="by how much the receiver's time is longer than the sender's",
    )
    return clock, ends, late


def fell_short(said: Mapping[str, Any], asked: float) -> str:
    """Return that the sender did not reach the `asked` bit/s, "" if it did, or where iperf3 does not say what it sent.

    Of datagrams alone: TCP sends what the path takes, so that its sender says something of the path.
    """
    sent = said["end"].get("sum_sent", {})
    seconds = _seconds(sent)
    if not seconds > 0 or "bytes" not in sent:
        return ""
    reached = 8 * int(sent["bytes"]) / seconds
    if reached >= asked * (1 - _SENDER_TOLERANCE):
        return ""
    return f"the sender is limited: {reached:.6g} bit/s sent, {asked:.6g} asked for; this says nothing about the path"


def _seconds(summed: Mapping[str, Any]) -> float:
    return float(summed.get("end", 0.0)) - float(summed.get("start", 0.0))


def stalled(said: Mapping[str, Any]) -> int:
    """Return in how many of the intervals that count nothing went at all."""
    sums = [one.get("sum", {}) for one in said.get("intervals", [])]
    return sum(not one.get("omitted") and one.get("bytes") == 0 for one in sums)
