"""The plots of a report, as pictures inside the page: text stays text, and nothing is drawn by colour alone."""

from __future__ import annotations

import base64
import io
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from aicalib_hw import units
from aicalib_hw.errors import MissingExtra
from aicalib_hw.metrology.result import Result
from aicalib_hw.readings import Measurement, Run, Series
from aicalib_hw.reports import numbers
from aicalib_hw.reports.language import Words

_INK, _FAINT, _ACCENT, _OTHER = "#1d2733", "#8a94a0", "#0b5c9c", "#b3541e"
_CORES = ("#0b5c9c", "#b3541e", "#3f7d4e", "#7b5ea7", "#8c6d1f", "#a23e58")
_WIDTH, _HEIGHT = 7.4, 2.7
_MOST_POINTS = 1500
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "aicalib-hw",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture as a data URI, with what it shows in words: for who sees it, and for who does not."""

    source: str
    caption: str
    alternative: str


def rate(result: Result, slices: Sequence[Measurement], words: Words) -> Plot | None:
    """Rate of slices and runs over time; `slices`: measurements whose evidence holds slice rates."""
    measurement = result.measurement
    runs = [run for run in measurement.runs if run.value is not None]
    if not runs:
        return None
    begin = min(run.window.start.monotonic_ns for run in runs)
    _, unit = units.display(max(_value(run) for run in runs), measurement.unit)
    scale = units.convert(1.0, measurement.unit, unit)

    def draw(axes: Sequence[Any]) -> None:
        if slices:
            every: list[float] = []
            devices = list(dict.fromkeys(one.identity.address for one in slices))
            for one in slices:
                shift = (one.window.start.monotonic_ns - begin) / 1e9
                for core, series in enumerate(one.evidence["slice_rates"]):
                    step = max(1, len(series["time"]) * len(one.evidence["slice_rates"]) * len(devices) // _MOST_POINTS)
                    times = [time + shift for time in series["time"][::step]]
                    rates = [rate * scale for rate in series["rate"][::step]]
                    colour = _CORES[(devices.index(one.identity.address) + core) % len(_CORES)]
                    axes[1].plot(times, rates, ".", markersize=1.6, color=colour, alpha=0.55, rasterized=True)
                    every += rates
            axes[1].set_ylim(*_all_but_the_slowest(every))
            axes[1].set_ylabel(words("axis rate", unit=numbers.symbol(unit)))
        for run in runs:
            start = (run.window.start.monotonic_ns - begin) / 1e9
            axes[0].plot(
                [start, start + run.window.duration],
                [_value(run) * scale] * 2,
                color=_INK if run.used else _OTHER,
                linewidth=2.2 if run.used else 1.6,
                linestyle="-" if run.used else (0, (2, 1.5)),
                solid_capstyle="butt",
            )
        if result.evaluation is not None:
            value, half = result.evaluation.value * scale, result.evaluation.expanded_uncertainty * scale
            axes[0].axhspan(value - half, value + half, color="#dbe8f2", linewidth=0, zorder=0)
            axes[0].axhline(value, color=_ACCENT, linewidth=0.8)
        axes[0].set_ylabel(words("axis total", unit=numbers.symbol(unit)))
        axes[-1].set_xlabel(words("axis time"))

    values = [_value(run) for run in runs]
    alternative = words(
        "plot rate alt",
        duration=numbers.seconds(sum(run.window.duration for run in runs)),
        lowest=numbers.significant(min(values), measurement.unit),
        highest=numbers.significant(max(values), measurement.unit),
        mean=numbers.significant(sum(values) / len(values), measurement.unit),
    )
    return Plot(_picture(draw, rows=2 if slices else 1), words("plot rate"), alternative)


def power(results: Sequence[Result], words: Words) -> Plot | None:
    """Value with ±U against the load achieved, and the indication where one is declared."""
    of_one = [result for result in results if result.quantity == results[0].quantity]
    shown = [r for r in of_one if r.evaluation is not None and _load(r) is not None]
    if len(shown) < 2:
        return None
    evaluations = [result.evaluation for result in shown if result.evaluation is not None]
    _, unit = units.display(max(abs(e.value) for e in evaluations), evaluations[0].unit)
    loads = [100 * (_load(result) or 0.0) for result in shown]
    values = [units.convert(e.value, e.unit, unit) for e in evaluations]
    bars = [units.convert(e.expanded_uncertainty, e.unit, unit) for e in evaluations]
    indicated = [
        (load, units.convert(result.indication.value, result.indication.unit, unit))
        for load, result in zip(loads, shown, strict=True)
        if result.indication is not None
    ]

    def draw(axes: Sequence[Any]) -> None:
        axes[0].plot(loads, values, color=_FAINT, linewidth=0.7)
        axes[0].errorbar(loads, values, bars, fmt="o", color=_ACCENT, markersize=4, elinewidth=1, capsize=3)
        if indicated:
            axes[0].plot(*zip(*indicated, strict=True), "D", markersize=6, color=_OTHER, fillstyle="none")
        axes[0].set_xlabel(words("axis load"))
        axes[0].set_ylabel(words("axis value", name=words("power"), unit=numbers.symbol(unit)))
        every = [0.0, *values, *(value for _, value in indicated)]
        axes[0].set_ylim(min(every), max(every) * 1.06 if max(every) > 0 else None)

    told = "; ".join(
        f"{load:.0f}\u00a0%: {numbers.stated(e.value, e.expanded_uncertainty, e.unit)}"
        for load, e in zip(loads, evaluations, strict=True)
    )
    return Plot(_picture(draw), words("plot power"), words("plot power alt", points=told))


def errors(results: Sequence[Result], titles: Sequence[str], words: Words) -> Plot | None:
    """Error of indication with ±U over the permissible error, one row a point."""
    rows = []
    for result, title in zip(results, titles, strict=True):
        decision = result.decision
        limit = decision.maximum_permissible_error
        if decision.error is not None and decision.expanded_uncertainty is not None and limit:
            rows.append((title, decision.error / limit, decision.expanded_uncertainty / limit, decision.verdict))
    if not rows:
        return None

    def draw(axes: Sequence[Any]) -> None:
        places = range(len(rows), 0, -1)
        reach = max(1.35, *(abs(error) + half * 1.15 for _, error, half, _ in rows))
        axes[0].axvspan(-1, 1, color="#eef3f7", zorder=0)
        for side in (-1, 1):
            axes[0].axvline(side, color=_INK, linewidth=1)
        axes[0].axvline(0, color=_FAINT, linewidth=0.6)
        for place, (_, error, half, _) in zip(places, rows, strict=True):
            inside = abs(error) <= 1
            colour = _ACCENT if inside else _OTHER
            marker = "o" if inside else "X"
            axes[0].errorbar([error], [place], xerr=[half], fmt=marker, color=colour, capsize=3, markersize=5)
        labels = [f"{title}: {words(verdict.value)}" for title, _, _, verdict in rows]
        axes[0].set_yticks(list(places), labels)
        axes[0].set_ylim(0.4, len(rows) + 0.6)
        axes[0].set_xlim(-reach, reach)
        axes[0].set_xticks([-1, 0, 1] if reach < 3 else [-round(reach), -1, 0, 1, round(reach)])
        axes[0].set_xlabel(words("axis error"))
        axes[0].grid(axis="y", visible=False)

    told = "; ".join(f"{title}: {error:+.2f} ± {half:.2f}" for title, error, half, _ in rows)
    picture = _picture(draw, height=0.75 + 0.32 * len(rows))
    return Plot(picture, words("plot error"), words("plot error alt", points=told.replace("-", numbers.MINUS)))


def series(name: str, channels: Sequence[Series], measurements: Sequence[Measurement], words: Words) -> Plot | None:
    """Samples of channels of one unit over time, with the windows of the measurements that they belong to."""
    parts = [part for channel in channels for part in _without_gaps(channel)]
    values = [value for part in parts for _, value in part]
    if len(values) < 2:
        return None
    count = sum(len(channel.times) for channel in channels)
    first, last = min(part[0][0] for part in parts), max(part[-1][0] for part in parts)
    runs = [
        (run.window.start.monotonic_ns, run.window.stop.monotonic_ns, run.used and bool(one.validity))
        for one in measurements
        for run in (one.runs or (Run(None, one.window),))
    ]
    marked = [(start, stop, used) for start, stop, used in runs if start <= last and first <= stop]
    begin = min([first, *(start for start, *_ in marked)])
    stored = channels[0].header["unit"]
    _, unit = units.display(max(abs(value) for value in values), stored)
    scale = units.convert(1.0, stored, unit)
    steps = "steps-pre" if channels[0].sample_kind == "interval_mean" else "default"

    def draw(axes: Sequence[Any]) -> None:
        for start, stop, used in marked:
            look = {"color": "#e3ecf4"} if used else {"facecolor": "none", "edgecolor": "#d9b8ac", "hatch": "///"}
            axes[0].axvspan((start - begin) / 1e9, (stop - begin) / 1e9, linewidth=0, **look)
        for part in parts:
            kept = _envelope(part, max(20, _MOST_POINTS // len(parts)))
            times = [(time - begin) / 1e9 for time, _ in kept]
            shown = [value * scale for _, value in kept]
            axes[0].plot(times, shown, color=_ACCENT, linewidth=0.9, drawstyle=steps)
        axes[0].set_xlabel(words("axis time"))
        axes[0].set_ylabel(words("axis value", name=name, unit=numbers.symbol(unit)))
        axes[0].margins(x=0.01)

    alternative = words(
        "plot series alt",
        name=name,
        duration=numbers.seconds((last - begin) / 1e9),
        lowest=numbers.significant(min(values), stored, 4),
        highest=numbers.significant(max(values), stored, 4),
        count=count,
        lost=count - len(values),
    )
    used = sum(used for *_, used in marked)
    kind = "plot channel"
    if marked:
        kind = "plot series" if used == len(marked) else "plot series some" if used else "plot series none"
    return Plot(_picture(draw), words(kind, name=name, used=used, unused=len(marked) - used), alternative)


def _all_but_the_slowest(rates: list[float]) -> tuple[float, float]:
    """Limits of an axis for all but the slowest twentieth: a few that began cold would flatten all others."""
    ordered = sorted(rates)
    least, most = ordered[len(ordered) // 20], ordered[-1]
    room = max((most - least) * 0.08, most * 1e-3)
    return least - room, most + room


def _value(run: Run) -> float:
    return float(run.value) if run.value is not None else 0.0


def _load(result: Result) -> float | None:
    return result.load if result.load is not None else result.asked_load


def _without_gaps(samples: Series) -> list[list[tuple[int, float]]]:
    """Cut at samples without value and where samples are missing: no line across what was not measured."""
    intervals = [later - earlier for earlier, later in pairwise(samples.times)]
    longest = 3 * statistics.median(intervals) if intervals else 0
    parts: list[list[tuple[int, float]]] = [[]]
    for time, value in zip(samples.times, samples.values, strict=True):
        if parts[-1] and (value is None or time - parts[-1][-1][0] > longest):
            parts.append([])
        if value is not None:
            parts[-1].append((time, value))
    return [part for part in parts if part]


def _envelope(part: list[tuple[int, float]], stretches: int) -> list[tuple[int, float]]:
    """Thin out a long part to the least and greatest of each stretch, so that no peak is lost."""
    if len(part) <= 2 * stretches:
        return part
    cuts = [round(index * len(part) / stretches) for index in range(stretches + 1)]
    kept: list[tuple[int, float]] = []
    for start, stop in pairwise(cuts):
        stretch = part[start:stop]
        kept += sorted({min(stretch, key=lambda sample: sample[1]), max(stretch, key=lambda sample: sample[1])})
    return kept


def _picture(draw: Callable[[Sequence[Any]], None], *, rows: int = 1, height: float = _HEIGHT) -> str:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra.for_library("matplotlib", "reports", "the plots of a report") from error
    style: Any = _STYLE
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # The letters are drawn by the reader's own fonts; that ours lacks Chinese does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(_WIDTH, height * (1.6 if rows == 2 else 1)), layout="constrained")
        axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        draw(list(axes))
        target = io.BytesIO()
        figure.savefig(target, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    encoded = base64.b64encode(target.getvalue()).decode("ascii")
    return f"data:image/svg+xml;base64,{encoded}"
