"""The larger Yokogawa meters and the LMG600 against their simulators, judged by the truth of the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aicalib_hw import registry
from aicalib_hw.errors import NotSupported, UsageError
from aicalib_hw.readings import Status

from ...pacing import Pace

THREE_PHASES = {"phases": 3}
Opened = Callable[..., tuple[Any, Any]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """A function that opens a driver on its simulator in a world of its own, on three phases at half load."""
    ends: list[Callable[[], Any]] = []

    def open_one(name: str, *, rate: float = 20.0, **options: Any) -> tuple[Any, Any]:
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate, "platform": THREE_PHASES})
        simulated = registry.simulator(name)(world, name)
        world.start()
        simulated.start()
        world.run_load(0.5)
        if rate:
            world.clock.wait_until(world.clock.now() + 2.0)  # no update of a measurement reaches back before it
        else:
            world.clock.advance(2.0)
        meter = registry.driver(name)(simulated.address, **options)
        ends.extend([world.stop, simulated.stop, meter.close])
        return meter.open(), simulated

    yield open_one
    for end in reversed(ends):
        end()


@pytest.mark.parametrize("name", ["yokogawa-wt300", "yokogawa-wt1800", "yokogawa-wt3000", "yokogawa-wt5000"])
def test_a_stream_yields_each_update_of_the_meter_once_and_in_order(opened: Opened, name: str) -> None:
    """The world moves on by one update with each wait for one, so that it is known which the meter shows."""
    pace = Pace("WAIT?", 0.5)
    meter, simulated = opened(name, rate=0.0, trace=pace)
    meter.configure(voltage_range=300.0, current_range=10.0, update_interval=0.5)
    pace.begin(simulated.world)
    shown, read = [], []
    for reading in meter.stream(duration=10.0):
        shown.append(simulated.device.shown().samples[1].voltage)
        read.append(float(reading.elements[0].voltage))
    assert len(read) == 20
    assert len(set(shown)) == 20
    assert read == pytest.approx(shown, rel=2e-5)
    assert simulated.world.clock.now() - 2.0 == pytest.approx(10.0)


@pytest.mark.parametrize("name", ["yokogawa-wt3000", "yokogawa-wt1800"])
def test_three_elements_sum_to_the_true_power(opened: Opened, name: str) -> None:
    meter, simulated = opened(name)
    meter.configure(wiring="3P4W", voltage_range=300.0, current_range=10.0)
    meter.read()
    reading = meter.read()
    assert reading.status is Status.VALID
    parts = [float(element.active_power) for element in reading.elements[:3]]
    assert float(reading.active_power) == pytest.approx(sum(parts), rel=1e-3)
    assert float(reading.active_power) == pytest.approx(simulated.truth.active_power, rel=0.01)
    assert {element.active_power.range for element in reading.elements[:3]} == {3000.0}


@pytest.mark.parametrize("name", ["yokogawa-wt3000", "yokogawa-wt1800"])
def test_the_energy_of_the_sum_is_the_true_energy(opened: Opened, name: str) -> None:
    meter, simulated = opened(name)
    meter.configure(wiring="3P4W", voltage_range=300.0, current_range=10.0)
    clock = simulated.world.clock
    began = clock.now()
    measurement = meter.measure_energy(20.0)
    assert measurement.validity, measurement.validity.reasons
    true = simulated.truth.energy_between(began, clock.now()) * 20.0 / (clock.now() - began)
    assert measurement.value == pytest.approx(true, rel=0.01)
    assert meter.integration_state() == "RESET"


def test_what_no_accuracy_is_stated_for_keeps_its_value_and_is_invalid(opened: Opened) -> None:
    """The WT3000's data sheet, as far as it is known, says nothing of its line filter."""
    meter, _ = opened("yokogawa-wt3000")
    meter.configure(wiring="3P4W", voltage_range=300.0, current_range=10.0, line_filter=True)
    for measurement in (meter.measure_power(3.0), meter.measure_energy(3.0)):
        assert measurement.value is not None
        assert not measurement.validity
        assert "line filter" in measurement.validity.reasons[0]


@pytest.mark.parametrize("name", ["yokogawa-wt1800", "yokogawa-wt5000", "zes-lmg600"])
def test_the_evidence_says_that_nothing_is_calibrated_against_a_meter_of_unknown_accuracy(
    opened: Opened, name: str
) -> None:
    meter, _ = opened(name)
    assert meter.capabilities.uncertainty is None
    for measurement in (meter.measure_power(1.0), meter.measure_energy(1.0)):
        assert "nothing may be calibrated" in measurement.evidence["accuracy"]


def test_what_is_known_of_the_accuracy_is_not_denied(opened: Opened) -> None:
    meter, _ = opened("yokogawa-wt3000")
    assert "accuracy" not in meter.measure_power(1.0).evidence


def test_elements_have_ranges_of_their_own(opened: Opened) -> None:
    meter, _ = opened("yokogawa-wt3000")
    meter.configure(voltage_range=300.0, current_range=20.0)
    settings = meter.configure(elements=(2,), voltage_range=600.0, current_range=5.0)
    assert settings.voltage_range[:3] == (300.0, 600.0, 300.0)
    assert settings.current_range[:3] == (20.0, 5.0, 20.0)


def test_every_cycle_of_the_lmg_comes_once_with_its_own_length(opened: Opened) -> None:
    meter, simulated = opened("zes-lmg600", rate=4.0, channels=(1, 2, 3))
    assert meter.configure(voltage_range=250.0, current_range=10.0, update_interval=0.5).update_interval == 0.5
    readings = list(meter.stream(duration=5.0))
    assert len(readings) == 10
    assert [reading.missed for reading in readings] == [0] * 10
    assert readings[0].window.duration == pytest.approx(0.5, abs=0.02)
    assert len({reading.window.rule for reading in readings}) == 10
    assert float(readings[-1].active_power) == pytest.approx(simulated.truth.active_power, rel=0.01)


def test_the_energy_of_the_lmgs_cycles_is_the_true_energy(opened: Opened) -> None:
    meter, simulated = opened("zes-lmg600", channels=(1, 2, 3))
    meter.configure(voltage_range=250.0, current_range=10.0)
    measurement = meter.measure_energy(20.0)
    assert measurement.validity, measurement.validity.reasons
    length = float(measurement.evidence["elapsed_s"])
    assert measurement.value == pytest.approx(simulated.truth.active_power * length, rel=0.01)
    with pytest.raises(NotSupported):
        meter.components(meter.read())


def test_a_stream_of_the_lmg_that_is_left_alone_is_stopped_by_closing_it(opened: Opened) -> None:
    meter, simulated = opened("zes-lmg600")
    stream = meter.stream()
    next(stream)
    with pytest.raises(UsageError):
        meter.configure(update_interval=1.0)
    stream.close()
    assert meter.configure(update_interval=1.0).update_interval == 1.0
    assert float(meter.read().voltage) == pytest.approx(230.0, rel=0.01)
    assert simulated.device.reader is None


def test_harmonics_are_read_where_they_are_fitted(opened: Opened) -> None:
    meter, _ = opened("yokogawa-wt3000")
    pairs = meter.total_harmonic_distortion()
    assert len(pairs) == meter.capabilities.elements
    assert {one.unit for pair in pairs for one in pair} == {"%"}
