"""The simulated platform: load makes clock, heat and power, at the mains as a meter would see it.

Power is integrated in world time as it is produced, so that the energy between two moments is the
same for everybody who asks: the truth and every instrument.
"""

from __future__ import annotations

import bisect
import math
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .clock import Clock
from .node import Node

STEP = 0.01
"""Length of one step of the integration, s of world time."""

_HOST_EVERY = 0.1
"""How often the host's load is looked at, real s."""


class PlatformSettings(BaseModel):
    """`[world.platform]`: what is simulated. W, V, Hz, degC, s; ratios 0…1.

    load_source: "commanded" (run_load), "host" (this host's own CPU load) or "schedule".
    schedule: pairs (world time in s, load), used with load_source = "schedule".
    idle_power, full_power: at the output of the supplies (DC); the power of a node's accelerators is added.
    exponent: of load in the dynamic part. rated_power: of the supplies, None = full_power.
    efficiency: of the supplies at 10, 50 and 100 % of rated_power. power_factor: likewise.
    crest_factor: of the current at 10 and 100 %. leakage: extra DC power at +40 K, ratio.
    ripple: relative amplitude of the swing of each iteration at ripple_frequency.
    throttle_above: degC, from where the highest clock falls by the ratio throttle_slope a kelvin, to half at most; the
    power of the load falls with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    load_source: Literal["commanded", "host", "schedule"] = "commanded"
    schedule: tuple[tuple[float, float], ...] = ()
    idle_power: float = Field(default=900.0, gt=0)
    full_power: float = Field(default=5600.0, gt=0)
    rated_power: float | None = Field(default=None, gt=0)
    exponent: float = Field(default=1.0, gt=0)
    efficiency: tuple[float, float, float] = (0.88, 0.95, 0.94)
    power_factor: tuple[float, float, float] = (0.90, 0.98, 0.99)
    crest_factor: tuple[float, float] = (2.2, 1.5)
    leakage: float = Field(default=0.01, ge=0)
    ripple: float = Field(default=0.004, ge=0, lt=1)
    ripple_frequency: float = Field(default=1.3, gt=0)
    voltage: float = Field(default=230.0, gt=0)
    frequency: float = Field(default=50.0, gt=0)
    phases: Literal[1, 3] = 1
    ambient: float = 25.0
    heating: float = Field(default=45.0, ge=0)
    time_constant: float = Field(default=20.0, gt=0)
    clock_idle: float = Field(default=0.8e9, gt=0)
    clock_full: float = Field(default=1.85e9, gt=0)
    throttle_above: float = 90.0
    throttle_slope: float = Field(default=0.02, ge=0)


def _curve(points: Sequence[tuple[float, float]], x: float) -> float:
    """Piecewise linear, constant beyond both ends."""
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


class HostLoad:
    """CPU load of this host, 0…1, from /proc/stat, or from psutil where there is none."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._value = 0.0
        self._looked = -math.inf

    def __call__(self) -> float:
        now = time.monotonic()
        if now - self._looked >= _HOST_EVERY:
            self._looked = now
            busy, total = self._counters()
            if self._last is not None and total > self._last[1]:
                self._value = min(1.0, max(0.0, (busy - self._last[0]) / (total - self._last[1])))
            self._last = (busy, total)
        return self._value

    @staticmethod
    def _counters() -> tuple[float, float]:
        if os.path.exists("/proc/stat"):
            with open("/proc/stat", encoding="ascii") as file:
                fields = [float(field) for field in file.readline().split()[1:9]]
            return sum(fields) - fields[3] - fields[4], sum(fields)
        import psutil  # type: ignore[import-untyped]

        times = psutil.cpu_times()
        total = float(sum(times))
        return total - float(times.idle), total


class Platform:
    """The state of the platform at the present world time."""

    def __init__(self, settings: PlatformSettings, clock: Clock, seed: int) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = threading.RLock()
        self._host = HostLoad() if settings.load_source == "host" else None
        self._commanded = 0.0
        self._demands: dict[str, float] = {}
        self._phase = random.Random(seed).uniform(0, 2 * math.pi)
        self._efficiency = self._points(settings.efficiency)
        self._warming = 1 - math.exp(-STEP / settings.time_constant)
        self._time = 0.0
        self._temperature = settings.ambient
        self._load = 0.0
        self._stamps = [0.0]
        self._energies = [0.0]
        self._loads = [0.0]
        self._node: Node | None = None
        self._devices_energy = 0.0
        self._consumers: list[Callable[[], float]] = []

    def add_consumer(self, power: Callable[[], float]) -> None:
        """Feed a device from the supplies of this platform. power: what it draws just now, W; it asks us nothing."""
        with self._lock:
            self.advance()
            self._consumers.append(power)

    def remove_consumer(self, power: Callable[[], float]) -> None:
        """Unplug a device; idempotent."""
        with self._lock:
            self.advance()
            if power in self._consumers:
                self._consumers.remove(power)

    def attach(self, node: Node) -> None:
        """Feed a node of accelerators from the supplies of this platform, and load it with what loads the platform."""
        with self._lock:
            self.advance()
            self._node = node
            node.load(self._wanted(self._commanded))
            self._devices_energy = node.energy_at(self._time)

    def detach(self) -> None:
        """Unplug the accelerators; idempotent."""
        with self._lock:
            self.advance()
            self._node = None

    def set_load(self, fraction: float) -> None:
        """Load the platform from now on; has effect with load_source = "commanded"."""
        _require_share(fraction)
        with self._lock:
            self.advance()
            self._commanded = fraction
            self._load_node()

    def demand(self, source: str, fraction: float) -> None:
        """Load the platform from now on with the work of `source` too, 0…1: it adds to every other load, up to 1."""
        _require_share(fraction)
        with self._lock:
            self.advance()
            if fraction > 0:
                self._demands[source] = fraction
            else:
                self._demands.pop(source, None)
            self._load_node()

    def load_beside(self, source: str) -> float:
        """Return the load now without that of `source`, 0…1."""
        with self._lock:
            self.advance()
            others = math.fsum(fraction for name, fraction in self._demands.items() if name != source)
            return min(1.0, self._source(self._time) + others)

    @property
    def load(self) -> float:
        """Load now, 0…1."""
        with self._lock:
            self.advance()
            return self._load

    @property
    def temperature(self) -> float:
        """Temperature of the processors, degC."""
        with self._lock:
            self.advance()
            return self._temperature

    @property
    def clock_frequency(self) -> float:
        """Clock of the processors, Hz."""
        settings = self.settings
        return settings.clock_idle + (self.clock_limit - settings.clock_idle) * self.load

    @property
    def clock_limit(self) -> float:
        """Highest clock that the heat permits now, Hz."""
        return self.settings.clock_full * self._throttle(self.temperature)

    @property
    def ac_power(self) -> float:
        """Active power at the mains now, W."""
        with self._lock:
            self.advance()
            if len(self._energies) > 1 and (self._node is not None or self._consumers):
                return (self._energies[-1] - self._energies[-2]) / (self._stamps[-1] - self._stamps[-2])
            return self._ac_power(self._time, self._load, 0.0)

    def power_factor(self, ac_power: float) -> float:
        """Return the power factor at this power, ratio."""
        return _curve(self._points(self.settings.power_factor), self._relative(ac_power))

    def crest_factor(self, ac_power: float) -> float:
        """Return the crest factor of the current at this power."""
        low, high = self.settings.crest_factor
        return _curve(((0.1, low), (1.0, high)), self._relative(ac_power))

    def energy_at(self, moment: float) -> float:
        """Return the energy taken from the mains from 0 to world time `moment` (not in the future), J."""
        return self._interpolated(self._energies, moment)

    def mean_load(self, start: float, stop: float) -> float:
        """Return the mean load from `start` to `stop`, 0…1."""
        if stop <= start:
            return self.load
        return (self._interpolated(self._loads, stop) - self._interpolated(self._loads, start)) / (stop - start)

    def advance(self) -> None:
        """Bring the state up to the present."""
        with self._lock:
            now = self._clock.now()
            if self._node is not None:
                now = min(now, self._node.advance())
            while self._time + STEP <= now:
                self._step()

    def _interpolated(self, values: list[float], moment: float) -> float:
        with self._lock:
            self.advance()
            index = min(max(bisect.bisect_right(self._stamps, moment), 1), len(self._stamps) - 1)
            if len(self._stamps) == 1:
                return 0.0
            t0, t1 = self._stamps[index - 1], self._stamps[index]
            return values[index - 1] + (values[index] - values[index - 1]) * (moment - t0) / (t1 - t0)

    def _wanted(self, load: float) -> float:
        return min(1.0, load + math.fsum(self._demands.values()))

    def _load_node(self) -> None:
        if self._node is not None and self.settings.load_source == "commanded":
            self._node.load(self._wanted(self._commanded))

    def _throttle(self, temperature: float) -> float:
        settings = self.settings
        return max(0.5, 1 - settings.throttle_slope * max(0.0, temperature - settings.throttle_above))

    def _step(self) -> None:
        load = self._wanted(self._source(self._time))
        if self._node is not None and load != self._load and self.settings.load_source != "commanded":
            self._node.load(load)
        self._load = load
        devices = 0.0
        if self._node is not None:
            energy = self._node.energy_at(self._time + STEP)
            devices, self._devices_energy = (energy - self._devices_energy) / STEP, energy
        for consumer in self._consumers:
            devices += consumer()
        power = self._ac_power(self._time + STEP / 2, self._load, devices)
        goal = self.settings.ambient + self.settings.heating * self._load
        self._temperature += (goal - self._temperature) * self._warming
        self._time += STEP
        self._stamps.append(self._time)
        self._energies.append(self._energies[-1] + power * STEP)
        self._loads.append(self._loads[-1] + self._load * STEP)

    def _source(self, moment: float) -> float:
        if self._host is not None:
            return self._host()
        if self.settings.load_source == "schedule":
            past = [load for at, load in self.settings.schedule if at <= moment]
            return past[-1] if past else 0.0
        return self._commanded

    def _ac_power(self, moment: float, load: float, devices: float) -> float:
        settings = self.settings
        swing = 1 + settings.ripple * load * math.sin(2 * math.pi * settings.ripple_frequency * moment + self._phase)
        dynamic = (settings.full_power - settings.idle_power) * math.pow(load, settings.exponent) * swing
        dynamic *= self._throttle(self._temperature)
        warmth = 1 + settings.leakage * (self._temperature - settings.ambient) / 40.0
        dc = (settings.idle_power + dynamic) * warmth + devices
        return dc / _curve(self._efficiency, self._relative(dc))

    def _relative(self, power: float) -> float:
        return power / (self.settings.rated_power or self.settings.full_power)

    @staticmethod
    def _points(values: tuple[float, float, float]) -> tuple[tuple[float, float], ...]:
        return tuple(zip((0.1, 0.5, 1.0), values, strict=True))


def _require_share(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        meant = f", {fraction / 100:g} for {fraction:g} %" if 1 < fraction <= 100 else ""
        raise ValueError(f"a load of {fraction:g} is none: it is a share from 0 to 1{meant}")
