"""What every simulated meter does with an input: errors of its specimen, noise, clipping, over-range, auto range."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..world.mains import Seen, clipped

_MARGIN = 0.4
"""Share of a limit that one cause of error of a specimen may take: two causes and the noise stay inside it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of error of active power, ratios: of reading, of range, of apparent power at power factor 0."""

    reading: float
    range: float
    quadrature: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one element shows of one window: V, A, W, VA, var; None = over-range; peaks in V and A.

    over: U or I beyond what can be shown; peak_over: a peak beyond what the converter takes.
    """

    voltage: float | None
    current: float | None
    active: float | None
    reactive_sign: int
    voltage_peak: float
    current_peak: float
    crest_factor: float
    over_voltage: bool = False
    over_current: bool = False
    peak_over_voltage: bool = False
    peak_over_current: bool = False

    @property
    def apparent(self) -> float | None:
        """Voltage times current, VA; never below the active power."""
        if self.voltage is None or self.current is None or self.active is None:
            return None
        return max(self.voltage * self.current, abs(self.active))

    @property
    def reactive(self) -> float | None:
        """From apparent and active power, lagging positive, var."""
        apparent = self.apparent
        if apparent is None or self.active is None:
            return None
        return self.reactive_sign * math.sqrt(apparent**2 - self.active**2)


NO_SIGNAL = Sample(0.0, 0.0, 0.0, 1, 0.0, 0.0, 0.0)


class Specimen:
    """The errors of one element of one instrument, drawn once from the seed as parts of the limits, -1…1.

    error_fraction: which part of the limits the errors may use; noise: likewise. With both 0 it shows the truth.
    """

    def __init__(self, seed: int, name: str, element: int, error_fraction: float = 1.0, noise: float = 1.0) -> None:
        draw = random.Random(f"{seed}/{name}/element {element}")
        self._noisiness = noise
        self.voltage_gain, self.current_gain, self.power_offset, self.voltage_offset, self.current_offset = (
            error_fraction * draw.uniform(-1, 1) for _ in range(5)
        )
        self.quadrature, self.frequency, self.filter = (error_fraction * draw.uniform(-1, 1) for _ in range(3))
        self._noise = random.Random(f"{seed}/{name}/noise {element}")

    def noise(self) -> float:
        """One draw of noise, within -1…1, mostly within ±0.5."""
        return self._noisiness * max(-1.0, min(1.0, self._noise.gauss(0.0, 0.25)))

    def shown(
        self,
        seen: Seen,
        limits: Limits,
        voltage_range: float,
        current_range: float,
        *,
        over_at: float,
        peak_at: float,
        zero_below: float = 0.0,
        noise: bool = True,
        filter_error: float = 0.0,
        peak_stretch: float = 1.0,
    ) -> Sample:
        """Return what this element shows of an input on these ranges (V, A).

        over_at, peak_at, zero_below: in multiples of the range. filter_error: limit that the line filter adds, of
        reading. peak_stretch: factor on the current's peak, of a spike too short to move the rms.
        """
        crest = seen.current_peak / seen.current if seen.current else 0.0
        peak = seen.current_peak * peak_stretch
        peak_voltage, peak_current = peak_at * voltage_range, peak_at * current_range
        rms_left = power_left = 1.0
        if seen.current and seen.current_peak > peak_current:
            rms_left, power_left = clipped(round(crest, 2), round(peak_current / seen.current, 3))
        current, active = seen.current * rms_left, seen.active * power_left
        small = seen.voltage < zero_below * voltage_range, current < zero_below * current_range
        gain = 1 + _MARGIN * limits.reading * (self.voltage_gain + self.current_gain) + filter_error * self.filter * 0.8
        jitter = 0.1 if noise else 0.0
        shown_power = (
            active * (gain + limits.reading * jitter * self.noise())
            + limits.range * voltage_range * current_range * (2 * _MARGIN * self.power_offset + jitter * self.noise())
            + 2 * _MARGIN * limits.quadrature * self.quadrature * seen.reactive
        )
        half = _MARGIN * limits.reading
        shown_voltage = seen.voltage * (1 + half * self.voltage_gain + limits.reading * jitter * self.noise() / 4)
        shown_current = current * (1 + half * self.current_gain + limits.reading * jitter * self.noise() / 4)
        over = seen.voltage > over_at * voltage_range, current > over_at * current_range
        return Sample(
            None if over[0] else 0.0 if small[0] else shown_voltage,
            None if over[1] else 0.0 if small[1] else shown_current,
            None if any(over) else 0.0 if any(small) else shown_power,
            1 if seen.reactive >= 0 else -1,
            min(seen.voltage_peak, peak_voltage),
            min(peak, peak_current),
            crest,
            *over,
            seen.voltage_peak > peak_voltage,
            peak > peak_current,
        )


@dataclass(frozen=True, slots=True)
class AutoRange:
    """When a maker's meter changes its range, in multiples of it: up above `up` (rms) or `peak`, down below `down`.

    fits: how much of the next lower range the rms may take for going down; peak_fits: likewise of its limit of peaks.
    """

    up: float
    down: float
    fits: float
    peak: float
    peak_fits: float = 1.0

    def next(self, ranges: Sequence[float], now: float, rms: float, peak: float) -> float:
        """Return the range after one update: a step up or down, or the same. ranges: ascending."""
        index = ranges.index(now)
        if rms > self.up * now or peak > self.peak * now:
            return ranges[min(index + 1, len(ranges) - 1)]
        if index > 0:
            lower = ranges[index - 1]
            if rms <= self.down * now and rms <= self.fits * lower and peak <= self.peak_fits * self.peak * lower:
                return lower
        return now


class Averages:
    """Averaging over updates, exponential or linear, and holding of the greatest value, element by element."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self._fields = fields
        self.reset(8)

    def reset(self, count: int) -> None:
        """Off, exponential, nothing held."""
        self.on = self.maximum = False
        self.kind, self.count = "EXPONENT", count
        self._forget()

    def turn(self, on: bool) -> None:
        """Switch averaging on or off; what was averaged is forgotten."""
        self.on = on
        self._forget()

    def change(self, kind: str, count: int) -> None:
        """Set "EXPONENT" or "LINEAR" and the number of updates."""
        self.kind, self.count = kind, count
        self._forget()

    def hold_maximum(self, on: bool) -> None:
        """Show the greatest values from now on, or no longer."""
        self.maximum = on
        self._most.clear()

    def take(self, key: int, sample: Sample) -> Sample:
        """Take a new sample; return what is to be shown."""
        if self.on:
            past = self._past.setdefault(key, deque(maxlen=self.count))
            if self.kind == "EXPONENT" and past:
                sample = self._merged(sample, lambda new, old: old + (new - old) / self.count, past[-1])
            past.append(sample)
            if self.kind == "LINEAR":
                means: dict[str, Any] = {name: _mean([getattr(one, name) for one in past]) for name in self._fields}
                sample = replace(sample, **means)
        if self.maximum:
            sample = self._merged(sample, max, self._most.get(key, sample))
            self._most[key] = sample
        return sample

    def _merged(self, new: Sample, how: Callable[[float, float], float], old: Sample) -> Sample:
        pairs = {name: (getattr(new, name), getattr(old, name)) for name in self._fields}
        both: dict[str, Any] = {name: how(*pair) if None not in pair else pair[0] for name, pair in pairs.items()}
        return replace(new, **both)

    def _forget(self) -> None:
        self._past: dict[int, deque[Sample]] = {}
        self._most: dict[int, Sample] = {}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
