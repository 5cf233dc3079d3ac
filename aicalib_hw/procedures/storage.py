"""Storage: the rate at which a file system reads and writes (specification, procedure 3).

Assumed, as the specification leaves it open: the patterns, block sizes and queue depth, past the page cache, on files
that are filled first; a window of the plan's length, and of a checkpoint the time until its last byte is on the
device; a warm-up that is discarded. Rates are decimal bits a second, from bytes and time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aicalib_hw.errors import OutOfRange
from aicalib_hw.interfaces import Progress, StorageJob, StorageTester
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.clocks import clock_evidence, time_base
from aicalib_hw.procedures._bystanders import others_told
from aicalib_hw.procedures._certified import certificate_of, certified, notes_on
from aicalib_hw.procedures._kept import keeping_partial
from aicalib_hw.procedures._point import (
    make_point,
    remarks_by_point,
    with_time_base,
    worth_repeating,
)
from aicalib_hw.readings import Measurement, to_plain

VERIFICATION = "verification"
"""Begins the reasons of a measurement whose data did not come back as they were written."""

_AT_RANDOM = ("random-read", "mixed")


def calibrate_storage(
    bench: Any, *, plan: Any = None, record: Any = None, progress: Progress | None = None
) -> Calibration:
    """Measure the rate of a file system or block device, bit/s, at each pattern of the plan.

    bench: an opened bench with one storage tester. plan: a StoragePlan, None = the bench's. record: gets every run as
    it ends, and what there is of one that breaks off; one that cannot be used is repeated, within a bound. The files
    that were made are removed on every way out; an existing file or device is only read where the plan says read_only.
    Raises OutOfRange for what the tester does not offer, before anything
    is written; InstrumentReportedError, DeadlineExceeded, Aborted.
    """
    plan = plan or bench.settings.plan.storage
    report = progress or (lambda done, note: None)
    tester: StorageTester = bench.the("storage_tester")
    certificate = certificate_of(bench, tester)
    jobs = [_job(pattern, plan) for pattern in plan.patterns]
    _require_offered(tester, plan)
    results: list[Result] = []
    try:
        with keeping_partial(record):
            for index, job in enumerate(jobs):

                def step(done: float, note: str, index: int = index) -> None:
                    report((index + done) / len(jobs), note)

                results.append(_measure(bench, tester, job, plan, certificate, record, step))
                if record is not None:
                    record.result(results[-1])
    finally:
        tester.release()
    calibration = Calibration(
        quantity="storage",
        results=tuple(results),
        plan=plan.model_dump(mode="json"),
        notes=(*notes_on(certificate), *remarks_by_point(results)),
    )
    if record is not None:
        record.calibration(calibration)
    return calibration


def _job(pattern: Any, plan: Any) -> StorageJob:
    """What is asked of the tester at one point; its warm-up is a run of its own, so there is no ramp."""
    return StorageJob(
        path=plan.path,
        pattern=pattern,
        size=plan.size,
        block_size=plan.random_block_size if pattern in _AT_RANDOM else plan.block_size,
        queue_depth=plan.queue_depth,
        jobs=plan.jobs,
        engine=plan.engine,
        precondition=not plan.read_only,
        ramp=0.0,
        duration=float(plan.duration),
        read_share=plan.read_share,
        disturbance=plan.disturbance,
        steady_range=plan.steady_range,
        steady_trend=plan.steady_trend,
    )


def _require_offered(tester: StorageTester, plan: Any) -> None:
    """Raise OutOfRange for a pattern or engine that this tester has not, naming those it has."""
    offered = tester.capabilities
    for asked, known in ((plan.patterns, offered.patterns), ((plan.engine,), offered.engines)):
        missing = [one for one in asked if one not in known]
        if missing:
            raise OutOfRange(
                f"{', '.join(missing)} cannot be measured here",
                where=tester.address,
                why=f"this tester offers {', '.join(known) or 'none'}",
                advice="change [plan.storage] patterns or engine",
            )


def _measure(
    bench: Any, tester: StorageTester, job: StorageJob, plan: Any, certificate: Any, record: Any, step: Progress
) -> Result:
    """Let the job run once for nothing, and measure the runs."""
    name = title(job)
    begun = 0.0
    changed: tuple[str, ...] = ()
    if plan.warm_up or plan.verify:
        step(0.0, f"{name}, warming up")
        warming = replace(job, duration=float(max(1, plan.warm_up)), verify=plan.verify)
        changed = _changed(tester.measure_throughput(warming))
        begun = 1 / (1 + plan.runs)
    before = clock_evidence()
    measured: list[Measurement] = []
    while len(measured) < plan.runs or worth_repeating(measured, plan.runs):
        number = len(measured)
        note = f"{name}, run {number + 1} of {max(number + 1, plan.runs)}"

        def within(done: float, _: str, number: int = number, note: str = note) -> None:
            step(min(1.0, begun + (1 - begun) * (number + done) / plan.runs), note)

        run = tester.measure_throughput(job, progress=within)
        if record is not None:
            record.measurement(run)
        measured.append(certified(run, certificate))
    after = clock_evidence()
    told = [run.evidence for run in measured]
    return make_point(
        bench,
        measured,
        title=name,
        components=with_time_base(measured, time_base(after)),
        evidence={
            **{key: [one.get(key) for one in told] for key in ("bytes_read", "bytes_written", "running_s")},
            **{
                f"{who}_bytes_{way}": [(one.get(key) or {}).get(way) for one in told]
                for who, key in (("device", "device_counted"), ("kernel", "counted_for_program"))
                for way in ("read", "written")
            },
            "interval_rates": [rate for one in told for rate in one.get("interval_rates", ())],
            "device": told[0].get("device"),
            "memory_B": told[0].get("memory_B"),
            **others_told(told),
            "host_clock_before": to_plain(before),
            "host_clock_after": to_plain(after),
            "remarks": list(dict.fromkeys(remark for one in told for remark in one.get("remarks", ()))),
        },
        reasons=changed,
    )


def _changed(warming: Measurement) -> tuple[str, ...]:
    """What a pass that wrote and read back found, where one was asked for; a disturbance of the rate is none of it."""
    if not warming.settings.get("verify"):
        return ()
    if warming.value is None:
        return ("it was not verified: " + "; ".join(warming.validity.reasons),)
    return tuple(reason for reason in warming.validity.reasons if reason.startswith(VERIFICATION))


def title(job: StorageJob) -> str:
    """Return what a row calls a point: the pattern, and how much is moved at a time."""
    size, unit = job.block_size, "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024 or size % 1024:
            break
        size, unit = size // 1024, larger
    return f"{job.pattern.replace('-', ' ')}, {size} {unit}"
