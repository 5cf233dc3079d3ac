"""A whole session as a report shows it: who, when, with what, what came of it, and whether the record is sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aicalib_hw
from aicalib_hw.metrology.indications import declaration, lacks_indication
from aicalib_hw.metrology.result import Calibration, Result, Verdict
from aicalib_hw.readings import Instant, Validity, ValidityStatus
from aicalib_hw.records.canonical import canonical_json, digest, iso_utc
from aicalib_hw.records.contents import Event, RecordContents
from aicalib_hw.records.seal import Verification
from aicalib_hw.reports import numbers, plots
from aicalib_hw.reports.equipment import Item, item
from aicalib_hw.reports.facts import Fact, facts, is_clock, shown
from aicalib_hw.reports.language import Words
from aicalib_hw.reports.numbers import NONE
from aicalib_hw.reports.points import title
from aicalib_hw.reports.quantity import Beside, Quantity, belongs, beside, quantity

_ANOMALIES = ("warning", "anomaly", "error", "retry", "aborted", "outlier", "lost", "failure")


@dataclass(frozen=True, slots=True)
class Happening:
    """An event as text."""

    time: str
    kind: str
    details: str
    anomaly: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the page shows."""

    title: str
    description: str
    calibrated: tuple[tuple[str, str], ...]
    simulated: tuple[str, ...]
    times: str
    not_valid: str
    trouble: str
    problems: tuple[str, ...]
    identity: tuple[tuple[str, str], ...]
    quantities: tuple[Quantity, ...]
    other: tuple[Beside, ...]
    other_plots: tuple[plots.Plot, ...]
    missing: str
    declarations: tuple[str, ...]
    rule: str
    equipment: tuple[Item, ...]
    assumptions: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, tuple[Fact, ...]], ...]
    clocks: tuple[tuple[str, ...], ...]
    drift: str
    code: str
    events: tuple[Happening, ...]
    announced: int
    seal: tuple[tuple[str, str], ...]
    id: str
    version: str


def session(contents: RecordContents, verification: Verification, words: Words) -> Report:
    """Return what the page shows of a record."""
    grouped = list(_grouped(contents))
    quantities: list[Quantity] = []
    for calibration, partial in grouped:
        first_note = 1 + sum(len(one.notes) for one in quantities)
        quantities.append(
            quantity(
                calibration,
                words,
                partial=partial,
                measurements=contents.measurements,
                series=contents.series,
                first_note=first_note,
            )
        )
    missing = _without_indication(grouped)
    bench = contents.bench.get("bench", {})
    count = len(contents.results)
    return Report(
        title=contents.title,
        description=str(bench.get("description", "") or ""),
        calibrated=tuple(_calibrated(contents.bench, words)),
        simulated=tuple(_source(identity) for identity in _each_once(contents.simulated_identities)),
        times="" if contents.world_rate == 1 else words("times banner", rate=f"{contents.world_rate:g}"),
        not_valid=words("not valid banner", bad=bad, all=count) if (bad := _not_valid(contents)) else "",
        trouble="" if contents.status == "complete" else words(f"{contents.status} banner"),
        problems=verification.problems,
        identity=tuple(_identity(contents, str(bench.get("name", "")), words)),
        quantities=tuple(quantities),
        other=tuple(beside(measurement, words) for measurement in _others(contents)),
        other_plots=tuple(_other_plots(contents, words)),
        missing=_points(missing, words),
        declarations=tuple(_declaration(result, words) for result in _one_a_quantity(missing)),
        rule=words.known(f"rule {contents.rule}"),
        equipment=tuple(item(one, contents.started, words) for one in contents.equipment),
        assumptions=tuple(words.assumptions(tuple(dict.fromkeys(q.key for q in quantities)))),
        environment=tuple(
            (words.known(group), tuple(facts([values], "1", words))) for group, values in contents.environment.items()
        ),
        clocks=tuple(_clocks(contents, words)),
        drift=_drift(contents),
        code=_code(contents.code, words),
        events=tuple(_happening(event, words) for event in contents.events if event.kind != "recorded"),
        announced=sum(event.kind == "recorded" for event in contents.events),
        seal=tuple(_seal(contents, verification, words)),
        id=contents.id,
        version=aicalib_hw.__version__,
    )


def _calibrated(bench: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """What was calibrated, and under what ambient conditions, as the bench file says."""
    platform = bench.get("platform") or {}
    serial = platform.get("serial_number")
    named = (
        " ".join(platform[key] for key in ("maker", "model") if platform.get(key)),
        words("platform serial", serial=serial) if serial else "",
        platform.get("location"),
    )
    yield words("platform"), words("comma").join(filter(None, named)) or words("platform not named")
    ambient = bench.get("environment") or {}
    temperature, humidity = ambient.get("temperature"), ambient.get("humidity")
    read = (
        numbers.as_declared(temperature, "degC") if temperature is not None else "",
        words("ambient humidity", humidity=f"{humidity:g}") if humidity is not None else "",
        words("ambient source", source=ambient.get("source", "")) if ambient else "",
    )
    yield words("ambient"), words("comma").join(filter(None, read)) or words("ambient not recorded")


def _grouped(contents: RecordContents) -> Iterator[tuple[Calibration, bool]]:
    """The calibrations, and the results of those that were not brought to their end."""
    grouped = {id(result) for calibration in contents.calibrations for result in calibration.results}
    yield from ((calibration, False) for calibration in contents.calibrations)
    left = [result for result in contents.results if id(result) not in grouped]
    for each in dict.fromkeys(result.quantity for result in left):
        results = tuple(result for result in left if result.quantity == each)
        yield Calibration(each, results, validity=Validity(ValidityStatus.ABORTED)), True


def _others(contents: RecordContents) -> list[Any]:
    """Measurements that no result and no calibration shows."""
    shown_ones = [result.measurement for result in contents.results]
    shown_ones += [further for calibration in contents.calibrations for further in calibration.further]
    kept = {id(measurement) for measurement in shown_ones}
    # A run of a point may be recorded as a measurement of its own; the point shows it.
    runs = {(result.definition, run.window) for result in contents.results for run in result.measurement.runs}
    return [one for one in contents.measurements if id(one) not in kept and (one.definition, one.window) not in runs]


def _other_plots(contents: RecordContents, words: Words) -> Iterator[plots.Plot]:
    """Channels that belong to no calibrated quantity."""
    for name, samples in contents.series.items():
        if not any(belongs(samples, result) for result in contents.results):
            plot = plots.series(name, [samples], (), words)
            if plot is not None:
                yield plot


def _each_once(identities: Sequence[Any]) -> list[Any]:
    """The identities without those that stand for several others together, all of which are there by themselves."""
    alone = {identity.address for identity in identities}
    return [one for one in identities if " " not in one.address or not alone >= set(one.address.split())]


def _source(identity: Any) -> str:
    return ", ".join(text for text in (identity.name, identity.serial or identity.firmware, identity.address) if text)


def _identity(contents: RecordContents, bench: str, words: Words) -> Iterator[tuple[str, str]]:
    yield words("bench"), bench
    yield words("begun"), _moment(contents.started)
    if contents.ended is not None:
        yield words("ended"), _moment(contents.ended)
        yield words("duration"), numbers.seconds(contents.ended.seconds_since(contents.started))
    yield words("status"), words(contents.status)
    if contents.results:
        bad, count = _not_valid(contents), len(contents.results)
        yield words("results"), words("results not valid" if bad else "results valid", bad=bad, all=count)
    if contents.reason and contents.ended is not None:
        yield words("reason"), contents.reason.splitlines()[0]
    yield words("decision rule"), f"{contents.rule} ({words('agreed')})"
    yield words("plan"), str(contents.plan.get("name", NONE))
    yield words("software"), f"aicalib-hw {contents.environment.get('software', {}).get('aicalib-hw', NONE)}"
    yield words("record"), contents.id


def _not_valid(contents: RecordContents) -> int:
    return sum(not result.validity for result in contents.results)


def _moment(instant: Instant) -> str:
    text = iso_utc(instant.utc_ns)
    return f"{text[:10]} {text[11:19]} UTC"


def _without_indication(grouped: list[tuple[Calibration, bool]]) -> list[Result]:
    return [
        result
        for calibration, _ in grouped
        for result in calibration.results
        if result.quantity == calibration.quantity
        and lacks_indication(result)
        and result.decision.verdict is Verdict.NOT_EVALUATED
    ]


def _points(results: list[Result], words: Words) -> str:
    titles: dict[str, list[str]] = {}
    for result in results:
        titles.setdefault(words.known(result.quantity), []).append(title(result, words))
    return "; ".join(f"{quantity} ({', '.join(names)})" for quantity, names in titles.items())


def _one_a_quantity(results: list[Result]) -> list[Result]:
    return list({result.quantity: result for result in reversed(results)}.values())[::-1]


def _declaration(result: Result, words: Words) -> str:
    """The lines of the bench file that would bring a verdict to this very point."""
    return f"{declaration(result)}  # {words('declared by')}"


def _clocks(contents: RecordContents, words: Words) -> Iterator[tuple[str, ...]]:
    """What hosts said of their clocks, wherever results and events hold it, in the order of time."""
    holders = [result.measurement.evidence for result in contents.results] + [event.data for event in contents.events]
    told = [value for holder in holders for value in holder.values() if is_clock(value)]
    for said in sorted(told, key=_told_at):
        at, synchronised, frequency = _told_at(said), said["synchronised"], said.get("frequency")
        yield (
            iso_utc(at)[11:23] if at else NONE,
            words("unknown") if synchronised is None else words("yes" if synchronised else "no"),
            *(
                numbers.short_time(said[key]) if said.get(key) is not None else NONE
                for key in ("offset", "maximum_error")
            ),
            f"{frequency * 1e6:+.3f}\u00a0ppm".replace("-", numbers.MINUS) if frequency is not None else NONE,
            str(said.get("source", "")),
        )


def _told_at(said: Mapping[str, Any]) -> int:
    """When a host said something of its clock, in ns of UTC, 0 if that is not known."""
    at = said.get("at")
    return int(at["utc_ns"]) if isinstance(at, Mapping) else 0


def _drift(contents: RecordContents) -> str:
    if contents.ended is None:
        return NONE
    utc = contents.ended.utc_ns - contents.started.utc_ns
    monotonic = contents.ended.monotonic_ns - contents.started.monotonic_ns
    return f"{(utc - monotonic) / 1e6:+.3f}\u00a0ms".replace("-", numbers.MINUS)


def _code(code: Mapping[str, str], words: Words) -> str:
    return words("modules", count=len(code), digest=digest(canonical_json(dict(code)))) if code else NONE


def _happening(event: Event, words: Words) -> Happening:
    details = "; ".join(f"{words.fact(key)}: {shown(key, value, '1', words)}" for key, value in event.data.items())
    return Happening(
        time=iso_utc(event.at.utc_ns)[11:23],
        kind=words.fact(event.kind),
        details=details,
        anomaly=any(word in event.kind for word in _ANOMALIES),
    )


def _seal(contents: RecordContents, verification: Verification, words: Words) -> Iterator[tuple[str, str]]:
    yield words("file"), Path(contents.path).name
    if contents.seal:
        yield words("file digest"), digest(Path(contents.path).read_bytes())
    yield words("seal"), contents.seal or words("no seal")
    yield words("checked"), "; ".join(verification.problems) or words("unchanged")
