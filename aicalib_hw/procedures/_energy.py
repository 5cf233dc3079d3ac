"""Energy beside power: the meter's own integrator at the largest load, held against the mean power of the runs."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from aicalib_hw.metrology import Result
from aicalib_hw.metrology.budget import evaluate
from aicalib_hw.metrology.certificates import LIMITS
from aicalib_hw.procedures._point import decided
from aicalib_hw.readings import Component, Measurement, Run, Validity, ValidityStatus


def make_energy(
    bench: Any, measured: Measurement, duration: float, power: Result, runs: Sequence[Measurement], *, title: str
) -> Result:
    """Return the result of one integration over `duration` s under the load of the point `power` and its `runs`.

    The certificate's correction and the transducers' components of the power hold for the energy in the same
    proportion. One integration has no repeatability of its own: that of a single run of the power stands for it. An
    energy that is not the power times the time, within its expanded uncertainty, is not valid: one of the two is wrong.
    """
    usable = [run for run in runs if run.validity and run.value is not None]
    values = [float(run.value or 0.0) for run in usable]
    energy = measured.value
    if energy is None or not measured.validity or not power.validity:
        return decided(bench, _refused(measured, power), None, title=title, asked_load=power.asked_load)
    mean = statistics.fmean(values)
    correction = statistics.fmean(float(run.evidence.get("correction_W", 0.0)) for run in usable)
    value = float(energy) * mean / (mean - correction)
    scatter = Component(
        name="repeatability",
        kind="A",
        unit="1",
        relative=True,
        source=f"standard deviation of one of the {len(values)} runs of the power",
        standard_uncertainty=statistics.stdev(values) / abs(mean),
        distribution="normal",
        dof=float(len(values) - 1),
    )
    stated_of_power = {one.name for one in usable[0].components}
    kept = [one for one in measured.components if one.name not in LIMITS or one.name in stated_of_power]
    of_meter = {component.name for component in kept} | {"resolution"}
    of_power = [_relative(one, mean) for one in usable[0].components if one.name not in of_meter]
    components = (*kept, *of_power)
    evaluation = evaluate(value, "J", (scatter, *components))
    expected = mean * duration
    stated = dataclasses.replace(
        measured,
        value=value,
        components=components,
        runs=tuple(dataclasses.replace(run, value=value) for run in measured.runs) or (Run(value, measured.window),),
        evidence={**measured.evidence, "power_times_time_J": expected},
    )
    if abs(value - expected) > evaluation.expanded_uncertainty:
        reason = f"the integrator's energy is {value / expected - 1:+.2%} off the mean power times the time"
        refused = dataclasses.replace(stated, validity=Validity(ValidityStatus.INVALID, (reason,)))
        return decided(bench, refused, None, title=title, asked_load=power.asked_load)
    return decided(bench, stated, evaluation, title=title, asked_load=power.asked_load)


def _refused(measured: Measurement, power: Result) -> Measurement:
    reasons = measured.validity.reasons
    if not power.validity:
        reasons += ("the power of this point is not valid, so the energy has nothing to be held against",)
    return dataclasses.replace(measured, validity=Validity(ValidityStatus.INVALID, reasons))


def _relative(component: Component, power: float) -> Component:
    """A component of the power, in W or relative, as one of an energy under this power."""
    if component.relative:
        return component
    return dataclasses.replace(
        component,
        unit="1",
        relative=True,
        standard_uncertainty=None if component.standard_uncertainty is None else component.standard_uncertainty / power,
        half_width=None if component.half_width is None else component.half_width / power,
    )
