"""Ctrl-C and SIGTERM as one thing: the first stops the work, later ones do not disturb the cleaning up."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

_AT_ONCE = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def wait_until(moment: float) -> None:
    """Sleep until `time.monotonic()` is `moment`, in short naps.

    A signal that the system hands to another thread does not end the main thread's sleep; its handler
    runs when the main thread next wakes up.
    """
    while (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, _AT_ONCE))


class Interrupts:
    """While entered, the first SIGINT or SIGTERM raises KeyboardInterrupt in the main thread; `received` keeps it."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}

    @property
    def exit_status(self) -> int:
        """What shells expect of a program that a signal ended: 128 + its number; 0 without a signal."""
        return 0 if self.received is None else 128 + self.received

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            raise KeyboardInterrupt
