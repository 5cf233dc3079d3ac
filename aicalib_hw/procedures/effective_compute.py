"""Normalised effective compute (specification, last quantity: a range of 0 to 100 %, no procedure).

The definition is the project's own, in `aicalib_hw.metrology.effective`. The reference rate is measured before and
after every run of the workload, by the same accelerators, while the workload does not run; a run between two references
that do not agree is not usable. What the accelerators' data sheets give instead is reported beside it, under a
definition of its own; of several workloads, what they come to over the time of them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from aicalib_hw.errors import UsageError
from aicalib_hw.interfaces import (
    Accelerator,
    InferenceLoad,
    InferenceService,
    Progress,
    TrainingJob,
    TrainingPlan,
)
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.effective import ModelShape, Workload, effective_compute
from aicalib_hw.metrology.workloads import of_all_workloads
from aicalib_hw.procedures._all_workloads import together
from aicalib_hw.procedures._apart import why_unjudged
from aicalib_hw.procedures._certified import certificate_of, certified
from aicalib_hw.procedures._effective_run import (
    between,
    measure_effective_compute,
    measure_reference,
    nominal_references,
    path_of,
)
from aicalib_hw.procedures._kept import keeping_partial
from aicalib_hw.procedures._operations import operations_of, other_precision
from aicalib_hw.procedures._point import largest_components, make_point, worth_repeating
from aicalib_hw.procedures.training import long_enough, training_plan
from aicalib_hw.readings import Measurement

__all__ = ["calibrate_effective_compute", "measure_effective_compute"]

_ROLES: Mapping[Workload, str] = {"training": "training_job", "inference": "inference_service"}


@dataclass(frozen=True, slots=True)
class _Work:
    """One workload: what runs it, with what it is asked, and the operations of a token where the plan tells them.

    certificate: of what runs it, None = it has none.
    """

    kind: Workload
    instrument: TrainingJob | InferenceService
    asked: Any
    shape: ModelShape | None
    certificate: Any

    @property
    def title(self) -> str:
        """The workload, and how much of it runs at a time."""
        asked = self.asked
        if self.kind == "training":
            return f"training, batch of {asked.global_batch} × {asked.sequence_length}"
        lengths = f"{asked.input_tokens} + {asked.output_tokens} tokens"
        if asked.arrival == "closed":
            return f"inference, {asked.concurrency} at a time, {lengths}"
        return f"inference, {asked.request_rate:g} requests/s, {lengths}"

    def measure(self, number: int, progress: Progress) -> Measurement:
        """Run it once, and let it end: nothing of it may run while the reference is measured.

        number: of the run; a service gets prompts of its own in each, as what a cache answers is no work.
        """
        asked = self.asked if self.kind == "training" else replace(self.asked, seed=self.asked.seed + number)
        try:
            return self.instrument.measure_tokens(asked, progress=progress)
        finally:
            self.instrument.release()


def calibrate_effective_compute(
    bench: Any, *, plan: Any = None, record: Any = None, progress: Progress | None = None
) -> Calibration:
    """Measure the normalised effective compute of the accelerators under each workload of the bench, and under all, %.

    bench: an opened bench with accelerators and a training job or an inference service, which are run as their own
    plans say. plan: an EffectiveComputePlan, None = the bench's. record: gets every reference, token rate and share as
    it ends, and what there is of a run that breaks off. Raises UsageError for a bench or plan that does not fit,
    NotSupported for a precision that an accelerator lacks, Aborted.
    """
    plan = plan or bench.settings.plan.effective_compute
    report = progress or (lambda done, note: None)
    devices = _devices(bench, plan)
    works = _works(bench, plan)
    for precision in plan.precisions:
        path_of(devices, precision, plan.path)
    results: list[Result] = []
    measured: list[list[Measurement]] = []
    further: list[Measurement] = []
    with keeping_partial(record):
        for index, work in enumerate(works):

            def step(done: float, note: str, index: int = index) -> None:
                report((index + done) / len(works), note)

            result, runs, nominal = _measure(bench, devices, work, plan, record, step)
            results.append(result)
            measured.append(runs)
            further += nominal
            if record is not None:
                record.result(result)
        if len(works) > 1:
            results.append(together(bench, measured, record))
            if len(further) == len(works):
                further.append(of_all_workloads(further))
    calibration = Calibration(
        quantity="effective_compute",
        results=tuple(results),
        further=tuple(further),
        plan=plan.model_dump(mode="json"),
        notes=tuple(
            f"{result.title}: {remark}" for result in results for remark in result.measurement.evidence["remarks"]
        ),
    )
    if record is not None:
        record.calibration(calibration)
    return calibration


def _devices(bench: Any, plan: Any) -> list[Accelerator]:
    """The accelerators that the workload runs on: those that the plan names, or all, if they are of one family."""
    present = {name: one for name, one in bench.instruments.items() if isinstance(one, Accelerator)}
    unknown = [name for name in plan.devices if name not in present]
    if unknown or not present:
        raise UsageError(
            f"bench {bench.name!r} has no accelerator {', '.join(unknown)}".rstrip(),
            where=f"{bench.settings.origin}: plan.effective_compute.devices",
            why=f"it has {', '.join(present) or 'none'}",
            advice="name the accelerators that the workload runs on",
        )
    chosen = [present[name] for name in plan.devices or present]
    families = sorted({one.DRIVER.name for one in chosen})
    if len(families) > 1 and not plan.devices:
        raise UsageError(
            f"it is not known on which accelerators of bench {bench.name!r} the workload runs",
            where=f"{bench.settings.origin}: plan.effective_compute.devices",
            why=f"there are several families: {', '.join(families)}",
            advice=f"name them, of {', '.join(present)}",
        )
    return chosen


def _works(bench: Any, plan: Any) -> list[_Work]:
    shape = None
    if plan.parameters is not None:
        shape = ModelShape(plan.parameters, plan.layers, plan.width)
    kinds = [kind for kind in _ROLES if kind in (plan.workloads or _ROLES)]
    present = [kind for kind in kinds if bench.of_role(_ROLES[kind])]
    missing = [kind for kind in plan.workloads if kind not in present]
    if missing or not present:
        raise UsageError(
            f"bench {bench.name!r} has no workload: {', '.join(missing or kinds)}",
            where=f"{bench.settings.origin}: instruments",
            why="normalised effective compute is that of a running workload",
            advice="add a training_job or an inference_service; `aicalib drivers` lists them",
        )
    works = []
    for kind in present:
        asked = asked_of(bench, kind)
        if kind == "inference" and shape is None:
            raise UsageError(
                "the operations of a token of inference are not known",
                where=f"{bench.settings.origin}: plan.effective_compute",
                why="a service does not tell the shape of its model",
                advice="give parameters, layers and width of the model that is served",
            )
        instrument = bench.the(_ROLES[kind])
        _require_ours(instrument, asked)
        works.append(_Work(kind, instrument, asked, shape, certificate_of(bench, instrument)))
    return works


def _require_ours(instrument: TrainingJob | InferenceService, asked: TrainingPlan | InferenceLoad) -> None:
    """Raise UsageError for a workload that goes on while the reference is measured, as nothing here starts it."""
    if isinstance(instrument, TrainingJob):
        ours = bool(instrument.capabilities.own) or bool(isinstance(asked, TrainingPlan) and asked.command)
        advice = "give plan.training.command: the job is then started, and ended, around each run"
    else:
        ours = instrument.capabilities.takes_load
        advice = "name a service that is asked from here"
    if not ours:
        raise UsageError(
            "a workload that runs already keeps the accelerators busy while the reference is measured",
            where=instrument.address,
            why="the share would come out too large, and would look right",
            advice=advice,
        )


def asked_of(bench: Any, kind: Workload) -> TrainingPlan | InferenceLoad:
    """Return what the bench's own plan of this workload asks of it; of several loads of a service the heaviest.

    Raises UsageError for a plan of training without batch or length.
    """
    if kind == "training":
        return training_plan(bench.settings.plan.training)
    table = bench.settings.plan.inference
    given = {one.name: getattr(table, one.name) for one in fields(InferenceLoad) if hasattr(table, one.name)}
    if table.concurrency:
        given |= {"arrival": "closed", "concurrency": max(table.concurrency)}
        given["processes"] = min(table.processes, given["concurrency"])
    else:
        given |= {"concurrency": 1, "request_rate": max(table.request_rates)}
    return InferenceLoad(**given)


def _long(work: _Work, bench: Any, record: Any, step: Progress) -> _Work:
    """Return the work with as many steps as last the time that the plan of training asks for; a service knows it."""
    job, duration = work.instrument, bench.settings.plan.training.duration
    if not isinstance(job, TrainingJob) or not duration:
        return work
    try:
        return replace(work, asked=long_enough(job, work.asked, duration, record, step))
    finally:
        job.release()


def _measure(
    bench: Any, devices: Sequence[Accelerator], work: _Work, plan: Any, record: Any, step: Progress
) -> tuple[Result, list[Measurement], list[Measurement]]:
    """Measure reference, workload, reference, workload …: the point, its runs, what data sheets make of the last."""

    def keep(one: Measurement) -> Measurement:
        if record is not None:
            record.measurement(one)
        return one

    def referred() -> dict[str, Measurement]:
        found = measure_reference(devices, plan.precisions, path=plan.path, duration=plan.duration)
        for one in found.values():
            keep(one)
        return found

    work = _long(work, bench, record, step)
    step(0.0, f"{work.kind}, the reference before")
    references = [referred()]
    nominal = nominal_references(devices, plan.precisions, path=plan.path)
    measured: list[Measurement] = []
    beside: list[Measurement] = []
    while len(measured) < plan.runs or worth_repeating(measured, plan.runs):
        number = len(measured)
        note = f"{work.kind}, run {number + 1} of {max(number + 1, plan.runs)}"

        def within(done: float, _: str, number: int = number, note: str = note) -> None:
            step(min(1.0, (number + 0.9 * done) / plan.runs), note)

        tokens = certified(keep(work.measure(number, within)), work.certificate)
        operations, doubts = operations_of(work, tokens)
        doubts += other_precision(tokens, plan.precisions)
        step(min(1.0, (number + 0.9) / plan.runs), f"{note}, the reference after")
        references.append(referred())
        counting: dict[str, Any] = {
            "workload": work.kind,
            "operations_per_token": operations,
            "shares": plan.precisions,
        }
        one = between(tokens, references[-2], references[-1], drift=plan.drift, reasons=doubts, **counting)
        # what a client on the host of its service took from it is missing here as well
        one = replace(one, evidence={**one.evidence, "client_on_same_host": bool(why_unjudged([tokens]))})
        measured.append(keep(one))
        if nominal is not None:
            beside = [effective_compute(tokens, nominal, reasons=doubts, **counting)]
    told = [one.evidence for one in measured]
    names = ", ".join(str(one.identity) for one in devices)
    result = make_point(
        bench,
        measured,
        title=work.title,
        components=largest_components(measured),
        evidence={
            **{
                key: told[0][key]
                for key in ("name", "version", "flop_model", "operations_per_token", "token_definition")
            },
            "devices": names,
            "reference_sources": told[0]["reference_sources"],
            "token_rates": [one["token_rate"] for one in told],
            "operations": {key: [one["operations"].get(key) for one in told] for key in plan.precisions},
            "reference_rates": {key: [one["reference_rates"].get(key) for one in told] for key in plan.precisions},
            "busy_shares": {key: [one["busy_shares"].get(key) for one in told] for key in plan.precisions},
            "asked": {one.name: getattr(work.asked, one.name) for one in fields(work.asked)},
            "remarks": list(dict.fromkeys(remark for one in told for remark in one["remarks"])),
        },
        unjudged=why_unjudged(measured),
    )
    return result, measured, beside
