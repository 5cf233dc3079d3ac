"""The simulated LMG670 against what public programs for the instrument rely on (lmgtools, lmgd) and its logs."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from aicalib_hw.simulators.power.zes_lmg600 import SimulatedLMG600

from .wired import STEADY, Line

Bench = Callable[..., tuple[Any, Line]]

NUMBER = re.compile(r"-?\d\.\d{6}E[+-]\d\d")
STAMP = re.compile(r"\d{4}:\d\d:\d\dD\d\d:\d\d:\d\d\.\d{9}\+0000")


@pytest.fixture
def bench(run: Callable[..., Any], plug: Callable[..., Line]) -> Bench:
    def start(**options: Any) -> tuple[Any, Line]:
        meter = run(SimulatedLMG600, **options)
        return meter, plug(meter.address, b"\n")

    return start


def short(line: Line) -> None:
    """Set up as lmgtools does."""
    assert line.ask("*rst;*cls;*opc?") == "1"
    line.send("*zlang short")


def fixed(line: Line, volts: str = "250", amperes: str = "20") -> None:
    for setting in ("IAUTO1 0", "UAUTO1 0", f"URNG1 {volts}", f"IRNG1 {amperes}"):
        assert line.ask(f"{setting};*opc?") == "1"


def test_the_transcript_of_an_acceptance(bench: Bench) -> None:
    meter, line = bench()
    short(line)
    assert line.ask("CYCL 0.5;*opc?") == "1"
    line.send("actn;utrms1?;itrms1?;p1?")
    line.send("cont on")
    assert line.ask("*opc?") == "1"
    for _ in range(3):
        meter.world.clock.advance(0.5)
        values = line.line().split(";")
        assert len(values) == 3
        assert all(NUMBER.fullmatch(value) for value in values)
    assert float(values[2]) == pytest.approx(meter.truth.active_power, rel=0.01)
    assert line.ask("cont off;*opc?") == "1"


def test_the_identity_has_four_fields_and_a_serial_that_says_simulated(bench: Bench) -> None:
    _, line = bench()
    fields = re.fullmatch(r"([^,]+),([^,]+),([^,]+),([^,]+)", line.ask("*idn?"))
    assert fields is not None
    assert fields.group(2) == "LMG670"
    assert fields.group(3).startswith("SIM")


def test_break_on_the_second_port_frees_an_instrument_that_streams(bench: Bench, plug: Callable[..., Line]) -> None:
    meter, line = bench()
    short(line)
    line.send("actn;p1?")
    line.send("cont on")
    assert line.ask("*opc?") == "1"
    _, host, port, _ = meter.address.split("::")
    second = plug(f"TCPIP::{host}::{int(port) + 1}::SOCKET", b"\n")
    assert second.ask("break").startswith("0")
    meter.world.clock.advance(2.0)
    assert line.ask("*rst;*cls;*opc?") == "1"


def test_a_reset_returns_to_scpi(bench: Bench) -> None:
    _, line = bench()
    short(line)
    line.send("p1?")
    assert NUMBER.fullmatch(line.line())
    assert line.ask("*rst;*opc?") == "1"
    line.send("p1?")
    assert line.ask(":SYST:ERR:ALL?").startswith("-113,")
    assert NUMBER.fullmatch(line.ask(":FETC:POW:ACT1?"))


@pytest.mark.parametrize(("text", "taken"), [("0.05", True), ("0.050000", False), ("1", True), ("1.50", False)])
def test_a_cycle_time_that_is_not_in_its_shortest_form_is_rejected(bench: Bench, text: str, taken: bool) -> None:
    _, line = bench()
    assert (line.ask(f":SENS:SWE:TIME {text};:SYST:ERR:ALL?") == '0,"No error"') is taken
    assert float(line.ask(":SENS:SWE:TIME?")) == (float(text) if taken else 0.5)


def test_errors_come_all_at_once_with_the_signs_of_scpi(bench: Bench) -> None:
    _, line = bench()
    line.send(":NONSENSE 1")
    line.send(":SENS:CURR:RANG1 77")
    numbers = re.findall(r"(-?\d+),\"", line.ask(":SYST:ERR:ALL?"))
    assert numbers == ["-113", "-222"]
    assert line.ask(":SYST:ERR:ALL?") == '0,"No error"'


def test_ranges_are_set_one_channel_at_a_time(bench: Bench) -> None:
    _, line = bench()
    set_up = ":SENS:CURR:RANG:AUTO2 0;:SENS:CURR:RANG2 2.5;:SENS:VOLT:RANG:AUTO2 0;:SENS:VOLT:RANG2 250;:SYST:ERR:ALL?"
    assert line.ask(set_up) == '0,"No error"'
    assert [float(v) for v in line.ask(":SENS:CURR:RANG1?;:SENS:CURR:RANG2?").split(";")] == [32.0, 2.5]


def test_ratios_of_nothing_are_9_91e37_and_an_overload_9_9e37(bench: Bench) -> None:
    meter, line = bench()
    short(line)
    fixed(line, amperes="2.5")
    meter.world.clock.advance(1.0)
    crest, none, over = line.ask("ucf1?;icf2?;itrms1?").split(";")
    assert float(crest) == pytest.approx(2**0.5, rel=0.01)
    assert (none, over) == ("9.910000E+37", "9.900000E+37")


def test_the_stream_goes_on_while_commands_arrive_and_misses_no_cycle(bench: Bench) -> None:
    meter, line = bench()
    short(line)
    line.send("CYCL 0.1")
    line.send("actn;tsnorm1?;durnorm1?;p1?")
    assert line.ask("cont on;*opc?") == "1"
    stamps = []
    meter.world.clock.advance(0.01)
    for _ in range(20):
        meter.world.clock.advance(0.1)
        line.send("p1?")
        rows = [line.line(), line.line()]
        (row,) = [row for row in rows if ";" in row]
        assert STAMP.fullmatch(row.split(";")[0])
        stamps.append(row.split(";")[0])
    assert len(set(stamps)) == 20


def test_a_cycle_is_a_whole_number_of_periods_and_its_energies_add_up_to_the_truth(bench: Bench) -> None:
    meter, line = bench(platform={"frequency": 49.982})
    meter.world.run_load(0.6)
    short(line)
    fixed(line)
    line.send("CYCL 0.5")
    line.send("actn;durnorm1?;p1?;fcyc1?")
    begin = meter.world.clock.now()
    assert line.ask("cont on;*opc?") == "1"
    meter.world.clock.advance(10.2)
    energy = seconds = 0.0
    for _ in range(20):
        duration, power, frequency = line.line().split(";")
        periods = float(duration) * float(frequency)
        assert periods == pytest.approx(round(periods), abs=1e-4)
        assert float(duration) > 0.5
        energy, seconds = energy + float(duration) * float(power), seconds + float(duration)
    true = meter.truth.energy_between(begin, begin + seconds)
    peak_power = 250.0 * 1.6 * 20.0 * 3.125
    assert abs(energy - true) <= 0.00015 * true + 0.0001 * peak_power * seconds


def test_the_binary_stream_is_a_chain_of_little_endian_blocks(bench: Bench) -> None:
    meter, line = bench()
    line.send(":FORM:DATA 1")
    line.send(":TRIG:ACT;:FETC:POW:ACT1?;:FETC:VOLT:TRMS1?")
    assert line.ask(":INIT:CONT ON;*opc?") == "1"
    meter.world.clock.advance(0.5)
    chain = line.exactly(15)
    assert (chain[:3], chain[7:10], chain[14:]) == (b"#14", b"#14", b"\n")
    power, voltage = (struct.unpack("<f", chain[at : at + 4])[0] for at in (3, 10))
    assert power == pytest.approx(meter.truth.active_power, rel=0.01)
    assert voltage == pytest.approx(230.0, rel=0.001)
    assert line.ask(":INIT:CONT OFF;*opc?") == "1"


@pytest.mark.parametrize("seed", range(6))
def test_every_specimen_stays_within_its_limits_of_the_peak_ranges(bench: Bench, seed: int) -> None:
    meter, line = bench(seed=seed, platform=STEADY)
    short(line)
    fixed(line)
    meter.world.clock.advance(2.0)
    true = meter.truth.active_power
    assert abs(float(line.ask("p1?")) - true) <= 0.00015 * true + 0.0001 * 250.0 * 1.6 * 20.0 * 3.125


@pytest.mark.parametrize(
    ("fault", "shown"), [("over_range", "9.900000E+37"), ("peak_over", "9.900000E+37"), ("no_data", "9.910000E+37")]
)
def test_a_cycle_that_is_spoiled_shows_no_number(bench: Bench, fault: str, shown: str) -> None:
    meter, line = bench()
    short(line)
    meter.inject(fault)
    meter.world.clock.advance(0.5)
    assert line.ask("p1?") == shown
    meter.world.clock.advance(0.5)
    assert float(line.ask("p1?")) < 1e6


def test_a_locked_panel_and_a_refused_range_are_errors_in_the_queue(bench: Bench) -> None:
    meter, line = bench()
    for fault, number in (("panel_locked", "-203"), ("range_refused", "-222")):
        meter.inject(fault)
        assert line.ask(":SENS:VOLT:RANG1 250;:SYST:ERR:ALL?").split(",")[0] == number
    assert line.ask(":SENS:VOLT:RANG1 250;:SYST:ERR:ALL?") == '0,"No error"'
