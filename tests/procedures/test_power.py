"""The power procedure, scored against the truth of the simulated world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import aicalib_hw as hw
from aicalib_hw import units
from aicalib_hw.bench import PowerPlan
from aicalib_hw.errors import InstrumentError
from aicalib_hw.interfaces import PowerSettings
from aicalib_hw.metrology import Calibration, Verdict
from aicalib_hw.procedures import calibrate_power
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record
from tests.benches import in_a_stepped_world, stepped

from .stamps import Stamps

SETTINGS = {"auto_range": True, "update_interval": 0.5}
"""Of the meter, before it is used."""

SHORT = PowerPlan(loads=(0.0, 0.5, 1.0), duration=2.0, runs=3, settle=1.0, ranging_duration=1.0, energy_duration=0)


@dataclass(frozen=True)
class Calibrated:
    """One calibration, which several tests look at, with the truth at each point, W, and what was left behind."""

    calibration: Calibration
    true_power: dict[str, float]
    before: PowerSettings
    after: PowerSettings
    load_after: float


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """A calibration by the short plan, with an update interval that the meter does not have before."""
    with stepped(in_a_stepped_world(tmp_path_factory.mktemp("calibrated"))) as bench:
        meter = bench.the("power_meter")
        before = meter.configure(**SETTINGS)
        stamps = Stamps(bench)
        plan = SHORT.model_copy(update={"update_interval": 0.25})
        calibration = calibrate_power(bench, plan=plan, progress=stamps)
        truth = {one.title: stamps.true_power(one.title) for one in calibration.results}
        bench.world.clock.advance(0.1)  # what was set last acts in the next step
        return Calibrated(calibration, truth, before, meter.configure(), bench.world.platform.load)


def test_every_point_agrees_with_the_truth_within_its_expanded_uncertainty(calibrated: Calibrated) -> None:
    assert [result.asked_load for result in calibrated.calibration.results] == [0.0, 0.5, 1.0]
    for result in calibrated.calibration.results:
        assert result.validity, result.validity.reasons
        assert result.evaluation is not None
        true = calibrated.true_power[result.title]
        # U holds for the mean of the runs; the seconds between them add what the power drifts in a second.
        assert abs(result.evaluation.value - true) <= result.evaluation.expanded_uncertainty + 0.002 * true
        assert result.load == pytest.approx(result.asked_load, abs=0.02)
        assert result.simulated


def test_the_verdicts_of_the_shipped_bench_are_those_that_the_truth_demands(stepped_server: hw.Bench) -> None:
    bench = stepped_server
    stamps = Stamps(bench)
    *points, energy = calibrate_power(bench, progress=stamps).results
    assert (energy.quantity, energy.decision.verdict) == ("energy", Verdict.NOT_EVALUATED)
    seen = set()
    for result in points:
        assert result.indication is not None
        assert result.permissible_error is not None
        true = stamps.true_power(result.title)
        error = abs(units.convert(result.indication.value, result.indication.unit, "W") - true) / true
        verdict = result.decision.verdict
        seen.add(verdict)
        if verdict is Verdict.PASS:
            assert error <= result.permissible_error.value * 1.02
        elif verdict is Verdict.FAIL:
            assert error >= result.permissible_error.value * 0.98
        else:
            assert result.evaluation is not None
            relative = result.evaluation.expanded_uncertainty / result.evaluation.value
            assert verdict is Verdict.INDETERMINATE
            assert relative > result.permissible_error.value / 3
    assert seen == {Verdict.PASS, Verdict.FAIL, Verdict.INDETERMINATE}


def test_the_meter_gets_its_settings_back_and_the_load_is_stopped(calibrated: Calibrated) -> None:
    before, after = calibrated.before, calibrated.after
    assert (before.auto_range, before.update_interval) == (SETTINGS["auto_range"], SETTINGS["update_interval"])
    assert (after.auto_range, after.update_interval) == (before.auto_range, before.update_interval)
    assert calibrated.load_after == 0.0


def test_a_meter_that_dies_midway_leaves_no_load_and_loses_no_finished_run(
    stepped_server: hw.Bench, tmp_path: Path
) -> None:
    bench = stepped_server
    path = tmp_path / "record.sqlite"
    broken = False

    def die(done: float, note: str) -> None:
        nonlocal broken
        if "50% load, run 1" in note and not broken:
            broken = True
            bench.simulated["meter"].stop()

    with (
        pytest.raises(InstrumentError),
        Record.create(path, title="t", bench={}, rule="none", plan={}) as record,
    ):
        calibrate_power(bench, plan=SHORT, record=record, progress=die)
    bench.world.clock.advance(0.1)
    assert bench.world.platform.load == 0.0
    contents = read_record(path)
    assert contents.simulated
    assert len([one for one in contents.measurements if one.definition == "power/active/mean"]) >= SHORT.runs


def test_indications_that_contradict_each_other_take_nothing_of_what_was_measured(stepped_server: hw.Bench) -> None:
    bench = stepped_server
    said = next(one for one in bench.settings.indications if one.quantity == "power" and one.load == 0.5)
    other = said.model_copy(update={"value": 3.4, "source": "label"})
    bench.settings = bench.settings.model_copy(update={"indications": (*bench.settings.indications, other)})
    plan = SHORT.model_copy(update={"loads": (0.5, 1.0)})
    results = {result.asked_load: result for result in calibrate_power(bench, plan=plan).results}
    assert results[0.5].decision.verdict is Verdict.NOT_EVALUATED
    assert "3.4 kW (label)" in results[0.5].decision.reason
    assert results[0.5].evaluation is not None
    assert results[1.0].decision.verdict is not Verdict.NOT_EVALUATED


@pytest.mark.parametrize(("reached", "cause"), [(0.3, "held the load back"), (0.7, "held the platform up")])
def test_a_load_that_is_not_the_one_asked_makes_no_point_of_it(
    stepped_server: hw.Bench, reached: float, cause: str
) -> None:
    """The world's load is changed behind the procedure's back, as other programs of a host would."""
    bench = stepped_server

    def disturb(done: float, note: str) -> None:
        if note.startswith("50% load, run 1"):
            bench.world.platform.set_load(reached)

    plan = SHORT.model_copy(update={"loads": (0.5, 1.0)})
    half, full = calibrate_power(bench, plan=plan, progress=disturb).results
    assert full.validity, full.validity.reasons
    assert not half.validity
    assert half.evaluation is None
    assert half.load == pytest.approx(reached, abs=0.02)
    assert any("where 50% was asked" in reason and cause in reason for reason in half.validity.reasons)
