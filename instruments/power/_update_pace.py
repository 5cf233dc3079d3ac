"""Whether updates of a meter were missed, told from when they were asked for and when they came."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 20
_PUNCTUAL = 0.1
"""Share of an interval by which punctual readings may differ."""

_DRIFT = 0.01
"""Share of an interval by which the meter's clock and this one may part while so many readings are remembered."""

_WAITED = 0.5
"""Share of an interval from question to reply beyond which the reply was waiting for the update."""


class UpdatePace:
    """Follows readings of a meter that updates every `interval` s.

    A meter keeps the event of one update until it is read; one more update on top of it is lost. So a reading may be
    late by less than an interval without loss, its reply by any time, and the next one is then early again. Lateness is
    counted from the most punctual of the last readings, which also follows the drift between clocks. An update was
    missed if the question came more than an interval late, or if two readings in a row that had to wait for their
    update came equally late, by an interval: so the second way tells of a loss one or two readings after it.

    Updates that come faster than the meter says, by more than lateness explains, cannot be counted by this clock: from
    then on nothing is said of what was lost. So it is in a simulated world that runs faster than real time.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._first: float | None = None
        self._read = self._missed = 0
        self._lateness: deque[float] = deque(maxlen=_REMEMBERED)
        self._asked: deque[float] = deque(maxlen=_REMEMBERED)
        self._waited: float | None = None
        self._blind = False

    def missed_before(self, asked: float, told: float) -> int | None:
        """Return how many updates are known to be lost before this one that were not told of yet; None = cannot tell.

        asked, told: when the question for this update was sent, and when its reply was there, s (monotonic).
        """
        if self._first is None:
            self._first = told
        else:
            self._read += 1
        asked, told = ((at - self._first) / self._interval - self._read for at in (asked, told))
        self._asked.append(asked)
        self._blind = self._blind or told < max(self._asked) - (1 + _PUNCTUAL)
        if self._blind:
            return None
        self._lateness.append(told - self._missed)
        punctual = self._missed + min(self._lateness)
        missed = self._lost(asked - punctual, told - punctual)
        self._missed += missed
        self._lateness[-1] -= missed
        return missed

    def _lost(self, asked: float, told: float) -> int:
        """How many more updates than known passed before a reading that was asked for and came so late, intervals."""
        before, self._waited = self._waited, None
        if asked >= 1 + _DRIFT:
            return int(asked - _DRIFT)
        if told - asked < _WAITED:
            return 0
        lost = int(told + _PUNCTUAL) if before is not None and abs(told - before) < _PUNCTUAL else 0
        self._waited = told - lost
        return lost
