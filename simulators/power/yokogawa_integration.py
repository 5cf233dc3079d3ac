"""The INTEGrate group of Yokogawa's WT meters: RESET, START, STOP, TIMEUP, ERROR, and READY of real-time modes.

Errors 813, 842, 844 and 845 as the field knows them; the timer, its modes and the upper-level query from
IM WT3001E-17EN p. 74 and 75. Time is integrated between any two moments of world time, not only between updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from ..dialects.scpi.engine import CommandError
from .metering import Sample
from .yokogawa_grammar import Data, SettingTree, Suffixes, boolean, integer_in, one_of
from .yokogawa_items import Integral

WHILE_INTEGRATING, ALREADY_STARTED, NOT_RUNNING, STOP_FIRST = 813, 842, 844, 845
TEXTS = {
    WHILE_INTEGRATING: "Cannot be set while integration is running",
    ALREADY_STARTED: "Integration has been started already",
    NOT_RUNNING: "Integration is not running",
    STOP_FIRST: "Stop integration first",
}
"""Numbers as the field knows them; the words are ours, for no source has them."""

_LONGEST = 10000 * 3600.0
"""Longest integration, s: there the meter stops with ERROR."""


class Integration:
    """The integrator. now: world time; date_zero: the calendar's date at world time 0.

    sample: gives what an element integrates from one moment to another. changed: called after each change of state.
    guard: raises where a panel is locked.
    """

    def __init__(
        self,
        elements: Sequence[int],
        now: Callable[[], float],
        sample: Callable[[int, float, float], Sample],
        changed: Callable[[], None],
        guard: Callable[[], None],
        date_zero: datetime,
    ) -> None:
        self._elements = tuple(elements)
        self._now = now
        self._sample = sample
        self._changed = changed
        self._guard = guard
        self._date_zero = date_zero
        self.modes: tuple[str, ...] = ("NORMal", "CONTinuous")
        self.reset_settings()

    def reset_settings(self) -> None:
        """Default settings, nothing integrated."""
        self.state = "RESET"
        self.mode = "NORMAL"
        self.auto_zero = False
        self.timer = (0, 0, 0)
        self.real_time = {"START": self._date_zero, "END": self._date_zero + timedelta(hours=1)}
        self.due: float | None = None
        self._to = 0.0
        self._clear()

    def interrupt(self) -> None:
        """Power fails: a running integration ends with ERROR."""
        self.state = "ERROR"

    @property
    def running(self) -> bool:
        """True in START."""
        return self.state == "START"

    @property
    def timed(self) -> bool:
        """True while a timer runs."""
        return self.running and any(self.timer)

    def register(
        self, tree: SettingTree, *, real_time: bool = False, auto_zero: bool = False, timers: bool = False
    ) -> None:
        """Register the group; real_time, auto_zero: of the larger meters; timers: the timer takes a suffix."""
        if real_time:
            self.modes += ("RNORmal", "RCONtinuous")
        tree.speak(*self.modes, "RESet", "STARt", "TIMeup", "ERRor")
        tree.add("INTEGrate:MODE", set=self._set_mode, get=lambda _: self.mode)
        if auto_zero:
            tree.add("INTEGrate:ACAL", set=self._set_auto_zero, get=lambda _: str(int(self.auto_zero)))
        tree.add(
            f"INTEGrate:TIMer{'<x>' if timers else ''}",
            set=self._set_timer,
            get=lambda _: ",".join(map(str, self.timer)),
        )
        if real_time:
            for end, path in (("START", "STARt"), ("END", "END")):
                tree.add(
                    f"INTEGrate:RTIMe:{path}",
                    set=lambda _, data, end=end: self._set_real_time(end, data),  # type: ignore[misc]
                    get=lambda _, end=end: _date_text(self.real_time[end]),  # type: ignore[misc]
                    below=False,
                )
        tree.ask("INTEGrate:STATe", lambda *_: self.state if tree.verbose else tree.words.get(self.state, self.state))
        tree.act("INTEGrate:STARt", self.start)
        tree.act("INTEGrate:STOP", self.stop)
        tree.act("INTEGrate:RESet", self.reset)

    def follow(self, until: float) -> None:
        """Integrate up to world time `until`, and stop where the time is up."""
        if self.state == "READY" and self._world_time("START") <= until:
            self._to = self._world_time("START")
            self.due = self._world_time("END")
            self._enter("START")
        while self.running:
            end = until if self.due is None else min(until, self.due)
            if end > self._to:
                for element in self._elements:
                    self.integrals[element].add(self._sample(element, self._to, end), (end - self._to) / 3600)
                self.elapsed += end - self._to
                self._to = end
            if self.due is None or end < self.due:
                return
            if self.mode == "CONTINUOUS" and any(self.timer):
                self._clear()
                self.due = end + self._seconds
                continue
            self.due = None
            self._enter("ERROR" if self.elapsed >= _LONGEST else "TIMEUP")

    def start(self) -> None:
        """START, from RESET or STOP."""
        if self.state not in ("RESET", "STOP"):
            raise CommandError(ALREADY_STARTED, own=True)
        if self.state == "RESET":
            self._clear()
        self._to = self._now()
        if self.mode.startswith("R"):
            self._enter("READY")
            self.follow(self._to)
            return
        self.due = self._to + (self._seconds or _LONGEST) - self.elapsed
        self._enter("START")

    def stop(self) -> None:
        """STOP, from START alone."""
        self.follow(self._now())
        if self.state not in ("START", "READY"):
            raise CommandError(NOT_RUNNING, own=True)
        self.due = None
        self._enter("STOP")

    def reset(self) -> None:
        """RESET, from anywhere but START."""
        if self.state in ("START", "READY"):
            raise CommandError(STOP_FIRST, own=True)
        self._clear()
        self.due = None
        self._enter("RESET")

    def _clear(self) -> None:
        self.integrals = {element: Integral() for element in self._elements}
        self.elapsed = 0.0

    def _enter(self, state: str) -> None:
        self.state = state
        self._changed()

    @property
    def _seconds(self) -> float:
        hours, minutes, seconds = self.timer
        return 3600.0 * hours + 60.0 * minutes + seconds

    def _world_time(self, end: str) -> float:
        return (self.real_time[end] - self._date_zero).total_seconds()

    def _set_mode(self, _: Suffixes, data: Data) -> None:
        self._guard()
        self.mode = one_of(data, self.modes)

    def _set_auto_zero(self, _: Suffixes, data: Data) -> None:
        self._guard()
        self.auto_zero = boolean(data)

    def _set_timer(self, _: Suffixes, data: Data) -> None:
        self._guard()
        if len(data) != 3:
            raise CommandError(109 if len(data) < 3 else 108)
        hours = integer_in(data[:1], 0, 10000)
        least = (hours, integer_in(data[1:2], 0, 59), integer_in(data[2:], 0, 59))
        if hours == 10000 and any(least[1:]):
            raise CommandError(222)
        self.timer = least

    def _set_real_time(self, end: str, data: Data) -> None:
        self._guard()
        if len(data) != 6:
            raise CommandError(109 if len(data) < 6 else 108)
        year, *rest = (integer_in([part], 0, 2099) for part in data)
        if year < 2001:
            raise CommandError(222)
        try:
            self.real_time[end] = datetime(year, *rest)  # type: ignore[arg-type]
        except ValueError:
            raise CommandError(222) from None


def _date_text(date: datetime) -> str:
    return f"{date.year},{date.month},{date.day},{date.hour},{date.minute},{date.second}"
