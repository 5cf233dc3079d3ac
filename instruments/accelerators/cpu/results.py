"""Makes of what the cores did two measurements: the sustained rate and the peak rate, which nothing compares."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import PeakMeasurement
from aicalib_hw.readings import (
    Component,
    Instant,
    Measurement,
    Reading,
    Run,
    Status,
    Validity,
    ValidityStatus,
    Window,
)

from .arithmetic import gain
from .crew import CoreWork
from .disturbance import HostCounters
from .evidence import busy_signs, gather
from .runs import MOST_RATIO, RunResult, Timeline, cut_into_runs, judge, of_the_peak
from .slices import common_window, operations_inside, operations_shared

MOST_REJECTED = 0.2

TIME_BASE = Component(
    name="time base",
    kind="B",
    unit="1",
    relative=True,
    half_width=500e-6,
    source="CLOCK_MONOTONIC: slewed by the kernel by at most 500 ppm (adjtimex(2)); its synchronisation is not asked",
    shared="host clock",
)
COUNTED = Component(
    name="operations",
    kind="B",
    unit="1",
    relative=True,
    half_width=0.0,
    source="counted exactly: every lane of every accumulator is compared with the whole number it must reach",
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known besides the slices themselves.

    per_cycle: operations a cycle and core from the table, None = processor not known there. per_cycle_reached: whether
    this kernel was seen to do so many.
    maximum_clock: Hz, None = not stated. others: evidence that the driver adds as it is.
    """

    identity: Identity
    unit: str
    definition: str
    per_cycle: int | None
    per_cycle_reached: bool
    maximum_clock: float | None
    host: HostCounters
    settings: Mapping[str, Any]
    others: Mapping[str, Any]


def evaluate(work: Sequence[CoreWork], duration: float, about: Circumstances) -> PeakMeasurement:
    """Return both measurements of what the cores did; raises MeasurementInvalid if they never worked together."""
    timelines = [Timeline.of(one) for one in work]
    runs = cut_into_runs(timelines, duration)
    judge(runs, timelines, about.per_cycle, about.per_cycle_reached)
    best = max(of_the_peak(runs), key=lambda run: run.moment.rate if run.moment else 0.0, default=None)
    wrong = _wrong_results(work)
    rejected = sum(not run.used for run in runs)
    evidence = {**gather(work, timelines, runs, about.per_cycle, about.host), **about.others}
    broken = [*wrong]
    if rejected > MOST_REJECTED * len(runs):
        broken.append(
            f"{rejected} of {len(runs)} parts of the run were disturbed and not used: end other programs, and repeat"
        )
    busy = busy_signs(evidence)
    validity = Validity(ValidityStatus.INVALID, tuple(broken + busy)) if broken else Validity(reasons=tuple(busy))
    slowed = slowed_down(evidence["slowed_runs"], len(runs))
    claim = Validity(ValidityStatus.INVALID, (slowed, *validity.reasons)) if slowed else validity
    if slowed and not broken:
        validity = Validity(reasons=(slowed, *busy))
    # One quiet moment is enough for the peak; the sustained rate has the time in it that others took.
    quota = evidence.get("quota")
    left = min(1.0, quota["processors"] / len(work)) if quota and evidence["throttled_by_quota"] else 1.0
    taken = taken_away(evidence["share"], left)
    whole = Validity(ValidityStatus.INVALID, (taken, *validity.reasons)) if taken else validity
    return PeakMeasurement(
        sustained=_sustained(timelines, runs, evidence, whole, about),
        peak=_peak(work, runs, best, evidence, claim, about),
        clock=_clock(best, about.identity),
        efficiency_measured_clock=_efficiency(best, evidence["cores"], about.per_cycle),
        efficiency_maximum_clock=_of_maximum(best, about.per_cycle, about.maximum_clock),
        share=evidence["share"],
        throttle=None,
        rejected=rejected,
    )


def slowed_down(slowed: int, parts: int) -> str:
    """Return why there is no claim of what the cores can do where others used their units too often, else ""."""
    if slowed <= MOST_REJECTED * parts:
        return ""
    return (
        f"in {slowed} of {parts} parts of the run a core did less in a cycle than it does by itself: "
        "something else used its units, such as another guest of this host"
    )


def taken_away(share: float, left: float) -> str:
    """Return why the rate is not that of the cores where others had more than a fifth of their time, else "".

    share: of their time for which the cores were ours, 0…1. left: what a quota that stopped us leaves of it: that is
    what this system has, and is told as evidence.
    """
    if share >= (1 - MOST_REJECTED) * left:
        return ""
    return f"other programs had more than {MOST_REJECTED:.0%} of the cores' time: end them, and repeat"


def _sustained(
    timelines: Sequence[Timeline],
    runs: Sequence[RunResult],
    evidence: Mapping[str, Any],
    validity: Validity,
    about: Circumstances,
) -> Measurement:
    every = [slices for timeline in timelines for slices in timeline.both]
    begin, end = common_window([timeline.extent for timeline in timelines])
    operations = operations_inside(every, begin, end)
    cut = sum(operations_shared(slices, begin, end) for slices in every) - operations
    edge = Component(
        name="window edges",
        kind="B",
        unit="1",
        relative=True,
        half_width=max(cut, 0.0) / operations if operations else 0.0,
        source="slices on the edges of the common window are left out whole; this is the share that lay inside",
    )
    own = Component(
        name="the measurement's own work",
        kind="B",
        unit="1",
        relative=True,
        half_width=_own_share(timelines, end - begin),
        source="what clock chain and checks of results take from the kernel: medians, over the window",
    )
    return Measurement(
        quantity="compute",
        definition=f"{about.definition}/sustained",
        value=operations * 1e9 / (end - begin),
        unit=about.unit,
        window=_window(begin, end, "from the latest first slice to the earliest last slice of all cores"),
        identity=about.identity,
        runs=tuple(_as_run(run, run.sustained) for run in runs),
        components=(COUNTED, TIME_BASE, edge, own),
        settings=about.settings,
        evidence={**evidence, "operations": operations, "window_ns": end - begin},
        validity=validity,
        load=1.0,
    )


def _peak(
    work: Sequence[CoreWork],
    runs: Sequence[RunResult],
    best: RunResult | None,
    evidence: Mapping[str, Any],
    validity: Validity,
    about: Circumstances,
) -> Measurement:
    moment = best.moment if best is not None else None
    used = [run.moment.rate for run in of_the_peak(runs) if run.moment is not None]
    stamps = Component(
        name="reading the clock",
        kind="B",
        unit="1",
        relative=True,
        half_width=max(_stamp_share(one) for one in work),
        source="what an empty slice seems to last, over the length of a slice",
    )
    spread = statistics.stdev(used) / statistics.mean(used) if len(used) > 1 else None
    if moment is None:
        window = _window(runs[0].begin, runs[-1].end, "no usable moment in this time")
        validity = Validity(ValidityStatus.INVALID, validity.reasons or ("no usable run",))
    else:
        window = _window(moment.begin, moment.end, "the moment in which the slices running on all cores were fastest")
    return Measurement(
        quantity="compute",
        definition=f"{about.definition}/peak",
        value=moment.rate if moment is not None else None,
        unit=about.unit,
        window=window,
        identity=about.identity,
        runs=tuple(_as_run(run, run.moment.rate if run.moment else None) for run in runs),
        components=(COUNTED, TIME_BASE, stamps),
        settings=about.settings,
        evidence={**evidence, "repeatability": spread},
        validity=validity,
        load=1.0,
    )


def _as_run(run: RunResult, value: float | None) -> Run:
    known = [clock for clock in run.clocks if clock is not None]
    return Run(
        value=value,
        window=_window(run.begin, run.end, "an equal part of the common window"),
        used=run.used,
        reasons=tuple(run.reasons),
        evidence={"ratio": run.ratio, "clock": statistics.mean(known) if known else None},
    )


def _wrong_results(work: Sequence[CoreWork]) -> list[str]:
    """Cores whose accumulators do not hold what the operations must have made of them."""
    wrong = []
    for one in work:
        kernel, spans = one.plan.kernel, one.spans
        for gained, pairs in ((spans.gained, one.plan.pairs), (spans.clock_gained, one.plan.clock_pairs)):
            right = gain(kernel, kernel.operands, pairs)
            if gained - {right}:
                wrong.append(
                    f"wrong results on processor {one.core.processor}: lanes gained {min(gained)} to {max(gained)}, "
                    f"and {right} is right"
                )
    return wrong


def _efficiency(best: RunResult | None, cores: Sequence[Mapping[str, Any]], per_cycle: int | None) -> float | None:
    """Operations a cycle, measured where clock and work lie side by side, over the table's: mean of the cores.

    cores: what the evidence says of each. None where one has no clock chain or too few readings, or most of them are
    low: more than can be done is no efficiency.
    """
    if best is None or per_cycle is None:
        return None
    found = [core["operations_per_cycle"] for core in cores]
    known = [one for one in found if one is not None and one <= MOST_RATIO * per_cycle]
    return statistics.mean(known) / per_cycle if len(known) == len(found) else None


def _of_maximum(best: RunResult | None, per_cycle: int | None, clock: float | None) -> float | None:
    """Peak over the theoretical peak at `clock` for every core."""
    if best is None or best.moment is None or per_cycle is None or clock is None:
        return None
    return best.moment.rate / (per_cycle * clock * len(best.clocks))


def _clock(best: RunResult | None, identity: Identity) -> Reading | None:
    known = [clock for clock in best.clocks if clock is not None] if best is not None else []
    if best is None or len(known) < len(best.clocks):
        return None
    return Reading(
        value=statistics.mean(known),
        unit="Hz",
        status=Status.VALID,
        window=_window(best.begin, best.end, "the run that holds the peak"),
        source=identity,
        channel="clock under load, mean of the cores",
    )


def _stamp_share(one: CoreWork) -> float:
    spans = one.spans.slices
    shortest = min((stop - start for start, stop in zip(spans[::2], spans[1::2], strict=True)), default=0)
    return one.stamp_cost_s * 1e9 / shortest if shortest else 0.0


def _own_share(timelines: Sequence[Timeline], window_ns: int) -> float:
    """Share of the window in which the cores did not compute because they were being measured."""
    import numpy as np

    lost = 0.0
    for timeline in timelines:
        plain, clocked = timeline.both
        starts = np.sort(np.concatenate((plain.starts, clocked.starts)))
        stops = np.sort(np.concatenate((plain.stops, clocked.stops)))
        if len(starts) > 1:
            lost += float(np.median(starts[1:] - stops[:-1])) * (len(starts) - 1)
        if len(clocked.starts):
            without_chain = float(np.median(plain.durations)) * clocked.operations / plain.operations
            lost += max(0.0, float(np.median(clocked.durations)) - without_chain) * len(clocked.starts)
    return lost / (window_ns * len(timelines))


def _window(begin: int, end: int, rule: str) -> Window:
    return Window(Instant.at_monotonic(begin), Instant.at_monotonic(end), rule)
