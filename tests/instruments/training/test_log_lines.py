"""What each framework's lines say, on samples that the frameworks' sources and users' logs give."""

from __future__ import annotations

import math

import pytest
from aicalib_hw.instruments.training._formats import FORMATS, plain
from aicalib_hw.instruments.training._tally import Tally
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.interfaces import TrainingPlan

# The forms of the frameworks' sources: Megatron-LM d98e8a64dd, nanoGPT 3adf61e1; the forks' from users' published logs;
# the Trainer's from a run of 5.23. What torchtitan 0.3.0 (MetricsProcessor.log), DeepSpeed 0.19.8 (ThroughputTimer) and
# nanoGPT 3adf61e1 (train.py) themselves wrote stands below, of steps whose times are known from elsewhere.
MEGATRON = (
    " [2026-04-28 14:23:45.123456] iteration       42/    500 | consumed samples:        10752 | elapsed time per "
    "iteration (ms): 892.1 | throughput per GPU (TFLOP/s/GPU): 245.3 | learning rate: 3.000000E-04 | global batch "
    "size:   256 | lm loss: 3.214500E+00 | loss scale: 1.0 | grad norm: 0.543 | number of skipped iterations:   0 | "
    "number of nan iterations:   0 |"
)
WITH_ENERGY = MEGATRON.replace(
    " | learning", " | energy per GPU (J/iter/GPU): 312.4 | power per GPU (W/GPU): 350.2 | learning"
)
OLDER = MEGATRON.replace(".123456]", "]").replace(" | throughput per GPU (TFLOP/s/GPU): 245.3", "")
PRIMUS = (
    "\x1b[32m[20260428 14:23:45][rank-7/8][INFO ] \x1b[0m iteration 42/ 500 | consumed samples: 10752 | elapsed time "
    "per iteration (ms): 13100.0/13240.9 | throughput per GPU (TFLOP/s/GPU): 579.4/573.6 | tokens per GPU "
    "(tokens/s/GPU): 10005.5/9903.7 | global batch size: 256 |"
)
FORK = " iteration 42/ 500 | iteration time: 270.125 s samples/sec: 3.8 | tokens/sec/GPU: 74994 |"
OVERFLOW = (
    " iteration       10/     500 | consumed samples:        10240 | elapsed time per iteration (ms): 512.0 | "
    "global batch size:  1024 | loss scale: 65536.0 | number of skipped iterations:  10 | "
    "number of nan iterations:   0 |"
)
TITAN = (
    "[titan] 2025-01-31 10:00:01,123 - root - INFO - \x1b[31mstep: 10  \x1b[32mloss:  7.12345  grad_norm:  1.2345  "
    "memory: 12.34GiB(15.00%)  tps: 5,432  tflops: 345.67  mfu: N/A\x1b[39m"
)
DEEPSPEED = (
    "[2023-08-02 00:41:17,936] [INFO] [timer.py:215:stop] epoch=0/micro_step=10/global_step=5, "
    "RunningAvgSamplesPerSec=220.69530887096045, CurrSamplesPerSec=222.88787331278564, MemAllocated=0.07GB, "
    "MaxMemAllocated=1.36GB"
)
# 1024 tokens in 0.05 s on one device.
OF_TITAN = [
    "[titan] 2026-11-26 08:05:07,900 - root - INFO - \x1b[31mstep:  2  \x1b[32mloss:  7.30000  \x1b[38;2;180;60;0m"
    "grad_norm:  1.2000  \x1b[38;2;54;234;195mmemory: 12.34GiB(15.00%)  \x1b[34mtps: 20,441  \x1b[36mtflops: 0.51  "
    "\x1b[35mmfu: 0.16%\x1b[39m",
    "[titan] 2026-11-26 08:05:07,950 - root - INFO - \x1b[31mstep:  3  \x1b[32mloss:  7.20000  \x1b[38;2;180;60;0m"
    "grad_norm:  1.2000  \x1b[38;2;54;234;195mmemory: 12.34GiB(15.00%)  \x1b[34mtps: 20,437  \x1b[36mtflops: 0.51  "
    "\x1b[35mmfu: 0.16%\x1b[39m",
]
TITAN_VALIDATES = (
    "[titan] 2026-11-26 08:05:08,000 - root - INFO - \x1b[33mvalidate step:  4  \x1b[32mloss:  7.2000  "
    "\x1b[38;2;54;234;195mmemory: 12.34GiB(15.00%)  \x1b[34mtps: 290,414,067\x1b[39m"
)
# 8 sequences in two parts of 0.02 s each.
OF_DEEPSPEED = [
    "epoch=0/micro_step=6/global_step=3, RunningAvgSamplesPerSec=198.64567003717823, "
    "CurrSamplesPerSec=198.64073764687492, MemAllocated=0.24GB, MaxMemAllocated=0.24GB",
    "epoch=0/micro_step=8/global_step=4, RunningAvgSamplesPerSec=198.82046010043402, "
    "CurrSamplesPerSec=198.99060825230754, MemAllocated=0.24GB, MaxMemAllocated=0.24GB",
    "epoch=0/micro_step=10/global_step=5, RunningAvgSamplesPerSec=198.7378329875048, "
    "CurrSamplesPerSec=198.5678558513412, MemAllocated=0.24GB, MaxMemAllocated=0.24GB",
]
OLD_DEEPSPEED = "[INFO] 0/20, RunningAvgSamplesPerSec=220.69530887096045, CurrSamplesPerSec=222.88787331278564"
NANOGPT = "iter 100: loss 2.1234, time 135.20ms, mfu 43.21%"
TRAINER = (
    "{'loss': '7.648', 'grad_norm': '1.097', 'learning_rate': '3.75e-05', 'epoch': '0.25', "
    "'num_input_tokens_seen': 2048, 'train_runtime': '0.3181', 'train_tokens_per_second': '6439'}"
)
# Of a run of 1024 sequences a step that its user published: github.com/epfLLM/Megatron-LLM, issue 11.
OF_MEGATRON = [
    " iteration      182/  250000 | consumed samples:       186368 | elapsed time per iteration (ms): 126995.3 | "
    "learning rate: 1.365E-05 | global batch size:  1024 | lm loss: 2.382640E+00 | loss scale: 1.0 | "
    "grad norm: 0.227 | number of skipped iterations:   0 | number of nan iterations:   0 |",
    " iteration      183/  250000 | consumed samples:       187392 | elapsed time per iteration (ms): 125553.7 | "
    "learning rate: 1.372E-05 | global batch size:  1024 | lm loss: 2.471678E+00 | loss scale: 1.0 | "
    "grad norm: 0.134 | number of skipped iterations:   0 | number of nan iterations:   0 |",
    " iteration      184/  250000 | consumed samples:       188416 | elapsed time per iteration (ms): 127804.5 | "
    "learning rate: 1.380E-05 | global batch size:  1024 | lm loss: 2.408367E+00 | loss scale: 1.0 | "
    "grad norm: 0.270 | number of skipped iterations:   0 | number of nan iterations:   0 |",
]
OF_NANOGPT = [
    "iter 1: loss 4.5832, time 1652.05ms, mfu -100.00%",
    "iter 2: loss 4.5977, time 236.04ms, mfu -100.00%",
    "iter 3: loss 4.5773, time 244.24ms, mfu -100.00%",
    "iter 4: loss 4.5761, time 283.78ms, mfu -100.00%",
    "iter 5: loss 4.5895, time 238.64ms, mfu 0.00%",
    "iter 6: loss 4.5950, time 842.31ms, mfu 0.00%",
]
SEEN_IN_NANOGPT = (0.2365, 0.2440, 0.2839, 0.2377, 0.8431)
"""s between the ends of those steps, by a hook of the optimizer in the same process."""

SAMPLES = {
    "megatron": [MEGATRON, WITH_ENERGY, OLDER, PRIMUS, FORK, OVERFLOW, *OF_MEGATRON],
    "torchtitan": [TITAN, *OF_TITAN],
    "deepspeed": [DEEPSPEED, OLD_DEEPSPEED, *OF_DEEPSPEED],
    "nanogpt": [NANOGPT, *OF_NANOGPT],
    "huggingface": [TRAINER],
}
EACH = [(name, line) for name, lines in SAMPLES.items() for line in lines]


def said(framework: str, line: str) -> object:
    return FORMATS[framework].read(plain(line))


def test_a_line_of_megatron_says_step_time_batch_sequences_loss_and_when() -> None:
    found = FORMATS["megatron"].read(MEGATRON)
    assert found is not None
    assert (found.step, found.batch, found.samples, found.skipped, found.spoiled) == (42, 256, 10752, 0, 0)
    assert (found.pace, found.half_digit, found.loss) == (pytest.approx(0.8921), pytest.approx(5e-5), 3.2145)
    assert found.at is not None
    assert (found.at[0] % 60, found.at[1]) == (pytest.approx(45.123456), pytest.approx(1e-6))


@pytest.mark.parametrize("line", [WITH_ENERGY, OLDER])
def test_fields_that_other_versions_add_or_leave_out_change_nothing(line: str) -> None:
    found, usual = FORMATS["megatron"].read(line), FORMATS["megatron"].read(MEGATRON)
    assert found is not None
    assert usual is not None
    assert (found.step, found.pace, found.samples, found.loss) == (usual.step, usual.pace, usual.samples, usual.loss)


def test_of_a_pair_of_current_and_average_the_current_one_counts() -> None:
    found = FORMATS["megatron"].read(plain(PRIMUS))
    assert found is not None
    assert found.pace == pytest.approx(13.1)


def test_a_fork_that_writes_seconds_is_not_read_as_milliseconds() -> None:
    found = FORMATS["megatron"].read(FORK)
    assert found is not None
    assert (found.pace, found.half_digit) == (270.125, pytest.approx(5e-4))


def test_skipped_iterations_are_told_although_their_samples_are_consumed() -> None:
    found = FORMATS["megatron"].read(OVERFLOW)
    assert found is not None
    assert (found.samples, found.skipped) == (10240, 10)


def test_the_rate_of_torchtitan_has_thousands_separators_and_the_resolution_of_a_whole_number() -> None:
    found = FORMATS["torchtitan"].read(plain(TITAN))
    assert found is not None
    assert (found.step, found.pace, found.half_digit, found.loss) == (10, 5432.0, 0.5, 7.12345)


def test_deepspeed_counts_optimizer_steps_and_not_the_parts_of_them() -> None:
    found = FORMATS["deepspeed"].read(DEEPSPEED)
    assert found is not None
    assert (found.step, found.remark, found.last_step_only) == (5, "", False)
    assert found.pace == pytest.approx(3 / 220.69530887096045)
    old = FORMATS["deepspeed"].read(OLD_DEEPSPEED)
    assert old is not None
    assert (old.step, old.pace, old.last_step_only) == (20, 222.88787331278564, True)
    assert "parts" in old.remark


def tallied(framework: str, lines: list[str], plan: TrainingPlan) -> Tally:
    """The steps of these lines."""
    tally = Tally(FORMATS[framework], plan, "")
    for line in lines:
        logged = FORMATS[framework].read(plain(line))
        assert logged is not None
        tally.add(logged, None, line)
    return tally


def test_what_nanogpt_itself_wrote_is_what_was_seen_in_its_process_within_half_a_per_cent() -> None:
    tally = tallied("nanogpt", OF_NANOGPT, TrainingPlan(8, 64))
    assert [(span.steps, span.tokens) for span in tally.spans] == [(1, 512)] * 5
    assert sum(span.seconds for span in tally.spans) == pytest.approx(sum(SEEN_IN_NANOGPT), rel=0.005)
    assert tally.untold(tally.spans) == tally.spans


def test_lines_of_a_published_run_of_megatron_give_its_steps_sequences_and_times_and_that_none_was_skipped() -> None:
    tally = tallied("megatron", OF_MEGATRON, TrainingPlan(1024, 4096))
    assert [(span.first, span.last, span.tokens) for span in tally.spans] == [
        (182, 183, 1024 * 4096),
        (183, 184, 1024 * 4096),
    ]
    assert [span.seconds for span in tally.spans] == pytest.approx([125.5537, 127.8045])
    assert (tally.objections, tally.remarks, tally.untold(tally.spans)) == ((), (), [])


@pytest.mark.parametrize(
    ("framework", "lines", "batch", "seconds"),
    [("torchtitan", OF_TITAN, 8, 0.05), ("deepspeed", OF_DEEPSPEED, 8, 0.04)],
)
def test_what_torchtitan_and_deepspeed_themselves_wrote_gives_the_time_that_their_steps_took(
    framework: str, lines: list[str], batch: int, seconds: float
) -> None:
    tally = tallied(framework, lines, TrainingPlan(batch, 1024 // batch))
    assert [span.steps for span in tally.spans] == [1] * (len(lines) - 1)
    for span in tally.spans:
        assert span.tokens == 1024
        assert span.seconds == pytest.approx(seconds, rel=0.02)
        assert span.half_width < 1e-4


def test_a_line_of_nanogpt_has_its_time_in_milliseconds_or_says_otherwise() -> None:
    found = FORMATS["nanogpt"].read(NANOGPT)
    in_seconds = FORMATS["nanogpt"].read(NANOGPT.replace("135.20ms", "0.1352s"))
    assert found is not None
    assert in_seconds is not None
    assert found.pace == in_seconds.pace == pytest.approx(0.1352)


def test_a_record_of_the_trainer_counts_tokens_and_time_since_the_beginning_also_behind_a_progress_bar() -> None:
    bar = " 25%|##5       | 5/20 [00:00<00:00, 41.44it/s]\r" + TRAINER
    for line in (TRAINER, bar):
        found = FORMATS["huggingface"].read(plain(line))
        assert found is not None
        assert (found.tokens, found.pace, found.loss) == (2048, 0.3181, 7.648)


def test_a_loss_that_is_not_a_number_is_told_as_such() -> None:
    for framework, line in (
        ("megatron", MEGATRON.replace("3.214500E+00", "nan")),
        ("huggingface", TRAINER.replace("'7.648'", "nan")),
        ("nanogpt", NANOGPT.replace("2.1234", "nan")),
    ):
        found = FORMATS[framework].read(line)
        assert found is not None
        assert found.loss is not None
        assert math.isnan(found.loss)


@pytest.mark.parametrize(
    ("framework", "line", "told"),
    [
        ("megatron", MEGATRON.replace("(ms): 892.1", "(min): 892.1"), "'min'"),
        ("megatron", MEGATRON.replace("elapsed time per iteration (ms): 892.1 | ", ""), "elapsed time"),
        ("megatron", MEGATRON.replace("892.1", "0.0"), "0.0"),
        ("megatron", MEGATRON.replace("892.1", "nan"), "nan"),
        ("torchtitan", plain(TITAN).replace("tps", "wps"), "tps"),
        ("deepspeed", DEEPSPEED.replace("220.69530887096045", "-inf"), "inf"),
        ("deepspeed", DEEPSPEED.replace("global_step=5", "global_step=2"), "not timed"),
        ("deepspeed", DEEPSPEED.partition(", CurrSamples")[0], "CurrSamplesPerSec"),
        ("nanogpt", NANOGPT.replace("135.20ms", "135.20"), "unit"),
        ("huggingface", TRAINER.replace("'num_input_tokens_seen': 2048, ", ""), "include_num_input_tokens_seen"),
    ],
)
def test_a_step_that_does_not_say_what_it_should_is_no_step_but_an_error(framework: str, line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        FORMATS[framework].read(line)


@pytest.mark.parametrize(
    ("framework", "line"),
    [
        ("megatron", " validation loss at iteration 1000 | lm loss value: 2.5E+00 | lm loss PPL: 12.2 |"),
        ("megatron", "  successfully saved checkpoint from iteration      10 to checkpoints"),
        ("torchtitan", TITAN_VALIDATES),
        ("nanogpt", "step 250: train loss 2.0, val loss 2.1"),
        ("huggingface", "{'eval_loss': '7.1', 'eval_runtime': '0.2', 'epoch': '1'}"),
        (
            "huggingface",
            "{'train_runtime': '1.23', 'train_samples_per_second': '52', 'train_loss': '7.5', 'epoch': '1'}",
        ),
    ],
)
def test_evaluation_checkpoints_and_the_end_are_no_steps(framework: str, line: str) -> None:
    assert said(framework, line) is None


@pytest.mark.parametrize(("framework", "line"), EACH)
def test_no_other_framework_takes_the_line_for_its_own(framework: str, line: str) -> None:
    takers = [name for name, form in FORMATS.items() if form.read(plain(line)) is not None]
    assert set(takers) - {"mindspeed"} == {framework}


@given(st.text(max_size=300), st.sampled_from(sorted(FORMATS)))
def test_no_text_whatever_does_more_than_be_refused(text: str, framework: str) -> None:
    try:
        found = FORMATS[framework].read(plain(text))
    except ValueError:
        return
    assert found is None or found.pace > 0


@given(st.sampled_from(EACH), st.data())
def test_a_line_that_was_cut_off_never_gives_another_time(sample: tuple[str, str], data: st.DataObject) -> None:
    framework, line = sample
    whole = FORMATS[framework].read(plain(line))
    cut = plain(line)[: data.draw(st.integers(0, len(plain(line)) - 1))]
    try:
        found = FORMATS[framework].read(cut)
    except ValueError:
        return
    assert whole is not None
    if found is not None and found.pace != whole.pace:
        # Digits may be missing at the very end, which only a line without its end has: none such is ever read.
        assert cut[-1] in "0123456789.,-m"


@given(st.integers(1, 10**7), st.floats(0.0006, 86400.0))
def test_a_megatron_line_gives_back_the_time_that_was_written_within_half_its_last_digit(
    step: int, seconds: float
) -> None:
    from .jobs import megatron

    found = FORMATS["megatron"].read(megatron(step, seconds))
    assert found is not None
    assert found.step == step
    assert abs(found.pace - seconds) <= found.half_digit * 1.0001
