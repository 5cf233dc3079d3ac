"""The WT300 driver against the simulated meter, judged by the truth of the simulated world."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import pytest
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

from aicalib_hw import registry
from aicalib_hw.errors import (
    OutOfRange,
    UsageError,
)
from aicalib_hw.metrology.budget import standard_uncertainty
from aicalib_hw.readings import Measurement, Status

REAL_TIME = {"world": {"rate": 1}}
THREE = {"model": "WT333E", "world": {"rate": 20, "platform": {"phases": 3}}}


@pytest.mark.parametrize(
    "setting",
    [
        {"voltage_range": 150.0},
        {"current_range": 0.005},
        {"crest_factor": "6", "voltage_range": 7.5, "current_range": 10.0},
        {"crest_factor": "6A", "voltage_range": 300.0},
        {"update_interval": 0.1},
        {"update_interval": 20.0},
        {"ct_ratio": 100.0},
        {"vt_ratio": 0.001},
        {"line_filter": True},
        {"averaging": 64},
        {"averaging": 1},
        {"auto_range": True},
    ],
)
def test_what_is_set_is_in_force(meter: YokogawaWT300, setting: Mapping[str, Any]) -> None:
    in_force = meter.configure(**setting)
    for name, wanted in setting.items():
        assert getattr(in_force, name) in (wanted, (wanted,))


@pytest.mark.parametrize(
    "setting",
    [
        {"voltage_range": 230.0},
        {"voltage_range": 7.5},
        {"current_range": 40.0},
        {"current_range": float("nan")},
        {"crest_factor": "6", "voltage_range": 600.0},
        {"crest_factor": "4"},
        {"update_interval": 0.3},
        {"ct_ratio": 0.0},
        {"vt_ratio": 10000.0},
        {"averaging": 7},
        {"wiring": "3P4W"},
        {"elements": (1, 2)},
        {"auto_range": True, "voltage_range": 300.0},
    ],
)
def test_what_this_meter_does_not_have_is_refused_before_anything_is_set(
    simulated_power_meter: Any, meter: YokogawaWT300, setting: Mapping[str, Any]
) -> None:
    before = len(simulated_power_meter.exchanges)
    with pytest.raises((OutOfRange, UsageError)):
        meter.configure(line_filter=True, **setting)
    sent = [data for direction, data in simulated_power_meter.exchanges[before:] if direction == ">"]
    assert all(data.strip().endswith(b"?") for data in sent)


@pytest.mark.parametrize("simulated_power_meter", [REAL_TIME], indirect=True)
def test_a_reader_that_is_too_slow_is_told_what_it_missed(meter: YokogawaWT300) -> None:
    """However long the host lets it sleep: what was read and what was missed together are the updates of that time."""
    meter.configure(update_interval=0.1)
    updates = meter.stream()
    first = next(updates)
    time.sleep(0.75)
    later = [next(updates), next(updates)]
    passed = later[-1].window.stop.seconds_since(first.window.stop) / 0.1
    missed = sum(reading.missed or 0 for reading in later)
    assert missed >= 5
    assert len(later) + missed == pytest.approx(passed, abs=2.0)


def test_a_second_look_at_the_same_update_is_marked(meter: YokogawaWT300) -> None:
    meter.configure(update_interval=20.0)
    meter.read()
    assert Status.STALE in meter.read(fresh=False).status


def test_the_shown_power_is_the_true_power_within_the_limits_of_error(
    simulated_power_meter: Any, meter: YokogawaWT300
) -> None:
    reading = meter.read()
    allowed = sum(one.half_width or 0.0 for one in meter.components(reading))
    true = simulated_power_meter.truth.active_power
    assert abs(float(reading.active_power) - true) < allowed + 0.01 * true
    assert float(reading.voltage) == pytest.approx(230.0, rel=0.003)


def _expanded(measurement: Measurement) -> float:
    """Twice the standard uncertainty that the driver's own components state, in the value's unit."""
    assert measurement.value is not None
    sizes = [standard_uncertainty(one, measurement.value, measurement.unit) for one in measurement.components]
    return 2 * math.hypot(*sizes)


def test_the_energy_is_the_true_energy_within_the_stated_uncertainty(
    simulated_power_meter: Any, meter: YokogawaWT300
) -> None:
    clock, truth = simulated_power_meter.world.clock, simulated_power_meter.truth
    time.sleep(0.5)
    began = clock.now()
    measurement = meter.measure_energy(30.0)
    assert measurement.validity
    assert measurement.unit == "J"
    assert measurement.value is not None
    true = truth.energy_between(began, clock.now()) * 30.0 / (clock.now() - began)
    assert abs(measurement.value - true) < _expanded(measurement) + 0.002 * true
    assert meter.integration_state() == "RESET"


def test_the_mean_power_is_the_true_mean_within_the_stated_uncertainty(
    simulated_power_meter: Any, meter: YokogawaWT300
) -> None:
    clock, truth = simulated_power_meter.world.clock, simulated_power_meter.truth
    time.sleep(0.5)
    began = clock.now()
    measurement = meter.measure_power(30.0)
    assert measurement.validity
    assert measurement.value is not None
    end = clock.now()
    true = truth.energy_between(began, end) / (end - began)
    assert abs(measurement.value - true) < _expanded(measurement) + 0.002 * true


@pytest.mark.parametrize("simulated_power_meter", [THREE], indirect=True)
def test_three_elements_sum_to_the_total(simulated_power_meter: Any) -> None:
    with YokogawaWT300(simulated_power_meter.address) as meter:
        meter.configure(wiring="3P4W", voltage_range=300.0, current_range=10.0)
        reading = meter.read()
        parts = [float(element.active_power) for element in reading.elements]
        assert len(parts) == 3
        assert float(reading.active_power) == pytest.approx(sum(parts), rel=1e-3)
        assert float(reading.active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.01)
        assert meter.configure(wiring="3V3A").wiring == "3V3A"
        two = meter.read()
        both = float(two.elements[0].active_power) + float(two.elements[2].active_power)
        assert float(two.active_power) == pytest.approx(both, rel=1e-3)


@pytest.mark.parametrize("simulated_power_meter", [{"ct": 100.0}], indirect=True)
def test_a_current_transformer_scales_power_range_and_limits_of_error(
    meter: YokogawaWT300, simulated_power_meter: Any
) -> None:
    meter.configure(ct_ratio=100.0, current_range=0.2)
    reading = meter.read()
    assert float(reading.active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.02)
    assert reading.total.current.range == pytest.approx(20.0)
    assert reading.active_power.range == pytest.approx(6000.0)
    scaled = meter.components(reading)
    without = registry.simulator("yokogawa-wt300")(simulated_power_meter.world, "meter without a transformer")
    without.start()
    try:
        with YokogawaWT300(without.address) as other:
            other.configure(voltage_range=300.0, current_range=20.0)
            direct = other.components(other.read())
    finally:
        without.stop()
    assert {one.name for one in scaled} == {one.name for one in direct}
    for one, behind in zip(direct, scaled, strict=True):
        if one.name != "self-heating":
            assert behind.half_width == pytest.approx(one.half_width, rel=0.05)


@pytest.mark.parametrize("simulated_power_meter", [{"sensor_ratio": 10.0, "external": "EX2"}], indirect=True)
def test_a_sensor_of_voltage_output_is_read_in_amperes_told_with_its_ratio_and_heats_no_shunt(
    meter: YokogawaWT300, simulated_power_meter: Any
) -> None:
    meter.select_sensor(0.5, 10.0)
    reading = meter.read()
    assert float(reading.active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.02)
    assert reading.settings.sensor_ratio == (10.0,)
    assert (meter.snapshot()["sensor_ratio"].value, meter.snapshot()["sensor_ratio"].unit) == ((10.0,), "mV/A")
    assert reading.settings.current_range == (50.0,)
    power = float(reading.active_power)
    limits = {one.name: one.half_width for one in meter.components(reading)}
    assert limits["self-heating"] == pytest.approx(power * 1e-9 * float(reading.voltage) ** 2)
    meter.configure(crest_factor="6")
    with pytest.raises(OutOfRange):
        meter.select_sensor(2.0, 10.0)
    meter.select_sensor(0.25, 10.0)
    assert meter.read().settings.current_range == (25.0,)
    assert meter.configure(current_range=10.0).sensor_ratio is None


def test_a_ratio_without_its_transformer_is_taken_at_its_word(meter: YokogawaWT300, simulated_power_meter: Any) -> None:
    meter.configure(ct_ratio=2.0)
    doubled = float(meter.read().active_power)
    assert doubled == pytest.approx(2 * simulated_power_meter.truth.active_power, rel=0.02)


@pytest.mark.parametrize("ratio", [2.0, 100.0])
def test_a_transformer_ratio_multiplies_what_the_ranges_reach(meter: YokogawaWT300, ratio: float) -> None:
    before = meter.read().active_power.range
    meter.configure(ct_ratio=ratio)
    after = meter.read().active_power.range
    assert before is not None
    assert after == pytest.approx(ratio * before)
