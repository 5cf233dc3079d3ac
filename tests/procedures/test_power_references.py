"""The meters of a power calibration: ranges, certificates, transducers, several of them, settings given back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.bench import PowerPlan
from aicalib_hw.errors import ConnectionLost, InstrumentError, UsageError
from aicalib_hw.interfaces import PowerMeterCapabilities
from aicalib_hw.metrology import Calibration
from aicalib_hw.procedures import calibrate_power
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record

from .stamps import Stamps

OpenBench = Callable[..., hw.Bench]

FULL = PowerPlan(
    loads=(1.0,), duration=1.0, runs=3, settle=0.5, ranging_duration=0.5, settle_tolerance=0.05, energy_duration=0
)

BENCH = """
[bench]
name = "references"
[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
{meter}
[load]
source = "world"
[world]
rate = {rate}
seed = 3
[world.platform]
idle_power = {idle}
full_power = {full}
phases = {phases}
time_constant = 0.5
{more}
"""


@pytest.fixture
def opened(simulated_bench: OpenBench, stepped_bench: OpenBench, tmp_path: Path) -> OpenBench:
    """Open a bench whose meter has these lines more; in a stepped world, if no rate is asked for."""

    def open_one(
        meter: str = "",
        more: str = "",
        *,
        idle: float = 300.0,
        full: float = 1200.0,
        phases: int = 1,
        rate: float = 0.0,
    ) -> hw.Bench:
        path = tmp_path / "references.toml"
        path.write_text(
            BENCH.format(meter=meter, more=more, idle=idle, full=full, phases=phases, rate=rate), encoding="utf-8"
        )
        return simulated_bench(path) if rate else stepped_bench(path)

    return open_one


def certificate(*points: tuple[float, float, float]) -> str:
    """Points as (range, at, correction), W."""
    expanded = "expanded_uncertainty = 2.0"
    lines = [
        f'{{ quantity = "power", unit = "W", range = {full}, at = {at}, correction = {add}, {expanded} }}'
        for full, at, add in points
    ]
    return f"""
[instruments.meter.certificate]
number = "C-9"
issuer = "a laboratory"
calibrated_on = 2020-01-01
valid_until = 2099-01-01
points = [{", ".join(lines)}]
"""


FIXED = 'options = { model = "WT310E" }\nsettings = { voltage_range = 300.0, current_range = 10.0 }\n'


def test_the_certificate_corrects_by_the_points_of_the_range_in_force(opened: OpenBench) -> None:
    """300 V and 10 A are 3 kW; the points of 6 kW would add 1000 W."""
    points = [(3000.0, 0.0, 40.0), (3000.0, 3000.0, 40.0), (6000.0, 0.0, 1000.0), (6000.0, 6000.0, 1000.0)]
    bench = opened(FIXED + certificate(*points))
    stamps = Stamps(bench)
    (result,) = calibrate_power(bench, plan=FULL, progress=stamps).results
    assert result.validity, result.validity.reasons
    true = stamps.true_power(result.title)
    assert result.measurement.value == pytest.approx(true + 40, rel=0.02)
    assert result.measurement.evidence["correction_W"] == pytest.approx([40.0] * 3)
    assert result.evaluation is not None
    lines = {line.name: line.standard_uncertainty for line in result.evaluation.budget}
    assert lines["certificate"] == 1.0
    # It stands instead of the limits of the data sheet, of which that of reading bounds the drift since: 0.1 % of it.
    assert not {"accuracy of reading", "accuracy of range"} & lines.keys()
    assert lines["drift since calibration"] == pytest.approx(0.001 * true / 3**0.5, rel=0.02)
    assert {"power factor", "self-heating"} <= lines.keys()


def test_a_drift_that_is_stated_stands_beside_the_certificate_in_power_and_energy(opened: OpenBench) -> None:
    text = certificate((3000.0, 0.0, 0.0), (3000.0, 3000.0, 0.0)).replace("points", "drift = 0.0003\npoints")
    bench = opened(FIXED + text)
    plan = FULL.model_copy(update={"energy_duration": 4})
    for result in calibrate_power(bench, plan=plan).results:
        assert result.validity, result.validity.reasons
        assert result.evaluation is not None
        lines = {line.name: line.standard_uncertainty for line in result.evaluation.budget}
        assert lines["drift since calibration"] == pytest.approx(0.0003 / 3**0.5 * result.evaluation.value)
        assert "certificate" in lines
        assert not {"accuracy of reading", "accuracy of range"} & lines.keys()


def test_an_expired_certificate_does_not_stand_instead_of_the_data_sheet(opened: OpenBench) -> None:
    text = certificate((3000.0, 0.0, 0.0), (3000.0, 3000.0, 0.0)).replace("2099-01-01", "2021-01-01")
    (result,) = calibrate_power(opened(FIXED + text), plan=FULL).results
    assert result.evaluation is not None
    names = {line.name for line in result.evaluation.budget}
    assert {"certificate", "accuracy of reading", "accuracy of range"} <= names
    assert "drift since calibration" not in names


def test_a_range_without_calibrated_points_is_refused_before_any_point_is_measured(opened: OpenBench) -> None:
    seen: list[str] = []
    bench = opened(FIXED + certificate((6000.0, 0.0, 1.0), (6000.0, 6000.0, 1.0)))
    with pytest.raises(UsageError, match="range in force") as refused:
        calibrate_power(bench, plan=FULL, progress=lambda _, note: seen.append(note))
    assert seen == ["ranging at full load"]
    assert refused.value.where.endswith("instruments.meter")
    bench.world.clock.advance(0.1)
    assert bench.world.platform.load == 0.0


def test_a_power_that_the_certificate_does_not_reach_is_not_valid_and_the_others_are(opened: OpenBench) -> None:
    bench = opened(FIXED + certificate((3000.0, 1000.0, 0.0), (3000.0, 3000.0, 0.0)))
    idle, full = calibrate_power(bench, plan=FULL.model_copy(update={"loads": (0.0, 1.0)})).results
    assert full.validity, full.validity.reasons
    assert not idle.validity
    assert idle.evaluation is None
    assert any("C-9 does not reach" in reason for reason in idle.validity.reasons)


def test_ranges_that_the_bench_file_fixes_are_kept(opened: OpenBench) -> None:
    """Left to itself, the meter would take 10 A for 6 A."""
    bench = opened('options = { model = "WT310E" }\nsettings = { current_range = 20.0 }')
    calibration = calibrate_power(bench, plan=FULL)
    assert calibration.plan["ranging"]["current_range_A"] == 20.0
    assert calibration.plan["ranging"]["voltage_range_V"] == 300.0
    assert calibration.results[0].measurement.settings["current_range"] == (20.0,)


def test_fixed_ranges_that_are_too_small_are_refused_by_name(opened: OpenBench) -> None:
    bench = opened('options = { model = "WT310E" }\nsettings = { voltage_range = 300.0, current_range = 1.0 }')
    with pytest.raises(UsageError, match="too small") as refused:
        calibrate_power(bench, plan=FULL)
    assert "instruments.meter" in refused.value.where


def without_auto_range(bench: hw.Bench) -> None:
    """Make the meter one that has ranges and does not choose among them."""
    meter: Any = bench.the("power_meter")

    class Manual(type(meter)):  # type: ignore[misc]
        @property
        def capabilities(self) -> PowerMeterCapabilities:
            found: PowerMeterCapabilities = super().capabilities
            return dataclasses.replace(found, auto_range=None)

        def configure(self, **settings: Any) -> Any:
            assert "auto_range" not in settings, "what the meter does not have was asked of it"
            return super().configure(**settings)

    meter.configure(auto_range=False)
    meter.__class__ = Manual


def test_a_meter_without_auto_range_measures_in_the_ranges_of_the_bench_file(opened: OpenBench) -> None:
    bench = opened(FIXED)
    without_auto_range(bench)
    calibration = calibrate_power(bench, plan=FULL)
    assert calibration.results[0].validity, calibration.results[0].validity.reasons
    assert calibration.plan["ranging"]["current_range_A"] == 10.0
    assert calibration.notes == ()


def test_a_meter_with_neither_is_refused_with_its_ranges_and_the_way_to_fix_them(opened: OpenBench) -> None:
    bench = opened('options = { model = "WT310E" }\nsettings = { voltage_range = 300.0 }')
    without_auto_range(bench)
    with pytest.raises(UsageError, match="cannot find its ranges") as refused:
        calibrate_power(bench, plan=FULL)
    assert "20 A" in refused.value.why
    assert "current_range" in refused.value.advice


def calibrated_while(bench: hw.Bench, path: Path, when: str, act: Callable[[], None]) -> Calibration:
    done = False

    def progress(_: float, note: str) -> None:
        nonlocal done
        if note.startswith(when) and not done:
            done = True
            act()

    with Record.create(path, title="t", bench={}, rule="none", plan={}) as record:
        return calibrate_power(bench, plan=FULL, record=record, progress=progress)


def test_settings_that_could_not_be_given_back_are_told_with_the_results(opened: OpenBench, tmp_path: Path) -> None:
    bench = opened()
    path = tmp_path / "record.sqlite"
    calibration = calibrated_while(bench, path, "100% load, done", bench.simulated["meter"].stop)
    assert calibration.results[0].validity
    assert [note for note in calibration.notes if "could not be given back" in note]
    contents = read_record(path)
    (event,) = [event for event in contents.events if event.kind == "not restored"]
    assert event.data["failures"]
    assert contents.calibrations[0].notes == calibration.notes


def test_the_first_error_is_the_one_that_is_raised_and_the_other_is_noted(opened: OpenBench, tmp_path: Path) -> None:
    bench = opened()
    with pytest.raises(InstrumentError) as caught:
        calibrated_while(bench, tmp_path / "record.sqlite", "100% load, run 2", bench.simulated["meter"].stop)
    assert isinstance(caught.value, ConnectionLost), caught.value
    (note,) = caught.value.__notes__
    assert "could not be given back: update_interval = " in note


CT = """
[instruments.meter.current_transducer]
model = "1000 A to 10 A"
ratio_error = 0.002
phase_error_arcmin = 10.0
source = "class 0.2"
"""


def test_200_kw_through_current_transformers_agree_with_the_truth_and_carry_their_limits(opened: OpenBench) -> None:
    """WT333E, 3P4W: per phase 300 V × 10 A × 100; limits of the sum from manual and class by hand."""
    meter = """options = { model = "WT333E", ct = 100.0, ct_error = 0.0018, ct_phase = 0.0025 }
settings = { wiring = "3P4W", ct_ratio = 100.0 }
"""
    bench = opened(meter + CT, idle=30e3, full=187e3, phases=3)
    stamps = Stamps(bench)
    (result,) = calibrate_power(bench, plan=FULL, progress=stamps).results
    assert result.validity, result.validity.reasons
    assert result.evaluation is not None
    value = result.evaluation.value
    assert 190e3 < value < 210e3
    assert abs(value - stamps.true_power(result.title)) < result.evaluation.expanded_uncertainty + 0.005 * value
    lines = {line.name: line.standard_uncertainty for line in result.evaluation.budget}
    assert lines["current transducer, ratio"] == pytest.approx(0.002 * value / math.sqrt(3))
    factor = result.measurement.evidence["power_factor"][0]
    tangent = math.tan(math.acos(factor))
    assert lines["current transducer, phase"] == pytest.approx(
        tangent * math.radians(10 / 60) * value / math.sqrt(3), rel=0.05
    )
    assert lines["accuracy of reading"] == pytest.approx(0.001 * value / math.sqrt(3), rel=0.01)


def test_a_reversed_current_transformer_is_told_and_keeps_its_sign(opened: OpenBench) -> None:
    """Of three equal phases one counts against the two others: a third of the power is what remains."""
    meter = 'options = { model = "WT333E", reversed_elements = [2] }\nsettings = { wiring = "3P4W" }\n'
    bench = opened(meter, idle=900.0, full=5600.0, phases=3)
    stamps = Stamps(bench)
    calibration = calibrate_power(bench, plan=FULL, progress=stamps)
    (note,) = [note for note in calibration.notes if "reversed" in note]
    assert "element 2 reads -" in note
    (result,) = calibration.results
    assert result.evaluation is not None
    assert result.evaluation.value == pytest.approx(stamps.true_power(result.title) / 3, rel=0.02)


def test_a_ratio_whose_transducer_nobody_described_is_refused(opened: OpenBench) -> None:
    bench = opened("settings = { ct_ratio = 100.0 }", full=50e3)
    with pytest.raises(UsageError, match="limits of error nobody stated") as refused:
        calibrate_power(bench, plan=FULL)
    assert "[instruments.meter.current_transducer]" in refused.value.advice


def test_a_transducer_that_the_meter_does_not_scale_by_is_refused(opened: OpenBench) -> None:
    with pytest.raises(UsageError, match="does not scale by it") as refused:
        calibrate_power(opened(CT), plan=FULL)
    assert "ct_ratio" in refused.value.advice


def test_a_sensor_that_somebody_left_selected_is_refused_before_a_range_would_switch_it_off(opened: OpenBench) -> None:
    bench = opened('options = { model = "WT310E", sensor_ratio = 10.0, external = "EX2" }')
    bench.the("power_meter").select_sensor(0.5, 10.0)
    with pytest.raises(UsageError, match="external sensor") as refused:
        calibrate_power(bench, plan=FULL)
    assert "ct_ratio" in refused.value.advice


SECOND = """
[instruments.second]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
options = { model = "WT310E" }
"""


def test_two_meters_are_one_sum_with_the_limits_of_both(opened: OpenBench, tmp_path: Path) -> None:
    """Both stand on the same mains here, so their sum is twice the platform's power.

    In real time: in a fast world the stamps, by this host's clock, would tell of the host's delays and not of updates.
    """
    bench = opened(FIXED + SECOND, rate=1.0)
    path = tmp_path / "record.sqlite"
    stamps = Stamps(bench)
    with Record.create(path, title="t", bench={}, rule="none", plan={}) as record:
        (result,) = calibrate_power(bench, plan=FULL, record=record, progress=stamps).results
    assert result.validity, result.validity.reasons
    assert result.evaluation is not None
    true = 2 * stamps.true_power(result.title)
    assert result.evaluation.value == pytest.approx(true, rel=0.01)
    lines = {line.name: line.standard_uncertainty for line in result.evaluation.budget}
    alone = 0.001 * true / 2 / math.sqrt(3)
    assert lines["meter: accuracy of reading"] == pytest.approx(alone, rel=0.02)
    assert result.evaluation.standard_uncertainty > 1.9 * alone
    assert result.simulated
    kept = [one for one in read_record(path).measurements if one.definition == "power/active/mean"]
    assert {one.identity.serial for one in kept} >= {one.identity.serial for one in bench.of_role("power_meter")}


def test_two_meters_are_read_at_one_instant(opened: OpenBench) -> None:
    bench = opened(SECOND, rate=10.0)
    sample = hw.sample_together(*bench.of_role("power_meter"))
    assert len(sample.readings) == 2
    assert sample.skew < 0.5
    assert {reading.active_power.source.serial for reading in sample.readings} == {
        one.identity.serial for one in bench.of_role("power_meter")
    }


def test_if_one_of_two_fails_the_other_does_not_go_on(opened: OpenBench) -> None:
    bench = opened(SECOND, rate=10.0)
    bench.simulated["second"].stop()
    with pytest.raises(InstrumentError):
        hw.sample_together(*bench.of_role("power_meter"))
    with pytest.raises(UsageError):
        hw.sample_together()
