"""One measurement of a kernel on the cores of this host, with what the host took away meanwhile."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import PeakMeasurement, Ready
from aicalib_hw.interfaces.instrument import Progress

from . import disturbance
from .arithmetic import Kernel
from .calibration import SLICES_PER_CLOCK
from .crew import Crew, worked_together
from .host import Host, unit_of
from .native import Control
from .results import Circumstances, evaluate

_MOST_WARM_UP_S = 0.2
_MOST_BEGINS = 5
"""How often a measurement is begun for which others left some core no turn at all."""


@dataclass(slots=True)
class KernelRun:
    """Measures one kernel; `stop()` from any thread ends it within a slice.

    stopping: says that the measurement is to end; whoever sets it calls `stop()` too, for a slice does not look.
    """

    host: Host
    kernel: Kernel
    identity: Identity
    stopping: threading.Event
    _control: Control | None = None

    def stop(self) -> None:
        """End the measurement now, or before it begins; never raises."""
        # An abort may have passed the event by just before it was there. It comes first: a measurement looks at it only
        # after its control is in place.
        self.stopping.set()
        control = self._control
        if control is not None:
            control.stop()

    def measure(
        self, duration: float, *, ready: Ready | None = None, progress: Progress | None = None
    ) -> PeakMeasurement | None:
        """Compute for `duration` s on every core and evaluate it; None if it was stopped.

        ready: whether the accelerators that the cores are measured with are warm too. Raises MeasurementInvalid if the
        cores never worked together.
        """
        processors = tuple(core.processor for core in self.host.cores)
        quota_file = self.host.quota.source if self.host.quota else ""
        warm_up = min(duration / 5, _MOST_WARM_UP_S)
        for _ in range(_MOST_BEGINS):
            before = disturbance.count(processors, quota_file=quota_file)
            self._control = control = Control()
            try:
                if self.stopping.is_set():
                    return None
                crew = Crew(self.kernel, self.host.cores, control)
                work = crew.work(duration, warm_up=warm_up, ready=ready, progress=progress)
            finally:
                self._control = None
            if self.stopping.is_set():
                return None
            # Those that began together with others have ended by now as well, and are not to be had again.
            if ready is not None or worked_together(work):
                break
        taken = disturbance.difference(before, disturbance.count(processors, quota_file=quota_file))
        return evaluate(work, duration, self._circumstances(duration, taken))

    def _circumstances(self, duration: float, taken: disturbance.HostCounters) -> Circumstances:
        kernel = self.kernel
        return Circumstances(
            identity=self.identity,
            unit=unit_of(kernel.precision),
            definition=kernel.definition,
            per_cycle=self.host.operations_per_cycle(kernel),
            per_cycle_reached=self.host.reaches_the_table(),
            maximum_clock=self.host.stated_clock("maximum").hertz,
            host=taken,
            settings={
                "precision": kernel.precision,
                "accumulator": kernel.accumulator,
                "path": kernel.path,
                "instruction_set": kernel.instruction_set,
                "cores": len(self.host.cores),
                "duration": duration,
                "slices_per_clock": SLICES_PER_CLOCK,
            },
            others=self.host.evidence(),
        )
