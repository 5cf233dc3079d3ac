"""What an integrator writes: tests of a calibration program against simulated instruments."""

from __future__ import annotations

import time
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.interfaces import Gate, Stream


@pytest.fixture
def began() -> float:
    return time.monotonic()


def test_a_simulated_meter_is_ready_within_half_a_second(began: float, simulated_power_meter: Any) -> None:
    assert simulated_power_meter.address.startswith("TCPIP::127.0.0.1")
    assert time.monotonic() - began < 0.5


def test_a_meter_is_opened_by_its_bare_address_and_says_that_it_is_simulated(simulated_power_meter: Any) -> None:
    with hw.open_instrument(simulated_power_meter.address) as meter:
        assert isinstance(meter, hw.PowerMeter)
        assert meter.identity.simulated
        assert float(meter.read().active_power) > 0


def test_a_reading_agrees_with_the_truth(simulated_power_meter: Any) -> None:
    with hw.open_instrument(simulated_power_meter.address) as meter:
        before = simulated_power_meter.truth.active_power
        reading = meter.read()
        after = simulated_power_meter.truth.active_power
        limit = 3 * sum(component.half_width or 0.0 for component in meter.components(reading))
        # The platform warms up meanwhile, and draws more for it.
        assert min(before, after) - limit < float(reading.active_power) < max(before, after) + limit


@pytest.mark.parametrize("simulated_accelerator", [{}, {"simulator": "ascend", "model": "910"}], indirect=True)
def test_an_accelerator_is_opened_by_its_address_and_says_that_it_is_simulated(simulated_accelerator: Any) -> None:
    with hw.open_instrument(simulated_accelerator.address) as device:
        assert isinstance(device, hw.Accelerator)
        assert device.identity.simulated
        power = device.read().power
        assert power is not None
        assert float(power) == pytest.approx(simulated_accelerator.truth.power, rel=0.1)


@pytest.mark.parametrize(
    ("simulated_network_tester", "receiver"),
    [({}, "0/1"), ({"simulator": "otg"}, "sim;1;2")],
    indirect=["simulated_network_tester"],
)
def test_a_port_of_800_gbit_is_measured_within_what_the_result_states(
    simulated_network_tester: Any, receiver: str
) -> None:
    with hw.open_instrument(simulated_network_tester.address) as tester:
        assert isinstance(tester, hw.NetworkTester)
        assert tester.identity.simulated
        there, back = (port.port for port in tester.ports())
        with tester.reserve([there, back], owner="test") as reservation:
            reservation.configure([Stream("there", there, back, 1518, 1.0)])
            result = reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
    limit = sum(component.half_width or 0.0 for component in result.components)
    assert limit < 2e-4
    assert result.value == pytest.approx(simulated_network_tester.truth.rate(receiver, "L2"), rel=limit)
