"""One calibrated quantity as a report shows it: points, runs, budgets, decisions, evidence, plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aicalib_hw import definitions
from aicalib_hw.definitions import Definition
from aicalib_hw.metrology.result import Calibration, Result
from aicalib_hw.readings import Measurement, Run, Series
from aicalib_hw.records.canonical import iso_utc
from aicalib_hw.reports import numbers, plots
from aicalib_hw.reports.facts import Fact, Table, facts, tables
from aicalib_hw.reports.language import Words
from aicalib_hw.reports.numbers import NONE
from aicalib_hw.reports.points import Chip, Point, point, runs_used, spread, title, validity_chip

_POINTS_ABREAST = 6
_SHORT = 40


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
    """A measurement that is no calibrated point; source: the address of what measured it."""

    definition: str
    source: str
    sentence: str
    value: str
    load: str
    usable: bool
    runs: str
    repeatability: str
    start: str
    validity: Chip
    reasons: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the points were measured with and what speaks for them.

    lines: what is the same at all points; long: such as need the whole width. unlike: what differs, by point.
    """

    titles: tuple[str, ...]
    lines: tuple[Fact, ...]
    long: tuple[Fact, ...]
    unlike: tuple[Fact, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A remark that qualifies values; number: its own in the whole report."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """One calibration, ready to be shown.

    partial: it was not brought to its end. definitions: with their sentence and the names that share it. groups:
    points by definition. not_decided: names of those that are not valid. loaded: points are loads. runs: by point.
    common_notes: the numbers of those notes that are of no point alone.
    """

    key: str
    name: str
    partial: bool
    definitions: tuple[tuple[Definition, str, tuple[str, ...]], ...]
    groups: tuple[tuple[str, tuple[Point, ...]], ...]
    points: tuple[Point, ...]
    not_decided: str
    loaded: bool
    runs: tuple[tuple[str, tuple[RunRow, ...]], ...]
    evidence: tuple[Evidence, ...]
    plan: tuple[Fact, ...]
    plots: tuple[plots.Plot, ...]
    further: tuple[Beside, ...]
    notes: tuple[Note, ...]
    common_notes: tuple[int, ...]


def quantity(
    calibration: Calibration,
    words: Words,
    *,
    partial: bool,
    measurements: Sequence[Measurement],
    series: Mapping[str, Series],
    first_note: int = 1,
) -> Quantity:
    """Return a calibration as text; measurements and series: all of the record, for the plots.

    first_note: the number of its first note, those of the quantities before it being counted.
    """
    results = calibration.results
    titles = [title(result, words) for result in results]
    of = {
        number: _points_of(note, [result.title for result in results])
        for number, note in enumerate(calibration.notes, first_note)
    }
    notes = tuple(Note(number, numbers.in_words(note)) for number, note in zip(of, calibration.notes, strict=True))
    points = tuple(
        point(result, name, words, notes=tuple(number for number, those in of.items() if result.title in those))
        for result, name in zip(results, titles, strict=True)
    )
    used = tuple(dict.fromkeys(result.definition for result in results))
    groups = tuple(
        (each, tuple(p for p, r in zip(points, results, strict=True) if r.definition == each)) for each in used
    )
    known = [definitions.require(each) for each in used]
    return Quantity(
        key=calibration.quantity,
        name=words.known(calibration.quantity),
        partial=partial,
        definitions=tuple(_told_once(known, words)),
        groups=groups,
        points=points,
        not_decided=words("comma").join(one.title for one in points if not one.usable),
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
        notes=notes,
        common_notes=tuple(number for number, those in of.items() if not those),
    )


def _points_of(note: str, titles: Sequence[str]) -> list[str]:
    """The titles of the points that a note names before its text, as in "read; write: …"; none if it is of all."""
    found: list[str] = []
    while True:
        named = [one for one in titles if note.startswith((f"{one}: ", f"{one}; "))]
        if not named:
            return []
        found.append(max(named, key=len))
        between, note = note[len(found[-1]) :][:2], note[len(found[-1]) + 2 :]
        if between == ": ":
            return found


def _told_once(known: Sequence[Definition], words: Words) -> Iterator[tuple[Definition, str, tuple[str, ...]]]:
    """Definitions that differ in their name alone, as those of frame sizes do, together."""
    alike: dict[tuple[str, ...], list[Definition]] = {}
    for one in known:
        alike.setdefault((words.sentence(one), one.formula, one.source), []).append(one)
    for (sentence, *_), group in alike.items():
        yield group[0], sentence, tuple(one.id for one in group)


def beside(measurement: Measurement, words: Words) -> Beside:
    """Return a measurement that is no calibrated point, as text."""
    definition = definitions.require(measurement.definition)
    value = measurement.value
    return Beside(
        definition=measurement.definition,
        source=measurement.identity.address,
        sentence=words.sentence(definition),
        value=numbers.significant(float(value), measurement.unit) if value is not None else NONE,
        usable=bool(measurement.validity),
        load=numbers.load(measurement.load) if measurement.load is not None else NONE,
        runs=runs_used(measurement.runs, words),
        repeatability=spread(measurement),
        start=_clock_time(measurement.window.start.utc_ns),
        validity=validity_chip(measurement.validity.status.value, words),
        reasons=tuple(numbers.in_words(reason) for reason in measurement.validity.reasons),
        simulated=measurement.identity.simulated,
    )


def _run(run: Run, number: int, unit: str) -> RunRow:
    return RunRow(
        number=number,
        start=_clock_time(run.window.start.utc_ns),
        duration=numbers.seconds(run.window.duration),
        value=numbers.significant(run.value, unit, 6) if run.value is not None else NONE,
        used=run.used,
        reasons=numbers.in_words("; ".join(run.reasons)),
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
        lines = facts(columns, unit, words)
        agreed = [line for line in lines if len(line.texts) == 1]
        long = tuple(line for line in agreed if len(line.texts[0]) > _SHORT or "\n" in line.texts[0])
        blocks.append(
            Evidence(
                titles=tuple(titles[begin : begin + len(block)]),
                lines=tuple(line for line in agreed if line not in long),
                long=long,
                unlike=tuple(line for line in lines if len(line.texts) > 1),
                tables=tuple(found),
            )
        )
    return tuple(block for block in blocks if block.lines or block.long or block.unlike or block.tables)


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
    channels = [samples for samples in series.values() if any(belongs(samples, result) for result in results)]
    for unit in dict.fromkeys(samples.header["unit"] for samples in channels):
        together = [samples for samples in channels if samples.header["unit"] == unit]
        measured = [result.measurement for result in results]
        found.append(plots.series(words.known(calibration.quantity), together, measured, words))
    return [plot for plot in found if plot is not None]


def belongs(samples: Series, result: Result) -> bool:
    """True if the samples are of the result's quantity, or in its unit where they name none."""
    return samples.header.get("quantity", "") == result.quantity or (
        "quantity" not in samples.header and samples.header["unit"] == result.measurement.unit
    )


def _with_slices(result: Result, measurements: Sequence[Measurement]) -> list[Measurement]:
    """The measurements that are runs of this point, each device's own, as far as they hold rates of slices."""
    runs = [(run.window.start.monotonic_ns, run.window.stop.monotonic_ns) for run in result.measurement.runs]
    return [
        one
        for one in measurements
        if one.evidence.get("slice_rates")
        and one.definition == result.definition
        # What several devices did together lies inside of what each of them did.
        and any(one.window.start.monotonic_ns < stop and start < one.window.stop.monotonic_ns for start, stop in runs)
    ]
