"""What lies beside a rate so that a reader can check it: cores, share of the processor, disturbance, a plot."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .crew import CoreWork
from .disturbance import HostCounters
from .runs import RunResult, Timeline, of_the_peak, per_cycle_in

BUSY_SHARE = 0.98
BUSY_MEDIAN = 0.995
_PLOTTED_SLICES = 2000


def gather(
    work: Sequence[CoreWork],
    timelines: Sequence[Timeline],
    runs: Sequence[RunResult],
    per_cycle: int | None,
    host: HostCounters,
) -> dict[str, Any]:
    """Return the evidence of a measurement as plain data: each core, each class of cores, the host, a thinned plot.

    per_cycle: operations a cycle and core from the table, None = not known. host: what it took away meanwhile.
    """
    cores = [
        {
            "processor": one.core.processor,
            "siblings": list(one.core.siblings),
            "kind": one.core.kind,
            "pinned": one.pinned,
            "slices": len(timeline.plain.starts),
            "slice_ns": int(timeline.plain.durations.min()),
            "operations_a_slice": timeline.plain.operations,
            "clock_slices": len(timeline.clocked.starts),
            "operations_a_clock_slice": timeline.clocked.operations,
            "clock_variant": one.plan.clock_variant,
            "share": one.cpu_ns / max(one.wall_ns, 1),
            "preempted": one.preempted,
            "best_rate": timeline.best_rate(),
            "median_over_best": _median_over_best(timeline),
            "operations_per_cycle": per_cycle_in(timeline, of_the_peak(runs)),
        }
        for one, timeline in zip(work, timelines, strict=True)
    ]
    return {
        "kernel": work[0].plan.kernel.instruction_set,
        "cores": cores,
        "kinds": _by_kind(cores),
        "share": sum(one.cpu_ns for one in work) / max(sum(one.wall_ns for one in work), 1),
        "stolen_s": host.stolen_s,
        "throttled_by_quota": host.throttled,
        "rejected_runs": sum(not run.used for run in runs),
        "slowed_runs": sum(run.used and run.slowed for run in runs),
        "runs": len(runs),
        "operations_per_cycle_known": per_cycle,
        "slice_rates": _thinned(timelines),
    }


def _by_kind(cores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Unlike classes of cores apart: how many, and the medians of best rate and operations a cycle."""
    kinds = {}
    for kind in dict.fromkeys(core["kind"] for core in cores):
        members = [core for core in cores if core["kind"] == kind]
        cycles = [core["operations_per_cycle"] for core in members if core["operations_per_cycle"] is not None]
        kinds[kind or "all alike"] = {
            "cores": len(members),
            "best_rate": statistics.median(core["best_rate"] for core in members),
            "operations_per_cycle": statistics.median(cycles) if cycles else None,
        }
    return kinds


def busy_signs(evidence: Mapping[str, Any]) -> list[str]:
    """Signs that the host was not ours alone; they do not invalidate, and nobody should overlook them."""
    signs = []
    if evidence["share"] < BUSY_SHARE:
        signs.append(f"busy host: the cores were ours for {evidence['share']:.1%} of the time")
    worst = min(core["median_over_best"] for core in evidence["cores"])
    if worst < BUSY_MEDIAN:
        signs.append(f"busy host: the median slice ran at {worst:.1%} of the best")
    if not all(core["pinned"] for core in evidence["cores"]):
        signs.append("threads could not be pinned to cores on this system")
    return signs


def _median_over_best(timeline: Timeline) -> float:
    import numpy as np

    durations = timeline.plain.durations
    return float(durations.min() / np.median(durations)) if len(durations) else 0.0


def _thinned(timelines: Sequence[Timeline]) -> list[dict[str, list[float]]]:
    """Every n-th slice of each core, for a plot: s since the first slice, operations a second."""
    begin = min(timeline.extent[0] for timeline in timelines)
    most = max(10, _PLOTTED_SLICES // len(timelines))
    plotted = []
    for timeline in timelines:
        step = max(1, -(-len(timeline.plain.starts) // most))
        starts, durations = timeline.plain.starts[::step], timeline.plain.durations[::step]
        plotted.append(
            {
                "time": [float(start - begin) / 1e9 for start in starts],
                "rate": [timeline.plain.operations * 1e9 / float(duration) for duration in durations],
            }
        )
    return plotted
