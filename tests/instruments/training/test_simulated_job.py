"""The driver against the simulated job, which shares no code with it: token/s is the truth's, and faults are found."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aicalib_hw.instruments.training.log import TrainingLog

from aicalib_hw.errors import DeadlineExceeded, ProtocolError
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.readings import Measurement, ValidityStatus
from tests.simulators.jobs import settled

from .jobs import kept

LATE: dict[str, Any] = {"outside": 0.5}
"""Lines may come late on a busy host, which is no fault of the job: where another clock is not what is tested."""

BREAK = {"restart": ProtocolError, "stall": DeadlineExceeded, "dies": DeadlineExceeded}
FRAMEWORKS = ("megatron", "torchtitan", "deepspeed", "nanogpt", "huggingface")


def measured(job: Any, fault: dict[str, Any] | None = None, **changed: Any) -> Measurement:
    told = job.options
    stated = {"warm_up_steps": 3, "steps": 20, "processors": told.devices, "step_timeout": 1.5}
    stated |= {"precision": "bf16", **changed}
    with TrainingLog(job.address) as log:
        if fault is not None:
            job.inject({"count": 1, "after": 10, **fault})
        return log.measure_tokens(TrainingPlan(told.global_batch, told.sequence_length, **stated))


def true_rate(job: Any, result: Measurement, *, from_0: bool = False) -> float:
    last = int(result.runs[-1].evidence["step"]) + from_0
    return float(job.truth.rate(last - result.evidence["steps"] + 1, last))


def each_of(kinds: tuple[str, ...], act: Callable[[str], Any]) -> dict[str, Any]:
    """Do the same with a job of each kind, at the same time, as it is mostly waiting for steps; what came of each."""
    with ThreadPoolExecutor(len(kinds)) as pool:
        return dict(zip(kinds, pool.map(act, kinds), strict=True))


@pytest.mark.parametrize("interval", [1, 5])
def test_token_per_second_is_the_truth_within_half_a_per_cent_and_never_passes_for_real(interval: int) -> None:
    def act(framework: str) -> tuple[Measurement, float]:
        with settled(framework=framework, log_interval=interval, step_noise=0.001) as job:
            result = measured(job, **LATE)
            return result, true_rate(job, result, from_0=framework == "nanogpt")

    for framework, (result, true) in each_of(FRAMEWORKS, act).items():
        assert result.validity, (framework, result.validity.reasons)
        assert result.value == pytest.approx(true, rel=0.005), framework
        assert result.identity.simulated, framework
        assert result.evidence["steps"] == 20, framework


def test_other_styles_of_megatron_are_read_as_well() -> None:
    def act(style: str) -> tuple[Measurement, float]:
        with settled(style=style, step_noise=0.001) as job:
            result = measured(job, **LATE)
            return result, true_rate(job, result)

    for style, (result, true) in each_of(("old", "primus"), act).items():
        assert result.validity, (style, result.validity.reasons)
        assert result.value == pytest.approx(true, rel=0.005), style


def test_what_passes_between_the_steps_that_the_job_times_is_found() -> None:
    between: dict[str, dict[str, Any]] = {
        "evaluation": {"framework": "megatron", "evaluate_every": 5},
        "checkpoints": {"framework": "megatron", "checkpoint_every": 5},
        "data": {"framework": "deepspeed", "data_time": 0.5},
    }

    def act(kind: str) -> Measurement:
        with settled(**between[kind]) as job:
            return measured(job)

    for kind, result in each_of(tuple(between), act).items():
        assert result.validity.status is ValidityStatus.INVALID, kind
        assert "not in the job's times" in result.validity.reasons[0], kind


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kind": "nan"}, "not finite"),
        ({"kind": "gain", "amount": 1.3}, "own times"),
        ({"kind": "garble"}, "missing between"),
        ({"kind": "restart"}, "goes back"),
        ({"kind": "stall", "amount": 60.0}, "no step was logged"),
        ({"kind": "dies"}, "no step was logged"),
    ],
    ids=lambda one: one["kind"] if isinstance(one, dict) else "",
)
def test_a_fault_that_spoils_the_number_marks_it_and_keeps_its_steps(fault: dict[str, Any], told: str) -> None:
    def act(framework: str) -> Measurement:
        with settled(framework=framework) as job:
            error = BREAK.get(fault["kind"])
            return measured(job, fault) if error is None else kept(lambda: measured(job, fault), error)

    for framework, result in each_of(("megatron", "huggingface"), act).items():
        assert not result.validity, framework
        assert told in result.validity.reasons[0], framework
        assert result.runs, framework


def test_a_fault_that_the_log_can_tell_changes_nothing_of_the_number() -> None:
    def act(kind: str) -> tuple[Measurement, float]:
        with settled(step_noise=0.001) as job:
            result = measured(job, {"kind": kind}, **LATE)
            return result, true_rate(job, result)

    for kind, (result, true) in each_of(("half_line", "repeated", "rotated", "skipped"), act).items():
        assert result.validity, (kind, result.validity.reasons)
        assert result.value == pytest.approx(true, rel=0.005), kind


def test_a_log_that_is_cut_off_loses_nothing_that_was_read_in_time_and_says_what_was_not() -> None:
    with settled(step_noise=0.001) as job:
        result = measured(job, {"kind": "truncated"}, **LATE)
        true = true_rate(job, result)
    if result.validity:
        assert result.value == pytest.approx(true, rel=0.005)
    else:  # on a busy host the line before the cut may be gone before anyone looks
        assert "missing between" in result.validity.reasons[0]
    assert any("cut off" in remark for remark in result.evidence["remarks"])


def test_steps_that_deepspeed_skipped_do_not_count() -> None:
    with settled(framework="deepspeed", step_noise=0.001) as job:
        result = measured(job, {"kind": "skipped", "after": 12, "count": 4}, precision="fp16", **LATE)
        assert result.validity, result.validity.reasons
        assert result.evidence["skipped_steps_told"]
        assert any("skipped" in remark for remark in result.evidence["remarks"])
        assert result.value == pytest.approx(true_rate(job, result), rel=0.005)


def test_steps_that_no_line_tells_were_skipped_make_the_rate_of_fp16_invalid_and_too_high() -> None:
    def act(framework: str) -> tuple[Measurement, float]:
        with settled(framework=framework, step_noise=0.001) as job:
            result = measured(job, {"kind": "skipped", "after": 12, "count": 4}, precision="fp16", **LATE)
            return result, true_rate(job, result, from_0=framework == "nanogpt")

    for framework, (result, true) in each_of(("torchtitan", "nanogpt", "huggingface"), act).items():
        assert result.validity.status is ValidityStatus.INVALID, framework
        assert "its loss scaler skipped" in result.validity.reasons[0], framework
        assert not result.evidence["skipped_steps_told"], framework
        assert result.value is not None, framework
        assert result.value > 1.1 * true, framework


def test_a_trainer_that_was_not_asked_to_count_tokens_is_told_how_to() -> None:
    with (
        settled(framework="huggingface", tokens_seen=False) as job,
        pytest.raises(ProtocolError, match="does not say") as caught,
    ):
        measured(job)
    assert "include_num_input_tokens_seen" in caught.value.why


def test_lines_that_are_held_back_are_judged_by_their_stamps_and_remarked() -> None:
    with settled(step_noise=0.001) as job:
        result = measured(job, {"kind": "buffered", "amount": 10})
        assert result.validity, result.validity.reasons
        assert result.value == pytest.approx(true_rate(job, result), rel=0.005)
    assert any("held back" in remark for remark in result.evidence["remarks"])
