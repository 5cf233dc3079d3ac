"""A job that is followed by its log: the driver's token/s is what the job did, and what a log hides is found."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.training._log_address import place_of
from aicalib_hw.instruments.training.log import TrainingLog

from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    DeadlineExceeded,
    NotPermitted,
    OutOfRange,
    ProtocolError,
    UsageError,
)
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.readings import Measurement, ValidityStatus

from .jobs import BATCH, FORMS, LENGTH, PLAN, Job, kept, megatron


def address(path: Path, framework: str = "megatron", **options: object) -> str:
    return f"log://{path}?framework={framework}" + "".join(f"&{name}={value}" for name, value in options.items())


def planned(**changed: Any) -> TrainingPlan:
    return dataclasses.replace(PLAN, **changed)


def followed(job: Job, framework: str = "megatron", plan: TrainingPlan = PLAN, **options: object) -> Measurement:
    with job, TrainingLog(address(job.path, framework, **options)) as log:
        return log.measure_tokens(plan)


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def steps(count: int, *, pace: float = 0.5, **said: Any) -> list[str]:
    return [megatron(step, pace, stamp=False, **said) for step in range(1, count + 1)]


def read(path: Path, *lines: str, plan: TrainingPlan = PLAN) -> Measurement:
    """Measure the steps that a log holds already."""
    with TrainingLog(address(written(path, *lines), **{"from": "start"})) as log:
        return log.measure_tokens(plan)


@pytest.mark.parametrize("framework", sorted(FORMS))
def test_token_per_second_is_what_the_job_counted_itself_within_half_a_per_cent(framework: str, tmp_path: Path) -> None:
    job = Job(tmp_path / "train.log", FORMS[framework])
    # Whether lines come late on this host is another question.
    result = followed(job, framework, planned(processors=8, outside=0.5))
    assert result.validity, result.validity.reasons
    last = [run.evidence["step"] for run in result.runs]
    assert len(last) == 10
    assert result.evidence["steps"] == 10
    assert result.value == pytest.approx(job.rate(last[0] - 1, last[-1]), rel=0.005)
    assert result.evidence["tokens"] == 10 * BATCH * LENGTH
    assert result.definition == "token/training/applied-steps/timed-by-job"
    assert not result.identity.simulated
    assert result.window.duration == pytest.approx(result.evidence["seconds"], abs=0.1)


def test_steps_that_were_there_before_and_the_warm_up_are_not_in_the_window(tmp_path: Path) -> None:
    path = written(tmp_path / "train.log", *steps(100))
    job = Job(path, first=101)
    result = followed(job)
    assert result.validity, result.validity.reasons
    assert result.runs[0].evidence["step"] >= 104


def test_two_measurements_in_a_row_take_steps_of_their_own(tmp_path: Path) -> None:
    job = Job(tmp_path / "train.log")
    with job, TrainingLog(address(job.path)) as log:
        first, second = log.measure_tokens(PLAN), log.measure_tokens(PLAN)
    seen = [{run.evidence["step"] for run in one.runs} for one in (first, second)]
    assert not seen[0] & seen[1]
    assert second.validity, second.validity.reasons


def test_steps_that_came_while_nobody_looked_are_not_timed_by_when_they_were_found(tmp_path: Path) -> None:
    job = Job(tmp_path / "train.log")
    with job, TrainingLog(address(job.path)) as log:
        first = log.measure_tokens(PLAN)
        time.sleep(0.6)
        second = log.measure_tokens(PLAN)
    assert second.validity, second.validity.reasons
    assert second.runs[0].evidence["step"] > first.runs[-1].evidence["step"] + 5


def test_a_log_that_is_read_afterwards_has_nothing_but_the_jobs_own_word_and_says_so(tmp_path: Path) -> None:
    result = read(tmp_path / "train.log", *steps(20))
    assert result.validity, result.validity.reasons
    assert result.value == pytest.approx(BATCH * LENGTH / 0.5, rel=1e-9)
    assert any("own word" in remark for remark in result.evidence["remarks"])


def test_time_stamps_of_the_log_are_held_against_the_jobs_times(tmp_path: Path) -> None:
    def stamped(every: float) -> list[str]:
        begin = 1_777_386_225.0
        when = [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(begin + step * every)) for step in range(1, 21)]
        return [f" [{at}]{line}" for at, line in zip(when, steps(20, pace=60.0), strict=True)]

    good = read(tmp_path / "good.log", *stamped(60.0))
    assert good.validity, good.validity.reasons
    assert good.evidence["clocks"] == {"time stamps of the log": 600.0}
    slow = read(tmp_path / "slow.log", *stamped(66.0))
    assert slow.validity.status is ValidityStatus.INVALID
    assert "between the steps" in slow.validity.reasons[0]
    assert slow.value is not None


def test_waiting_between_the_steps_that_the_job_does_not_time_makes_it_invalid(tmp_path: Path) -> None:
    path = tmp_path / "train.log"

    def claims_less(step: int, seconds: float, **said: Any) -> str:
        return megatron(step, 0.5 * seconds, stamp=False)

    result = followed(Job(path, claims_less))
    assert result.validity.status is ValidityStatus.INVALID
    assert "not in the job's times" in result.validity.reasons[0]
    allowed = followed(Job(tmp_path / "allowed.log", claims_less), plan=planned(outside=0.99))
    assert allowed.validity, allowed.validity.reasons
    (component,) = [one for one in allowed.components if one.name == "agreement with another clock"]
    assert component.half_width == pytest.approx(1.0, abs=0.2)


def test_seconds_taken_for_milliseconds_do_not_pass(tmp_path: Path) -> None:
    def in_seconds(step: int, seconds: float, **said: Any) -> str:
        return megatron(step, 1000 * seconds, stamp=False)

    result = followed(Job(tmp_path / "train.log", in_seconds))
    assert result.validity.status is ValidityStatus.INVALID
    assert "another unit" in result.validity.reasons[0]


def test_the_rate_of_one_device_taken_for_all_does_not_pass(tmp_path: Path) -> None:
    result = followed(Job(tmp_path / "train.log", FORMS["torchtitan"]), "torchtitan", planned(processors=1))
    assert result.validity.status is ValidityStatus.INVALID
    assert "number of processors" in result.validity.reasons[0]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"batch": 128}, "global batch of 128"),
        ({"nan": 1}, "not finite"),
        ({"skipped": 3}, "3 skipped steps among 1"),
    ],
)
def test_what_the_log_says_against_the_plan_or_the_loss_makes_it_invalid(
    said: dict[str, Any], told: str, tmp_path: Path
) -> None:
    result = read(tmp_path / "train.log", *steps(20, **said))
    assert result.validity.status is ValidityStatus.INVALID
    assert any(told in reason for reason in result.validity.reasons)


def test_skipped_steps_take_time_and_give_no_tokens(tmp_path: Path) -> None:
    lines = [megatron(step, 0.5, stamp=False, skipped=step == 6) for step in range(1, 21)]
    result = read(tmp_path / "train.log", *lines)
    assert result.validity, result.validity.reasons
    assert result.evidence["tokens"] == 9 * BATCH * LENGTH
    assert result.value == pytest.approx(9 * BATCH * LENGTH / 5.0)
    assert any("skipped" in remark for remark in result.evidence["remarks"])


def without_skipped(lines: list[str]) -> list[str]:
    """The lines as forks write them, which leave out how many iterations were skipped."""
    return [line.partition(" number of skipped")[0] for line in lines]


def test_a_fork_that_does_not_tell_what_it_skipped_has_a_rate_where_nothing_is_and_none_at_fp16(tmp_path: Path) -> None:
    lines = without_skipped(steps(20))
    half = read(tmp_path / "fp16.log", *lines, plan=planned(precision="fp16"))
    assert half.validity.status is ValidityStatus.INVALID
    assert "does not say how many of the steps from 4 to 13" in half.validity.reasons[0]
    assert half.value == pytest.approx(BATCH * LENGTH / 0.5)
    unknown = read(tmp_path / "unknown.log", *lines, plan=planned(precision=None))
    assert "nor the plan in what precision" in unknown.validity.reasons[0]
    bf16 = read(tmp_path / "bf16.log", *lines)
    assert bf16.validity, bf16.validity.reasons
    assert any("follows from the precision of the plan alone, bf16" in remark for remark in bf16.evidence["remarks"])


@pytest.mark.parametrize(
    "overflow",
    [
        "[2023-04-28 06:51:30,648] [INFO] [loss_scaler.py:181:update_scale] [deepspeed] OVERFLOW! Rank 0 Skipping "
        "step. Attempted loss scale: 65536, reducing to 32768",
        "Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 32768.0",
    ],
)
def test_a_loss_scaler_that_shows_itself_is_believed_more_than_the_plan(overflow: str, tmp_path: Path) -> None:
    lines = [FORMS["nanogpt"](step, 0.5) for step in range(1, 20)]
    path = written(tmp_path / "train.log", overflow, *lines)
    with TrainingLog(address(path, "nanogpt", **{"from": "start"})) as log:
        result = log.measure_tokens(planned(precision="bf16"))
    assert result.validity.status is ValidityStatus.INVALID
    assert "it skipped others" in result.validity.reasons[0]


@pytest.mark.parametrize(("later", "valid"), [(3, True), (4, False)])
def test_what_deepspeed_skips_is_told_by_its_counts_before_and_after_where_none_stands_at_the_steps_themselves(
    later: int, valid: bool, tmp_path: Path
) -> None:
    lines = [FORMS["deepspeed"](step, 0.5).partition("] ")[2] for step in range(1, 31)]  # no stamps: it took no time
    for step, skipped in ((4, 3), (20, later)):
        told = f"[INFO] [logging.py:96:log_dist] [Rank 0] step={step}, skipped={skipped}, lr=[0.0003], mom=[]"
        lines[step - 1] = f"{told}\n{lines[step - 1]}"
    path = written(tmp_path / "train.log", *lines)
    with TrainingLog(address(path, "deepspeed", **{"from": "start"})) as log:
        result = log.measure_tokens(planned(precision="fp16", steps=15))
    assert [result.runs[0].evidence["step"], result.runs[-1].evidence["step"]] == [6, 20]
    assert bool(result.validity) is valid, result.validity.reasons
    assert result.evidence["skipped_steps_told"] is valid


def test_a_log_that_tells_no_skipped_steps_needs_the_precision_before_anything_is_measured(tmp_path: Path) -> None:
    lines = [FORMS["nanogpt"](step, 0.5) for step in range(1, 20)]
    path = written(tmp_path / "train.log", *lines)
    with TrainingLog(address(path, "nanogpt", **{"from": "start"})) as log:
        with pytest.raises(UsageError, match="whether all steps") as caught:
            log.measure_tokens(planned(precision=None))
        assert "bf16" in caught.value.advice
        with pytest.raises(OutOfRange, match="float16"):
            log.measure_tokens(planned(precision="float16"))
    assert read(tmp_path / "megatron.log", *steps(20), plan=planned(precision=None)).validity


def test_steps_of_which_none_was_applied_are_no_rate(tmp_path: Path) -> None:
    result = read(tmp_path / "train.log", *steps(20, skipped=1))
    assert result.value is None
    assert "none of the steps was applied" in result.validity.reasons


def test_sequences_that_do_not_add_up_are_told(tmp_path: Path) -> None:
    lines = [megatron(step, 0.5, stamp=False, samples=step * BATCH // 2) for step in range(1, 21)]
    result = read(tmp_path / "train.log", *lines)
    assert result.validity.status is ValidityStatus.INVALID
    assert any("sequences" in reason for reason in result.validity.reasons)


def test_lines_that_sum_up_several_steps_count_all_of_them_and_a_missing_line_is_told(tmp_path: Path) -> None:
    every_ten = [megatron(step, 0.5, stamp=False) for step in range(10, 210, 10)]
    result = read(tmp_path / "train.log", *every_ten, plan=planned(steps=50))
    assert result.validity, result.validity.reasons
    assert (result.evidence["steps"], result.evidence["tokens"]) == (50, 50 * BATCH * LENGTH)
    del every_ten[4]
    broken = read(tmp_path / "broken.log", *every_ten, plan=planned(steps=50))
    assert any("missing between steps 40 and 60" in reason for reason in broken.validity.reasons)


def test_a_step_that_several_processes_log_counts_once(tmp_path: Path) -> None:
    lines = [line for line in steps(20) for _ in range(2)]
    result = read(tmp_path / "train.log", *lines)
    assert result.validity, result.validity.reasons
    assert result.value == pytest.approx(BATCH * LENGTH / 0.5)
    assert any("several processes" in remark for remark in result.evidence["remarks"])


def test_a_job_that_began_again_from_a_checkpoint_keeps_what_it_had_and_is_marked(tmp_path: Path) -> None:
    result = kept(lambda: read(tmp_path / "train.log", *steps(8), *steps(8)[4:]), ProtocolError)
    assert result.validity.status is ValidityStatus.ERROR
    assert "goes back from step 8 to step 5" in result.validity.reasons[0]
    assert [run.evidence["step"] for run in result.runs] == [4, 5, 6, 7, 8]


def test_a_log_that_changes_its_form_keeps_what_came_before_and_is_marked(tmp_path: Path) -> None:
    shortened = [line.replace("elapsed time per iteration (ms)", "elapsed") for line in steps(20)]
    result = kept(lambda: read(tmp_path / "train.log", *steps(20)[:8], *shortened[8:]), ProtocolError)
    assert result.validity.status is ValidityStatus.ERROR
    assert "does not say what it should" in result.validity.reasons[0]
    assert (result.evidence["steps"], result.value) == (5, pytest.approx(BATCH * LENGTH / 0.5))


def test_a_log_that_goes_on_as_another_frameworks_is_told_by_its_name(tmp_path: Path) -> None:
    others = [FORMS["nanogpt"](step, 0.5) for step in range(9, 60)]
    result = kept(lambda: read(tmp_path / "train.log", *steps(20)[:8], *others), ProtocolError)
    assert result.validity.status is ValidityStatus.ERROR
    assert "the log is of nanoGPT" in result.validity.reasons[0]
    with pytest.raises(ProtocolError, match="of nanoGPT") as caught:
        read(tmp_path / "other.log", *others)
    assert caught.value.advice == "framework=nanogpt"


def test_a_job_that_never_logs_is_an_error_that_shows_what_it_wrote_instead(tmp_path: Path) -> None:
    path = written(tmp_path / "train.log", "loading the data", "Traceback: no data")
    with TrainingLog(address(path, **{"from": "start"})) as log, pytest.raises(DeadlineExceeded) as caught:
        log.measure_tokens(planned(step_timeout=0.3))
    assert "no data" in caught.value.why


def test_a_job_that_hangs_after_some_steps_keeps_them_and_is_marked(tmp_path: Path) -> None:
    result = kept(
        lambda: followed(Job(tmp_path / "train.log", steps=8), plan=planned(step_timeout=0.5)), DeadlineExceeded
    )
    assert result.validity.status is ValidityStatus.ERROR
    assert "no step was logged for 0.5 s" in result.validity.reasons[0]
    assert 0 < result.evidence["steps"] < 10


def test_a_log_that_is_replaced_or_cut_off_is_followed_on(tmp_path: Path) -> None:
    path = tmp_path / "train.log"

    def rotate(step: int, job: Job) -> None:
        if step == 8:
            path.rename(tmp_path / "train.log.1")
        if step == 12:
            os.truncate(path, 0)

    result = followed(Job(path, act=rotate), plan=planned(steps=16))
    remarks = " ".join(result.evidence["remarks"])
    assert "replaced" in remarks
    if result.validity:  # the line before the cut was read in time
        assert result.evidence["steps"] == 16
    else:
        assert "missing" in result.validity.reasons[0]


def test_half_a_line_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "train.log"

    def in_two(step: int, job: Job) -> None:
        if step == 6:
            job.write(" [2026-01-01 00:00:00.0] iteration  ")
            time.sleep(0.1)

    def with_rest(step: int, seconds: float, **said: Any) -> str:
        line = megatron(step, seconds, stamp=False)
        return line.replace(" iteration", "", 1) if step == 6 else line

    result = followed(Job(path, with_rest, act=in_two))
    assert result.validity, result.validity.reasons
    assert 6 in [run.evidence["step"] for run in result.runs]


def test_the_jobs_own_arguments_are_held_against_the_plan(tmp_path: Path) -> None:
    head = ["------------------------ arguments ------------------------", "  seq_length ............ 2048"]
    result = read(tmp_path / "train.log", *head, *steps(20))
    assert any("seq_length 2048" in reason for reason in result.validity.reasons)
    lines = [FORMS["nanogpt"](step, 0.5) for step in range(1, 20)]
    path = written(tmp_path / "gpt.log", "tokens per iteration will be: 491,520", *lines)
    with TrainingLog(address(path, "nanogpt", **{"from": "start"})) as log:
        other = log.measure_tokens(PLAN)
    assert any("491520 tokens" in reason for reason in other.validity.reasons)


def test_tokens_that_are_no_whole_steps_of_the_plan_are_told(tmp_path: Path) -> None:
    def record(step: int, tokens: int) -> str:
        return (
            f"{{'loss': '7.6', 'learning_rate': '3e-05', 'epoch': '0.1', 'num_input_tokens_seen': {step * tokens}, "
            f"'train_runtime': '{1 + 0.5 * step:.4f}', 'train_tokens_per_second': '6439'}}"
        )

    def measured(tokens: int) -> Measurement:
        path = written(tmp_path / f"{tokens}.log", *(record(step, tokens) for step in range(1, 20)))
        with TrainingLog(address(path, "huggingface", **{"from": "start"})) as log:
            return log.measure_tokens(PLAN)

    whole, padded = measured(BATCH * LENGTH), measured(BATCH * LENGTH - 100)
    assert whole.validity, whole.validity.reasons
    assert whole.value == pytest.approx(BATCH * LENGTH / 0.5)
    assert any("no whole steps" in reason for reason in padded.validity.reasons)
    assert padded.value == pytest.approx((BATCH * LENGTH - 100) / 0.5)


def test_a_job_that_introduces_itself_as_simulated_is_so_in_its_identity(tmp_path: Path) -> None:
    path = written(tmp_path / "train.log", "  build ........ SIM-7.1", *steps(3))
    with TrainingLog(address(path)) as log:
        assert log.identity.simulated
    with TrainingLog(address(written(tmp_path / "real.log", "version: SIMD 4", *steps(3)))) as log:
        assert not log.identity.simulated


def test_a_stream_gives_every_step_as_it_ends_until_it_is_closed(tmp_path: Path) -> None:
    job = Job(tmp_path / "train.log")
    with job, TrainingLog(address(job.path, global_batch=BATCH, sequence_length=LENGTH)) as log:
        seen = list(itertools.islice(log.stream(), 5))
        timed = list(log.stream(duration=0.3))
    numbers = [one.step for one in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert all(one.tokens == BATCH * LENGTH and one.loss for one in seen)
    assert float(seen[2].rate) == pytest.approx(job.rate(numbers[1], numbers[2]), rel=0.005)
    assert 1 <= len(timed) <= 9
    with TrainingLog(address(job.path)) as log, pytest.raises(UsageError, match="told in tokens"):
        next(iter(log.stream()))


@pytest.mark.alone
def test_an_abort_from_another_thread_ends_it_within_a_second_and_keeps_the_steps(tmp_path: Path) -> None:
    job = Job(tmp_path / "train.log")
    with job, TrainingLog(address(job.path)) as log:
        asked: list[float] = []

        def abort() -> None:
            asked.append(time.monotonic())
            log.abort()

        threading.Timer(0.8, abort).start()
        result = kept(lambda: log.measure_tokens(planned(steps=10_000)), Aborted)
        assert time.monotonic() - asked[0] < 1.0
        assert result.validity.status is ValidityStatus.ABORTED
        assert result.runs
        threading.Timer(0.2, log.abort).start()
        with pytest.raises(Aborted):
            log.measure_tokens(planned(warm_up_steps=10_000))


def test_a_log_that_is_not_there_or_may_not_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="no log"):
        TrainingLog(address(tmp_path / "none.log")).open()
    with pytest.raises(ConnectionFailed):
        TrainingLog(address(tmp_path)).open()
    if os.geteuid() != 0:
        path = written(tmp_path / "train.log")
        path.chmod(0)
        with pytest.raises(NotPermitted):
            TrainingLog(address(path)).open()


@pytest.mark.parametrize(
    "wrong",
    [
        "log:///x",
        "log:///x?framework=keras",
        "log:///x?framework=megatron&from=middle",
        "log:///x?framework=megatron&global_batch=0",
        "log:///x?framework=megatron&global_batch=many",
        "log:///x?framework=megatron&colour=red",
        "log://host/x?framework=megatron",
        "log:x?framework=megatron",
    ],
)
def test_an_address_that_says_something_else_is_refused_before_anything_is_done(wrong: str) -> None:
    with pytest.raises(UsageError):
        place_of(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"global_batch": 0},
        {"sequence_length": 0},
        {"steps": 0},
        {"warm_up_steps": -1},
        {"processors": 0},
        {"step_timeout": 0.0},
        {"outside": 1.0},
        {"peak": 0.0},
    ],
)
def test_a_plan_that_cannot_be_measured_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with TrainingLog(address(written(tmp_path / "train.log"))) as log, pytest.raises(OutOfRange):
        log.measure_tokens(planned(**wrong))


def test_a_plan_that_contradicts_the_address_is_refused(tmp_path: Path) -> None:
    with TrainingLog(address(written(tmp_path / "train.log"), global_batch=8)) as log, pytest.raises(UsageError):
        log.measure_tokens(PLAN)


def test_model_flop_utilisation_is_of_the_peak_that_the_plan_states(tmp_path: Path) -> None:
    plan = planned(parameters=1_000_000, peak=50e12)
    result = read(tmp_path / "train.log", *steps(20), plan=plan)
    rate = 6e6 * BATCH * LENGTH / 0.5
    assert result.evidence["model_flop_rate"] == pytest.approx(rate)
    assert result.evidence["model_flop_utilisation"] == pytest.approx(rate / 50e12)
    assert result.evidence["flop_model"] == "6n/no-attention"
