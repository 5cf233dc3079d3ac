"""What the Yokogawa WT series does alike: updates, the integrator, settings that come with every reading.

Sources: IM WT310E-17EN and IM WT3001E-17EN (grammar ch. 5, status ch. 7). A reading and all the settings it
depends on come in one exchange, so that a range that somebody changes at the panel is never taken for the old
one. While a stream runs only ranges and over-range come with each update, as a meter needs its time for each
question: the panel is locked then, and a `configure()` from another thread is noticed.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

from aicalib_hw.errors import (
    AicalibError,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentError,
    NotOpen,
    ProtocolError,
)
from aicalib_hw.interfaces import (
    PowerReading,
    PowerSettings,
    ReleaseReport,
    Setting,
)
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Instant, Status, Window
from aicalib_hw.scpi.codec import parse_integer
from aicalib_hw.scpi.session import Link
from aicalib_hw.scpi.status import StandardEvent
from aicalib_hw.trace import Trace

from . import _yokogawa_values as values
from ._update_pace import UpdatePace
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


class YokogawaMeter(YokogawaIntegrator):
    """A meter of the WT series."""

    ERROR_QUERY: ClassVar[str] = ":STATus:ERRor?"
    WORDS: ClassVar[Mapping[str, str]] = {}
    """Functions that this family calls otherwise than U, I, P, …."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        trace: Trace | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        link: Link | None = None,
    ) -> None:
        super().__init__(
            address, timeout=timeout, trace=trace, visa_library=visa_library, baud_rate=baud_rate, link=link
        )
        self._settings: YokogawaSettings | None = None
        self._pace: UpdatePace | None = None
        self._ranges: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        self._configured = 0
        self._items: tuple[tuple[str, str], ...] = ()
        self._question = ""
        self._first_range = 0
        self._ranged: tuple[tuple[str, ...], tuple[tuple[float, ...], tuple[float, ...]]] | None = None
        self._answered: tuple[tuple[str, ...], PowerSettings] | None = None

    @abc.abstractmethod
    def _make_settings(self) -> YokogawaSettings:
        """Return the settings of the instrument that has just been identified."""

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

    def _prepare(self) -> None:
        """Bring a family into its own command set; nothing by default."""

    def _opened(self) -> None:
        self._link.clear()
        session = self.session
        session.errors()
        self._prepare()
        session.command(":STATus:QMESsage ON;:COMMunicate:HEADer OFF;VERBose ON")
        session.query("*ESR?")  # forget a power-on of before; one from now on is a restart
        session.command(":COMMunicate:REMote ON")
        for bit in range(2, 17):
            session.link.write(f":STATus:FILTer{bit} NEVer")
        session.command(":STATus:FILTer1 FALL")
        self._settings = settings = self._make_settings()
        self._items = self._listed()
        session.command(f":NUMeric:FORMat ASCii;NORMal:CLEar ALL;NUMber {len(self._items)}")
        for position, (function, element) in enumerate(self._items, 1):
            session.command(f":NUMeric:NORMal:ITEM{position} {self.WORDS.get(function, function)},{element}")
        of_status = self._status_questions()
        self._first_range = 1 + len(of_status)
        self._question = ";".join((":NUMeric:NORMal:VALue?", *of_status, *settings.range_questions))
        self._pace = None
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

    def configure(
        self,
        *,
        elements: Sequence[int] | None = None,
        wiring: Wiring | None = None,
        voltage_range: float | None = None,
        current_range: float | None = None,
        auto_range: bool | None = None,
        crest_factor: str | None = None,
        update_interval: float | None = None,
        ct_ratio: float | None = None,
        vt_ratio: float | None = None,
        line_filter: bool | None = None,
        averaging: int | None = None,
    ) -> PowerSettings:
        """Set what is given (V, A, s; ranges at the meter's input) and read everything back.

        elements: those that ranges, ratios and line filter are for, where the meter sets each by itself.
        Raises OutOfRange before the wire for what this model does not have, InstrumentReportedError
        for what it refuses (813: not while integrating).
        """
        with self._lock:
            settings = self._settings_now()
            self._configured += 1
            self._ranges = None
            settings.apply(
                elements=elements,
                wiring=wiring,
                voltage_range=voltage_range,
                current_range=current_range,
                auto_range=auto_range,
                crest_factor=crest_factor,
                update_interval=update_interval,
                ct_ratio=ct_ratio,
                vt_ratio=vt_ratio,
                line_filter=line_filter,
                averaging=averaging,
            )
            return settings.in_force()

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> PowerReading:
        """Return the next update of the meter; with `fresh=False` what it shows, STALE if that was read before.

        Values, status and every setting they depend on come in one exchange.
        timeout: s, None = two update intervals and the link's. Raises DeadlineExceeded, ConnectionLost, Aborted.
        """
        self._abort.clear()
        with self._explaining(), self._lock:
            settings = self._settings_now()
            if fresh:
                self._pace = None
                interval = self._interval(settings.in_force())
                self.session.query(":STATus:EESR?")
                return self._next(interval, None, timeout)
            now = Instant.now()
            return self._shown_with_settings(Window(now, now, "values shown at this moment"), settings)

    def stream(self, *, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield every update once, for `duration` s of the meter's time or until closed.

        A reading whose `missed` is not 0 follows updates that were lost because the caller was too slow.
        """
        self._abort.clear()
        in_force = self._settings_now().in_force()
        configured = self._configured
        left = None if duration is None else max(1, round(duration / self._interval(in_force)))
        with self._lock:
            self.session.query(":STATus:EESR?")
            self._pace = UpdatePace(self._interval(in_force))
        while left is None or left > 0:
            with self._explaining(), self._lock:
                if configured != self._configured:
                    in_force = self._settings_now().in_force()
                    configured = self._configured
                    self._pace = UpdatePace(self._interval(in_force))
                reading = self._next(self._interval(in_force), in_force, None)
            yield reading
            left = None if left is None else left - 1

    def hold(self, on: bool) -> None:
        """Hold the shown values, or let them go on."""
        self.session.command(f":HOLD {'ON' if on else 'OFF'}")

    def zero(self) -> None:
        """Compensate the zero level (`*CAL?`, some seconds); raises ProtocolError if the instrument reports failure."""
        reply = self.session.checked_query("*CAL?", timeout=30.0)
        if reply.strip() != "0":
            raise ProtocolError(f"zero-level compensation failed with {reply!r}", where=str(self.identity))

    def remote(self, on: bool) -> None:
        """Lock the front panel by taking the meter into remote, or give it back."""
        self.session.command(f":COMMunicate:REMote {'ON' if on else 'OFF'}")

    def snapshot(self) -> Mapping[str, Setting]:
        """Read every setting of the instrument that matters to a reading."""
        return self._settings_now().snapshot()

    def release(self) -> ReleaseReport:
        """Stop and clear the integrator and give the front panel back; idempotent; never raises."""
        if not self.is_open:
            return ReleaseReport()
        actions: list[str] = []
        failures: list[str] = []
        with self._lock:
            try:
                state = self.integration_state()
                if state != "RESET":
                    self.reset_integration()
                    actions.append(f"integration was in state {state}: stopped and reset")
            except AicalibError as error:
                failures.append(f"integration: {error.what}")
            try:
                self._link.write(":COMMunicate:REMote OFF")
                actions.append("front panel back to local")
            except AicalibError as error:
                failures.append(f"front panel: {error.what}")
        return ReleaseReport(tuple(actions), tuple(failures))

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Find out why a reading failed: a meter that was restarted, or headers that somebody switched on."""
        try:
            yield
        except (ProtocolError, DeadlineExceeded) as error:
            error.where = error.where or self.address
            if not self._abort.is_set():
                self._explain(error)
            raise

    def _explain(self, error: InstrumentError) -> None:
        try:
            events = parse_integer(self.session.query("*ESR?"))
            if isinstance(error, ProtocolError):
                self._link.write(":COMMunicate:HEADer OFF;VERBose ON")
                error.advice = "headers are off again, in case somebody had switched them on: read again"
        except AicalibError:
            return  # the first error says more
        if events & StandardEvent.POWER_ON:
            raise ConnectionLost(
                f"{self.identity} was switched off and on: its settings are those of its start",
                where=self.address,
                why=error.what,
                advice="close and open it, configure it again, and drop what was measured since",
            ) from error

    def _interval(self, in_force: PowerSettings) -> float:
        if not in_force.update_interval:
            raise ProtocolError(
                "the meter updates at no fixed interval",
                where=self.address,
                advice="set one: configure(update_interval=0.5)",
            )
        return in_force.update_interval

    def _next(self, interval: float, in_force: PowerSettings | None, timeout: float | None) -> PowerReading:
        """Wait for the falling edge of UPD, then take the values of that update; in_force None = ask them too."""
        self._raise_if_aborted()
        wait = timeout if timeout is not None else 2 * interval + self._link.timeout
        self.session.query(":COMMunicate:WAIT? 1", timeout=wait)
        self._raise_if_aborted()
        stop = Instant.now()
        start = Instant(stop.utc_ns - round(interval * 1e9), stop.monotonic_ns - round(interval * 1e9))
        window = Window(start, stop, "one update interval")
        if in_force is None:
            return self._shown_with_settings(window, self._settings_now(), fresh=True)
        missed = self._pace.missed_before(stop.monotonic_ns / 1e9) if self._pace is not None else None
        answers = self.session.query(f":STATus:EESR?;{self._question}").split(";")[1:]
        return self._reading(self._shown(answers), in_force, window, missed, Status.VALID)

    def _shown_with_settings(self, window: Window, settings: YokogawaSettings, *, fresh: bool = False) -> PowerReading:
        """Take values, status, ranges and all other settings in one exchange, and make a reading of them."""
        question = f":STATus:EESR?;{self._question}"
        whole = f"{question};{';'.join(settings.questions)}"
        if len(whole) <= _LONGEST_MESSAGE:
            answers = self.session.query(whole).split(";")
        else:
            rest = self.session.query(";".join(settings.questions)).split(";")
            answers = self.session.query(question).split(";") + rest
        kept = len(settings.questions)
        event, shown_by, of_settings = answers[0], answers[1:-kept], tuple(answers[-kept:])
        shown = self._shown(shown_by)
        ranges = tuple(shown_by[self._first_range :])
        # the same words mean the same settings, but for a sensor's ratio, which is a question of its own
        if self._answered is None or self._answered[0] != ranges + of_settings or any("," in text for text in ranges):
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
        if self._ranged is None or self._ranged[0] != texts or any("," in text for text in texts):
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
        shown_flags = tuple(
            flags | values.nonsense(taken, index + 1) if rms else flags
            for index, (flags, rms) in enumerate(zip(shown.flags, self._settings_now().rms, strict=True))
        )
        elements = tuple(
            values.element_reading(
                str(index + 1),
                taken,
                extra | shown_flags[index],
                shown.full(in_force, index),
                window,
                self.identity,
                self.address,
            )
            for index in range(count)
        )
        total = elements[0]
        summed: tuple[int, ...] = (0,)
        if count > 1 and in_force.wiring != "1P2W":
            summed = self._summed(in_force.wiring)
            flags = extra
            for index in summed:
                flags |= shown_flags[index]
            total = values.element_reading("SIGMA", taken, flags, {}, window, self.identity, self.address)
        status = Status.VALID
        for element in (*(elements[index] for index in summed), total):
            for quantity in (element.voltage, element.current, element.active_power):
                if quantity.status is not status:
                    status |= quantity.status
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
