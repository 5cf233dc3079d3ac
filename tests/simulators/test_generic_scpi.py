"""The simulated SCPI-99 meter: standard commands, markers and status, by PyVISA over every wire it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aicalib_hw.simulators.power.generic_scpi import SimulatedScpiMeter

from .wired import STEADY

Bench = Callable[..., tuple[Any, Any]]


@pytest.fixture(params=SimulatedScpiMeter.wires)
def bench(request: pytest.FixtureRequest, run: Callable[..., Any], connect: Callable[[str], Any]) -> Bench:
    def start(**options: Any) -> tuple[Any, Any]:
        meter = run(SimulatedScpiMeter, **options)
        return meter, connect(meter.addresses[request.param])

    return start


def test_it_says_what_it_is_and_that_it_is_simulated(bench: Bench) -> None:
    _, wire = bench()
    assert wire.query("*IDN?").split(",")[2].startswith("SIM")
    assert wire.query(":SYST:VERS?") == "1999.0"
    assert wire.query(":SYSTEM:ERROR?") == '0,"No error"'


def test_fetched_values_are_those_of_the_world(bench: Bench) -> None:
    meter, wire = bench()
    assert wire.query(":SENS:VOLT:RANG 300;:SENS:CURR:RANG 20;*OPC?") == "1"
    meter.world.clock.advance(1.0)
    true = meter.truth.active_power
    voltage, current, power, frequency = (
        float(text) for text in wire.query(":FETC:VOLT?;:FETC:CURR:AC?;:FETC:POW?;FREQ?").split(";")
    )
    assert voltage == pytest.approx(230.0, rel=0.002)
    assert abs(power - true) <= 0.002 * true + 0.0005 * 6000.0
    assert voltage * current > power
    assert frequency == pytest.approx(50.0, rel=1e-4)


def test_a_measurement_waits_for_the_next_update(bench: Bench) -> None:
    meter, wire = bench(rate=20.0)
    before = meter.world.clock.now()
    assert float(wire.query(":MEAS:POW:AC?")) > 0
    assert meter.world.clock.now() > before


def test_over_range_is_9_9e37_and_questionable_and_no_data_is_9_91e37(bench: Bench) -> None:
    meter, wire = bench()
    assert wire.query(":STAT:QUES:ENAB 11;*CLS;:SENS:CURR:RANG 1;*OPC?") == "1"
    meter.world.clock.advance(0.5)
    assert wire.query(":FETC:CURR?;POW?") == "9.900000E+37;9.900000E+37"
    assert float(wire.query(":FETC:VOLT?")) == pytest.approx(230.0, rel=0.002)
    assert int(wire.query("*STB?")) & 8
    assert int(wire.query(":STAT:QUES:COND?")) == 2 | 8
    assert int(wire.query(":STAT:QUES?")) & 2
    assert wire.query(":SENS:CURR:RANG 20;*OPC?") == "1"
    meter.inject("no_data")
    meter.world.clock.advance(0.25)
    assert wire.query(":FETC:POW?") == "9.910000E+37"


@pytest.mark.parametrize(("fault", "number"), [("panel_locked", -203), ("range_refused", -222)])
def test_a_range_that_is_not_taken_is_in_the_queue(bench: Bench, fault: str, number: int) -> None:
    meter, wire = bench()
    meter.inject(fault)
    wire.write(":SENS:VOLT:RANG 300")
    assert int(wire.query(":SYST:ERR?").split(",")[0]) == number


@pytest.mark.parametrize("seed", range(4))
def test_every_specimen_stays_within_its_limits(
    run: Callable[..., Any], connect: Callable[[str], Any], seed: int
) -> None:
    meter = run(SimulatedScpiMeter, seed=seed, platform=STEADY)
    wire = connect(meter.address)
    assert wire.query(":SENS:VOLT:RANG 300;:SENS:CURR:RANG 20;*OPC?") == "1"
    meter.world.clock.advance(1.0)
    true = meter.truth.active_power
    assert abs(float(wire.query(":FETC:POW?")) - true) <= 0.001 * true + 0.0005 * 6000.0
