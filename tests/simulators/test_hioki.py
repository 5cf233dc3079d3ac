"""Simulated Hioki meters against the manuals' transcripts and rules, typed on a plain socket.

PW3336A987-01, PW3390A975-01, PW8001A964-03; rules of scaling and integration from the 3332's manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import pyvisa
from aicalib_hw.simulators.power.hioki_pw3336 import SimulatedPW3336
from aicalib_hw.simulators.power.hioki_pw3390 import SimulatedPW3390
from aicalib_hw.simulators.power.hioki_pw8001 import SimulatedPW8001

from .wired import STEADY, TEN_AMPERES, Line

Run = Callable[..., Any]
Plug = Callable[..., Line]

DEVICE_DEPENDENT, EXECUTION, COMMAND = 8, 16, 32
FIXED = re.compile(r"[+-][\d.]{6}E[+-]\d")


@pytest.fixture
def bench(run: Run, plug: Plug) -> Callable[..., tuple[Any, Line]]:
    def start(kind: Any = SimulatedPW3336, **options: Any) -> tuple[Any, Line]:
        meter = run(kind, **options)
        line = plug(meter.address)
        line.do(":HEADER OFF;*CLS")
        return meter, line

    return start


Bench = Callable[..., tuple[Any, Line]]


def test_the_transcript_of_an_acceptance(run: Run, plug: Plug) -> None:
    meter = run(SimulatedPW3336, platform=TEN_AMPERES, error_fraction=0.0, noise=0.0)
    line = plug(meter.address)
    line.do(":VOLTAGE:RANGE 300;:CURRENT:RANGE 20")
    meter.world.clock.advance(1.0)
    assert line.ask(":MEASURE? U1,I1,P1") == "U1 +230.00E+0;I1 +10.000E+0;P1 +2.3000E+3"
    line.send("HEADER OFF")
    assert line.ask(":MEASURE? U1,I1,P1") == "+230.00E+0;+10.000E+0;+2.3000E+3"


@pytest.mark.parametrize(("model", "channels"), [("PW3335", 1), ("PW3336", 2), ("PW3337", 3)])
def test_the_identity_says_model_and_that_it_is_simulated(bench: Bench, model: str, channels: int) -> None:
    _, line = bench(model=model)
    maker, named, serial, firmware = line.ask("*IDN?").split(",")
    assert (maker, named) == ("HIOKI", model)
    assert serial.startswith("SIM")
    assert firmware
    line.send(f":MEASURE? U{channels + 1}")
    assert int(line.ask("*ESR?")) & EXECUTION


def test_every_value_has_ten_characters_and_every_sum_eleven(bench: Bench) -> None:
    meter, line = bench()
    meter.world.run_load(0.3)
    meter.world.clock.advance(2.0)
    names = "U1,I1,P1,S1,Q1,PF1,DEG1,FREQU1,UPK1,IPK1,UCF1,ICF1,UTHD1,ITHD1,U0,P0,UDC1,U_MAX1"
    for text in line.ask(f":MEASURE? {names}").split(";"):
        assert FIXED.fullmatch(text), text
    for text in line.ask(":MEASURE? WP1,PWP1,MWP1,IH1").split(";"):
        assert re.fullmatch(r"[+-][\d.]{7}E[+-]\d", text), text


@pytest.mark.parametrize(
    ("fault", "item", "code"),
    [
        ("over_range", "I1", "+999.99E+9"),
        ("over_range", "P1", "+999.99E+9"),
        ("no_data", "U1", "+777.77E+9"),
        ("no_data", "WP1", "+7777.77E+9"),
    ],
)
def test_what_is_not_valid_has_a_code_of_its_own(bench: Bench, fault: str, item: str, code: str) -> None:
    meter, line = bench()
    meter.inject(fault)
    meter.world.clock.advance(0.2)
    assert line.ask(f":MEASURE? {item}") == code
    meter.world.clock.advance(0.2)
    assert line.ask(f":MEASURE? {item}") != code


def test_a_value_that_the_ratios_make_too_large_is_a_scaling_error(bench: Bench) -> None:
    meter, line = bench(platform=TEN_AMPERES)
    line.do(":SCALE:CT 9999;:SCALE:VT 100")
    meter.world.clock.advance(1.0)
    assert line.ask(":MEASURE? P1") == "+888.88E+9"


def test_a_fixed_range_that_is_too_small_shows_over_range_and_its_status_bit(bench: Bench) -> None:
    meter, line = bench(platform=TEN_AMPERES)
    line.do(":CURRENT1:RANGE 5")
    meter.world.clock.advance(1.0)
    voltage, current, status = line.ask(":MEASURE? U1,I1,STATUS").split(";")
    assert float(voltage) == pytest.approx(230.0, rel=0.002)
    assert current == "+999.99E+9"
    assert int(status, 16) & 1 << 12


def test_a_peak_beyond_the_range_sets_its_bit_and_reads_too_little(bench: Bench) -> None:
    meter, line = bench(platform=TEN_AMPERES)
    line.do(":VOLTAGE:RANGE 300;:CURRENT:RANGE 20")
    meter.inject("peak_over")
    meter.world.clock.advance(0.2)
    power, status = line.ask(":MEASURE? P1,STATUS").split(";")
    assert int(status, 16) & 1 << 4
    assert float(power) < 0.9 * 2300.0


@pytest.mark.parametrize("wrong", [":MEASURE? XYZ1", ":MEASURE? U9", ":MEASURE?"])
def test_a_query_that_fails_has_no_reply_and_sets_an_event(bench: Bench, wrong: str) -> None:
    _, line = bench()
    line.send(wrong)
    assert int(line.ask("*ESR?")) & (EXECUTION | COMMAND)
    assert line.ask("*ESR?") == "0"


def test_the_preset_list_is_read_with_or_without_names(bench: Bench) -> None:
    meter, line = bench(model="PW3337")
    meter.world.clock.advance(1.0)
    line.do(":MEAS:ITEM:ALLC;:MEASURE:NORMAL:ITEM:U:CH1 1;:MEASURE:ITEM:P:CH2 ON;:HEADER ON")
    assert re.fullmatch(r"U1 [+-][\d.]{6}E[+-]\d;P2 [+-][\d.]{6}E[+-]\d", line.ask(":MEASURE?"))
    line.do(":MEASURE:ITEM:U:CH1 0;:HEADER OFF")
    assert FIXED.fullmatch(line.ask(":MEASURE?"))


def test_the_separator_can_be_changed(bench: Bench) -> None:
    _, line = bench()
    line.do(":TRANSMIT:SEPARATOR 1")
    assert line.ask(":MEASURE? U1,I1").count(",") == 1


@pytest.mark.parametrize(("sent", "shown"), [("2", "2.000"), ("166.66", "166.7"), ("0.5", "0.500"), ("1000", "1000")])
def test_a_ratio_is_rounded_to_four_digits(bench: Bench, sent: str, shown: str) -> None:
    _, line = bench()
    line.do(f":SCALE1:CT {sent}")
    assert line.ask(":SCALE1:CT?") == shown
    line.send(":HEADER ON")
    assert line.ask(":SCALE1:CT?") == f":SCALE1:CT {shown}"


def test_ratios_cannot_be_set_in_hold_nor_while_integrating(bench: Bench) -> None:
    _, line = bench()
    line.do(":HOLD ON;:SCALE:CT 2")
    assert int(line.ask("*ESR?")) & DEVICE_DEPENDENT
    line.do(":HOLD OFF;:INTEGRATE:STATE START;:SCALE:CT 2")
    assert int(line.ask("*ESR?")) & DEVICE_DEPENDENT
    assert line.ask(":SCALE:CT?") == "1.000"


def test_integration_goes_by_its_rules_and_its_time_has_commas(bench: Bench) -> None:
    meter, line = bench()
    for state, allowed in (("STOP", False), ("START", True), ("START", False), ("RESET", False), ("STOP", True)):
        line.do(f":INTEGRATE:STATE {state}")
        assert (int(line.ask("*ESR?")) & DEVICE_DEPENDENT == 0) is allowed, state
        meter.world.clock.advance(1.0)
    assert line.ask(":INTEGRATE:STATE?;:MEASURE? TIME") == "STOP;00000,00,03"
    line.do(":INTEGRATE:STATE RESET;:HEADER ON")
    assert line.ask(":INTEGRATE:STATE?") == ":INTEGRATE:STATE RESET"
    assert line.ask(":MEASURE? TIME") == "TIME 00000,00,00"
    line.do(":INTEGRATE:TIME 0100,00;:INTEGRATE:STATE START")
    assert line.ask(":INTEGRATE?") == "0100,00;START"


def test_the_timer_ends_an_integration_and_energy_is_that_of_the_world(bench: Bench) -> None:
    meter, line = bench()
    line.do(":VOLTAGE:RANGE 300;:CURRENT:RANGE 20;:INTEGRATE:TIME 0000,01")
    meter.world.run_load(0.5)
    begin = meter.world.clock.now()
    line.do(":INTEGRATE:STATE START")
    for load in (0.7, 0.1, 0.6):
        meter.world.clock.advance(18.0)
        meter.world.run_load(load)
    meter.world.clock.advance(30.0)
    state, elapsed, energy = line.ask(":INTEGRATE:STATE?;:MEASURE? TIME,WP1").split(";")
    assert (state, elapsed) == ("STOP", "00000,01,00")
    true = meter.truth.energy_between(begin, begin + 60.0)
    assert abs(float(energy) * 3600 - true) <= 0.001 * true + 0.0005 * 6000.0 * 60.0 + 0.5 * 3.6


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("range_", "load"), [("20", 0.6), ("50", 0.05)])
def test_every_specimen_stays_within_the_accuracy_table(bench: Bench, seed: int, range_: str, load: float) -> None:
    meter, line = bench(seed=seed, platform=STEADY)
    meter.world.run_load(load)
    line.do(f":VOLTAGE:RANGE 300;:CURRENT:RANGE {range_}")
    meter.world.clock.advance(2.0)
    true = meter.truth.active_power
    current = float(line.ask(":MEASURE? I1"))
    share = min(230.0 / 300.0, current / float(range_))
    limit = 0.001 * true + 0.0005 * 300.0 * float(range_) if share < 0.5 else 0.0015 * true
    assert abs(float(line.ask(":MEASURE? P1")) - true) <= limit + 0.5


def test_two_hundred_kilowatts_through_current_transformers(bench: Bench) -> None:
    feed = {**STEADY, "phases": 3, "idle_power": 20e3, "full_power": 200e3}
    meter, line = bench(model="PW3337", platform=feed, ct=100.0)
    meter.world.run_load(1.0)
    line.do(":WIRING TYPE7;:VOLTAGE:RANGE 300;:CURRENT:RANGE 5;:SCALE:CT 100")
    meter.world.clock.advance(2.0)
    total, *phases = (float(text) for text in line.ask(":MEASURE? P0,P1,P2,P3").split(";"))
    assert total == pytest.approx(sum(phases), rel=2e-4)
    assert abs(total - meter.truth.active_power) <= 0.0015 * meter.truth.active_power + 50.0


def test_two_wattmeters_see_the_whole_of_a_three_phase_feed(bench: Bench) -> None:
    feed = {**STEADY, "phases": 3, "idle_power": 6e3, "full_power": 20e3}
    meter, line = bench(model="PW3336", platform=feed)
    line.do(":WIRING TYPE4")
    meter.world.clock.advance(3.0)
    voltage, first, second, total = (float(text) for text in line.ask(":MEASURE? U1,P1,P2,P0").split(";"))
    assert voltage == pytest.approx(230.0 * 3**0.5, rel=0.002)
    assert first != pytest.approx(second, rel=0.02)
    assert total == pytest.approx(meter.truth.active_power, rel=0.003)


def test_auto_range_hunts_at_an_edge_and_shows_nonsense_while_it_does(bench: Bench) -> None:
    meter, line = bench()
    meter.world.clock.advance(2.0)
    meter.inject({"kind": "range_edge", "count": 4})
    ranges, currents = [], []
    for _ in range(4):
        meter.world.clock.advance(0.2)
        ranges.append(line.ask(":CURRENT1:RANGE?"))
        currents.append(float(line.ask(":MEASURE? I1")))
    assert len(set(ranges)) == 2
    assert all(current < 0 for current in currents)


def test_a_spike_fools_auto_range_for_a_while(bench: Bench) -> None:
    meter, line = bench()
    meter.world.clock.advance(2.0)
    before = float(line.ask(":CURRENT1:RANGE?"))
    meter.inject({"kind": "spike", "amount": 2.0})
    meter.world.clock.advance(0.2)
    assert float(line.ask(":CURRENT1:RANGE?")) > before
    assert int(line.ask(":MEASURE? STATUS"), 16) & 1 << 4
    meter.world.clock.advance(0.4)
    assert float(line.ask(":CURRENT1:RANGE?")) == before


def test_somebody_may_leave_headers_on_lock_the_panel_or_refuse_a_range(bench: Bench) -> None:
    meter, line = bench()
    meter.world.clock.advance(1.0)
    meter.inject("header_on")
    assert line.ask(":MEASURE? U1").startswith("U1 ")
    assert line.ask(":MEASURE? U1").startswith("U1 ")
    for fault in ("panel_locked", "range_refused"):
        line.do("*CLS")
        meter.inject(fault)
        line.do(":CURRENT:RANGE 10")
        assert int(line.ask("*ESR?")) & EXECUTION
    line.do(":CURRENT:RANGE 10")
    assert line.ask("*ESR?") == "0"


def test_a_reboot_takes_every_setting_back(bench: Bench, plug: Plug) -> None:
    meter, line = bench()
    line.do(":CURRENT:RANGE 10;:SCALE:CT 5;:INTEGRATE:STATE START")
    meter.inject({"kind": "reboot", "amount": 1e-6})
    line.send("*IDN?")
    with pytest.raises(ConnectionError):
        line.line()
    again = plug(meter.address)
    assert int(again.ask("*ESR?")) & 128
    assert again.ask(":SCALE1:CT?") == ":SCALE1:CT 1.000"
    assert again.ask(":INTEGRATE:STATE?") == ":INTEGRATE:STATE RESET"


def test_pyvisa_reads_it_as_public_programs_do(run: Run, connect: Callable[[str], Any]) -> None:
    meter = run(SimulatedPW3336)
    meter.world.clock.advance(1.0)
    wire = connect(meter.address)
    wire.read_termination = wire.write_termination = "\r\n"
    wire.write("*RST;*CLS")
    wire.write(":HEADer OFF")
    assert wire.query("*IDN?").startswith("HIOKI,PW3336,SIM")
    meter.world.clock.advance(1.0)
    assert float(wire.query(":MEASure? P1")) == pytest.approx(meter.truth.active_power, rel=0.01)
    wire.timeout = 100
    wire.write(":MEASure? NONSENSE")
    with pytest.raises(pyvisa.VisaIOError, match="TMO"):
        wire.read()


def test_a_pw3390_gives_what_its_masks_select_and_takes_all_of_a_command_or_nothing(bench: Bench) -> None:
    meter, line = bench(SimulatedPW3390, platform={**STEADY, "phases": 3})
    meter.world.clock.advance(2.0)
    line.do(":DATA:ITEM:NORM 1,1,1,0,0,1,0,0;:MEAS:ITEM:SUM 0,0,4,0,0,0,0;:HEADER ON")
    items = [text.split(" ")[0] for text in line.ask(":MEASURE?").split(";")]
    assert items == ["U1", "I1", "P1", "PF1", "P123"]
    assert line.ask(":MEASURE:ITEM:SUM?") == ":MEASURE:ITEM:SUM 0,0,4,0,0,0,0"
    line.do("*CLS;:MEAS:ITEM:SUM 4,0,2,0,0,0,0")
    assert int(line.ask("*ESR?")) & EXECUTION
    assert line.ask(":HEADER OFF;:MEAS:ITEM:SUM?") == "0,0,4,0,0,0,0"
    power = float(line.ask(":MEASURE?").split(";")[-1])
    assert power == pytest.approx(meter.truth.active_power, rel=0.002)


def test_a_pw3390_in_hold_takes_new_data_on_a_trigger(bench: Bench) -> None:
    meter, line = bench(SimulatedPW3390)
    line.do(":MEAS:ITEM:NORM 0,0,1,0,0,0,0,0")
    meter.world.clock.advance(1.0)
    line.do(":HOLD ON")
    held = line.ask(":MEASURE?")
    meter.world.run_load(1.0)
    meter.world.clock.advance(1.0)
    assert line.ask(":HOLD?;:MEASURE?") == f"ON;{held}"
    line.do("*TRG")
    assert float(line.ask(":MEASURE?")) > 2 * float(held)


@pytest.mark.parametrize(("word", "known"), [("HEADER", True), ("HEAD", True), ("HEADE", False), ("HEA", False)])
def test_a_pw8001_takes_exact_long_or_exact_short_words_only(bench: Bench, word: str, known: bool) -> None:
    _, line = bench(SimulatedPW8001)
    line.do(f"*CLS;:{word} OFF")
    assert (int(line.ask("*ESR?")) & COMMAND == 0) is known


def test_a_pw8001_sets_a_voltage_range_and_measures_within_its_table(bench: Bench) -> None:
    meter, line = bench(SimulatedPW8001, platform={**STEADY, "idle_power": 3e3})
    line.do(":VOLTAGE1:RANGE 300")
    meter.world.clock.advance(2.0)
    assert line.ask(":VOLTAGE1:RANGE?") == "300"
    true = meter.truth.active_power
    assert abs(float(line.ask(":MEASURE? P1")) - true) <= 0.0001 * true + 0.0002 * 300.0 * 20.0 + 0.5
