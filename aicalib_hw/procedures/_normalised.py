"""A rate of tokens times the parameters of the model: what the token ranges of the specification look like.

510e15 and 170e15 token/s are the range of compute divided by 2 and by 6 operations a token, which is what a model of
one parameter takes. The product has definitions of its own and never stands in place of the rate.
"""

from __future__ import annotations

from dataclasses import replace

from aicalib_hw.metrology.indications import NORMALISED
from aicalib_hw.readings import Component, Measurement


def times(run: Measurement, parameters: int) -> Measurement:
    """Return a rate, and that of each of its runs, multiplied by the parameters, which are known exactly."""

    def larger(value: float | int | None) -> float | None:
        return None if value is None else float(value) * parameters

    return replace(
        run,
        value=larger(run.value),
        definition=run.definition + NORMALISED,
        runs=tuple(replace(one, value=larger(one.value)) for one in run.runs),
    )


def scaled(component: Component, factor: int) -> Component:
    """Return a component of a rate as one of the rate times `factor`."""
    if component.relative:
        return component
    size, width = component.standard_uncertainty, component.half_width
    return replace(
        component,
        standard_uncertainty=None if size is None else size * factor,
        half_width=None if width is None else width * factor,
    )
