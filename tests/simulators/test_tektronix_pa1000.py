"""The simulated PA1000 by a raw socket: selection, new data, ratios, faults, as the PA1000 manual has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Serve = Callable[..., Any]
Connect = Callable[[str], Any]
STEADY = {"ripple": 0.0, "leakage": 0.0}


@pytest.fixture
def analyzer(serve: Serve) -> Any:
    return serve("tektronix-pa1000", platform=STEADY, reset_time=0.0)


def select(wire: Any, meter: Any, *words: str) -> None:
    for line in (":SEL:CLR", *(f":SEL:{word}" for word in words)):
        wire.write(line)
    assert wire.query("*IDN?").startswith("Tektronix,PA1000,SIM")
    meter.world.clock.advance(1.0)


def test_results_come_in_the_order_in_which_they_were_chosen(analyzer: Any, connect: Connect) -> None:
    wire = connect(analyzer.address)
    select(wire, analyzer, "WAT", "VLT", "FRQ", "APK-")
    power, voltage, frequency, peak = (float(text) for text in wire.query(":FRD?").split(","))
    assert power == pytest.approx(analyzer.truth.active_power, rel=0.01)
    assert voltage == pytest.approx(230.0, rel=0.01)
    assert frequency == 50.0
    assert peak < 0
    assert len(wire.query(":FRF?").split(",")) == 4


def test_until_half_a_second_after_another_choice_the_old_results_are_shown(analyzer: Any, connect: Connect) -> None:
    wire = connect(analyzer.address)
    select(wire, analyzer, "VLT")
    wire.write(":SEL:AMP")
    assert len(wire.query(":FRD?").split(",")) == 1
    analyzer.world.clock.advance(0.6)
    assert len(wire.query(":FRD?").split(",")) == 2


def test_new_data_is_told_once_an_update_and_only_where_it_is_enabled(analyzer: Any, connect: Connect) -> None:
    wire = connect(analyzer.address)
    analyzer.world.clock.advance(1.0)
    assert wire.query(":DSR?") == "0"
    wire.write(":DSE 2")
    analyzer.world.clock.advance(0.5)
    assert [wire.query(":DSR?"), wire.query(":DSR?")] == ["2", "0"]


def test_a_ratio_scales_what_a_transformer_left(serve: Serve, connect: Connect) -> None:
    meter = serve("tektronix-pa1000", ct=50.0, platform={**STEADY, "idle_power": 40e3, "full_power": 50e3})
    wire = connect(meter.address)
    wire.write(":SCL:AMP 50")
    select(wire, meter, "WAT")
    assert float(wire.query(":FRD?")) == pytest.approx(meter.truth.active_power, rel=0.005)
    wire.write(":SCL:AMP 0.00001")
    assert float(wire.query(":SCL:AMP?")) == 50.0


def test_a_fixed_range_that_is_too_small_is_over_range_and_auto_range_finds_another(
    analyzer: Any, connect: Connect
) -> None:
    wire = connect(analyzer.address)
    wire.write(":RNG:AMP 1")
    assert wire.query(":RNG:AMP:AUT?") == "0"
    select(wire, analyzer, "AMP", "WAT")
    assert [float(text) for text in wire.query(":FRD?").split(",")] == [9.9e37, 9.9e37]
    wire.write(":RNG:AMP:AUT")
    assert wire.query(":RNG:AMP:AUT?") == "1"
    analyzer.world.clock.advance(6.0)
    assert float(wire.query(":FRD?").split(",")[1]) == pytest.approx(analyzer.truth.active_power, rel=0.01)


@pytest.mark.parametrize(
    ("fault", "shown"), [("no_data", 9.91e37), ("over_range", 9.9e37), ({"kind": "gain", "amount": 2.0}, None)]
)
def test_faults_of_the_measurement(analyzer: Any, connect: Connect, fault: Any, shown: float | None) -> None:
    wire = connect(analyzer.address)
    select(wire, analyzer, "WAT")
    before = float(wire.query(":FRD?"))
    analyzer.inject(fault)
    analyzer.world.clock.advance(0.5)
    assert float(wire.query(":FRD?")) == pytest.approx(2 * before if shown is None else shown, rel=0.01)
    analyzer.world.clock.advance(0.5)
    assert float(wire.query(":FRD?")) == pytest.approx(before, rel=0.01)


def test_a_command_that_there_is_not_has_no_reply_and_sets_its_event_bit(analyzer: Any, connect: Connect) -> None:
    wire = connect(analyzer.address)
    wire.query("*ESR?")
    wire.write(":FOO?")
    assert wire.query("*ESR?") == "32"
    wire.write(":SCL:VLT none")
    assert wire.query("*ESR?") == "32"
    analyzer.inject("panel_locked")
    wire.write(":SCL:VLT 2")
    assert wire.query("*ESR?") == "16"
    assert float(wire.query(":SCL:VLT?")) == 1.0


def test_a_reset_takes_its_time_and_forgets_the_settings(serve: Serve, connect: Connect) -> None:
    meter = serve("tektronix-pa1000", rate=100.0)
    wire = connect(meter.address)
    wire.write(":SCL:AMP 10")
    wire.query("*IDN?")
    begin = meter.world.clock.now()
    wire.write("*RST")
    assert float(wire.query(":SCL:AMP?")) == 1.0
    assert meter.world.clock.now() - begin >= 5.0
