"""A steady part load on a device: a launch sized to a fraction of each period, then nothing until the next."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self

from aicalib_hw.errors import Aborted, MeasurementInvalid

from ...bystanders import Bystanders
from .run import PreparedKernel, size_for

PERIOD_S = 0.02
CHECK_EVERY = 50
"""Turns from one look at the results to the next: reading them back takes longer than a turn."""

_IDLE_S = 0.05
_JOIN_S = 5.0

_running: weakref.WeakSet[OffloadLoad] = weakref.WeakSet()


class OffloadLoad:
    """A load that runs in the background until its duration is over or `stop()`; ends with its `with`.

    make: puts the kernel on the device, unless what it is given says that the load is over; called on the thread that
    computes.
    period: s of one turn. What one turn gave too little, by the device's clock, the next makes good.
    """

    def __init__(
        self,
        make: Callable[[Callable[[], bool]], AbstractContextManager[PreparedKernel]],
        fraction: float,
        *,
        duration: float | None,
        period: float = PERIOD_S,
        name: str = "",
    ) -> None:
        self.fraction = fraction
        self._make = make
        self._period = period
        self._until = None if duration is None else time.monotonic() + duration
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._busy = 0.0
        self._mark = (time.monotonic(), 0.0)
        self._failure: BaseException | None = None
        self._bystanders = Bystanders()
        self._thread = threading.Thread(target=self._guarded, name=f"load {name}", daemon=True)
        _running.add(self)
        self._thread.start()

    @property
    def running(self) -> bool:
        """True while the load is applied."""
        return self._thread.is_alive()

    def achieved(self) -> float:
        """Return the share of time that the device computed since the last call, or the start, by its own clock.

        Raises what ended the load early, and MeasurementInvalid if the device computed wrong results.
        """
        if self._failure is not None:
            raise self._failure
        with self._lock:
            now, busy = time.monotonic(), self._busy
            before, self._mark = self._mark, (now, busy)
        elapsed = now - before[0]
        return min((busy - before[1]) / elapsed, 1.0) if elapsed > 0 else 0.0

    def others(self) -> float | None:
        """Return the share of this host's processors that other programs used since the last call, or the start.

        What they do on the device itself is not told.
        """
        return self._bystanders.share()

    def stop(self) -> None:
        """End the load now and wait for it; idempotent, never raises."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):
                self._thread.join(_JOIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _over(self) -> bool:
        return self._stop.is_set() or (self._until is not None and time.monotonic() >= self._until)

    def _guarded(self) -> None:
        try:
            if self.fraction <= 0:
                while not self._over():
                    self._stop.wait(_IDLE_S)
                return
            with self._make(self._over) as kernel:
                self._work(kernel)
        except Aborted:
            return
        except BaseException as error:  # noqa: BLE001 - kept for the thread that asks
            self._failure = error

    def _work(self, kernel: PreparedKernel) -> None:
        size_for(kernel, self.fraction * self._period)
        kernel.reset()
        debt = 0.0
        begin = time.monotonic()
        turn = 0
        while not self._over():
            _, lasted = kernel.finish(kernel.launch())
            wrong = kernel.wrong() if turn % CHECK_EVERY == 0 else ""
            if wrong:
                raise MeasurementInvalid(
                    "the device computes wrong results under load",
                    why=wrong,
                    advice="do not trust this device until its cooling, supply and memory have been checked",
                )
            with self._lock:
                self._busy += lasted
            debt += self.fraction * self._period - lasted
            wanted = self.fraction * self._period + max(-self._period / 2, min(debt, self._period / 2))
            if lasted > 0:
                kernel.size = max(1, min(round(kernel.size * wanted / lasted), kernel.most_size))
            turn += 1
            if self.fraction < 1.0:
                self._stop.wait(max(0.0, begin + turn * self._period - time.monotonic()))


@atexit.register
def _stop_all() -> None:
    for load in tuple(_running):
        load.stop()
