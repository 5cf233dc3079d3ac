"""What every accelerator driver here has in common: one computation at a time, and an abort that ends it."""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from aicalib_hw.errors import LockedByOther, UsageError
from aicalib_hw.interfaces.accelerator import Accelerator, LoadRun, TelemetryReading
from aicalib_hw.interfaces.instrument import ReleaseReport

SHORTEST_S = 0.1
"""Shortest duration of a measurement: below it a run holds too few readings of the clock to confirm one another."""

Load = TypeVar("Load", bound=LoadRun)


class ComputingAccelerator(Accelerator):
    """Refuses a second computation, keeps what runs so that it can be stopped. A subclass computes."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._compute = threading.Lock()
        self._stops: set[threading.Event] = set()
        self._loads: list[LoadRun] = []

    @abc.abstractmethod
    def _reading_after(self, wait: Callable[[], object]) -> TelemetryReading:
        """Call `wait` and return a reading, of the time waited where the device tells no present values."""

    def _interrupt(self) -> None:
        """Stop what does not look at its event by itself; never raises."""

    def stream(self, *, interval: float = 1.0, duration: float | None = None) -> Iterator[TelemetryReading]:
        """Yield a telemetry reading every `interval` s for `duration` s, or until closed or `abort()`.

        Raises NotSupported where the device tells nothing, UsageError for an interval of 0 or less.
        """
        if not interval > 0:
            raise UsageError(f"an interval of {interval} s is none", where=self.address)
        left = None if duration is None else max(1, round(duration / interval))
        with self._abortable() as stop:
            while left is None or left > 0:
                reading = self._reading_after(lambda: stop.wait(interval))
                if stop.is_set():
                    return
                yield reading
                left = None if left is None else left - 1

    def abort(self) -> None:
        """Stop measurements, loads and streams now; what is queued (0.2 s at most) ends first; never raises."""
        for stop in tuple(self._stops):
            stop.set()
        self._interrupt()
        for load in tuple(self._loads):
            load.stop()

    def release(self) -> ReleaseReport:
        """Stop every load; idempotent; never raises."""
        loads = [load for load in self._loads if load.running]
        self.abort()
        self._loads = [load for load in loads if load.running]
        return ReleaseReport(
            tuple(f"stopped a load of {load.fraction:.0%}" for load in loads if load not in self._loads),
            tuple(f"a load of {load.fraction:.0%} did not stop" for load in self._loads),
        )

    def _require_long_enough(self, duration: float) -> None:
        if not duration >= SHORTEST_S:
            raise UsageError(
                f"a measurement of {duration} s is too short", where=self.address, advice=f"give {SHORTEST_S} s or more"
            )

    def _require_fraction(self, fraction: float) -> None:
        if not 0.0 <= fraction <= 1.0:
            meant = f": {fraction / 100:g} for {fraction:g} %" if 1 < fraction <= 100 else ""
            raise UsageError(
                f"a load of {fraction:g} is none", where=self.address, advice=f"give a fraction from 0 to 1{meant}"
            )

    def _started(self, start: Callable[[], Load]) -> Load:
        """Start a load, unless something else of this object computes, and keep it to be stopped."""
        with self._computing():
            load = start()
            self._loads.append(load)
        return load

    @contextmanager
    def _abortable(self) -> Iterator[threading.Event]:
        """An event that `abort()` sets while this context lasts."""
        stop = threading.Event()
        self._stops.add(stop)
        try:
            yield stop
        finally:
            self._stops.discard(stop)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Hold the device; a second measurement is refused, for both would read low."""
        self._loads = [load for load in self._loads if load.running]
        if self._loads or not self._compute.acquire(blocking=False):
            what = "a load" if self._loads else "another measurement"
            raise LockedByOther(
                f"{what} is running on this device", where=self.address, advice="stop it, or wait for its end"
            )
        try:
            yield
        finally:
            self._compute.release()
