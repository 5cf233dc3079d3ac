"""The simulated 66204 on its serial line, by PyVISA: what chapter 5 of its manual has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Serve = Callable[..., Any]
Connect = Callable[[str], Any]
STEADY = {"phases": 3, "ripple": 0.0, "leakage": 0.0}


@pytest.fixture
def meter(serve: Serve) -> Any:
    return serve("chroma-66204", platform=STEADY)


@pytest.fixture
def wire(meter: Any, connect: Connect) -> Any:
    opened = connect(meter.address)
    opened.write("SYST:HEAD OFF")
    meter.world.clock.advance(10.0)
    return opened


def test_headers_and_separators_are_as_they_were_set(wire: Any) -> None:
    assert wire.query("CHAN?") == "1"
    wire.write("SYSTEM:HEADER ON")
    assert wire.query("CHANNEL?") == ":CHANNEL 1"
    assert wire.query("STAT:QUES:COND?") == ":STATUS:QUESTIONABLE:CONDITION 0"
    wire.write("SYST:HEAD OFF;:SYST:TRAN:SEP 1")
    assert wire.query("FETC? V,I").count(";") == 1


def test_a_channel_tells_who_it_is_and_acts_alone(wire: Any, meter: Any) -> None:
    maker, model, serial, *versions = wire.query("CHAN:ID?").split(",")
    assert (maker, model, len(versions)) == ("Chroma ATE", "66204", 3)
    assert serial.startswith("SIM")
    powers = []
    for channel in range(1, 5):
        wire.write(f"CHAN {channel}")
        powers.append(float(wire.query("FETC? W")))
    assert sum(powers) == pytest.approx(meter.truth.active_power, rel=0.02)
    assert powers[3] == pytest.approx(0.0, abs=1.0)


def test_before_the_first_result_there_is_none(serve: Serve, connect: Connect) -> None:
    wire = connect(serve("chroma-66204").address)
    assert wire.query("FETC? W,V") == "-1,-1"


def test_measuring_waits_for_a_result_of_its_own(serve: Serve, connect: Connect) -> None:
    meter = serve("chroma-66204", rate=20.0)
    wire = connect(meter.address)
    begin = meter.world.clock.now()
    assert float(wire.query("MEAS? W")) > 0
    assert meter.world.clock.now() - begin >= 0.0


def test_an_energy_measurement_runs_and_finishes(wire: Any, meter: Any) -> None:
    wire.write("TRIG:MODE ENERGY;:TRIG ON")
    assert wire.query("TRIG? 1") == "RUNNING"
    assert wire.query("FETC? ENEG") == "-1"
    begin = meter.world.clock.now()
    meter.world.clock.advance(11.0)
    assert wire.query("TRIG? 0").split(",")[0] == "FINISH"
    energy = float(wire.query("FETC? ENEG"))
    assert energy == pytest.approx(meter.truth.energy_between(begin, begin + 10.0) / 3, rel=0.02)


def test_a_range_that_changes_meanwhile_spoils_the_energy(wire: Any, meter: Any) -> None:
    wire.write("TRIG:MODE ENERGY;:TRIG ON")
    assert wire.query("TRIG? 1") == "RUNNING"
    meter.world.run_load(1.0)
    meter.world.clock.advance(11.0)
    assert int(wire.query("PROT?").split(",")[0]) & 32
    assert wire.query("FETC? ENEG") == "-2"


def test_a_current_beyond_the_greatest_range_is_invalid_until_it_is_cleared(wire: Any, meter: Any) -> None:
    meter.inject("over_range")
    meter.world.clock.advance(0.5)
    assert wire.query("FETC? W") == "-3"
    assert int(wire.query("PROT?").split(",")[0]) & 2
    assert int(wire.query("STAT:CHAN:EVEN?")) & 2
    assert wire.query("STAT:CHAN:EVEN?") == "0"
    meter.world.clock.advance(0.5)
    wire.write("PROT:CLE")
    assert float(wire.query("FETC? W")) > 0


def test_what_is_wrong_sets_its_bit_and_has_no_reply(wire: Any) -> None:
    wire.query("*ESR?")
    wire.write("CHAN 5")
    assert wire.query("*ESR?") == "16"
    wire.write("FETC? XYZ")
    assert int(wire.query("*ESR?")) & (16 | 32)
