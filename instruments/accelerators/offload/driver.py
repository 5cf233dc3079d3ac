"""The part of a driver that every device beside the host has in common: measuring, loading, stopping."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import cast

from aicalib_hw.errors import Aborted, NotOpen, NotSupported
from aicalib_hw.interfaces.accelerator import (
    AcceleratorCapabilities,
    Path,
    PeakMeasurement,
    Precision,
    PrecisionSupport,
    Ready,
    TelemetryReading,
)
from aicalib_hw.interfaces.instrument import Progress

from ..computing import ComputingAccelerator
from .load import OffloadLoad
from .results import Circumstances, evaluate
from .run import PreparedKernel, measure
from .watch import INTERVAL_S, Observation, Watch

LAUNCH_S = 0.005
_MOST_WARM_UP_S = 1.0


class OffloadAccelerator(ComputingAccelerator):
    """Measures what `_prepare` puts on the device. A subclass adds telemetry, theory and the vendor's library."""

    launch_s = LAUNCH_S

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

    def _reading_after(self, wait: Callable[[], object]) -> TelemetryReading:
        wait()
        return self.read()

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

        duration: s, 0.1 or more; 10 or more for a calibration. ready: whether other devices are warm too.
        Raises NotSupported for what the device lacks, Aborted after `abort()`, ConnectionLost if the device is lost
        meanwhile, LockedByOther while another measurement or load of this object runs.
        """
        support = self._require_supported(precision, path)
        self._require_long_enough(duration)
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
        self._require_fraction(fraction)
        prepare = partial(self._prepare, self._support_for_load(precision))
        return self._started(lambda: OffloadLoad(prepare, fraction, duration=duration, name=self.address))

    def _support_for_load(self, precision: Precision) -> PrecisionSupport:
        return self._require_supported(precision, "vector")

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
