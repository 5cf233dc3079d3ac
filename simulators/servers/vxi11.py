"""VXI-11: core and abort channel over ONC RPC, on ports that the system chooses (no portmapper).

Clients that take a port in the resource name (`TCPIP::127.0.0.1,PORT::inst0::INSTR`) need none.
Not served: the interrupt channel (service requests) and device_docmd, answered with error 8.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import ClassVar

from .connections import Connections, exactly
from .faulty import FaultySession, FaultyWire
from .framing import Framer

CORE, ABORT, VERSION = 0x0607AF, 0x0607B0, 1
OK, INVALID_LINK, PARAMETER, NOT_SUPPORTED, OUT_OF_RESOURCES = 0, 4, 5, 8, 9
LOCKED, NOT_LOCKED, TIMED_OUT, ABORTED, NOT_ACCESSIBLE = 11, 12, 15, 23, 3
END_FLAG, WAIT_LOCK, TERM_SET = 8, 1, 128
REQUESTED, TERM_CHAR, END = 1, 2, 4
MOST = 64 * 1024
"""maxRecvSize told to clients, bytes (VXI-11 demands 1024 or more)."""


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
    def __init__(self, number: int, session: FaultySession) -> None:
        self.number = number
        self.session = session
        self.framer = Framer()
        self.aborted = threading.Event()


class Vxi11Server:
    """Serves one device.

    port: of the core channel, 0 = the system chooses. most_links: clients at once; None = any. newline_only: END does
    not end a message without a newline.
    """

    wire = "VXI-11"

    def __init__(
        self,
        wire: FaultyWire,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        most_links: int | None = None,
        newline_only: bool = False,
    ) -> None:
        self._newline_only = newline_only
        self._wire = wire
        self._host = host
        self._most_links = most_links
        self._links: dict[int, _Link] = {}
        self._next = 1
        self._locked_by: int | None = None
        self._guard = threading.Condition()
        self._core = Connections(
            lambda connection: self._serve(connection, CORE),
            host=host,
            port=port,
            admit=lambda: not wire.refuse(),
            name="vxi11-core",
        )
        self._abort_channel = Connections(
            lambda connection: self._serve(connection, ABORT), host=host, name="vxi11-abort"
        )

    @property
    def address(self) -> str:
        """The VISA resource name, with the port, so that a client needs no portmapper."""
        return f"TCPIP::{self._host},{self._core.port}::inst0::INSTR"

    def start(self) -> int:
        """Listen; return the port of the core channel."""
        self._abort_channel.start()
        return self._core.start()

    def stop(self) -> None:
        """Close every socket and join every thread; idempotent."""
        self._core.stopping.set()
        with self._guard:
            links = tuple(self._links.values())
            self._guard.notify_all()
        for link in links:
            link.session.wake()
        self._core.stop()
        self._abort_channel.stop()

    def _serve(self, connection: socket.socket, program: int) -> None:
        mine: set[int] = set()
        try:
            while (record := _record(connection)) is not None:
                reply = self._call(record, program, mine)
                framed = struct.pack(">I", 0x80000000 | len(reply)) + reply
                if program == CORE:
                    self._wire.reply(connection.sendall, framed)
                else:
                    connection.sendall(framed)
        except (ValueError, struct.error, ConnectionError):
            return
        finally:
            for number in mine:
                self._destroy(number)

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
            number, self._next = self._next, self._next + 1
            if lock and not self._acquire(number, lock_timeout / 1000):
                return _ints(LOCKED, 0, 0, 0)
            link = _Link(number, self._wire.connect(borders=True))
            self._links[link.number] = link
        mine.add(link.number)
        return _ints(OK, link.number, self._abort_channel.port, MOST)

    def _destroy_link(self, reader: _Reader, mine: set[int]) -> bytes:
        number = reader.integer()
        mine.discard(number)
        return _ints(OK if self._destroy(number) else INVALID_LINK)

    def _destroy(self, number: int) -> bool:
        with self._guard:
            link = self._links.pop(number, None)
            if self._locked_by == number:
                self._locked_by = None
                self._guard.notify_all()
        if link is not None:
            link.session.close()
        return link is not None

    def _write(self, reader: _Reader, mine: set[int]) -> bytes:
        number, _, lock_timeout, flags = (reader.integer() for _ in range(4))
        data = reader.opaque()
        link, error = self._usable(number, mine, flags, lock_timeout)
        if link is None:
            return _ints(error, 0)
        overruns = link.framer.overruns
        messages = link.framer.feed(data, end=bool(flags & END_FLAG) and not self._newline_only)
        if link.framer.overruns > overruns:
            link.session.overrun()
        link.session.write(*messages)
        return _ints(OK, len(data))

    def _read(self, reader: _Reader, mine: set[int]) -> bytes:
        number, limit, io_timeout, lock_timeout, flags, term = (reader.integer() for _ in range(6))
        link, error = self._usable(number, mine, flags, lock_timeout)
        if link is None:
            return _ints(error, 0) + _opaque(b"")
        link.framer.drop()
        link.aborted.clear()
        stop = bytes([term & 0xFF]) if flags & TERM_SET else b""
        got = link.session.read(
            max(1, min(limit, MOST)),
            io_timeout / 1000,
            lambda: link.aborted.is_set() or self._core.stopping.is_set(),
            stop=stop,
        )
        if got is None:
            return _ints(ABORTED if link.aborted.is_set() else TIMED_OUT, 0) + _opaque(b"")
        data, end = got
        reason = END * end | REQUESTED * (len(data) >= limit) | TERM_CHAR * bool(stop and data.endswith(stop))
        return _ints(OK, reason) + _opaque(data)

    def _generic(self, reader: _Reader, mine: set[int]) -> tuple[_Link | None, int]:
        number, flags, lock_timeout, _ = (reader.integer() for _ in range(4))
        return self._usable(number, mine, flags, lock_timeout)

    def _read_status(self, reader: _Reader, mine: set[int]) -> bytes:
        link, error = self._generic(reader, mine)
        return _ints(error, link.session.status_byte() if link is not None else 0)

    def _clear(self, reader: _Reader, mine: set[int]) -> bytes:
        link, error = self._generic(reader, mine)
        if link is not None:
            link.framer.drop()
            link.session.clear()
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
        link.session.wake()
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


def _record(connection: socket.socket) -> bytes | None:
    """Return one RPC record, put together from its fragments; None when the client has gone."""
    data = b""
    while True:
        head = exactly(connection, 4)
        if head is None:
            return None
        (mark,) = struct.unpack(">I", head)
        length = mark & 0x7FFFFFFF
        if length + len(data) > 2 * MOST + 1024:
            raise ValueError("a record is longer than maxRecvSize allows")
        part = exactly(connection, length)
        if part is None:
            return None
        data += part
        if mark & 0x80000000:
            return data
