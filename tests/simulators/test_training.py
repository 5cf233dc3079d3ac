"""The simulated training job: its lines have the form of real ones, and their numbers are the truth's by the rules.

Judges that nobody here wrote: lines printed by the real programs, `parse` (the inverse of `str.format`) with the
programs' own formats, tqdm, and Python's reader of literals.
"""

from __future__ import annotations

import ast
import io
import re
import time
from typing import Any

import parse  # type: ignore[import-untyped]
import pytest
from tqdm import tqdm  # type: ignore[import-untyped]

from .jobs import trained

ANSI = re.compile(r"\x1b\[[0-9;]*m")
FRAMEWORKS = ("megatron", "torchtitan", "deepspeed", "nanogpt", "huggingface")

REAL = {
    "megatron": " [2025-04-13 23:41:37] iteration       40/    1000 | consumed samples:          640 | "
    "elapsed time per iteration (ms): 849.8 | learning rate: 9.998165E-05 | global batch size:    16 | "
    "lm loss: 9.992319E+00 | loss scale: 4096.0 | grad norm: 2.357 | number of skipped iterations:   0 | "
    "number of nan iterations:   0 |",
    "torchtitan": "step: 10  loss:  7.12345  grad_norm:  1.2345  memory: 12.34GiB(15.00%)  tps: 5,432  "
    "tflops: 345.67  mfu: 34.95%",
    "deepspeed": "[2023-08-02 00:41:17,936] [INFO] [timer.py:215:stop] epoch=0/micro_step=10/global_step=10, "
    "RunningAvgSamplesPerSec=220.69530887096045, CurrSamplesPerSec=222.88787331278564, MemAllocated=0.07GB, "
    "MaxMemAllocated=1.36GB",
    "nanogpt": "iter 100: loss 2.1234, time 135.20ms, mfu 43.21%",
    "huggingface": "{'loss': '7.648', 'grad_norm': '1.097', 'learning_rate': '3.75e-05', 'epoch': '0.25', "
    "'num_input_tokens_seen': 2048, 'train_runtime': '0.3181', 'train_tokens_per_second': '6439'}",
}
"""Lines of the real programs, or in their documented form."""


def run(job: Any, seconds: float) -> None:
    for _ in range(round(seconds / 0.25)):
        job.world.clock.advance(0.25)


def text(job: Any) -> str:
    with open(job.path, encoding="utf-8", errors="replace", newline="") as file:
        return file.read()


def lines(job: Any, having: str) -> list[str]:
    """The lines, or parts of lines after a carriage return, that have some text in them, without colours."""
    found = re.split(r"[\r\n]+", ANSI.sub("", text(job)))
    return [line for line in found if having in line]


KEY = {
    "megatron": "elapsed time per iteration",
    "torchtitan": " INFO - step:",
    "deepspeed": "CurrSamplesPerSec",
    "nanogpt": "iter ",
    "huggingface": "num_input_tokens_seen",
}


def skeleton(line: str) -> str:
    """The line with every number as one 0 and no padding, so that forms can be compared."""
    line = re.sub(r"\d,(?=\d{3})", "0", line)
    return re.sub(r"(?<![| :]) +", " ", re.sub(r"\d+(?:\.\d+)?(?:[eE][-+]\d+)?", "0", line))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_lines_have_the_form_of_the_real_ones(framework: str) -> None:
    options: dict[str, Any] = {"throughput": False, "style": "old"} if framework == "megatron" else {}
    with trained(framework=framework, log_interval=10, steps=1000, **options) as job:
        run(job, 60)
        line = lines(job, KEY[framework])[-1]
    if framework == "torchtitan":
        assert re.match(r"\[rank0\]:\[titan\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - root - INFO - ", line)
        line = line.partition(" INFO - ")[2]
    assert skeleton(line) == skeleton(REAL[framework])
    if framework == "megatron":
        columns = [re.sub(r"\d", "0", one.partition("]")[2])[:60] for one in (line, REAL[framework])]
        assert columns[0] == columns[1]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_first_line_of_every_file_bears_the_mark(framework: str) -> None:
    with trained(framework=framework, warm_up_steps=0) as job:
        assert (
            job.address == f"log://{job.path}?framework={framework}&global_batch=16&processors=8&sequence_length=4096"
        )
        job.inject({"kind": "rotated", "after": 5})
        run(job, 12)
        aside = job.path.with_name(job.path.name + ".1").read_text(encoding="utf-8")
        for content in (text(job), aside):
            assert content.startswith("version: SIM")
        assert job.identity_serial.startswith("SIM")


def test_megatron_rate_is_batch_times_length_over_the_mean_step() -> None:
    with trained(log_interval=5, warm_up_steps=0, evaluate_every=7, checkpoint_every=11) as job:
        run(job, 60)
        pattern = parse.compile(
            "{}iteration {step:>d}/{:>d} | consumed samples: {samples:>d} | "
            "elapsed time per iteration (ms): {ms:f} | throughput per GPU (TFLOP/s/GPU): {flops:f} | {}"
        )
        found = [pattern.parse(line) for line in lines(job, "elapsed time")]
        assert len(found) >= 6
        for one in found:
            true = job.truth.step_rate(one["step"] - 4, one["step"])
            assert 16 * 4096 * 1000 / one["ms"] == pytest.approx(true, rel=1e-3)
            assert one["samples"] == 16 * one["step"]
            # 6 N, attention halved for the mask: another convention than torchtitan's
            flops = (6 * 8.03e9 + 0.5 * 12 * 32 * 4096 * 4096) * true / 8 / 1e12
            assert one["flops"] == pytest.approx(flops, rel=1e-3)
        assert lines(job, "seq_length ......") == ["  seq_length ...................................... 4096"]


def test_megatron_leaves_evaluations_and_checkpoints_out_of_its_times_but_not_of_its_stamps() -> None:
    with trained(log_interval=10, warm_up_steps=0, step_noise=0, evaluate_every=10, evaluate_time=3.0) as job:
        run(job, 40)
        first, second = lines(job, "elapsed time")[:2]
        assert "(ms): 1000.0 " in first
        assert "(ms): 1000.0 " in second
        seconds = [float(re.search(r":(\d\d\.\d+)\]", line)[1]) for line in (first, second)]  # type: ignore[index]
        assert (seconds[1] - seconds[0]) % 60 == pytest.approx(13.0, abs=1e-3)
        assert job.truth.rate(11, 20) == pytest.approx(65536)
        assert job.truth.rate(1, 20) == pytest.approx(20 * 65536 / 23)


def test_torchtitan_tps_is_per_device_and_has_the_checkpoint_in_it() -> None:
    options: dict[str, Any] = {"log_interval": 5, "warm_up_steps": 0, "checkpoint_every": 5, "checkpoint_time": 2.0}
    with trained(framework="torchtitan", **options) as job:
        run(job, 30)
        found = [
            parse.search("step: {step:>d}  loss: {:>f}  {}tps: {tps}  tflops: {}  mfu: {mfu:f}%", line)
            for line in lines(job, KEY["torchtitan"])
        ]
        assert [one["step"] for one in found][:4] == [1, 5, 10, 15]
        steps = job.truth.steps
        for one in found[2:4]:
            last = one["step"]
            true = 5 * 65536 / (steps[last - 1].ended - steps[last - 6].ended) / 8
            assert int(one["tps"].replace(",", "")) == pytest.approx(true, abs=1)
            assert one["mfu"] == pytest.approx(100 * true * (6 * 8.03e9 + 12 * 32 * 4096 * 4096) / 989e12, abs=0.01)


def test_deepspeed_tells_the_last_step_and_a_mean_without_the_first_two_nor_the_time_between_steps() -> None:
    with trained(framework="deepspeed", log_interval=5, data_time=0.5, warm_up_steps=2, warm_up_factor=10) as job:
        run(job, 60)
        found = [
            parse.search("global_step={step:d}, RunningAvgSamplesPerSec={mean:f}, CurrSamplesPerSec={last:f},", line)
            for line in lines(job, "timer.py")
        ]
        assert len(found) >= 4
        for one in found:
            assert one["last"] * 4096 == pytest.approx(job.truth.step_rate(one["step"], one["step"]), rel=1e-9)
            assert one["mean"] * 4096 == pytest.approx(job.truth.step_rate(3, one["step"]), rel=1e-9)
            assert one["mean"] * 4096 > 1.3 * job.truth.rate(3, one["step"])


def test_nanogpt_times_one_iteration_and_the_evaluation_before_it() -> None:
    with trained(framework="nanogpt", warm_up_steps=0, step_noise=0, evaluate_every=6, evaluate_time=4.0) as job:
        run(job, 20)
        found = [
            parse.parse("iter {iter:d}: loss {loss:f}, time {ms:f}ms, mfu {mfu:f}%", line)
            for line in lines(job, "iter ")
        ]
        found = [one for one in found if one]
        assert lines(job, "tokens per iteration will be: ") == ["tokens per iteration will be: 65,536"]
    assert [one["iter"] for one in found[:8]] == list(range(8))
    assert [one["ms"] for one in found[:8]] == [1000.0] * 6 + [5000.0, 1000.0]
    assert [one["mfu"] for one in found[:5]] == [-100.0] * 5
    assert found[5]["mfu"] > 0


def test_trainer_records_are_literals_of_text_that_count_from_the_start() -> None:
    with trained(framework="huggingface", log_interval=5, steps=40, warm_up_steps=3) as job:
        run(job, 70)
        assert job.finished
        records = [ast.literal_eval(line) for line in lines(job, "{'loss'")]
        final = ast.literal_eval(lines(job, "train_loss")[0])
        one, other = records[3], records[7]
        assert all(isinstance(value, str) for key, value in one.items() if key != "num_input_tokens_seen")
        tokens = other["num_input_tokens_seen"] - one["num_input_tokens_seen"]
        rate = tokens / (float(other["train_runtime"]) - float(one["train_runtime"]))
        assert tokens == 20 * 65536
        assert rate == pytest.approx(job.truth.rate(21, 40), rel=0.01)
        assert float(other["train_tokens_per_second"]) < 0.95 * rate
        assert "train_tokens_per_second" not in final
        assert final["num_input_tokens_seen"] == 40 * 65536
        assert float(final["train_runtime"]) == pytest.approx(job.truth.steps[-1].ended, rel=1e-3)


def test_the_progress_bar_is_where_tqdm_puts_its_own() -> None:
    real = io.StringIO()
    bar = tqdm(total=8, file=real, mininterval=0)
    for number in range(8):
        bar.update(1)
        if number == 3:
            bar.write("{'loss': '1'}", file=real)
    bar.close()
    with trained(framework="huggingface", steps=8, log_interval=4, warm_up_steps=0) as job:
        run(job, 10)
        simulated = text(job).partition("\n")[2]

    def shape(written: str) -> list[str]:
        """Bars, records and blanks in their order, each by its kind and what separates it from the one before."""
        kinds = []
        for separator, piece in re.findall(r"([\r\n]*)([^\r\n]*)", written.partition("{")[0][-400:] + written[-1:]):
            kind = "bar" if "%|" in piece else "blank" if piece and not piece.strip() else "other"
            kinds.append(f"{separator!r}{kind}")
        return kinds[-5:-2]

    assert shape(simulated.partition("{'loss'")[0] + "{") == shape(real.getvalue().partition("{'loss'")[0] + "{")
    bars = [piece for piece in re.split(r"[\r\n]", simulated) if "%|" in piece]
    form = r"^\s*\d+%\|[█ ]{10}\| \d/8 \[(\d\d:)+\d\d<((\d\d:)+\d\d|\?), +(\d+\.\d\d|\?)it/s\]$"
    assert bars
    assert all(re.match(form, piece) for piece in bars)


def test_primus_writes_pairs_and_colours_and_old_styles_what_they_wrote() -> None:
    with trained(style="primus", log_interval=5) as job:
        run(job, 30)
        line = next(line for line in text(job).splitlines() if "elapsed" in line)
        assert "\x1b[" in line
        pair = parse.search("elapsed time per iteration (ms): {now:f}/{mean:f} |", line)
        tokens = parse.search("tokens per GPU (tokens/s/GPU): {now:f}/{mean:f} |", line)
        assert pair["now"] * tokens["now"] == pytest.approx(16 * 4096 / 8 * 1000, rel=1e-3)
    with trained(framework="deepspeed", style="old", log_interval=5, warm_up_steps=0) as job:
        run(job, 20)
        assert parse.search("[timer.py:215:stop] 0/5, RunningAvgSamplesPerSec=", lines(job, "timer.py")[0])


@pytest.mark.alone
def test_it_starts_at_once_and_lines_come_when_the_truth_says() -> None:
    began = time.monotonic()
    with trained(rate=1.0, step_time=0.2, step_noise=0.1, warm_up_steps=0) as job:
        assert time.monotonic() - began < 0.5
        assert text(job).startswith("version: SIM")
        seen: list[int] = []
        while len(seen) < 5:
            if len(lines(job, "elapsed time")) > len(seen):
                seen.append(time.monotonic_ns())
            time.sleep(0.002)
        ended = [step.ended_ns for step in job.truth.steps[:5]]
    assert all(-2e6 < one - true < 150e6 for one, true in zip(seen, ended, strict=True))


def test_in_a_world_ten_times_as_fast_the_log_shows_the_hosts_time() -> None:
    with trained(rate=10.0, step_noise=0.0, warm_up_steps=0) as job:
        while len(job.truth.steps) < 4:
            time.sleep(0.02)
        assert "(ms): 100.0 " in lines(job, "elapsed time")[0]
        assert job.truth.rate(1, 4) == pytest.approx(655360)


def test_the_fixture_gives_a_job_with_truth_faults_and_world(simulated_training_job: Any) -> None:
    job = simulated_training_job
    job.inject("nan")
    while len(job.truth.steps) < 3:
        time.sleep(0.01)
    assert not all(step.finite for step in job.truth.steps)
    assert job.truth.tokens >= 3 * 16 * 4096
    assert job.exchanges
    folder = job.path.parent
    job.stop()
    assert not folder.exists()
