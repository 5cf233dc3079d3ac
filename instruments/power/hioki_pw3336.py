"""Hioki PW3335 (one channel), PW3336 (two) and PW3337 (three) power meters, over LAN, port 3300.

Sources: PW3336A987-01 and PW3335A985-01 (communications), PW3336/PW3337 data sheet p. 8 (accuracy), and a public
program that drives a PW3337. Not covered: RS-232C (its execution confirmations are not documented in what is at
hand), harmonics beyond total distortion, averaging and synchronisation (their words are not confirmed), current
sensors beyond recognising that one is used. Not stated anywhere at hand: the ranges (the instrument refuses what
it has not), a command for zero adjustment, a command back to local. Unconfirmed and therefore keywords:
`update_interval`, `sum_suffix`, `status_item`, `zero_command`, `power_factor_influence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from aicalib_hw.errors import AicalibError, InstrumentReportedError, OutOfRange, ProtocolError, UsageError
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
from aicalib_hw.readings import Component, Instant, Measurement, Reading, Status, Window
from aicalib_hw.scpi.codec import NUMBER, number_text, parse_number

from . import _evaluation
from . import _hioki_accuracy as accuracy
from . import _hioki_tables as tables
from ._choices import require_one_of
from ._polled_meter import PolledPowerMeter, impossible

_PER_ELEMENT = {"U": "V", "I": "A", "P": "W", "S": "VA", "Q": "var", "PF": "1", "FREQU": "Hz"}
_OF_SUM = ("U", "I", "P", "S", "Q", "PF")
_LONGEST = 36_000_000
"""s: the integrator stops after 10000 h."""


class HiokiPW3336(PolledPowerMeter):
    """A power meter of the PW3335/PW3336/PW3337 family.

    update_interval: s, about 0.2 (unconfirmed). sum_suffix: what follows an item's name for the sum
    (unconfirmed). status_item: whether STATUS may stand among the items (unconfirmed); without it only the
    marker in a value tells of over-range, and peaks go unnoticed. zero_command: what adjusts zero, None =
    not known. power_factor_influence: at power factor 0, ratio of S; assumed 0.2 %, the class's usual figure.
    """

    WRITE_TERMINATION = "\r\n"

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="hioki-pw3336",
        role="power_meter",
        summary="Hioki PW3335, PW3336, PW3337 power meters",
        manual="PW3336A987-01, PW3335A985-01, PW3336/PW3337 data sheet",
        models=((r"HIOKI.*", r"PW333[567](-\d\d)?"),),
        wires=("TCP",),
        simulator="hioki-pw3336",
    )

    def __init__(
        self,
        address: str,
        *,
        update_interval: float = 0.2,
        sum_suffix: str = "0",
        status_item: bool = True,
        zero_command: str | None = None,
        power_factor_influence: float = 0.002,
        **link: Any,
    ) -> None:
        super().__init__(address, update_interval=update_interval, **link)
        self._sum = sum_suffix
        self._status_item = status_item
        self._zero_command = zero_command
        self._influence = power_factor_influence
        self._external: tuple[bool, ...] = ()
        self._ranges: tuple[float, ...] | None = None

    def _opened(self) -> None:
        self._link.clear()
        self.session.errors()
        # Each value is then named in the reply, so that none can be taken for another.
        self.session.command(":HEADer ON")
        self._last = self._ranges = None

    @property
    def _count(self) -> int:
        return tables.ELEMENTS[self.identity.model.upper()[:6]]

    @property
    def _channels(self) -> range:
        return range(1, self._count + 1)

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What this model can do; ranges, V and A, are not stated in what is at hand."""
        return PowerMeterCapabilities(
            notes={
                "ranges": "not listed in what is at hand; the instrument refuses what it has not",
                "missed": "the meter does not tell of updates that passed unread",
                "uncertainty": "direct input of PW3336 and PW3337",
            },
            elements=self._count,
            wirings=cast(tuple[Wiring, ...], tables.WIRINGS_OF[self._count]),
            auto_range=True,
            scaling=True,
            energy=True,
            hold=True,
            zero=True if self._zero_command else None,
            uncertainty=True if self._count > 1 else None,
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
        """Set what is given (V, A; ranges at the meter's input, the same for all channels) and read back.

        Raises OutOfRange for a wiring or ratio that there is not, NotSupported for what these meters lack,
        InstrumentReportedError for what the instrument refuses (a range it has not; anything while
        integrating or holding).
        """
        given = {
            "crest_factor": crest_factor,
            "update_interval": update_interval,
            "line_filter": line_filter,
            "averaging": averaging,
        }
        self._refuse(given, ())
        if elements is not None and tuple(elements) != tuple(self._channels):
            raise OutOfRange(
                f"elements {tuple(elements)} cannot be chosen",
                where=str(self.identity),
                why=f"this meter always measures with all of its {self._count}",
            )
        if wiring is not None:
            require_one_of("wiring", wiring, tables.WIRINGS_OF[self._count])
        if auto_range and (voltage_range is not None or current_range is not None):
            raise UsageError("auto_range=True and a fixed range exclude each other", advice="give one of them")
        for name, ratio in (("ct_ratio", ct_ratio), ("vt_ratio", vt_ratio)):
            if ratio is not None and not tables.RATIO[0] <= ratio <= tables.RATIO[1]:
                raise OutOfRange(f"a {name} of {ratio} cannot be set", why=f"{tables.RATIO[0]} to {tables.RATIO[1]}")
        for name, full in (("voltage_range", voltage_range), ("current_range", current_range)):
            if full is not None and not 0 < full < 1e6:
                raise OutOfRange(f"a {name} of {full} cannot be set", advice="give a range of this meter")
        with self._lock:
            if wiring is not None and self._count > 1:
                self.session.command(f":WIRing TYPE{tables.WIRINGS[wiring]}")
            for channel in self._channels:
                if auto_range is not None:
                    self._set(f":VOLTage{channel}:AUTO", "ON" if auto_range else "OFF")
                    self._set(f":CURRent{channel}:AUTO", "ON" if auto_range else "OFF")
                if voltage_range is not None:
                    self._set(f":VOLTage{channel}:RANGe", number_text(voltage_range))
                if current_range is not None:
                    self._set(f":CURRent{channel}:RANGe", number_text(current_range))
                if ct_ratio is not None:
                    self._set(f":SCALe{channel}:CT", number_text(ct_ratio))
                if vt_ratio is not None:
                    self._set(f":SCALe{channel}:VT", number_text(vt_ratio))
            self._ranges = None
            return self._in_force()

    def _set(self, header: str, value: str) -> None:
        self.session.command(f"{header} {value}")

    def _number(self, header: str) -> float:
        return NUMBER.decode(self.session.query(f"{header}?"))

    def _in_force(self) -> PowerSettings:
        channels = self._channels
        kind = self._wiring_type()
        names = {f"TYPE{number}": name for name, number in tables.WIRINGS.items()}
        autos = [self.session.query(f":{what}{c}:AUTO?").strip() for c in channels for what in ("VOLTage", "CURRent")]
        self._external = tuple(self.session.query(f":CURRent{c}:TYPE?").strip().upper() != "OFF" for c in channels)
        return PowerSettings(
            elements=tuple(channels),
            wiring=cast(Wiring | None, names.get(kind)),
            voltage_range=tuple(self._number(f":VOLTage{c}:RANGe") for c in channels),
            current_range=tuple(self._number(f":CURRent{c}:RANGe") for c in channels),
            auto_range=any(text.upper() in ("ON", "1") for text in autos),
            crest_factor=None,
            update_interval=self._interval,
            ct_ratio=tuple(self._number(f":SCALe{c}:CT") for c in channels),
            vt_ratio=tuple(self._number(f":SCALe{c}:VT") for c in channels),
            line_filter=None,
            averaging=None,
        )

    def _wiring_type(self) -> str:
        """`TYPE1` to `TYPE7`; a meter of one channel has one wiring, and need not know the question."""
        return self.session.query(":WIRing?").strip().upper() if self._count > 1 else "TYPE1"

    def snapshot(self) -> Mapping[str, Setting]:
        """Read every setting: ranges in V and A, ratios, wiring, which inputs are current sensors."""
        with self._lock:
            settings, now = self._in_force(), Instant.now()
            units = {"voltage_range": "V", "current_range": "A", "update_interval": "s"}
            known = {name: getattr(settings, name) for name in PowerSettings.__slots__}
            found = {
                name: Setting(
                    value,
                    units.get(name, ""),
                    now,
                    "driver" if name in ("elements", "update_interval") else "instrument",
                )
                for name, value in known.items()
                if value is not None
            }
            found["wiring_type"] = Setting(self._wiring_type(), "", now, "instrument" if self._count > 1 else "fixed")
            found["current_sensor"] = Setting(self._external, "", now, "instrument")
            return found

    @property
    def _items(self) -> tuple[str, ...]:
        items = [f"{name}{channel}" for channel in self._channels for name in _PER_ELEMENT]
        if self._count > 1:
            items += [f"{name}{self._sum}" for name in _OF_SUM]
        return (*(("STATUS",) if self._status_item else ()), *items)

    def _ask(self) -> str:
        return self._link.query(f":MEASure? {','.join(self._items)}")

    def _values(self, reply: str, items: Sequence[str]) -> dict[str, str]:
        """Texts by item, of a reply in which each stands with its name (`U1 +230.00E+0;I1 …`)."""
        parts = [part.strip().partition(" ") for part in reply.split(";")]
        if [name.upper() for name, _, _ in parts] != [item.upper() for item in items]:
            raise ProtocolError(
                f"{reply[:80]!r} is no set of {len(items)} named values",
                where=self.address,
                why="the header was switched off by somebody, or the reply belongs to another question",
                advice="open the instrument again; let no other program use it meanwhile",
            )
        return {item: text.strip() for item, (_, _, text) in zip(items, parts, strict=True)}

    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        taken = self._values(shown, self._items)
        flags = self._flags(taken.get("STATUS"))
        ranges = (*in_force.voltage_range, *in_force.current_range)
        if self._ranges is not None and ranges != self._ranges:
            extra |= Status.NOT_SETTLED
        self._ranges = ranges
        elements = tuple(
            self._element(str(channel), taken, in_force, window, extra | flags[channel - 1])
            for channel in self._channels
        )
        total = elements[0]
        if self._count > 1 and in_force.wiring != "1P2W":
            every = extra
            for flag, element in zip(flags, elements, strict=True):
                every |= flag | element.current.status & Status.INVALID
            total = self._element(self._sum, taken, in_force, window, every)
        status = Status.VALID
        for element in (*elements, total):
            status |= element.voltage.status | element.current.status | element.active_power.status
        return PowerReading(elements, total, in_force, window, status)

    def _flags(self, text: str | None) -> list[Status]:
        """What STATUS says of each channel; nothing where it is not asked for."""
        if text is None:
            return [Status.VALID] * self._count
        try:
            word = int(text, 16)
        except ValueError:
            raise ProtocolError(f"{text!r} is no status word", where=self.address) from None
        flags = []
        for channel in range(self._count):
            status = Status.VALID
            for lowest, meaning in tables.STATUS_FIELDS.items():
                status |= meaning if word >> (lowest + channel) & 1 else Status.VALID
            flags.append(status)
        return flags

    def _element(
        self, suffix: str, taken: Mapping[str, str], in_force: PowerSettings, window: Window, flags: Status
    ) -> ElementReading:
        full: dict[str, float] = {}
        if f"FREQU{suffix}" in taken:
            index = int(suffix) - 1
            voltage = in_force.voltage_range[index] * (in_force.vt_ratio or (1.0,) * self._count)[index]
            current = in_force.current_range[index] * (in_force.ct_ratio or (1.0,) * self._count)[index]
            full = {"U": voltage, "I": current, "P": voltage * current}

        flags |= impossible(parse_number(taken[f"U{suffix}"]), parse_number(taken[f"I{suffix}"]))

        def reading(item: str) -> Reading:
            text = taken[f"{item}{suffix}"]
            number = parse_number(text)
            marker = tables.marked(number)
            return Reading(
                value=None if marker else number,
                unit=_PER_ELEMENT[item],
                status=flags | marker,
                window=window,
                source=self.identity,
                channel=f"{item}{suffix}",
                range=full.get(item),
                resolution=None if marker else _evaluation.last_digit(text),
                raw=text,
            )

        return ElementReading(
            voltage=reading("U"),
            current=reading("I"),
            active_power=reading("P"),
            apparent_power=reading("S"),
            reactive_power=reading("Q"),
            power_factor=reading("PF"),
            frequency=reading("FREQU") if f"FREQU{suffix}" in taken else None,
        )

    def total_harmonic_distortion(self) -> tuple[tuple[Reading, Reading], ...]:
        """Return the total harmonic distortion of voltage and current of each channel, %."""
        items = [f"{name}{channel}" for channel in self._channels for name in ("UTHD", "ITHD")]
        with self._lock:
            taken = self._values(self._link.query(f":MEASure? {','.join(items)}"), items)
        window = self._window("one update interval before this moment")
        found = []
        for item, text in taken.items():
            marker = tables.marked(parse_number(text))
            value = None if marker else parse_number(text)
            found.append(Reading(value, "%", marker, window, self.identity, channel=item, raw=text))
        return tuple(zip(found[::2], found[1::2], strict=True))

    def start_integration(self, *, duration: float | None = None) -> None:
        """Clear and start the integrator; `duration`, whole minutes in s up to 10000 h, sets its own timer.

        Raises OutOfRange for another duration, InstrumentReportedError.
        """
        seconds = _LONGEST if duration is None else round(duration)
        if duration is not None and (abs(seconds - duration) > 1e-9 or seconds % 60 or not 0 < seconds <= _LONGEST):
            raise OutOfRange(
                f"the integrator's timer cannot be set to {duration} s",
                where=str(self.identity),
                advice="give whole minutes, up to 36000000 s",
            )
        with self._lock:
            self.reset_integration()
            hours, rest = divmod(min(seconds, _LONGEST - 60), 3600)
            self.session.command(f":INTEGrate:TIME {hours:04d},{rest // 60:02d}")
            self.session.command(":INTEGrate:STATe START")

    def stop_integration(self) -> None:
        """Stop the integrator; harmless if it has stopped by itself."""
        with self._lock:
            if self.integration_state() == "START":
                try:
                    self.session.command(":INTEGrate:STATe STOP")
                except InstrumentReportedError:
                    if self.integration_state() == "START":
                        raise

    def reset_integration(self) -> None:
        """Stop the integrator if it runs, and clear it; settings are unlocked by that."""
        with self._lock:
            self.stop_integration()
            if self.integration_state() != "RESET":
                self.session.command(":INTEGrate:STATe RESET")

    def integration_state(self) -> str:
        """Return START, STOP or RESET."""
        return self.session.query(":INTEGrate:STATe?").strip().upper()

    def integrated(self) -> tuple[float | None, float, Status]:
        """Return the integrated active energy of the sum, J, the integrator's time, s, and the energy's status."""
        with self._lock:
            item = f"WP{self._sum if self._count > 1 else 1}"
            if self._wiring_type() == "TYPE1":
                item = "WP1"
            taken = self._values(self._link.query(f":MEASure? TIME,{item}"), ("TIME", item))
        energy = parse_number(taken[item])
        status = tables.marked(energy)
        return (None if status else energy * 3600), _seconds(taken["TIME"]), status

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Return the active energy, J, of `duration` whole seconds by the meter's own integrator and clock.

        Whole minutes end by its timer; else the value is taken when its clock shows the time. Invalid if
        that moment was missed. Raises OutOfRange for parts of a second, InstrumentReportedError, Aborted.
        """
        if abs(round(duration) - duration) > 1e-9 or not 0 < duration <= _LONGEST:
            raise OutOfRange(f"no energy of {duration} s can be measured", advice="give whole seconds")
        timed = round(duration) % 60 == 0
        began = Instant.now()
        self.start_integration(duration=duration if timed else None)
        readings: list[PowerReading] = []
        earlier: float | None = None
        energy: float | None = None
        elapsed, status = 0.0, Status.NO_DATA
        try:
            for reading in self.stream():
                readings.append(reading)
                state = self.integration_state()
                if timed and state == "START":
                    continue
                earlier = energy
                energy, elapsed, status = self.integrated()
                if elapsed >= duration or state != "START":
                    break
            state = self.integration_state()
            stopped = Instant.now()
        finally:
            if not self._abort.is_set():
                self.reset_integration()
        reasons: tuple[str, ...] = ()
        if energy is None or (earlier is None and not timed) or round(elapsed) != round(duration):
            reasons = (f"the integrator ended in state {state} after {elapsed:g} s with an energy that is {status}",)
            energy = None
        looks: tuple[Component, ...] = ()
        if energy is not None and earlier is not None:
            # The clock went past the duration between two looks, and so did the energy past what is sought.
            looks = (
                Component(
                    name="moment of the end",
                    kind="B",
                    unit="J",
                    half_width=abs(energy - earlier) / 2,
                    source="half the energy between the last look before the end and the first after it",
                ),
            )
            energy = (energy + earlier) / 2
        measured = _evaluation.integrated_energy(
            energy,
            duration,
            readings,
            self._stated_for(readings),
            self.identity,
            Window(began, stopped, "the integrator's own timer" if timed else "the integrator's own clock"),
            reasons,
            readings[-1].settings,
            {"elapsed_s": elapsed, "state": state},
            load,
        )
        return replace(measured, components=(*measured.components, *looks))

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B components of the total active power, W (PW3336/PW3337 data sheet p. 8, direct input).

        Raises UnusableReading for a reading that is not VALID, NotSupported for a PW3335, for current
        sensors, for a sum whose elements are not documented, and beyond 10 kHz.
        """
        if not self.capabilities.uncertainty:
            self._lacks("accuracy", "the data sheet at hand is of PW3336 and PW3337")
        return accuracy.components(
            reading,
            self.identity.model,
            self.identity.serial,
            external=self._external or (False,) * self._count,
            power_factor_influence=self._influence,
        )

    def hold(self, on: bool) -> None:
        """Hold the shown values, or let them go on; raises InstrumentReportedError."""
        self.session.command(f":HOLD {'ON' if on else 'OFF'}")

    def zero(self) -> None:
        """Adjust zero by `zero_command`; raises NotSupported without one, InstrumentReportedError."""
        if self._zero_command is None:
            self._lacks("zero adjustment over the wire", "its command is not confirmed")
        self.session.command(self._zero_command)

    def release(self) -> ReleaseReport:
        """Stop and clear the integrator; the panel is given back by closing the link; idempotent; never raises."""
        if not self.is_open:
            return ReleaseReport()
        with self._lock:
            try:
                state = self.integration_state()
                if state == "RESET":
                    return ReleaseReport()
                self.reset_integration()
            except AicalibError as error:
                return ReleaseReport(failures=(f"integration: {error.what}",))
        return ReleaseReport((f"integration was in state {state}: stopped and reset",))


def _seconds(text: str) -> float:
    """Seconds of `hhhhh,mm,ss`; raises ProtocolError."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ProtocolError(f"{text!r} is no integration time")
    hours, minutes, seconds = (int(part) for part in parts)
    return float(hours * 3600 + minutes * 60 + seconds)
