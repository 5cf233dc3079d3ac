"""A real training run of several processes: its token/s against an independent count, and its end in every case."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.training._torch_address import shape_of
from aicalib_hw.instruments.training.torch_run import TorchTraining

from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    ConnectionLost,
    MissingExtra,
    MissingProgram,
    OutOfRange,
    UsageError,
)
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.readings import Measurement, ValidityStatus
from tests.core.test_transport_process import gone

from .conftest import needs_torch
from .jobs import kept

SMALL = "hidden=64&layers=2&heads=4&kv_heads=2&ffn=128&vocabulary=256"
TWO = f"torch://local?processes=2&{SMALL}"
PLAN = TrainingPlan(8, 64, warm_up_steps=5, steps=200, step_timeout=60.0)

WITNESS = """
import os, sys, time
if "LOCAL_RANK" in os.environ and "_torch_worker" in " ".join(sys.orig_argv):
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook
    seen = {"tokens": 0, "began": 0}
    out = open(os.environ["WITNESS"] + os.environ["RANK"], "w", buffering=1)
    def taken(module, given, result):
        if isinstance(module, torch.nn.Embedding) and torch.is_grad_enabled():
            seen["began"] = seen["began"] or time.perf_counter_ns()
            seen["tokens"] += given[0].numel()
    def stepped(optimizer, *_):
        print(seen["began"], time.perf_counter_ns(), seen["tokens"], file=out)
        seen["began"] = 0
    torch.nn.modules.module.register_module_forward_hook(taken)
    register_optimizer_step_post_hook(stepped)
"""
"""Runs in each process without the worker's knowledge: what torch puts through an embedding, and when it steps."""


def planned(**changed: Any) -> TrainingPlan:
    return dataclasses.replace(PLAN, **changed)


def workers_of(training: TorchTraining, count: int = 2) -> list[int]:
    """The processes that train, once all do."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        run = training._run
        if run is not None and run.done:
            break
        time.sleep(0.02)
    mine = json.dumps(run._configuration) if run is not None else ""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        trains = mine.encode() in command and b"torch.distributed.run" not in command and b"-I" not in command
        if trains and is_of_this_process(int(process.name)):
            found.append(int(process.name))
    assert len(found) == count
    return found


def is_of_this_process(number: int) -> bool:
    """True if this process, or one that it has started, has started the process of that number."""
    while number not in (0, 1, os.getpid()):
        number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    return number == os.getpid()


def wait_for_steps(training: TorchTraining, count: int) -> None:
    """Wait until so many steps are done."""
    until = time.monotonic() + 60
    while training._run is None or training._run.done < count:
        assert time.monotonic() < until
        time.sleep(0.01)


@dataclasses.dataclass
class Measured:
    """Two windows of one run by DDP over gloo, with a witness in each process that wrote into `folder`.

    broken: a third window, in which one of the `workers` was killed. left: the files that were left.
    """

    results: list[Measurement]
    folder: Path
    broken: Measurement
    workers: list[int]
    left: list[str]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    if not needs_torch.args[0]:
        folder = tmp_path_factory.mktemp("witness")
        (folder / "sitecustomize.py").write_text(WITNESS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(folder))
            patch.setenv("WITNESS", str(folder / "rank"))
            patch.setattr(tempfile, "tempdir", str(folder))
            with TorchTraining(TWO) as training:
                results = [training.measure_tokens(planned(peak=1e12)) for _ in range(2)]
                workers = workers_of(training)
                with ThreadPoolExecutor(1) as pool:
                    endless = planned(steps=100_000)
                    broken = pool.submit(kept, lambda: training.measure_tokens(endless), ConnectionLost)
                    wait_for_steps(training, results[-1].runs[-1].evidence["step"] + 20)
                    os.kill(workers[-1], signal.SIGKILL)
                    result = broken.result(60)
        left = [one.name for one in folder.iterdir() if one.name.startswith("aicalib")]
        yield Measured(results, folder, result, workers, left)
    else:
        pytest.skip(needs_torch.kwargs["reason"])


def test_token_per_second_of_two_processes_is_what_a_witness_in_them_counted_within_half_a_per_cent(
    measured: Measured,
) -> None:
    results, folder = measured.results, measured.folder
    ranks = [
        [[int(one) for one in line.split()] for line in (folder / f"rank{rank}").read_text().splitlines()]
        for rank in range(2)
    ]
    first = PLAN.warm_up_steps
    for result in results:
        last = first + PLAN.steps
        # a window lasts for as long as the process that it lasts longest for, by its own clock
        longest = max(rank[last - 1][1] - rank[first][0] for rank in ranks)
        tokens = sum(rank[last - 1][2] - rank[first - 1][2] for rank in ranks)
        assert tokens == PLAN.steps * 8 * 64 == result.evidence["tokens"]
        assert result.value == pytest.approx(tokens / (longest / 1e9), rel=0.005)
        assert result.validity, result.validity.reasons
        first = last
    assert results[1].window.start.monotonic_ns > results[0].window.stop.monotonic_ns


def test_a_window_says_what_it_counted_how_it_was_timed_and_that_it_learnt(measured: Measured) -> None:
    result, after = measured.results
    assert result.definition == "token/training/applied-steps/timed-here"
    assert len(result.runs) == PLAN.steps
    assert result.evidence["loss_on_kept_sequences"][0] > after.evidence["loss_on_kept_sequences"][1]
    assert result.evidence["loss_on_kept_sequences"][1] > after.evidence["loss_on_kept_sequences"][1]
    assert sum(run.window.duration for run in result.runs) == pytest.approx(result.evidence["seconds"], rel=0.02)
    assert {one.name for one in result.components} == {"time base", "ends of the window"}
    assert result.identity.model == "torch"
    names = ("global_batch", "sequence_length", "processors", "hidden", "precision")
    assert {name: result.settings[name] for name in names} == dict(zip(names, (8, 64, 2, 64, "fp32"), strict=True))
    assert measured.left == []


def test_a_process_that_dies_leaves_the_steps_before_marked_and_takes_the_others_along(measured: Measured) -> None:
    result = measured.broken
    assert result.validity.status is ValidityStatus.ERROR
    assert "ended with status" in result.validity.reasons[0]
    assert result.value is not None
    assert len(result.runs) == result.evidence["steps"] > 0
    assert all(gone(worker) for worker in measured.workers)


def test_the_flop_of_a_token_by_the_formula_are_what_torch_counts_with_attention_written_out(
    measured: Measured,
) -> None:
    result = measured.results[0]
    width, kv_width = 64, 2 * 16
    products = 2 * (2 * width * width + 2 * width * kv_width + 3 * width * 128) + width * 256
    formula = 6 * products + 12 * 2 * width * 64
    assert result.evidence["flop_per_token"] == formula == shape_of(TWO).flop_per_token(64)
    assert result.evidence["flop_per_token_counted"] == pytest.approx(formula, rel=0.001)
    assert result.evidence["parameters_in_products"] == products
    assert result.evidence["model_flop_utilisation"] == pytest.approx(formula * float(result.value or 0) / 1e12)
    assert result.evidence["flop_model"] == "palm-6n-12lhqt/no-embed/no-causal"


@needs_torch
def test_sharded_weights_learn_the_same_from_the_same_data_and_leave_no_file(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with TorchTraining(f"{TWO}&strategy=fsdp&attention=eager") as training:
        result = training.measure_tokens(planned(steps=10))
        assert list(tmp_path.glob("aicalib-torch-*"))
    assert list(tmp_path.iterdir()) == []
    assert result.validity, result.validity.reasons
    assert result.evidence["losses"] == pytest.approx(measured.results[0].evidence["losses"][:10], rel=1e-3)


@needs_torch
def test_a_stream_gives_every_step_with_its_loss_until_it_is_closed_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with TorchTraining(f"torch://local?{SMALL}&sequence_length=64") as training:
        stream = training.stream()
        seen = list(itertools.islice(stream, 4))
        assert list(tmp_path.glob("aicalib-torch-*"))
        assert isinstance(stream, Generator)
        stream.close()
        assert list(tmp_path.iterdir()) == []
    assert [one.step for one in seen] == [2, 3, 4, 5]
    assert all(one.tokens == 4 * 64 and one.loss is not None and float(one.rate) > 0 for one in seen)


@pytest.mark.alone
@needs_torch
def test_an_abort_ends_all_processes_within_a_second_and_keeps_the_steps() -> None:
    with TorchTraining(f"torch://local?{SMALL}") as training:
        caught: list[Measurement] = []
        thread = threading.Thread(
            target=lambda: caught.append(kept(lambda: training.measure_tokens(planned(steps=100_000)), Aborted))
        )
        thread.start()
        workers = workers_of(training, 1)
        wait_for_steps(training, PLAN.warm_up_steps + 20)
        began = time.monotonic()
        training.abort()
        thread.join(10)
        assert time.monotonic() - began < 1.0
        assert caught[0].validity.status is ValidityStatus.ABORTED
        assert caught[0].runs
        assert all(gone(worker, within=1.0) for worker in workers)


@needs_torch
@pytest.mark.skipif(sys.platform != "linux", reason="what loses its parent is adopted under Linux only")
def test_processes_end_when_the_one_who_measures_is_killed(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parents[3])!r}]
import threading
from tests.instruments.training.test_torch import TWO, TorchTraining, planned, workers_of
with TorchTraining(TWO) as training:
    threading.Thread(target=lambda: print(*workers_of(training), flush=True), daemon=True).start()
    training.measure_tokens(planned(steps=100_000, global_batch=6))
"""
    surroundings = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=surroundings
    ) as follower:
        try:
            assert follower.stdout is not None
            workers = [int(one) for one in follower.stdout.readline().split()]
            assert len(workers) == 2
        finally:
            follower.kill()
    assert all(gone(worker, within=3.0) for worker in workers)
    until = time.monotonic() + 3.0
    while list(tmp_path.glob("aicalib-torch-*")) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(tmp_path.glob("aicalib-torch-*")) == []


def test_an_interpreter_without_torch_is_told_with_what_to_install(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    with pytest.raises(MissingExtra, match="PyTorch") as caught:
        TorchTraining(f"torch://local?python={tmp_path / 'bare' / 'bin' / 'python'}").open()
    assert "pip install torch" in caught.value.advice
    with pytest.raises(MissingProgram):
        TorchTraining("torch://local?python=/nowhere/python").open()


@needs_torch
def test_a_model_that_torch_cannot_build_is_told_in_its_words_and_a_full_disk_in_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TorchTraining("torch://local?device=cuda") as training:
        if shutil.which("nvidia-smi") is None:
            with pytest.raises(ConnectionLost, match="ended with status") as caught:
                training.measure_tokens(PLAN)
            assert "Error" in str(caught.value)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no-such-place"))
        with pytest.raises(ConnectionFailed, match="no place for its files"):
            training.measure_tokens(PLAN)


@pytest.mark.parametrize(
    "wrong",
    [
        "torch://host",
        "torch://local/x",
        "torch://local?processes=0",
        "torch://local?processes=two",
        "torch://local?colour=red",
        "torch://local?strategy=pp",
        "torch://local?hidden=60&heads=7",
        "torch://local?heads=8&kv_heads=3",
        "torch://local?processes=3&global_batch=4",
    ],
)
def test_an_address_that_says_something_else_is_refused_before_anything_is_done(wrong: str) -> None:
    with pytest.raises(UsageError):
        shape_of(wrong)


@needs_torch
@pytest.mark.parametrize(
    "wrong",
    [
        {"global_batch": 7},
        {"precision": "fp16"},
        {"precision": "half"},
        {"processors": 3},
        {"command": ("python",)},
        {"steps": 0},
    ],
)
def test_a_plan_that_the_processes_cannot_carry_out_is_refused_before_they_start(wrong: dict[str, Any]) -> None:
    with TorchTraining(TWO) as training:
        with pytest.raises((OutOfRange, UsageError)):
            training.measure_tokens(planned(**wrong))
        assert training._run is None


@needs_torch
def test_one_process_trains_alone_whatever_launcher_it_was_started_under(monkeypatch: pytest.MonkeyPatch) -> None:
    outer = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}
    for name, value in {**outer, "TORCHELASTIC_RUN_ID": "outer"}.items():
        monkeypatch.setenv(name, value)
    with TorchTraining(f"torch://local?{SMALL.replace('vocabulary=256', 'vocabulary=4096')}") as training:
        found = training.measure_tokens(planned(warm_up_steps=1, steps=4))
    assert found.validity, found.validity.reasons
    # Which of 4096 tokens occur is learnt at once: between that and what follows what, lies guessing among those 256.
    before, after = found.evidence["loss_on_kept_sequences"]
    assert 5.55 < after < before < 8.5
    assert any("above that of guessing" in remark for remark in found.evidence["remarks"])
