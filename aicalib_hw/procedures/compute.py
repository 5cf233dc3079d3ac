"""Compute: the floating-point rate of the platform's processors (specification, procedure 1).

Assumed, as the specification leaves it open: what is calibrated is the sustained rate over the common
window of all cores; a warm-up is discarded; the repeatability comes from whole runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aicalib_hw.errors import UsageError
from aicalib_hw.interfaces import Accelerator, PeakMeasurement, Progress
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.clocks import SHARED, clock_evidence, time_base
from aicalib_hw.procedures._point import make_point, worth_repeating
from aicalib_hw.readings import Component, Measurement, to_plain

_SHORTEST_WARM_UP = 0.1
_LONGEST_GEMM = 3.0
_MOST_OVER_THEORY = 1.003
"""A rate above theory by more than this is a fault of the measurement, not good news."""


def calibrate_compute(
    bench: Any,
    *,
    precision: Any = "fp32",
    plan: Any = None,
    record: Any = None,
    progress: Progress | None = None,
) -> Calibration:
    """Measure the sustained rate of every accelerator of the bench, FLOP/s (OP/s for integers).

    bench: an opened bench. precision: "fp32" unless asked otherwise. plan: a ComputePlan, None = the bench's.
    record: gets every run as it ends. A run that other programs disturbed is repeated, within a bound, and stays in
    the record. Raises NotSupported for a precision the device lacks, Aborted.
    """
    plan = plan or bench.settings.plan.compute
    report = progress or _nothing
    accelerators: list[Accelerator] = bench.of_role("accelerator")
    if not accelerators:
        raise UsageError(
            f"bench {bench.name!r} has no accelerator", advice='add one, for example address = "cpu://local"'
        )
    results: list[Result] = []
    further: list[Measurement] = []
    for index, accelerator in enumerate(accelerators):

        def part(done: float, note: str, index: int = index) -> None:
            report((index + done) / len(accelerators), note)

        title = f"{precision} sustained" + (f", {accelerator.address}" if len(accelerators) > 1 else "")
        result, others = _calibrate_one(bench, accelerator, title, precision, plan, record, part)
        results.append(result)
        further += others
        if record is not None:
            record.result(result)
    calibration = Calibration(
        quantity="compute",
        results=tuple(results),
        further=tuple(further),
        plan={**plan.model_dump(mode="json"), "precision": precision},
        notes=tuple(
            f"{result.title}: {remarks[0]}" + (f" ({len(remarks)} remarks in the record)" if len(remarks) > 1 else "")
            for result in results
            if (remarks := result.measurement.evidence["remarks"])
        ),
    )
    if record is not None:
        record.calibration(calibration)
    return calibration


def _calibrate_one(
    bench: Any, accelerator: Accelerator, title: str, precision: Any, plan: Any, record: Any, report: Progress
) -> tuple[Result, list[Measurement]]:
    before = clock_evidence()
    total = plan.warm_up + plan.runs * plan.duration
    report(0.0, "warming up")
    if plan.warm_up:
        accelerator.measure_peak(precision, duration=max(plan.warm_up, _SHORTEST_WARM_UP))
    runs: list[PeakMeasurement] = []
    while len(runs) < plan.runs or worth_repeating([run.sustained for run in runs], plan.runs):
        number = len(runs)
        begun = min(1.0, (plan.warm_up + number * plan.duration) / total)
        note = f"{title}, run {number + 1} of {max(number + 1, plan.runs)}"
        note += ", repeating a disturbed run" if number >= plan.runs else ""
        report(begun, note)

        def within(done: float, _: str, begun: float = begun, note: str = note) -> None:
            report(min(1.0, begun + done * plan.duration / total), note)

        run = accelerator.measure_peak(precision, duration=plan.duration, progress=within)
        runs.append(run)
        if record is not None:
            record.measurement(run.sustained)
            record.measurement(run.peak)
    further = [max(runs, key=lambda run: float(run.peak.value or 0.0)).peak]
    if plan.gemm and accelerator.capabilities.supported(precision, "gemm") is not None:
        report(1.0, f"{precision} matrix product")
        product = accelerator.measure_peak(precision, path="gemm", duration=min(plan.duration, _LONGEST_GEMM))
        further += [product.peak, product.sustained]
    after = clock_evidence()
    theory = accelerator.theoretical_peak(precision, clock="measured")
    nominal = accelerator.theoretical_peak(precision, clock="nominal")
    reasons = []
    for run in runs:
        if theory.value and run.sustained.value and float(run.sustained.value) > _MOST_OVER_THEORY * theory.value:
            reasons.append(f"{run.sustained.value:.4g} {run.sustained.unit} is more than theory allows")
    result = make_point(
        bench,
        [run.sustained for run in runs],
        title=title,
        components=_components([run.sustained for run in runs], time_base(after)),
        evidence={
            "share": [run.share for run in runs],
            "clock_Hz": [float(run.clock) if run.clock is not None else None for run in runs],
            "efficiency_measured_clock": [run.efficiency_measured_clock for run in runs],
            "efficiency_maximum_clock": [run.efficiency_maximum_clock for run in runs],
            "rejected": [run.rejected for run in runs],
            "operations": [run.sustained.evidence.get("operations") for run in runs],
            "slice_rates": runs[-1].sustained.evidence.get("slice_rates", []),
            "theoretical_measured_clock": to_plain(theory),
            "theoretical_nominal_clock": to_plain(nominal),
            "host_clock_before": to_plain(before),
            "host_clock_after": to_plain(after),
            "remarks": sorted({reason for run in runs for reason in run.sustained.validity.reasons}),
        },
        load=1.0,
        reasons=reasons,
    )
    return result, further


def _components(runs: Sequence[Measurement], clock: Component) -> tuple[Component, ...]:
    """The driver's components, the largest of each name over the runs; the time base as the clock evidence has it."""
    largest: dict[str, Component] = {}
    for run in runs:
        for component in run.components:
            if component.shared == SHARED:
                continue
            held = largest.get(component.name)
            if held is None or _size(component) > _size(held):
                largest[component.name] = component
    return (*largest.values(), clock)


def _size(component: Component) -> float:
    return component.half_width if component.half_width is not None else component.standard_uncertainty or 0.0


def _nothing(done: float, note: str) -> None:
    """Report to nobody."""
