"""Whether updates of a meter were missed, told from when they were read: a late reading is not a missed one."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 20
_PUNCTUAL = 0.1
"""Share of an interval by which a reading may be more punctual than those before it."""


class UpdatePace:
    """Follows readings of a meter that updates every `interval` s.

    A meter keeps the event of one update until it is read; one more update on top of it is lost. So a
    reading may be late by less than an interval without loss, and the next one is then early. Lateness
    is counted from the most punctual of the last readings, which also follows the drift between clocks.

    Updates that come faster than the meter says, by more than lateness explains, cannot be counted by this clock: from
    then on nothing is said of what was lost. So it is in a simulated world that runs faster than real time.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._first: float | None = None
        self._count = 0
        self._lateness: deque[float] = deque(maxlen=_REMEMBERED)
        self._blind = False

    def missed_before(self, now: float) -> int | None:
        """Return how many updates were lost between the reading before and this one, read at `now` s (monotonic).

        None where that cannot be told.
        """
        if self._first is None:
            self._first = now
            self._lateness.append(0.0)
            return 0
        self._count += 1
        late = now - (self._first + self._count * self._interval)
        self._blind = self._blind or late < max(self._lateness) - (1 + _PUNCTUAL) * self._interval
        if self._blind:
            return None
        missed = max(0, int((late - min(self._lateness)) / self._interval + _PUNCTUAL))
        self._count += missed
        self._lateness.append(late - missed * self._interval)
        return missed
