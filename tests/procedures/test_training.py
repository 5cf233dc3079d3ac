"""The training procedure: on simulated jobs whose truth is known, on a command, and on processes that really train."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aicalib_hw.instruments.training._torch_address import shape_of

import aicalib_hw as hw
from aicalib_hw.bench import TrainingPlan, find_bench, load_bench
from aicalib_hw.cli import main
from aicalib_hw.cli._needed import with_needed
from aicalib_hw.errors import ConnectionLost, UsageError
from aicalib_hw.metrology import Verdict
from aicalib_hw.procedures import calibrate_training
from aicalib_hw.readings import ValidityStatus
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record
from tests.core.test_transport_process import gone
from tests.instruments.training.conftest import needs_torch
from tests.simulators.jobs import settled

BENCH = """
[bench]
name = "trained"

[decision]
rule = "simple"

[instruments.job]
driver = "{driver}"
address = "{address}"

[permissible_errors.training]
value = 0.05
kind = "relative"
source = "this test"

[[indications]]
quantity = "training"
value = {indicated}
unit = "token/s"
source = "this test"
definition = "token/training/applied-steps/{timed}"

[plan.training]
{plan}
"""
PLAN = """
global_batch = 16
sequence_length = 4096
warm_up_steps = 3
steps = 10
step_timeout = 3.0
"""


def bench_file(
    folder: Path,
    address: str,
    *,
    indicated: float = 1e6,
    plan: str = PLAN,
    driver: str = "log",
    timed: str = "timed-by-job",
) -> Path:
    path = folder / "bench.toml"
    path.write_text(BENCH.format(driver=driver, address=address, indicated=indicated, plan=plan, timed=timed))
    return path


def test_a_known_rate_is_found_within_its_uncertainty_judged_recorded_and_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with settled(step_noise=0.001) as job:
        truth = 20 * 16 * 4096 / job.options.step_time
        bench = bench_file(tmp_path, job.address, indicated=1.2 * truth, plan=PLAN + "parameters = 8_030_000_000\n")
        with pytest.raises(SystemExit) as ended:
            main(["calibrate", str(bench), "--quantity", "training", "--output", str(tmp_path / "out"), "--json"])
        said = json.loads(capfd.readouterr().out)
        record = read_record(tmp_path / "out" / "record.sqlite")
        (rate, normalised) = record.results
        windows = [one.runs for one in record.measurements if one.quantity == "training"][:3]
        true = [float(job.truth.rate(runs[0].evidence["step"], runs[-1].evidence["step"])) for runs in windows]
    assert ended.value.code == 1
    assert [one["verdict"] for one in said["results"]] == ["FAIL", "NOT_EVALUATED"]
    assert rate.evaluation is not None
    assert normalised.evaluation is not None
    assert abs(rate.evaluation.value - sum(true) / 3) <= rate.evaluation.expanded_uncertainty
    assert rate.evaluation.expanded_uncertainty < 0.1 * truth
    assert normalised.evaluation.value == pytest.approx(8.03e9 * rate.evaluation.value, rel=1e-12)
    assert normalised.definition == "token/training/applied-steps/timed-by-job/parameter-normalised"
    assert rate.simulated
    assert rate.measurement.evidence["steps"] == [10, 10, 10]
    steps = [run.evidence["step"] for runs in windows for run in runs]
    assert sorted(set(steps)) == steps
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "sequences in a step" in page
    assert "batch of 16 × 4096 tokens" in page


def test_a_window_is_made_as_long_as_the_plan_says(tmp_path: Path) -> None:
    with settled(step_noise=0.001) as job, hw.open_bench(bench_file(tmp_path, job.address)) as bench:
        plan = bench.settings.plan.training.model_copy(update={"duration": 0.6, "steps": 5})
        (result,) = calibrate_training(bench, plan=plan).results
    assert min(result.measurement.evidence["steps_took_s"]) > 0.55


def test_what_was_measured_before_a_job_ended_is_in_the_record_and_the_command_with_all_it_started_is_gone(
    tmp_path: Path,
) -> None:
    from tests.instruments.training.test_command import with_workers

    told = tmp_path / "workers"
    command = with_workers(f'open("{told}", "a")', pace=0.02, steps=30)
    plan = "global_batch = 8\nsequence_length = 64\nwarm_up_steps = 2\nsteps = 20\nprecision = 'bf16'\n"
    plan += f"command = {json.dumps(command)}\n"
    path = bench_file(tmp_path, "log://command?framework=nanogpt", plan=plan)
    with (
        hw.open_bench(path) as bench,
        Record.create(tmp_path / "record.sqlite", title="", bench={}, rule="none", plan={}) as record,
        pytest.raises(ConnectionLost, match="ended with status 0"),
    ):
        calibrate_training(bench, record=record)
    kept = read_record(tmp_path / "record.sqlite").measurements
    assert [one.validity.status for one in kept] == [ValidityStatus.VALID, ValidityStatus.ERROR]
    assert kept[1].runs
    workers = [int(one) for one in told.read_text().split() if one.isdigit()]
    assert len(workers) == 2
    assert all(gone(worker) for worker in workers)


def test_a_plan_that_does_not_say_how_many_tokens_a_step_has_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.touch()
    path = bench_file(tmp_path, f"log://{log}?framework=megatron", plan="global_batch = 8\n")
    with hw.open_bench(path) as bench, pytest.raises(UsageError, match="sequence_length") as caught:
        calibrate_training(bench)
    assert "[plan.training]" in caught.value.where


@needs_torch
def test_processes_that_really_train_in_bfloat16_are_calibrated_with_a_budget_and_end(tmp_path: Path) -> None:
    plan = "global_batch = 4\nsequence_length = 64\nwarm_up_steps = 5\nsteps = 40\nprecision = 'bf16'\n"
    address = "torch://local?processes=2&hidden=64&layers=2&heads=4&kv_heads=2&ffn=128&vocabulary=256"
    path = bench_file(tmp_path, address, driver="torch", timed="timed-here", indicated=1.0, plan=plan)
    with hw.open_bench(path) as bench:
        (result,) = calibrate_training(bench).results
        assert bench.the("training_job").release().actions == ()
    assert result.validity, result.validity.reasons
    assert result.evaluation is not None
    assert {"time base", "ends of the window", "repeatability"} <= {one.name for one in result.evaluation.budget}
    assert result.decision.verdict is Verdict.FAIL
    assert result.measurement.evidence["tokens_counted"] == [40 * 4 * 64] * 3
    assert not result.simulated
    assert result.measurement.settings["precision"] == "bf16"


def test_this_machine_trains_where_there_is_torch_and_says_what_to_install_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = load_bench("this-machine").instruments["training"]
    batch = load_bench("this-machine").plan.training.global_batch
    assert entry.optional
    assert batch is not None
    shape = shape_of(str(entry.address))
    assert batch % shape.processes == 0
    bare = tmp_path / "python"
    # without what is installed beside the standard library
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    text = Path(find_bench("this-machine")).read_text(encoding="utf-8")
    path = tmp_path / "bench.toml"
    path.write_text(text.replace("processes=2", f"processes=2&python={bare}"), encoding="utf-8")
    with hw.open_bench(with_needed(load_bench(path), ["training"], simulate=False)) as bench:
        assert "pip install torch" in bench.left_out["training"].advice


def test_the_simulated_server_trains_as_its_truth_says(simulated_bench: Callable[..., hw.Bench]) -> None:
    bench = simulated_bench(with_needed(load_bench("simulated-server"), ["training"], simulate=True))
    plan = bench.settings.plan.training.model_copy(update={"steps": 10})
    (result,) = calibrate_training(bench, plan=plan).results
    truth = bench.simulated["training"].truth
    assert result.simulated
    assert result.validity, result.validity.reasons
    runs = result.measurement.evidence["tokens"]
    assert runs == [10 * 16 * 4096] * 3
    first = bench.simulated["training"].options.warm_up_steps + 1
    assert result.measurement.value == pytest.approx(truth.rate(first, first + 30), rel=0.02)
    assert result.indication is not None


def test_the_specifications_plan_is_of_long_windows() -> None:
    plan = TrainingPlan().specification()
    assert (plan.duration, plan.runs) == (600.0, 6)
