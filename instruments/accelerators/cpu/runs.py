"""Cuts the work of all cores into runs and judges each: its peak, its clock, and whether it was disturbed.

A run whose peak exceeds what its clock allows was not fast: its clock was read low, because something
held up the slices that carry the clock chain. Such a run is kept, counted and not used. Where a core did less
in a cycle than it does by itself, something else used its units: another guest on its sibling, for one. The work of
such a run counts, and the peak is looked for elsewhere. How much a core does in a cycle is found where clock and work
were measured side by side: the clock of a moment may be another a moment later.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aicalib_hw.errors import MeasurementInvalid

from .crew import CoreWork
from .slices import CoreSlices, Moment, best_moment, common_window, operations_shared, parts_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Times = NDArray[np.int64]
    Values = NDArray[np.float64]

MOST_RATIO = 1.003
MOST_CLOCK = 1.01
"""A reading above the fastest work's own clock by more than this is none: nothing makes a chain faster."""

MOST_SLOWED = 0.002
"""How far a run may stay below what the core does in a cycle by itself."""

BY_ITSELF = 0.9
"""Share of a core's right readings that are no more than that, where the table does not tell it."""

ALIKE = 0.002
DIRECT_NS = 50_000
LEAST_READINGS = 5
RUN_S = 0.1
MOST_RUNS = 60


@dataclass(frozen=True, slots=True)
class Timeline:
    """The slices of one core: the plain ones, and those with the clock chain.

    clock_cycles: cycles that the chain of a clock slice lasts, 0 = there is none.
    stamp_ns: what reading the clock and starting the kernel add to a slice; they are no part of what a cycle holds.
    """

    plain: CoreSlices
    clocked: CoreSlices
    clock_cycles: int
    stamp_ns: float

    @classmethod
    def of(cls, work: CoreWork) -> Timeline:
        """Take what one core did."""
        plan, kernel = work.plan, work.plan.kernel
        plain = CoreSlices.from_pairs(work.spans.slices, plan.pairs * kernel.operations_per_pair)
        clocked = CoreSlices.from_pairs(work.spans.clocks, plan.clock_pairs * kernel.operations_per_pair)
        cycles = kernel.cycles_of_chain(plan.clock_variant, plan.clock_pairs) if plan.clock_variant else 0
        if len(plain.starts) == 0:
            raise MeasurementInvalid(
                f"processor {work.core.processor} did not complete a single slice of work",
                where="cpu://local",
                advice="measure for longer, or keep other programs off this processor",
            )
        return cls(plain, clocked, cycles, work.stamp_cost_s * 1e9)

    @property
    def both(self) -> tuple[CoreSlices, CoreSlices]:
        """All slices, by kind: both did work that counts."""
        return self.plain, self.clocked

    @property
    def extent(self) -> tuple[int, int]:
        """First start and last stop of all slices, ns."""
        last = max(int(slices.stops[-1]) for slices in self.both if len(slices.stops))
        return int(self.plain.starts[0]), last

    def best_rate(self) -> float:
        """Rate of the fastest plain slice, 1/s."""
        return self.plain.operations / (int(self.plain.durations.min()) / 1e9)

    def readings(self) -> ClockReadings:
        """The clock slices that lie directly between two plain slices that were equally fast.

        Clock and work are compared within 0.5 ms there: processors change their clock many times a second, and what
        holds up one slice seldom holds up its neighbour by as much.
        """
        import numpy as np

        plain, clocked = self.plain, self.clocked
        before = np.searchsorted(plain.stops, clocked.starts, side="right") - 1
        after = np.searchsorted(plain.starts, clocked.stops)
        between = (before >= 0) & (after < len(plain.starts))
        before, after, starts, stops = before[between], after[between], clocked.starts[between], clocked.stops[between]
        first, second = plain.durations[before], plain.durations[after]
        direct = np.maximum(starts - plain.stops[before], plain.starts[after] - stops) <= DIRECT_NS
        counted = direct & (np.abs(first - second) <= ALIKE * np.minimum(first, second))
        clocks = self.clock_cycles * 1e9 / (stops - starts - self.stamp_ns)[counted]
        rates = plain.operations * 2e9 / (first + second - 2 * self.stamp_ns)[counted]
        return ClockReadings(starts[counted], clocks, rates / clocks)


@dataclass(frozen=True, slots=True)
class ClockReadings:
    """Readings of one core's clock, in order: when (ns), Hz, and the operations a cycle of the work beside each."""

    at: Times
    clocks: Values
    per_cycle: Values

    def median_per_cycle(self) -> float | None:
        """Operations a cycle of this core, None with fewer than five readings."""
        return statistics.median(self.per_cycle.tolist()) if len(self.at) >= LEAST_READINGS else None

    def reached_by(self, share: float) -> float:
        """Return the operations a cycle that this share of the readings does not exceed; there is at least one."""
        import numpy as np

        return float(np.quantile(self.per_cycle, share))

    @classmethod
    def together(cls, parts: Sequence[ClockReadings]) -> ClockReadings:
        """Those of all parts."""
        import numpy as np

        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def between(self, begin: int, end: int) -> ClockReadings:
        """Those of [begin, end]."""
        return self._kept((self.at >= begin) & (self.at <= end))

    def right(self, most_per_cycle: float, most_clock: float) -> ClockReadings:
        """Those whose work did not do more in a cycle than can be done, nor is their clock above all that was done.

        A chain that was held up reads low, and more seems to have been done in a cycle.
        """
        return self._kept((self.per_cycle <= most_per_cycle) & (self.clocks <= most_clock))

    def near(self, moment: Moment) -> float:
        """Clock at a moment: the higher of the last reading before and the first behind it, Hz."""
        earlier, later = self.clocks[self.at <= moment.begin][-1:], self.clocks[self.at > moment.begin][:1]
        return float(max([*earlier.tolist(), *later.tolist()]))

    def _kept(self, kept: NDArray[np.bool_]) -> ClockReadings:
        return ClockReadings(self.at[kept], self.clocks[kept], self.per_cycle[kept])


@dataclass(slots=True)
class RunResult:
    """One run. sustained: operations a second; clocks: Hz by core near its moment, None where not confirmed.

    ratio: what was done in a cycle over what is expected, mean of the cores: medians of the right readings.
    slowed: whether a core did less in a cycle than it does by itself.
    """

    begin: int
    end: int
    sustained: float
    moment: Moment | None
    clocks: tuple[float | None, ...]
    ratio: float | None = None
    slowed: bool = False
    reasons: list[str] = field(default_factory=list)

    @property
    def used(self) -> bool:
        """True if nothing was found against it."""
        return not self.reasons


def cut_into_runs(timelines: Sequence[Timeline], duration: float) -> list[RunResult]:
    """Return the runs of the common window, about 0.1 s each and at most 60."""
    begin, end = common_window([timeline.extent for timeline in timelines])
    count = max(1, min(MOST_RUNS, round(duration / RUN_S)))
    return [_run(timelines, *part) for part in parts_of(begin, end, count)]


def of_the_peak(runs: Sequence[RunResult]) -> list[RunResult]:
    """Return the runs that the peak is looked for in: all cores had their units to themselves, if ever they had."""
    used = [run for run in runs if run.used]
    return [run for run in used if not run.slowed] or used


def per_cycle_in(timeline: Timeline, runs: Sequence[RunResult]) -> float | None:
    """Return what a core did in a cycle in these runs, or altogether where they tell too little; None: nothing does."""
    if not timeline.clock_cycles:
        return None
    readings = timeline.readings()
    parts = [readings.between(run.begin, run.end) for run in runs]
    of_these = ClockReadings.together(parts).median_per_cycle() if parts else None
    return readings.median_per_cycle() if of_these is None else of_these


def judge(runs: Sequence[RunResult], timelines: Sequence[Timeline], known_per_cycle: int | None, reached: bool) -> None:
    """Find the clocks and the ratio of each run and the reasons against it.

    known_per_cycle: operations a cycle and core where the processor is known; else what each core was found to do.
    reached: whether this kernel is known to do so many. Without a clock chain on every core there is no ratio to judge
    by.
    """
    clocked = all(timeline.clock_cycles for timeline in timelines)
    cores = [_Core.of(timeline, known_per_cycle, reached) for timeline in timelines] if clocked else []
    for run in runs:
        if run.moment is None:
            run.reasons.append("at no moment were all cores within a slice")
            continue
        found = [_judge_core(run, run.moment, core) for core in cores]
        if cores and len(run.reasons) == 0:
            run.clocks = tuple(clock for clock, _ in found)
            run.ratio = statistics.mean(ratio for _, ratio in found)
            # Between two readings an unsteady clock may have been higher, by no more than it was seen to change.
            allowed = sum(core.expected * core.highest * (MOST_RATIO + core.unsteadiness) for core in cores)
            if run.moment.rate > allowed:
                ratio = MOST_RATIO * run.moment.rate / allowed
                run.reasons.append(f"{ratio:.4f} of what any clock allows: clock, time or count of operations is wrong")


@dataclass(frozen=True, slots=True)
class _Core:
    """What is known of a core. highest: clock of the right readings, Hz; unsteadiness: how far below it they go.

    by_itself: operations a cycle when nothing else uses its units, 0 where no reading is right.
    """

    readings: ClockReadings
    right: ClockReadings
    expected: float
    by_itself: float
    highest: float
    unsteadiness: float

    @classmethod
    def of(cls, timeline: Timeline, known_per_cycle: int | None, reached: bool) -> _Core:
        readings = timeline.readings()
        own = readings.median_per_cycle()
        expected = float(known_per_cycle or own or 0.0)
        right = readings.right(MOST_RATIO * expected, MOST_CLOCK * timeline.best_rate() / own if own else 0.0)
        clocks = right.clocks.tolist()
        highest = max(clocks, default=0.0)
        unsteadiness = 1 - min(clocks) / highest if clocks else 0.0
        by_itself = expected if reached else min(right.reached_by(BY_ITSELF), expected) if clocks else 0.0
        return cls(readings, right, expected, by_itself, highest, unsteadiness)


def _judge_core(run: RunResult, moment: Moment, core: _Core) -> tuple[float, float]:
    """Clock near the moment, and operations a cycle over what is expected; or a reason against the run."""
    right = core.right.between(run.begin, run.end)
    if len(right.at):
        done = statistics.median(right.per_cycle.tolist())
        run.slowed |= done < (1 - MOST_SLOWED) * core.by_itself
        return right.near(moment), done / core.expected
    seen = core.readings.between(run.begin, run.end).per_cycle.tolist()
    ratio = statistics.median(seen) / core.expected if seen and core.expected else 0.0
    run.reasons.append(
        f"{ratio:.4f} of what the measured clock allows: the clock was read low"
        if ratio > MOST_RATIO
        else "the clock chain was disturbed: no reading that undisturbed work beside it confirms"
    )
    return 0.0, 0.0


def _run(timelines: Sequence[Timeline], begin: int, end: int) -> RunResult:
    operations = sum(operations_shared(slices, begin, end) for timeline in timelines for slices in timeline.both)
    return RunResult(
        begin=begin,
        end=end,
        sustained=operations / ((end - begin) / 1e9),
        moment=best_moment([timeline.plain.between(begin, end) for timeline in timelines]),
        clocks=(None,) * len(timelines),
    )
