"""From runs and components to a value with its expanded uncertainty, combined by GTC.

Type A comes from the runs, type B from what drivers and procedures state. Components with the same
`shared` key are one physical cause: they enter as one input quantity, so that their effects add
linearly. Degrees of freedom follow Welch and Satterthwaite (GUM G.4), the coverage factor the
t-distribution where they are few (GUM G.3, G.6). Where one rectangular cause dominates, a caller may
ask for the smaller k of that shape; it is never taken unasked.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from aicalib_hw import units
from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.coverage import (
    MANY_DEGREES,
    PROBABILITY,
    coverage_factor,
    gtc,
    rectangular_factor,
    usable_degrees,
)
from aicalib_hw.metrology.result import BudgetLine, Evaluation
from aicalib_hw.readings import Component

_DIVISORS = {
    "normal": 1.0,
    "rectangular": math.sqrt(3.0),
    "triangular": math.sqrt(6.0),
    "arcsine": math.sqrt(2.0),
}
REPEATABILITY = "repeatability"
RESOLUTION = "resolution"


def standard_uncertainty(component: Component, value: float, unit: str) -> float:
    """Return the standard uncertainty of `component` in `unit`, for a measured `value` in `unit`.

    Relative components scale with |value|; absolute ones are converted. Divisors: GUM 4.3.
    Raises UnitError for a component of another dimension.
    """
    if component.standard_uncertainty is not None:
        size = component.standard_uncertainty
    else:
        assert component.half_width is not None
        size = component.half_width / _DIVISORS[component.distribution]
    if component.relative:
        return size * abs(value)
    return units.convert(size, component.unit, unit)


def type_a(values: Sequence[float], unit: str, *, name: str = REPEATABILITY) -> Component:
    """Return the type A component of the mean of `values` (in `unit`): s/√n with n − 1 degrees of freedom.

    Raises UsageError for fewer than two values, from which nothing can be estimated. GUM 4.2.
    """
    if len(values) < 2:
        raise UsageError(f"{len(values)} runs give no repeatability", advice="measure at least two runs, better six")
    return Component(
        name=name,
        kind="A",
        unit=unit,
        source=f"standard deviation of the mean of {len(values)} runs",
        standard_uncertainty=statistics.stdev(values) / math.sqrt(len(values)),
        distribution="normal",
        dof=float(len(values) - 1),
    )


def without_double_counting(components: Iterable[Component], value: float, unit: str) -> tuple[Component, ...]:
    """Drop the smaller of repeatability and resolution: what cannot be resolved also scatters less.

    Only components of exactly these two names are touched.
    """
    kept = tuple(components)
    pair = [c for c in kept if c.name in (REPEATABILITY, RESOLUTION)]
    if {c.name for c in pair} != {REPEATABILITY, RESOLUTION}:
        return kept
    total = {
        name: sum(standard_uncertainty(c, value, unit) ** 2 for c in pair if c.name == name)
        for name in (REPEATABILITY, RESOLUTION)
    }
    smaller = RESOLUTION if total[REPEATABILITY] >= total[RESOLUTION] else REPEATABILITY
    return tuple(c for c in kept if c.name != smaller)


def evaluate(
    value: float,
    unit: str,
    components: Iterable[Component],
    *,
    runs: Sequence[float] | None = None,
    probability: float = PROBABILITY,
    rectangular: bool = False,
) -> Evaluation:
    """Combine `components` into the uncertainty of `value`, in `unit`.

    All sensitivity coefficients are 1: components are stated at the output. runs: values in `unit` whose
    mean `value` is; they add the type A component. rectangular: choose k for one rectangular cause that
    dominates beside a normal rest, see `rectangular_factor`. Raises UsageError for a budget without any
    uncertainty, or if `rectangular` is asked for and does not hold; MissingExtra without GTC; UnitError
    for a foreign dimension.
    """
    calculator = gtc()
    scatter = () if runs is None else (type_a(runs, unit),)
    stated = without_double_counting((*scatter, *components), value, unit)
    sized = [(c, standard_uncertainty(c, value, unit)) for c in stated]
    if not any(size > 0 for _, size in sized):
        raise UsageError(
            "a budget without any uncertainty cannot be evaluated",
            why="no component, or every component is zero",
            advice="state at least repeatability and what the data sheet says",
        )
    total = calculator.constant(value)
    for members in _causes(sized).values():
        freedom = min(math.inf if component.dof is None else component.dof for component, _ in members)
        total = total + sum(size for _, size in members) * calculator.ureal(0.0, 1.0, freedom)
    combined = float(calculator.uncertainty(total))
    effective = float(calculator.dof(total))
    used_dof = usable_degrees(effective)
    if rectangular:
        factor, how = _rectangular(sized, combined, used_dof, probability)
    else:
        factor = coverage_factor(used_dof, probability)
        how = (
            "first order, k from the normal distribution"
            if used_dof is None
            else f"first order, k from the t-distribution with {used_dof} effective degrees of freedom"
        )
    lines = tuple(
        BudgetLine(
            name=c.name,
            kind=c.kind,
            distribution=c.distribution if c.half_width is not None else "normal",
            standard_uncertainty=size,
            contribution=size,
            share=_share(c, size, sized, combined),
            dof=c.dof,
            source=c.source,
            shared=c.shared,
        )
        for c, size in sized
    )
    return Evaluation(
        value=value,
        unit=unit,
        standard_uncertainty=combined,
        dof=None if math.isinf(effective) else effective,
        coverage_factor=factor,
        probability=probability,
        expanded_uncertainty=factor * combined,
        budget=lines,
        method=how,
    )


_Sized = Sequence[tuple[Component, float]]


def _causes(sized: _Sized) -> dict[str, list[tuple[Component, float]]]:
    """The components by physical cause, those of size 0 left out; without a shared key each is its own."""
    causes: dict[str, list[tuple[Component, float]]] = {}
    for index, (component, size) in enumerate(sized):
        if size > 0:
            causes.setdefault(component.shared or f"#{index}", []).append((component, size))
    return causes


def _rectangular(sized: _Sized, combined: float, dof: int | None, probability: float) -> tuple[float, str]:
    largest = max(_causes(sized).values(), key=lambda members: sum(size for _, size in members))
    size = sum(size for _, size in largest)
    pure = all(c.half_width is not None and c.distribution == "rectangular" for c, _ in largest)
    if not pure or 2 * size**2 < combined**2 or dof is not None:
        raise UsageError(
            "k for a dominant rectangular cause does not fit this budget",
            why="it needs one rectangular cause with more than half of the variance, and "
            f"{MANY_DEGREES} or more effective degrees of freedom",
            advice="leave `rectangular` out: k = 2, or the t-distribution, is then taken",
        )
    rest = math.sqrt(max(0.0, combined**2 - size**2))
    factor = rectangular_factor(size * _DIVISORS["rectangular"], rest, probability)
    names = ", ".join(component.name for component, _ in largest)
    return factor, f"first order, k of the rectangular distribution of {names} beside a normal rest"


def _share(component: Component, size: float, sized: Sequence[tuple[Component, float]], combined: float) -> float:
    """Share of the variance; of correlated lines, their product with the group's sum, so that shares add to 1."""
    same = [other for c, other in sized if component.shared is not None and c.shared == component.shared]
    group = sum(same) if same else size
    return size * group / combined**2


def rounded(value: float, expanded: float, *, digits: int = 2) -> tuple[str, str]:
    """Return value and U as text: U with `digits` significant digits, value aligned to its last digit.

    Half-even on the decimal text. Carries are followed: 0.0996 becomes 0.10, not 0.100.
    Raises UsageError unless U is positive and finite.
    """
    if not 0 < expanded < math.inf:
        raise UsageError(f"an expanded uncertainty of {expanded!r} cannot be reported")
    exact = Decimal(repr(expanded))
    for _ in range(2):
        quantum = Decimal(1).scaleb(exact.adjusted() - digits + 1)
        exact = exact.quantize(quantum, rounding=ROUND_HALF_EVEN)
    shown = Decimal(repr(value)).quantize(quantum, rounding=ROUND_HALF_EVEN)
    return f"{shown:f}", f"{exact:f}"
