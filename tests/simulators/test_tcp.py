"""The raw socket server, by a plain socket: terminators, queued replies, several clients, faults."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .devices import SimulatedToy, toy

Plug = Callable[[SimulatedToy], "Client"]


class Client:
    """A socket and what it has received."""

    def __init__(self, address: str) -> None:
        _, host, port, _ = address.split("::")
        self.socket = socket.create_connection((host, int(port)), timeout=5.0)
        self._got = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self, end: bytes = b"\n") -> bytes:
        while end not in self._got:
            part = self.socket.recv(4096)
            if not part:
                raise ConnectionError("closed by the instrument")
            self._got += part
        line, self._got = self._got.split(end, 1)
        return line

    def ask(self, message: bytes) -> bytes:
        self.send(message + b"\n")
        return self.line()

    def rest(self) -> bytes:
        """Everything until the instrument closes the connection."""
        with contextlib.suppress(ConnectionError):
            while part := self.socket.recv(4096):
                self._got += part
        return self._got


@pytest.fixture
def plug() -> Iterator[Plug]:
    clients: list[Client] = []

    def connect(instrument: SimulatedToy) -> Client:
        clients.append(Client(instrument.addresses["TCP"]))
        return clients[-1]

    yield connect
    for client in clients:
        client.socket.close()


@pytest.fixture
def served() -> Iterator[Callable[..., SimulatedToy]]:
    running: list[SimulatedToy] = []

    def start(**options: object) -> SimulatedToy:
        running.append(toy(**options))
        running[-1].start()
        return running[-1]

    yield start
    for one in running:
        one.stop()


Serve = Callable[..., SimulatedToy]


def test_replies_queue_and_come_in_the_order_of_their_questions(served: Serve, plug: Plug) -> None:
    client = plug(served())
    client.send(b"".join(b":SOUR:LEV %d;LEV?\n" % level for level in range(500)))
    assert [int(client.line()) for _ in range(500)] == list(range(500))
    assert client.ask(b"SYST:ERR?") == b'0,"No error"'


def test_a_message_may_arrive_in_any_pieces(served: Serve, plug: Plug) -> None:
    client = plug(served())
    for byte in b"*ID":
        client.send(bytes([byte]))
    assert client.ask(b"N?;:SOUR:LEV?") == b"AICALIB,TOY,SIM0,1;0"


def test_terminators_are_those_that_the_family_has(served: Serve, plug: Plug) -> None:
    client = plug(served(terminator=b"\r", reply_terminator=b"\r\n"))
    client.send(b"*IDN?\r:SOUR:LEV?\r")
    assert client.line(b"\r\n") == b"AICALIB,TOY,SIM0,1"
    assert client.line(b"\r\n") == b"0"


def test_a_carriage_return_before_the_newline_is_white_space(served: Serve, plug: Plug) -> None:
    client = plug(served())
    client.send(b"*IDN?\r\n")
    assert client.line() == b"AICALIB,TOY,SIM0,1"


def test_a_block_may_hold_newlines_semicolons_and_quotes(served: Serve, plug: Plug) -> None:
    client = plug(served())
    assert client.ask(b":DATA #15a\n;'\";DATA?") == b"#15a"
    assert client.line() == b";'\""
    assert client.ask(b"SYST:ERR?") == b'0,"No error"'


def test_two_clients_talk_to_one_device_and_each_gets_its_own_replies(served: Serve, plug: Plug) -> None:
    instrument = served()
    one, other = plug(instrument), plug(instrument)
    one.send(b":SOUR:LEV 7;*OPC?\n")
    assert one.line() == b"1"
    other.send(b"*IDN?\n" * 50)
    one.send(b":SOUR:LEV?\n" * 50)
    assert {one.line() for _ in range(50)} == {b"7"}
    assert {other.line() for _ in range(50)} == {b"AICALIB,TOY,SIM0,1"}


def test_where_one_client_is_allowed_the_next_comes_in_when_the_first_has_gone(served: Serve, plug: Plug) -> None:
    instrument = served(most_clients=1)
    first = plug(instrument)
    assert first.ask(b":SOUR:LEV?") == b"0"
    assert plug(instrument).rest() == b""
    first.socket.close()
    assert plug(instrument).ask(b":SOUR:LEV?") == b"0"


def test_a_client_that_shuts_its_side_down_still_gets_its_reply(served: Serve, plug: Plug) -> None:
    client = plug(served())
    client.send(b"*IDN?\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest() == b"AICALIB,TOY,SIM0,1\n"


def test_a_client_that_leaves_frees_the_parser_from_what_it_waits_for(served: Serve, plug: Plug) -> None:
    instrument = served()
    blocked, other = plug(instrument), plug(instrument)
    blocked.send(b":WAIT?\n")
    blocked.socket.close()
    assert other.ask(b"*IDN?") == b"AICALIB,TOY,SIM0,1"


def test_a_message_longer_than_the_input_buffer_is_an_overrun_and_the_next_is_heard(served: Serve, plug: Plug) -> None:
    client = plug(served())
    client.send(b":DATA '" + bytes(2 << 20) + b"'\n")
    assert client.ask(b"SYST:ERR?").startswith(b"-363,")
    assert client.ask(b":SOUR:LEV?") == b"0"


def test_a_block_that_claims_more_than_there_can_be_does_not_swallow_what_follows(served: Serve, plug: Plug) -> None:
    client = plug(served())
    client.send(b":DATA #9999999999x\n")
    assert client.ask(b":SOUR:LEV?") == b"0"


def test_the_same_device_answers_over_both_wires(served: Serve, plug: Plug, connect: Callable[[str], object]) -> None:
    instrument = served()
    assert tuple(instrument.addresses) == instrument.wires
    client = plug(instrument)
    client.ask(b":SOUR:LEV 42;*OPC?")
    wire = connect(instrument.addresses["VXI-11"])
    assert wire.query(":SOUR:LEV?") == "42"  # type: ignore[attr-defined]


def test_a_reply_dropped_in_the_middle_comes_whole_on_the_next_connection(served: Serve, plug: Plug) -> None:
    instrument = served()
    instrument.inject("drop")
    client = plug(instrument)
    client.send(b"*IDN?\n")
    assert client.rest() == b"AICALIB,TOY,SIM0,1\n"[:9]
    assert plug(instrument).ask(b"*IDN?") == b"AICALIB,TOY,SIM0,1"


def test_faults_double_the_terminator_garble_cut_into_pieces_and_refuse(served: Serve, plug: Plug) -> None:
    instrument = served(reply_terminator=b"\r\n")
    client = plug(instrument)
    instrument.inject("double_terminator")
    client.send(b":SOUR:LEV?\n")
    assert (client.line(b"\r\n"), client.line(b"\r\n")) == (b"0", b"")
    instrument.inject("garble")
    client.send(b"*IDN?\n")
    assert not client.line(b"\r\n").isascii()
    instrument.inject({"kind": "pieces", "count": None})
    client.send(b"*IDN?\n")
    assert client.line(b"\r\n") == b"AICALIB,TOY,SIM0,1"
    instrument.inject("refuse")
    assert plug(instrument).rest() == b""
    instrument.inject("locked")
    client.send(b"*IDN?\n")
    assert client.rest() == b""


def test_a_reply_may_end_by_another_terminator_than_the_client_waits_for(served: Serve, plug: Plug) -> None:
    instrument = served()
    client = plug(instrument)
    instrument.inject("wrong_terminator")
    client.send(b"*IDN?\n")
    assert client.line(b"\r") == b"AICALIB,TOY,SIM0,1"
    client.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.line()


def test_a_reboot_cuts_the_connection_and_turns_clients_away_until_it_is_over(served: Serve, plug: Plug) -> None:
    instrument = served()
    client = plug(instrument)
    instrument.inject({"kind": "reboot", "amount": 0.2})
    client.send(b"*IDN?\n")
    assert client.rest() == b""
    replies = iter(lambda: plug(instrument), None)
    for again in replies:
        with contextlib.suppress(ConnectionError):
            assert again.ask(b"*IDN?") == b"AICALIB,TOY,SIM0,1"
            break


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rubbish=st.one_of(st.binary(max_size=80), st.text("*:;?,#'\"()@ \n0129AEHIORSUV", max_size=80).map(str.encode)))
def test_no_bytes_take_the_server_down(served: Serve, rubbish: bytes) -> None:
    instrument = served.__dict__.setdefault("test_instrument", None) or served()
    served.__dict__["test_instrument"] = instrument
    with contextlib.closing(Client(instrument.addresses["TCP"]).socket) as first:
        first.sendall(rubbish)
    again = Client(instrument.addresses["TCP"])
    with contextlib.closing(again.socket):
        again.send(b"*IDN?\n")
        assert again.line() == b"AICALIB,TOY,SIM0,1"
