"""Each fault does what it says on the wire, and the instrument is usable afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import pyvisa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicalib_hw.errors import UsageError

from .conftest import send

Serve = Callable[..., Any]
Connect = Callable[[str], Any]


@pytest.fixture
def meter(serve: Serve) -> Any:
    return serve(most_links=None)


def power(wire: Any, meter: Any) -> str:
    meter.world.clock.advance(1.0)
    return str(wire.query(":NUM:NORM:VAL? 3"))


def test_an_answer_in_pieces_of_one_byte_is_the_same_answer(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    whole = wire.query("*IDN?")
    meter.inject({"kind": "pieces", "count": None})
    assert wire.query("*IDN?") == whole


@pytest.mark.alone
def test_a_late_answer_comes_after_the_client_has_given_up(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    meter.inject({"kind": "delay", "amount": 1.6})
    wire.timeout = 200
    begin = time.monotonic()
    with pytest.raises(pyvisa.VisaIOError):
        wire.query("*IDN?")
    assert time.monotonic() - begin < 1.55


def test_a_doubled_terminator_and_a_garbled_answer(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    wire.read_termination = None
    meter.inject("double_terminator")
    assert wire.query("*IDN?").endswith("\n\n")
    meter.inject("garble")
    wire.write("*IDN?")
    assert not wire.read_raw().isascii()


def test_a_wrong_identity_still_says_that_it_is_simulated(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    meter.inject("wrong_identity")
    other = wire.query("*IDN?").split(",")
    assert other[1] not in ("WT310", "WT310E", "WT310EH", "WT332E", "WT333E")
    assert other[2].startswith("SIM")
    assert wire.query("*IDN?").split(",")[1] == "WT310E"


@pytest.mark.parametrize(("kind", "shown"), [("over_range", "INF"), ("no_data", "NAN")])
def test_a_measurement_that_cannot_be_shown(meter: Any, connect: Connect, kind: str, shown: str) -> None:
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:RATE 1S;:INP:VOLT:AUTO OFF;:INP:CURR:AUTO OFF")
    meter.inject(kind)
    assert power(wire, meter) == shown
    assert float(power(wire, meter)) > 0


def test_a_peak_over_sets_its_bit_for_one_update(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:RATE 1S;:INP:VOLT:AUTO OFF;:INP:CURR:AUTO OFF")
    meter.inject("peak_over")
    power(wire, meter)
    assert int(wire.query(":STAT:COND?")) & 128
    power(wire, meter)
    assert not int(wire.query(":STAT:COND?")) & 128


def test_a_frozen_reading_does_not_follow_the_load(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:RATE 1S;:INP:VOLT:AUTO OFF;:INP:CURR:AUTO OFF")
    before = power(wire, meter)
    meter.world.run_load(1.0)
    meter.inject({"kind": "frozen", "count": 2})
    assert [power(wire, meter), power(wire, meter)] == [before, before]
    assert float(power(wire, meter)) > 2 * float(before)


def test_a_gain_outside_the_specification(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:RATE 1S;:INP:VOLT:AUTO OFF;:INP:CURR:AUTO OFF")
    true = float(power(wire, meter))
    meter.inject({"kind": "gain", "amount": 1.05})
    assert float(power(wire, meter)) == pytest.approx(1.05 * true, rel=0.005)


def test_faults_strike_as_often_and_as_late_as_they_say(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:RATE 1S;:INP:VOLT:AUTO OFF;:INP:CURR:AUTO OFF")
    meter.inject({"kind": "over_range", "after": 2, "count": 3})
    shown = [power(wire, meter) for _ in range(7)]
    assert [text == "INF" for text in shown] == [False, False, True, True, True, False, False]


def test_an_instrument_that_another_client_has_locked(meter: Any, connect: Connect) -> None:
    wire = connect(meter.address)
    meter.inject("locked")
    with pytest.raises(pyvisa.VisaIOError):
        wire.query("*IDN?")
    assert wire.query("*IDN?").startswith("YOKOGAWA")


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ("qqqqqq", "kinds: refuse, drop"),
        ("dropp", "did you mean 'drop'?"),
        ({"kind": "drop", "often": 3}, ""),
        ({"kind": "drop", "ammount": 3.0}, "did you mean 'amount'?"),
        ({"kind": "delay", "amount": -1}, ""),
    ],
)
def test_a_fault_that_there_is_not_is_refused(meter: Any, wrong: Any, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        meter.inject(wrong)
    assert advice in caught.value.advice
    assert "pydantic" not in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=st.one_of(st.binary(max_size=60), st.text("*:;?,#'\" ABCINPVOLTRANG0123456789", max_size=60)))
def test_no_message_makes_the_instrument_unusable(meter: Any, connect: Connect, message: bytes | str) -> None:
    wire = meter.__dict__.setdefault("test_wire", None) or connect(meter.address)
    meter.__dict__["test_wire"] = wire
    wire.write_raw(message if isinstance(message, bytes) else message.encode("ascii"))
    wire.clear()
    send(wire, "*CLS")
    assert wire.query("*IDN?").startswith("YOKOGAWA,")
