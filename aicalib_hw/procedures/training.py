"""Training: the rate at which a job trains on tokens (specification, procedure 5).

Assumed, as the specification leaves it open: tokens of whole, applied optimizer steps, padding as the job has it, after
steps that are let pass; evaluation and checkpoints are not in the steps' times, or the run is not valid. The rate times
the parameters of the model stands beside it where the plan names them: the ranges of the specification look like such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aicalib_hw.errors import UsageError
from aicalib_hw.interfaces import Progress, TrainingJob, TrainingPlan
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.clocks import clock_evidence, time_base
from aicalib_hw.procedures._certified import certificate_of, certified, notes_on
from aicalib_hw.procedures._kept import keeping_partial
from aicalib_hw.procedures._normalised import scaled, times
from aicalib_hw.procedures._point import make_point, with_time_base, worth_repeating
from aicalib_hw.readings import Measurement, to_plain

_FROM_RUNS = (
    "tokens",
    "tokens_counted",
    "steps",
    "seconds",
    "shortest_seconds",
    "outside_steps",
    "step_time_variation",
    "model_flop_rate",
    "model_flop_utilisation",
    "loss_on_kept_sequences",
)
_FROM_JOB = (
    "framework",
    "flop_model",
    "flop_per_token",
    "flop_per_token_counted",
    "parameters_in_products",
    "versions",
)


def calibrate_training(
    bench: Any, *, plan: Any = None, record: Any = None, progress: Progress | None = None
) -> Calibration:
    """Measure the rate of a training job, token/s of all its devices, over whole steps.

    bench: an opened bench with one training job. plan: a TrainingPlan of `aicalib_hw.bench`, None = the bench's.
    record: gets every run as it ends, and what there is of one that breaks off; one that cannot be used is repeated,
    within a bound. A job that is started here goes on from run to run and is ended on every way out. Raises UsageError
    for a plan without batch or length, ProtocolError, DeadlineExceeded, ConnectionLost, Aborted.
    """
    plan = plan or bench.settings.plan.training
    report = progress or (lambda done, note: None)
    job: TrainingJob = bench.the("training_job")
    certificate = certificate_of(bench, job)
    asked = training_plan(plan)
    try:
        with keeping_partial(record):
            results = _measure(bench, job, asked, plan, certificate, record, report)
    finally:
        job.release()
    calibration = Calibration(
        quantity="training",
        results=tuple(results),
        plan=plan.model_dump(mode="json"),
        notes=(
            *notes_on(certificate),
            *(f"{results[0].title}: {remark}" for remark in results[0].measurement.evidence["remarks"]),
        ),
    )
    if record is not None:
        for result in results:
            record.result(result)
        record.calibration(calibration)
    return calibration


def training_plan(plan: Any) -> TrainingPlan:
    """Return `[plan.training]` as what a job is asked for; raises UsageError without batch or length."""
    missing = [name for name in ("global_batch", "sequence_length") if getattr(plan, name) is None]
    if missing:
        raise UsageError(
            f"tokens cannot be counted without {' and '.join(missing)}",
            where="[plan.training]",
            why="no log tells both, and a default would be a wrong number that looks right",
            advice="; ".join(f"add {name} = …" for name in missing),
        )
    return TrainingPlan(
        global_batch=plan.global_batch,
        sequence_length=plan.sequence_length,
        warm_up_steps=plan.warm_up_steps,
        steps=plan.steps,
        parameters=plan.parameters,
        precision=plan.precision,
        command=tuple(plan.command),
        seed=plan.seed,
        processors=plan.processors,
        step_timeout=plan.step_timeout,
        outside=plan.outside,
        peak=plan.peak,
    )


def _measure(
    bench: Any,
    job: TrainingJob,
    asked: TrainingPlan,
    plan: Any,
    certificate: Any,
    record: Any,
    step: Progress,
) -> list[Result]:
    """Measure the runs; return their result, and the normalised one where the plan names parameters."""
    title = f"batch of {asked.global_batch} × {asked.sequence_length} tokens"
    before = clock_evidence()
    if plan.duration:
        asked = long_enough(job, asked, plan.duration, record, step)
    measured: list[Measurement] = []
    while len(measured) < plan.runs or worth_repeating(measured, plan.runs):
        number = len(measured)
        note = f"{title}, run {number + 1} of {max(number + 1, plan.runs)}"

        def within(done: float, what: str, number: int = number, note: str = note) -> None:
            step(min(1.0, (number + done) / plan.runs), f"{note}: {what}" if what else note)

        run = job.measure_tokens(asked, progress=within)
        if record is not None:
            record.measurement(run)
        measured.append(certified(run, certificate))
    after = clock_evidence()
    components = with_time_base(measured, time_base(after))
    evidence = {**_told(measured), "host_clock_before": to_plain(before), "host_clock_after": to_plain(after)}
    results = [make_point(bench, measured, title=title, components=components, evidence=evidence)]
    if plan.parameters is not None:
        normalised = [times(run, plan.parameters) for run in measured]
        larger = f"{title}, times {plan.parameters:.4g} parameters"
        wider = [scaled(one, plan.parameters) for one in components]
        results.append(make_point(bench, normalised, title=larger, components=wider, evidence=evidence))
    return results


def long_enough(job: TrainingJob, asked: TrainingPlan, duration: float, record: Any, step: Progress) -> TrainingPlan:
    """Run once, only to see how long a step takes, and return the plan with as many steps as fill `duration` s."""
    step(0.0, "how long a step takes")
    pilot = job.measure_tokens(asked)
    if record is not None:
        record.measurement(pilot)
    seconds, steps = pilot.evidence.get("seconds"), pilot.evidence.get("steps")
    if not seconds or not steps:
        return asked
    return replace(asked, steps=max(asked.steps, math.ceil(duration * steps / seconds)))


def _told(measured: Sequence[Measurement]) -> dict[str, Any]:
    """What the runs tell besides their rate, run by run; once what is the same in all."""
    told = [run.evidence for run in measured]
    found: dict[str, Any] = {
        _with_unit(key): [one.get(key) for one in told] for key in _FROM_RUNS if any(key in one for one in told)
    }
    found["loss"] = [_last(one.get("losses")) for one in told]
    found.update({key: told[0][key] for key in _FROM_JOB if told[0].get(key) is not None})
    if any(one.get("log") for one in told):
        found["log"] = (told[0].get("log") or {}).get("path") or "output of the command"
    found["remarks"] = list(dict.fromkeys(remark for one in told for remark in one.get("remarks", ())))
    return found


def _with_unit(key: str) -> str:
    return {"seconds": "steps_took_s", "shortest_seconds": "shortest_of_the_devices_s"}.get(key, key)


def _last(losses: Sequence[float | None] | None) -> float | None:
    return next((one for one in reversed(losses or ()) if one is not None), None)
