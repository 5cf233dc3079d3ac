"""One calibrated point: repeated measurements of one definition made into a result, and which runs to repeat."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aicalib_hw import definitions, units
from aicalib_hw.errors import UsageError
from aicalib_hw.metrology import Decision, Evaluation, Indication, Result, Verdict
from aicalib_hw.metrology.budget import RESOLUTION, evaluate, type_a
from aicalib_hw.metrology.clocks import SHARED
from aicalib_hw.metrology.decision import decide
from aicalib_hw.metrology.indications import NAMES_NO_DRIVER, conditions_of, fitting
from aicalib_hw.metrology.result import PermissibleError
from aicalib_hw.metrology.scatter import remarks
from aicalib_hw.procedures._alike import alike
from aicalib_hw.readings import Component, Measurement, Run, Validity, ValidityStatus, Window

MOST_UNUSED = 0.2
"""Share of runs that may be unusable before the point is invalid."""

MOST_RUNS = 5 / 3
"""A point is measured with at most so many times the planned runs, and with five where fewer are planned."""


def worth_repeating(measured: Sequence[Measurement], planned: int) -> bool:
    """True if another run, within the bound, can bring the unusable runs down to the share that is allowed.

    measured: the runs so far, in order; planned: how many the plan asks for. Every run stays in the record and counts.
    """
    unusable = sum(not one.validity or one.value is None for one in measured)
    needed = max(planned, math.ceil(unusable / MOST_UNUSED - 1e-9))
    bound = max(5, math.ceil(MOST_RUNS * planned))
    return len(measured) < needed <= bound


def make_point(
    bench: Any,
    measured: Sequence[Measurement],
    *,
    title: str,
    components: Sequence[Component],
    evidence: Mapping[str, Any],
    load: float | None = None,
    asked_load: float | None = None,
    conditions: Mapping[str, Any] | None = None,
    implied: Mapping[str, Any] | None = None,
    reasons: Sequence[str] = (),
    unjudged: str = "",
) -> Result:
    """Return the result of runs that measured the same: mean, budget, error, decision.

    measured: one measurement a run, of one definition and unit. components: type B, of their mean. conditions, implied:
    as `decided` takes them. reasons: why the point is not valid although its runs may be. unjudged: why a valid one
    gets no verdict. Type A comes from the usable runs; a point with fewer than two, or with more than a fifth unusable,
    is INVALID and has no verdict. What the runs betray (a stray one, a drift, scatter) is added to the `remarks` of the
    evidence; nothing is left out for it.
    """
    first = measured[0]
    definitions.require_same(*(one.definition for one in measured))
    values = [float(one.value) for one in measured if one.validity and one.value is not None]
    objections = list(reasons)
    unused = len(measured) - len(values)
    if unused > MOST_UNUSED * len(measured):
        objections.append(f"{unused} of {len(measured)} runs are not usable")
        objections += alike(reason for one in measured for reason in one.validity.reasons if not one.validity)
    elif len(values) < 2:
        objections.append(f"{len(values)} usable runs give no repeatability")
    validity = Validity(ValidityStatus.INVALID, tuple(objections)) if objections else Validity()
    value = statistics.fmean(values) if values else None
    stated = tuple(components)
    permissible = permissible_error_of(bench, first.quantity)
    steps = [2 * (one.half_width or 0.0) for one in stated if one.name == RESOLUTION and one.unit == first.unit]
    noticed = remarks(
        values, first.unit, limit=_limit(permissible, value, first.unit), resolution=max(steps, default=0.0)
    )
    combined = Measurement(
        quantity=first.quantity,
        definition=first.definition,
        value=value,
        unit=first.unit,
        window=Window(first.window.start, measured[-1].window.stop, f"{len(measured)} runs of {first.window.rule}"),
        identity=first.identity,
        runs=tuple(
            Run(
                value=None if one.value is None else float(one.value),
                window=one.window,
                used=bool(one.validity),
                reasons=one.validity.reasons,
                evidence={"load": one.load} if one.load is not None else {},
            )
            for one in measured
        ),
        components=stated,
        settings=first.settings,
        evidence={**evidence, "remarks": [*evidence.get("remarks", ()), *noticed]},
        validity=validity,
        load=load,
    )
    evaluation = None
    if value is not None and validity:
        evaluation = evaluate(value, first.unit, (type_a(values, first.unit), *stated))
    return decided(
        bench,
        combined,
        evaluation,
        title=title,
        asked_load=asked_load,
        conditions=conditions,
        implied=implied,
        unjudged=unjudged,
    )


def decided(
    bench: Any,
    measured: Measurement,
    evaluation: Evaluation | None,
    *,
    title: str,
    asked_load: float | None,
    conditions: Mapping[str, Any] | None = None,
    implied: Mapping[str, Any] | None = None,
    unjudged: str = "",
) -> Result:
    """Return the result of an evaluated measurement: what the platform indicates of it, and the decision.

    conditions: what tells this point from others of its definition, besides the load. implied: further conditions,
    which are the same for all points of the quantity: an indication may name them, and need not. unjudged: why there is
    no decision although the measurement is valid; error and uncertainty are stated all the same. Indications that
    contradict each other, cannot be compared, or may be meant of other accelerators, take nothing of what was measured:
    there is then no verdict, with the reason.
    """
    rule, permissible = bench.settings.decision.rule, permissible_error_of(bench, measured.quantity)
    indication: Indication | None = None
    try:
        indication = indication_of(
            bench, measured.quantity, measured.definition, asked_load, conditions, implied=implied
        )
        decision = decide(
            evaluation, indication, permissible, rule, quantity=measured.quantity, validity=measured.validity
        )
    except UsageError as error:
        indication, said = None, (error.what, error.why, error.advice)
        decision = Decision(rule, Verdict.NOT_EVALUATED, "; ".join(text for text in said if text))
    if unjudged and measured.validity:
        decision = replace(decision, verdict=Verdict.NOT_EVALUATED, reason=unjudged, conformance_probability=None)
    return Result(
        quantity=measured.quantity,
        definition=measured.definition,
        title=title,
        measurement=measured,
        evaluation=evaluation,
        decision=decision,
        validity=measured.validity,
        simulated=measured.identity.simulated,
        indication=indication,
        permissible_error=permissible,
        load=measured.load,
        asked_load=asked_load,
        conditions=dict(conditions or {}),
    )


def permissible_error_of(bench: Any, quantity: str) -> PermissibleError | None:
    """Return the maximum permissible error that the bench file gives for a quantity, None if it gives none."""
    limit = bench.settings.permissible_errors.get(quantity)
    return limit.permissible_error() if limit is not None else None


def largest_components(runs: Sequence[Measurement]) -> tuple[Component, ...]:
    """Return the components of the mean of runs: of each name the largest that any run states."""
    largest: dict[str, Component] = {}
    for run in runs:
        for component in run.components:
            held = largest.get(component.name)
            if held is None or _size(component) > _size(held):
                largest[component.name] = component
    return tuple(largest.values())


def with_time_base(runs: Sequence[Measurement], clock: Component) -> tuple[Component, ...]:
    """Return what drivers state of the mean of runs; the host's time base, if they state it, as evidence has it."""
    stated = largest_components(runs)
    by_host = any(component.shared == SHARED for component in stated)
    return (*(one for one in stated if one.shared != SHARED), *((clock,) if by_host else ()))


def remarks_by_point(results: Sequence[Result]) -> tuple[str, ...]:
    """Return the remarks on results, each once, with the points it was made of."""
    points: dict[str, list[str]] = {}
    for result in results:
        for remark in result.measurement.evidence["remarks"]:
            points.setdefault(remark, []).append(result.title)
    return tuple(f"{'; '.join(titles)}: {remark}" for remark, titles in points.items())


def _size(component: Component) -> float:
    return component.half_width if component.half_width is not None else component.standard_uncertainty or 0.0


def _limit(permissible: PermissibleError | None, value: float | None, unit: str) -> float | None:
    if permissible is None or value is None:
        return None
    if permissible.kind == "relative":
        return permissible.value * abs(value)
    return units.convert(permissible.value, permissible.unit, unit)


def indication_of(
    bench: Any,
    quantity: str,
    definition: str,
    load: float | None,
    conditions: Mapping[str, Any] | None = None,
    *,
    implied: Mapping[str, Any] | None = None,
) -> Indication | None:
    """Return what the platform indicates for this point, None if the bench declares nothing that fits.

    One without a definition speaks of every point of its quantity; of compute, of the precision of the bench's plan
    alone. Raises UsageError if two declared indications fit equally well, or if drivers tell points apart and the one
    that fits names none.
    """
    settings = bench.settings
    found = fitting(
        settings.indications,
        quantity,
        definition,
        conditions_of(load, {**(implied or {}), **(conditions or {})}),
        precision=settings.plan.compute.precision,
    )
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} indications of {quantity} fit one point",
            where=f"{settings.origin}: indications",
            why="they say " + " and ".join(f"{one.value:g} {one.unit} ({one.source})" for one in found),
            advice="leave one, or tell them apart by definition and condition",
        )
    if not found:
        return None
    driver = (conditions or {}).get("driver")
    if driver is not None and found[0].driver is None:
        raise UsageError(
            NAMES_NO_DRIVER,
            where=f"{settings.origin}: indications",
            why=f"{found[0].value:g} {found[0].unit} ({found[0].source}) may be meant of others than those of {driver}",
            advice=f'add driver = "{driver}" to it if it is said of these',
        )
    indication: Indication = found[0].indication()
    return indication
