"""Samples of several power meters over common intervals, aligned by when each update was measured."""

from __future__ import annotations

import logging
import math
import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from aicalib_hw.errors import AicalibError
from aicalib_hw.interfaces import PowerMeter, PowerReading
from aicalib_hw.readings import Component, Instant

_RETRY = 1.0
"""s before a meter that failed is asked again."""

_CHECKS = 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Channel:
    """Means of one meter over one interval: W, V, A, ratio, relative limit of error; None = not known."""

    watts: float
    volts: float | None
    amps: float | None
    power_factor: float | None
    uncertainty: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One interval that ended at `utc_ns`: each meter's channel, None where it has no usable mean; why, in words."""

    utc_ns: int
    channels: tuple[Channel | None, ...]
    objections: tuple[str, ...]

    @property
    def watts(self) -> float | None:
        """The signed sum of all meters, W; None if any of them has none: a part of the whole is not the whole."""
        powers = [channel.watts for channel in self.channels if channel is not None]
        return math.fsum(powers) if len(powers) == len(self.channels) else None


class Sampling:
    """Follows the streams of meters until it is stopped, and gives one sample for each interval of `interval` s.

    An update belongs to the interval in which it was measured, by its own time stamp, never by its place
    in a list. A meter that fails is asked again until `stop()`; meanwhile it has no usable mean.
    """

    def __init__(
        self,
        meters: Sequence[PowerMeter],
        updates: Sequence[float],
        interval: float,
        take: Callable[[Sample], None],
    ) -> None:
        """updates: update interval of each meter, s. take: gets each sample, in order, from a thread of its own."""
        self._meters = tuple(meters)
        self._halves = [round(update * 0.5e9) for update in updates]
        self._interval_ns = round(interval * 1e9)
        self._take = take
        self._stopping = threading.Event()
        self._guard = threading.Lock()
        self._pending: list[list[PowerReading]] = [[] for _ in self._meters]
        self._troubles: list[list[str]] = [[] for _ in self._meters]
        self._end: int | None = None
        self._began = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to follow the meters."""
        self._began = Instant.now().utc_ns
        for index in range(len(self._meters)):
            self._run(partial(self._follow, index), f"meter {index + 1}")
        self._run(self._collect, "samples")

    def stop(self, timeout: float = 5.0) -> None:
        """End all threads, and give the samples that are complete; idempotent.

        A meter that blocks for longer than `timeout` s is aborted.
        """
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout)
        if any(thread.is_alive() for thread in self._threads):
            for meter in self._meters:
                meter.abort()
            for thread in self._threads:
                thread.join(timeout)
        self._threads = []
        while (sample := self._due()) is not None:
            self._take(sample)

    def _run(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=f"ptdaemon {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _follow(self, index: int) -> None:
        while not self._stopping.is_set():
            try:
                for reading in self._meters[index].stream():
                    with self._guard:
                        self._pending[index].append(reading)
                    if self._stopping.is_set():
                        return
            except AicalibError as error:
                if self._stopping.is_set():
                    return
                _log.warning("%s: %s", self._meters[index].address, error)
                with self._guard:
                    self._troubles[index].append(error.what)
                self._stopping.wait(_RETRY)

    def _collect(self) -> None:
        while not self._stopping.wait(self._interval_ns / 1e9 / _CHECKS):
            while (sample := self._due()) is not None:
                self._take(sample)

    def _due(self) -> Sample | None:
        """The next sample, as soon as every meter has gone past its end, or is late by a whole interval."""
        now = Instant.now().utc_ns
        with self._guard:
            if self._end is None:
                self._end = self._first_end(now)
            if self._end is None:
                return None
            end = self._end
            past = all(
                pending and pending[-1].window.stop.utc_ns > end + half
                for pending, half in zip(self._pending, self._halves, strict=True)
            )
            if not past and now < end + self._interval_ns + 2 * max(self._halves):
                return None
            self._end += self._interval_ns
            channels, objections = [], []
            for index in range(len(self._meters)):
                taken = self._withdraw(index, end)
                objection = self._objection(index, taken)
                if objection:
                    objections.append(objection)
                channels.append(None if objection else self._channel(index, taken))
        return Sample(end, tuple(channels), tuple(objections))

    def _first_end(self, now: int) -> int | None:
        """The first interval begins with the first update that was measured; without any, when one is overdue."""
        starts = [pending[0].window.start.utc_ns for pending in self._pending if pending]
        if starts:
            return min(starts) // 10**6 * 10**6 + self._interval_ns
        overdue = self._began + 2 * self._interval_ns + 2 * max(self._halves)
        return overdue if now > overdue else None

    def _withdraw(self, index: int, end: int) -> list[PowerReading]:
        """The updates that ended before `end`, or nearer to it than to the end of the update after."""
        last = end + self._halves[index]
        pending = self._pending[index]
        taken = [reading for reading in pending if reading.window.stop.utc_ns <= last]
        self._pending[index] = pending[len(taken) :]
        return taken

    def _objection(self, index: int, taken: Sequence[PowerReading]) -> str:
        """Why these updates do not stand for their interval; "" if they do."""
        troubles, self._troubles[index] = self._troubles[index], []
        name = self._meters[index].identity.model
        if troubles:
            return f"{name}: {troubles[-1]}"
        if not taken:
            return f"{name}: no update"
        bad = sorted({str(reading.status) for reading in taken if reading.status})
        return f"{name}: {', '.join(bad)}" if bad else ""

    def _channel(self, index: int, taken: Sequence[PowerReading]) -> Channel:
        def mean(name: str) -> float | None:
            found = [getattr(reading, name) for reading in taken]
            values = [float(one) for one in found if one is not None and not one.status]
            return statistics.fmean(values) if len(values) == len(taken) else None

        return Channel(
            watts=statistics.fmean(float(reading.active_power) for reading in taken),
            volts=mean("voltage"),
            amps=mean("current"),
            power_factor=mean("power_factor"),
            uncertainty=_largest_limit(self._meters[index], taken),
        )


def _largest_limit(meter: PowerMeter, taken: Sequence[PowerReading]) -> float | None:
    """The largest relative limit of error of these updates; None where the meter states none."""
    if not meter.capabilities.uncertainty:
        return None
    largest = 0.0
    try:
        for reading in taken:
            power = abs(float(reading.active_power))
            limit = math.fsum(_half_width(component, power) for component in meter.components(reading))
            if not power:
                return None
            largest = max(largest, limit / power)
    except AicalibError as error:
        _log.info("no uncertainty: %s", error.what)
        return None
    return largest


def _half_width(component: Component, power: float) -> float:
    """Half-width in W; a standard uncertainty counts as that of the rectangle which has it."""
    size = component.half_width
    if size is None:
        size = math.sqrt(3) * (component.standard_uncertainty or 0.0)
    return size * power if component.relative else size
