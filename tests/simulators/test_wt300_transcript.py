"""The simulated WT310E against the acceptance transcript and the rules that the manuals give, by a foreign client.

Conversation and rules: IM WT310E-17EN chapters 5 and 7, and what public programs for the instrument rely on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pyvisa
import vxi11

from .conftest import send

Serve = Callable[..., Any]
Connect = Callable[[str], Any]


def number_of(error: str) -> int:
    return int(error.split(",")[0])


def test_the_transcript_of_an_acceptance(serve: Serve, connect: Connect) -> None:
    meter = serve(platform={"idle_power": 2000.0})
    wire = connect(meter.address)
    maker, model, serial, firmware = wire.query("*IDN?").split(",")
    assert (maker, model) == ("YOKOGAWA", "WT310E")
    assert serial.startswith("SIM")
    assert firmware
    assert wire.query(":INPUT:CFACTOR?") == ":INPUT:CFACTOR 3"
    send(wire, ":COMM:HEAD OFF;VERB ON")
    assert wire.query(":INP:VOLT:AUTO OFF;RANG 300V;AUTO?") == "0"
    assert wire.query(":INPUT:VOLTAGE:RANGE?") == "300.0E+00"
    assert wire.query(":RATE 500MS;:RATE?") == "500.0E-03"
    send(wire, ":INP:CURR:AUTO OFF;RANG 20")
    send(wire, ":NUM:FORM ASC;NORM:CLE ALL;NUMB 4;ITEM1 U,1;ITEM2 I,1;ITEM3 P,1;ITEM4 WH,1")
    meter.world.clock.advance(1.0)
    voltage, current, power, energy = wire.query(":NUM:NORM:VAL?").split(",")
    assert float(voltage) == pytest.approx(230.0, rel=0.01)
    assert float(power) == pytest.approx(meter.truth.active_power, rel=0.01)
    assert float(current) > float(power) / float(voltage)
    assert energy in ("NAN", "0", "0.0000E+00")
    send(wire, ":INTEG:STOP")
    assert number_of(wire.query(":STAT:ERR?")) == 844
    send(wire, ":INTEG:STAR")
    send(wire, ":INP:VOLT:RANG 150")
    assert number_of(wire.query(":STAT:ERR?")) == 813
    send(wire, ":INTEG:STAR")
    assert number_of(wire.query(":STAT:ERR?")) == 842
    send(wire, ":INTEG:RES")
    assert number_of(wire.query(":STAT:ERR?")) == 845
    assert wire.query(":INTEG:STOP;RES;STAT?") == "RESET"
    wire.write(":FOO?")
    assert wire.query(":STAT:ERR?") == '113,"Undefined Header"'
    assert wire.query(":STAT:ERR?") == '0,"No error"'


@pytest.mark.parametrize("header", [":INP:CFAC?", ":INPU:CFACT?", ":input:cfactor?", ":Inp:Cfacto?"])
def test_every_length_between_short_and_long_is_accepted(serve: Serve, connect: Connect, header: str) -> None:
    wire = connect(serve().address)
    assert wire.query(header) == ":INPUT:CFACTOR 3"


@pytest.mark.parametrize("header", [":IN:CFAC?", ":INPUTS:CFAC?", ":INP:CFACTORS?", ":CFAC?", ":INP?:CFAC"])
def test_other_lengths_are_undefined_headers_without_a_reply(serve: Serve, connect: Connect, header: str) -> None:
    wire = connect(serve().address)
    send(wire, header)
    assert number_of(wire.query(":STAT:ERR?")) in (113, 102)
    assert number_of(wire.query(":STAT:ERR?")) == 0


@pytest.mark.parametrize(
    ("sent", "amperes"), [("2", 2.0), ("2A", 2.0), ("2000MA", 2.0), ("500mA", 0.5), ("0.5E0", 0.5), ("+5.0E-1 A", 0.5)]
)
def test_a_current_may_carry_multiplier_and_unit_and_ma_is_milliampere(
    serve: Serve, connect: Connect, sent: str, amperes: float
) -> None:
    wire = connect(serve().address)
    send(wire, f":COMM:HEAD OFF;:INP:CURR:AUTO OFF;RANG {sent}")
    assert float(wire.query(":INP:CURR:RANG?")) == amperes
    assert number_of(wire.query(":STAT:ERR?")) == 0


def test_a_range_that_the_model_lacks_is_refused_and_changes_nothing(serve: Serve, connect: Connect) -> None:
    wire = connect(serve().address)
    send(wire, ":COMM:HEAD OFF;:INP:VOLT:AUTO OFF;RANG 300")
    send(wire, ":INP:VOLT:RANG 1000")
    assert number_of(wire.query(":STAT:ERR?")) == 222
    assert float(wire.query(":INP:VOLT:RANG?")) == 300.0


def test_an_update_falls_once_an_interval_and_brings_new_values_only_then(serve: Serve, connect: Connect) -> None:
    meter = serve()
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:RATE 1S;:STAT:FILT1 FALL;:NUM:NORM:CLE ALL;NUMB 1;ITEM1 P,1")
    meter.world.clock.advance(1.0)
    wire.query(":STAT:EESR?")
    first = wire.query(":NUM:VAL?")
    meter.world.run_load(1.0)
    meter.world.clock.advance(0.9)
    assert wire.query(":STAT:EESR?") == "0"
    assert wire.query(":NUM:VAL?") == first
    meter.world.clock.advance(0.2)
    assert int(wire.query(":STAT:EESR?")) & 1
    assert wire.query(":STAT:EESR?") == "0"
    assert wire.query(":NUM:VAL?") != first


def test_the_timer_ends_an_integration_and_energy_is_that_of_the_world(serve: Serve, connect: Connect) -> None:
    meter = serve()
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:INP:VOLT:AUTO OFF;RANG 300;:INP:CURR:AUTO OFF;RANG 20;:INTEG:TIM 0,1,0")
    meter.world.run_load(0.5)
    begin = meter.world.clock.now()
    send(wire, ":INTEG:STAR")
    assert wire.query(":INTEG:STAT?") == "START"
    meter.world.clock.advance(59.5)
    assert wire.query(":INTEG:STAT?") == "START"
    meter.world.clock.advance(10.0)
    assert wire.query(":INTEG:STAT?") == "TIMEUP"
    send(wire, ":NUM:NORM:CLE ALL;NUMB 2;ITEM1 WH,1;ITEM2 TIME")
    energy, elapsed = wire.query(":NUM:VAL?").split(",")
    assert elapsed == "60"
    true = meter.truth.energy_between(begin, begin + 60.0)
    limit = 0.001 * true + 0.0005 * 6000.0 * 60.0
    assert abs(float(energy) * 3600 - true) <= limit


def test_auto_range_goes_up_beyond_130_percent_and_down_at_30(serve: Serve, connect: Connect) -> None:
    meter = serve(platform={"idle_power": 300.0, "full_power": 4000.0})
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:INP:CURR:AUTO ON;:RATE 100MS")
    meter.world.clock.advance(5.0)
    assert float(wire.query(":INP:CURR:RANG?")) <= 5.0
    meter.world.run_load(1.0)
    meter.world.clock.advance(5.0)
    assert float(wire.query(":INP:CURR:RANG?")) == 20.0


def test_a_small_fixed_range_that_overloads_jumps_to_one_ampere_and_to_auto(serve: Serve, connect: Connect) -> None:
    meter = serve()
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:INP:CURR:AUTO OFF;RANG 0.1;:RATE 100MS")
    meter.world.clock.advance(0.25)
    assert wire.query(":INP:CURR:AUTO?") == "1"
    assert float(wire.query(":INP:CURR:RANG?")) >= 1.0


def test_over_range_shows_inf_and_its_bit_and_never_a_number(serve: Serve, connect: Connect) -> None:
    meter = serve()
    meter.world.run_load(1.0)
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:INP:VOLT:AUTO OFF;:INP:CURR:AUTO OFF;RANG 0.5;:RATE 100MS")
    send(wire, ":NUM:NORM:CLE ALL;NUMB 2;ITEM1 I,1;ITEM2 P,1")
    meter.world.clock.advance(0.5)
    assert wire.query(":NUM:VAL?") == "INF,INF"
    assert int(wire.query(":STAT:COND?")) & 64


def test_float_format_is_a_block_of_big_endian_floats(serve: Serve, connect: Connect) -> None:
    meter = serve()
    meter.world.clock.advance(1.0)
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:NUM:FORM FLO;NORM:NUM 2;ITEM1 U,1;ITEM2 NONE")
    wire.write(":NUM:VAL?")
    reply = wire.read_raw()
    assert reply[:6] == b"#40008"
    assert reply[10:14] == bytes.fromhex("7E951BEE")


def test_waiting_blocks_until_the_update_and_a_device_clear_ends_it(serve: Serve, connect: Connect) -> None:
    meter = serve()
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:RATE 1S;:STAT:FILT1 FALL")
    wire.query(":STAT:EESR?")
    wire.timeout = 300
    wire.write(":COMM:WAIT? 1")
    with pytest.raises(pyvisa.VisaIOError, match="TMO"):
        wire.read()
    wire.clear()
    wire.timeout = 3000
    assert wire.query(":RATE?") == "1.000E+00"


def test_a_reading_with_nothing_asked_times_out_and_is_an_unterminated_query(serve: Serve, connect: Connect) -> None:
    wire = connect(serve().address)
    wire.timeout = 200
    with pytest.raises(pyvisa.VisaIOError, match="TMO"):
        wire.read()
    wire.timeout = 3000
    assert number_of(wire.query(":STAT:ERR?")) == 420


def test_a_reply_that_nobody_reads_is_interrupted_by_the_next_message(serve: Serve, connect: Connect) -> None:
    wire = connect(serve().address)
    wire.write("*IDN?")
    while not wire.read_stb() & 16:
        pass
    assert wire.query(":STAT:ERR?").startswith("410")


def test_a_second_client_is_refused_while_the_first_is_connected(serve: Serve, connect: Connect) -> None:
    meter = serve()
    connect(meter.address).query("*IDN?")
    with pytest.raises(Exception, match="link"):
        connect(meter.address)


def test_another_vxi11_client_finds_the_same_instrument(serve: Serve) -> None:
    meter = serve(most_links=None)
    port = int(meter.address.split(",")[1].split("::")[0])
    client = vxi11.vxi11.CoreClient("127.0.0.1", port)
    try:
        error, link, _, most = client.create_link(1, 0, 1000, b"inst0")
        assert (error, most >= 1024) == (0, True)
        assert client.device_write(link, 1000, 1000, 8, b"*IDN?") == (0, 5)
        error, reason, reply = client.device_read(link, 7, 1000, 1000, 0, 0)
        assert (error, reason, reply) == (0, 1, b"YOKOGAW")
        error, reason, reply = client.device_read(link, 1000, 1000, 1000, 0, 0)
        assert error == 0
        assert reason & 4
        assert reply.startswith(b"A,WT310E,SIM")
        assert client.device_read(link, 10, 100, 100, 0, 0)[0] == 15
        assert client.destroy_link(link) == 0
        assert client.device_write(link, 1000, 1000, 8, b"*IDN?")[0] == 4
    finally:
        client.close()


@pytest.mark.parametrize(
    ("model", "elements", "wiring"), [("WT332E", 2, "P3W3"), ("WT333E", 3, "P3W4"), ("WT332E", 2, "P1W3")]
)
def test_sigma_is_the_sum_of_the_elements(
    serve: Serve, connect: Connect, model: str, elements: int, wiring: str
) -> None:
    meter = serve(model=model, connection=wiring, platform={"phases": 1 if wiring == "P1W3" else 3})
    meter.world.run_load(0.4)
    wire = connect(meter.address)
    send(wire, f":COMM:HEAD OFF;:INP:WIR {wiring};VOLT:AUTO OFF;RANG 600;:INP:CURR:AUTO OFF;RANG 20")
    items = ";".join(f"ITEM{n} P,{n}" for n in range(1, elements + 1))
    send(wire, f":NUM:NORM:CLE ALL;NUMB {elements + 1};{items};ITEM{elements + 1} P,SIGMA")
    meter.world.clock.advance(2.0)
    *parts, total = (float(value) for value in wire.query(":NUM:VAL?").split(","))
    assert total == pytest.approx(sum(parts), rel=1e-3)
    assert total == pytest.approx(meter.truth.active_power, rel=0.01)


def test_with_no_error_and_no_noise_the_meter_shows_the_truth(serve: Serve, connect: Connect) -> None:
    meter = serve(error_fraction=0.0, noise=0.0, platform={"ripple": 0.0, "leakage": 0.0})
    meter.world.run_load(0.7)
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:INP:VOLT:AUTO OFF;RANG 300;:INP:CURR:AUTO OFF;RANG 20;:NUM:NORM:NUMB 1;ITEM1 P,1")
    meter.world.clock.advance(3.0)
    assert float(wire.query(":NUM:VAL?")) == pytest.approx(meter.truth.active_power, rel=5e-5)


@pytest.mark.parametrize("seed", range(8))
def test_every_specimen_stays_within_the_accuracy_table(serve: Serve, connect: Connect, seed: int) -> None:
    meter = serve(seed=seed, error_fraction=1.0, platform={"ripple": 0.0, "leakage": 0.0})
    meter.world.run_load(0.6)
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:INP:VOLT:AUTO OFF;RANG 300;:INP:CURR:AUTO OFF;RANG 20;:NUM:NORM:NUMB 1;ITEM1 P,1")
    meter.world.clock.advance(2.0)
    true = meter.truth.active_power
    assert abs(float(wire.query(":NUM:VAL?")) - true) <= 0.001 * true + 0.0006 * 6000.0
