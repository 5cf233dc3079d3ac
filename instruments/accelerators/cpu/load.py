"""A steady load on all cores: each works for a fraction of every period and sleeps for the rest."""

from __future__ import annotations

import atexit
import contextlib
import random
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from aicalib_hw.errors import MeasurementInvalid

from ...bystanders import Bystanders
from .arithmetic import Kernel, gain
from .cores import CoreOfHost
from .crew import pin
from .native import Control, Core, LoadDone, Plan

JITTER = 0.25
"""Each period differs from the stated one by up to this fraction, so that no meter falls into step with it."""

_CALL_NS = 50_000_000
_GRAIN_NS = 25_000
_NO_TIME_LIMIT = 2**62
_JOIN_S = 2.0

_running: weakref.WeakSet[CpuLoad] = weakref.WeakSet()


@dataclass(slots=True)
class _Done:
    """What one core has done so far, replaced as a whole so that a reader never sees half of it."""

    busy_ns: int = 0
    wall_ns: int = 0


class CpuLoad:
    """A load that runs in the background until its duration is over or `stop()`; ends with its `with`.

    It is steered by the processor time that each thread really had: what one period gave too little,
    the next one makes good, as far as other programs leave the processor.
    """

    def __init__(
        self,
        kernel: Kernel,
        cores: Sequence[CoreOfHost],
        fraction: float,
        *,
        duration: float | None,
        period: float,
        seed: int,
    ) -> None:
        self.fraction = fraction
        self.period = period
        self._kernel = kernel
        self._control = Control()
        self._period_ns = round(period * 1e9) if fraction > 0 else _CALL_NS  # an idle core need not wake up more often
        self._until_ns = _NO_TIME_LIMIT if duration is None else time.monotonic_ns() + round(duration * 1e9)
        self._done = [_Done() for _ in cores]
        self._seen = [_Done() for _ in cores]
        self._failure: BaseException | None = None
        self._bystanders = Bystanders()
        self._threads = [
            threading.Thread(target=self._guarded, args=(i, core, seed), name=f"load {core.processor}", daemon=True)
            for i, core in enumerate(cores)
        ]
        _running.add(self)
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        """True while the load is applied."""
        return any(thread.is_alive() for thread in self._threads)

    def achieved(self) -> float:
        """Return the fraction of full load achieved since the last call, or the start, from processor time.

        Counts whole turns of about 0.05 s; 0 if none has ended since. Raises MeasurementInvalid if a core
        computed wrong results.
        """
        if self._failure is not None:
            raise self._failure
        now, before, self._seen = list(self._done), self._seen, list(self._done)
        wall = sum(new.wall_ns - old.wall_ns for new, old in zip(now, before, strict=True))
        busy = sum(new.busy_ns - old.busy_ns for new, old in zip(now, before, strict=True))
        return min(busy / wall, 1.0) if wall > 0 else 0.0

    def others(self) -> float | None:
        """Return the share of this host's processors that other programs used since the last call, or the start."""
        return self._bystanders.share()

    def stop(self) -> None:
        """End the load now and wait for it; idempotent, never raises."""
        self._control.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                with contextlib.suppress(RuntimeError):
                    thread.join(_JOIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _guarded(self, index: int, core: CoreOfHost, seed: int) -> None:
        try:
            self._work(index, core, random.Random(f"{seed}/{core.processor}"))
        except BaseException as error:  # noqa: BLE001 - kept for the thread that asks
            self._failure = error
            self._control.stop()

    def _work(self, index: int, core: CoreOfHost, jitter: random.Random) -> None:
        pin(core)
        native = Core(self._control)
        plan = Plan(self._kernel, self._grain(native))
        debt_ns = 0
        per_call = max(1, _CALL_NS // self._period_ns)
        while not self._control.stopped and time.monotonic_ns() < self._until_ns:
            periods = [round(self._period_ns * (1 + JITTER * jitter.uniform(-1, 1))) for _ in range(per_call)]
            done = native.load(plan, self.fraction, periods, debt_ns=debt_ns, until_ns=self._until_ns)
            debt_ns = done.debt_ns
            self._require_right(plan, done, core)
            former = self._done[index]
            self._done[index] = _Done(former.busy_ns + done.busy_ns, former.wall_ns + done.wall_ns)

    def _grain(self, native: Core) -> int:
        """Pairs of steps that take about 25 µs: the grain of the work."""
        pairs = 64
        for _ in range(3):
            spans = native.run(Plan(self._kernel, pairs), until_ns=_NO_TIME_LIMIT, most=8).slices
            shortest = min(
                (stop - start for start, stop in zip(spans[::2], spans[1::2], strict=True)), default=_GRAIN_NS
            )
            pairs = max(1, min(pairs * _GRAIN_NS // max(shortest, 1), self._kernel.most_pairs))
        return pairs

    def _require_right(self, plan: Plan, done: LoadDone, core: CoreOfHost) -> None:
        expected = gain(plan.kernel, plan.kernel.operands, plan.pairs)
        if done.slices and (done.least, done.greatest) != (expected, expected):
            raise MeasurementInvalid(
                f"processor {core.processor} computes wrong results under load",
                where="cpu://local",
                why=f"lanes gained {done.least} to {done.greatest}, and {expected} is right",
                advice="do not trust this machine until its cooling, supply and memory have been checked",
            )


@atexit.register
def _stop_all() -> None:
    for load in tuple(_running):
        load.stop()
