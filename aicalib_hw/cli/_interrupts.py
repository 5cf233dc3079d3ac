"""Ctrl-C and SIGTERM as one thing: the first stops the work, later ones do not disturb the cleaning up."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
