"""PowerMeter: voltage, current, power and energy at the input of a platform."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, cast

from aicalib_hw.errors import UsageError
from aicalib_hw.interfaces.accelerator import LoadRun
from aicalib_hw.interfaces.instrument import Capabilities, Instrument
from aicalib_hw.readings import Component, Measurement, Reading, Status, Window

Wiring = Literal["1P2W", "1P3W", "3P3W", "3P4W", "3V3A"]


@dataclass(frozen=True, slots=True)
class PowerMeterCapabilities(Capabilities):
    """elements: how many. Ranges in V and A for crest factor 3, tuple of full scales; None = not provided."""

    elements: int = 1
    wirings: tuple[Wiring, ...] | None = None
    voltage_ranges: tuple[float, ...] | None = None
    current_ranges: tuple[float, ...] | None = None
    crest_factors: tuple[str, ...] | None = None
    update_intervals: tuple[float, ...] | None = None
    auto_range: bool | None = None
    line_filter: bool | None = None
    averaging_counts: tuple[int, ...] | None = None
    scaling: bool | None = None
    energy: bool | None = None
    hold: bool | None = None
    zero: bool | None = None
    uncertainty: bool | None = None


@dataclass(frozen=True, slots=True)
class PowerSettings:
    """Settings in force, as read back. V, A, s; ratios are primary / secondary; None = not provided.

    voltage_range, current_range: one value for all elements, or one each where they differ.
    averaging: number of updates averaged, 1 = off. sensor_ratio: mV/A of the external sensor at each current input,
    None = current enters directly; the meter multiplies by it, and `current_range` is in amperes of the sensor's input.
    """

    elements: tuple[int, ...]
    wiring: Wiring | None
    voltage_range: tuple[float, ...]
    current_range: tuple[float, ...]
    auto_range: bool | None
    crest_factor: str | None
    update_interval: float | None
    ct_ratio: tuple[float, ...] | None
    vt_ratio: tuple[float, ...] | None
    line_filter: bool | None
    averaging: int | None
    sensor_ratio: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class ElementReading:
    """One element, or the sum of all: V, A, W, VA, var, ratio, Hz; each a Reading or None = not provided."""

    voltage: Reading
    current: Reading
    active_power: Reading
    apparent_power: Reading | None = None
    reactive_power: Reading | None = None
    power_factor: Reading | None = None
    frequency: Reading | None = None


@dataclass(frozen=True, slots=True)
class PowerReading:
    """One update of the meter: each element, their sum, and the settings it was taken under.

    missed: updates known to have passed unread since the reading before; None = the meter cannot tell.
    """

    elements: tuple[ElementReading, ...]
    total: ElementReading
    settings: PowerSettings
    window: Window
    status: Status
    missed: int | None = None

    def __str__(self) -> str:
        """What the sum reads, each with its unit, and when."""
        total = self.total
        said = {"": total.active_power, "voltage ": total.voltage, "current ": total.current,
                "apparent power ": total.apparent_power, "power factor ": total.power_factor,
                "frequency ": total.frequency}  # fmt: skip
        texts = [f"{name}{reading.shown}" for name, reading in said.items() if reading is not None]
        status = [str(self.status)] if self.status else []
        return ", ".join([*texts, *status, str(self.window.stop)])

    @property
    def voltage(self) -> Reading:
        """Voltage of the sum, V."""
        return self.total.voltage

    @property
    def current(self) -> Reading:
        """Current of the sum, A."""
        return self.total.current

    @property
    def active_power(self) -> Reading:
        """Active power of the sum, W."""
        return self.total.active_power

    @property
    def apparent_power(self) -> Reading | None:
        """Apparent power of the sum, VA."""
        return self.total.apparent_power

    @property
    def reactive_power(self) -> Reading | None:
        """Reactive power of the sum, var."""
        return self.total.reactive_power

    @property
    def power_factor(self) -> Reading | None:
        """Power factor of the sum, ratio -1…1."""
        return self.total.power_factor

    @property
    def frequency(self) -> Reading | None:
        """Frequency of the first element, Hz."""
        return self.total.frequency


class PowerMeter(Instrument):
    """A power meter or power analyzer; watts are signed, positive into the load."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> PowerMeterCapabilities:
        """What this very meter can do."""

    @abc.abstractmethod
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
        """Set what is given (V, A, s; None = leave), check errors in the same exchange, read back.

        Raises OutOfRange before the wire for a value this meter does not have, NotSupported for a
        setting it lacks, InstrumentReportedError for what it refuses.
        """

    @abc.abstractmethod
    def read(self, *, fresh: bool = True, timeout: float | None = None) -> PowerReading:
        """Return the next update; with `fresh=False` the last one, STALE if it was returned before."""

    @abc.abstractmethod
    def stream(self, *, duration: float | None = None) -> Iterator[PowerReading]:
        """Yield every update without gap or repeat for `duration` s of the meter's time, or until closed."""

    @abc.abstractmethod
    def start_integration(self, *, duration: float | None = None) -> None:
        """Reset and start the integrator, stopping after `duration` s by its own timer if given."""

    @abc.abstractmethod
    def stop_integration(self) -> None:
        """Stop the integrator; harmless if it has stopped."""

    @abc.abstractmethod
    def reset_integration(self) -> None:
        """Stop the integrator if need be and clear it."""

    @abc.abstractmethod
    def measure_power(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Mean active power in W over `duration` s of the meter's time, from its consecutive updates."""

    @abc.abstractmethod
    def measure_energy(self, duration: float, *, load: LoadRun | None = None) -> Measurement:
        """Active energy in J over `duration` s, by the meter's own integrator where it has one."""

    @abc.abstractmethod
    def components(self, reading: PowerReading) -> tuple[Component, ...]:
        """State the type B components of the total active power, W, from the accuracy table at the range in force."""


def require_duration(duration: object, *, where: str) -> None:
    """Raise UsageError for what is no length of a measurement in s: a text, nothing, less than nothing, no end."""
    number = isinstance(duration, Real) and not isinstance(duration, bool)
    if not number or not 0 < cast(float, duration) < math.inf:
        raise UsageError(
            f"a measurement of {duration!r} s is none" if number else f"{duration!r} is no number of seconds",
            where=where,
            advice="give seconds as a number: duration=10.0",
        )
