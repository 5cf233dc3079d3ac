"""From updates of a meter to a Measurement: the mean, its components, and what speaks against it."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from typing import Any

from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import LoadRun, PowerReading, PowerSettings
from aicalib_hw.readings import Component, Instant, Measurement, Run, Validity, ValidityStatus, Window

_LEAST_OF_UPDATES = 0.8
"""Least share of the updates' own lengths that lies between first and last on this host's clock, if both keep time."""

_MOST_MISSED = 0.01
"""Share of updates that may be missed before a mean no longer stands for its window."""


def mean_power(
    readings: Sequence[PowerReading],
    components: Sequence[tuple[Component, ...]],
    identity: Identity,
    load: LoadRun | None,
) -> Measurement:
    """Return the mean active power, W, of consecutive updates; at least one.

    components: of each usable reading (status VALID), in order; empty where the data sheet gives none.
    Invalid if an update was out of range or without data, or if more than 1 % were missed.
    """
    usable = [reading for reading in readings if not reading.status]
    reasons = objections(readings)
    window = window_of(readings)
    values = [float(reading.active_power) for reading in usable]
    value = statistics.fmean(values) if values else None
    evidence = {
        "updates": len(readings),
        "missed": _missed(readings),
        "times_ns": [reading.window.stop.monotonic_ns for reading in readings],
        "power_W": [reading.active_power.value for reading in readings],
        "status": [str(reading.status) for reading in readings],
        "voltage_V": mean_of(usable, "voltage"),
        "current_A": mean_of(usable, "current"),
        "power_factor": mean_of(usable, "power_factor"),
        "frequency_Hz": mean_of(usable, "frequency"),
    }
    return Measurement(
        quantity="power",
        definition="power/active/mean",
        value=value,
        unit="W",
        window=window,
        identity=identity,
        runs=(Run(value, window, used=not reasons, reasons=reasons),),
        components=mean_components(components) + resolution(usable),
        settings=plain(readings[-1].settings),
        evidence=evidence,
        validity=validity(reasons),
        load=load.achieved() if load is not None else None,
    )


def integrated_energy(
    energy: float | None,
    duration: float,
    readings: Sequence[PowerReading],
    components: Sequence[tuple[Component, ...]],
    identity: Identity,
    window: Window,
    reasons: tuple[str, ...],
    settings: PowerSettings,
    evidence: dict[str, Any],
    load: LoadRun | None,
) -> Measurement:
    """Return the active energy, J, that the meter's own integrator counted in `duration` s.

    energy: J, None if the integrator did not end as it should (the reason among `reasons`).
    readings: updates taken meanwhile, which the limits of error are stated for.
    window: from before the start until the end was seen. Where the energy holds, the time by the meter's own timer that
    it was counted in takes its place, so that energy over window is the mean power: starting, and looking for the end,
    take time that is not in the energy.
    """
    usable = [reading for reading in readings if not reading.status]
    reasons = objections(readings) + reasons
    if energy is not None:
        window = Window(window.start, later(window.start, duration), window.rule)
    return Measurement(
        quantity="energy",
        definition="energy/active/meter-integrator",
        value=energy,
        unit="J",
        window=window,
        identity=identity,
        runs=(Run(energy, window, used=not reasons, reasons=reasons),),
        components=_energy_components(mean_components(components), usable, duration),
        settings=plain(settings),
        evidence={**evidence, "updates": len(readings)},
        validity=validity(reasons),
        load=load.achieved() if load is not None else None,
    )


def summed_energy(
    readings: Sequence[PowerReading],
    components: Sequence[tuple[Component, ...]],
    identity: Identity,
    load: LoadRun | None,
    evidence: dict[str, Any],
) -> Measurement:
    """Return the active energy, J, of consecutive updates that each have a length of their own; at least one.

    For meters whose integrator cannot be reached: the sum of power times length of each update.
    Invalid, without value, if one was out of range or without data, or if any was missed.
    """
    reasons = objections(readings)
    missed = sum(reading.missed or 0 for reading in readings)
    if missed and not any("missed" in reason for reason in reasons):
        reasons += (f"{missed} updates were missed, and their energy with them",)
    window = window_of(readings)
    length = sum(reading.window.duration for reading in readings)
    energy = None
    if not reasons:
        energy = sum(float(reading.active_power) * reading.window.duration for reading in readings)
    return Measurement(
        quantity="energy",
        definition="energy/active/summed-intervals",
        value=energy,
        unit="J",
        window=window,
        identity=identity,
        runs=(Run(energy, window, used=not reasons, reasons=reasons),),
        components=_energy_components(mean_components(components), readings, length) if energy is not None else (),
        settings=plain(readings[-1].settings),
        evidence={**evidence, "updates": len(readings), "missed": missed, "elapsed_s": length},
        validity=validity(reasons),
        load=load.achieved() if load is not None else None,
    )


def window_of(readings: Sequence[PowerReading]) -> Window:
    """Return the window of consecutive updates, at least one: from the start of the first to the end of the last.

    Updates of one time base do not overlap. Where they do, because they were read late or because the meter's time runs
    faster than this host's clock (in a simulated world that was told to), the length is the sum of the updates' own.
    """
    start, stop = readings[0].window.start, readings[-1].window.stop
    length = sum(reading.window.duration for reading in readings)
    if stop.seconds_since(start) >= _LEAST_OF_UPDATES * length:
        return Window(start, stop, "consecutive updates of the meter")
    return Window(start, later(start, length), "consecutive updates, counted by the meter's time")


def later(instant: Instant, seconds: float) -> Instant:
    """Return the instant so many seconds after this one by both of its clocks; before it if they are negative."""
    after = round(seconds * 1e9)
    return Instant(instant.utc_ns + after, instant.monotonic_ns + after, instant.clock)


def objections(readings: Sequence[PowerReading]) -> tuple[str, ...]:
    """Return why these updates cannot stand for their window."""
    reasons = []
    bad = [reading for reading in readings if reading.status]
    if bad:
        kinds = sorted({str(reading.status) for reading in bad})
        reasons.append(f"{len(bad)} of {len(readings)} updates are {', '.join(kinds)}")
    missed = sum(reading.missed or 0 for reading in readings)
    if missed > _MOST_MISSED * len(readings):
        reasons.append(f"{missed} updates were missed beside {len(readings)} read")
    return tuple(reasons)


def _missed(readings: Sequence[PowerReading]) -> int | None:
    """Return how many updates were missed; None where the meter, or its pace, does not tell of all of them."""
    known = [reading.missed for reading in readings if reading.missed is not None]
    return sum(known) if len(known) == len(readings) else None


def validity(reasons: tuple[str, ...]) -> Validity:
    """Return VALID where there is no reason against it."""
    return Validity(ValidityStatus.INVALID if reasons else ValidityStatus.VALID, reasons)


def mean_of(readings: Sequence[PowerReading], name: str) -> float | None:
    """Return the mean of a field of the sum, in its unit; None where no reading has it."""
    values = [reading.value for one in readings if (reading := getattr(one, name)) is not None]
    known = [float(value) for value in values if value is not None]
    return statistics.fmean(known) if known else None


def mean_components(each: Sequence[tuple[Component, ...]]) -> tuple[Component, ...]:
    """Return the components of a mean: the same cause in every update, so the mean of its limits."""
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


def resolution(readings: Sequence[PowerReading]) -> tuple[Component, ...]:
    """Return the component of the last digit of the active power, W."""
    steps = [reading.active_power.resolution for reading in readings if reading.active_power.resolution]
    if not steps:
        return ()
    return (
        Component(
            name="resolution", kind="B", unit="W", half_width=max(steps) / 2, source="last digit of the meter's reply"
        ),
    )


def last_digit(text: str) -> float | None:
    """Return the step of the last digit of an NR2 or NR3 text, in its unit."""
    mantissa, _, exponent = text.strip().upper().partition("E")
    return _power_of_ten(exponent, len(mantissa.partition(".")[2]))


@functools.lru_cache(maxsize=256)
def _power_of_ten(exponent: str, decimals: int) -> float:
    return float(10.0 ** (int(exponent or 0) - decimals))


def plain(settings: PowerSettings) -> dict[str, Any]:
    """Return settings as plain data for a Measurement."""
    return {name: getattr(settings, name) for name in settings.__slots__}


def _energy_components(
    of_power: Sequence[Component], readings: Sequence[PowerReading], duration: float
) -> tuple[Component, ...]:
    """Components of an energy: those of the mean power, relative to it, and one update interval at the edges."""
    power = mean_of(readings, "active_power")
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
