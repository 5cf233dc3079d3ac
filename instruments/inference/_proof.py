"""The proof that the client is not the bottleneck: the same client processes against a paced source on this host.

Done before each measurement at a multiple of the rate that is expected, and kept in its evidence. A client that
falls behind shows in delays that grow: their slope against time is the share of the rate that it loses.
"""

from __future__ import annotations

import json
import math
import os
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from aicalib_hw.errors import DeadlineExceeded
from aicalib_hw.trace import Trace
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.process import Process

from ._crew import Crew, Seen, ended, run_module
from ._job import Job

MOST_LOSS = 0.002
"""Share of the rate that a client may lose before what it measures is no result."""

_REACHED = 0.98
_LEAST_RATE = 200.0
_STARTING = 30.0
_LOOK_EVERY = 0.05
"""s between two looks at whether the measurement was aborted and the sources still run, until they have begun."""


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


class Prover:
    """What proves the client processes of `crew` on `shares` streams each: a paced source for each, in a `with`.

    One source for all would be as slow as one client is. They start at once, while other things are prepared.
    """

    def __init__(self, crew: Crew, shares: Sequence[int], *, trace: Trace | None) -> None:
        self._crew, self._shares, self._trace = crew, shares, trace
        self._told = [queue.SimpleQueue[int]() for _ in shares]
        self._ports: list[int] = []
        self._sources: list[Process] = []

    def __enter__(self) -> Self:
        try:
            for share, told in zip(self._shares, self._told, strict=True):

                def hear(line: str, told: queue.SimpleQueue[int] = told) -> None:
                    told.put(json.loads(line)["port"])

                self._sources.append(run_module("_source", [str(share), str(os.getpid())], self._trace, hear))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for source in self._sources:
            source.stop(grace=0.0)

    def prove(self, rate: float, seconds: float) -> Proof:
        """Let the clients receive `rate` events/s for so many seconds, and judge them.

        Raises DeadlineExceeded; Aborted; InstrumentError, with its last words, for a source that ended before it began.
        """
        rate = max(rate, _LEAST_RATE)
        streams = sum(self._shares)
        each = max(2, math.ceil(seconds * rate / streams))
        self._wait_for_sources()

        def job(number: int, directory: str, signals: str) -> Job:
            return Job(
                directory,
                signals,
                f"http://127.0.0.1:{self._ports[number]}/v1/completions",
                {"Content-Type": "application/json"},
                {"model": "paced", "max_tokens": each, "stream": True, "gap_ns": 1e9 * streams / rate},
                chat=False,
                streaming=True,
                slots=self._shares[number],
                most_requests=1,
                stamped=True,
            )

        self._crew.take(job)
        self._crew.go()
        self._crew.wait_until_warm(20 * seconds + _STARTING)
        seen = self._crew.collect(20 * seconds + _STARTING)
        return judge(seen, rate, events=each * streams, processes=len(self._shares), streams=streams)

    def prove_twice(self, report: Callable[[str], None], rate: float, seconds: float) -> Proof:
        """As `prove`; a proof that failed is tried once more, as this host may have been disturbed."""
        proof = self.prove(rate, seconds)
        if proof.objections:
            report("proving the client once more")
            proof = self.prove(rate, seconds)
        return proof

    def _wait_for_sources(self) -> None:
        deadline = Deadline(_STARTING)
        while len(self._ports) < len(self._told):
            self._crew.require_not_aborted()
            for dead in (one for one in self._sources if not one.running):
                raise ended("the paced source of the client's proof", dead)
            try:
                self._ports.append(self._told[len(self._ports)].get(timeout=min(_LOOK_EVERY, deadline.left)))
            except queue.Empty:
                if deadline.expired:
                    raise DeadlineExceeded(
                        "the paced source of the client's proof did not begin",
                        where="127.0.0.1",
                        advice="is this host busy?",
                    ) from None


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
