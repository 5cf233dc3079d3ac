"""Yokogawa WT310, WT310E, WT310EH, WT332E and WT333E digital power meters.

Sources: IM WT310E-17EN (grammar ch. 5, status ch. 7), IM WT310E-01EN p. 2-7 (ranges), IM WT310E-02EN
p. 7-7 (accuracy), and what public programs that drive these instruments agree on. Not covered:
harmonics, MATH, store, external sensor input, Modbus/TCP. Unconfirmed and therefore settable: the
spelling of crest factor 6A on the wire (`crest_factor_6a`).
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    IdentityMismatch,
    InstrumentReportedError,
    NotOpen,
    OutOfRange,
    ProtocolError,
    UsageError,
)
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    LoadRun,
    PowerMeter,
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
    Run,
    Status,
    Validity,
    ValidityStatus,
    Window,
)
from aicalib_hw.scpi.codec import measured
from aicalib_hw.scpi.session import Link, ScpiSession
from aicalib_hw.trace import Trace
from aicalib_hw.transport.visa import VisaLink

from . import _wt300_accuracy as accuracy
from . import _wt300_tables as tables
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
_MOST_MISSED = 0.01


class YokogawaWT300(PowerMeter):
    """A power meter of the WT300 family.

    address: a VISA resource name. timeout: s for one exchange besides waiting for an update.
    visa_library: as PyVISA takes it. link: use this one instead of opening `address` (a replayed trace).
    """

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
        crest_factor_6a: str = "A6",
        link: Link | None = None,
    ) -> None:
        super().__init__(address)
        self._link: Link = link or VisaLink(address, visa_library=visa_library, timeout=timeout, trace=trace)
        self._lock = self._link.lock
        self.session = ScpiSession(self._link, error_query=":STATus:ERRor?")
        self._abort = threading.Event()
        self._six_a = crest_factor_6a
        self._settings: Settings | None = None
        self._pace: UpdatePace | None = None
        self._ranges: tuple[float, float] | None = None

    def _connect(self) -> None:
        self._link.open()

    def _disconnect(self) -> None:
        self._link.close()

    def identify(self) -> Identity:
        """Ask `*IDN?`; raises IdentityMismatch for another instrument."""
        answer = self.session.query("*IDN?")
        parts = [part.strip() for part in answer.split(",")]
        if len(parts) != 4:
            raise ProtocolError(f"{answer!r} is no identification", where=self.address)
        maker, model, serial, firmware = parts
        identity = Identity(maker, model, serial, firmware, self.address)
        if not self.DRIVER.matches(identity):
            raise IdentityMismatch(
                f"{identity} answers, and this driver is for the WT300 family",
                where=self.address,
                advice="leave the driver to `open_instrument`, or correct the address",
            )
        return identity

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

    def measure_power(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the mean active power, W, of the updates of `duration` s of the meter's time.

        Invalid if an update was out of range or without data, if more than 1 % were missed, or if the
        range changed meanwhile.
        """
        if not duration > 0:
            raise UsageError(f"a measurement of {duration} s is none", where=str(self.identity))
        readings = list(self.stream(duration=duration))
        usable = [reading for reading in readings if not reading.status]
        reasons = _objections(readings)
        window = Window(readings[0].window.start, readings[-1].window.stop, "consecutive updates of the meter")
        values = [float(reading.active_power) for reading in usable]
        value = statistics.fmean(values) if values else None
        evidence = {
            "updates": len(readings),
            "missed": sum(reading.missed or 0 for reading in readings),
            "times_ns": [reading.window.stop.monotonic_ns for reading in readings],
            "power_W": [reading.active_power.value for reading in readings],
            "status": [str(reading.status) for reading in readings],
            "voltage_V": _mean(usable, "voltage"),
            "current_A": _mean(usable, "current"),
            "power_factor": _mean(usable, "power_factor"),
            "frequency_Hz": _mean(usable, "frequency"),
        }
        status = ValidityStatus.INVALID if reasons else ValidityStatus.VALID
        return Measurement(
            quantity="power",
            definition="power/active/mean",
            value=value,
            unit="W",
            window=window,
            identity=self.identity,
            runs=(Run(value, window, used=not reasons, reasons=reasons),),
            components=_mean_components([self.components(reading) for reading in usable]) + _resolution(usable),
            settings=_plain(readings[-1].settings),
            evidence=evidence,
            validity=Validity(status, reasons),
            load=load.achieved() if load is not None else None,
        )

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
        reasons = _objections(readings)
        if state != "TIMEUP" or energy is None or elapsed is None or round(elapsed) != round(duration):
            reasons += (f"the integrator ended in state {state} after {elapsed} s",)
            energy = None
        usable = [reading for reading in readings if not reading.status]
        joule = None if energy is None else energy * 3600
        window = Window(began, stopped, "the integrator's own timer")
        return Measurement(
            quantity="energy",
            definition="energy/active/meter-integrator",
            value=joule,
            unit="J",
            window=window,
            identity=self.identity,
            runs=(Run(joule, window, used=not reasons, reasons=reasons),),
            components=_energy_components(_mean_components([self.components(r) for r in usable]), usable, duration),
            settings=_plain(self.settings.in_force()),
            evidence={"elapsed_s": elapsed, "state": state, "updates": len(readings)},
            validity=Validity(ValidityStatus.INVALID if reasons else ValidityStatus.VALID, reasons),
            load=load.achieved() if load is not None else None,
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

    def abort(self) -> None:
        """End whatever blocks in another thread; the link recovers at its next use."""
        self._abort.set()
        self._link.abort()

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
        if self._abort.is_set():
            raise Aborted("reading was aborted", where=self.address)
        wait = timeout if timeout is not None else 2 * interval + self._link.timeout
        self.session.query(":COMMunicate:WAIT? 1", timeout=wait)
        if self._abort.is_set():
            raise Aborted("reading was aborted", where=self.address)
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
                resolution=_last_digit(text) if value is not None else None,
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


def _last_digit(text: str) -> float | None:
    """Step of the last digit of an NR3 text, in its unit."""
    mantissa, _, exponent = text.strip().upper().partition("E")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))


def _objections(readings: Sequence[PowerReading]) -> tuple[str, ...]:
    """Why these updates cannot stand for their window."""
    reasons = []
    bad = [reading for reading in readings if reading.status]
    if bad:
        kinds = sorted({str(reading.status) for reading in bad})
        reasons.append(f"{len(bad)} of {len(readings)} updates are {', '.join(kinds)}")
    missed = sum(reading.missed or 0 for reading in readings)
    if missed > _MOST_MISSED * len(readings):
        reasons.append(f"{missed} updates were missed beside {len(readings)} read")
    return tuple(reasons)


def _mean(readings: Sequence[PowerReading], name: str) -> float | None:
    values = [reading.value for one in readings if (reading := getattr(one, name)) is not None]
    known = [float(value) for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _mean_components(each: Sequence[tuple[Component, ...]]) -> tuple[Component, ...]:
    """The components of a mean: the same cause in every update, so the mean of its limits."""
    if not each:
        return ()
    widths: dict[str, list[float]] = {}
    first = {component.name: component for components in each for component in components}
    for components in each:
        for component in components:
            widths.setdefault(component.name, []).append(component.half_width or 0.0)
    return tuple(
        Component(
            name=name,
            kind="B",
            unit=first[name].unit,
            half_width=sum(values) / len(each),
            source=first[name].source,
            shared=first[name].shared,
        )
        for name, values in widths.items()
    )


def _resolution(readings: Sequence[PowerReading]) -> tuple[Component, ...]:
    steps = [reading.active_power.resolution for reading in readings if reading.active_power.resolution]
    if not steps:
        return ()
    return (
        Component(
            name="resolution", kind="B", unit="W", half_width=max(steps) / 2, source="last digit of the meter's reply"
        ),
    )


def _energy_components(
    of_power: Sequence[Component], readings: Sequence[PowerReading], duration: float
) -> tuple[Component, ...]:
    """Components of an energy: those of the mean power, relative to it, and one update interval at the edges."""
    power = _mean(readings, "active_power")
    if not power:
        return ()
    relative = tuple(
        Component(
            name=component.name,
            kind="B",
            unit="1",
            relative=True,
            half_width=(component.half_width or 0.0) / abs(power),
            source=component.source,
            shared=component.shared,
        )
        for component in of_power
    )
    interval = readings[-1].settings.update_interval or 0.0
    edges = Component(
        name="start and stop",
        kind="B",
        unit="1",
        relative=True,
        half_width=interval / duration,
        source="one update interval out of the whole time",
    )
    return (*relative, edges)


def _plain(settings: PowerSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__slots__}
