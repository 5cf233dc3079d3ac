"""Hioki PW8001 power analyzers with input unit U7005, read over LAN, port 23: one channel.

Sources: PW8001A964-03 (port 23, strict words, header, voltage range), PW8001 user manual p. 228 (accuracy). A reader:
how values are asked for is known of the PW3336 only and taken to hold here (`:MEASure? U1,I1,P1`, named values,
markers); a reply that does not fit is refused. The current range, sums, wiring and integration are not in what is at
hand. The meter always measures through current sensors, whose limits of error have to be given: `sensor_error`,
`sensor_phase_error`; with `current_range` and `frequency` they make the uncertainty. Unconfirmed: `update_interval`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from aicalib_hw.errors import NotSupported, UsageError
from aicalib_hw.interfaces import (
    DriverInfo,
    ElementReading,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
    Setting,
)
from aicalib_hw.readings import Component, Instant, Status, Window
from aicalib_hw.scpi.codec import NUMBER, number_text, parse_number

from . import _hioki_values
from ._choices import require_full_scale
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

_NEEDED = "it needs current_range, frequency, sensor_error and sensor_phase_error"


class HiokiPW8001(PolledPowerMeter):
    """A PW8001, of which one channel is read.

    channel: which. update_interval: s (unconfirmed). current_range: A, as set on the meter.
    frequency: of the mains, Hz, 0 = DC; the meter is not asked for it.
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

    SETTINGS = ("voltage_range",)

    def __init__(
        self,
        address: str,
        *,
        channel: int = 1,
        update_interval: float = 0.2,
        current_range: float | None = None,
        frequency: float | None = None,
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

    def _prepare(self) -> None:
        self._again()

    def _again(self) -> None:
        # Each value is then named in the reply, so that none can be taken for another.
        self.session.command(":HEADER ON")

    @property
    def _knows_its_accuracy(self) -> bool:
        return None not in (self._current_range, self._frequency, *self._sensor)

    @property
    def capabilities(self) -> PowerMeterCapabilities:
        """What is confirmed: the voltage range, V, and the accuracy where the sensor's is given."""
        return PowerMeterCapabilities(
            notes={
                "ranges": "voltage: not listed, the instrument refuses what it has not; current: no facts",
                "energy": "no facts: no command for integration is in what is at hand",
                "uncertainty": _NEEDED,
                "missed": "the meter does not tell of updates that passed unread",
            },
            elements=1,
            uncertainty=True if self._knows_its_accuracy else None,
        )

    def _apply(self, **wanted: Any) -> None:
        voltage_range = wanted["voltage_range"]
        require_full_scale("voltage_range", voltage_range, "V")
        self.session.command(f"{self._header} {number_text(voltage_range)}")

    def _in_force(self) -> PowerSettings:
        return self._ranged(
            self._bare_settings(
                elements=(self._channel,),
                current_range=() if self._current_range is None else (self._current_range,),
            )
        )

    def _ranged(self, in_force: PowerSettings) -> PowerSettings:
        return replace(in_force, voltage_range=(NUMBER.decode(self.session.query(f"{self._header}?")),))

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
        return self.session.query(f":MEASURE? {','.join(f'{name}{self._channel}' for name in UNITS)}")

    def _reading(self, shown: str, in_force: PowerSettings, window: Window, extra: Status) -> PowerReading:
        items = [f"{name}{self._channel}" for name in UNITS]
        taken = _hioki_values.named(shown, items, self.address)
        full = {"U": in_force.voltage_range[0]}
        if self._current_range is not None:
            full |= {"I": self._current_range, "P": in_force.voltage_range[0] * self._current_range}
        extra |= impossible(*(parse_number(taken[item]) for item in items[:2]))
        voltage, current, power = (
            _hioki_values.reading(
                taken[item], unit, item, flags=extra, window=window, source=self.identity, full=full.get(name)
            )
            for item, (name, unit) in zip(items, UNITS.items(), strict=True)
        )
        element = ElementReading(voltage, current, power)
        return PowerReading((element,), element, in_force, window, voltage.status | current.status | power.status)

    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B components of the active power, W: of the meter (user manual p. 228) and of its sensor.

        Raises UnusableReading for a reading that is not VALID, NotSupported where the sensor's limits or the
        current range and frequency were not given, and beyond 50 kHz.
        """
        ratio_error, phase_error = self._sensor
        full, frequency = self._current_range, self._frequency
        if full is None or frequency is None or ratio_error is None or phase_error is None:
            self._lacks("accuracy without that of its sensor", _NEEDED)
        power = abs(float(reading.active_power))
        apparent = float(reading.voltage) * float(reading.current)
        of_reading, of_range, phase = self._band(frequency)
        reactive = math.sqrt(max(0.0, apparent**2 - power**2))
        full *= reading.settings.voltage_range[0]
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

    def _band(self, frequency: float) -> tuple[float, float, float]:
        """Percent of reading, of range, and degrees at the mains' frequency; DC has no phase."""
        if frequency < 0.1:
            return 0.02, 0.03, 0.0
        for top, of_reading, of_range, phase in BANDS:
            if frequency <= top:
                return of_reading, of_range, phase
        raise NotSupported(f"no accuracy is stated for {frequency:g} Hz", where=self.address)
