"""The PW333x driver against its simulator, judged by the truth of the world and by the data sheet's limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aicalib_hw.instruments.power.hioki_pw3336 import HiokiPW3336

from aicalib_hw import registry
from aicalib_hw.readings import Measurement, Status

SMALL = {"idle_power": 300.0, "full_power": 1500.0, "leakage": 0.0, "ripple": 0.0}
LARGE = {"idle_power": 40e3, "full_power": 200e3, "phases": 3, "leakage": 0.0, "ripple": 0.0}


@contextmanager
def bench(platform: dict[str, Any], load: float = 1.0, **options: Any) -> Iterator[tuple[HiokiPW3336, Any]]:
    """An open driver on a simulated meter that sees a steady load."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 20, "platform": platform})
    simulated = registry.simulator("hioki-pw3336")(world, "meter", **options)
    world.start()
    simulated.start()
    world.run_load(load)
    world.clock.wait_until(world.clock.now() + 2.0)  # ten updates: no update of a measurement reaches back before it
    try:
        with HiokiPW3336(simulated.address) as meter:
            yield meter, simulated
    finally:
        simulated.stop()
        world.stop()


def limit(measurement: Measurement) -> float:
    """Sum of the stated limits of error, in the measurement's unit; relative ones of its value."""
    value = abs(float(measurement.value or 0.0))
    return sum((one.half_width or 0.0) * (value if one.relative else 1.0) for one in measurement.components)


def test_power_is_true_within_the_limits_that_the_driver_states() -> None:
    with bench(SMALL, model="PW3336") as (meter, simulated):
        meter.configure(wiring="1P2W", voltage_range=300.0, current_range=10.0)
        measured = meter.measure_power(4.0)
        truth = simulated.truth.active_power
    assert measured.validity, measured.validity.reasons
    assert measured.value == pytest.approx(truth, abs=limit(measured))
    assert 0.001 < limit(measured) / truth < 0.01
    assert measured.evidence["missed"] is None  # the meter does not tell


def test_200_kilowatts_on_three_phases_through_transducers_are_true_within_the_limits() -> None:
    with bench(LARGE, model="PW3337", ct=100.0) as (meter, simulated):
        meter.configure(wiring="3P4W", voltage_range=300.0, current_range=5.0, ct_ratio=100.0)
        measured = meter.measure_power(4.0)
        reading = meter.read()
        truth = simulated.truth.active_power
    assert measured.validity, measured.validity.reasons
    assert truth > 150e3
    assert measured.value == pytest.approx(truth, abs=limit(measured))
    assert limit(measured) / truth < 0.006
    assert reading.elements[0].active_power.range == 150e3
    assert sum(float(one.active_power) for one in reading.elements) == pytest.approx(
        float(reading.active_power), rel=1e-3
    )


@pytest.mark.parametrize("duration", [12.0, 60.0])
def test_energy_by_the_meters_own_clock_or_timer_is_true_within_the_limits(duration: float) -> None:
    with bench(SMALL, model="PW3336") as (meter, simulated):
        meter.configure(wiring="1P2W", voltage_range=300.0, current_range=10.0)
        energy = meter.measure_energy(duration)
        truth = simulated.truth.active_power * duration
        assert meter.integration_state() == "RESET"
    assert energy.validity, energy.validity.reasons
    assert energy.value == pytest.approx(truth, abs=limit(energy))
    assert energy.evidence["elapsed_s"] == duration


def test_a_look_that_shows_what_was_there_before_the_end_takes_nothing_from_an_exact_energy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bench(SMALL, model="PW3336") as (meter, _):
        meter.configure(wiring="1P2W", voltage_range=300.0, current_range=10.0)
        looks: list[float] = []

        def integrated() -> tuple[float | None, float, Status]:
            energy, elapsed, status = HiokiPW3336.integrated(meter)
            looks.append(float(energy or 0.0))
            return (energy, elapsed, status) if len(looks) > 1 else (0.9 * looks[0], elapsed - 1.0, status)

        monkeypatch.setattr(meter, "integrated", integrated)
        energy = meter.measure_energy(60.0)
    assert len(looks) > 1
    assert energy.validity, energy.validity.reasons
    assert energy.value == looks[-1]
    assert "moment of the end" not in {one.name for one in energy.components}


def test_a_range_that_is_too_small_is_a_status_and_auto_range_finds_one_that_fits() -> None:
    with bench(SMALL, model="PW3336") as (meter, simulated):
        meter.configure(wiring="1P2W", voltage_range=300.0, current_range=1.0)
        meter.read()
        assert Status.OVER_RANGE in meter.read().status
        meter.configure(auto_range=True)
        for _ in range(30):
            reading = meter.read()
        assert not reading.status
        assert float(reading.active_power) == pytest.approx(simulated.truth.active_power, rel=0.01)


def test_what_is_held_is_stale_and_goes_on_afterwards() -> None:
    with bench(SMALL, model="PW3335") as (meter, _):
        meter.configure(voltage_range=300.0, current_range=10.0)
        assert any(meter.read().status == Status.VALID for _ in range(10))  # a new range has no data at first
        meter.hold(True)
        assert meter.read(timeout=0.1).status == Status.STALE
        meter.hold(False)
        assert meter.read().status == Status.VALID


def test_distortion_is_read_from_every_channel() -> None:
    with bench(SMALL, model="PW3337") as (meter, _):
        meter.read()
        found = meter.total_harmonic_distortion()
    assert len(found) == 3
    assert float(found[0][0]) == pytest.approx(1.5, rel=0.2)


def test_an_integration_that_was_left_running_is_stopped_and_reset_at_the_end() -> None:
    with bench(SMALL, model="PW3336") as (meter, simulated):
        meter.start_integration()
        assert meter.integration_state() == "START"
        assert meter.close().actions
        with HiokiPW3336(simulated.address) as again:
            assert again.integration_state() == "RESET"
