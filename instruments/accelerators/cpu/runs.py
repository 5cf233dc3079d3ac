"""Cuts the work of all cores into runs and judges each: its peak, its clock, and whether it was disturbed.

A run whose peak exceeds what its clock allows was not fast: its clock was read low, because something
held up the slices that carry the clock chain. Such a run is kept, counted and not used.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from aicalib_hw.errors import MeasurementInvalid

from .crew import CoreWork
from .slices import CoreSlices, Moment, best_moment, common_window, corroborated_best, operations_shared, parts_of

MOST_RATIO = 1.003
AGREEMENT = 1.01
RUN_S = 0.1
MOST_RUNS = 60


@dataclass(frozen=True, slots=True)
class Timeline:
    """The slices of one core: the plain ones, and those with the clock chain.

    clock_cycles: cycles that the chain of a clock slice lasts, 0 = there is none.
    stamp_ns: what reading the clock adds to a slice.
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

    def between(self, begin: int, end: int) -> Timeline:
        """The slices that lie wholly in [begin, end]."""
        return replace(self, plain=self.plain.between(begin, end), clocked=self.clocked.between(begin, end))

    def clock(self) -> float | None:
        """Highest clock that further readings confirm, Hz; None if none is confirmed."""
        if len(self.clocked.starts) == 0:
            return None
        best = corroborated_best(self.clock_cycles / (self.clocked.durations - self.stamp_ns))
        return None if best is None else best * 1e9

    def best_rate(self) -> float | None:
        """Rate of the fastest plain slice, 1/s; None without one."""
        if len(self.plain.starts) == 0:
            return None
        return self.plain.operations / (int(self.plain.durations.min()) / 1e9)


@dataclass(slots=True)
class RunResult:
    """One run. sustained: operations a second; clocks: Hz by core, None where not confirmed.

    rates: of the fastest slice of each core. ratio: peak over what clock and operations a cycle allow.
    """

    begin: int
    end: int
    sustained: float
    moment: Moment | None
    clocks: tuple[float | None, ...]
    rates: tuple[float | None, ...]
    ratio: float | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def used(self) -> bool:
        """True if nothing was found against it."""
        return not self.reasons

    def per_cycle(self, core: int) -> float | None:
        """Operations a cycle of one core in its fastest slice, None without a clock."""
        rate, clock = self.rates[core], self.clocks[core]
        return rate / clock if rate is not None and clock is not None else None


def cut_into_runs(timelines: Sequence[Timeline], duration: float) -> list[RunResult]:
    """Return the runs of the common window, about 0.1 s each and at most 60."""
    begin, end = common_window([timeline.extent for timeline in timelines])
    count = max(1, min(MOST_RUNS, round(duration / RUN_S)))
    best = [timeline.clock() for timeline in timelines]
    return [_run(timelines, best, *part) for part in parts_of(begin, end, count)]


def judge(runs: Sequence[RunResult], known_per_cycle: int | None, *, chained: bool) -> None:
    """Find the ratio of each run and the reasons against it.

    known_per_cycle: operations a cycle and core where the processor is known; else the most that several
        runs agree on, for one run alone may owe it to a clock read low.
    chained: whether every core had a clock chain; without, there is no ratio to judge by.
    """
    cores = len(runs[0].clocks)
    expected = [known_per_cycle or _confirmed_per_cycle(runs, core) for core in range(cores)]
    for run in runs:
        if run.moment is None:
            run.reasons.append("at no moment were all cores within a slice")
            continue
        if not chained:
            continue
        allowed = [
            clock * per_cycle
            for clock, per_cycle in zip(run.clocks, expected, strict=True)
            if clock is not None and per_cycle is not None
        ]
        if len(allowed) < cores:
            run.reasons.append("the clock chain was disturbed: no clock that further readings confirm")
            continue
        run.ratio = run.moment.rate / sum(allowed)
        if run.ratio > MOST_RATIO:
            run.reasons.append(f"{run.ratio:.4f} of what the measured clock allows: the clock was read low")


def per_cycle_of(runs: Sequence[RunResult], core: int) -> float | None:
    """Return the median over the runs of the operations a cycle of one core, None if no run has any."""
    found = _per_cycles(runs, core)
    return statistics.median(found) if found else None


def _confirmed_per_cycle(runs: Sequence[RunResult], core: int) -> float | None:
    found = _per_cycles(runs, core)
    return corroborated_best(found, within=MOST_RATIO - 1) or per_cycle_of(runs, core)


def _per_cycles(runs: Sequence[RunResult], core: int) -> list[float]:
    return [value for run in runs if (value := run.per_cycle(core)) is not None]


def _run(timelines: Sequence[Timeline], best_clocks: Sequence[float | None], begin: int, end: int) -> RunResult:
    inside = [timeline.between(begin, end) for timeline in timelines]
    operations = sum(operations_shared(slices, begin, end) for timeline in timelines for slices in timeline.both)
    return RunResult(
        begin=begin,
        end=end,
        sustained=operations / ((end - begin) / 1e9),
        moment=best_moment([timeline.plain for timeline in inside]),
        clocks=tuple(_clock_of(part.clock(), best) for part, best in zip(inside, best_clocks, strict=True)),
        rates=tuple(part.best_rate() for part in inside),
    )


def _clock_of(own: float | None, best: float | None) -> float | None:
    """The clock of a run: the best of the whole measurement where the run's own agrees with it, else its own.

    A run has few readings and each can only be too low; where the clock is constant, all runs tell of it.
    The steps in which processors change their clock are larger than this agreement.
    """
    if own is None or best is None:
        return own
    return best if own < best <= own * AGREEMENT else own
