"""From runs and components to a value with its expanded uncertainty, combined by GTC.

Type A comes from the runs, type B from what drivers and procedures state. Components with the same
`shared` key are one physical cause: they enter as one input quantity, so that their effects add
linearly. Degrees of freedom follow Welch and Satterthwaite (GUM G.4), the coverage factor the
t-distribution where they are few (GUM G.3, G.6).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from aicalib_hw import units
from aicalib_hw.errors import MissingExtra, UsageError
from aicalib_hw.metrology.result import BudgetLine, Evaluation
from aicalib_hw.readings import Component

PROBABILITY = 0.9545
"""Coverage probability for which k = 2 of a normal distribution is stated."""

MANY_DEGREES = 30
"""From so many effective degrees of freedom on, k is that of the normal distribution."""

_DIVISORS = {
    "normal": 1.0,
    "rectangular": math.sqrt(3.0),
    "triangular": math.sqrt(6.0),
    "arcsine": math.sqrt(2.0),
}
REPEATABILITY = "repeatability"
RESOLUTION = "resolution"


def _gtc() -> Any:
    try:
        import GTC  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra.for_library("GTC", "metrology", "combining uncertainties") from error
    return GTC


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
    probability: float = PROBABILITY,
) -> Evaluation:
    """Combine `components` into the uncertainty of `value`, in `unit`.

    All sensitivity coefficients are 1: components are stated at the output. Raises UsageError for a
    budget without any uncertainty, MissingExtra without GTC, UnitError for a foreign dimension.
    """
    gtc = _gtc()
    stated = without_double_counting(components, value, unit)
    sized = [(c, standard_uncertainty(c, value, unit)) for c in stated]
    if not any(size > 0 for _, size in sized):
        raise UsageError(
            "a budget without any uncertainty cannot be evaluated",
            why="no component, or every component is zero",
            advice="state at least repeatability and what the data sheet says",
        )
    inputs: dict[str, Any] = {}
    total = gtc.constant(value)
    for index, (component, size) in enumerate(sized):
        if size == 0:
            continue
        key = component.shared or f"#{index}"
        if key not in inputs:
            inputs[key] = gtc.ureal(0.0, 1.0, math.inf if component.dof is None else component.dof)
        total = total + size * inputs[key]
    combined = float(gtc.uncertainty(total))
    effective = float(gtc.dof(total))
    few = effective < MANY_DEGREES
    used_dof = max(1, math.floor(effective + 1e-9)) if few else None
    factor = coverage_factor(used_dof, probability)
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
    how = (
        f"first order, k from the t-distribution with {used_dof} effective degrees of freedom"
        if few
        else "first order, k from the normal distribution"
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


def coverage_factor(dof: int | None, probability: float = PROBABILITY) -> float:
    """Return k for `probability` and `dof` degrees of freedom (None = infinite), two-sided, Student's t."""
    if dof is None and probability == PROBABILITY:
        return 2.0
    reporting = _gtc().reporting
    return float(reporting.k_factor(math.inf if dof is None else dof, p=100.0 * probability))


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
    from decimal import ROUND_HALF_EVEN, Decimal

    if not 0 < expanded < math.inf:
        raise UsageError(f"an expanded uncertainty of {expanded!r} cannot be reported")
    exact = Decimal(repr(expanded))
    for _ in range(2):
        quantum = Decimal(1).scaleb(exact.adjusted() - digits + 1)
        exact = exact.quantize(quantum, rounding=ROUND_HALF_EVEN)
    shown = Decimal(repr(value)).quantize(quantum, rounding=ROUND_HALF_EVEN)
    return f"{shown:f}", f"{exact:f}"
