"""Hioki PW8001 power analyzers with input unit U7005, read over LAN, port 23: one channel.

Sources: PW8001A964-03 (port 23, strict words, header, voltage range), PW8001 user manual p. 228 (accuracy). A reader:
how values are asked for is known of the PW3336 only and taken to hold here (`:MEASure? U1,I1,P1`, named values,
markers); a reply that does not fit is refused. The current range, sums, wiring and integration are not in what is at
hand. The meter always measures through current sensors, whose limits of error have to be given: `sensor_error`,
`sensor_phase_error`; with `current_range` and `frequency` they make the uncertainty. Unconfirmed: `update_interval`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aicalib_hw.errors import NotSupported, OutOfRange, ProtocolError, UsageError
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    LoadRun,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    Setting,
)
from aicalib_hw.interfaces.power_meter import Wiring
from aicalib_hw.readings import Component, Instant, Measurement, Reading, Status, Window
from aicalib_hw.scpi.codec import NUMBER, number_text, parse_number

from . import _evaluation
from . import _hioki_tables as tables
from ._polled_meter import PolledPowerMeter, impossible

UNITS = {"U": "V", "I": "A", "P": "W"}

BANDS = (
    (30.0, 0.1, 0.2, 0.05),
    (45.0, 0.1, 0.1, 0.05),
    (440.0, 0.01, 0.02, 0.05),
    (1e3, 0.02, 0.04, 0.05),
    (10e3, 0.05, 0.05, 0.12),
    (50e3, 0.15, 0.05, 0.2),
)
"""Up to Hz: active power, % of reading + % of range, and phase, degrees; U7005 (user manual p. 228)."""

ACCURACY_SOURCE = "PW8001 user manual p. 228, U7005"


class HiokiPW8001(PolledPowerMeter):
    """A PW8001, of which one channel is read.

    channel: which. update_interval: s (unconfirmed). current_range: A, as set on the meter.
    frequency: of the mains, Hz.
    sensor_error: limit of the sensor's relative error. sensor_phase_error: limit of its phase error, degrees.
    """

    WRITE_TERMINATION = "\r\n"

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="hioki-pw8001",
        role="power_meter",
        summary="Hioki PW8001 power analyzers with U7005 (reading one channel)",
        manual="PW8001A964-03, PW8001 user manual p. 228",
        models=((r"HIOKI.*", r"PW8001(-\d\d)?"),),
        wires=("TCP",),
        simulator="hioki-pw8001",
    )

    def __init__(
        self,
        address: str,
        *,
        channel: int = 1,
        update_interval: float = 0.2,
        current_range: float | None = None,
        frequency: float = 50.0,
        sensor_error: float | None = None,
        sensor_phase_error: float | None = None,
        **link: Any,
    ) -> None:
        super().__init__(address, update_interval=update_interval, **link)
        if channel < 1:
            raise UsageError(f"channel {channel} is none", where=address)
        self._channel = channel
        self._current_range = current_range
        self._frequency = frequency
        self._sensor = (sensor_error, sensor_phase_error)
        self._header = f":VOLTAGE{channel}:RANGE"

    def _opened(self) -> None:
        self._link.clear()
        self.session.errors()
        # Each value is then named in the reply, so that none can be taken for another.
        self.session.command(":HEADER ON")
        self._last = None

    @property
    def _knows_its_accuracy(self) -> bool:
        return self._current_range is not None and None not in self._sensor

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What is confirmed: the voltage range, V, and the accuracy where the sensor's is given."""
        return PowerMeterCapabilities(
            notes={
                "ranges": "voltage: not listed, the instrument refuses what it has not; current: no facts",
                "energy": "no facts: no command for integration is in what is at hand",
                "uncertainty": "needs current_range, sensor_error and sensor_phase_error",
                "missed": "the meter does not tell of updates that passed unread",
            },
            elements=1,
            uncertainty=True if self._knows_its_accuracy else None,
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
        """Set the voltage range, V, and read it back.

        Raises OutOfRange for what is no range, NotSupported for everything else, InstrumentReportedError.
        """
        given = {
            "elements": elements,
            "wiring": wiring,
            "current_range": current_range,
            "auto_range": auto_range,
            "crest_factor": crest_factor,
            "update_interval": update_interval,
            "ct_ratio": ct_ratio,
            "vt_ratio": vt_ratio,
            "line_filter": line_filter,
            "averaging": averaging,
        }
        self._refuse(given, ())
        with self._lock:
            if voltage_range is not None:
                if not 0 < voltage_range < 1e6:
                    raise OutOfRange(f"a voltage_range of {voltage_range} cannot be set", where=str(self.identity))
                self.session.command(f"{self._header} {number_text(voltage_range)}")
            return self._in_force()

    def _in_force(self) -> PowerSettings:
        return PowerSettings(
            elements=(self._channel,),
            wiring=None,
            voltage_range=(NUMBER.decode(self.session.query(f"{self._header}?")),),
            current_range=() if self._current_range is None else (self._current_range,),
            auto_range=None,
            crest_factor=None,
            update_interval=self._interval,
            ct_ratio=None,
            vt_ratio=None,
            line_filter=None,
            averaging=None,
        )

    def snapshot(self) -> Mapping[str, Setting]:
        """Read the voltage range, V; channel, current range, A, and interval, s, are what the driver was told."""
        with self._lock:
            settings, now = self._in_force(), Instant.now()
        found = {
            "channel": Setting(self._channel, "", now, "driver"),
            "voltage_range": Setting(settings.voltage_range, "V", now, "instrument"),
            "update_interval": Setting(self._interval, "s", now, "driver"),
        }
        if self._current_range is not None:
            found["current_range"] = Setting(self._current_range, "A", now, "driver")
        return found

    def _ask(self) -> str:
        return self._link.query(f":MEASURE? {','.join(f'{name}{self._channel}' for name in UNITS)}")

    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        parts = [part.strip().partition(" ") for part in shown.split(";")]
        if [name.upper() for name, _, _ in parts] != [f"{name}{self._channel}" for name in UNITS]:
            raise ProtocolError(
                f"{shown[:80]!r} is no set of {len(UNITS)} named values",
                where=self.address,
                why="the header was switched off by somebody, or this model names its values otherwise",
                advice="open the instrument again; let no other program use it meanwhile",
            )
        full = {"U": in_force.voltage_range[0]}
        if self._current_range is not None:
            full |= {"I": self._current_range, "P": in_force.voltage_range[0] * self._current_range}

        extra |= impossible(*(parse_number(text) for _, _, text in parts[:2]))

        def reading(quantity: str, text: str) -> Reading:
            number = parse_number(text)
            marker = tables.marked(number)
            return Reading(
                value=None if marker else number,
                unit=UNITS[quantity],
                status=extra | marker,
                window=window,
                source=self.identity,
                channel=f"{quantity}{self._channel}",
                range=full.get(quantity),
                resolution=None if marker else _evaluation.last_digit(text),
                raw=text,
            )

        voltage, current, power = (reading(name, text.strip()) for name, (_, _, text) in zip(UNITS, parts, strict=True))
        element = ElementReading(voltage, current, power)
        return PowerReading((element,), element, in_force, window, voltage.status | current.status | power.status)

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B components of the active power, W: of the meter (user manual p. 228) and of its sensor.

        Raises UnusableReading for a reading that is not VALID, NotSupported where the sensor's limits or the
        current range were not given, and beyond 50 kHz.
        """
        ratio_error, phase_error = self._sensor
        if self._current_range is None or ratio_error is None or phase_error is None:
            self._lacks("accuracy without that of its sensor", "give current_range, sensor_error, sensor_phase_error")
        power = abs(float(reading.active_power))
        apparent = float(reading.voltage) * float(reading.current)
        of_reading, of_range, phase = self._band()
        reactive = math.sqrt(max(0.0, apparent**2 - power**2))
        full = reading.settings.voltage_range[0] * self._current_range
        meter, sensor = ACCURACY_SOURCE, "current sensor, as given to the driver"
        limits = (
            ("accuracy of reading", power * of_reading / 100, meter),
            ("accuracy of range", full * of_range / 100, meter),
            ("phase", reactive * math.radians(phase), meter),
            ("sensor ratio", power * ratio_error, sensor),
            ("sensor phase", reactive * math.radians(phase_error), sensor),
        )
        shared = f"{self.identity.model} {self.identity.serial}"
        return tuple(
            Component(name=name, kind="B", unit="W", half_width=limit, source=source, shared=f"{shared} {name}")
            for name, limit, source in limits
            if limit > 0
        )

    def _band(self) -> tuple[float, float, float]:
        """Percent of reading, of range, and degrees at the mains' frequency; DC has no phase."""
        if self._frequency < 0.1:
            return 0.02, 0.03, 0.0
        for top, of_reading, of_range, phase in BANDS:
            if self._frequency <= top:
                return of_reading, of_range, phase
        raise NotSupported(f"no accuracy is stated for {self._frequency:g} Hz", where=self.address)

    def start_integration(self, *, duration: float | None = None) -> None:
        """Raises NotSupported: commands for integration are not in what is at hand."""
        self._lacks("integration")

    def stop_integration(self) -> None:
        """Raises NotSupported, as `start_integration`."""
        self._lacks("integration")

    def reset_integration(self) -> None:
        """Raises NotSupported, as `start_integration`."""
        self._lacks("integration")

    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Raises NotSupported: no energy, J, can be had from what is confirmed."""
        self._lacks("integration")
