"""The proof that the client is not the bottleneck: the same client processes against a paced source on this host.

Done before each measurement at a multiple of the rate that is expected, and kept in its evidence. A client that
falls behind shows in delays that grow: their slope against time is the share of the rate that it loses.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw.errors import DeadlineExceeded
from aicalib_hw.trace import Trace
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.process import Process

from ._crew import Crew, Seen, run_module
from ._job import Job

MOST_LOSS = 0.002
"""Share of the rate that a client may lose before what it measures is no result."""

_REACHED = 0.98
_LEAST_RATE = 200.0
_STARTING = 30.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client has shown: events/s sent and lost, delays of events in s, CPU time for one, s.

    objections: why it proves nothing, empty if it does.
    """

    rate: float
    events: int
    received: int
    loss: float
    delay_median: float
    delay_p99: float
    coalesced: float
    cpu_per_event: float | None
    processes: int
    streams: int
    objections: tuple[str, ...] = ()

    @property
    def plain(self) -> dict[str, Any]:
        """As evidence, with units in the names."""
        return {
            "event_rate": self.rate,
            "events_sent": self.events,
            "events_received": self.received,
            "share_of_the_rate_lost": self.loss,
            "delay_median_s": self.delay_median,
            "delay_p99_s": self.delay_p99,
            "coalesced_share": self.coalesced,
            "cpu_per_event_s": self.cpu_per_event,
            "processes": self.processes,
            "streams": self.streams,
            "objections": list(self.objections),
        }


def prove(
    rate: float, *, streams: int, processes: int, seconds: float, trace: Trace | None, aborted: threading.Event
) -> Proof:
    """Let `processes` clients receive `rate` events/s on `streams` streams for so many seconds, and judge them."""
    rate = max(rate, _LEAST_RATE)
    processes = min(processes, streams)
    shares = [streams // processes + (number < streams % processes) for number in range(processes)]
    each = max(2, math.ceil(seconds * rate / streams))
    with _sources(rate, shares, trace) as ports:

        def job(number: int, directory: str, signals: str) -> Job:
            return Job(
                directory,
                signals,
                f"http://127.0.0.1:{ports[number]}/v1/completions",
                {"Content-Type": "application/json"},
                {"model": "paced", "max_tokens": each, "stream": True},
                chat=False,
                streaming=True,
                slots=shares[number],
                most_requests=1,
                stamped=True,
            )

        with Crew(processes, job, trace=trace, aborted=aborted) as crew:
            crew.go()
            crew.wait_until_warm(20 * seconds + _STARTING)
            seen = crew.collect(20 * seconds + _STARTING)
    return judge(seen, rate, events=each * streams, processes=processes, streams=streams)


@contextlib.contextmanager
def _sources(rate: float, shares: Sequence[int], trace: Trace | None) -> Iterator[list[int]]:
    """Run a source for each client process, and yield their ports: one alone is as slow as one client is.

    rate: events/s of all together. shares: how many streams each has. Raises DeadlineExceeded where one does not begin.
    """
    ports = [queue.SimpleQueue[int]() for _ in shares]
    sources: list[Process] = []
    try:
        for share, port in zip(shares, ports, strict=True):

            def hear(line: str, port: queue.SimpleQueue[int] = port) -> None:
                port.put(json.loads(line)["port"])

            asked = [repr(rate * share / sum(shares)), str(share), str(os.getpid())]
            sources.append(run_module("_source", asked, trace, hear))
        deadline = Deadline(_STARTING)
        yield [port.get(timeout=deadline.left) for port in ports]
    except queue.Empty:
        raise DeadlineExceeded(
            "the paced source of the client's proof did not begin", where="127.0.0.1", advice="is this host busy?"
        ) from None
    finally:
        for source in sources:
            source.stop(grace=0.0)


def judge(seen: Seen, rate: float, *, events: int, processes: int, streams: int) -> Proof:
    """Return what a client has shown that was to receive `events` events at `rate`."""
    import numpy as np

    received = len(seen.times)
    cpu = seen.cpu_per_event
    if received < 2 or seen.gone:
        why = seen.gone or "nothing came"
        return Proof(0.0, events, received, 1.0, 0.0, 0.0, 0.0, cpu, processes, streams, (why,))
    order = np.argsort(seen.stamps)
    sent = (seen.stamps[order] - seen.stamps.min()) / 1e9
    delay = (seen.times[order] - seen.stamps[order]) / 1e9
    reached = (received - 1) / float(sent[-1])
    slope = float(np.polyfit(sent, delay, 1)[0])
    loss = slope / (1 + slope) if slope > 0 else 0.0
    median, p99 = (float(one) for one in np.percentile(delay, (50, 99), method="inverted_cdf"))
    objections = []
    if received != events:
        objections.append(f"{received} of {events} events came")
    if reached < _REACHED * rate:
        objections.append(f"the source reached {reached:.0f} of {rate:.0f} events/s on this host")
    if loss > MOST_LOSS:
        objections.append(f"the client lost {loss:.2%} of {reached:.0f} events/s, {MOST_LOSS:.1%} is allowed")
    return Proof(
        reached,
        events,
        received,
        loss,
        median,
        p99,
        float(seen.joined.mean()),
        cpu,
        processes,
        streams,
        tuple(objections),
    )


def prove_twice(report: Callable[[str], None], rate: float, **how: Any) -> Proof:
    """As `prove`; a proof that failed is tried once more, as this host may have been disturbed."""
    proof = prove(rate, **how)
    if proof.objections:
        report("proving the client once more")
        proof = prove(rate, **how)
    return proof
