"""The part of a driver that every device beside the host has in common: measuring, loading, stopping."""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import cast

from aicalib_hw.errors import Aborted, LockedByOther, NotOpen, NotSupported, UsageError
from aicalib_hw.interfaces.accelerator import (
    Accelerator,
    AcceleratorCapabilities,
    Path,
    PeakMeasurement,
    Precision,
    PrecisionSupport,
    Ready,
    TelemetryReading,
)
from aicalib_hw.interfaces.instrument import Progress, ReleaseReport

from .load import OffloadLoad
from .results import Circumstances, evaluate
from .run import PreparedKernel, measure
from .watch import INTERVAL_S, Observation, Watch

SHORTEST_S = 0.1
LAUNCH_S = 0.005
_MOST_WARM_UP_S = 1.0


class OffloadAccelerator(Accelerator):
    """Measures what `_prepare` puts on the device. A subclass adds telemetry, theory and the vendor's library."""

    launch_s = LAUNCH_S

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._compute = threading.Lock()
        self._stops: set[threading.Event] = set()
        self._loads: list[OffloadLoad] = []

    @property
    @abc.abstractmethod
    def capabilities(self) -> AcceleratorCapabilities:
        """What this very device can do, from probing."""

    @abc.abstractmethod
    def _prepare(
        self, support: PrecisionSupport, stopped: Callable[[], bool]
    ) -> AbstractContextManager[PreparedKernel]:
        """Put the kernel and its operands on the device, for the calling thread; stopped: whether to give up."""

    @abc.abstractmethod
    def _circumstances(self, support: PrecisionSupport, strangers: tuple[str, ...]) -> Circumstances:
        """Say what is known of the device besides its launches."""

    def _sample(self) -> TelemetryReading | None:
        """One quick telemetry sample without waiting, None where the device tells nothing."""
        return None

    def _require_whole_device(self) -> None:
        """Raise where a measurement of the whole device is not possible (a part of a device, a mode)."""

    def _strangers(self) -> tuple[str, ...]:
        """Processes of others that are on the device now."""
        return ()

    def _obstacle(self) -> str:
        """Why the device can compute nothing at all from here, "" if it can."""
        return ""

    def _counters(self) -> Mapping[str, int]:
        """Counters of the device that only grow, for the evidence, as they stand now."""
        return {}

    def stream(self, *, interval: float = 1.0, duration: float | None = None) -> Iterator[TelemetryReading]:
        """Yield a telemetry reading every `interval` s for `duration` s, or until closed or `abort()`.

        Raises NotSupported where the device tells nothing, UsageError for an interval of 0 or less.
        """
        if not interval > 0:
            raise UsageError(f"an interval of {interval} s is none", where=self.address)
        left = None if duration is None else max(1, round(duration / interval))
        with self._abortable() as stop:
            while (left is None or left > 0) and not stop.wait(interval):
                yield self.read()
                left = None if left is None else left - 1

    def measure_peak(
        self,
        precision: Precision = "fp32",
        *,
        path: Path = "vector",
        duration: float = 1.0,
        ready: Ready | None = None,
        progress: Progress | None = None,
    ) -> PeakMeasurement:
        """Run the kernel for `duration` s on the whole device after a warm-up and evaluate it, FLOP/s (OP/s: integers).

        duration: s, 0.1 or more; 10 or more for a calibration. ready: waits for other devices before the warm-up.
        Raises NotSupported for what the device lacks, Aborted after `abort()`, ConnectionLost if the device is lost
        meanwhile, LockedByOther while another measurement or load of this object runs.
        """
        support = self._require_supported(precision, path)
        if not duration >= SHORTEST_S:
            raise UsageError(
                f"a measurement of {duration} s is too short", where=self.address, advice=f"give {SHORTEST_S} s or more"
            )
        self._require_whole_device()
        watch = None
        if self._sample() is not None:
            watch = Watch(lambda: cast(TelemetryReading, self._sample()), min(INTERVAL_S, duration / 10))
        with self._computing(), self._abortable() as stop:
            strangers, counted = self._strangers(), self._counters()
            seen = Observation()
            try:
                with self._prepare(support, stop.is_set) as kernel:
                    work = measure(
                        kernel,
                        duration,
                        launch_s=self.launch_s,
                        warm_up=min(duration / 5, _MOST_WARM_UP_S),
                        stopped=stop.is_set,
                        ready=ready,
                        begun=watch.start if watch is not None else lambda: None,
                        progress=progress,
                    )
            finally:
                if watch is not None:
                    seen = watch.stop()
            if work is None or stop.is_set():
                raise Aborted("the measurement was aborted", where=self.address, why="nothing runs on the device now")
            strangers = tuple(dict.fromkeys((*strangers, *self._strangers())))
            after = self._counters()
            gained = {name: after[name] - before for name, before in counted.items() if name in after}
            about = self._circumstances(support, strangers)
            if gained:
                about = replace(about, evidence={**about.evidence, "slowed_down_ns": gained})
            return self._evaluated(evaluate(work, seen, about))

    def _evaluated(self, result: PeakMeasurement) -> PeakMeasurement:
        """Take note of a result."""
        return result

    def run_load(self, fraction: float, *, duration: float | None, precision: Precision = "fp32") -> OffloadLoad:
        """Start a steady load of `fraction` (0…1) of the device's time for `duration` s, None = until stopped.

        Raises NotSupported, UsageError, LockedByOther while something else of this object computes.
        """
        if not 0.0 <= fraction <= 1.0:
            raise UsageError(f"a load of {fraction} is none", where=self.address, advice="give a fraction from 0 to 1")
        support = self._support_for_load(precision)

        with self._computing():
            load = OffloadLoad(partial(self._prepare, support), fraction, duration=duration, name=self.address)
            self._loads.append(load)
        return load

    def _support_for_load(self, precision: Precision) -> PrecisionSupport:
        return self._require_supported(precision, "vector")

    def abort(self) -> None:
        """Stop measurements, loads and streams now; what is queued (some 0.02 s) ends first; never raises."""
        for stop in tuple(self._stops):
            stop.set()
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

    def _require_open(self) -> None:
        if not self.is_open:
            raise NotOpen(
                f"{self.DRIVER.name} is not open", where=self.address, advice="use it in a `with`, or call open()"
            )

    def _require_supported(self, precision: str, path: str) -> PrecisionSupport:
        """Return the entry of the capabilities; raises NotSupported, saying what there is instead."""
        self._require_open()
        capabilities = self.capabilities
        found = capabilities.supported(precision, path)
        if found is None:
            has = ", ".join(f"{one.precision} {one.path} ({one.implementation})" for one in capabilities.supports)
            raise NotSupported(
                f"this device has no {path} path for {precision}",
                where=self.address,
                why=self._obstacle()
                or capabilities.notes.get(precision)
                or "there is no kernel, or the device lacks it",
                advice=f"what it can compute: {has or 'nothing'}",
            )
        return found

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
