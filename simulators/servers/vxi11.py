"""VXI-11: core, abort and interrupt channel over ONC RPC, on a port that the system chooses or that is asked for.

Clients that take a port in the resource name (`TCPIP::127.0.0.1,PORT::inst0::INSTR`) need no portmapper; for others
one is started when its port is named. Not served: device_docmd, answered with error 8.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections.abc import Callable

from .connections import Connections
from .faulty import FaultySession, FaultyWire
from .framing import Framer
from .portmapper import Portmapper
from .rpc import Reader, answer, call, framed, integers, opaque, read_record

CORE, ABORT, INTERRUPT, VERSION = 0x0607AF, 0x0607B0, 0x0607B1, 1
OK, NOT_ACCESSIBLE, INVALID_LINK, PARAMETER, NO_CHANNEL, NOT_SUPPORTED, OUT_OF_RESOURCES = 0, 3, 4, 5, 6, 8, 9
LOCKED, NOT_LOCKED, TIMED_OUT, ABORTED, CHANNEL_THERE = 11, 12, 15, 23, 29
END_FLAG, WAIT_LOCK, TERM_SET = 8, 1, 128
REQUESTED, TERM_CHAR, END = 1, 2, 4
INTERRUPT_SRQ = 30
MOST = 64 * 1024
"""maxRecvSize told to clients, bytes (VXI-11 demands 1024 or more)."""
_INTERRUPT_TIMEOUT = 2.0
_LONGEST_HANDLE = 40


class _Link:
    def __init__(self, number: int, session: FaultySession) -> None:
        self.number = number
        self.session = session
        self.framer = Framer()
        self.aborted = threading.Event()


class _Peer:
    """One core connection: its links and its interrupt channel."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.links: set[int] = set()
        self.interrupts: socket.socket | None = None
        self._sending = threading.Lock()
        self._transaction = 0

    def open_interrupts(self, port: int) -> None:
        self.interrupts = socket.create_connection((self.address, port), timeout=_INTERRUPT_TIMEOUT)

    def close_interrupts(self) -> None:
        if self.interrupts is not None:
            self.interrupts.close()
            self.interrupts = None

    def request_service(self, handle: bytes) -> None:
        """Call device_intr_srq; a client that does not take it loses the channel."""
        with self._sending:
            self._transaction += 1
            if self.interrupts is None:
                return
            try:
                self.interrupts.sendall(
                    framed(call(self._transaction, INTERRUPT, VERSION, INTERRUPT_SRQ, opaque(handle)))
                )
            except OSError:
                self.close_interrupts()


class Vxi11Server:
    """Serves one device.

    port: of the core channel, 0 = the system chooses. portmapper: port of a portmapper that tells it, None = none.
    most_links: clients at once; None = any. newline_only: END does not end a message without a newline.
    """

    wire = "VXI-11"

    def __init__(
        self,
        wire: FaultyWire,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        portmapper: int | None = None,
        most_links: int | None = None,
        newline_only: bool = False,
    ) -> None:
        self._wire = wire
        self._host = host
        self._most_links = most_links
        self._newline_only = newline_only
        self._links: dict[int, _Link] = {}
        self._next = 1
        self._locked_by: int | None = None
        self._guard = threading.Condition()
        self._core = Connections(
            self._serve_core, host=host, port=port, admit=lambda: not wire.refuse(), name="vxi11-core"
        )
        self._abort_channel = Connections(self._serve_abort, host=host, name="vxi11-abort")
        self._ports: dict[tuple[int, int], int] = {}
        self._portmapper = None if portmapper is None else Portmapper(self._ports, host=host, port=portmapper)

    @property
    def address(self) -> str:
        """The VISA resource name, with the port, so that a client needs no portmapper."""
        return f"TCPIP::{self._host},{self._core.port}::inst0::INSTR"

    def start(self) -> int:
        """Listen; return the port of the core channel."""
        self._abort_channel.start()
        port = self._core.start()
        self._ports[CORE, VERSION] = port
        if self._portmapper is not None:
            self._portmapper.start()
        return port

    def stop(self) -> None:
        """Close every socket and join every thread; idempotent."""
        if self._portmapper is not None:
            self._portmapper.stop()
        self._core.stopping.set()
        with self._guard:
            links = tuple(self._links.values())
            self._guard.notify_all()
        for link in links:
            link.session.wake()
        self._core.stop()
        self._abort_channel.stop()

    def _serve_core(self, connection: socket.socket) -> None:
        peer = _Peer(str(connection.getpeername()[0]))
        procedures = self._procedures(peer)
        try:
            while (record := read_record(connection, 2 * MOST + 1024)) is not None:
                self._wire.reply(connection.sendall, framed(answer(record, CORE, VERSION, procedures)))
        except (ValueError, struct.error):
            return
        finally:
            for number in peer.links:
                self._destroy(number)
            peer.close_interrupts()

    def _serve_abort(self, connection: socket.socket) -> None:
        try:
            while (record := read_record(connection, 1024)) is not None:
                connection.sendall(framed(answer(record, ABORT, VERSION, {1: self._abort})))
        except (ValueError, struct.error):
            return

    def _procedures(self, peer: _Peer) -> dict[int, Callable[[Reader], bytes]]:
        def of(procedure: Callable[[Reader, _Peer], bytes]) -> Callable[[Reader], bytes]:
            return lambda reader: procedure(reader, peer)

        return {
            10: of(self._create_link),
            11: of(self._write),
            12: of(self._read),
            13: of(self._read_status),
            14: of(self._trigger),
            15: of(self._clear),
            16: of(self._nothing),
            17: of(self._nothing),
            18: of(self._lock),
            19: of(self._unlock),
            20: of(self._enable_service_request),
            22: lambda _: integers(NOT_SUPPORTED) + opaque(b""),
            23: of(self._destroy_link),
            25: of(self._create_interrupt_channel),
            26: of(self._destroy_interrupt_channel),
        }

    # Links

    def _create_link(self, reader: Reader, peer: _Peer) -> bytes:
        reader.integer()
        lock, lock_timeout, name = reader.integer(), reader.unsigned(), reader.opaque()
        if name.lower() not in (b"inst0", b""):
            return integers(NOT_ACCESSIBLE, 0, 0, 0)
        with self._guard:
            if self._most_links is not None and len(self._links) >= self._most_links:
                return integers(OUT_OF_RESOURCES, 0, 0, 0)
            number, self._next = self._next, self._next + 1
            if lock and not self._acquire(number, lock_timeout / 1000):
                return integers(LOCKED, 0, 0, 0)
            self._links[number] = _Link(number, self._wire.connect(borders=True))
        peer.links.add(number)
        return integers(OK, number, self._abort_channel.port, MOST)

    def _destroy_link(self, reader: Reader, peer: _Peer) -> bytes:
        number = reader.integer()
        if number not in peer.links:
            return integers(INVALID_LINK)
        peer.links.discard(number)
        return integers(OK if self._destroy(number) else INVALID_LINK)

    def _destroy(self, number: int) -> bool:
        with self._guard:
            link = self._links.pop(number, None)
            if self._locked_by == number:
                self._locked_by = None
            self._guard.notify_all()
        if link is not None:
            link.session.close()
        return link is not None

    def _usable(self, number: int, peer: _Peer, flags: int, lock_timeout: int) -> tuple[_Link | None, int]:
        """Return the link, once no lock of another keeps it out, or None and the error."""
        with self._guard:
            link = self._links.get(number)
            if link is None or number not in peer.links:
                return None, INVALID_LINK
            if self._wire.locked():
                return None, LOCKED
            link.aborted.clear()
            wait = lock_timeout / 1000 if flags & WAIT_LOCK else 0.0
            self._guard.wait_for(
                lambda: self._locked_by in (None, number) or link.aborted.is_set() or self._core.stopping.is_set(), wait
            )
            if link.aborted.is_set():
                return None, ABORTED
            return (link, OK) if self._locked_by in (None, number) else (None, LOCKED)

    # Messages

    def _write(self, reader: Reader, peer: _Peer) -> bytes:
        number, _, lock_timeout, flags = reader.integer(), reader.unsigned(), reader.unsigned(), reader.integer()
        data = reader.opaque()
        link, error = self._usable(number, peer, flags, lock_timeout)
        if link is None:
            return integers(error, 0)
        overruns = link.framer.overruns
        messages = link.framer.feed(data, end=bool(flags & END_FLAG) and not self._newline_only)
        if link.framer.overruns > overruns:
            link.session.overrun()
        link.session.write(*messages)
        return integers(OK, len(data))

    def _read(self, reader: Reader, peer: _Peer) -> bytes:
        number, limit, io_timeout, lock_timeout = (
            reader.integer(), reader.unsigned(), reader.unsigned(), reader.unsigned(),
        )  # fmt: skip
        flags, term = reader.integer(), reader.integer()
        link, error = self._usable(number, peer, flags, lock_timeout)
        if link is None:
            return integers(error, 0) + opaque(b"")
        link.framer.drop()
        stop = bytes([term & 0xFF]) if flags & TERM_SET else b""
        got = link.session.read(
            max(1, min(limit, MOST)),
            io_timeout / 1000,
            lambda: link.aborted.is_set() or self._core.stopping.is_set(),
            stop=stop,
        )
        if got is None:
            return integers(ABORTED if link.aborted.is_set() else TIMED_OUT, 0) + opaque(b"")
        data, end = got
        reason = END * end | REQUESTED * (len(data) >= limit) | TERM_CHAR * bool(stop and data.endswith(stop))
        return integers(OK, reason) + opaque(data)

    def _generic(self, reader: Reader, peer: _Peer) -> tuple[_Link | None, int]:
        number, flags, lock_timeout, _ = reader.integer(), reader.integer(), reader.unsigned(), reader.unsigned()
        return self._usable(number, peer, flags, lock_timeout)

    def _read_status(self, reader: Reader, peer: _Peer) -> bytes:
        link, error = self._generic(reader, peer)
        return integers(error, link.session.status_byte() if link is not None else 0)

    def _trigger(self, reader: Reader, peer: _Peer) -> bytes:
        link, error = self._generic(reader, peer)
        if link is not None:
            link.session.trigger()
        return integers(error)

    def _clear(self, reader: Reader, peer: _Peer) -> bytes:
        link, error = self._generic(reader, peer)
        if link is not None:
            link.framer.drop()
            link.session.clear()
        return integers(error)

    def _nothing(self, reader: Reader, peer: _Peer) -> bytes:
        return integers(self._generic(reader, peer)[1])

    def _abort(self, reader: Reader) -> bytes:
        with self._guard:
            link = self._links.get(reader.integer())
            if link is None:
                return integers(INVALID_LINK)
            link.aborted.set()
            self._guard.notify_all()
        link.session.wake()
        return integers(OK)

    # Locks

    def _lock(self, reader: Reader, peer: _Peer) -> bytes:
        number, flags, lock_timeout = reader.integer(), reader.integer(), reader.unsigned()
        with self._guard:
            link = self._links.get(number)
            if link is None or number not in peer.links:
                return integers(INVALID_LINK)
            if self._locked_by == number:
                return integers(LOCKED)
            link.aborted.clear()
            if self._acquire(number, lock_timeout / 1000 if flags & WAIT_LOCK else 0.0, link.aborted):
                return integers(OK)
            return integers(ABORTED if link.aborted.is_set() else LOCKED)

    def _acquire(self, number: int, wait: float, aborted: threading.Event | None = None) -> bool:
        stopping = self._core.stopping
        self._guard.wait_for(
            lambda: self._locked_by is None or stopping.is_set() or (aborted is not None and aborted.is_set()), wait
        )
        if self._locked_by is not None:
            return False
        self._locked_by = number
        return True

    def _unlock(self, reader: Reader, peer: _Peer) -> bytes:
        number = reader.integer()
        with self._guard:
            if number not in self._links or number not in peer.links:
                return integers(INVALID_LINK)
            if self._locked_by != number:
                return integers(NOT_LOCKED)
            self._locked_by = None
            self._guard.notify_all()
            return integers(OK)

    # Service requests: the server calls the client back, on its own address and no other.

    def _create_interrupt_channel(self, reader: Reader, peer: _Peer) -> bytes:
        host, port, program = reader.unsigned(), reader.unsigned(), reader.unsigned()
        version, family = reader.unsigned(), reader.unsigned()
        if peer.interrupts is not None:
            return integers(CHANNEL_THERE)
        if (program, version) != (INTERRUPT, VERSION) or not 0 < port < 1 << 16:
            return integers(PARAMETER)
        if family != 0:
            return integers(NOT_SUPPORTED)
        if str(ipaddress.IPv4Address(host)) != peer.address:
            return integers(NO_CHANNEL)
        try:
            peer.open_interrupts(port)
        except OSError:
            return integers(NO_CHANNEL)
        return integers(OK)

    def _destroy_interrupt_channel(self, _: Reader, peer: _Peer) -> bytes:
        if peer.interrupts is None:
            return integers(NO_CHANNEL)
        peer.close_interrupts()
        return integers(OK)

    def _enable_service_request(self, reader: Reader, peer: _Peer) -> bytes:
        number, enable, handle = reader.integer(), reader.integer(), reader.opaque()
        link = self._links.get(number) if number in peer.links else None
        if link is None:
            return integers(INVALID_LINK)
        if len(handle) > _LONGEST_HANDLE:
            return integers(PARAMETER)
        link.session.on_service((lambda: peer.request_service(handle)) if enable else None)
        return integers(OK)
