"""Power: what the platform draws under different compute loads (specification, procedure 6).

Assumed, as the specification leaves it open: the load points, a ranging pass at full load before the
measured runs, ranges fixed in them, and what counts as settled.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aicalib_hw.errors import AicalibError, UsageError
from aicalib_hw.interfaces import PowerMeter, PowerSettings, Progress
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.certificates import validity_on
from aicalib_hw.procedures._point import make_point
from aicalib_hw.readings import Component, Measurement, Series, Status

CURRENT_HEADROOM = 1.1
"""The fixed current range is at least so many times the largest current of the ranging pass."""

MOST_BELOW_RANGING = 0.05
SLOWEST_UPDATES = 1.0
_MOST_EXTRA_SETTLES = 5


def calibrate_power(
    bench: Any, *, plan: Any = None, record: Any = None, progress: Progress | None = None
) -> Calibration:
    """Measure the platform's active power, W, at each load of the plan, with fixed ranges after a ranging pass.

    bench: an opened bench with one power meter and something that loads the platform. plan: a PowerPlan,
    None = the bench's. record: gets every run as it ends. Durations are on the meter's own time base.
    The load is stopped and the meter's settings are restored on every way out.
    """
    plan = plan or bench.settings.plan.power
    report = progress or (lambda done, note: None)
    meter: PowerMeter = bench.the("power_meter")
    name = next(key for key, one in bench.instruments.items() if one is meter)
    certificate = bench.certificates.get(name)
    notes: list[str] = []
    if certificate is not None:
        expired = validity_on(certificate, _today())
        if expired:
            notes.append(f"{expired}: no certificate may be issued from this")
    steps = 1 + len(plan.loads) * plan.runs
    with _restored(meter):
        report(0.0, "ranging at full load")
        ranging = _range(bench, meter, plan)
        if record is not None:
            record.event("ranged", **ranging)
        results: list[Result] = []
        for index, load in enumerate(plan.loads):

            def step(run: int, note: str, index: int = index) -> None:
                report((1 + index * plan.runs + run) / steps, note)

            results.append(_point(bench, meter, plan, load, ranging, certificate, record, step))
            if record is not None:
                record.result(results[-1])
    calibration = Calibration(
        quantity="power",
        results=tuple(results),
        plan={**plan.model_dump(mode="json"), "ranging": ranging},
        notes=tuple(notes),
    )
    if record is not None:
        record.calibration(calibration)
    return calibration


@contextmanager
def _restored(meter: PowerMeter) -> Iterator[PowerSettings]:
    """Give the meter its ranges and update interval back, whatever happens."""
    before = meter.configure()
    try:
        yield before
    finally:
        try:
            if before.update_interval is not None:
                meter.configure(update_interval=before.update_interval)
            if before.auto_range:
                meter.configure(auto_range=True)
            else:
                meter.configure(voltage_range=before.voltage_range[0], current_range=before.current_range[0])
        except AicalibError as error:
            error.add_note("the meter's settings could not be restored")


def _range(bench: Any, meter: PowerMeter, plan: Any) -> dict[str, Any]:
    """Find the ranges that full load needs, and fix them; returns what was seen and chosen."""
    capabilities = meter.capabilities
    if not capabilities.auto_range or not capabilities.voltage_ranges or not capabilities.current_ranges:
        raise UsageError(
            "this meter cannot find its ranges",
            where=str(meter.identity),
            advice="fix its ranges in the bench file: settings = { voltage_range = …, current_range = … }",
        )
    changes: dict[str, Any] = {"auto_range": True}
    if plan.update_interval is not None:
        changes["update_interval"] = plan.update_interval
    settings = meter.configure(**changes)
    interval = settings.update_interval or 0.0
    if interval > SLOWEST_UPDATES:
        raise UsageError(
            f"the meter updates every {interval:g} s, and {SLOWEST_UPDATES:g} s is the slowest that is allowed",
            where=str(meter.identity),
            advice="set update_interval in the bench file",
        )
    with bench.load.run_load(max(plan.loads) or 1.0):
        usable = [
            reading for reading in meter.stream(duration=plan.settle + plan.ranging_duration) if not reading.status
        ]
    if not usable:
        raise UsageError(
            "no update of the ranging pass is usable",
            where=str(meter.identity),
            why="every update was out of range, peak-over or without data",
            advice="check wiring and transducers; the platform may draw more than the meter's largest range",
        )
    settled = usable[len(usable) // 3 :]
    factor = 1.0 if settings.crest_factor in (None, "3") else 0.5
    elements = [element for reading in usable for element in reading.elements]
    voltage = max(float(element.voltage) for element in elements)
    current = max(float(element.current) for element in elements)
    ratio_u = max(settings.vt_ratio or (1.0,))
    ratio_i = max(settings.ct_ratio or (1.0,))
    chosen_u = _smallest(capabilities.voltage_ranges, factor, voltage / ratio_u)
    chosen_i = _smallest(capabilities.current_ranges, factor, CURRENT_HEADROOM * current / ratio_i)
    meter.configure(voltage_range=chosen_u, current_range=chosen_i)
    return {
        "largest_voltage_V": voltage,
        "largest_current_A": current,
        "voltage_range_V": chosen_u,
        "current_range_A": chosen_i,
        "update_interval_s": interval,
        "power_W": statistics.fmean(float(reading.active_power) for reading in settled),
    }


def _point(
    bench: Any,
    meter: PowerMeter,
    plan: Any,
    load: float,
    ranging: dict[str, Any],
    certificate: Any,
    record: Any,
    step: Callable[[int, str], None],
) -> Result:
    """Measure one load point: settle, then the runs, under one unbroken load."""
    title = "idle" if load == 0 else f"{load:.0%} load"
    measured: list[Measurement] = []
    reasons: list[str] = []
    with bench.load.run_load(load) as running:
        step(0, f"{title}, settling")
        if not _settled(meter, plan):
            reasons.append(f"not settled: successive means differ by more than {plan.settle_tolerance:.2%}")
        running.achieved()
        for number in range(plan.runs):
            step(number, f"{title}, run {number + 1} of {plan.runs}")
            run = meter.measure_power(plan.duration, load=running)
            measured.append(run)
            if record is not None:
                record.measurement(run)
                record.series(f"power, {title}", _series(run))
        step(plan.runs, f"{title}, done")
        running_until_the_end = load == 0 or running.running
    if not running_until_the_end:
        reasons.append("the load ended before the measurement did")
    usable = [float(one.value) for one in measured if one.value is not None]
    achieved = [one.load for one in measured if one.load is not None]
    if load == max(plan.loads) and load > 0 and usable:
        shortfall = 1 - statistics.fmean(usable) / ranging["power_W"]
        if shortfall > MOST_BELOW_RANGING:
            reasons.append(f"the mean is {shortfall:.1%} below that of the ranging pass: the load was not the same")
    return make_point(
        bench,
        measured,
        title=title,
        components=_largest_components(measured),
        evidence={
            "load_achieved": achieved,
            "voltage_V": [one.evidence.get("voltage_V") for one in measured],
            "current_A": [one.evidence.get("current_A") for one in measured],
            "power_factor": [one.evidence.get("power_factor") for one in measured],
            "updates": [one.evidence.get("updates") for one in measured],
            "missed": [one.evidence.get("missed") for one in measured],
        },
        certificate=certificate,
        load=statistics.fmean(achieved) if achieved else None,
        asked_load=load,
        reasons=reasons,
    )


def _settled(meter: PowerMeter, plan: Any) -> bool:
    """Wait until two successive means over the settling time agree; False if they do not in six times that."""
    if plan.settle == 0:
        return True
    previous: float | None = None
    for _ in range(1 + _MOST_EXTRA_SETTLES):
        means = [float(reading.active_power) for reading in meter.stream(duration=plan.settle) if not reading.status]
        present = statistics.fmean(means) if means else None
        if previous is not None and present is not None and abs(present - previous) <= plan.settle_tolerance * present:
            return True
        previous = present
    return False


def _series(run: Measurement) -> Series:
    times = [int(time) for time in run.evidence["times_ns"]]
    values = run.evidence["power_W"]
    statuses = [_status(text) for text in run.evidence["status"]]
    return Series(
        {"unit": "W", "quantity": "power", "channel": "active power"},
        tuple(times),
        tuple(values),
        tuple(statuses),
        "interval_mean",
    )


def _status(text: str) -> Status:
    status = Status.VALID
    for word in text.split("|"):
        status |= Status[word]
    return status


def _largest_components(measured: Sequence[Measurement]) -> tuple[Component, ...]:
    largest: dict[str, Component] = {}
    for one in measured:
        for component in one.components:
            held = largest.get(component.name)
            if held is None or (component.half_width or 0.0) > (held.half_width or 0.0):
                largest[component.name] = component
    return tuple(largest.values())


def _smallest(ranges: Sequence[float], factor: float, needed: float) -> float:
    fitting = [full * factor for full in sorted(ranges) if full * factor >= needed]
    return fitting[0] if fitting else max(ranges) * factor


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()
