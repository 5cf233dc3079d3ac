"""Results for the screen: a table a quantity, with the line that tells how to get a verdict where none is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aicalib_hw import units
from aicalib_hw.metrology import Calibration, Result, Verdict
from aicalib_hw.metrology.budget import rounded
from aicalib_hw.metrology.indications import NAMES_NO_DRIVER, declaration, declared_otherwise, lacks_indication

_BUSY = ("busy host", "other programs")
"""In a reason that a point is not valid: the host was not ours alone."""

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.CONDITIONAL_PASS: "green",
    Verdict.INDETERMINATE: "yellow",
    Verdict.CONDITIONAL_FAIL: "red",
    Verdict.FAIL: "bold red",
    Verdict.NOT_EVALUATED: "dim",
}


def table_of(calibration: Calibration) -> RenderableType:
    """Return the results of one quantity as a table with its notes below; what is simulated says so.

    Made for 80 columns: what is the same in every row, coverage factor and maximum permissible error, stands once
    above the table, and the unit once in a row.
    """
    results = calibration.results
    simulated = [result.simulated for result in results]
    factor = _common(_factor(result) for result in results)
    permitted = _common(_permitted(result) for result in results)
    table = Table(
        title=_title(calibration, factor, permitted),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("point", overflow="fold")
    for head in ("value ± U", "indication"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    if permitted is None:
        table.add_column("MPE", justify="right", no_wrap=True)
    if factor is None:
        table.add_column("k", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for result in results:
        cells = _row(result, mark=result.simulated and not all(simulated))
        own = [_permitted(result) or "—"] if permitted is None else []
        own += [_factor(result)] if factor is None else []
        table.add_row(*cells, *own, _verdict(result))
    below = [Text(f"  {note}", style="dim") for note in _notes(calibration)]
    return Group(Text(""), table, *below)


def _title(calibration: Calibration, factor: str | None, permitted: str | None) -> Text:
    title = Text(calibration.quantity.replace("_", " "), style="bold")
    if calibration.results and all(result.simulated for result in calibration.results):
        title.append("  SIMULATED", style="bold magenta")
    said = [f"k = {factor}" if factor else "", f"MPE {permitted}" if permitted else ""]
    if any(said):
        title.append("  " + ", ".join(one for one in said if one), style="not bold")
    return title


def _common(cells: Iterable[str]) -> str | None:
    """What all rows that say anything say; "" if none does, None if they differ."""
    said = set(cells) - {""}
    return None if len(said) > 1 else next(iter(said), "")


def _row(result: Result, *, mark: bool) -> tuple[str | Text, ...]:
    title = Text(result.title)
    if mark:
        title.append(" SIMULATED", style="bold magenta")
    evaluation, said = result.evaluation, result.indication
    if evaluation is None:
        return (title, "—", *(("—", "") if said is None else (f"{said.value:.6g}", said.unit)), "—")
    _, unit = units.display(evaluation.value, evaluation.unit)
    value, expanded = rounded(
        units.convert(evaluation.value, evaluation.unit, unit),
        units.convert(evaluation.expanded_uncertainty, evaluation.unit, unit),
    )
    return (
        title,
        f"{value} ± {expanded}",
        "—" if said is None else f"{units.convert(said.value, said.unit, unit):.6g}",
        unit,
        _error(result, unit),
    )


def _error(result: Result, unit: str) -> str:
    """The error in the terms of its limit, in `unit` where that is absolute; one relative to a percentage says so."""
    decision, evaluation, limit = result.decision, result.evaluation, result.permissible_error
    if evaluation is None or decision.error is None:
        return "—"
    if decision.relative_error is None or (limit is not None and limit.kind == "absolute"):
        error, _ = rounded(
            units.convert(decision.error, evaluation.unit, unit),
            units.convert(evaluation.expanded_uncertainty, evaluation.unit, unit),
        )
        return f"{error} {unit}" if error.startswith("-") else f"+{error} {unit}"
    relative = f"{decision.relative_error * 100:+.2f} %"
    return f"rel. {relative}" if unit == "%" else relative


def _verdict(result: Result) -> Text:
    if not result.validity:
        return Text(result.validity.status.value.lower(), style="bold red")
    verdict = result.decision.verdict
    return Text(verdict.value.replace("_", " ").lower(), style=_COLOURS[verdict])


def _factor(result: Result) -> str:
    return "" if result.evaluation is None else f"{result.evaluation.coverage_factor:.2f}"


def _permitted(result: Result) -> str:
    limit = result.permissible_error
    if limit is None:
        return ""
    return f"±{limit.value:.3g} {limit.unit}" if limit.kind == "absolute" else f"±{limit.value * 100:.3g} %"


def _notes(calibration: Calibration) -> list[str]:
    """What is remarked of the quantity and of its points, among it indications in their own unit and why none decides.

    What is remarked of several points stands once.
    """
    titles = sorted((result.title for result in calibration.results), key=len, reverse=True)
    said: dict[str, list[str]] = {}
    reasons = [f"{result.title}: {reason}" for result in calibration.results for reason in result.validity.reasons]
    declared = [
        f"{one.title}: indicated as {one.indication.value:.6g} {one.indication.unit}"
        for one in calibration.results
        if one.indication is not None and declared_otherwise(one)
    ]
    undecided = [f"{one.title}: not evaluated: {one.decision.reason}" for one in calibration.results if _undecided(one)]
    for note in (*calibration.notes, *reasons, *declared, *undecided):
        of = next((title for title in titles if note.startswith(f"{title}: ")), "")
        points = said.setdefault(note.removeprefix(f"{of}: ") if of else note, [])
        if of and of not in points:
            points.append(of)
    every = {result.title for result in calibration.results}
    return [text if not points else f"{_together(points, every)}: {text}" for text, points in said.items()]


def _undecided(result: Result) -> bool:
    """True for a valid result that has no verdict although something is indicated, and a rule to decide by."""
    decision = result.decision
    judged = result.validity and result.indication is not None and decision.rule != "none"
    return bool(judged) and decision.verdict is Verdict.NOT_EVALUATED


def _together(points: Sequence[str], every: set[str]) -> str:
    return "every point" if len(points) > 1 and set(points) == every else "; ".join(points)


def conclusion(calibrations: Sequence[Calibration]) -> str:
    """Return the last words where results are not valid, "" where all are: how many, why, and what to do."""
    results = [result for calibration in calibrations for result in calibration.results]
    bad = [result for result in results if not result.validity]
    if not bad:
        return ""
    disturbed = [one for one in bad if any(sign in reason for reason in one.validity.reasons for sign in _BUSY)]
    count = f"{len(bad)} of {len(results)} results {'is' if len(bad) == 1 else 'are'} not valid"
    if len(results) == 1:
        count = "the result is not valid"
    if len(disturbed) == len(bad):
        return f"{count}: this host was busy with other programs; end them and repeat"
    if disturbed:
        return (
            f"{count}: {len(disturbed)} because this host was busy with other programs, which is mended by ending them "
            "and repeating; the others for the reasons below their tables"
        )
    return f"{count}, for the reasons below {'its table' if len(bad) == 1 else 'their tables'}"


def how_to_declare(calibrations: Sequence[Calibration], bench_file: str) -> str:
    """Return the lines that tell how to get a verdict, "" if no result lacks but an indication."""
    # What is reported beside the calibrated quantity, as the energy of one window, can have no declared indication.
    lacking = [r for c in calibrations for r in c.results if lacks_indication(r) and r.quantity == c.quantity]
    unclear = [r for r in lacking if r.decision.reason.startswith(NAMES_NO_DRIVER)]
    missing = [r for r in lacking if r not in unclear]
    lines = [line for r in unclear for line in ("", f"Not evaluated: {r.title}: {r.decision.reason}")]
    if not missing:
        return "\n".join(lines)
    declared = {r.quantity for c in calibrations for r in c.results if r.indication is not None}
    names = (_exactly(r) if r.quantity in declared else r.quantity for r in missing)
    quantities = ", ".join(dict.fromkeys(names))
    lines += [
        "",
        f"Not evaluated: the bench declares no indication of {quantities}. For a verdict, copy {bench_file}",
        "and add to it what the platform says of itself, as in",
        "",
        *(f"  {line}" for line in declaration(missing[0]).splitlines()),
    ]
    return "\n".join(lines)


def _exactly(result: Result) -> str:
    """The quantity with what tells a point of it from the others of which something is indicated."""
    driver = result.conditions.get("driver")
    return f"{result.quantity} as {result.definition}" + ("" if driver is None else f" of {driver}")


def as_plain(calibrations: Sequence[Calibration]) -> list[dict[str, Any]]:
    """Return the results as JSON data; value, U, indication, error and limit in the base unit of `unit`."""
    return [
        {
            "quantity": result.quantity,
            "definition": result.definition,
            "point": result.title,
            "value": None if result.evaluation is None else result.evaluation.value,
            "unit": result.measurement.unit,
            "expanded_uncertainty": None if result.evaluation is None else result.evaluation.expanded_uncertainty,
            "coverage_factor": None if result.evaluation is None else result.evaluation.coverage_factor,
            "load": result.load,
            "load_asked": result.asked_load,
            "indication": _indicated(result),
            "error": result.decision.error,
            "maximum_permissible_error": result.decision.maximum_permissible_error,
            "conformance_probability": result.decision.conformance_probability,
            "verdict": result.decision.verdict.value,
            "validity": result.validity.status.value,
            "reasons": list(result.validity.reasons),
            "simulated": result.simulated,
        }
        for calibration in calibrations
        for result in calibration.results
    ]


def _indicated(result: Result) -> float | None:
    """What the platform indicates, in the unit of the result."""
    said = result.indication
    return None if said is None else units.convert(said.value, said.unit, result.measurement.unit)
