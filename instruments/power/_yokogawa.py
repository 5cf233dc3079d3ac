"""What the Yokogawa WT series does alike: updates, the integrator, settings that come with every reading.

Sources: IM WT310E-17EN and IM WT3001E-17EN (grammar ch. 5, status ch. 7). A reading and all the settings it
depends on come in one exchange, so that a range that somebody changes at the panel is never taken for the old
one. While a stream runs only ranges and over-range come with each update, as a meter needs its time for each
question: the panel is locked then, and a `configure()` from another thread is noticed.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from aicalib_hw.errors import (
    AicalibError,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentError,
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

from ._evaluation import later
from ._update_pace import UpdatePace
from ._yokogawa_updates import YokogawaSettings, YokogawaUpdates

_WAIT = ":COMMunicate:WAIT? 1"
"""Answered when UPD has fallen: at once, if it fell since the event register was read."""


class YokogawaMeter(YokogawaUpdates):
    """A meter of the WT series."""

    ERROR_QUERY: ClassVar[str] = ":STATus:ERRor?"

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
        self._pace: UpdatePace | None = None
        self._configured = 0

    @abc.abstractmethod
    def _make_settings(self) -> YokogawaSettings:
        """Return the settings of the instrument that has just been identified."""

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
        self._choose_items(self._make_settings())
        self._pace = None

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

        A reading whose `missed` is not 0 follows updates that were lost because the caller, or the host, was too slow:
        by one or two readings, where only these show it. They count as part of `duration`.
        """
        self._abort.clear()
        yield from self._updates(duration)

    def _updates(self, duration: float | None = None) -> Iterator[PowerReading]:
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
            left = None if left is None else left - 1 - (reading.missed or 0)

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
        failed: dict[str, list[str]] = {}  # by the reason, which is one where the meter is gone
        with self._lock:
            try:
                state = self.integration_state()
                if state != "RESET":
                    self.reset_integration()
                    actions.append(f"integration was in state {state}: stopped and reset")
            except AicalibError as error:
                failed.setdefault(error.what, []).append("integration")
            try:
                self._link.write(":COMMunicate:REMote OFF")
                actions.append("front panel back to local")
            except AicalibError as error:
                failed.setdefault(error.what, []).append("front panel")
        failures = (f"{' and '.join(parts)}: {reason}" for reason, parts in failed.items())
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
        if in_force is None:
            self.session.query(_WAIT, timeout=wait)
            self._raise_if_aborted()
            return self._shown_with_settings(_ending(Instant.now(), interval), self._settings_now(), fresh=True)
        asked = time.monotonic()
        # One message: an update that fell between two would be taken in place of the one that was waited for.
        answers = self.session.query(f"{_WAIT};:STATus:EESR?;{self._question}", timeout=wait).split(";")[2:]
        self._raise_if_aborted()
        stop = Instant.now()
        missed = self._pace.missed_before(asked, stop.monotonic_ns / 1e9) if self._pace is not None else None
        return self._reading(self._shown(answers), in_force, _ending(stop, interval), missed, Status.VALID)


def _ending(stop: Instant, interval: float) -> Window:
    return Window(later(stop, -interval), stop, "one update interval")
