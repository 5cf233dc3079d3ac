"""One thread on each core, pinned to it, all working through the same window of time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aicalib_hw.errors import InstrumentError
from aicalib_hw.interfaces.accelerator import Ready
from aicalib_hw.interfaces.instrument import Progress

from .arithmetic import Kernel
from .calibration import fit, stamp_cost
from .cores import CoreOfHost, can_pin
from .native import Control, Core, Plan, Spans

_WARMING_NS = 5_000_000
"""Length of a call while the begin is not known, or not near: every core is back in time for it."""

_GRACE_NS = 3 * _WARMING_NS
_WATCH_S = 0.05
_JOIN_S = 5.0


@dataclass(slots=True)
class CoreWork:
    """What one core did. cpu_ns: processor time of its thread over wall_ns; preempted: involuntary switches."""

    core: CoreOfHost
    plan: Plan
    spans: Spans = field(default_factory=Spans)
    pinned: bool = False
    stamp_cost_s: float = 0.0
    cpu_ns: int = 0
    wall_ns: int = 0
    preempted: int | None = None


class Crew:
    """Measures a kernel on some cores at once; used for one measurement."""

    def __init__(self, kernel: Kernel, cores: Sequence[CoreOfHost], control: Control) -> None:
        self._kernel = kernel
        self._cores = tuple(cores)
        self._control = control
        self._failures: list[BaseException] = []
        self._begin_ns = 0
        self._end_ns = 0
        self._fitted = threading.Barrier(len(self._cores), action=self._begin_to_warm_up)
        self._ready: Ready | None = None
        self._warm_ns = 0
        self._duration_ns = 0
        self._warm_up_ns = 0

    def work(
        self, duration: float, *, warm_up: float, ready: Ready | None = None, progress: Progress | None = None
    ) -> list[CoreWork]:
        """Compute for `duration` s on every core, after `warm_up` s that are not kept; returns what each core did.

        ready: whether the accelerators that these cores are measured with are warm too; until they are the cores go on.
        Ends early when the control is stopped; the calling thread stays free to take signals.
        """
        self._duration_ns, self._warm_up_ns, self._ready = round(duration * 1e9), round(warm_up * 1e9), ready
        work = [CoreWork(core, Plan(self._kernel, 1)) for core in self._cores]
        threads = [
            threading.Thread(target=self._guarded, args=(one,), name=f"core {one.core.processor}", daemon=True)
            for one in work
        ]
        try:
            for thread in threads:
                thread.start()
            self._watch(threads, progress)
        finally:
            self._control.stop()
            self._fitted.abort()
            for thread in threads:
                thread.join(_JOIN_S)
        if self._failures:
            raise self._failures[0]
        if any(thread.is_alive() for thread in threads):
            raise InstrumentError("a computing thread did not end", where="cpu://local")
        return work

    def _begin_to_warm_up(self) -> None:
        self._warm_ns = time.monotonic_ns() + self._warm_up_ns
        if self._ready is None:
            self._set_window(self._warm_ns)

    def _set_window(self, begin_ns: int) -> None:
        # A core that sees the begin must see the end as well.
        self._end_ns = begin_ns + _GRACE_NS + self._duration_ns
        self._begin_ns = begin_ns + _GRACE_NS

    def _watch(self, threads: Sequence[threading.Thread], progress: Progress | None) -> None:
        note = f"{self._kernel.precision} on {len(threads)} core{'s' if len(threads) > 1 else ''}"
        while any(thread.is_alive() for thread in threads):
            warm = self._warm_ns and time.monotonic_ns() >= self._warm_ns
            if self._ready is not None and warm and not self._begin_ns:
                if self._ready(_WATCH_S):
                    self._set_window(time.monotonic_ns())
                continue
            next(thread for thread in threads if thread.is_alive()).join(_WATCH_S)
            if progress is not None and self._begin_ns:
                done = (time.monotonic_ns() - self._begin_ns) / max(self._duration_ns, 1)
                progress(min(max(done, 0.0), 1.0), note)
        if progress is not None and not self._control.stopped:
            progress(1.0, note)

    def _guarded(self, work: CoreWork) -> None:
        try:
            self._work_on(work)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:  # noqa: BLE001 - carried to the thread that called work()
            self._failures.append(error)
            self._control.stop()
            self._fitted.abort()

    def _work_on(self, work: CoreWork) -> None:
        work.pinned = pin(work.core)
        core = Core(self._control)
        work.plan = fit(core, self._kernel)
        work.stamp_cost_s = stamp_cost(core, work.plan)
        self._fitted.wait()
        while not self._control.stopped and not self._about_to_begin():
            core.run(work.plan, until_ns=time.monotonic_ns() + _WARMING_NS)
        before = (time.thread_time_ns(), time.monotonic_ns(), _preemptions())
        begin_ns = self._begin_ns
        while not self._control.stopped and time.monotonic_ns() < self._end_ns:
            done = core.run(work.plan, until_ns=self._end_ns, not_before_ns=begin_ns)
            work.spans.extend(done)
        after = (time.thread_time_ns(), time.monotonic_ns(), _preemptions())
        # The core may have been slow before: with tiles of AMX it begins at less than half its rate after a pause.
        work.stamp_cost_s = min(work.stamp_cost_s, stamp_cost(core, work.plan))
        work.cpu_ns, work.wall_ns = after[0] - before[0], after[1] - before[1]
        work.preempted = None if before[2] is None or after[2] is None else after[2] - before[2]

    def _about_to_begin(self) -> bool:
        return self._begin_ns > 0 and time.monotonic_ns() >= self._begin_ns - _GRACE_NS


def worked_together(work: Sequence[CoreWork]) -> bool:
    """Return whether there was a time within the work of all cores; a busy host may leave some core no turn."""
    spans = [one.spans.slices for one in work]
    return all(spans) and max(one[0] for one in spans) < min(one[-1] for one in spans)


def pin(core: CoreOfHost) -> bool:
    """Bind this thread to the core; False where the system has no such thing."""
    if not can_pin():
        return False
    os.sched_setaffinity(0, {core.processor})
    return True


def _preemptions() -> int | None:
    """Involuntary context switches of this thread, None where the system does not count them by thread."""
    counter = _thread_usage()
    return None if counter is None else counter()


def _thread_usage() -> Callable[[], int] | None:
    try:
        import resource
    except ImportError:
        return None
    if not hasattr(resource, "RUSAGE_THREAD"):
        return None
    return lambda: resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
