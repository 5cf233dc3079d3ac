"""HiSLIP frame by frame, by a client written from IVI-6.1: what pyvisa-py cannot show, and what breaks the rules."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from aicalib_hw.simulators.echo import SimulatedEcho
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aicalib_hw import registry

from .devices import SimulatedToy, toy

HEADER = ">2sBBIQ"
FIRST = 0xFFFFFF00


class Frames:
    """One connection: sends and receives whole HiSLIP messages."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5.0)

    def send(self, kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> None:
        self.socket.sendall(struct.pack(HEADER, b"HS", kind, control, parameter, len(payload)) + payload)

    def receive(self) -> tuple[int, int, int, bytes]:
        mark, kind, control, parameter, length = struct.unpack(HEADER, self._exactly(16))
        assert mark == b"HS"
        return kind, control, parameter, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def silent(self) -> bool:
        """True if nothing arrives for a while."""
        self.socket.settimeout(0.15)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(5.0)

    def close(self) -> None:
        self.socket.close()


class Client:
    """A session with both channels."""

    def __init__(self, port: int, version: int = 0x0100) -> None:
        self.sync, self.asynchronous = Frames(port), Frames(port)
        self.sync.send(0, 0, version << 16 | 0x7878, b"hislip0")
        kind, control, parameter, _ = self.sync.receive()
        assert (kind, control) == (1, 0)
        self.version, self.number = parameter >> 16, parameter & 0xFFFF
        self.asynchronous.send(17, 0, self.number)
        assert self.asynchronous.receive()[0] == 18
        self.id = FIRST

    def write(self, message: bytes, *, delivered: bool = False) -> int:
        number, self.id = self.id, self.id + 2 & 0xFFFFFFFF
        self.sync.send(7, int(delivered), number, message)
        return number

    def ask(self, message: bytes, *, delivered: bool = False) -> bytes:
        number = self.write(message, delivered=delivered)
        kind, control, parameter, payload = self.sync.receive()
        assert (kind, control, parameter) == (7, 0, number)
        return payload

    def status(self, *, delivered: bool = False) -> int:
        self.asynchronous.send(21, int(delivered), self.id)
        kind, control, _, _ = self.asynchronous.receive()
        assert kind == 22
        return control

    def lock(self, timeout_ms: int = 0, key: bytes = b"") -> int:
        self.asynchronous.send(4, 1, timeout_ms, key)
        return self.lock_answer()

    def unlock(self) -> int:
        self.asynchronous.send(4, 0, self.id)
        return self.lock_answer()

    def lock_answer(self) -> int:
        kind, control, _, _ = self.asynchronous.receive()
        assert kind == 5
        return control

    def close(self) -> None:
        self.sync.close()
        self.asynchronous.close()


Plug = Callable[..., Client]


@pytest.fixture
def served() -> Iterator[SimulatedToy]:
    instrument = toy(most_clients=3)
    instrument.start()
    yield instrument
    instrument.stop()


def port_of(instrument: SimulatedToy | SimulatedEcho) -> int:
    return int(instrument.addresses["HiSLIP"].split(",")[1].split("::")[0])


@pytest.fixture
def plug(served: SimulatedToy) -> Iterator[Plug]:
    with contextlib.ExitStack() as stack:

        def connect(version: int = 0x0100) -> Client:
            return stack.enter_context(contextlib.closing(Client(port_of(served), version)))

        yield connect


IDENTITY = b"AICALIB,TOY,SIM0,1\n"


@pytest.mark.parametrize("offered", [0x0100, 0x0101, 0x0200, 0x7F00])
def test_a_higher_version_is_negotiated_down(plug: Plug, offered: int) -> None:
    client = plug(offered)
    assert client.version == 0x0100
    assert client.ask(b"*IDN?") == IDENTITY


def test_a_response_carries_the_number_of_the_message_that_asked(plug: Plug) -> None:
    client = plug()
    assert client.ask(b"*IDN?\n") == IDENTITY
    client.write(b":SOUR:LEV 4", delivered=True)
    assert client.ask(b":SOUR:LEV?") == b"4\n"


def test_a_message_and_a_response_in_several_parts(plug: Plug) -> None:
    client = plug()
    client.asynchronous.send(15, 0, 0, (10).to_bytes(8, "big"))
    kind, _, _, most = client.asynchronous.receive()
    assert (kind, int.from_bytes(most, "big") >= 1 << 10) == (16, True)
    client.sync.send(6, 0, FIRST, b"*ID")
    client.sync.send(7, 0, FIRST + 2, b"N?")
    assert client.sync.receive() == (6, 0, FIRST + 2, IDENTITY[:10])
    assert client.sync.receive() == (7, 0, FIRST + 2, IDENTITY[10:])


def test_a_response_that_was_not_delivered_is_interrupted_on_both_channels(plug: Plug) -> None:
    client = plug()
    client.ask(b"*IDN?")
    number = client.write(b":SYST:ERR?", delivered=False)
    assert client.sync.receive()[:3] == (13, 0, number)
    assert client.asynchronous.receive()[:3] == (14, 0, number)
    assert client.sync.receive()[3].startswith(b"-410,")
    assert client.ask(b":SYST:ERR?", delivered=True).startswith(b"0,")


def test_message_available_until_the_response_is_delivered(plug: Plug) -> None:
    client = plug()
    client.write(b"*CLS")
    assert client.status() & 16 == 0
    client.ask(b"*IDN?")
    assert client.status() & 16
    assert client.status(delivered=True) & 16 == 0


def test_no_service_request_comes_unless_this_client_has_enabled_them(plug: Plug) -> None:
    quiet, client = plug(), plug()
    client.write(b"*ESE 32")
    client.write(b":NOTHING")
    assert client.ask(b"*OPC?") == b"1\n"
    assert client.asynchronous.silent()
    client.write(b"*CLS;*SRE 32", delivered=True)
    client.write(b":NOTHING")
    kind, byte, parameter, payload = client.asynchronous.receive()
    assert (kind, parameter, payload) == (20, 0, b"")
    assert byte & 64
    assert byte & 32
    assert quiet.asynchronous.silent()


def test_a_request_for_service_stands_until_the_client_polls_the_status(plug: Plug) -> None:
    """IEEE 488.1: the serial poll clears RQS, and telling of it does not."""
    client = plug()
    client.write(b"*CLS;*SRE 4")
    client.write(b":NOTHING")
    assert client.asynchronous.receive()[:2] == (20, 64 | 4)
    assert [client.status() & 64, client.status() & 64] == [64, 0]


def test_a_device_clear_ends_a_wait_and_what_was_under_way(plug: Plug) -> None:
    client = plug()
    client.write(b":WAIT?")
    client.write(b"*IDN?")
    client.asynchronous.send(19)
    assert client.asynchronous.receive()[:2] == (23, 0)
    client.sync.send(8)
    while (message := client.sync.receive())[0] != 9:
        assert message[0] in (6, 7)
    assert message[1] == 0
    client.id = FIRST
    assert client.ask(b":SOUR:LEV?") == b"0\n"
    assert client.ask(b":SYST:ERR?", delivered=True).startswith(b"0,")


def test_an_exclusive_lock_holds_the_others_messages_back(plug: Plug) -> None:
    one, other = plug(), plug()
    assert one.lock() == 1
    assert other.lock(50) == 0
    assert other.unlock() == 3
    other.asynchronous.send(24)
    assert other.asynchronous.receive()[:3] == (25, 1, 1)
    other.write(b":SOUR:LEV?")
    assert other.sync.silent()
    one.write(b":SOUR:LEV 6")
    assert one.ask(b"*OPC?") == b"1\n"
    assert one.unlock() == 1
    assert other.sync.receive()[3] == b"6\n"


def test_a_shared_lock_is_shared_by_those_who_know_its_key(plug: Plug) -> None:
    one, other, stranger = plug(), plug(), plug()
    assert [one.lock(0, b"key"), other.lock(0, b"key"), stranger.lock(0, b"wrong")] == [1, 1, 0]
    assert one.ask(b"*IDN?") == other.ask(b"*IDN?") == IDENTITY
    stranger.write(b"*IDN?")
    assert stranger.sync.silent()
    assert one.unlock() == 2
    other.close()
    assert stranger.sync.receive()[3] == IDENTITY


def test_a_lock_falls_when_its_holder_leaves(plug: Plug) -> None:
    one, other = plug(), plug()
    assert one.lock() == 1
    other.asynchronous.send(4, 1, 5000)
    one.close()
    assert other.lock_answer() == 1


def test_remote_and_local_are_answered_and_what_is_unknown_is_an_error(plug: Plug) -> None:
    client = plug()
    for control in range(7):
        client.asynchronous.send(10, control, FIRST)
        assert client.asynchronous.receive()[:2] == (11, 0)
    client.asynchronous.send(10, 9, FIRST)
    assert client.asynchronous.receive()[:2] == (3, 2)
    client.sync.send(7, 2, FIRST, b"*IDN?")
    assert client.sync.receive()[:2] == (3, 2)
    client.sync.send(77)
    assert client.sync.receive()[:2] == (3, 1)
    client.sync.send(200)
    assert client.sync.receive()[:2] == (3, 3)
    client.sync.send(7, 0, FIRST, bytes(2 << 20))
    assert client.sync.receive()[:2] == (3, 4)
    assert client.ask(b"*IDN?") == IDENTITY


def test_trigger_reaches_the_device(plug: Plug) -> None:
    client = plug()
    client.sync.send(12, 0, FIRST)
    client.id = FIRST + 2
    assert client.ask(b":SOUR:LEV?") == b"77\n"


def fatal(frames: Frames) -> int:
    kind, code, _, text = frames.receive()
    assert kind == 2
    assert text
    with pytest.raises(ConnectionError):
        frames.receive()
    return code


def test_what_breaks_the_protocol_is_fatal_and_says_why(served: SimulatedToy, plug: Plug) -> None:
    port = port_of(served)
    with contextlib.closing(Frames(port)) as frames:
        frames.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert fatal(frames) == 1
    with contextlib.closing(Frames(port)) as frames:
        frames.send(7, 0, FIRST, b"*IDN?")
        assert fatal(frames) == 3
    with contextlib.closing(Frames(port)) as frames:
        frames.send(17, 0, 4711)
        assert fatal(frames) == 3
    with contextlib.closing(Frames(port)) as frames:
        frames.send(0, 0, 0x01007878, b"hislip0")
        assert frames.receive()[0] == 1
        frames.send(7, 0, FIRST, b"*IDN?")
        assert fatal(frames) == 2
    for _ in range(3):
        plug()
    with contextlib.closing(Frames(port)) as frames:
        frames.send(0, 0, 0x01007878, b"hislip0")
        assert fatal(frames) == 4


def test_a_slow_answer_of_the_echo_device_requests_service_when_it_is_there() -> None:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 0})
    echo = SimulatedEcho(world, "echo", delay=5.0)
    echo.start()
    try:
        with contextlib.closing(Client(port_of(echo))) as client:
            for message in (b"RCVSLOWSRQ\n", b"1\n", b"SENDSLOWSRQ\n"):
                client.write(message)
            assert client.asynchronous.silent()
            world.clock.advance(6.0)
            kind, byte, _, _ = client.asynchronous.receive()
            assert (kind, byte & 80) == (20, 80)
            assert client.sync.receive()[3] == b"1\n"
    finally:
        echo.stop()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rubbish=st.binary(max_size=60), framed=st.booleans(), kind=st.integers(0, 255), control=st.integers(0, 255))
def test_no_bytes_take_the_server_down(
    served: SimulatedToy, rubbish: bytes, framed: bool, kind: int, control: int
) -> None:
    with contextlib.closing(Client(port_of(served))) as victim:
        for channel in (victim.sync, victim.asynchronous):
            with contextlib.suppress(OSError):
                channel.send(kind, control, FIRST, rubbish) if framed else channel.socket.sendall(rubbish)
    with contextlib.closing(Client(port_of(served))) as client:
        assert client.ask(b"*IDN?") == IDENTITY
