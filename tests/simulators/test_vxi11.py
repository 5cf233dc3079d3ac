"""VXI-11 by python-vxi11 and by plain RPC records: abort, service requests, locks, portmapper, and rubbish."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aicalib_hw.simulators.servers.portmapper import Portmapper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vxi11 import rpc, vxi11

from .devices import SimulatedToy, toy

CORE = 0x0607AF


@pytest.fixture
def served() -> Iterator[SimulatedToy]:
    instrument = toy()
    instrument.start()
    yield instrument
    instrument.stop()


def port_of(instrument: SimulatedToy) -> int:
    return int(instrument.addresses["VXI-11"].split(",")[1].split("::")[0])


class Client:
    """A link, and the second connection that aborts it."""

    def __init__(self, instrument: SimulatedToy) -> None:
        self.core: Any = vxi11.CoreClient("127.0.0.1", port_of(instrument))
        error, self.link, abort_port, _ = self.core.create_link(1, 0, 0, b"inst0")
        assert error == 0
        self.abort: Any = vxi11.AbortClient("127.0.0.1", abort_port)

    def write(self, message: bytes, flags: int = 8) -> int:
        return int(self.core.device_write(self.link, 1000, 1000, flags, message)[0])

    def read(self, timeout_ms: int = 2000) -> tuple[int, int, bytes]:
        error, reason, data = self.core.device_read(self.link, 1 << 16, timeout_ms, 0, 0, 0)
        return error, reason, data

    def ask(self, message: bytes) -> bytes:
        assert self.write(message) == 0
        error, _, data = self.read()
        assert error == 0
        return data

    def close(self) -> None:
        self.core.close()
        self.abort.close()


@pytest.fixture
def client(served: SimulatedToy) -> Iterator[Client]:
    with contextlib.closing(Client(served)) as one:
        yield one


@pytest.fixture
def other(served: SimulatedToy) -> Iterator[Client]:
    with contextlib.closing(Client(served)) as one:
        yield one


def test_a_refused_connection_and_a_reply_dropped_in_its_middle_end_at_once_and_the_next_is_served(
    served: SimulatedToy, client: Client
) -> None:
    served.inject("refuse")
    with pytest.raises((EOFError, ConnectionError)):
        Client(served)
    assert client.write(b"*IDN?") == 0
    served.inject("drop")
    with pytest.raises((EOFError, ConnectionError)):
        client.read()
    with contextlib.closing(Client(served)) as again:
        assert again.ask(b"*IDN?") == b"AICALIB,TOY,SIM0,1\n"


def aborted_soon(client: Client, call: Any) -> tuple[Any, float]:
    """Run a blocking call in a thread, abort it, and return its result and how long it took, s."""
    result: list[Any] = []
    begin = time.monotonic()
    thread = threading.Thread(target=lambda: result.append(call()))
    thread.start()
    while thread.is_alive() and time.monotonic() - begin < 20.0:
        assert client.abort.device_abort(client.link) == 0
        thread.join(0.05)
    return result[0], time.monotonic() - begin


def test_an_abort_ends_a_blocked_read(client: Client) -> None:
    client.write(b":WAIT?")
    (error, _, data), took = aborted_soon(client, lambda: client.read(30_000))
    assert (error, data) == (23, b"")
    assert took < 15.0
    client.core.device_clear(client.link, 0, 0, 1000)
    assert client.ask(b":SOUR:LEV?") == b"0\n"


def test_an_abort_ends_a_wait_for_a_lock(client: Client, other: Client) -> None:
    assert other.core.device_lock(other.link, 0, 0) == 0
    error, took = aborted_soon(client, lambda: client.core.device_lock(client.link, 1, 30_000))
    assert error == 23
    assert took < 15.0
    error, _ = aborted_soon(client, lambda: client.core.device_write(client.link, 0, 30_000, 9, b"*IDN?")[0])
    assert error == 23


def test_a_lock_keeps_others_out_until_it_is_given_back_or_its_holder_leaves(
    served: SimulatedToy, client: Client, other: Client
) -> None:
    assert client.core.device_unlock(client.link) == 12
    assert client.core.device_lock(client.link, 0, 0) == 0
    assert other.write(b"*IDN?") == 11
    assert other.core.device_lock(other.link, 0, 0) == 11
    assert client.core.device_unlock(client.link) == 0
    assert other.core.device_lock(other.link, 0, 0) == 0
    other.core.close()
    assert client.core.device_lock(client.link, 1, 5000) == 0


def test_a_message_in_parts_ends_with_end_and_a_read_before_that_forgets_it(client: Client) -> None:
    assert [client.write(b"*ID", flags=0), client.write(b"N?")] == [0, 0]
    assert client.read() == (0, 4, b"AICALIB,TOY,SIM0,1\n")
    client.write(b":NONSENSE", flags=0)
    assert client.read(20)[0] == 15
    assert client.ask(b"*OPC?") == b"1\n"
    assert client.ask(b"SYST:ERR?").startswith(b"-420")


def test_a_read_stops_at_the_termination_character(client: Client) -> None:
    client.write(b"*IDN?")
    first = client.core.device_read(client.link, 1000, 1000, 0, 128, ord(","))
    assert first == (0, 2, b"AICALIB,")
    assert client.read() == (0, 4, b"TOY,SIM0,1\n")


def test_a_trigger_reaches_the_device_and_a_poll_reads_the_status_byte(client: Client) -> None:
    assert client.core.device_trigger(client.link, 0, 0, 1000) == 0
    assert client.ask(b":SOUR:LEV?") == b"77\n"
    client.write(b":NOTHING")
    assert client.ask(b"*OPC?") == b"1\n"
    assert client.core.device_read_stb(client.link, 0, 0, 1000) == (0, 4)
    assert client.core.device_docmd(client.link, 0, 1000, 0, 1, 0, 1, b"")[0] == 8


def test_a_service_request_is_a_call_back_to_the_client_that_asked_for_it(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5.0)
        port = listener.getsockname()[1]
        channel = (0x7F000001, port, 0x0607B1, 1, 0)
        assert client.core.destroy_intr_chan() == 6
        assert client.core.create_intr_chan(0x08080808, *channel[1:]) == 6
        assert client.core.create_intr_chan(*channel[:4], 1) == 8
        assert client.core.create_intr_chan(*channel) == 0
        assert client.core.create_intr_chan(*channel) == 29
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5.0)
            assert client.core.device_enable_srq(client.link, 1, b"handle") == 0
            client.write(b"*CLS;*ESE 32;*SRE 32")
            client.write(b":NOTHING")
            head, _, *words = struct.unpack(">IIIIIIIIIII", connection.recv(44))
            assert (head, words[:5]) == (0x80000000 | 52, [0, 2, 0x0607B1, 1, 30])
            assert connection.recv(100) == b"\0\0\0\x06handle\0\0"
            assert client.core.device_read_stb(client.link, 0, 0, 1000) == (0, 4 + 32 + 64)
            assert client.core.device_enable_srq(client.link, 0, b"") == 0
            assert client.core.destroy_intr_chan() == 0
            assert connection.recv(1) == b""


def test_the_portmapper_tells_the_port_over_tcp_and_udp(served: SimulatedToy, monkeypatch: pytest.MonkeyPatch) -> None:
    mapper = Portmapper({(CORE, 1): port_of(served)}, port=0)
    monkeypatch.setattr(rpc, "PMAP_PORT", mapper.start())
    try:
        for kind in (rpc.TCPPortMapperClient, rpc.UDPPortMapperClient):
            asking: Any = kind("127.0.0.1")
            assert asking.get_port((CORE, 1, rpc.IPPROTO_TCP, 0)) == port_of(served)
            assert asking.get_port((CORE, 1, rpc.IPPROTO_UDP, 0)) == 0
            assert asking.get_port((4711, 1, rpc.IPPROTO_TCP, 0)) == 0
            assert asking.dump() == [(CORE, 1, rpc.IPPROTO_TCP, port_of(served))]
            asking.close()
    finally:
        mapper.stop()


@pytest.mark.parametrize(
    ("program", "version", "procedure", "status"),
    [(CORE + 9, 1, 10, [1]), (CORE, 7, 10, [2, 1, 1]), (CORE, 1, 99, [3]), (CORE, 1, 0, [0]), (CORE, 1, 11, [4])],
)
def test_calls_that_nobody_serves_are_answered_as_rpc_wants(
    served: SimulatedToy, program: int, version: int, procedure: int, status: list[int]
) -> None:
    call = struct.pack(">10I", 7, 0, 2, program, version, procedure, 0, 0, 0, 0)
    with socket.create_connection(("127.0.0.1", port_of(served)), timeout=5.0) as plain:
        plain.sendall(struct.pack(">I", 0x80000000 | len(call)) + call)
        (length,) = struct.unpack(">I", plain.recv(4))
        reply = plain.recv(length & 0x7FFFFFFF)
    assert list(struct.unpack(f">{len(reply) // 4}I", reply)) == [7, 1, 0, 0, 0, *status]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rubbish=st.binary(max_size=80), framed=st.booleans(), procedure=st.integers(0, 30))
def test_no_bytes_take_the_server_down(served: SimulatedToy, rubbish: bytes, framed: bool, procedure: int) -> None:
    call = struct.pack(">10I", 7, 0, 2, CORE, 1, procedure, 0, 0, 0, 0) + rubbish
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port_of(served)), timeout=5.0) as plain:
        plain.sendall(struct.pack(">I", 0x80000000 | len(call)) + call if framed else rubbish)
        if framed:
            plain.recv(4)
    with contextlib.closing(Client(served)) as client:
        assert client.ask(b"*IDN?") == b"AICALIB,TOY,SIM0,1\n"
