"""One calibrated quantity as a report shows it: points, runs, budgets, decisions, evidence, plots."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aicalib_hw import definitions, units
from aicalib_hw.definitions import Definition
from aicalib_hw.metrology.result import BudgetLine, Calibration, Evaluation, PermissibleError, Result
from aicalib_hw.readings import Measurement, Run, Series
from aicalib_hw.records.canonical import iso_utc
from aicalib_hw.reports import numbers, plots
from aicalib_hw.reports.facts import Fact, Table, facts, tables
from aicalib_hw.reports.language import Words
from aicalib_hw.reports.numbers import NONE

_POINTS_ABREAST = 6


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
    """One calibrated point as text. style fields: see `Chip`."""

    title: str
    simulated: bool
    value: str
    expanded: str
    relative_expanded: str
    coverage_factor: str
    probability: str
    dof: str
    indication: str
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
    method: str
    combined: str
    budget: tuple[BudgetRow, ...]
    weighted: bool


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as text."""

    number: int
    start: str
    duration: str
    value: str
    used: bool
    reasons: str


@dataclass(frozen=True, slots=True)
class Beside:
    """A measurement that is no calibrated point."""

    definition: str
    sentence: str
    value: str
    load: str
    runs: str
    repeatability: str
    start: str
    validity: Chip
    reasons: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the points were measured with and what speaks for them: lines over the titles of the points, and tables."""

    titles: tuple[str, ...]
    lines: tuple[Fact, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One calibration, ready to be shown.

    partial: it was not brought to its end. groups: points by definition. loaded: points are loads. runs: by point.
    """

    key: str
    name: str
    partial: bool
    definitions: tuple[tuple[Definition, str], ...]
    groups: tuple[tuple[str, tuple[Point, ...]], ...]
    points: tuple[Point, ...]
    loaded: bool
    runs: tuple[tuple[str, tuple[RunRow, ...]], ...]
    evidence: tuple[Evidence, ...]
    plan: tuple[Fact, ...]
    plots: tuple[plots.Plot, ...]
    further: tuple[Beside, ...]
    notes: tuple[str, ...]


def quantity(
    calibration: Calibration,
    words: Words,
    *,
    partial: bool,
    measurements: Sequence[Measurement],
    series: Mapping[str, Series],
) -> Quantity:
    """Return a calibration as text; measurements and series: all of the record, for the plots."""
    results = calibration.results
    titles = [title(result, words) for result in results]
    points = tuple(_point(result, name, words) for result, name in zip(results, titles, strict=True))
    used = tuple(dict.fromkeys(result.definition for result in results))
    groups = tuple(
        (each, tuple(p for p, r in zip(points, results, strict=True) if r.definition == each)) for each in used
    )
    known = [definitions.require(each) for each in used]
    return Quantity(
        key=calibration.quantity,
        name=words.known(calibration.quantity),
        partial=partial,
        definitions=tuple((definition, words.sentence(definition)) for definition in known),
        groups=groups,
        points=points,
        loaded=any(result.asked_load is not None for result in results),
        runs=tuple(
            (name, tuple(_run(run, n, result.measurement.unit) for n, run in enumerate(result.measurement.runs, 1)))
            for result, name in zip(results, titles, strict=True)
            if result.measurement.runs
        ),
        evidence=_evidence(results, titles, words),
        plan=tuple(facts([calibration.plan], results[0].measurement.unit if results else "1", words)),
        plots=tuple(_plots(calibration, titles, words, measurements, series)),
        further=tuple(beside(measurement, words) for measurement in calibration.further),
        notes=calibration.notes,
    )


def title(result: Result, words: Words) -> str:
    """Return what a row of a table is called: in Chinese the load, where there is one."""
    if words.language == "en" or result.asked_load is None:
        return result.title
    return words("under load", load=numbers.load(result.asked_load))


def beside(measurement: Measurement, words: Words) -> Beside:
    """Return a measurement that is no calibrated point, as text."""
    definition = definitions.require(measurement.definition)
    value = measurement.value
    return Beside(
        definition=measurement.definition,
        sentence=words.sentence(definition),
        value=numbers.significant(float(value), measurement.unit) if value is not None else NONE,
        load=numbers.load(measurement.load) if measurement.load is not None else NONE,
        runs=_runs_used(measurement.runs, words),
        repeatability=_spread(measurement),
        start=_clock_time(measurement.window.start.utc_ns),
        validity=_validity(measurement.validity.status.value, words),
        reasons=measurement.validity.reasons,
        simulated=measurement.identity.simulated,
    )


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


def _validity(key: str, words: Words) -> Chip:
    return Chip("none", "", words(key)) if key == "VALID" else Chip("void", "⊘", words(key))


def _point(result: Result, name: str, words: Words) -> Point:
    evaluation, decision, measurement = result.evaluation, result.decision, result.measurement
    stated = numbers.stated(evaluation.value, evaluation.expanded_uncertainty, evaluation.unit) if evaluation else None
    validity = _validity(result.validity.status.value, words)
    relative = evaluation.expanded_uncertainty / abs(evaluation.value) if evaluation and evaluation.value else None
    ratio = _ratio(result)
    return Point(
        title=name,
        simulated=result.simulated or measurement.identity.simulated,
        value=str(stated) if stated else NONE,
        expanded=f"{stated.uncertainty}\u00a0{numbers.symbol(stated.unit)}" if stated else NONE,
        relative_expanded=numbers.percent(relative) if relative is not None else NONE,
        coverage_factor=f"{evaluation.coverage_factor:.2f}" if evaluation else NONE,
        probability=f"{evaluation.probability * 100:.4g}\u00a0%" if evaluation else NONE,
        dof=_dof(evaluation.dof) if evaluation else NONE,
        indication=_indication(result, stated.unit if stated else measurement.unit),
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
        reasons=result.validity.reasons,
        decision=decision.reason,
        load_asked=numbers.load(result.asked_load) if result.asked_load is not None else NONE,
        load_achieved=numbers.load(result.load) if result.load is not None else NONE,
        runs_used=_runs_used(measurement.runs, words),
        repeatability=_spread(measurement),
        method=evaluation.method if evaluation else "",
        combined=_combined(evaluation, words) if evaluation else "",
        budget=tuple(_budget_row(line, evaluation.unit, words) for line in evaluation.budget) if evaluation else (),
        weighted=any(
            not math.isclose(line.standard_uncertainty, abs(line.contribution), rel_tol=1e-6)
            for line in (evaluation.budget if evaluation else ())
        ),
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
    stated = numbers.stated(evaluation.value, evaluation.expanded_uncertainty, evaluation.unit)
    place = numbers.rounded(units.convert(evaluation.expanded_uncertainty, evaluation.unit, stated.unit))[1]
    return numbers.in_unit(value, evaluation.unit, stated.unit, place)


def _error(result: Result) -> str:
    decision, evaluation = result.decision, result.evaluation
    if decision.error is None or evaluation is None:
        return NONE
    stated = numbers.stated(evaluation.value, evaluation.expanded_uncertainty, evaluation.unit)
    place = numbers.rounded(units.convert(evaluation.expanded_uncertainty, evaluation.unit, stated.unit))[1]
    text = numbers.in_unit(decision.error, evaluation.unit, stated.unit, place, signed=True)
    if decision.relative_error is not None and evaluation.value:
        relative = evaluation.expanded_uncertainty / abs(evaluation.value)
        text += f" ({numbers.at_percent_place(decision.relative_error, relative)})"
    return text


def _indication(result: Result, unit: str) -> str:
    if result.indication is None:
        return NONE
    value = units.convert(result.indication.value, result.indication.unit, unit)
    return f"{value:.6g}\u00a0{numbers.symbol(unit)}".replace("-", numbers.MINUS)


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
    return "∞" if dof is None or dof == math.inf else f"{math.floor(dof + 1e-9)}" if dof < 10_000 else "> 9999"


def _runs_used(runs: Sequence[Run], words: Words) -> str:
    return words("of", used=sum(run.used for run in runs), all=len(runs)) if runs else NONE


def _spread(measurement: Measurement) -> str:
    used = [float(run.value) for run in measurement.runs if run.used and run.value is not None]
    if len(used) < 2 or not measurement.value:
        return NONE
    return numbers.percent(statistics.stdev(used) / abs(float(measurement.value)))


def _combined(evaluation: Evaluation, words: Words) -> str:
    return words(
        "combined",
        u=numbers.significant(evaluation.standard_uncertainty, evaluation.unit, 2),
        dof=_dof(evaluation.dof),
        k=f"{evaluation.coverage_factor:.2f}",
        U=numbers.significant(evaluation.expanded_uncertainty, evaluation.unit, 2),
    )


def _budget_row(line: BudgetLine, unit: str, words: Words) -> BudgetRow:
    source = line.source
    if line.shared is not None:
        source = f"{source} ({words('shared', shared=line.shared)})"
    return BudgetRow(
        name=line.name,
        kind=line.kind,
        distribution=words.known(line.distribution),
        standard_uncertainty=numbers.significant(line.standard_uncertainty, unit, 2),
        contribution=numbers.significant(line.contribution, unit, 2),
        share=min(max(line.share, 0.0), 1.0),
        share_text=f"{line.share * 100:.1f}\u00a0%".replace("-", numbers.MINUS),
        dof=_dof(line.dof),
        source=source,
    )


def _run(run: Run, number: int, unit: str) -> RunRow:
    return RunRow(
        number=number,
        start=_clock_time(run.window.start.utc_ns),
        duration=numbers.seconds(run.window.duration),
        value=numbers.significant(run.value, unit, 6) if run.value is not None else NONE,
        used=run.used,
        reasons="; ".join(run.reasons),
    )


def _clock_time(utc_ns: int) -> str:
    return iso_utc(utc_ns)[11:23]


def _evidence(results: Sequence[Result], titles: Sequence[str], words: Words) -> tuple[Evidence, ...]:
    blocks = []
    for begin in range(0, len(results), _POINTS_ABREAST):
        block = results[begin : begin + _POINTS_ABREAST]
        unit = block[0].measurement.unit
        columns = [{**result.measurement.settings, **result.measurement.evidence} for result in block]
        found = tables(columns[0], unit, words) if len(results) == 1 else []
        blocks.append(
            Evidence(tuple(titles[begin : begin + len(block)]), tuple(facts(columns, unit, words)), tuple(found))
        )
    return tuple(block for block in blocks if block.lines or block.tables)


def _plots(
    calibration: Calibration,
    titles: Sequence[str],
    words: Words,
    measurements: Sequence[Measurement],
    series: Mapping[str, Series],
) -> list[plots.Plot]:
    results = calibration.results
    found: list[plots.Plot | None] = []
    if calibration.quantity == "compute":
        for result in results:
            found.append(plots.rate(result, _with_slices(result, measurements), words))
    elif calibration.quantity in ("power", "energy"):
        found.append(plots.power(results, words))
    found.append(plots.errors(results, titles, words))
    of_this = {result.measurement.unit for result in results}
    shown = [result.measurement for result in results]
    for name, samples in series.items():
        if samples.header.get("quantity", "") == calibration.quantity or samples.header["unit"] in of_this:
            found.append(plots.series(name, samples, shown, words))
    return [plot for plot in found if plot is not None]


def _with_slices(result: Result, measurements: Sequence[Measurement]) -> list[Measurement]:
    """The measurement itself, or those of the same definition within its window, as far as they hold slice rates."""
    if result.measurement.evidence.get("slice_rates"):
        return [result.measurement]
    window = result.measurement.window
    return [
        one
        for one in measurements
        if one.evidence.get("slice_rates")
        and one.definition == result.definition
        and window.start.monotonic_ns <= one.window.stop.monotonic_ns
        and one.window.start.monotonic_ns <= window.stop.monotonic_ns
    ]
