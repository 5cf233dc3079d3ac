"""HiSLIP 1.0 (IVI-6.1), synchronised mode, with locks, status query, device clear and service requests.

Clients that offer a higher version get 1.0. Overlap mode is not offered. An AsyncServiceRequest goes only to a client
that has enabled service requests itself (*SRE): others are not prepared for it.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

from .connections import Connections, exactly
from .faulty import FaultySession, FaultyWire
from .framing import Framer
from .locks import Locks

PORT = 4880
"""The registered port."""

(
    INITIALIZE, INITIALIZE_RESPONSE, FATAL_ERROR, ERROR, ASYNC_LOCK, ASYNC_LOCK_RESPONSE, DATA, DATA_END,
    CLEAR_COMPLETE, CLEAR_ACKNOWLEDGE, ASYNC_REMOTE_LOCAL, ASYNC_REMOTE_LOCAL_RESPONSE, TRIGGER, INTERRUPTED,
    ASYNC_INTERRUPTED, ASYNC_MAXIMUM_SIZE, ASYNC_MAXIMUM_SIZE_RESPONSE, ASYNC_INITIALIZE, ASYNC_INITIALIZE_RESPONSE,
    ASYNC_CLEAR, ASYNC_SERVICE_REQUEST, ASYNC_STATUS_QUERY, ASYNC_STATUS_RESPONSE, ASYNC_CLEAR_ACKNOWLEDGE,
    ASYNC_LOCK_INFO, ASYNC_LOCK_INFO_RESPONSE,
) = range(26)  # fmt: skip
BAD_HEADER, ONE_CHANNEL_ONLY, BAD_INITIALIZATION, TOO_MANY_CLIENTS = 1, 2, 3, 4
UNKNOWN_TYPE, UNKNOWN_CONTROL, UNKNOWN_VENDOR_MESSAGE, TOO_LARGE = 1, 2, 3, 4
VERSION = 0x0100
VENDOR = int.from_bytes(b"AI", "big")
MOST = 1 << 20
"""Longest payload taken, bytes; told to clients, and taken as theirs until they tell."""

_HEADER = struct.Struct(">2sBBIQ")
_MESSAGE_AVAILABLE = 16
_LEAVING = 0.3
"""How long a client that has gone may keep its place from the next, real s."""
_LOCK_FAILURE, _LOCK_SUCCESS, _LOCK_SHARED, _LOCK_ERROR = range(4)


class _Fatal(Exception):
    """Ends a session: code and text of a FatalError."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Channel:
    """One TCP connection, framed."""

    def __init__(self, connection: socket.socket, reply: Callable[[Callable[[bytes], None], bytes], None]) -> None:
        self._connection = connection
        self._reply = reply
        self._sending = threading.Lock()

    def receive(self) -> tuple[int, int, int, bytes] | None:
        """Return type, control, parameter and payload; None when the client has gone. Too large ones are answered."""
        while (head := exactly(self._connection, _HEADER.size)) is not None:
            mark, kind, control, parameter, length = _HEADER.unpack(head)
            if mark != b"HS":
                raise _Fatal(BAD_HEADER, "a header does not begin with HS")
            if length <= MOST:
                payload = exactly(self._connection, length)
                return None if payload is None else (kind, control, parameter, payload)
            while length:
                part = self._connection.recv(min(length, 1 << 16))
                if not part:
                    return None
                length -= len(part)
            self.send(ERROR, TOO_LARGE, 0, b"message too large")
        return None

    def send(self, kind: int, control: int, parameter: int, payload: bytes = b"") -> None:
        with self._sending:
            self._reply(self._connection.sendall, _HEADER.pack(b"HS", kind, control, parameter, len(payload)) + payload)

    def close(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class _Client:
    """One session: what both channels share."""

    def __init__(self, number: int, sync: _Channel, session: FaultySession) -> None:
        self.number = number
        self.sync = sync
        self.asynchronous: _Channel | None = None
        self.session = session
        self.framer = Framer()
        self.most = MOST
        self.unread = False
        self.clearing = False
        self.gone = threading.Event()


class HislipServer:
    """Serves one device. port: 0 = the system chooses. most_clients: at once; None = any.

    newline_only: the end of a message does not end a program message without a newline.
    """

    wire = "HiSLIP"

    def __init__(
        self,
        wire: FaultyWire,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        most_clients: int | None = None,
        newline_only: bool = False,
    ) -> None:
        self._wire = wire
        self._host = host
        self._most_clients = most_clients
        self._newline_only = newline_only
        self._clients: dict[int, _Client] = {}
        self._next = 1
        self._guard = threading.Condition()
        self._locks = Locks()
        self._connections = Connections(self._serve, host=host, port=port, name="hislip-server")

    @property
    def address(self) -> str:
        """The VISA resource name."""
        return f"TCPIP::{self._host}::hislip0,{self._connections.port}::INSTR"

    def start(self) -> int:
        """Listen; return the port."""
        return self._connections.start()

    def stop(self) -> None:
        """Close every session; idempotent."""
        self._connections.stopping.set()
        with self._guard:
            clients = tuple(self._clients.values())
        for client in clients:
            self._drop(client)
        self._connections.stop()

    def _serve(self, connection: socket.socket) -> None:
        channel = _Channel(connection, self._wire.reply)
        client: _Client | None = None
        try:
            first = channel.receive()
            if first is None:
                return
            kind, _, parameter, payload = first
            if kind == INITIALIZE:
                client = self._initialize(channel, parameter, payload)
                if client is not None:
                    self._synchronous(client)
            elif kind == ASYNC_INITIALIZE:
                client = self._initialize_async(_Channel(connection, _plainly), parameter)
                self._asynchronous(client)
            else:
                raise _Fatal(BAD_INITIALIZATION, "a connection begins with Initialize or AsyncInitialize")
        except _Fatal as error:
            channel.send(FATAL_ERROR, error.code, 0, str(error).encode())
        finally:
            if client is not None:
                self._drop(client)

    def _initialize(self, channel: _Channel, parameter: int, name: bytes) -> _Client | None:
        if self._wire.refuse():
            return None
        if name.lower() not in (b"hislip0", b""):
            raise _Fatal(BAD_INITIALIZATION, "there is no such sub-address here")
        if parameter >> 16 < VERSION:
            raise _Fatal(BAD_INITIALIZATION, "HiSLIP before 1.0 is not served")
        with self._guard:
            if not self._guard.wait_for(self._has_place, _LEAVING):
                raise _Fatal(TOO_MANY_CLIENTS, "maximum number of clients exceeded")
            client = _Client(self._next, channel, self._wire.connect(borders=True))
            self._next = self._next % 0xFFFF + 1
            self._clients[client.number] = client
        channel.send(INITIALIZE_RESPONSE, 0, VERSION << 16 | client.number)
        return client

    def _has_place(self) -> bool:
        return self._most_clients is None or len(self._clients) < self._most_clients

    def _initialize_async(self, channel: _Channel, number: int) -> _Client:
        with self._guard:
            client = self._clients.get(number)
            if client is None or client.asynchronous is not None:
                raise _Fatal(BAD_INITIALIZATION, "no session waits for this connection")
            client.asynchronous = channel
        client.session.on_service(lambda: self._request_service(client))
        channel.send(ASYNC_INITIALIZE_RESPONSE, 0, VENDOR)
        return client

    def _drop(self, client: _Client) -> None:
        with self._guard:
            self._clients.pop(client.number, None)
            self._guard.notify_all()
        client.gone.set()
        client.session.close()
        self._locks.forget(client)
        client.sync.close()
        if client.asynchronous is not None:
            client.asynchronous.close()

    def _request_service(self, client: _Client) -> None:
        channel = client.asynchronous
        if channel is None or not client.session.wants_service:
            return
        try:
            channel.send(ASYNC_SERVICE_REQUEST, client.session.status_byte(poll=False), 0)
        except OSError:
            self._drop(client)

    # The synchronous channel: executes a message, sends its response, takes the next.

    def _synchronous(self, client: _Client) -> None:
        channel = client.sync
        while (message := channel.receive()) is not None:
            kind, control, parameter, payload = message
            if client.asynchronous is None:
                raise _Fatal(ONE_CHANNEL_ONLY, "the asynchronous channel is not there yet")
            if kind == CLEAR_COMPLETE:
                client.framer.drop()
                client.unread = client.clearing = False
                channel.send(CLEAR_ACKNOWLEDGE, 0, 0)
            elif kind not in (DATA, DATA_END, TRIGGER):
                self._unknown(channel, kind)
            elif control & ~1:
                channel.send(ERROR, UNKNOWN_CONTROL, 0, b"unrecognized control code")
            elif not client.clearing and self._locks.wait_for(client, client.gone) and not self._wire.locked():
                self._interrupt_unread(client, bool(control & 1), parameter)
                self._take(client, kind, payload)
                self._answer(client, parameter)

    def _interrupt_unread(self, client: _Client, delivered: bool, number: int) -> None:
        if client.unread and not delivered and client.asynchronous is not None:
            client.session.interrupt()
            client.asynchronous.send(ASYNC_INTERRUPTED, 0, number)
            client.sync.send(INTERRUPTED, 0, number)
        client.unread = False

    def _take(self, client: _Client, kind: int, payload: bytes) -> None:
        if kind == TRIGGER:
            client.session.trigger()
            return
        overruns = client.framer.overruns
        messages = client.framer.feed(payload, end=kind == DATA_END and not self._newline_only)
        if client.framer.overruns > overruns:
            client.session.overrun()
        client.session.write(*messages)

    def _answer(self, client: _Client, number: int) -> None:
        while not client.gone.is_set() and not client.session.settle(1.0):
            continue
        while client.session.available and not client.clearing:
            got = client.session.read(client.most, 0.0)
            if got is not None:
                client.unread = True
                client.sync.send(DATA_END if got[1] else DATA, 0, number, got[0])

    # The asynchronous channel: everything that must work while the other one is busy.

    def _asynchronous(self, client: _Client) -> None:
        channel = client.asynchronous
        assert channel is not None
        while (message := channel.receive()) is not None:
            kind, control, parameter, payload = message
            if kind == ASYNC_MAXIMUM_SIZE and len(payload) == 8:
                client.most = max(1, min(int.from_bytes(payload, "big"), MOST))
                channel.send(ASYNC_MAXIMUM_SIZE_RESPONSE, 0, 0, MOST.to_bytes(8, "big"))
            elif kind == ASYNC_STATUS_QUERY:
                unread = client.unread and not control & 1
                channel.send(ASYNC_STATUS_RESPONSE, client.session.status_byte() | _MESSAGE_AVAILABLE * unread, 0)
            elif kind == ASYNC_CLEAR:
                client.clearing = True
                client.session.clear()
                channel.send(ASYNC_CLEAR_ACKNOWLEDGE, 0, 0)
            elif kind == ASYNC_LOCK:
                channel.send(ASYNC_LOCK_RESPONSE, self._lock(client, control, parameter, payload), 0)
            elif kind == ASYNC_LOCK_INFO:
                channel.send(ASYNC_LOCK_INFO_RESPONSE, int(self._locks.exclusive), self._locks.holders)
            elif kind == ASYNC_REMOTE_LOCAL and control <= 6:
                channel.send(ASYNC_REMOTE_LOCAL_RESPONSE, 0, 0)
            elif kind == ASYNC_REMOTE_LOCAL:
                channel.send(ERROR, UNKNOWN_CONTROL, 0, b"unrecognized control code")
            else:
                self._unknown(channel, kind)

    def _lock(self, client: _Client, control: int, parameter: int, key: bytes) -> int:
        if control == 1:
            return _LOCK_SUCCESS if self._locks.acquire(client, key, parameter / 1000, client.gone) else _LOCK_FAILURE
        released = self._locks.release(client) if control == 0 else None
        return {None: _LOCK_ERROR, "exclusive": _LOCK_SUCCESS, "shared": _LOCK_SHARED}[released]

    def _unknown(self, channel: _Channel, kind: int) -> None:
        if kind >= 128:
            channel.send(ERROR, UNKNOWN_VENDOR_MESSAGE, 0, b"unrecognized vendor defined message")
        else:
            channel.send(ERROR, UNKNOWN_TYPE, 0, b"unrecognized message type")


def _plainly(send: Callable[[bytes], None], data: bytes) -> None:
    send(data)
