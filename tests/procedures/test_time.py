"""Durations, windows and stamps of a bench are of one time; a world of another rate is told with all of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import aicalib_hw as hw
from aicalib_hw.bench import PowerPlan, load_bench
from aicalib_hw.metrology import Result
from aicalib_hw.metrology.budget import evaluate
from aicalib_hw.procedures import calibrate_power
from aicalib_hw.records import read_record
from aicalib_hw.records.export import export_csv
from aicalib_hw.records.store import Record
from aicalib_hw.reports.html import write_report

OpenBench = Callable[..., hw.Bench]

PLAN = PowerPlan(loads=(0.5,), duration=1.0, runs=3, settle=0.5, ranging_duration=0.5, energy_duration=2)


def test_the_world_of_every_shipped_bench_runs_in_real_time() -> None:
    for name in ("simulated-server", "this-machine"):
        assert load_bench(name).time_remark == ""


def test_updates_of_the_shipped_server_follow_each_other_without_overlap(simulated_bench: OpenBench) -> None:
    meter = simulated_bench("simulated-server").the("power_meter")
    meter.configure(voltage_range=300.0, current_range=20.0, update_interval=0.25)
    windows = [reading.window for reading in meter.stream(duration=2.0)]
    assert len(windows) == 8
    assert all(later.stop.monotonic_ns > earlier.stop.monotonic_ns for earlier, later in pairwise(windows))
    # Read a little late, one may seem to overlap the next; together they last as long as they say.
    assert windows[-1].stop.seconds_since(windows[0].start) > 0.8 * sum(window.duration for window in windows)


@pytest.mark.parametrize("rate", [1, 10])
def test_energy_over_its_window_is_the_mean_power(simulated_bench: OpenBench, fast_server: Path, rate: int) -> None:
    bench = simulated_bench(fast_server if rate == 10 else "simulated-server")
    meter = bench.the("power_meter")
    meter.configure(voltage_range=300.0, current_range=20.0, update_interval=0.25)
    with bench.load.run_load(0.5):
        energy = meter.measure_energy(duration=3.0)
        power = meter.measure_power(3.0)
    assert energy.validity
    assert power.validity
    assert energy.window.duration == pytest.approx(3.0, abs=1e-6)
    budget = evaluate(float(energy.value), energy.unit, energy.components)
    expected = float(power.value) * energy.window.duration
    # U of the energy, and what heat adds to the power in these seconds.
    assert abs(float(energy.value) - expected) < budget.expanded_uncertainty + 0.02 * expected
    assert budget.expanded_uncertainty < 0.15 * expected
    # No upper bound on this host's clock, which a busy host may hold up.
    assert power.window.duration > 2.4


def lasted_as_planned(power: Result, energy: Result) -> None:
    for run in power.measurement.runs:
        assert 0.8 * PLAN.duration < run.window.duration < 2 * PLAN.duration
    assert energy.measurement.window.duration == pytest.approx(PLAN.energy_duration, abs=1e-6)


def test_runs_of_the_shipped_server_last_as_long_as_the_plan_says(simulated_bench: OpenBench) -> None:
    lasted_as_planned(*calibrate_power(simulated_bench("simulated-server"), plan=PLAN).results)


def test_a_world_of_another_rate_keeps_to_the_plan_and_is_told_with_every_measurement_and_on_every_page(
    simulated_bench: OpenBench, fast_server: Path, tmp_path: Path
) -> None:
    bench = simulated_bench(fast_server)
    told = "10 times as fast as this host's clock"
    assert told in bench.settings.time_remark
    settings = {"file": str(fast_server), **bench.settings.model_dump(mode="json")}
    path = tmp_path / "record.sqlite"
    with Record.create(path, title="t", bench=settings, rule="none", plan={}) as record:
        result, energy = calibrate_power(bench, plan=PLAN, record=record).results
    lasted_as_planned(result, energy)
    assert told in result.measurement.identity.extra["times"]
    contents = read_record(path)
    assert all(told in one.identity.extra["times"] for one in contents.measurements)
    with export_csv(contents, tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        assert {row["world_rate"] for row in csv.DictReader(file)} == {"10"}
    assert "10 times as fast as the host" in write_report(path, tmp_path / "en.html").read_text(encoding="utf-8")
    chinese = write_report(path, tmp_path / "zh.html", language="zh").read_text(encoding="utf-8")
    assert "主机时钟的 10 倍" in chinese
