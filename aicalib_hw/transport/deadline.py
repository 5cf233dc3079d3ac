"""A moment by which something must have happened."""

from __future__ import annotations

import time


class Deadline:
    """So many seconds from now, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        """True when nothing is left."""
        return self.left == 0.0
