"""What a Yokogawa WT meter is asked for with each update, and the readings that its replies make.

Sources: IM WT310E-17EN and IM WT3001E-17EN (numeric items, status). Values, status and ranges come in one exchange,
and with `_shown_with_settings` all other settings too, so that a range that somebody changes at the panel is never
taken for the old one.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from aicalib_hw.errors import NotOpen, ProtocolError
from aicalib_hw.interfaces import PowerReading, PowerSettings, Setting
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Status, Window
from aicalib_hw.scpi.codec import parse_integer

from . import _yokogawa_values as values
from ._yokogawa_integrator import YokogawaIntegrator
from ._yokogawa_values import Shown

_LONGEST_MESSAGE = 1000
"""Characters of one message; instruments of this make take 1024."""


class YokogawaSettings(Protocol):
    """What the driver needs of a family's settings."""

    @property
    def range_questions(self) -> Sequence[str]: ...
    @property
    def questions(self) -> Sequence[str]: ...
    @property
    def rms(self) -> Sequence[bool]: ...
    def ranges(self, answers: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]: ...
    def from_answers(self, ranges: Sequence[str], answers: Sequence[str]) -> PowerSettings: ...
    def in_force(self) -> PowerSettings: ...
    def apply(self, **wanted: Any) -> None: ...
    def snapshot(self) -> Mapping[str, Setting]: ...


class YokogawaUpdates(YokogawaIntegrator):
    """A meter whose numeric items have been chosen, and what it shows of them."""

    WORDS: ClassVar[Mapping[str, str]] = {}
    """Functions that this family calls otherwise than U, I, P, …."""

    def __init__(self, address: str, **link: Any) -> None:
        super().__init__(address, **link)
        self._settings: YokogawaSettings | None = None
        self._ranges: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        self._items: tuple[tuple[str, str], ...] = ()
        self._question = self._of_settings = ""
        self._first_range = 0
        self._ranged: tuple[tuple[str, ...], tuple[tuple[float, ...], tuple[float, ...]]] | None = None
        self._answered: tuple[tuple[str, ...], PowerSettings] | None = None

    @abc.abstractmethod
    def _elements(self) -> int:
        """How many elements the instrument has."""

    def _status_questions(self) -> tuple[str, ...]:
        """What tells over-range and peak-over of each element."""
        return (":STATus:CONDition?",)

    @abc.abstractmethod
    def _flags(self, answers: Sequence[str]) -> tuple[Status, ...]:
        """Return over-range and peak-over of each element from the answers to `_status_questions`."""

    @abc.abstractmethod
    def _summed(self, wiring: Wiring | None) -> tuple[int, ...]:
        """Return the elements whose inputs the sum depends on, from 0."""

    def _choose_items(self, settings: YokogawaSettings) -> None:
        """Let the meter show what readings are made of, and nothing of before count."""
        self._settings = settings
        self._items = self._listed()
        self.session.command(f":NUMeric:FORMat ASCii;NORMal:CLEar ALL;NUMber {len(self._items)}")
        for position, (function, element) in enumerate(self._items, 1):
            self.session.command(f":NUMeric:NORMal:ITEM{position} {self.WORDS.get(function, function)},{element}")
        of_status = self._status_questions()
        self._first_range = 1 + len(of_status)
        self._question = ";".join((":NUMeric:NORMal:VALue?", *of_status, *settings.range_questions))
        self._of_settings = ";".join(settings.questions)
        self._ranges = None
        self._answered = None

    def _listed(self) -> tuple[tuple[str, str], ...]:
        elements = self._elements()
        items = [(function, str(e)) for e in range(1, elements + 1) for function in values.PER_ELEMENT]
        if elements > 1:
            items += [(function, "SIGMA") for function in (*values.OF_SUM, "WH")]
        return (*items, ("WH", "1"), ("TIME", "1"))

    def _settings_now(self) -> YokogawaSettings:
        if self._settings is None or not self.is_open:
            raise NotOpen(f"{self.DRIVER.name} is not open", where=self.address, advice="open() it first")
        return self._settings

    def _shown_with_settings(self, window: Window, settings: YokogawaSettings, *, fresh: bool = False) -> PowerReading:
        """Take values, status, ranges and all other settings in one exchange, and make a reading of them."""
        question = f":STATus:EESR?;{self._question}"
        whole = f"{question};{self._of_settings}"
        if len(whole) <= _LONGEST_MESSAGE:
            answers = self.session.query(whole).split(";")
        else:
            rest = self.session.query(self._of_settings).split(";")
            answers = self.session.query(question).split(";") + rest
        kept = len(settings.questions)
        event, shown_by, of_settings = answers[0], answers[1:-kept], tuple(answers[-kept:])
        shown = self._shown(shown_by)
        ranges = tuple(shown_by[self._first_range :])
        if self._answered is None or self._answered[0] != ranges + of_settings or _of_sensor(ranges):
            self._answered = (ranges + of_settings, settings.from_answers(ranges, of_settings))
        updated = fresh or bool(parse_integer(event) & 1)
        extra = Status.VALID if updated else Status.STALE
        return self._reading(shown, self._answered[1], window, None, extra)

    def _shown(self, answers: Sequence[str]) -> Shown:
        first = self._first_range
        texts_of_values = tuple(answers[0].split(","))
        settings = self._settings_now()
        if len(texts_of_values) != len(self._items) or len(answers) != first + len(settings.range_questions):
            raise ProtocolError(
                f"{';'.join(answers)!r} is no set of {len(self._items)} values with status and ranges",
                where=self.address,
                why="the reply is garbled, or somebody switched headers on",
                advice="read again; if it stays so, close and open the meter",
            )
        flags = self._flags(answers[1:first])
        texts = tuple(answers[first:])
        if self._ranged is None or self._ranged[0] != texts or _of_sensor(texts):
            self._ranged = (texts, settings.ranges(texts))
        voltage, current = self._ranged[1]
        return Shown(texts_of_values, flags, voltage, current)

    def _reading(
        self, shown: Shown, in_force: PowerSettings, window: Window, missed: int | None, extra: Status
    ) -> PowerReading:
        ranges = (shown.voltage, shown.current)
        if self._ranges is not None and ranges != self._ranges:
            extra |= Status.NOT_SETTLED
        self._ranges = ranges
        taken = dict(zip(self._items, shown.values, strict=True))
        count = len(shown.flags)
        shown_flags = [
            values.either(flags, values.nonsense(taken, index + 1)) if rms else flags
            for index, (flags, rms) in enumerate(zip(shown.flags, self._settings_now().rms, strict=True))
        ]
        identity, address = self.identity, self.address
        found = [
            values.element_reading(
                str(index + 1),
                taken,
                values.either(extra, shown_flags[index]),
                shown.full(in_force, index),
                window,
                identity,
                address,
            )
            for index in range(count)
        ]
        elements = tuple(element for element, _ in found)
        total, status = found[0]
        if count > 1 and in_force.wiring != "1P2W":
            summed = self._summed(in_force.wiring)
            flags = extra
            for index in summed:
                flags |= shown_flags[index]
            total, status = values.element_reading("SIGMA", taken, flags, {}, window, identity, address)
            for index in summed:
                status |= found[index][1]
        return PowerReading(elements, total, in_force, window, status, missed)

    def _in_force(self) -> PowerSettings:
        return self._settings_now().in_force()

    def _totals(self) -> tuple[str, str]:
        """WH of the sum, which with single elements is that of the first, and TIME, as shown now."""
        single = self._elements() == 1 or self._in_force().wiring == "1P2W"
        energy_at = 1 + self._items.index(("WH", "1" if single else "SIGMA"))
        reply = self.session.query(f":NUMeric:NORMal:VALue? {energy_at};VALue? {len(self._items)}")
        energy, _, elapsed = reply.partition(";")
        return energy, elapsed


def _of_sensor(ranges: Sequence[str]) -> bool:
    """Whether the same words may mean something else: a sensor's ratio is a question of its own."""
    return "," in "".join(ranges)
