"""Yokogawa WT310, WT310E, WT310EH, WT332E and WT333E digital power meters.

Sources: IM WT310E-17EN (grammar ch. 5, status ch. 7), IM WT310E-01EN p. 2-7 (ranges), IM WT310E-02EN
p. 7-7 (accuracy), and what public programs that drive these instruments agree on. Not covered:
harmonics, MATH, store, external sensor input, Modbus/TCP. Unconfirmed and therefore settable: the
spelling of crest factor 6A on the wire (`crest_factor_6a`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, cast

from aicalib_hw.errors import (
    AicalibError,
    InstrumentReportedError,
    NotOpen,
    OutOfRange,
    ProtocolError,
)
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    LoadRun,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    ReleaseReport,
    Setting,
)
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import (
    Component,
    Instant,
    Measurement,
    Reading,
    Status,
    Window,
)
from aicalib_hw.scpi.codec import measured
from aicalib_hw.scpi.session import Link
from aicalib_hw.trace import Trace

from . import _evaluation
from . import _wt300_accuracy as accuracy
from . import _wt300_tables as tables
from ._scpi_meter import ScpiPowerMeter
from ._update_pace import UpdatePace
from ._wt300_settings import Settings

NOT_RUNNING = 844
"""Stop while not integrating; also after the timer has run out."""

_SETTLE_AFTER_START = 0.2
"""s to wait after :INTEGrate:STARt; the next command may otherwise fail."""

_PER_ELEMENT = ("U", "I", "P", "S", "Q", "LAMBDA", "FU")
_OF_SUM = ("U", "I", "P", "S", "Q", "LAMBDA")
_UNITS = {"U": "V", "I": "A", "P": "W", "S": "VA", "Q": "var", "LAMBDA": "1", "FU": "Hz"}
_OVER = (64, 512, 4096)
_PEAK = (128, 1024, 8192)


class YokogawaWT300(ScpiPowerMeter):
    """A power meter of the WT300 family; crest_factor_6a: how crest factor 6A is spelled on the wire."""

    ERROR_QUERY = ":STATus:ERRor?"

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="yokogawa-wt300",
        role="power_meter",
        summary="Yokogawa WT310, WT310E, WT310EH, WT332E, WT333E power meters",
        manual="IM WT310E-17EN, IM WT310E-01EN, IM WT310E-02EN",
        models=((r"YOKOGAWA", r"WT310|WT310E|WT310EH|WT332E|WT333E"),),
        wires=("VXI-11", "USBTMC", "GPIB"),
        simulator="yokogawa-wt300",
    )

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 5.0,
        trace: Trace | None = None,
        visa_library: str = "@py",
        baud_rate: int | None = None,
        crest_factor_6a: str = "A6",
        link: Link | None = None,
    ) -> None:
        super().__init__(
            address, timeout=timeout, trace=trace, visa_library=visa_library, baud_rate=baud_rate, link=link
        )
        self._six_a = crest_factor_6a
        self._settings: Settings | None = None
        self._pace: UpdatePace | None = None
        self._ranges: tuple[float, float] | None = None

    def _opened(self) -> None:
        self._link.clear()
        session = self.session
        session.errors()
        model = self.identity.model.upper()
        if model == "WT310":
            session.command(":SYSTem:COMMunicate:COMMand WT300")
        session.command(":STATus:QMESsage ON;:COMMunicate:HEADer OFF;VERBose ON")
        session.command(":COMMunicate:REMote ON")
        for bit in range(2, 17):
            session.link.write(f":STATus:FILTer{bit} NEVer")
        session.command(":STATus:FILTer1 FALL")
        session.command(":NUMeric:FORMat ASCii;NORMal:CLEar ALL;NUMber " + str(len(self._items)))
        for position, (function, element) in enumerate(self._items, 1):
            session.command(f":NUMeric:NORMal:ITEM{position} {function},{element}")
        self._settings = Settings(session, self._model, crest_factor_6a=self._six_a)
        self._pace = None
        self._ranges = None

    @property
    def _model(self) -> tables.Model:
        return tables.MODELS[self.identity.model.upper()]

    @property
    def _items(self) -> tuple[tuple[str, str], ...]:
        elements = self._model.elements
        items = [(function, str(e)) for e in range(1, elements + 1) for function in _PER_ELEMENT]
        total = "1"
        if elements > 1:
            total = "SIGMA"
            items += [(function, total) for function in _OF_SUM]
        return (*items, ("WH", total), ("TIME", total))

    @property
    def settings(self) -> Settings:
        """The settings of the open instrument, by subsystem; raises NotOpen."""
        if self._settings is None or not self.is_open:
            raise NotOpen(f"{self.DRIVER.name} is not open", where=self.address, advice="open() it first")
        return self._settings

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What this model can do: ranges in V and A at crest factor 3, update intervals in s."""
        model = self._model
        return PowerMeterCapabilities(
            elements=model.elements,
            wirings=cast(tuple[Wiring, ...], tables.WIRINGS_OF[model.elements]),
            voltage_ranges=tables.VOLTAGE_RANGES,
            current_ranges=model.current_ranges,
            crest_factors=tuple(tables.CREST_FACTORS),
            update_intervals=model.intervals,
            auto_range=True,
            line_filter=True,
            averaging_counts=(1, 8, 16, 32, 64),
            scaling=True,
            energy=True,
            hold=True,
            zero=True,
            uncertainty=True,
        )

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

        Raises OutOfRange before the wire for what this model does not have, InstrumentReportedError
        for what it refuses (813: not while integrating).
        """
        with self._lock:
            self.settings.apply(
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
            self._ranges = None
            return self.settings.in_force()

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> PowerReading:
        """Return the next update of the meter; with `fresh=False` what it shows, STALE if that was read before.

        timeout: s, None = two update intervals and the link's. Raises DeadlineExceeded, ConnectionLost, Aborted.
        """
        self._abort.clear()
        with self._lock:
            in_force = self.settings.in_force()
            updated = bool(int(self.session.query(":STATus:EESR?")) & 1)
            if fresh:
                self._pace = None
                return self._next(in_force, timeout)
            extra = Status.VALID if updated else Status.STALE
            now = Instant.now()
            return self._shown(in_force, Window(now, now, "values shown at this moment"), None, extra)

    def stream(self, *, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield every update once, for `duration` s of the meter's time or until closed.

        A reading whose `missed` is not 0 follows updates that were lost because the caller was too slow.
        """
        self._abort.clear()
        in_force = self.settings.in_force()
        left = None if duration is None else max(1, round(duration / self._interval(in_force)))
        with self._lock:
            self.session.query(":STATus:EESR?")
            self._pace = UpdatePace(self._interval(in_force))
        while left is None or left > 0:
            with self._lock:
                reading = self._next(in_force, None)
            yield reading
            left = None if left is None else left - 1

    def start_integration(self, *, duration: float | None = None) -> None:
        """Clear and start the integrator; `duration` (whole s, up to 10000 h) sets its own timer."""
        seconds = 0 if duration is None else round(duration)
        if duration is not None and (abs(seconds - duration) > 1e-9 or not 0 < seconds <= 36_000_000):
            raise OutOfRange(
                f"the integrator's timer cannot be set to {duration} s",
                where=str(self.identity),
                advice="give whole seconds from 1 to 36000000",
            )
        with self._lock:
            self.reset_integration()
            self.session.command(":INTEGrate:MODE NORMal")
            hours, rest = divmod(seconds, 3600)
            self.session.command(f":INTEGrate:TIMer {hours},{rest // 60},{rest % 60}")
            self.session.command(":INTEGrate:STARt")
            time.sleep(_SETTLE_AFTER_START)

    def stop_integration(self) -> None:
        """Stop the integrator; harmless if it has stopped by itself."""
        try:
            self.session.command(":INTEGrate:STOP")
        except InstrumentReportedError as error:
            if error.code != NOT_RUNNING:
                raise

    def reset_integration(self) -> None:
        """Stop the integrator if it runs, and clear it; settings are unlocked by that."""
        with self._lock:
            if self.integration_state() == "START":
                self.stop_integration()
            self.session.command(":INTEGrate:RESet")

    def integration_state(self) -> str:
        """Return RESET, START, STOP, TIMEUP or ERROR."""
        return self.session.query(":INTEGrate:STATe?").strip().upper()

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the active energy, J, of `duration` whole seconds by the meter's own integrator and timer.

        Raises OutOfRange for a duration that the timer cannot be set to, InstrumentReportedError, Aborted.
        """
        began = Instant.now()
        self.start_integration(duration=duration)
        readings = []
        try:
            for reading in self.stream():
                readings.append(reading)
                if self.integration_state() != "START":
                    break
            state = self.integration_state()
            stopped = Instant.now()
            energy, elapsed = (measured(text)[0] for text in self._totals())
        finally:
            if not self._abort.is_set():
                self.reset_integration()
        reasons: tuple[str, ...] = ()
        if state != "TIMEUP" or energy is None or elapsed is None or round(elapsed) != round(duration):
            reasons = (f"the integrator ended in state {state} after {elapsed} s",)
            energy = None
        return _evaluation.integrated_energy(
            None if energy is None else energy * 3600,
            duration,
            readings,
            [self.components(reading) for reading in readings if not reading.status],
            self.identity,
            Window(began, stopped, "the integrator's own timer"),
            reasons,
            self.settings.in_force(),
            {"elapsed_s": elapsed, "state": state},
            load,
        )

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B components of the total active power, W, at the range in force (IM WT310E-02EN p. 7-7).

        Raises UnusableReading for a reading that is not VALID.
        """
        return accuracy.components(reading, self.identity.model.upper(), self.identity.serial)

    def hold(self, on: bool) -> None:
        """Hold the shown values, or let them go on."""
        self.session.command(f":HOLD {'ON' if on else 'OFF'}")

    def zero(self) -> None:
        """Compensate the zero level (`*CAL?`, some seconds); raises ProtocolError if the instrument reports failure."""
        reply = self.session.checked_query("*CAL?", timeout=30.0)
        if reply.strip() != "0":
            raise ProtocolError(f"zero-level compensation failed with {reply!r}", where=str(self.identity))

    def snapshot(self) -> Mapping[str, Setting]:
        """Read every setting of the instrument that matters to a reading."""
        return self.settings.snapshot()

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

    def _interval(self, in_force: PowerSettings) -> float:
        return in_force.update_interval or tables.MODELS["WT310"].intervals[1]

    def _next(self, in_force: PowerSettings, timeout: float | None) -> PowerReading:
        """Wait for the falling edge of UPD, then take the values of that update."""
        interval = self._interval(in_force)
        self._raise_if_aborted()
        wait = timeout if timeout is not None else 2 * interval + self._link.timeout
        self.session.query(":COMMunicate:WAIT? 1", timeout=wait)
        self._raise_if_aborted()
        stop = Instant.now()
        self.session.query(":STATus:EESR?")
        missed = self._pace.missed_before(stop.monotonic_ns / 1e9) if self._pace is not None else None
        start = Instant(stop.utc_ns - round(interval * 1e9), stop.monotonic_ns - round(interval * 1e9))
        return self._shown(in_force, Window(start, stop, "one update interval"), missed, Status.VALID)

    def _shown(self, in_force: PowerSettings, window: Window, missed: int | None, extra: Status) -> PowerReading:
        """Take values, condition and ranges in one exchange, and make a reading of them."""
        reply = self.session.query(
            ":NUMeric:NORMal:VALue?;:STATus:CONDition?;:INPut:VOLTage:RANGe?;:INPut:CURRent:RANGe?"
        )
        try:
            values, condition_text, voltage_text, current_text = reply.split(";")
            condition, ranges = int(condition_text), (float(voltage_text), float(current_text))
        except ValueError:
            raise ProtocolError(f"{reply!r} is no set of values", where=self.address) from None
        texts = values.split(",")
        if len(texts) != len(self._items):
            raise ProtocolError(f"{len(texts)} values came, {len(self._items)} were asked", where=self.address)
        if self._ranges is not None and ranges != self._ranges:
            extra |= Status.NOT_SETTLED
        self._ranges = ranges
        taken = dict(zip(self._items, texts, strict=True))
        elements = tuple(
            self._element(str(number), taken, condition, ranges, in_force, window, extra)
            for number in range(1, self._model.elements + 1)
        )
        total = elements[0]
        if self._model.elements > 1 and in_force.wiring != "1P2W":
            total = self._element("SIGMA", taken, condition, ranges, in_force, window, extra)
        status = Status.VALID
        for element in (*elements, total):
            status |= element.voltage.status | element.current.status | element.active_power.status
        return PowerReading(elements, total, in_force, window, status, missed)

    def _element(
        self,
        element: str,
        taken: Mapping[tuple[str, str], str],
        condition: int,
        ranges: tuple[float, float],
        in_force: PowerSettings,
        window: Window,
        extra: Status,
    ) -> ElementReading:
        index = int(element) - 1 if element.isdigit() else 0
        flags = extra
        numbers = [index] if element.isdigit() else range(self._model.elements)
        for number in numbers:
            flags |= Status.OVER_RANGE if condition & _OVER[number] else Status.VALID
            flags |= Status.PEAK_OVER if condition & _PEAK[number] else Status.VALID
        voltage = ranges[0] * (in_force.vt_ratio[index] if in_force.vt_ratio else 1.0)
        current = ranges[1] * (in_force.ct_ratio[index] if in_force.ct_ratio else 1.0)
        full = {"U": voltage, "I": current, "P": voltage * current}

        def reading(function: str) -> Reading | None:
            text = taken.get((function, element))
            if text is None:
                return None
            value, status = measured(text)
            return Reading(
                value=value,
                unit=_UNITS[function],
                status=status | flags,
                window=window,
                source=self.identity,
                channel=f"{function},{element}",
                range=full.get(function) if element.isdigit() else None,
                resolution=_evaluation.last_digit(text) if value is not None else None,
                raw=text,
            )

        voltage_reading, current_reading, power = reading("U"), reading("I"), reading("P")
        if voltage_reading is None or current_reading is None or power is None:
            raise ProtocolError(f"element {element} has no voltage, current or power", where=self.address)
        return ElementReading(
            voltage=voltage_reading,
            current=current_reading,
            active_power=power,
            apparent_power=reading("S"),
            reactive_power=reading("Q"),
            power_factor=reading("LAMBDA"),
            frequency=reading("FU"),
        )

    def _totals(self) -> tuple[str, str]:
        """WH and TIME as shown now."""
        count = len(self._items)
        reply = self.session.query(f":NUMeric:NORMal:VALue? {count - 1};VALue? {count}")
        energy, _, elapsed = reply.partition(";")
        return energy, elapsed
