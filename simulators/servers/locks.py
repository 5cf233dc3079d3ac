"""Who may use an instrument: one exclusive lock, or one shared by all that know its key (VPP-4.3, IVI-6.1)."""

from __future__ import annotations

import threading
import time
from typing import Literal

_NAP = 0.05
"""How soon somebody who waits for a lock notices that he is cancelled, real s."""


class Locks:
    """The locks of one instrument; holders are any objects."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._exclusive: object | None = None
        self._sharing: set[object] = set()
        self._key = b""

    @property
    def exclusive(self) -> bool:
        """True while somebody holds the exclusive lock."""
        return self._exclusive is not None

    @property
    def holders(self) -> int:
        """How many hold a lock of either kind."""
        with self._changed:
            return len(self._sharing | ({self._exclusive} if self._exclusive is not None else set()))

    def acquire(self, who: object, key: bytes, wait: float, cancel: threading.Event) -> bool:
        """Take the lock, exclusive with an empty key, waiting up to `wait` real s; False if it was not to be had."""
        deadline = time.monotonic() + wait
        with self._changed:
            while not self._may_lock(who, key):
                left = deadline - time.monotonic()
                if left <= 0 or cancel.is_set():
                    return False
                self._changed.wait(min(left, _NAP))
            if key:
                self._key = key
                self._sharing.add(who)
            else:
                self._exclusive = who
            return True

    def release(self, who: object) -> Literal["exclusive", "shared"] | None:
        """Give the lock back, the exclusive one first; None if there is none."""
        with self._changed:
            if self._exclusive is who:
                self._exclusive = None
                kind: Literal["exclusive", "shared"] = "exclusive"
            elif who in self._sharing:
                self._sharing.discard(who)
                kind = "shared"
            else:
                return None
            self._changed.notify_all()
            return kind

    def forget(self, who: object) -> None:
        """Give all back that `who` holds."""
        while self.release(who) is not None:
            continue

    def may_use(self, who: object) -> bool:
        """True if no lock of others keeps `who` out."""
        with self._changed:
            return self._may_use(who)

    def wait_for(self, who: object, cancel: threading.Event, wait: float | None = None) -> bool:
        """Wait until `may_use`; False if cancelled, or after `wait` real s."""
        deadline = None if wait is None else time.monotonic() + wait
        with self._changed:
            while not self._may_use(who):
                left = _NAP if deadline is None else min(_NAP, deadline - time.monotonic())
                if left <= 0 or cancel.is_set():
                    return False
                self._changed.wait(left)
            return True

    def _may_use(self, who: object) -> bool:
        if self._exclusive is not None:
            return self._exclusive is who
        return not self._sharing or who in self._sharing

    def _may_lock(self, who: object, key: bytes) -> bool:
        if self._exclusive is who:
            return bool(key) and who not in self._sharing and not self._sharing
        if not self._may_use(who):
            return bool(key) and self._exclusive is None and key == self._key
        return not (key and who in self._sharing)
