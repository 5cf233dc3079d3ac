"""The simulated WT1800E, WT3000E and WT5000 against what IM WT3001E-17EN prints, by PyVISA and by hand-made packets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import send

Serve = Callable[..., Any]
Connect = Callable[[str], Any]

STEADY = {"phases": 3, "ripple": 0.0, "leakage": 0.0}


class Packets:
    """A client of the legacy Ethernet as its description has it: 4 bytes of flag and length, then the payload."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("wt3000://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=5)

    def put(self, text: str, *, last: bool = True) -> None:
        self.socket.sendall(struct.pack(">I", (0x80000000 if last else 0) | len(text)) + text.encode())

    def get(self) -> bytes:
        whole = b""
        while True:
            (word,) = struct.unpack(">I", self.exactly(4))
            whole += self.exactly(word & 0x7FFFFFFF)
            if word & 0x80000000:
                return whole

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def log_in(self, user: str = "anonymous", password: str = "") -> None:
        self.get()
        self.put(user)
        self.get()
        self.put(password)

    def ask_as(self, user: str, password: str) -> str:
        self.log_in(user, password)
        return self.query("*IDN?")

    def query(self, text: str) -> str:
        self.put(text + "\n")
        return self.get().decode().rstrip("\n")


@pytest.fixture
def packets() -> Iterator[Callable[[str], Packets]]:
    made: list[Packets] = []

    def connected(address: str) -> Packets:
        made.append(Packets(address))
        return made[-1]

    yield connected
    for one in made:
        one.socket.close()


def wt3000(serve: Serve, packets: Callable[[str], Packets], **options: Any) -> tuple[Any, Packets]:
    meter = serve("yokogawa-wt3000", platform=STEADY, **options)
    client = packets(meter.address)
    client.log_in()
    return meter, client


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (":COMMunicate?", ":COMMUNICATE:HEADER 1;OPSE 96;OVERLAP 96;VERBOSE 1"),
        (":RATE 500MS;:RATE?", ":RATE 500.0E-03"),
        (":HOLD?", ":HOLD 0"),
        ("CFAC 3;CFAC?", ":INPUT:CFACTOR 3"),
        (":INPUT:WIRING P1W3,P3W3;WIRING?", ":INPUT:WIRING P1W3,P3W3"),
        (":INPUT:VOLTAGE:RANGE:ELEMENT1?", ":INPUT:VOLTAGE:RANGE:ELEMENT1 1.000E+03"),
        (":INPUT:CURRENT:RANGE:ELEMENT1?", ":INPUT:CURRENT:RANGE:ELEMENT1 30.0E+00"),
        (
            ":CURR:RANG:ELEM1 EXTERNAL,10;:CURR:RANG:ELEM1?",
            ":INPUT:CURRENT:RANGE:ELEMENT1 EXTERNAL,10.00E+00",
        ),
        (":INPUT:VOLTAGE:AUTO:ALL ON;ELEMENT1?", ":INPUT:VOLTAGE:AUTO:ELEMENT1 1"),
        (":INPUT:VOLTAGE:MODE:ELEMENT1?", ":INPUT:VOLTAGE:MODE:ELEMENT1 RMS"),
        (":INPUT:CURRENT:SRATIO:ELEMENT1?", ":INPUT:CURRENT:SRATIO:ELEMENT1 10.0000"),
        (":INPUT:FILTER:LINE:ELEMENT1?", ":INPUT:FILTER:LINE:ELEMENT1 OFF"),
        (":INPUT:SCALING:STATE:ELEMENT1?", ":INPUT:SCALING:STATE:ELEMENT1 0"),
        (":SCAL:VT:ELEM1?", ":INPUT:SCALING:VT:ELEMENT1 1.0000"),
        (":INPUT:SYNCHRONIZE:ELEMENT1?", ":INPUT:SYNCHRONIZE:ELEMENT1 I1"),
        (":INPUT:NULL ON;NULL?", ":INPUT:NULL 1"),
        (":INPUT:MODULE?", "30,30,30,30"),
        (":INPUT:MODULE? 1", "30"),
        (":MEASURE:AVERAGING?", ":MEASURE:AVERAGING:STATE 0;TYPE EXPONENT;COUNT 2"),
        (":INTEGRATE:TIMER 1,0,0;:INTEGRATE?", ":INTEGRATE:MODE NORMAL;ACAL 0;TIMER 1,0,0"),
        (":INTEGRATE:RTIME:START 2005,1,1,0,0,0;START?", ":INTEGRATE:RTIME:START 2005,1,1,0,0,0"),
        (":INTEGRATE:STATE?", "RESET"),
        (":NUMERIC:FORMAT?", ":NUMERIC:FORMAT ASCII"),
        (":NUMERIC:NORMAL:ITEM1?", ":NUMERIC:NORMAL:ITEM1 U,1,TOTAL"),
        (":NUMERIC:NORMAL:ITEM8?", ":NUMERIC:NORMAL:ITEM8 FU,1"),
        (":NUMERIC:NORMAL:NUMBER?", ":NUMERIC:NORMAL:NUMBER 15"),
        (":STATUS:FILTER2 RISE;FILTER2?", ":STATUS:FILTER2 RISE"),
        (":STATUS:ERROR?", '0,"No error"'),
        ("*SRE 239;*SRE?", "175"),
    ],
)
def test_replies_are_those_that_the_manual_prints(
    serve: Serve, packets: Callable[[str], Packets], sent: str, reply: str
) -> None:
    _, client = wt3000(serve, packets)
    assert client.query(sent) == reply
    assert client.query(":STATUS:ERROR?") == '0,"No error"'


def test_the_larger_meters_identification_names_its_elements(serve: Serve, packets: Callable[[str], Packets]) -> None:
    _, client = wt3000(serve, packets, small=1)
    maker, model, serial, firmware = client.query("*IDN?").split(",")
    assert (maker, model, firmware) == ("YOKOGAWA", "WT3004E-2A1-30A3", "F6.01")
    assert serial.startswith("SIM")
    assert client.query(":INP:MODU?") == "2,30,30,30"
    client.put(":INP:CURR:RANG 1\n")
    assert client.query(":STAT:ERR?").split(",")[0] == "863"


def test_float_format_is_marked_with_finite_floats(serve: Serve, packets: Callable[[str], Packets]) -> None:
    meter, client = wt3000(serve, packets, error_fraction=0.0, noise=0.0)
    client.query("*OPC?")
    meter.world.clock.advance(1.0)
    client.put(":NUM:FORM FLO;NORM:NUM 2;ITEM1 U,1;ITEM2 NONE;VAL?\n")
    reply = client.get()
    assert reply[:6] == b"#40008"
    assert struct.unpack(">f", reply[6:10])[0] == pytest.approx(230.0)
    assert reply[10:] == bytes.fromhex("7E951BEE") + b"\n"
    client.put(":INP:VOLT:RANG 15;:NUM:NORM:NUM 1\n")
    client.query("*OPC?")
    meter.world.clock.advance(1.0)
    client.put(":NUM:NORM:VAL?\n")
    assert client.get() == b"#40004" + bytes.fromhex("7E94F56A") + b"\n"


def test_only_who_is_on_the_list_may_log_in(serve: Serve, packets: Callable[[str], Packets]) -> None:
    meter = serve("yokogawa-wt3000", users={"metrology": "volt"})
    for user, password in (("anonymous", ""), ("metrology", "ampere")):
        client = packets(meter.address)
        with pytest.raises((EOFError, ConnectionError)):
            client.ask_as(user, password)
        client.socket.close()
    client = packets(meter.address)
    client.log_in("metrology", "volt")
    assert client.query("*IDN?").startswith("YOKOGAWA,WT300")


def test_a_message_may_come_in_several_packets_and_a_second_client_is_turned_away(
    serve: Serve, packets: Callable[[str], Packets]
) -> None:
    meter, client = wt3000(serve, packets)
    client.put("*I", last=False)
    client.put("", last=False)
    client.put("DN?\n")
    assert client.get().startswith(b"YOKOGAWA,")
    other = packets(meter.address)
    with pytest.raises((EOFError, ConnectionError)):
        other.get()
    assert client.query("*IDN?").startswith("YOKOGAWA,")


def test_real_time_integration_waits_for_its_start_and_ends_at_its_end(
    serve: Serve, packets: Callable[[str], Packets]
) -> None:
    meter, client = wt3000(serve, packets)
    client.put(":VOLT:RANG 300;:CURR:RANG 2\n")
    client.put(":INTEG:MODE RNORMAL;RTIM:START 2026,1,1,0,0,10;END 2026,1,1,0,0,40\n")
    client.put(":INTEG:STAR\n")
    assert client.query(":INTEG:STAT?") == "READY"
    meter.world.clock.advance(20.0)
    assert client.query(":INTEG:STAT?") == "START"
    meter.world.clock.advance(30.0)
    assert client.query(":INTEG:STAT?") == "TIMEUP"
    client.put(":NUM:NORM:CLE ALL;NUMB 2;ITEM1 WH,SIGMA;ITEM2 TIME,1\n")
    energy, elapsed = client.query(":NUM:NORM:VAL?").split(",")
    assert elapsed == "30"
    assert float(energy) * 3600 == pytest.approx(meter.truth.energy_between(10.0, 40.0), rel=0.01)


@pytest.mark.parametrize(
    ("simulator", "items"),
    [("yokogawa-wt1800", ("URMS,1", "IRMS,2", "P,SIGMA")), ("yokogawa-wt5000", ("URMS,1", "IRMS,2", "P,SIGMA"))],
)
def test_three_phases_add_up_to_the_platform(
    serve: Serve, connect: Connect, simulator: str, items: tuple[str, ...]
) -> None:
    meter = serve(simulator, platform={**STEADY, "idle_power": 20000.0, "full_power": 22000.0})
    wire = connect(meter.address)
    listed = ";".join(f"ITEM{place} {name}" for place, name in enumerate(items, 1))
    send(wire, f":COMM:HEAD OFF;:NUM:NORM:CLE ALL;NUMB {len(items)};{listed}")
    send(wire, ":INP:WIR P3W4,P1W2;VOLT:RANG:SIGMA 300")
    meter.world.clock.advance(2.0)
    voltage, current, power = (float(text) for text in wire.query(":NUM:NORM:VAL?").split(","))
    true = meter.truth.active_power
    assert voltage == pytest.approx(230.0, rel=0.001)
    assert power == pytest.approx(true, rel=0.002)
    assert current == pytest.approx(true / meter.world.platform.power_factor(true) / 3 / 230, rel=0.002)


def test_two_hundred_kilowatts_through_transformers_keep_the_meters_accuracy(serve: Serve, connect: Connect) -> None:
    platform = {**STEADY, "idle_power": 180e3, "full_power": 190e3}
    for seed in range(4):
        meter = serve("yokogawa-wt1800", model="WT1800", seed=seed, ct=100.0, platform=platform)
        wire = connect(meter.address)
        send(wire, ":COMM:HEAD OFF;:INP:WIR P3W4;:INP:VOLT:RANG:ALL 300;:INP:CURR:RANG:ALL 5")
        send(
            wire, ":INP:SCAL:CT:ALL 100;:INP:SCAL:STAT:ALL ON;:NUM:NORM:NUMB 2;ITEM1 P,SIGMA;ITEM2 WH,SIGMA;:INTEG:STAR"
        )
        begin = meter.world.clock.now()
        meter.world.clock.advance(30.0)
        send(wire, ":INTEG:STOP")
        power, energy = (float(text) for text in wire.query(":NUM:NORM:VAL?").split(","))
        true = meter.truth.active_power
        limit = 0.001 * true + 3 * 0.0005 * 300 * 500
        assert 180e3 < true < 220e3
        assert abs(power - true) <= limit
        assert abs(energy * 3600 - meter.truth.energy_between(begin, begin + 30)) <= 30 * limit


def test_an_external_range_of_a_wt1800_is_a_bare_number(serve: Serve, connect: Connect) -> None:
    wire = connect(serve("yokogawa-wt1800", sensor_ratio=10.0).address)
    send(wire, ":COMM:HEAD OFF;:INP:CURR:RANG:ELEM1 EXTERNAL,0.5V")
    assert wire.query(":STAT:ERR?").split(",")[0] != "0"
    send(wire, ":INP:CURR:RANG:ELEM1 EXTERNAL,0.5")
    assert wire.query(":INP:CURR:RANG:ELEM1?") == "EXTERNAL,500.0E-03"


def test_a_current_sensor_shows_the_primary_current(serve: Serve, connect: Connect) -> None:
    meter = serve("yokogawa-wt1800", sensor_ratio=10.0, platform={**STEADY, "phases": 1, "idle_power": 4000.0})
    wire = connect(meter.address)
    send(wire, ":COMM:HEAD OFF;:INP:CURR:RANG:ELEM1 EXTERNAL,0.5;:INP:CURR:SRAT:ELEM1 10;:INP:VOLT:RANG:ELEM1 300")
    send(wire, ":NUM:NORM:NUMB 2;ITEM1 IRMS,1;ITEM2 P,1")
    meter.world.clock.advance(2.0)
    current, power = (float(text) for text in wire.query(":NUM:NORM:VAL?").split(","))
    assert power == pytest.approx(meter.truth.active_power, rel=0.003)
    assert current == pytest.approx(power / 230 / meter.world.platform.power_factor(power), rel=0.003)


@pytest.mark.parametrize("invented", [":MEAS:NORM:VAL?", ":FETC?", ":SYST:ERR?"])
def test_what_a_tool_once_invented_is_an_undefined_header(serve: Serve, connect: Connect, invented: str) -> None:
    wire = connect(serve("yokogawa-wt1800").address)
    send(wire, invented)
    assert wire.query(":STAT:ERR?") == '113,"Undefined Header"'
