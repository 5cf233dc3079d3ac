"""Calibrating power with meters that cannot say when they updated, and with one whose accuracy nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.bench import PowerPlan
from aicalib_hw.errors import UsageError
from aicalib_hw.procedures import calibrate_power


def bench_file(path: Path, driver: str, settings: str = "") -> Path:
    path.write_text(
        f"""
[bench]
name = "polled"
[instruments.meter]
driver = "{driver}"
simulator = "{driver}"
{settings}
[load]
source = "world"
[world]
rate = 20
[world.platform]
idle_power = 300.0
full_power = 1500.0
leakage = 0.0
ripple = 0.0
""",
        encoding="utf-8",
    )
    return path


def test_a_meter_that_is_polled_calibrates_power_within_its_uncertainty_and_gets_its_settings_back(
    simulated_bench: Callable[..., hw.Bench], tmp_path: Path
) -> None:
    ranges = "settings = { voltage_range = 300.0, current_range = 10.0 }"
    bench = simulated_bench(bench_file(tmp_path / "polled.toml", "hioki-pw3336", ranges))
    meter = bench.the("power_meter")
    before = meter.configure()
    plan = PowerPlan(loads=(1.0,), duration=2.0, runs=3, settle=1.0, ranging_duration=2.0, energy_duration=0)
    calibration = calibrate_power(bench, plan=plan)
    (result,) = calibration.results
    assert result.measurement.validity, result.measurement.validity.reasons
    assert calibration.notes == ()
    assert meter.configure() == before
    assert result.evaluation is not None
    with bench.load.run_load(1.0):
        for _ in range(20):
            meter.read()
        truth = bench.world.truth.active_power
    assert abs(result.evaluation.value - truth) < result.evaluation.expanded_uncertainty


def test_the_ranges_that_auto_range_found_are_held_while_the_load_still_runs(
    simulated_bench: Callable[..., hw.Bench], tmp_path: Path
) -> None:
    """PTDaemon cannot list its analyzer's ranges; with the load gone, auto range would have stepped down first."""
    bench = simulated_bench(bench_file(tmp_path / "daemon.toml", "ptdaemon"))
    meter = bench.the("power_meter")
    held: list[float] = []

    class Watched(type(meter)):  # type: ignore[misc]
        def configure(self, **settings: Any) -> Any:
            if settings.get("auto_range") is False:
                held.append(bench.world.truth.active_power)
            return super().configure(**settings)

    meter.__class__ = Watched
    plan = PowerPlan(loads=(1.0,), duration=4.0, runs=3, settle=0.0, ranging_duration=4.0, energy_duration=0)
    calibration = calibrate_power(bench, plan=plan)
    assert min(held) > 1400.0
    assert calibration.plan["ranging"]["current_range_A"] == 10.0
    assert calibration.results[0].measurement.validity, calibration.results[0].measurement.validity.reasons


def test_a_meter_whose_accuracy_nobody_knows_is_no_reference(
    simulated_bench: Callable[..., hw.Bench], tmp_path: Path
) -> None:
    bench = simulated_bench(bench_file(tmp_path / "unknown.toml", "hioki-pw3390"))
    with pytest.raises(UsageError) as refused:
        calibrate_power(bench)
    assert "no accuracy" in refused.value.what
    assert "certificate" in refused.value.advice
