"""Results for the screen: a table a quantity, with the line that tells how to get a verdict where none is due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aicalib_hw import units
from aicalib_hw.metrology import Calibration, Result, Verdict
from aicalib_hw.metrology.budget import rounded

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.CONDITIONAL_PASS: "green",
    Verdict.INDETERMINATE: "yellow",
    Verdict.CONDITIONAL_FAIL: "red",
    Verdict.FAIL: "bold red",
    Verdict.NOT_EVALUATED: "dim",
}


def table_of(calibration: Calibration) -> RenderableType:
    """Return the results of one quantity as a table with its notes below; what is simulated says so."""
    simulated = [result.simulated for result in calibration.results]
    title = Text(calibration.quantity, style="bold")
    if simulated and all(simulated):
        title.append("  SIMULATED", style="bold magenta")
    # Narrow enough for a terminal of 80 columns: no verticals, and U beside its value.
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("point", no_wrap=True)
    table.add_column("value ± U", justify="right", no_wrap=True)
    for head in ("k", "indication", "error", "MPE"):
        table.add_column(head, justify="right")
    table.add_column("verdict")
    for result in calibration.results:
        table.add_row(*_row(result, mark=result.simulated and not all(simulated)))
    below = [Text(f"  {note}", style="dim") for note in _notes(calibration)]
    return Group(Text(""), table, *below)


def _row(result: Result, *, mark: bool) -> tuple[str | Text, ...]:
    title = Text(result.title)
    if mark:
        title.append(" SIMULATED", style="bold magenta")
    decision, evaluation = result.decision, result.evaluation
    verdict = Text(decision.verdict.value.replace("_", " ").lower(), style=_COLOURS[decision.verdict])
    if not result.validity:
        verdict = Text(result.validity.status.value.lower(), style="bold red")
    if evaluation is None:
        return title, "—", "", _indication(result, None), "—", _permitted(result), verdict
    _, unit = units.display(evaluation.value, evaluation.unit)
    value, expanded = rounded(
        units.convert(evaluation.value, evaluation.unit, unit),
        units.convert(evaluation.expanded_uncertainty, evaluation.unit, unit),
    )
    error = "—" if decision.relative_error is None else f"{decision.relative_error * 100:+.2f} %"
    return (
        title,
        f"{value} ± {expanded} {unit}",
        f"{evaluation.coverage_factor:.2f}",
        _indication(result, unit),
        error,
        _permitted(result),
        verdict,
    )


def _indication(result: Result, unit: str | None) -> str:
    if result.indication is None:
        return "—"
    shown = unit or result.indication.unit
    return f"{units.convert(result.indication.value, result.indication.unit, shown):.6g} {shown}"


def _permitted(result: Result) -> str:
    limit = result.permissible_error
    if limit is None:
        return "—"
    return f"±{limit.value:.3g} {limit.unit}" if limit.kind == "absolute" else f"±{limit.value * 100:.3g} %"


def _notes(calibration: Calibration) -> list[str]:
    notes = list(calibration.notes)
    for result in calibration.results:
        notes += [f"{result.title}: {reason}" for reason in result.validity.reasons]
    return notes


def how_to_declare(calibrations: Sequence[Calibration], bench_file: str) -> str:
    """Return the lines that tell how to get a verdict, "" if every result has an indication."""
    # What is reported beside the calibrated quantity, as the energy of one window, can have no declared indication.
    missing = [r for c in calibrations for r in c.results if r.indication is None and r.quantity == c.quantity]
    if not missing:
        return ""
    quantities = ", ".join(dict.fromkeys(result.quantity for result in missing))
    example = missing[0]
    lines = [
        "",
        f"Not evaluated: the bench declares no indication of {quantities}. For a verdict, copy {bench_file}",
        "and add to it what the platform says of itself, as in",
        "",
        "  [[indications]]",
        f'  quantity = "{example.quantity}"',
        "  value = …",
        f'  unit = "{_base_unit(example)}"',
        '  source = "data sheet"',
    ]
    if example.asked_load is not None:
        lines.insert(6, f"  load = {example.asked_load:g}")
    return "\n".join(lines)


def _base_unit(result: Result) -> str:
    value = result.evaluation.value if result.evaluation is not None else 0.0
    return units.display(value, result.measurement.unit)[1]


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
