"""Meters that cannot say when they have updated: an update is what differs from what was shown before."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from aicalib_hw.errors import NotSupported, UsageError
from aicalib_hw.interfaces import LoadRun, PowerReading, PowerSettings, ReleaseReport
from aicalib_hw.readings import Instant, Measurement, Status, Window
from aicalib_hw.scpi.events import EventSession
from aicalib_hw.transport.deadline import Deadline

from . import _evaluation
from ._scpi_meter import ScpiPowerMeter

_POLLS = 20
"""Polls in one update interval: an update is noticed when it is this share of an interval old."""

_PATIENCE = 5
"""Update intervals after which unchanged values are given out as STALE."""

NO_ACCURACY = "no accuracy is known for this meter: nothing may be calibrated against it"


def impossible(*rms: float) -> Status:
    """Return INVALID if a root mean square is negative, as meters show it whose auto range is lost; else VALID."""
    return Status.INVALID if any(value < 0 for value in rms) else Status.VALID


class PolledPowerMeter(ScpiPowerMeter):
    """A power meter that shows its last update and does not tell when it is a new one.

    Two updates with exactly the same digits in every value cannot be told from one: after 5 update
    intervals without a change the values are given out with status STALE. How many updates passed
    unread the meter does not tell either: `missed` is None.
    """

    def __init__(self, address: str, *, update_interval: float, **link: Any) -> None:
        super().__init__(address, **link)
        if not update_interval > 0:
            raise UsageError(f"an update interval of {update_interval} s is none", where=address)
        self.session = EventSession(self._link)
        self._interval = update_interval
        self._last: str | None = None

    @abc.abstractmethod
    def _in_force(self) -> PowerSettings:
        """Read back everything that a reading depends on."""

    @abc.abstractmethod
    def _ask(self) -> str:
        """Return what the meter shows now, as it stands on the wire."""

    @abc.abstractmethod
    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        """Make a reading of what the meter shows; raises ProtocolError for what is no set of values."""

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> PowerReading:
        """Return the next update, V, A, W; with `fresh=False` what is shown, STALE if that was read before.

        timeout: s until unchanged values are given out as STALE, None = 5 update intervals.
        Raises DeadlineExceeded if the meter does not answer, ConnectionLost, ProtocolError, Aborted.
        """
        self._abort.clear()
        with self._lock:
            in_force = self._in_force()
            if fresh:
                self._last = self._ask()
                return self._next(in_force, timeout)
            shown = self._ask()
            extra = Status.STALE if shown == self._last else Status.VALID
            self._last = shown
            return self._reading(shown, in_force, self._window("one update interval before this moment"), extra)

    def stream(self, *, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield each update that is noticed, as many as fit into `duration` s, or until closed.

        Raises as `read`. Whether updates passed between two readings cannot be told: `missed` is None.
        """
        self._abort.clear()
        left = None if duration is None else max(1, round(duration / self._interval))
        with self._lock:
            in_force = self._in_force()
            self._last = self._ask()
        while left is None or left > 0:
            with self._lock:
                reading = self._next(in_force, None)
            yield reading
            left = None if left is None else left - 1

    def measure_power(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the mean active power, W, of as many updates as fit into `duration` s.

        Invalid if an update was out of range, without data or unchanged. Without known accuracy it has no
        components but the last digit's, and its evidence says so. Raises UsageError for no duration, Aborted.
        """
        if not duration > 0:
            raise UsageError(f"a measurement of {duration} s is none", where=str(self.identity))
        return self._mean(list(self.stream(duration=duration)), load)

    def _mean(self, readings: Sequence[PowerReading], load: LoadRun | None) -> Measurement:
        mean = _evaluation.mean_power(readings, self._stated_for(readings), self.identity, load)
        if self.capabilities.uncertainty:
            return mean
        return replace(mean, evidence={**mean.evidence, "accuracy": NO_ACCURACY})

    def _next(self, in_force: PowerSettings, timeout: float | None) -> PowerReading:
        deadline = Deadline(_PATIENCE * self._interval if timeout is None else timeout)
        extra = Status.VALID
        while (shown := self._ask()) == self._last:
            self._raise_if_aborted()
            if deadline.expired:
                extra = Status.STALE
                break
            self._abort.wait(min(self._interval / _POLLS, deadline.left))
        self._raise_if_aborted()
        self._last = shown
        return self._reading(shown, in_force, self._window("one update interval"), extra)

    def _window(self, rule: str) -> Window:
        stop = Instant.now()
        length = round(self._interval * 1e9)
        return Window(Instant(stop.utc_ns - length, stop.monotonic_ns - length), stop, rule)

    def _lacks(self, what: str, why: str = "") -> NoReturn:
        raise NotSupported(
            f"{self.DRIVER.name} has no {what}",
            where=self.address,
            why=why or "no manual or program at hand says how it is done",
        )

    def _refuse(self, given: dict[str, Any], supported: Sequence[str]) -> None:
        """Raise NotSupported for the first setting that is given and that this meter lacks."""
        for name, value in given.items():
            if name == "update_interval" and value == self._interval:
                continue  # it has this one and no other
            if value is not None and name not in supported:
                self._lacks(f"setting {name} (asked for {value!r})")

    def release(self) -> ReleaseReport:
        """Nothing to make safe; idempotent; never raises."""
        return ReleaseReport()
