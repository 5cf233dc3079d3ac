"""Energy from a gap-free run of interval means, for meters whose integrator cannot be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import LoadRun, PowerReading
from aicalib_hw.readings import Component, Measurement

from . import _evaluation


def summed_energy(
    readings: Sequence[PowerReading],
    components: Sequence[tuple[Component, ...]],
    identity: Identity,
    load: LoadRun | None,
) -> Measurement:
    """Return the active energy, J, as the sum of each reading's power × the length of its window.

    components: as for `_evaluation.mean_power`. Without value if any interval is missing or unusable: a
    sum with a gap is no energy.
    """
    mean = _evaluation.mean_power(readings, components, identity, load)
    reasons = mean.validity.reasons
    missed = sum(reading.missed or 0 for reading in readings)
    if missed and not any("missed" in reason for reason in reasons):
        reasons = (*reasons, f"{missed} updates were missed beside {len(readings)} read")
    energy = None
    length = sum(reading.window.duration for reading in readings)
    if not reasons:
        energy = sum(float(reading.active_power) * reading.window.duration for reading in readings)
    window = replace(mean.window, rule="sum of consecutive interval means")
    scaled = tuple(replace(one, unit="J", half_width=(one.half_width or 0.0) * length) for one in mean.components)
    edges = Component(
        name="start and stop",
        kind="B",
        unit="1",
        relative=True,
        half_width=readings[-1].window.duration / length,
        source="one interval out of the whole time",
    )
    return replace(
        mean,
        quantity="energy",
        definition="energy/active/summed-intervals",
        value=energy,
        unit="J",
        window=window,
        runs=tuple(replace(run, value=energy, window=window, used=not reasons, reasons=reasons) for run in mean.runs),
        components=(*scaled, edges),
        validity=_evaluation.validity(reasons),
    )
