"""From a window of our own run to token/s: of all ranks together, and everything that would speak against it."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aicalib_hw.errors import Aborted, InstrumentError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.metrology.clocks import clock_evidence, time_base
from aicalib_hw.readings import Component, Instant, Measurement, Run, Validity, ValidityStatus, Window

from ._evaluation import BY_HOST, short, work
from ._torch_address import Shape

_RULE = "whole steps of all processes, from barrier to barrier"
_COUNTER_AGREES = 0.01
_ARRIVAL = 0.5
"""s by which a line may arrive later than its step ended on a host that is busy training."""


def of_window(
    shape: Shape,
    plan: TrainingPlan,
    identity: Identity,
    ready: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]],
    said: Mapping[str, Any],
) -> Measurement:
    """Return the measurement of a window that came to its end. steps: as they were told; said: of the window."""
    window = Window(Instant.at_monotonic(said["began_ns"]), Instant.at_monotonic(said["ended_ns"]), _RULE)
    seconds = said["longest_ns"] / 1e9
    tokens = plan.steps * plan.global_batch * plan.sequence_length
    value = tokens / seconds
    inside = [one for one in steps if one["step"] > said["first"]]
    reasons = (*_objections(plan, shape, ready, said, tokens), *_late(inside, said, plan))
    flop = ready["flop"]
    figures = work(plan, value, flop["formula"])
    remarks = [*short(plan), *_remarks(flop, said, ready["words"])]
    if abs(flop["counted"] / flop["formula"] - 1) > _COUNTER_AGREES:
        figures.pop("model_flop_utilisation", None)
    return Measurement(
        quantity="training",
        definition=BY_HOST,
        value=value,
        unit="token/s",
        window=window,
        identity=identity,
        runs=_runs(inside, said["began_ns"], plan),
        components=_components(said),
        settings=_settings(plan, shape),
        evidence={
            "tokens": tokens,
            "tokens_counted": said["tokens"],
            "steps": said["last"] - said["first"],
            "seconds": seconds,
            "shortest_seconds": said["shortest_ns"] / 1e9,
            "losses": said["losses"],
            "loss_on_kept_sequences": [ready["probe"], said["probe"]],
            "gradient_norms": said["gradient_norms"],
            "step_time_variation": _variation(inside, said["began_ns"]),
            "parameters": ready["parameters"],
            "parameters_in_products": ready["in_products"],
            "flop_per_token_counted": flop["counted"],
            "versions": ready["versions"],
            "remarks": remarks,
            **figures,
        },
        validity=Validity(ValidityStatus.INVALID, reasons) if reasons else Validity(),
    )


def broken_off(
    shape: Shape, plan: TrainingPlan, identity: Identity, steps: Sequence[Mapping[str, Any]], error: InstrumentError
) -> Measurement:
    """Return what there is of a window that did not come to its end: the steps after the warm-up, marked."""
    status = ValidityStatus.ABORTED if isinstance(error, Aborted) else ValidityStatus.ERROR
    after = [one for one in steps if one["step"] > plan.warm_up_steps]
    known, rest = (after[0], after[1:]) if after else (steps[-1], [])
    begin = known["ended_ns"]
    end = rest[-1]["ended_ns"] if rest else begin
    tokens = len(rest) * plan.global_batch * plan.sequence_length
    return Measurement(
        quantity="training",
        definition=BY_HOST,
        value=1e9 * tokens / (end - begin) if rest else None,
        unit="token/s",
        window=Window(Instant.at_monotonic(begin), Instant.at_monotonic(end), f"{_RULE}, broken off"),
        identity=identity,
        runs=_runs(rest, begin, plan),
        settings=_settings(plan, shape),
        evidence={"steps": len(rest), "tokens": tokens, "losses": [one["loss"] for one in rest], "remarks": []},
        validity=Validity(status, (": ".join(part for part in (error.what, error.why) if part),)),
    )


def _settings(plan: TrainingPlan, shape: Shape) -> dict[str, Any]:
    """The model and how it is shared, by the address, and all else by the plan, batch and length among it."""
    return {**asdict(shape), **asdict(plan), "processors": shape.processes}


def _objections(
    plan: TrainingPlan, shape: Shape, ready: Mapping[str, Any], said: Mapping[str, Any], tokens: int
) -> tuple[str, ...]:
    found = []
    if ready["world"] != shape.processes:
        found.append(f"{ready['world']} processes trained, and {shape.processes} were asked for")
    if said["tokens"] != tokens or said["last"] - said["first"] != plan.steps:
        found.append(f"{said['tokens']} tokens went into the model, and {tokens} make {plan.steps} steps")
    if not all(math.isfinite(one) for one in (*said["losses"], *said["gradient_norms"])):
        found.append("loss or gradient is not finite")
    elif min(said["gradient_norms"]) <= 0:
        found.append("a step had no gradient")
    elif not said["probe"] < ready["probe"]:
        found.append(f"nothing is learnt: a loss of {ready['probe']:.4f} at first, and of {said['probe']:.4f} now")
    if any(before == after for before, after in zip(said["weights_before"], said["weights_after"], strict=True)):
        found.append("the steps changed no weights")
    if shape.strategy == "ddp" and len(set(said["weights_after"])) > 1:
        found.append("the processes do not hold the same weights: they did not train together")
    return tuple(found)


def _late(inside: Sequence[Mapping[str, Any]], said: Mapping[str, Any], plan: TrainingPlan) -> tuple[str, ...]:
    """Hold the stamps of the run against the arrival of its lines here."""
    if len(inside) < 2:
        return ()
    here = inside[-1]["here"].seconds_since(inside[0]["here"])
    there = (inside[-1]["ended_ns"] - inside[0]["ended_ns"]) / 1e9
    if abs(here - there) <= plan.outside * there + _ARRIVAL:
        return ()
    return (f"between the first and the last step of the window {there:.3f} s passed there, and {here:.3f} s here",)


def _remarks(flop: Mapping[str, float], said: Mapping[str, Any], words: int) -> list[str]:
    found = []
    ratio = flop["counted"] / flop["formula"]
    if abs(ratio - 1) > _COUNTER_AGREES:
        found.append(f"torch counts {ratio:.4f} of the FLOP per token that the formula gives; no utilisation is stated")
    if said["probe"] >= math.log(words):
        found.append("the loss is still above that of guessing: it falls, and the steps are few")
    return found


def _runs(steps: Sequence[Mapping[str, Any]], began: int, plan: TrainingPlan) -> tuple[Run, ...]:
    tokens = plan.global_batch * plan.sequence_length
    found = []
    for one in steps:
        ended = one["ended_ns"]
        window = Window(Instant.at_monotonic(began), Instant.at_monotonic(ended), "one step, by the clock of rank 0")
        evidence = {"step": one["step"], "tokens": tokens, "loss": one["loss"]}
        found.append(Run(1e9 * tokens / (ended - began), window, evidence=evidence))
        began = ended
    return tuple(found)


def _variation(steps: Sequence[Mapping[str, Any]], began: int) -> float | None:
    """Standard deviation of the time of a step over its mean; None for fewer than two."""
    stamps = [began, *(one["ended_ns"] for one in steps)]
    times = [after - before for before, after in itertools.pairwise(stamps)]
    return statistics.stdev(times) / statistics.fmean(times) if len(times) > 1 else None


def _components(said: Mapping[str, Any]) -> tuple[Component, ...]:
    apart = (said["longest_ns"] - said["shortest_ns"]) / said["longest_ns"]
    source = "measured: longest against shortest window of the processes"
    ends = Component("ends of the window", "B", "1", source, half_width=apart, relative=True)
    return time_base(clock_evidence()), ends
