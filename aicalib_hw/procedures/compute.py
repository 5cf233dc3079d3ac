"""Compute: the floating-point rate of the platform's processors (specification, procedure 1).

Assumed, as the specification leaves it open: what is calibrated is the sustained rate over the common
window of all cores, or of all accelerators of one driver where there are several; a warm-up is discarded;
the repeatability comes from whole runs. Drivers are measured one after another: what two of them reach may be
one device, and what feeds one device takes processors of the host from another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw.errors import Aborted, InstrumentError, NotSupported, UsageError
from aicalib_hw.interfaces import Accelerator, PeakMeasurement, Progress
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.clocks import SHARED, clock_evidence, time_base
from aicalib_hw.procedures._alike import alike
from aicalib_hw.procedures._point import largest_components, make_point, worth_repeating
from aicalib_hw.procedures._together import measure_together, sum_of
from aicalib_hw.readings import Component, Measurement, to_plain

_SHORTEST_WARM_UP = 0.1
_LONGEST_GEMM = 3.0
_MOST_OVER_THEORY = 1.003
"""A rate above theory by more than this, and by what the clock is not known, is a fault of the measurement."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The accelerators of one driver that have the precision.

    alone: all that have it are of this driver. named: the bench has others, so that one is called by its address.
    """

    driver: str
    members: tuple[Accelerator, ...]
    alone: bool
    named: bool

    def title(self, precision: Any, members: Sequence[Accelerator], *, apart: bool = False) -> str:
        """Return what the point of these members is called; apart: others of the group make a point of their own."""
        title = f"{precision} sustained"
        if apart or (self.named and len(members) == 1):
            return f"{title}, {' '.join(member.address for member in members)}"
        if len(members) == 1:
            return title
        return f"{title}, {len(members)} {'' if self.alone else f'{self.driver} '}accelerators together"


def calibrate_compute(
    bench: Any,
    *,
    precision: Any = "fp32",
    path: Any = None,
    plan: Any = None,
    record: Any = None,
    progress: Progress | None = None,
) -> Calibration:
    """Measure the sustained rate of the accelerators of the bench, FLOP/s (OP/s for integers), driver after driver.

    bench: an opened bench. precision: "fp32" unless asked otherwise. path: "vector", "matrix" or "gemm",
    None = the plan's. plan: a ComputePlan, None = the bench's. record: gets every run as it ends, and every point when
    its driver is through. Accelerators that lack the precision are left out and named; those of one driver are
    measured all at once, and those of them that measure by one definition are added up, over the time in which all of
    them worked. If those of one driver fail, those of the others are measured all the same, and the first error is
    raised at the end. Raises NotSupported for a precision that no accelerator has, Aborted.
    """
    plan = plan or bench.settings.plan.compute
    path = path or plan.path
    report = progress or _nothing
    accelerators: list[Accelerator] = bench.of_role("accelerator")
    if not accelerators:
        raise UsageError(
            f"bench {bench.name!r} has no accelerator", advice='add one, for example address = "cpu://local"'
        )
    able, left_out = _able(accelerators, precision, path)
    groups = _groups(able, named=len(accelerators) > 1)
    results: list[Result] = []
    further: list[Measurement] = []
    failures: list[InstrumentError | UsageError] = []
    for index, group in enumerate(groups):

        def step(done: float, note: str, index: int = index) -> None:
            report((index + done) / len(groups), note)

        try:
            points, beside = _measure(bench, group, precision, path, plan, record, step)
        except Aborted:
            raise
        except (InstrumentError, UsageError) as error:
            failures.append(error)
            if record is not None and not group.alone:
                record.event("failure", driver=group.driver, message=str(error))
        else:
            results += points
            further += beside
    if failures:
        raise failures[0]
    calibration = Calibration(
        quantity="compute",
        results=tuple(results),
        further=tuple(further),
        plan={**plan.model_dump(mode="json"), "precision": precision, "path": path},
        notes=(
            *(
                f"{result.title}: {remark}"
                for result in results
                for remark in result.measurement.evidence["remarks"]
                if remark not in result.validity.reasons
            ),
            *left_out,
        ),
    )
    if record is not None:
        record.calibration(calibration)
    return calibration


def _able(accelerators: Sequence[Accelerator], precision: Any, path: Any) -> tuple[list[Accelerator], list[str]]:
    """Those that have the precision, and what to say of the others; raises NotSupported if there is none.

    One that cannot be asked fails among those of its driver, and no others with it.
    """
    able: list[Accelerator] = []
    left_out: list[str] = []
    first: NotSupported | None = None
    for accelerator in accelerators:
        try:
            accelerator.theoretical_peak(precision, path=path)
        except NotSupported as error:
            first = first or error
            left_out.append(f"{accelerator.address} is left out: {error.what}")
            continue
        except InstrumentError:
            pass
        able.append(accelerator)
    if not able and first is not None:
        raise first
    return able, left_out


def _groups(able: Sequence[Accelerator], *, named: bool) -> list[_Group]:
    """The accelerators by driver, in the order of the bench."""
    drivers = dict.fromkeys(one.DRIVER.name for one in able)
    return [
        _Group(driver, tuple(one for one in able if one.DRIVER.name == driver), len(drivers) == 1, named)
        for driver in drivers
    ]


def _measure(
    bench: Any, group: _Group, precision: Any, path: Any, plan: Any, record: Any, report: Progress
) -> tuple[list[Result], list[Measurement]]:
    """Measure the accelerators of one driver: a point for each definition, and what stands beside them."""
    able = group.members
    before = clock_evidence()
    runs = _run(group, precision, path, plan, record, report)
    after = clock_evidence()
    results: list[Result] = []
    further = [max(own, key=lambda run: float(run.peak.value or 0.0)).peak for own in runs]
    definitions = list(dict.fromkeys(own[0].sustained.definition for own in runs))
    for definition in definitions:
        places = [index for index, own in enumerate(runs) if own[0].sustained.definition == definition]
        members, measured = [able[index] for index in places], [runs[index] for index in places]
        title = group.title(precision, members, apart=len(definitions) > 1)
        results.append(_result(bench, group, members, measured, title, precision, path, (before, after)))
        if record is not None:
            record.result(results[-1])
        if len(members) > 1:
            further += [own[-1].sustained for own in measured]
    if plan.gemm and path == "vector" and len(able) == 1 and able[0].capabilities.supported(precision, "gemm"):
        report(1.0, f"{precision} matrix product")
        product = able[0].measure_peak(precision, path="gemm", duration=min(plan.duration, _LONGEST_GEMM))
        further += [product.peak, product.sustained]
    return results, further


def _run(
    group: _Group, precision: Any, path: Any, plan: Any, record: Any, report: Progress
) -> list[list[PeakMeasurement]]:
    """By accelerator of a group its measurements, run by run; in each run all of them work at once.

    A run in which one of them was disturbed, or that they did not do together, is repeated, within the bound of every
    point.
    """
    accelerators = group.members
    title = f"{precision} sustained" if group.alone else group.title(precision, accelerators)
    total = plan.warm_up + plan.runs * plan.duration
    report(0.0, "warming up" if group.alone else f"{title}, warming up")
    if plan.warm_up:
        measure_together(accelerators, precision, path=path, duration=max(plan.warm_up, _SHORTEST_WARM_UP))
    runs: list[list[PeakMeasurement]] = [[] for _ in accelerators]
    worst: list[Measurement] = []
    while len(worst) < plan.runs or worth_repeating(worst, plan.runs):
        number = len(worst) + 1
        begun = min(1.0, (plan.warm_up + len(worst) * plan.duration) / total)
        repeat = ", repeating a run that cannot be used" if number > plan.runs else ""
        note = f"{title}, run {number} of {max(number, plan.runs)}{repeat}"
        report(begun, note)

        def within(done: float, _: str, begun: float = begun, note: str = note) -> None:
            report(min(1.0, begun + done * plan.duration / total), note)

        together = measure_together(accelerators, precision, path=path, duration=plan.duration, progress=within)
        for own, one in zip(runs, together, strict=True):
            own.append(one)
            if record is not None:
                record.measurement(one.sustained)
                record.measurement(one.peak)
        rates = [one.sustained for one in together]
        sums = [
            sum_of([rate for rate in rates if rate.definition == definition])
            for definition in dict.fromkeys(rate.definition for rate in rates)
        ]
        worst.append(next((rate for rate in sums if not rate.validity or rate.value is None), sums[0]))
    return runs


def _result(
    bench: Any,
    group: _Group,
    members: Sequence[Accelerator],
    measured: Sequence[Sequence[PeakMeasurement]],
    title: str,
    precision: Any,
    path: Any,
    clocks: tuple[Any, Any],
) -> Result:
    """The point that the accelerators of one definition make together: the sum, run by run."""
    before, after = clocks
    theory = [member.theoretical_peak(precision, path=path, clock="measured") for member in members]
    nominal = [member.theoretical_peak(precision, path=path, clock="nominal") for member in members]
    by_run = list(zip(*measured, strict=True))
    sums = [sum_of([one.sustained for one in run]) for run in by_run]
    allowed = None
    if all(one.value is not None for one in theory):
        allowed = sum(
            float(one.value or 0.0) * (_MOST_OVER_THEORY + _doubt_of_clock(own))
            for one, own in zip(theory, measured, strict=True)
        )
    reasons = [
        f"{one.value:.4g} {one.unit} is more than theory allows"
        for one in sums
        if allowed and one.value and float(one.value) > allowed
    ]
    every = [one for run in by_run for one in run]
    return make_point(
        bench,
        sums,
        title=title,
        components=_components([one.sustained for one in every], time_base(after)),
        evidence={
            "share": [one.share for one in every],
            "clock_Hz": [float(one.clock) if one.clock is not None else None for one in every],
            "efficiency_measured_clock": [one.efficiency_measured_clock for one in every],
            "efficiency_maximum_clock": [one.efficiency_maximum_clock for one in every],
            "rejected": [one.rejected for one in every],
            "operations": [one.evidence.get("operations") for one in sums],
            **({"common_s": [one.evidence.get("common_s") for one in sums]} if len(members) > 1 else {}),
            "energy_J": [energy for run in by_run if (energy := _energy_of(run))],
            "power_W": [power for run in by_run if (power := _power_of(run))],
            "throttle": _distinct([to_plain(one.throttle) for one in every if one.throttle is not None]),
            "devices": [member.address for member in members],
            "device_rates": [[one.sustained.value for one in run] for run in by_run],
            "slice_rates": [slices for own in measured for slices in own[-1].sustained.evidence.get("slice_rates", [])],
            "theoretical_measured_clock": _one_or_all(to_plain(theory)),
            "theoretical_nominal_clock": _one_or_all(to_plain(nominal)),
            "host_clock_before": to_plain(before),
            "host_clock_after": to_plain(after),
            "remarks": alike(reason for one in sums for reason in one.validity.reasons),
        },
        load=1.0,
        conditions={} if group.alone else {"driver": group.driver},
        implied={"driver": group.driver},
        reasons=reasons,
    )


def _energy_of(run: Sequence[PeakMeasurement]) -> dict[str, float]:
    """What all accelerators of one run took, J, each while it was watched, by each way in which all of them tell it."""
    return {way: sum(one.energy[way] for one in run) for way in run[0].energy if all(way in one.energy for one in run)}


def _power_of(run: Sequence[PeakMeasurement]) -> dict[str, float]:
    """Mean power of all accelerators of one run, W: the sum of each one's energy over the time which that is of."""
    times = [one.sustained.evidence.get("energy_s", {}) for one in run]
    return {
        way: sum(one.energy[way] / lasted[way] for one, lasted in zip(run, times, strict=True))
        for way in _energy_of(run)
        if all(lasted.get(way) for lasted in times)
    }


def _distinct(things: Sequence[Any]) -> list[Any]:
    """Each thing once, in the order in which they come."""
    return [thing for place, thing in enumerate(things) if thing not in things[:place]]


def _one_or_all(things: Sequence[Any]) -> Any:
    """One thing, where all are the same, else all of them."""
    return things[0] if len(_distinct(things)) == 1 else list(things)


def _doubt_of_clock(runs: Sequence[PeakMeasurement]) -> float:
    """How much of the clock under load is not known, by what its reading states of itself: the largest of the runs."""
    doubts = [
        sum(part.half_width or 2 * (part.standard_uncertainty or 0.0) for part in run.clock.components)
        / float(run.clock)
        for run in runs
        if run.clock is not None and not run.clock.status
    ]
    return max(doubts, default=0.0)


def _components(runs: Sequence[Measurement], clock: Component) -> tuple[Component, ...]:
    """The driver's components, the largest of each name over the runs; the time base as the clock evidence has it."""
    return (*(one for one in largest_components(runs) if one.shared != SHARED), clock)


def _nothing(done: float, note: str) -> None:
    """Report to nobody."""
