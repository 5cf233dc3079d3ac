"""Meters that cannot say when they have updated: an update is what differs from what was shown before."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

from aicalib_hw.errors import ConnectionLost, InstrumentError, NotSupported, UsageError
from aicalib_hw.interfaces import LoadRun, PowerReading, PowerSettings, ReleaseReport
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Component, Instant, Measurement, Status, Window
from aicalib_hw.scpi.events import EventSession
from aicalib_hw.transport.deadline import Deadline

from ._evaluation import later
from ._scpi_meter import ScpiPowerMeter

_POLLS = 20
"""Polls in one update interval: an update is noticed when it is this share of an interval old."""

_PATIENCE = 5
"""Update intervals after which unchanged values are given out as STALE."""


def impossible(*rms: float) -> Status:
    """Return INVALID if a root mean square is negative, as meters show it whose auto range is lost; else VALID."""
    return Status.INVALID if any(value < 0 for value in rms) else Status.VALID


class PolledPowerMeter(ScpiPowerMeter):
    """A power meter that shows its last update and does not tell when it is a new one.

    Two updates with exactly the same digits in every value cannot be told from one: after 5 update
    intervals without a change the values are given out with status STALE. How many updates passed
    unread the meter does not tell either: `missed` is None.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ()
    """What `configure` can set on this family."""

    def __init__(self, address: str, *, update_interval: float, **link: Any) -> None:
        super().__init__(address, **link)
        if not update_interval > 0:
            raise UsageError(f"an update interval of {update_interval} s is none", where=address)
        self.session: EventSession = EventSession(self._link)
        self._interval = update_interval
        self._last: str | None = None
        self._ranges: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        self._configured = 0
        self._doubtful = False

    @abc.abstractmethod
    def _prepare(self) -> None:
        """Bring the meter, which has been identified and cleared, into the state that its values are asked in."""

    @abc.abstractmethod
    def _in_force(self) -> PowerSettings:
        """Read back everything that a reading depends on."""

    @abc.abstractmethod
    def _ask(self) -> str:
        """Return what the meter shows now, as it stands on the wire."""

    @abc.abstractmethod
    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        """Make a reading of what the meter shows; raises ProtocolError for what is no set of values."""

    def _apply(self, **wanted: Any) -> None:
        """Set what is given, all of it among `SETTINGS`; the families that have none need not provide it."""

    def _ranged(self, in_force: PowerSettings) -> PowerSettings:
        """The settings in force with the ranges as they are after an update; as they were, where none is known."""
        return in_force

    def _again(self) -> None:
        """Say again how values are to be given, which somebody may have changed; nothing by default."""

    def _opened(self) -> None:
        self._link.clear()
        self.session.forget()
        self._last = self._ranges = None
        self._doubtful = False
        self._prepare()

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
        """Set what is given (V, A at the meter's input, s), check errors in the same exchange, read back.

        What this family can set its class says. Raises NotSupported for everything else, before the wire, OutOfRange
        for a value that it does not have, UsageError for two that exclude each other, InstrumentReportedError for
        what the instrument refuses, ConnectionLost if it was switched off and on since it was opened.
        """
        given = {
            "elements": elements,
            "wiring": wiring,
            "voltage_range": voltage_range,
            "current_range": current_range,
            "auto_range": auto_range,
            "crest_factor": crest_factor,
            "update_interval": update_interval,
            "ct_ratio": ct_ratio,
            "vt_ratio": vt_ratio,
            "line_filter": line_filter,
            "averaging": averaging,
        }
        self._refuse(given, self.SETTINGS)
        wanted = {name: value for name, value in given.items() if value is not None and name in self.SETTINGS}
        if auto_range and {"voltage_range", "current_range"} & wanted.keys():
            raise UsageError("auto_range=True and a fixed range exclude each other", advice="give one of them")
        with self._lock, self._watched():
            if wanted:
                self._configured += 1
                self._ranges = None
                self._apply(**wanted)
            return self._in_force()

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> PowerReading:
        """Return the next update, V, A, W; with `fresh=False` what is shown, STALE if that was read before.

        timeout: s until unchanged values are given out as STALE, None = 5 update intervals.
        Raises DeadlineExceeded if the meter does not answer, ConnectionLost, ProtocolError, Aborted.
        """
        self._abort.clear()
        with self._lock, self._watched():
            in_force = self._in_force()
            if fresh:
                self._last = self._ask()
                return self._next(in_force, timeout)
            shown = self._ask()
            extra = Status.STALE if shown == self._last else Status.VALID
            self._last = shown
            return self._taken(shown, in_force, "one update interval before this moment", extra)

    def stream(self, *, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield each update that is noticed, as many as fit into `duration` s, or until closed.

        Raises as `read`. Whether updates passed between two readings cannot be told: `missed` is None.
        """
        self._abort.clear()
        yield from self._updates(duration)

    def _updates(self, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield as `stream`, without forgetting that it was aborted before."""
        left = None if duration is None else max(1, round(duration / self._interval))
        with self._lock, self._watched():
            in_force, configured = self._in_force(), self._configured
            self._last = self._ask()
        while left is None or left > 0:
            with self._lock, self._watched():
                if configured != self._configured:
                    in_force, configured = self._in_force(), self._configured
                reading = self._next(in_force, None)
            in_force = reading.settings
            yield reading
            left = None if left is None else left - 1

    def _next(self, in_force: PowerSettings, timeout: float | None) -> PowerReading:
        deadline = Deadline(_PATIENCE * self._interval if timeout is None else timeout)
        extra = Status.VALID
        while not self._updated() or (shown := self._ask()) == self._last:
            self._raise_if_aborted()
            if deadline.expired:
                shown = self._ask()
                extra = Status.STALE if shown == self._last else Status.VALID
                break
            self._abort.wait(min(self._interval / _POLLS, deadline.left))
        self._raise_if_aborted()
        self._last = shown
        return self._taken(shown, in_force, "one update interval", extra)

    def _updated(self) -> bool:
        """False while the meter itself says that nothing is new; most cannot say, and are asked for their values."""
        return True

    def _taken(self, shown: str, in_force: PowerSettings, rule: str, extra: Status) -> PowerReading:
        """A reading of what was shown, under the ranges before and after it: NOT_SETTLED where they differ."""
        window = self._window(rule)
        now = self._ranged(in_force)
        for settings in (in_force, now):
            ranges = (settings.voltage_range, settings.current_range)
            if self._ranges not in (None, ranges):
                extra |= Status.NOT_SETTLED
            self._ranges = ranges
        return self._reading(shown, now, window, extra)

    def _window(self, rule: str) -> Window:
        stop = Instant.now()
        return Window(later(stop, -self._interval), stop, rule)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """After an exchange that failed, look whether the meter was restarted, before its values are believed again."""
        if self._doubtful:
            self.session.errors()
            if not self.session.restarted:
                self._again()
                self._doubtful = False
        if self.session.restarted:
            raise ConnectionLost(
                f"{self.identity} was switched off and on: its settings are those of its start",
                where=self.address,
                why="its event register shows a power-on since it was opened",
                advice="close and open it, configure it again, and drop what was measured since",
            )
        try:
            yield
        except InstrumentError:
            self._doubtful = True
            raise

    def _bare_settings(self, **known: Any) -> PowerSettings:
        """Settings of which only these, and the update interval, are known or provided."""
        fields: dict[str, Any] = dict.fromkeys(PowerSettings.__slots__)
        fields |= {"elements": (1,), "voltage_range": (), "current_range": (), "update_interval": self._interval}
        return PowerSettings(**(fields | known))

    def _lacks(self, what: str, why: str = "") -> NoReturn:
        raise NotSupported(
            f"{self.DRIVER.name} has no {what}",
            where=self.address,
            why=why or "no manual or program at hand says how it is done",
        )

    def _refuse(self, given: dict[str, Any], supported: Sequence[str]) -> None:
        """Raise NotSupported for the first setting that is given and that this meter lacks."""
        for name, value in given.items():
            if name == "update_interval" and value == self._interval:
                continue  # it has this one and no other
            if value is not None and name not in supported:
                self._lacks(f"setting {name} (asked for {value!r})")

    def start_integration(self, *, duration: float | None = None) -> None:
        """Raises NotSupported unless a family says otherwise: no command for integration is confirmed."""
        self._lacks("integration", self._why_no_energy)

    def stop_integration(self) -> None:
        """Raises NotSupported, as `start_integration`."""
        self._lacks("integration", self._why_no_energy)

    def reset_integration(self) -> None:
        """Raises NotSupported, as `start_integration`."""
        self._lacks("integration", self._why_no_energy)

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Raises NotSupported unless a family says otherwise: no energy, J, can be had from what is confirmed."""
        self._lacks("integration", self._why_no_energy)

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """Raises NotSupported unless a family says otherwise: its accuracy, W, is not in what is at hand."""
        self._lacks("accuracy", self.capabilities.notes.get("uncertainty", ""))

    @property
    def _why_no_energy(self) -> str:
        return str(self.capabilities.notes.get("energy", ""))

    def release(self) -> ReleaseReport:
        """Nothing to make safe; idempotent; never raises."""
        return ReleaseReport()
