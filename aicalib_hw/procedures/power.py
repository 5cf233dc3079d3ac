"""Power: what the platform draws under different compute loads (specification, procedure 6), and energy beside it.

Assumed, as the specification leaves it open: the load points, a ranging pass at full load before the
measured runs, ranges fixed in them, what counts as settled, and that the item "energy", which is given in W, is the
power; the energy of one integration at the largest load is reported beside it where the meter can integrate.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aicalib_hw.interfaces import PowerMeter, PowerReading, PowerSettings, Progress
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.several import power_series, total_power
from aicalib_hw.procedures._bystanders import with_others
from aicalib_hw.procedures._certified import notes_on
from aicalib_hw.procedures._energy import make_energy
from aicalib_hw.procedures._point import largest_components, make_point, worth_repeating
from aicalib_hw.procedures._reference import Reference, references_of
from aicalib_hw.readings import Measurement
from aicalib_hw.sampling import at_once

MOST_BELOW_RANGING = 0.05
_MOST_EXTRA_SETTLES = 5
_MOST_EXTRA_RANGINGS = 5
"""The ranging pass goes on so many times as long as the meter is still looking for its range."""


def calibrate_power(
    bench: Any, *, plan: Any = None, record: Any = None, progress: Progress | None = None
) -> Calibration:
    """Measure the platform's active power, W, at each load of the plan, with fixed ranges after a ranging pass.

    bench: an opened bench with something that loads the platform, and power meters; of several, the sum is the
    platform's power. plan: a PowerPlan, None = the bench's. record: gets every run as it ends. Durations are on the
    meters' own time base. A run that cannot be used is repeated, within a bound, and stays in the record.
    The load is stopped and the meters' settings are restored on every way out; what could not be is in the notes.
    """
    plan = plan or bench.settings.plan.power
    meters = references_of(bench)
    session = _Session(bench, meters, plan, record, progress or (lambda done, note: None))
    before = [one.meter.configure() for one in meters]
    try:
        results = session.run()
    except BaseException as error:
        for failure in _restored(meters, before, record):
            error.add_note(failure)
        raise
    session.notes += _restored(meters, before, record)
    calibration = Calibration(
        quantity="power",
        results=tuple(results),
        plan={**plan.model_dump(mode="json"), "ranging": session.ranging},
        notes=tuple(session.notes),
    )
    if record is not None:
        record.calibration(calibration)
    return calibration


def _restored(meters: Sequence[Reference], before: Sequence[PowerSettings], record: Any) -> list[str]:
    """Give all meters their settings back, and return what could not be given; the record is told too."""
    failures = [failure for one, settings in zip(meters, before, strict=True) for failure in one.restore(settings)]
    if failures and record is not None:
        record.event("not restored", failures=failures)
    return failures


class _Session:
    """One run through the plan. notes: for the reader of the results. ranging: what the ranging pass saw and chose."""

    def __init__(self, bench: Any, meters: Sequence[Reference], plan: Any, record: Any, report: Progress) -> None:
        self._bench = bench
        self._meters = meters
        self._plan = plan
        self._record = record
        self._report = report
        self.notes = [note for one in meters for note in _remarks_on(one)]
        self.ranging: dict[str, Any] = {}

    def run(self) -> list[Result]:
        """Measure every point; each result is in the record before the next is begun."""
        plan = self._plan
        steps = 1 + len(plan.loads) * plan.runs
        self._report(0.0, "ranging at full load")
        self.ranging = self._fix_ranges()
        if self._record is not None:
            self._record.event("ranged", **self.ranging)
        results: list[Result] = []
        for index, load in enumerate(plan.loads):

            def step(run: float, note: str, index: int = index) -> None:
                self._report((1 + index * plan.runs + min(run, plan.runs)) / steps, note)

            results += self._point(load, step)
        self.notes += [
            f"{result.title}: {remark}"
            for result in results
            for remark in result.measurement.evidence.get("remarks", ())
        ]
        return results

    def _fix_ranges(self) -> dict[str, Any]:
        """Find the ranges that full load needs, and fix them; returns what was seen and chosen."""
        plan, meters = self._plan, self._meters
        for one in meters:
            one.prepare(plan.update_interval)
        with self._bench.load.run_load(max(plan.loads) or 1.0):
            everything = self._streamed(plan.settle) if plan.settle else [[] for _ in meters]
            for _ in range(1 + _MOST_EXTRA_RANGINGS):
                last = self._streamed(plan.ranging_duration)
                everything = [[*before, *now] for before, now in zip(everything, last, strict=True)]
                if not any(reading.status for readings in last for reading in readings):
                    break
            # While the load runs: a meter that holds what auto range found would step down as soon as it has ended.
            found = [one.fix(*readings) for one, *readings in zip(meters, everything, last, strict=True)]
        self.notes += [
            note for one, readings in zip(meters, last, strict=True) for note in one.reversed_elements(readings)
        ]
        if len(found) == 1:
            return found[0]
        by_name = {one.name: ranging for one, ranging in zip(meters, found, strict=True)}
        return {**by_name, "power_W": sum(ranging["power_W"] for ranging in found)}

    def _streamed(self, duration: float) -> list[list[PowerReading]]:
        """All updates of each meter over `duration` s of its time, side by side."""
        instruments = [one.meter for one in self._meters]

        def stream(meter: PowerMeter) -> list[PowerReading]:
            return list(meter.stream(duration=duration))

        return at_once([partial(stream, meter) for meter in instruments], instruments)

    def _point(self, load: float, step: Callable[[float, str], None]) -> list[Result]:
        """Measure one load point: settle, then the runs, then the energy where it is due, under one unbroken load."""
        plan = self._plan
        title = "idle" if load == 0 else f"{load:.0%} load"
        measured: list[Measurement] = []
        reasons: list[str] = []
        with self._bench.load.run_load(load) as running:
            step(0, f"{title}, settling")
            if not self._settled():
                reasons.append(f"not settled: successive means differ by more than {plan.settle_tolerance:.2%}")
            running.achieved()
            running.others()
            while len(measured) < plan.runs or worth_repeating(measured, plan.runs):
                number = len(measured) + 1
                repeat = ", repeating a run that cannot be used" if number > plan.runs else ""
                step(number - 1, f"{title}, run {number} of {max(number, plan.runs)}{repeat}")
                measured.append(self._one_run(title, running))
            step(plan.runs, f"{title}, done")
            if load > 0 and not running.running:
                reasons.append("the load ended before the measurement did")
            results = [self._power(load, title, measured, reasons)]
            if load == max(plan.loads) and plan.energy_duration and self._integrates:
                step(plan.runs, f"{title}, energy over {plan.energy_duration} s")
                results.append(self._energy(results[0], measured, running))
        return results

    def _one_run(self, title: str, running: Any) -> Measurement:
        """One mean power of all meters over the plan's duration, completed; every meter's own goes into the record."""
        plan, meters = self._plan, self._meters

        def measure(one: Reference) -> Measurement:
            return one.meter.measure_power(plan.duration, load=running if one is meters[0] else None)

        runs = at_once([partial(measure, one) for one in meters], [one.meter for one in meters])
        runs[0] = with_others(runs[0], running, self._bench.load, plan.load_tolerance)
        if self._record is not None:
            for one, run in zip(meters, runs, strict=True):
                named = f", {one.name}" if len(meters) > 1 else ""
                self._record.measurement(run)
                self._record.series(f"power, {title}{named}", power_series(run))
        completed = [one.completed(run) for one, run in zip(meters, runs, strict=True)]
        if len(completed) == 1:
            return completed[0]
        total = total_power(completed, [one.name for one in meters])
        if "load_of_others" in runs[0].evidence:
            others = runs[0].evidence["load_of_others"]
            total = dataclasses.replace(total, evidence={**total.evidence, "load_of_others": others})
        if self._record is not None:
            self._record.measurement(total)
        return total

    def _power(self, load: float, title: str, measured: Sequence[Measurement], reasons: list[str]) -> Result:
        usable = [float(one.value) for one in measured if one.value is not None]
        achieved = [one.load for one in measured if one.load is not None]
        if load == max(self._plan.loads) and load > 0 and usable:
            shortfall = 1 - statistics.fmean(usable) / self.ranging["power_W"]
            if shortfall > MOST_BELOW_RANGING:
                reasons.append(f"the mean is {shortfall:.1%} below that of the ranging pass: the load was not the same")
        others = [float(one.evidence.get("load_of_others") or 0.0) for one in measured]
        # By the runs, each; beside a GPU they do not tell of its load.
        told = self._bench.load.is_host and bool(others) and max(others) > self._plan.load_tolerance
        if achieved and not told and abs(statistics.fmean(achieved) - load) > self._plan.load_tolerance:
            reached = statistics.fmean(achieved)
            cause = "something else held the platform up" if reached > load else "something held the load back"
            reasons.append(f"the load was {reached:.1%} where {load:.0%} was asked: {cause}")
        noticed = {remark for one in measured for remark in one.evidence.get("remarks", ())}
        if not achieved:
            noticed.add("the load is as the operator stated it: it was neither set nor measured here")
        keys = (
            "load_of_others",
            "voltage_V",
            "current_A",
            "power_factor",
            "updates",
            "missed",
            "correction_W",
            "parts_W",
        )
        result = make_point(
            self._bench,
            measured,
            title=title,
            components=largest_components(measured),
            evidence={
                "load_achieved": achieved,
                **{
                    key: [one.evidence.get(key) for one in measured]
                    for key in keys
                    if any(key in one.evidence for one in measured)
                },
                "remarks": sorted(noticed),
            },
            load=statistics.fmean(achieved) if achieved else None,
            asked_load=load,
            reasons=reasons,
        )
        if self._record is not None:
            self._record.result(result)
        return result

    @property
    def _integrates(self) -> bool:
        """True for one meter that has an integrator; the windows of several integrators cannot be aligned."""
        return len(self._meters) == 1 and bool(self._meters[0].meter.capabilities.energy)

    def _energy(self, power: Result, runs: Sequence[Measurement], running: Any) -> Result:
        running.others()
        measured = self._meters[0].meter.measure_energy(float(self._plan.energy_duration), load=running)
        measured = with_others(measured, running, self._bench.load, self._plan.load_tolerance)
        if self._record is not None:
            self._record.measurement(measured)
        result = make_energy(
            self._bench,
            measured,
            float(self._plan.energy_duration),
            power,
            runs,
            title="energy",
        )
        if self._record is not None:
            self._record.result(result)
        return result

    def _settled(self) -> bool:
        """Wait until two successive means over the settling time agree; False if they do not in six times that."""
        plan = self._plan
        if plan.settle == 0:
            return True
        previous: float | None = None
        for _ in range(1 + _MOST_EXTRA_SETTLES):
            present = self._mean(plan.settle)
            if (
                previous is not None
                and present is not None
                and abs(present - previous) <= plan.settle_tolerance * abs(present)
            ):
                return True
            previous = present
        return False

    def _mean(self, duration: float) -> float | None:
        """Mean power of all meters together over `duration` s, W; None if one of them gave nothing usable."""
        means = [
            [float(reading.active_power) for reading in readings if not reading.status]
            for readings in self._streamed(duration)
        ]
        return sum(statistics.fmean(each) for each in means) if all(means) else None


def _remarks_on(one: Reference) -> list[str]:
    remarks = [*notes_on(one.certificate)]
    capabilities = one.meter.capabilities
    if not (one.fixed or capabilities.auto_range or capabilities.voltage_ranges or capabilities.current_ranges):
        remarks.append(f"{one.name}: its ranges cannot be set from here and were taken as they stood on the meter")
    return remarks
