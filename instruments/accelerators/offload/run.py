"""Launches back to back on a device's queue, each timed by the device, until a time is over or somebody stops it."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aicalib_hw.interfaces.accelerator import Ready
from aicalib_hw.interfaces.instrument import Progress

QUEUED = 4
"""Launches kept in the queue, so that the device need not wait for the host; all of them are waited for at the end."""

_TRIES = 3
_SMALLEST_STEP = 1.5
_LARGEST_STEP = 64.0


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch by the device's clock: s since the first launch of the run began, s it lasted, exact operations."""

    begin: float
    duration: float
    operations: int


class PreparedKernel(Protocol):
    """A kernel on its device, with its operands in place.

    size: repetitions inside one launch; operations of a launch are exactly proportional to it.
    """

    size: int

    @property
    def most_size(self) -> int:
        """Largest size for which results are still exact."""

    @property
    def operations(self) -> int:
        """Exact operations of one launch at the present size."""

    def launch(self) -> Any:
        """Queue one launch and return what `finish` needs."""

    def finish(self, token: Any) -> tuple[float, float]:
        """Wait for a launch; return s since the origin when it began, and s that it lasted."""

    def reset(self) -> None:
        """Forget all results; the next launch is the origin of time."""

    def wrong(self) -> str:
        """Say what is wrong with the results of all launches since `reset`, "" if nothing is."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a device did. host_begin_ns, host_end_ns: round all launches, on the host's monotonic clock."""

    launches: tuple[Launch, ...]
    host_begin_ns: int
    host_end_ns: int
    wrong: str

    @property
    def operations(self) -> int:
        """Exact operations of all launches."""
        return sum(launch.operations for launch in self.launches)

    @property
    def device_seconds(self) -> float:
        """From the begin of the first launch to the end of the last, on the device's clock."""
        return max(launch.begin + launch.duration for launch in self.launches) - self.launches[0].begin


def size_for(kernel: PreparedKernel, seconds: float) -> None:
    """Set the size so that a launch lasts about `seconds`, from launches of growing size.

    The shortest of three counts: a host that pauses between the first event and the launch makes it look longer.
    """
    for _ in range(12):
        kernel.reset()
        lasted = min(kernel.finish(kernel.launch())[1] for _ in range(_TRIES))
        factor = seconds / lasted if lasted > 0 else _LARGEST_STEP
        wanted = min(max(1, round(kernel.size * min(factor, _LARGEST_STEP))), kernel.most_size)
        if wanted == kernel.size or 1 / _SMALLEST_STEP < factor < _SMALLEST_STEP:
            kernel.size = wanted
            return
        kernel.size = wanted


def measure(
    kernel: PreparedKernel,
    duration: float,
    *,
    launch_s: float,
    warm_up: float,
    stopped: Callable[[], bool],
    ready: Ready | None = None,
    begun: Callable[[], object] = lambda: None,
    progress: Progress | None = None,
) -> Work | None:
    """Run launches of about `launch_s` s for `duration` s after `warm_up` s that do not count; None if stopped.

    Nothing runs on the device any more when this returns. ready: whether the others that this device is measured with
    are warm too; until they are it goes on working, so that all that share a supply and a cooling are under load.
    begun: called between warm-up and what counts.
    """
    size_for(kernel, launch_s)
    warm = _keep_busy(kernel, lambda elapsed: elapsed >= warm_up and (ready is None or ready(0.0)), stopped)
    if stopped():
        return None
    if warm:
        # A cold device, or one that others are just being prepared beside, has made the first launches look longer.
        lasted = statistics.median(launch.duration for launch in warm[len(warm) // 2 :])
        wanted = round(kernel.size * launch_s / lasted) if lasted > 0 else kernel.size
        kernel.size = min(max(1, wanted), kernel.most_size)

    def told(elapsed: float, launches: int) -> None:
        if progress is not None:
            progress(min(elapsed / duration, 1.0), f"{launches} launches")

    begun()
    kernel.reset()
    begin = time.monotonic_ns()
    launches = _keep_busy(kernel, lambda elapsed: elapsed >= duration, stopped, told)
    end = time.monotonic_ns()
    if stopped():
        return None
    told(duration, len(launches))
    return Work(tuple(launches), begin, end, kernel.wrong())


def _keep_busy(
    kernel: PreparedKernel,
    over: Callable[[float], bool],
    stopped: Callable[[], bool],
    told: Callable[[float, int], object] = lambda elapsed, launches: None,
) -> list[Launch]:
    """Launch until it is over, by the s that have elapsed; told: these, and how many launches have ended."""
    begin = time.monotonic()
    queued: deque[Any] = deque()
    done: list[Launch] = []
    try:
        while not over(elapsed := time.monotonic() - begin) and not stopped():
            queued.append(kernel.launch())
            if len(queued) >= QUEUED:
                done.append(Launch(*kernel.finish(queued.popleft()), kernel.operations))
                told(elapsed, len(done))
    finally:
        while queued:
            done.append(Launch(*kernel.finish(queued.popleft()), kernel.operations))
    return done
