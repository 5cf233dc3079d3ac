"""Inference: the rate at which a service generates tokens (specification, procedure 4).

Assumed, as the specification leaves it open: output tokens, by the service's own usage; a steady window at fixed
numbers of requests under way, of prompts and answers of fixed length; a warm-up that is discarded. The rate times the
parameters of the model stands beside it where the plan names them: the ranges of the specification look like such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aicalib_hw.interfaces import InferenceLoad, InferenceService, Progress
from aicalib_hw.metrology import Calibration, Result
from aicalib_hw.metrology.clocks import clock_evidence, time_base
from aicalib_hw.metrology.indications import NORMALISED
from aicalib_hw.procedures._apart import why_unjudged
from aicalib_hw.procedures._certified import certificate_of, certified, notes_on
from aicalib_hw.procedures._kept import keeping_partial
from aicalib_hw.procedures._normalised import scaled, times
from aicalib_hw.procedures._point import (
    make_point,
    remarks_by_point,
    with_time_base,
    worth_repeating,
)
from aicalib_hw.readings import Measurement, ValidityStatus, to_plain

_TIMES = ("ttft_s", "tpot_s", "itl_s", "latency_s", "dispatch_lag_s", "loop_lag_s")


@dataclass(frozen=True, slots=True)
class _Point:
    """One point: its title, the load that is applied, and what of it tells this point from the others."""

    title: str
    load: InferenceLoad
    conditions: Mapping[str, Any]


def calibrate_inference(
    bench: Any, *, plan: Any = None, record: Any = None, progress: Progress | None = None
) -> Calibration:
    """Measure the rate of an inference service, token/s, at each concurrency and each offered rate of the plan.

    bench: an opened bench with one inference service. plan: an InferencePlan, None = the bench's. record: gets every
    run as it ends, and what there is of one that breaks off; one that cannot be used is repeated, within a bound. A
    service of which only counters are read is one point: nothing is sent to it. Raises OutOfRange for a load that
    cannot be applied, NotPermitted, ConnectionFailed, ConnectionLost, Aborted.
    """
    plan = plan or bench.settings.plan.inference
    report = progress or (lambda done, note: None)
    service: InferenceService = bench.the("inference_service")
    certificate = certificate_of(bench, service)
    points = _points(service, plan)
    results: list[Result] = []
    try:
        with keeping_partial(record):
            for index, point in enumerate(points):

                def step(done: float, note: str, index: int = index) -> None:
                    report((index + done) / len(points), note)

                for result in _measure(bench, service, point, plan, certificate, record, step):
                    results.append(result)
                    if record is not None:
                        record.result(result)
    finally:
        service.release()
    calibration = Calibration(
        quantity="inference",
        results=tuple(results),
        plan=plan.model_dump(mode="json"),
        notes=(
            *notes_on(certificate),
            *remarks_by_point([one for one in results if not one.definition.endswith(NORMALISED)]),
        ),
    )
    if record is not None:
        record.calibration(calibration)
    return calibration


def _points(service: InferenceService, plan: Any) -> list[_Point]:
    """The loads to apply; of a service that takes none there is one point."""
    base = InferenceLoad(
        plan.model,
        plan.input_tokens,
        plan.output_tokens,
        warm_up=plan.warm_up,
        duration=plan.duration,
        streaming=plan.streaming,
        headroom=plan.headroom,
        failure_rate=plan.failure_rate,
        ttft_limit=plan.ttft_limit,
        tpot_limit=plan.tpot_limit,
        latency_limit=plan.latency_limit,
        parameters=plan.parameters,
    )
    if not service.capabilities.takes_load:
        return [_Point("engine counters", base, {})]
    lengths = f"{plan.input_tokens} + {plan.output_tokens} tokens"
    points = [
        _Point(
            f"{number} at a time, {lengths}",
            replace(base, concurrency=number, processes=min(plan.processes, number)),
            {"concurrency": number},
        )
        for number in plan.concurrency
    ]
    return points + [
        _Point(
            f"{rate:g} requests/s, {lengths}",
            replace(base, arrival=plan.arrival, request_rate=rate, processes=plan.processes),
            {"request_rate": float(rate)},
        )
        for rate in plan.request_rates
    ]


def _measure(
    bench: Any,
    service: InferenceService,
    point: _Point,
    plan: Any,
    certificate: Any,
    record: Any,
    step: Progress,
) -> list[Result]:
    """Measure the runs of one point; return its result, and the normalised one where the plan names parameters."""
    before = clock_evidence()
    measured: list[Measurement] = []
    while len(measured) < plan.runs or worth_repeating(measured, plan.runs):
        number = len(measured)
        note = f"{point.title}, run {number + 1} of {max(number + 1, plan.runs)}"

        def within(done: float, what: str, number: int = number, note: str = note) -> None:
            step(min(1.0, (number + done) / plan.runs), f"{note}: {what}" if what else note)

        # Each run sends prompts of its own, and arrivals of its own.
        run = service.measure_tokens(replace(point.load, seed=plan.seed + number), progress=within)
        if record is not None:
            record.measurement(run)
        measured.append(certified(run, certificate))
        if run.validity.status is ValidityStatus.ERROR:
            break
    after = clock_evidence()
    components = with_time_base(measured, time_base(after))
    evidence = {**_told(measured), "host_clock_before": to_plain(before), "host_clock_after": to_plain(after)}
    how: dict[str, Any] = {
        "evidence": evidence,
        "conditions": point.conditions,
        "unjudged": why_unjudged(measured),
    }
    results = [make_point(bench, measured, title=point.title, components=components, **how)]
    if plan.parameters is not None:
        normalised = [times(run, plan.parameters) for run in measured]
        title = f"{point.title}, times {plan.parameters:.4g} parameters"
        wider = [scaled(one, plan.parameters) for one in components]
        results.append(make_point(bench, normalised, title=title, components=wider, **how))
    return results


def _told(measured: Sequence[Measurement]) -> dict[str, Any]:
    """What the runs tell besides their rate, run by run; of times the median and the 99th percentile, s."""
    told = [run.evidence for run in measured]
    found: dict[str, Any] = {
        key: [one.get(key) for one in told]
        for key in ("tokens_in_window", "seconds", "total_token_rate", "completed_request_rate")
    }
    for key in _TIMES:
        for rank in ("p50", "p99"):
            values = [(one.get(key) or {}).get(rank) for one in told]
            if any(value is not None for value in values):
                found[f"{key.removesuffix('_s')}_{rank}_s"] = values
    if any("itl_s" in one for one in told):
        found["itl_valid"] = [(one.get("itl_s") or {}).get("valid") for one in told]
    if any("goodput" in one for one in told):
        found["goodput"] = [one.get("goodput") for one in told]
    for key in (
        "coalesced_share",
        "events_per_token",
        "engine_counters",
        "requests",
        "client",
        "proof",
        "proof_afterwards",
    ):
        if any(key in one for one in told):
            found[key] = [one.get(key) for one in told]
    found["client_on_same_host"] = any(one.get("client_on_same_host") for one in told)
    found["manner"] = told[0].get("manner")
    found["remarks"] = list(dict.fromkeys(remark for one in told for remark in one.get("remarks", ())))
    return found
