"""One calibrated point as text: value ± U, error against limit, verdict, budget."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aicalib_hw import units
from aicalib_hw.metrology.indications import declared_otherwise
from aicalib_hw.metrology.result import BudgetLine, Evaluation, PermissibleError, Result
from aicalib_hw.readings import Measurement, Run
from aicalib_hw.reports import numbers
from aicalib_hw.reports.language import Words
from aicalib_hw.reports.numbers import NONE


@dataclass(frozen=True, slots=True)
class Chip:
    """A verdict or validity: style names the look, mark is a sign that needs no colour."""

    style: str
    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One component of a budget as text; share: of the variance, 0…1, for its bar."""

    name: str
    kind: str
    distribution: str
    standard_uncertainty: str
    contribution: str
    share: float
    share_text: str
    dof: str
    source: str


@dataclass(frozen=True, slots=True)
class Point:
    """One calibrated point as text. style fields: see `Chip`. notes: the numbers of those that name it.

    declared: the indication in its own unit, "" where that is a decimal multiple of the result's.
    """

    title: str
    quantity: str
    simulated: bool
    value: str
    usable: bool
    expanded: str
    relative_expanded: str
    coverage_factor: str
    probability: str
    dof: str
    indication: str
    declared: str
    indication_source: str
    error: str
    absolute_error: str
    mpe: str
    mpe_source: str
    mpev: str
    ratio: str
    large_ratio: bool
    conformance: str
    verdict: Chip
    validity: Chip
    reasons: tuple[str, ...]
    decision: str
    load_asked: str
    load_achieved: str
    runs_used: str
    repeatability: str
    combined: str
    combined_expanded: str
    method: str
    budget: tuple[BudgetRow, ...]
    weighted: bool
    notes: tuple[int, ...]


def title(result: Result, words: Words) -> str:
    """Return what a row of a table is called: in Chinese the load, where there is one, else the known parts of it."""
    if words.language == "en":
        return numbers.in_words(result.title)
    if result.asked_load is None:
        return words.title(result.title)
    load = words("under load", load=numbers.load(result.asked_load))
    return f"{words.known('energy')}, {load}" if result.quantity == "energy" else load


_AS_GOOD_AS_INFINITE = 1e6
_VERDICTS = {
    "PASS": ("good", "✓"),
    "CONDITIONAL_PASS": ("fair", "✓"),
    "INDETERMINATE": ("fair", "?"),
    "CONDITIONAL_FAIL": ("bad", "✗"),
    "FAIL": ("bad", "✗"),
    "NOT_EVALUATED": ("none", "○"),
}


def _verdict(key: str, words: Words) -> Chip:
    style, mark = _VERDICTS[key]
    return Chip(style, mark, words(key))


def validity_chip(key: str, words: Words) -> Chip:
    """Return a validity as it is shown; what is not valid cannot be overlooked."""
    return Chip("none", "", words(key)) if key == "VALID" else Chip("void", "⊘", words(key))


def point(result: Result, name: str, words: Words, *, notes: tuple[int, ...] = ()) -> Point:
    """Return a result as text, under the title `name`; notes: the numbers of those that name it."""
    evaluation, decision, measurement = result.evaluation, result.decision, result.measurement
    stated = numbers.stated(evaluation.value, evaluation.expanded_uncertainty, evaluation.unit) if evaluation else None
    validity = validity_chip(result.validity.status.value, words)
    relative = evaluation.expanded_uncertainty / abs(evaluation.value) if evaluation and evaluation.value else None
    ratio = _ratio(result)
    return Point(
        title=name,
        quantity=words.known(result.quantity),
        simulated=result.simulated or measurement.identity.simulated,
        value=str(stated) if stated else NONE,
        usable=bool(result.validity),
        expanded=f"{stated.uncertainty}\u00a0{numbers.symbol(stated.unit)}" if stated else NONE,
        relative_expanded=numbers.percent(relative) if relative is not None else NONE,
        coverage_factor=f"{evaluation.coverage_factor:.2f}" if evaluation else NONE,
        probability=f"{evaluation.probability * 100:.4g}\u00a0%" if evaluation else NONE,
        dof=_dof(evaluation.dof) if evaluation else NONE,
        indication=_indication(result, stated.unit if stated else measurement.unit),
        declared=_declared(result),
        indication_source=result.indication.source if result.indication else "",
        error=_error(result),
        absolute_error=_in(abs(decision.error), result) if decision.error is not None else NONE,
        mpe=_limit(result.permissible_error),
        mpe_source=result.permissible_error.source if result.permissible_error else "",
        mpev=_in(decision.maximum_permissible_error, result),
        ratio=numbers.percent(ratio) if ratio is not None else NONE,
        large_ratio=ratio is not None and ratio > 1 / 3,
        conformance=_probability(decision.conformance_probability),
        verdict=_verdict(decision.verdict.value, words) if result.validity else validity,
        validity=validity,
        reasons=tuple(numbers.in_words(reason) for reason in result.validity.reasons),
        decision=numbers.in_words(decision.reason),
        load_asked=numbers.load(result.asked_load) if result.asked_load is not None else NONE,
        load_achieved=numbers.load(result.load) if result.load is not None else NONE,
        runs_used=runs_used(measurement.runs, words),
        repeatability=spread(measurement),
        combined=numbers.significant(evaluation.standard_uncertainty, evaluation.unit, 2) if evaluation else NONE,
        combined_expanded=numbers.significant(evaluation.expanded_uncertainty, evaluation.unit, 2)
        if evaluation
        else NONE,
        method=evaluation.method if evaluation else "",
        budget=tuple(_budget_row(line, evaluation, words) for line in evaluation.budget) if evaluation else (),
        weighted=any(
            not math.isclose(line.standard_uncertainty, abs(line.contribution), rel_tol=1e-6)
            for line in (evaluation.budget if evaluation else ())
        ),
        notes=notes,
    )


def _ratio(result: Result) -> float | None:
    """U over the absolute value of the maximum permissible error, also where no decision was due."""
    evaluation, limit = result.evaluation, result.permissible_error
    if evaluation is None or limit is None:
        return None
    permitted = result.decision.maximum_permissible_error
    if permitted is None:
        permitted = (
            limit.value * abs(evaluation.value)
            if limit.kind == "relative"
            else units.convert(limit.value, limit.unit, evaluation.unit)
        )
    return evaluation.expanded_uncertainty / permitted if permitted else None


def _in(value: float | None, result: Result) -> str:
    """A value in the unit of the result, as precise as its uncertainty."""
    evaluation = result.evaluation
    if value is None or evaluation is None:
        return NONE
    unit, expanded = evaluation.unit, evaluation.expanded_uncertainty
    return numbers.aligned(value, expanded, unit, numbers.stated(evaluation.value, expanded, unit).unit)


def _error(result: Result) -> str:
    decision, evaluation = result.decision, result.evaluation
    if decision.error is None or evaluation is None:
        return NONE
    unit, expanded = evaluation.unit, evaluation.expanded_uncertainty
    shown = numbers.stated(evaluation.value, expanded, unit).unit
    text = numbers.aligned(decision.error, expanded, unit, shown, signed=True)
    if decision.relative_error is not None and evaluation.value:
        text += f" ({numbers.aligned_percent(decision.relative_error, expanded / abs(evaluation.value))})"
    return text


def _indication(result: Result, unit: str) -> str:
    if result.indication is None:
        return NONE
    return numbers.as_declared(units.convert(result.indication.value, result.indication.unit, unit), unit)


def _declared(result: Result) -> str:
    said = result.indication
    if said is None or not declared_otherwise(result):
        return ""
    return numbers.as_declared(said.value, said.unit)


def _limit(limit: PermissibleError | None) -> str:
    if limit is None:
        return NONE
    shown = (
        numbers.percent(limit.value, 6) if limit.kind == "relative" else numbers.significant(limit.value, limit.unit, 6)
    )
    return f"±{numbers.trimmed(shown)}"


def _probability(probability: float | None) -> str:
    if probability is None:
        return NONE
    if probability > 0.9995:
        return "> 99.9\u00a0%"
    return "< 0.1\u00a0%" if probability < 0.0005 else f"{probability * 100:.1f}\u00a0%"


def _dof(dof: float | None) -> str:
    # Truncated downwards, as GUM G.4.1 does before the table of t is entered.
    return "∞" if dof is None or dof > _AS_GOOD_AS_INFINITE else f"{math.floor(dof + 1e-9)}"


def runs_used(runs: Sequence[Run], words: Words) -> str:
    """Return how many of the runs entered the value."""
    return words("of", used=sum(run.used for run in runs), all=len(runs)) if runs else NONE


def spread(measurement: Measurement) -> str:
    """Return the experimental standard deviation of the runs that were used, relative to the value."""
    used = [float(run.value) for run in measurement.runs if run.used and run.value is not None]
    if len(used) < 2 or not measurement.value:
        return NONE
    return numbers.percent(statistics.stdev(used) / abs(float(measurement.value)))


def _budget_row(line: BudgetLine, evaluation: Evaluation, words: Words) -> BudgetRow:
    source, unit = line.source, evaluation.unit
    if line.shared is not None and sum(other.shared == line.shared for other in evaluation.budget) > 1:
        source = f"{source} ({words('shared', shared=line.shared)})"
    return BudgetRow(
        name=words.component(line.name),
        kind=line.kind,
        distribution=words.known(line.distribution),
        standard_uncertainty=numbers.significant(line.standard_uncertainty, unit, 2),
        contribution=numbers.significant(line.contribution, unit, 2),
        share=min(max(line.share, 0.0), 1.0),
        share_text=f"{line.share * 100:.1f}\u00a0%".replace("-", numbers.MINUS),
        dof=_dof(line.dof),
        source=source,
    )
