"""The WT300 driver against a real meter: `pytest -m hardware --meter TCPIP::192.168.1.7::INSTR`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

pytestmark = pytest.mark.hardware


@pytest.fixture
def meter(pytestconfig: pytest.Config) -> Iterator[YokogawaWT300]:
    address = pytestconfig.getoption("--meter")
    if not address:
        pytest.fail("no address of a meter was given: --meter ADDRESS")
    with YokogawaWT300(address) as opened:
        yield opened


def test_it_is_a_real_meter_of_the_family(meter: YokogawaWT300) -> None:
    assert not meter.identity.simulated
    assert meter.identity.serial


def test_every_setting_reads_back_as_it_was_set(meter: YokogawaWT300) -> None:
    before = meter.settings.in_force()
    for interval in meter.capabilities.update_intervals or ():
        assert meter.configure(update_interval=interval).update_interval == interval
    for full in meter.capabilities.voltage_ranges or ():
        assert meter.configure(crest_factor="3", voltage_range=full).voltage_range[0] == full
    for crest in ("6", "6A", "3"):
        assert meter.configure(crest_factor=crest).crest_factor == crest
    meter.configure(auto_range=True, update_interval=before.update_interval, line_filter=before.line_filter)


def test_updates_come_once_each_at_the_interval_that_was_set(meter: YokogawaWT300) -> None:
    meter.configure(update_interval=0.5)
    readings = list(meter.stream(duration=10.0))
    assert len(readings) == 20
    assert sum(reading.missed or 0 for reading in readings) == 0
    elapsed = readings[-1].window.stop.seconds_since(readings[0].window.stop)
    assert elapsed == pytest.approx(9.5, abs=0.3)


def test_the_integrator_agrees_with_the_mean_power(meter: YokogawaWT300) -> None:
    meter.configure(auto_range=True, update_interval=0.5)
    first = meter.measure_power(5.0)
    energy = meter.measure_energy(10.0)
    last = meter.measure_power(5.0)
    assert energy.value is not None
    assert first.value is not None
    assert last.value is not None
    low, high = sorted((first.value, last.value))
    assert 0.95 * low <= energy.value / 10 <= 1.05 * high
    assert meter.integration_state() == "RESET"
