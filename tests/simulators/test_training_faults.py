"""What happens to a simulated training job and its log, and what its world has of it."""

from __future__ import annotations

import ast
import math
from itertools import pairwise
from typing import Any

import parse  # type: ignore[import-untyped]
import pytest
from aicalib_hw.simulators.training.job import Options
from aicalib_hw.simulators.training.schedule import Job
from aicalib_hw.simulators.world.faults import FaultPlan
from hypothesis import given, settings
from hypothesis import strategies as st

from aicalib_hw.errors import UsageError

from .jobs import trained
from .test_training import lines, run, text
from .wired import STEADY

PLAIN: dict[str, Any] = {"step_noise": 0.0, "warm_up_steps": 0}


def numbers(job: Any) -> list[int]:
    return [parse.search("iteration {:>d}/", line)[0] for line in lines(job, "elapsed time")]


def test_after_a_restart_numbers_go_back_and_the_lost_steps_are_not_in_the_model() -> None:
    with trained(**PLAIN, checkpoint_every=4, checkpoint_time=0.0) as job:
        job.inject({"kind": "restart", "after": 6, "amount": 5.0})
        run(job, 20)
        assert numbers(job)[:12] == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9]
        assert len(lines(job, "end of arguments")) == 2
        assert lines(job, "successfully loaded checkpoint")[0].endswith("iteration 4")
        steps = job.truth.steps
        assert [step.number for step in steps if step.lost] == [5, 6, 7]
        assert {step.start for step in steps if step.number > 7} == {1}
        made = len(steps)
        assert job.truth.tokens == made * 65536
        assert job.truth.applied_tokens == (made - 3) * 65536
        consumed = [parse.search("consumed samples: {:>d} |", line)[0] for line in lines(job, "elapsed time")]
        assert consumed[6:9] == [7 * 16, 5 * 16, 6 * 16]


def test_deepspeed_counts_its_timer_anew_after_a_restart_and_its_steps_from_the_checkpoint() -> None:
    with trained(framework="deepspeed", **PLAIN, checkpoint_every=4, checkpoint_time=0.0) as job:
        job.inject({"kind": "restart", "after": 6})
        run(job, 16)
        steps = [parse.search("step={:d},", line)[0] for line in lines(job, "skipped=")]
        timed = [parse.search("global_step={:d},", line)[0] for line in lines(job, "timer.py")]
    assert steps[:11] == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8]
    assert timed[:8] == [3, 4, 5, 6, 7, 3, 4, 5]


def test_a_trainer_that_resumes_counts_tokens_on_and_times_anew() -> None:
    with trained(framework="huggingface", **PLAIN, checkpoint_every=4, checkpoint_time=0.0) as job:
        job.inject({"kind": "restart", "after": 6})
        run(job, 16)
        records = [ast.literal_eval(line) for line in lines(job, "num_input_tokens_seen")]
    resumed = records[7]
    assert resumed["num_input_tokens_seen"] == 5 * 65536
    assert float(resumed["train_runtime"]) == pytest.approx(1.0)
    assert float(resumed["train_tokens_per_second"]) == pytest.approx(65536, rel=1e-3)


def test_torchtitan_writes_its_checkpoint_before_it_evaluates() -> None:
    with trained(framework="torchtitan", **PLAIN, checkpoint_every=5, evaluate_every=5, log_interval=5) as job:
        run(job, 20)
        written = text(job)
        found = [parse.search("tps: {}  tflops", line)[0] for line in lines(job, " INFO - step:")]
    assert written.index("Finished saving") < written.index("validate step:  5")
    assert found[2] == "8,192"  # neither of them is in the next interval


def test_the_first_steps_of_every_start_are_slow() -> None:
    with trained(step_noise=0.0, warm_up_steps=3, warm_up_factor=8.0) as job:
        job.inject({"kind": "restart", "after": 5})
        run(job, 50)
        for start in (0, 1):
            seconds = [step.seconds for step in job.truth.steps if step.start == start][:5]
            assert seconds[0] == pytest.approx(8.0)
            assert seconds[0] > seconds[1] > seconds[2] > seconds[3] == pytest.approx(1.0)


def test_skipped_steps_consume_samples_are_counted_and_train_nothing() -> None:
    with trained(**PLAIN, log_interval=5) as job:
        job.inject({"kind": "skipped", "after": 5, "count": 5})
        job.inject({"kind": "nan", "after": 12})
        run(job, 16)
        first, second, third = lines(job, "elapsed time")
        assert "skipped iterations:   0" in first
        assert "skipped iterations:   5" in second
        assert "lm loss" not in second
        assert "consumed samples:          160" in second
        assert "nan iterations:   1" in third
        assert math.isnan(float(parse.search("lm loss: {} |", third)[0]))
        assert job.truth.rate(1, 10) == pytest.approx(32768)
        assert job.truth.applied_tokens == job.truth.tokens - 5 * 65536


def test_a_stall_is_in_the_times_and_a_stepped_wall_clock_in_the_stamps_alone() -> None:
    with trained(**PLAIN) as job:
        job.inject({"kind": "stall", "after": 2, "amount": 2.5})
        job.inject({"kind": "clock_step", "after": 5, "amount": 3600.0})
        run(job, 12)
        found = lines(job, "elapsed time")
    times = [parse.search("(ms): {:f} |", line)[0] for line in found]
    assert times[:5] == [1000.0, 1000.0, 1000.0, 3500.0, 1000.0]  # the first step had begun before the fault was armed
    hours = [int(line.partition(":")[0][-2:]) for line in found]
    assert (hours[6] - hours[4]) % 24 in (1, 2)
    assert times[5:7] == [1000.0, 1000.0]


def test_times_can_be_logged_wrongly_while_the_truth_is_not() -> None:
    with trained(**PLAIN) as job:
        job.inject({"kind": "gain", "amount": 0.5})
        run(job, 5)
        assert "(ms): 500.0 " in lines(job, "elapsed time")[1]
        assert job.truth.rate(1, 4) == pytest.approx(65536)


def test_a_line_comes_in_halves_and_ends_with_the_next() -> None:
    with trained(**PLAIN) as job:
        run(job, 2.5)
        job.inject("half_line")
        run(job, 1)
        torn = text(job)
        run(job, 1)
        whole = text(job)
    assert not torn.endswith("\n")
    assert whole.startswith(torn)
    assert len([line for line in whole.splitlines() if line.endswith("nan iterations:   0 |")]) == 4


def test_lines_are_torn_repeated_and_unreadable_as_faults_say() -> None:
    with trained(**PLAIN, devices=4) as job:
        run(job, 1.5)
        job.inject("interleaved")
        run(job, 1)
        assert len(lines(job, "NCCL INFO")) == 1
        job.inject("repeated")
        run(job, 1)
        assert numbers(job).count(3) == 4
        job.inject("garble")
        run(job, 2)
        assert "\ufffd" in text(job)
        assert 5 in numbers(job)


def test_buffered_lines_come_together() -> None:
    with trained(**PLAIN) as job:
        job.inject({"kind": "buffered", "amount": 4})
        counts = []
        for _ in range(12):
            run(job, 1)
            counts.append(len(lines(job, "elapsed time")))
    assert set(counts) <= {0, 4, 8, 12}
    assert counts[-1] >= 8


@pytest.mark.parametrize("kind", ["rotated", "truncated"])
def test_a_file_that_begins_anew_loses_no_line_if_one_looks_at_both(kind: str) -> None:
    with trained(**PLAIN) as job:
        run(job, 3.5)
        inode = job.path.stat().st_ino
        job.inject(kind)
        run(job, 3)
        aside = job.path.with_name(job.path.name + ".1").read_text(encoding="utf-8")
        assert (job.path.stat().st_ino == inode) == (kind == "truncated")
        assert aside.count("elapsed time") == 3
        assert numbers(job) == [4, 5, 6]
        assert text(job).startswith("version: SIM")


def test_a_job_that_dies_says_nothing_any_more_and_loads_nothing() -> None:
    with trained(**PLAIN) as job:
        run(job, 3.5)
        assert job.world.truth.load > 0
        job.inject("dies")
        run(job, 5)
        assert job.finished
        assert numbers(job) == [1, 2, 3]
        assert job.world.truth.load == 0
        with pytest.raises(UsageError):
            job.inject("boredom")


def test_training_loads_the_platform_and_heat_slows_it() -> None:
    hot = {**STEADY, "ambient": 95.0, "heating": 0.0}
    with trained(**PLAIN, platform=STEADY, load=0.9) as job:
        run(job, 5)
        assert job.world.truth.load == pytest.approx(0.9)
        assert job.truth.rate(2, 4) == pytest.approx(65536)
    with trained(**PLAIN, platform=hot, load=0.9) as job:
        run(job, 8)
        assert job.truth.rate(2, 4) == pytest.approx(0.9 * 65536)
    with trained(**PLAIN, platform=hot, follows_platform=False) as job:
        run(job, 8)
        assert job.truth.rate(2, 4) == pytest.approx(65536)


def test_energy_rises_with_tokens_in_proportion() -> None:
    linear = {**STEADY, "efficiency": [1.0, 1.0, 1.0], "idle_power": 1000.0, "full_power": 3000.0}
    with trained(**PLAIN, platform=linear, load=0.5, data_time=0.0) as job:
        run(job, 1)
        marks = []
        for seconds in (10, 20):
            before, tokens = job.world.clock.now(), job.truth.tokens
            run(job, seconds)
            energy = job.world.truth.energy_between(before, job.world.clock.now()) - 1000.0 * seconds
            marks.append((energy, job.truth.tokens - tokens))
    for energy, tokens in marks:
        assert energy == pytest.approx(1000.0 * tokens / 65536, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(
    evaluate=st.integers(0, 5),
    checkpoint=st.integers(0, 5),
    restarts=st.lists(st.integers(0, 15), max_size=3),
    step=st.floats(0.1, 0.6),
)
def test_whatever_happens_every_step_counts_once_and_none_overlap(
    evaluate: int, checkpoint: int, restarts: list[int], step: float
) -> None:
    options = Options(
        steps=12,
        step_time=step,
        warm_up_steps=2,
        evaluate_every=evaluate,
        checkpoint_every=checkpoint,
    )
    plan = FaultPlan(1)
    for after in restarts:
        plan.inject({"kind": "restart", "after": after})
    job = Job(options, 1, plan.strikes, lambda: 1.0, 0.0)  # type: ignore[arg-type]
    moments = []
    while (moment := job.moment) is not None:
        moments.append(moment)
        job.take()
    assert moments == sorted(moments)
    assert [one.number for one in job.steps if not one.lost] == list(range(1, 13))
    assert all(one.ended <= other.began for one, other in pairwise(job.steps))
    assert job.consumed == 12 * options.global_batch
    assert len(job.starts) == len({one.start for one in job.steps})
