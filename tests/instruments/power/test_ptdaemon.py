"""The PTDaemon client through our own server on a simulated meter: two programs that share no code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aicalib_hw.instruments.power.ptdaemon import PTDaemonMeter
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

from aicalib_hw.serve.ptdaemon import PTDaemonServer


@pytest.fixture
def address(simulated_power_meter: Any) -> Iterator[str]:
    with YokogawaWT300(simulated_power_meter.address) as meter:
        meter.configure(voltage_range=300.0, current_range=20.0, update_interval=0.1)
        server = PTDaemonServer([meter], port=0)
        host, port = server.start()
        yield f"ptdaemon://{host}:{port}"
        server.stop()


def test_a_simulated_meter_behind_the_daemon_is_known_for_one(address: str) -> None:
    with PTDaemonMeter(address, update_interval=0.1) as behind:
        assert behind.identity.simulated
        assert behind.identity.serial.startswith("SIM")
        assert "WT310E" in behind.identity.model


@pytest.mark.parametrize(
    "simulated_power_meter",
    [{"world": {"rate": 20, "platform": {"idle_power": 300.0, "full_power": 1500.0}}}],
    indirect=True,
)
def test_a_driver_that_reads_through_the_daemon_reads_the_truth(address: str, simulated_power_meter: Any) -> None:
    with PTDaemonMeter(address, update_interval=0.1) as behind:
        in_force = behind.configure(current_range=10.0)
        assert (in_force.current_range, in_force.auto_range) == ((10.0,), False)
        measured = behind.measure_power(0.6)
        energy = behind.measure_energy(0.5)
        reading = behind.read()
        (component,) = behind.components(reading)
    truth = simulated_power_meter.truth.active_power
    assert measured.value == pytest.approx(truth, rel=0.02)
    assert measured.validity, measured.validity.reasons
    assert measured.evidence["missed"] == 0
    assert energy.value == pytest.approx(0.5 * truth, rel=0.02)
    # 300 V x 10 A at 50 Hz, data sheet of the WT310E: at least 0.1 % of reading and 0.05 % of 3000 W
    assert component.half_width is not None
    assert component.half_width >= 0.001 * float(reading.active_power)
