"""What the inputs of a meter see of the platform: voltages, currents and power on each conductor.

A balanced source. The current flows in half-sine pulses as wide as its crest factor makes them (√2: a sine); the
power factor is the platform's. Transformers and sensors between the conductor and the meter belong to the bench.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from .platform import Platform

Connection = Literal["P1W2", "P1W3", "P3W3", "P3W4", "V3A3"]

_POINTS = 512
"""Samples of half a period for clipping and harmonics."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One element's input over a window: V, A (rms), W, var (lagging is positive), peaks in V and A."""

    voltage: float
    current: float
    active: float
    reactive: float
    voltage_peak: float
    current_peak: float

    def transformed(self, voltage_by: float, current_by: float, shift: float = 0.0) -> Seen:
        """Return it behind ratios of voltage and current, the current turned by `shift` rad (lead is positive)."""
        both = voltage_by * current_by
        active = self.active * math.cos(shift) + self.reactive * math.sin(shift)
        reactive = self.reactive * math.cos(shift) - self.active * math.sin(shift)
        return Seen(
            self.voltage * abs(voltage_by),
            self.current * abs(current_by),
            active * both,
            reactive * both,
            self.voltage_peak * abs(voltage_by),
            self.current_peak * abs(current_by),
        )


NOTHING = Seen(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""An input that nothing is connected to."""


class Mains:
    """The platform's mains as connected to a meter of `elements` elements.

    connection: how its terminals are wired, whatever the meter believes; None = as the platform's phases suggest.
    """

    def __init__(self, platform: Platform, elements: int, connection: Connection | None = None) -> None:
        self._platform = platform
        self._elements = elements
        usual: dict[int, Connection] = {1: "P1W2", 2: "P3W3"}
        three = usual.get(elements, "P3W4")
        self.connection: Connection = connection or (three if platform.settings.phases == 3 else "P1W2")

    @property
    def frequency(self) -> float:
        """Frequency, Hz."""
        return self._platform.settings.frequency

    def seen(self, element: int, start: float, stop: float) -> Seen:
        """Return what element 1… sees as a mean from world time `start` to `stop` (not in the future)."""
        platform = self._platform
        total = (platform.energy_at(stop) - platform.energy_at(start)) / (stop - start)
        apparent = total / platform.power_factor(total)
        phases = platform.settings.phases
        voltage = platform.settings.voltage
        current = apparent / phases / voltage
        angle = math.acos(min(1.0, total / apparent))
        share, turn = self._place(element)
        if share == 0.0:
            return NOTHING
        if self.connection in ("P3W3", "V3A3"):
            voltage *= math.sqrt(3)
        current *= share
        product = voltage * current
        return Seen(
            voltage,
            current,
            product * math.cos(angle + turn),
            product * math.sin(angle + turn),
            voltage * math.sqrt(2),
            current * platform.crest_factor(total),
        )

    def _place(self, element: int) -> tuple[float, float]:
        """Return the element's share of the phase current (0: not connected) and the turn of its angle, rad."""
        last = min(self._elements, 3)
        third = math.radians(30)
        if self.connection == "P1W2":
            return (1.0, 0.0) if element == 1 else (0.0, 0.0)
        if self.connection == "P1W3":
            return (0.5, 0.0) if element in (1, last) else (0.0, 0.0)
        if self.connection == "P3W4":
            return (1.0, 0.0) if element <= 3 else (0.0, 0.0)
        if element == 1:
            return 1.0, -third
        if element == last:
            return 1.0, third
        return (1.0, math.pi / 2) if self.connection == "V3A3" and element == 2 else (0.0, 0.0)


def _pulse(crest: float) -> list[float]:
    """Half a period of a current with rms 1 and this crest factor (at least √2)."""
    width = min(1.0, 2 / crest**2)
    samples = []
    for index in range(_POINTS):
        distance = abs((index + 0.5) / _POINTS - 0.5)
        samples.append(crest * math.cos(math.pi * distance / width) if distance < width / 2 else 0.0)
    return samples


@lru_cache(maxsize=256)
def clipped(crest: float, limit: float) -> tuple[float, float]:
    """Return which part of rms current and of active power is left when peaks are cut at `limit` (in rms)."""
    samples = _pulse(max(crest, math.sqrt(2)))
    square = power = whole = 0.0
    for index, sample in enumerate(samples):
        voltage = math.sin(math.pi * (index + 0.5) / _POINTS)
        cut = min(sample, limit)
        square += cut * cut
        power += cut * voltage
        whole += sample * voltage
    return math.sqrt(square / sum(sample * sample for sample in samples)), power / whole


@lru_cache(maxsize=256)
def harmonics(crest: float, most: int) -> tuple[float, ...]:
    """Return the rms of the harmonics 0 (DC), 1 … `most` of a current with rms 1 and this crest factor."""
    samples = _pulse(max(crest, math.sqrt(2)))
    found = [0.0]
    for order in range(1, most + 1):
        if order % 2 == 0:
            found.append(0.0)
            continue
        amplitude = (
            2
            / _POINTS
            * sum(sample * math.sin(math.pi * order * (index + 0.5) / _POINTS) for index, sample in enumerate(samples))
        )
        found.append(abs(amplitude) / math.sqrt(2))
    return tuple(found)
