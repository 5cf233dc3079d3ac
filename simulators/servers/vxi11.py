"""VXI-11: core and abort channel over ONC RPC, on ports that the system chooses (no portmapper).

Clients that take a port in the resource name (`TCPIP::127.0.0.1,PORT::inst0::INSTR`) need none.
Not served: the interrupt channel (service requests) and device_docmd, answered with error 8.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import ClassVar, Protocol

CORE, ABORT, VERSION = 0x0607AF, 0x0607B0, 1
OK, INVALID_LINK, PARAMETER, NOT_SUPPORTED, OUT_OF_RESOURCES = 0, 4, 5, 8, 9
LOCKED, NOT_LOCKED, TIMED_OUT, ABORTED, NOT_ACCESSIBLE = 11, 12, 15, 23, 3
END_FLAG, WAIT_LOCK, TERM_SET = 8, 1, 128
REQUESTED, TERM_CHAR, END = 1, 2, 4
MOST = 64 * 1024
"""maxRecvSize told to clients, bytes (VXI-11 demands 1024 or more)."""


class MessageDevice(Protocol):
    """What is served: complete messages in, responses out."""

    def write(self, message: bytes) -> None: ...
    def read(self, limit: int, timeout: float, cancel: Callable[[], bool]) -> tuple[bytes, bool] | None: ...
    def clear(self) -> None: ...
    def status_byte(self) -> int: ...
    def wake(self) -> None: ...


class Wire(Protocol):
    """What a fault plan may do to the wire; see `world.faults`."""

    def refuse(self) -> bool: ...
    def locked(self) -> bool: ...
    def reply(self, send: Callable[[bytes], None], data: bytes) -> None: ...
    def outgoing(self, message: bytes) -> bytes: ...


class _Reader:
    """XDR out of a record."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integer(self) -> int:
        (value,) = struct.unpack_from(">i", self._data, self._at)
        self._at += 4
        return int(value)

    def opaque(self) -> bytes:
        length = self.integer()
        if length < 0 or self._at + length > len(self._data):
            raise ValueError("an opaque is longer than its record")
        value = self._data[self._at : self._at + length]
        self._at += length + (-length % 4)
        return value


def _opaque(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def _ints(*values: int) -> bytes:
    return struct.pack(f">{len(values)}i", *values)


class _Link:
    def __init__(self, number: int) -> None:
        self.number = number
        self.partial = b""
        self.aborted = threading.Event()


class Vxi11Server:
    """Serves one device on 127.0.0.1. most_links: how many clients at once; None = any."""

    def __init__(
        self, device: MessageDevice, wire: Wire, *, host: str = "127.0.0.1", most_links: int | None = None
    ) -> None:
        self._device = device
        self._wire = wire
        self._host = host
        self._most_links = most_links
        self._links: dict[int, _Link] = {}
        self._next = 1
        self._locked_by: int | None = None
        self._guard = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self.port = 0
        self._abort_port = 0

    def start(self) -> int:
        """Listen on system-chosen ports; return that of the core channel."""
        self.port = self._listen(CORE)
        self._abort_port = self._listen(ABORT)
        return self.port

    def stop(self) -> None:
        """Close every socket and join every thread; idempotent."""
        self._stopping.set()
        with self._guard:
            sockets = tuple(self._sockets)
            self._guard.notify_all()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._device.wake()
        for thread in tuple(self._threads):
            thread.join(2.0)
        self._threads.clear()

    def _listen(self, program: int) -> int:
        listener = socket.create_server((self._host, 0))
        self._sockets.add(listener)
        self._spawn(self._accept, listener, program)
        return int(listener.getsockname()[1])

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="vxi11-server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, program: int) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if program == CORE and self._wire.refuse():
                connection.close()
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.add(connection)
            self._spawn(self._serve, connection, program)

    def _serve(self, connection: socket.socket, program: int) -> None:
        mine: set[int] = set()
        try:
            while not self._stopping.is_set():
                record = self._record(connection)
                if record is None:
                    return
                reply = self._call(record, program, mine)
                framed = struct.pack(">I", 0x80000000 | len(reply)) + reply
                if program == CORE:
                    self._wire.reply(connection.sendall, framed)
                else:
                    connection.sendall(framed)
        except (OSError, ValueError, struct.error, ConnectionError):
            return
        finally:
            for number in mine:
                self._destroy(number)
            self._sockets.discard(connection)
            connection.close()

    @staticmethod
    def _record(connection: socket.socket) -> bytes | None:
        """Return one RPC record, put together from its fragments; None when the client has gone."""
        data = b""
        while True:
            head = _exactly(connection, 4)
            if head is None:
                return None
            (mark,) = struct.unpack(">I", head)
            length = mark & 0x7FFFFFFF
            if length + len(data) > 2 * MOST + 1024:
                raise ValueError("a record is longer than maxRecvSize allows")
            part = _exactly(connection, length)
            if part is None:
                return None
            data += part
            if mark & 0x80000000:
                return data

    def _call(self, record: bytes, program: int, mine: set[int]) -> bytes:
        reader = _Reader(record)
        transaction, kind, rpc = reader.integer(), reader.integer(), reader.integer()
        asked, version, procedure = reader.integer(), reader.integer(), reader.integer()
        if kind != 0:
            raise ValueError("not a call")
        for _ in range(2):
            reader.integer()
            reader.opaque()
        head = _ints(transaction, 1)
        if rpc != 2:
            return head + _ints(1, 0, 2, 2)
        accepted = head + _ints(0, 0, 0)
        if asked != program:
            return accepted + _ints(1)
        if version != VERSION:
            return accepted + _ints(2, VERSION, VERSION)
        if procedure == 0:
            return accepted + _ints(0)
        handlers = self._abort_procedures if program == ABORT else self._core_procedures
        handler = handlers.get(procedure)
        if handler is None:
            return accepted + _ints(3)
        return accepted + _ints(0) + handler(self, reader, mine)

    def _create_link(self, reader: _Reader, mine: set[int]) -> bytes:
        reader.integer()
        lock, lock_timeout, name = reader.integer(), reader.integer(), reader.opaque()
        if name.lower() not in (b"inst0", b""):
            return _ints(NOT_ACCESSIBLE, 0, 0, 0)
        with self._guard:
            if self._most_links is not None and len(self._links) >= self._most_links:
                return _ints(OUT_OF_RESOURCES, 0, 0, 0)
            link = _Link(self._next)
            self._next += 1
            if lock and not self._acquire(link.number, lock_timeout / 1000):
                return _ints(LOCKED, 0, 0, 0)
            self._links[link.number] = link
        mine.add(link.number)
        return _ints(OK, link.number, self._abort_port, MOST)

    def _destroy_link(self, reader: _Reader, mine: set[int]) -> bytes:
        number = reader.integer()
        mine.discard(number)
        return _ints(OK if self._destroy(number) else INVALID_LINK)

    def _destroy(self, number: int) -> bool:
        with self._guard:
            known = self._links.pop(number, None) is not None
            if self._locked_by == number:
                self._locked_by = None
                self._guard.notify_all()
            return known

    def _write(self, reader: _Reader, mine: set[int]) -> bytes:
        number, _, lock_timeout, flags = (reader.integer() for _ in range(4))
        data = reader.opaque()
        link, error = self._usable(number, mine, flags, lock_timeout)
        if link is None:
            return _ints(error, 0)
        link.partial += data
        if flags & END_FLAG:
            message, link.partial = link.partial, b""
            for part in message.split(b"\n"):
                if part.strip():
                    self._device.write(part)
        return _ints(OK, len(data))

    def _read(self, reader: _Reader, mine: set[int]) -> bytes:
        number, limit, io_timeout, lock_timeout, flags, term = (reader.integer() for _ in range(6))
        link, error = self._usable(number, mine, flags, lock_timeout)
        if link is None:
            return _ints(error, 0) + _opaque(b"")
        link.aborted.clear()
        cancelled = lambda: link.aborted.is_set() or self._stopping.is_set()  # noqa: E731
        got = self._device.read(max(1, min(limit, MOST)), io_timeout / 1000, cancelled)
        if got is None:
            return _ints(ABORTED if link.aborted.is_set() else TIMED_OUT, 0) + _opaque(b"")
        data, end = got
        reason = END * end | REQUESTED * (len(data) >= limit)
        if flags & TERM_SET and data.endswith(bytes([term & 0xFF])):
            reason |= TERM_CHAR
        return _ints(OK, reason) + _opaque(self._wire.outgoing(data))

    def _generic(self, reader: _Reader, mine: set[int]) -> tuple[_Link | None, int]:
        number, flags, lock_timeout, _ = (reader.integer() for _ in range(4))
        return self._usable(number, mine, flags, lock_timeout)

    def _read_status(self, reader: _Reader, mine: set[int]) -> bytes:
        link, error = self._generic(reader, mine)
        return _ints(error, self._device.status_byte() if link is not None else 0)

    def _clear(self, reader: _Reader, mine: set[int]) -> bytes:
        link, error = self._generic(reader, mine)
        if link is not None:
            link.partial = b""
            self._device.clear()
        return _ints(error)

    def _nothing(self, reader: _Reader, mine: set[int]) -> bytes:
        return _ints(self._generic(reader, mine)[1])

    def _lock(self, reader: _Reader, mine: set[int]) -> bytes:
        number, flags, lock_timeout = reader.integer(), reader.integer(), reader.integer()
        with self._guard:
            if number not in self._links or number not in mine:
                return _ints(INVALID_LINK)
            if self._locked_by == number:
                return _ints(LOCKED)
            return _ints(OK if self._acquire(number, lock_timeout / 1000 if flags & WAIT_LOCK else 0.0) else LOCKED)

    def _unlock(self, reader: _Reader, mine: set[int]) -> bytes:
        number = reader.integer()
        with self._guard:
            if number not in self._links or number not in mine:
                return _ints(INVALID_LINK)
            if self._locked_by != number:
                return _ints(NOT_LOCKED)
            self._locked_by = None
            self._guard.notify_all()
            return _ints(OK)

    def _unsupported(self, reader: _Reader, mine: set[int]) -> bytes:
        return _ints(NOT_SUPPORTED)

    def _unsupported_command(self, reader: _Reader, mine: set[int]) -> bytes:
        return _ints(NOT_SUPPORTED) + _opaque(b"")

    def _abort(self, reader: _Reader, mine: set[int]) -> bytes:
        link = self._links.get(reader.integer())
        if link is None:
            return _ints(INVALID_LINK)
        link.aborted.set()
        self._device.wake()
        return _ints(OK)

    def _usable(self, number: int, mine: set[int], flags: int, lock_timeout: int) -> tuple[_Link | None, int]:
        with self._guard:
            link = self._links.get(number)
            if link is None or number not in mine:
                return None, INVALID_LINK
            if self._wire.locked():
                return None, LOCKED
            if self._locked_by in (None, number):
                return link, OK
            wait = lock_timeout / 1000 if flags & WAIT_LOCK else 0.0
            free = self._guard.wait_for(lambda: self._locked_by in (None, number), wait)
            return (link, OK) if free else (None, LOCKED)

    def _acquire(self, number: int, wait: float) -> bool:
        if not self._guard.wait_for(lambda: self._locked_by is None, wait):
            return False
        self._locked_by = number
        return True

    _core_procedures: ClassVar[dict[int, Callable[[Vxi11Server, _Reader, set[int]], bytes]]] = {
        10: _create_link,
        11: _write,
        12: _read,
        13: _read_status,
        14: _nothing,
        15: _clear,
        16: _nothing,
        17: _nothing,
        18: _lock,
        19: _unlock,
        20: _unsupported,
        22: _unsupported_command,
        23: _destroy_link,
        25: _unsupported,
        26: _unsupported,
    }
    _abort_procedures: ClassVar[dict[int, Callable[[Vxi11Server, _Reader, set[int]], bytes]]] = {1: _abort}


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            return None
        data += part
    return data
