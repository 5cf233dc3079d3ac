"""From steps to token/s: of whole steps by the job's own times, held against clocks that are not the job's.

Source: token/s = tokens of the applied steps / time of the steps; model FLOP utilisation after Chowdhery et al.,
PaLM, appendix B: (6 N + 12 L H Q T) FLOP per token, forward and backward, nothing recomputed, no discount for the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

from aicalib_hw.errors import OutOfRange
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import StepRate, TrainingPlan
from aicalib_hw.interfaces.accelerator import Precision
from aicalib_hw.metrology.clocks import UNKNOWN_RATE
from aicalib_hw.readings import (
    Component,
    Instant,
    Measurement,
    Reading,
    Run,
    Status,
    Validity,
    ValidityStatus,
    Window,
)

from ._clocks import clocks_of, disagreement
from ._tally import Span, Tally

BY_JOB = "token/training/applied-steps/timed-by-job"
BY_HOST = "token/training/applied-steps/timed-here"

_PRECISIONS = get_args(Precision)
SCALED = "fp16"
"""The precision at which the loss is scaled, and steps whose gradients overflow are skipped."""

_LEAST_WARM_UP = 5
_LEAST_STEPS = 20


def require_measurable(plan: TrainingPlan) -> None:
    """Raise OutOfRange for a plan that cannot be measured as it stands."""
    allowed = {
        f"a global batch of {plan.global_batch}: 1 or more": plan.global_batch >= 1,
        f"a sequence length of {plan.sequence_length}: 1 or more": plan.sequence_length >= 1,
        f"{plan.warm_up_steps} warm-up steps: 0 or more": plan.warm_up_steps >= 0,
        f"{plan.steps} steps: 1 or more": plan.steps >= 1,
        f"{plan.processors} processors: 1 or more": plan.processors >= 1,
        f"step_timeout {plan.step_timeout:g} s: above 0": plan.step_timeout > 0,
        f"outside {plan.outside:g}: 0 or more, and below 1": 0 <= plan.outside < 1,
        f"precision {plan.precision!r}: one of {', '.join(_PRECISIONS)}": plan.precision in (None, *_PRECISIONS),
        f"a peak of {plan.peak} FLOP/s: above 0": plan.peak is None or plan.peak > 0,
    }
    for what, right in allowed.items():
        if not right:
            raise OutOfRange(f"this cannot be measured: {what}")


def step_rate(span: Span, identity: Identity) -> StepRate:
    """Return the steps of a line as a reading; without a time of arrival its window ends now."""
    stop = span.end.here or Instant.now()
    start = Instant(stop.utc_ns - round(span.seconds * 1e9), stop.monotonic_ns - round(span.seconds * 1e9), stop.clock)
    window = Window(start, stop, f"steps {span.first + 1} to {span.last} by the job's own time")
    status = Status.VALID if span.tokens else Status.NO_DATA
    rate = Reading(
        value=span.tokens / span.seconds if span.tokens else None,
        unit="token/s",
        status=status,
        window=window,
        source=identity,
        channel=f"step {span.last}",
        resolution=span.tokens / span.seconds * 2 * span.half_width,
        raw=span.raw,
    )
    return StepRate(span.last, span.tokens, window, rate, span.loss)


def of_log(
    tally: Tally,
    spans: Sequence[Span],
    plan: TrainingPlan,
    *,
    identity: Identity,
    began: Instant,
    broken: tuple[str, ...],
    status: ValidityStatus,
    evidence: Mapping[str, Any],
) -> Measurement:
    """Return the measurement of the steps of a log; marked, with what there is, where it broke off.

    broken: why it did, empty if it did not; `status` then says whether by an error or by an abort.
    """
    tokens, seconds = sum(span.tokens for span in spans), sum(span.seconds for span in spans)
    clocks = clocks_of(spans)
    agreement, disagreeing, noticed = disagreement(clocks, seconds, plan.outside)
    untold = tally.untold(spans)
    hiding, taken = _hidden(tally, untold, plan)
    reasons = (*broken, *tally.objections, *tally.gaps(list(spans)), *hiding, *disagreeing)
    if spans and not tokens:
        reasons += ("none of the steps was applied",)
    value = tokens / seconds if tokens else None
    validity = Validity(status if broken else ValidityStatus.INVALID, reasons) if reasons else Validity()
    remarks = [*tally.remarks]
    if spans and not clocks:
        remarks.append("nothing but the job's own word for its times: the log has no time stamps and was not followed")
    remarks += noticed
    remarks += taken
    if any(span.last_step_only and span.steps > 1 for span in spans):
        remarks.append(f"only {len(spans)} of {sum(span.steps for span in spans)} steps were timed by the job")
    window = _window(spans, began)
    rates = {"tokens": tokens, "steps": sum(span.steps for span in spans), "seconds": seconds}
    return Measurement(
        quantity="training",
        definition=BY_JOB,
        value=value,
        unit="token/s",
        window=window,
        identity=identity,
        runs=tuple(_run(span, identity) for span in spans),
        components=_components(spans, seconds, agreement) if value is not None else (),
        settings=asdict(plan),
        evidence={
            **rates,
            **evidence,
            "clocks": {one.name: round(one.length, 6) for one in clocks},
            "skipped_steps_told": not untold,
            "outside_steps": agreement,
            "losses": [span.loss for span in spans],
            "remarks": [*remarks, *short(plan)],
            **work(plan, value),
        },
        validity=validity,
    )


def _hidden(tally: Tally, untold: Sequence[Span], plan: TrainingPlan) -> tuple[tuple[str, ...], list[str]]:
    """Return why the tokens may be of steps that were never applied, and what was taken for granted where they are not.

    untold: the steps of which the log does not say how many were skipped. A loss scaler skips any number of steps, up
    to all of them: without its word there is no bound for a budget.
    """
    if not untold:
        return (), []
    steps = f"how many of the steps from {untold[0].first + 1} to {untold[-1].last} its loss scaler skipped"
    if tally.overflowed or plan.precision == SCALED:
        why = "it skipped others" if tally.overflowed else f"at {SCALED} a step whose gradients overflow is skipped"
        return (f"the log of {tally.format.title} does not say {steps}: {why}, and their tokens would count",), []
    if plan.precision is None:
        return (f"the log of {tally.format.title} does not say {steps}, nor the plan in what precision it trains",), []
    return (), [f"that no step was skipped follows from the precision of the plan alone, {plan.precision}"]


def short(plan: TrainingPlan) -> list[str]:
    """Return what a reader must know of a plan that is short."""
    found = []
    if plan.warm_up_steps < _LEAST_WARM_UP:
        found.append(f"{plan.warm_up_steps} warm-up steps are few: {_LEAST_WARM_UP} or more let a job settle")
    if plan.steps < _LEAST_STEPS:
        found.append(f"a window of {plan.steps} steps is short: the times of single steps scatter")
    return found


def work(plan: TrainingPlan, value: float | None, flop_per_token: float | None = None) -> dict[str, Any]:
    """Return the FLOP-based figures, where the plan or the driver knows what a token takes; else nothing.

    Without flop_per_token, of 6 N for the plan's parameters, which leaves attention out.
    """
    model = "palm-6n-12lhqt/no-embed/no-causal"
    if flop_per_token is None and plan.parameters is not None:
        flop_per_token, model = 6.0 * plan.parameters, "6n/no-attention"
    if flop_per_token is None or value is None:
        return {}
    found: dict[str, Any] = {
        "flop_model": model,
        "flop_per_token": flop_per_token,
        "model_flop_rate": flop_per_token * value,
    }
    if plan.peak is not None:
        found["model_flop_utilisation"] = flop_per_token * value / plan.peak
    return found


def _run(span: Span, identity: Identity) -> Run:
    one = step_rate(span, identity)
    return Run(one.rate.value, one.window, used=True, evidence={"step": span.last, "tokens": span.tokens})


def _window(spans: Sequence[Span], began: Instant) -> Window:
    rule = "whole steps, by the job's own times"
    if spans and spans[0].begin.here is not None and spans[-1].end.here is not None:
        return Window(spans[0].begin.here, spans[-1].end.here, rule)
    return Window(began, Instant.now(), f"{rule}, read from its log in this time")


def _components(spans: Sequence[Span], seconds: float, agreement: float | None) -> tuple[Component, ...]:
    digits = sum(span.half_width * span.seconds for span in spans) / seconds
    stated = [
        (
            "time base of the job's host",
            UNKNOWN_RATE,
            "a host's clock of which nothing is known: slewed by at most 500 ppm",
        ),
        ("digits of the log", digits, "half of the last digit that the log writes, for every line alike"),
    ]
    if agreement is not None:
        stated.append(
            ("agreement with another clock", abs(agreement), "measured: the steps' times against arrival or stamps")
        )
    return tuple(
        Component(name, "B", "1", source, half_width=size, relative=True, distribution="rectangular")
        for name, size, source in stated
    )
