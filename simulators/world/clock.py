"""The one clock of a simulated world: real time, N times faster, or moved by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LONGEST_NAP = 0.05
"""Longest real wait before a waiting thread looks again whether it was cancelled, s."""


class Clock:
    """World time in s since the start; threads wait on it without polling faster than need be.

    rate: world seconds a real second; 0 = stepped: time moves by `advance()` alone. origin: `time.monotonic()` at 0.
    """

    def __init__(self, rate: float = 1.0) -> None:
        if rate < 0:
            raise ValueError("a clock cannot run backwards")
        self.rate = rate
        self._moved = threading.Condition()
        self._followers: list[Callable[[], object]] = []
        self._leader: Callable[[], float] | None = None
        self._stepped = 0.0
        self.origin = time.monotonic()

    @property
    def mode(self) -> str:
        """ "stepped", "real" or "fast"."""
        return "stepped" if self.rate == 0 else "real" if self.rate == 1 else "fast"

    def now(self) -> float:
        """Return world time, s."""
        if self.rate == 0:
            with self._moved:
                if self._leader is not None:
                    self._stepped = max(self._stepped, self._leader())
                return self._stepped
        return (time.monotonic() - self.origin) * self.rate

    def advance(self, seconds: float) -> None:
        """Move a stepped clock forward; raises RuntimeError on a clock that moves by itself."""
        if self.rate != 0:
            raise RuntimeError("only a stepped clock can be advanced")
        if seconds < 0:
            raise ValueError("a clock cannot run backwards")
        with self._moved:
            self._stepped = self.now() + seconds
            self._moved.notify_all()
        for follow in tuple(self._followers):
            follow()

    def follow(self, leader: Callable[[], float]) -> None:
        """Let a stepped clock be at least where `leader` is, s: a wait inside a simulated library moves it."""
        self._leader = leader

    def when_advanced(self, follow: Callable[[], object]) -> None:
        """Call `follow` after every step of a stepped clock."""
        self._followers.append(follow)

    def cancel(self, waiting: threading.Event) -> None:
        """Set the event that was given to `wait_until`, and wake who waits."""
        waiting.set()
        with self._moved:
            self._moved.notify_all()

    def wait_until(self, moment: float, cancel: threading.Event | None = None, limit: float | None = None) -> bool:
        """Wait until world time `moment`; False if `cancel` was set or `limit` real seconds passed before."""
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            if cancel is not None and cancel.is_set():
                return False
            left = moment - self.now()
            if left <= 0:
                return True
            nap = _LONGEST_NAP if self.rate == 0 else min(left / self.rate, _LONGEST_NAP)
            if deadline is not None:
                nap = min(nap, deadline - time.monotonic())
                if nap <= 0:
                    return False
            with self._moved:
                self._moved.wait(nap)
