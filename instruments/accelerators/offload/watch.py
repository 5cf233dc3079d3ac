"""A device's telemetry beside its work: samples at a steady pace, throttle reasons together, energy two ways."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from aicalib_hw.errors import AicalibError
from aicalib_hw.interfaces.accelerator import TelemetryReading, ThrottleState
from aicalib_hw.readings import Reading

INTERVAL_S = 0.1
"""NVML power is renewed every 25 to 100 ms and Ascend's throttle bits every 100 ms: faster shows nothing new."""

RENEWED_S = 0.1
"""How old a present value and a counter may be: energy counters advance in steps of 10 to 100 ms, and of each 100 ms an
A100 or H100 measures 25 (arXiv 2312.02741)."""

SENSORS_AGREE = 0.01
"""Counter over polled power under steady load, as others have found it on several cards (ml-energy/zeus, issue 12)."""

_FROZEN_S = 1.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen while the device worked; lists are empty where the device does not tell.

    energy: J by "counter" and by "integral", each where it exists. lost: why the watch ended early, "" if it did not.
    """

    samples: tuple[TelemetryReading, ...] = ()
    lost: AicalibError | None = None

    def during(self, begin_ns: int, end_ns: int) -> Observation:
        """Return what was seen wholly within this time of the host's monotonic clock."""
        inside = [
            sample
            for sample in self.samples
            if begin_ns <= sample.window.start.monotonic_ns and sample.window.stop.monotonic_ns <= end_ns
        ]
        return Observation(tuple(inside), self.lost)

    @property
    def clocks(self) -> list[float]:
        """Clock of each sample, Hz."""
        return _values(self.samples, "clock")

    @property
    def throttle(self) -> ThrottleState | None:
        """Every reason that any sample showed, None if the device cannot tell."""
        states = [sample.throttle for sample in self.samples if sample.throttle is not None]
        if not states:
            return None
        merged: dict[str, Any] = {}
        for one in fields(ThrottleState):
            told = [getattr(state, one.name) for state in states]
            if one.name == "raw":
                merged["raw"] = " ".join(dict.fromkeys(text for text in told if text))
            else:
                known = [value for value in told if value is not None]
                merged[one.name] = any(known) if known else None
        return ThrottleState(**merged)

    @property
    def throttled_share(self) -> float | None:
        """Share of the samples that show a reason other than idleness, None if the device cannot tell."""
        states = [sample.throttle for sample in self.samples if sample.throttle is not None]
        return sum(state.active for state in states) / len(states) if states else None

    @property
    def energy(self) -> dict[str, float]:
        """Energy from the first to the last sample, J: by the device's counter and as the integral of its power."""
        found = {}
        counted = _series(self.samples, "energy")
        if len(counted) > 1:
            found["counter"] = counted[-1][1] - counted[0][1]
        power = _series(self.samples, "power")
        if len(power) > 1:
            found["integral"] = sum(
                (later - earlier) * (before + after) / 2 for (earlier, before), (later, after) in pairwise(power)
            )
        return found

    @property
    def energy_seconds(self) -> dict[str, float]:
        """The time that each energy is of, s."""
        times = {"counter": _series(self.samples, "energy"), "integral": _series(self.samples, "power")}
        return {way: times[way][-1][0] - times[way][0][0] for way in self.energy}

    def energy_tolerance(self) -> float | None:
        """What counter and integral may differ by, J, where both are right; None with fewer than two values of power.

        Between two samples the power may have been the one or the other; where they are further apart than the device
        renews its value, anything that was ever seen. At both ends the counter may be as old as it may be, and each
        value was read at some time of its window.
        """
        readings = [sample.power for sample in self.samples if sample.power is not None]
        power = _series(self.samples, "power")
        if len(power) < 2:
            return None
        doubt = RENEWED_S + max(reading.window.duration for reading in readings)
        seen = [value for _, value in power]
        lost = 0.0
        for (earlier, before), (later, after) in pairwise(power):
            late = max(0.0, later - earlier - RENEWED_S)
            lost += abs(after - before) * ((later - earlier - late) / 2 + doubt) + late * (max(seen) - min(seen))
        return SENSORS_AGREE * self.energy["integral"] + lost + doubt * max(seen[0], seen[-1])

    def energy_remarks(self) -> list[str]:
        """Say where counter and integral cannot both be right, or the counter stands still."""
        energy, counted, tolerance = self.energy, _series(self.samples, "energy"), self.energy_tolerance()
        remarks = []
        if len(counted) > 1 and counted[-1][0] - counted[0][0] > _FROZEN_S and energy["counter"] <= 0:
            remarks.append("the energy counter did not advance while the device worked")
        elif len(energy) == 2 and tolerance and abs(energy["counter"] - energy["integral"]) > tolerance:
            remarks.append(
                f"energy by counter is {energy['counter'] / energy['integral']:.3f} of energy by integrated power, "
                f"and the samples explain {tolerance / energy['integral']:.3f} at most: neither is preferred"
            )
        return remarks

    def temperature_rise(self) -> float | None:
        """K per second over the second half, by the difference of its ends; None with fewer than four samples.

        0 where the reading moved by one step at most: what it moved by is then not known.
        """
        warmth = _series(self.samples, "temperature")
        half = warmth[len(warmth) // 2 :]
        if len(half) < 2 or half[-1][0] <= half[0][0]:
            return None
        step = max(
            (float(s.temperature.resolution or 0.0) for s in self.samples if s.temperature is not None), default=0.0
        )
        change = half[-1][1] - half[0][1]
        return change / (half[-1][0] - half[0][0]) if abs(change) > step * (1 + 1e-9) else 0.0

    def summary(self) -> dict[str, Any]:
        """Return what was seen of power, heat and energy as plain data."""
        return {
            "samples": len(self.samples),
            "power_W": _values(self.samples, "power"),
            "temperature_degC": _values(self.samples, "temperature"),
            "energy_J": self.energy,
            "energy_s": self.energy_seconds,
            "energy_tolerance_J": self.energy_tolerance(),
        }

    def clock_summary(self) -> dict[str, Any]:
        """Return what was seen of the clock, and of why it is low, as plain data."""
        clocks = self.clocks
        return {
            "clock_Hz": clocks,
            "clock_spread": statistics.stdev(clocks) / statistics.mean(clocks) if len(clocks) > 1 else None,
            "throttled_share": self.throttled_share,
            "throttle": self.throttle.raw if self.throttle is not None else None,
        }


@dataclass(slots=True)
class Watch:
    """Samples `read` every `interval` s on a thread of its own, from `start()` to `stop()`."""

    read: Callable[[], TelemetryReading]
    interval: float = INTERVAL_S
    _samples: list[TelemetryReading] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _lost: AicalibError | None = None

    def start(self) -> None:
        """Begin to sample."""
        self._samples.clear()
        self._thread = threading.Thread(target=self._sample, name="telemetry", daemon=True)
        self._thread.start()

    def stop(self) -> Observation:
        """End sampling, with one last sample, and return what was seen; harmless if never started."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        return Observation(tuple(self._samples), self._lost)

    def _sample(self) -> None:
        try:
            while True:
                last = self._ended.is_set()
                self._samples.append(self.read())
                if last:
                    return
                self._ended.wait(self.interval)
        except AicalibError as error:
            self._lost = error


def _series(samples: Sequence[TelemetryReading], name: str) -> list[tuple[float, float]]:
    """(s on the host's clock, value) of the usable readings of one field, stamped at the end of their window."""
    found = []
    for sample in samples:
        reading: Reading | None = getattr(sample, name)
        if reading is not None and not reading.status and reading.value is not None:
            found.append((reading.window.stop.monotonic_ns / 1e9, float(reading.value)))
    return found


def _values(samples: Sequence[TelemetryReading], name: str) -> list[float]:
    return [value for _, value in _series(samples, name)]
