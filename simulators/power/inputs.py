"""The inputs of a simulated power meter in the platform's feed: updates, auto range, faults of the measurement, sums.

A family says how it chooses ranges and when it shows over-range (`Behaviour`), and its limits of error. Transformers in
the feed are options of the bench: what the meter multiplies by is its own setting.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from ..world import World
from ..world.faults import Fault, FaultPlan
from ..world.mains import Connection, Mains, Seen
from .metering import NO_SIGNAL, AutoRange, Limits, Sample, Specimen

_KINDS = ("over_range", "peak_over", "no_data", "gain", "range_edge", "spike")
_CLIPPED = 0.85
"""What "peak_over" leaves of current and power: a wave cut at its peaks reads too little."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Of one family. over_at: multiple of the range from which a fixed range shows over-range.

    voltage, current: how auto range chooses, and the largest peak as a multiple of the range. limits: of active power
    at an input of so many times full scale, 45 to 66 Hz.
    """

    voltage_ranges: tuple[float, ...]
    current_ranges: tuple[float, ...]
    over_at: float
    voltage: AutoRange
    current: AutoRange
    limits: Callable[[float], Limits]


class InputOptions(BaseModel):
    """Options of every meter that has inputs.

    error_fraction: how much of its limits of error this specimen uses, 0…1 (drawn by the seed within ±). noise:
    likewise, of the scatter of readings. ct, vt: of the transformers in the feed, primary / secondary;
    ct_error: of the ratio, relative; ct_phase: by how much their current leads, rad. connection: how the terminals are
    wired (None = as the platform's phases suggest). voltage_distortion, current_distortion: total harmonic distortion
    shown, ratio.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    error_fraction: float = Field(default=1.0, ge=0, le=1)
    noise: float = Field(default=1.0, ge=0, le=1)
    ct: float = Field(default=1.0, gt=0)
    vt: float = Field(default=1.0, gt=0)
    ct_error: float = 0.0
    ct_phase: float = 0.0
    connection: Connection | None = None
    voltage_distortion: float = Field(default=0.015, ge=0)
    current_distortion: float = Field(default=0.08, ge=0)


@dataclass(slots=True)
class Sums:
    """What an integrator gathered: J taken and given back, A s, and for how long, s."""

    taken: float = 0.0
    given: float = 0.0
    charge: float = 0.0
    seconds: float = 0.0


class Element:
    """One voltage and one current input, with ranges and ratios of its own."""

    def __init__(self, behaviour: Behaviour, specimen: Specimen) -> None:
        self.behaviour = behaviour
        self.specimen = specimen
        self.voltage_range = behaviour.voltage_ranges[-1]
        self.current_range = behaviour.current_ranges[-1]
        self.voltage_auto = self.current_auto = True
        self.vt = self.ct = 1.0
        self.sample = NO_SIGNAL
        self.no_data = True
        self.sums = Sums()

    def copy(self) -> Element:
        """Return it as it is now, for a display that holds."""
        held = copy.copy(self)
        held.sums = copy.copy(self.sums)
        return held

    def full(self, quantity: str) -> float:
        """Return the full scale in force of "U", "I" or "P" with the ratios that are set, V, A, W."""
        voltage, current = self.voltage_range * self.vt, self.current_range * self.ct
        return {"U": voltage, "I": current, "P": voltage * current}[quantity]

    @property
    def over(self) -> bool:
        """True if voltage or current is beyond its range."""
        return self.sample.over_voltage or self.sample.over_current


class Inputs:
    """The elements of one meter. specimen: the name under which the seed draws this instrument's errors."""

    def __init__(
        self,
        world: World,
        options: InputOptions,
        faults: FaultPlan,
        behaviour: Behaviour,
        elements: int,
        specimen: str,
        *,
        interval: float,
    ) -> None:
        self.world, self.options, self.faults = world, options, faults
        self.mains = Mains(world.platform, elements, options.connection)
        self.elements = [
            Element(behaviour, Specimen(world.seed, specimen, element, options.error_fraction, options.noise))
            for element in range(1, elements + 1)
        ]
        self.guard = threading.RLock()
        """Held while anything of the inputs is changed or read."""
        self.on_update: Callable[[], None] = lambda: None
        """Called after every update, under the guard."""
        self.adapts = True
        """Whether auto range may act now."""
        self.interval = interval
        self.updates = 0
        self.updated_at = world.clock.now()
        self.integrating = False
        self.ends_at = math.inf
        """World time beyond which nothing is integrated."""
        self._summed_to = 0.0

    def reset(self) -> None:
        """Put ranges, ratios and sums into the state after power-up; the specimen stays the same."""
        self.integrating, self.adapts = False, True
        self.elements = [Element(element.behaviour, element.specimen) for element in self.elements]

    @property
    def frequency(self) -> float:
        """Frequency of the mains, Hz."""
        return self.mains.frequency

    @property
    def next_update(self) -> float:
        """When the next update is due, world s."""
        return self.updated_at + self.interval

    def set_interval(self, seconds: float) -> None:
        """Update every `seconds` from now on."""
        self.interval, self.updated_at = seconds, self.world.clock.now()

    def catch_up(self) -> None:
        """Make every update that is due, and integrate up to now."""
        with self.guard:
            now = self.world.clock.now()
            while self.next_update <= now:
                self._update(self.next_update)
                self.on_update()
            self._sum(now)

    def start_sums(self, most: float = math.inf) -> None:
        """Integrate from now on, for at most so many s."""
        self._summed_to, self.integrating = self.world.clock.now(), True
        self.ends_at = self._summed_to + most

    def stop_sums(self) -> None:
        """Integrate up to now and no further."""
        self._sum(self.world.clock.now())
        self.integrating = False

    def clear_sums(self) -> None:
        """Forget what was integrated."""
        for element in self.elements:
            element.sums = Sums()

    def _update(self, moment: float) -> None:
        self._sum(moment)
        start, self.updated_at = moment - self.interval, moment
        self.updates += 1
        if self.faults.strikes("frozen") is not None:
            return
        strikes = {kind: self.faults.strikes(kind) for kind in _KINDS}  # type: ignore[arg-type]
        for number, element in enumerate(self.elements, start=1):
            seen = self._seen(number, max(0.0, start), moment)
            stretch = 1.0
            if strikes["spike"] is not None and seen.current_peak:
                beyond = element.behaviour.current.peak * element.current_range * (1 + strikes["spike"].amount)
                stretch = beyond / seen.current_peak
            element.sample = self._shown(element, seen, noise=True, stretch=stretch)
            element.no_data = strikes["no_data"] is not None
            element.sample = self._spoiled(element.sample, strikes)
            if self.adapts:
                self._adapt(element, seen, stretch, hunting=strikes["range_edge"] is not None)

    def _seen(self, number: int, start: float, stop: float) -> Seen:
        """What an element's terminals see over a time, behind the transformers of the feed."""
        options = self.options
        seen = self.mains.seen(number, start, max(stop, start + 1e-6))
        return seen.transformed(1 / options.vt, (1 + options.ct_error) / options.ct, options.ct_phase)

    def _shown(self, element: Element, seen: Seen, *, noise: bool, stretch: float = 1.0) -> Sample:
        """What the element makes of it, multiplied by the ratios that are set."""
        kind = element.behaviour
        load = min(seen.voltage / element.voltage_range, seen.current / element.current_range)
        raw = element.specimen.shown(
            seen,
            kind.limits(load),
            element.voltage_range,
            element.current_range,
            over_at=kind.over_at,
            peak_at=kind.current.peak,
            noise=noise,
            peak_stretch=stretch,
        )
        scale = element.vt * element.ct
        return replace(
            raw,
            voltage=None if raw.voltage is None else raw.voltage * element.vt,
            current=0.0 if not seen.current else None if raw.current is None else raw.current * element.ct,
            active=0.0 if not seen.current else None if raw.active is None else raw.active * scale,
            voltage_peak=raw.voltage_peak * element.vt,
            current_peak=raw.current_peak * element.ct,
            peak_over_voltage=seen.voltage_peak > kind.voltage.peak * element.voltage_range,
        )

    @staticmethod
    def _spoiled(sample: Sample, strikes: dict[str, Fault | None]) -> Sample:
        """A sample as the faults of the measurement leave it."""
        if strikes["over_range"] is not None:
            return replace(sample, current=None, active=None, over_current=True)
        if sample.current is None or sample.active is None:
            return sample
        gain = strikes["gain"]
        if gain is not None:
            sample = replace(sample, active=sample.active * gain.amount)
        if strikes["peak_over"] is not None:
            current, active = sample.current * _CLIPPED, sample.active * _CLIPPED  # type: ignore[operator]
            sample = replace(sample, current=current, active=active, peak_over_current=True)
        if strikes["range_edge"] is not None:
            sample = replace(sample, current=-sample.current, active=-sample.active)  # type: ignore[operator]
        return sample

    def _adapt(self, element: Element, seen: Seen, stretch: float, *, hunting: bool) -> None:
        kind = element.behaviour
        if element.voltage_auto:
            element.voltage_range = kind.voltage.next(
                kind.voltage_ranges, element.voltage_range, seen.voltage, seen.voltage_peak
            )
        if not element.current_auto:
            return
        ranges = kind.current_ranges
        if hunting:
            index = ranges.index(element.current_range) + (1 if self.updates % 2 else -1)
            element.current_range = ranges[min(max(index, 0), len(ranges) - 1)]
            return
        element.current_range = kind.current.next(
            ranges, element.current_range, seen.current, seen.current_peak * stretch
        )

    def _sum(self, moment: float) -> None:
        moment = min(moment, self.ends_at)
        if not self.integrating or moment <= self._summed_to:
            return
        start, self._summed_to = self._summed_to, moment
        seconds = moment - start
        for number, element in enumerate(self.elements, start=1):
            seen = self._seen(number, start, moment)
            room = 1.0
            for value, full in ((seen.voltage, element.voltage_range), (seen.current, element.current_range)):
                room = min(room, element.behaviour.over_at * full / value * (1 - 1e-9)) if value else room
            shown = self._shown(element, seen.transformed(1.0, room) if room < 1 else seen, noise=False)
            element.sums.seconds += seconds
            element.sums.taken += max(0.0, shown.active or 0.0) * seconds
            element.sums.given += min(0.0, shown.active or 0.0) * seconds
            element.sums.charge += (shown.current or 0.0) * seconds


def degrees(factor: float) -> float:
    """Return the angle whose cosine is a power factor, degrees; NaN for NaN."""
    return math.degrees(math.acos(min(1.0, max(-1.0, factor)))) if factor == factor else math.nan
