"""VXI-11 on the connection that pyvisa-py has opened, whose session has faults that cannot be set right from outside.

pyvisa-py 0.8 takes the time that has passed off a transfer's time-out again with every piece of it (#575), loses
the end of a reply that is a multiple of what was asked for (#608), waits a second longer than it was told to, and
cannot abort. The calls are therefore made here, once it has made the link. Sources: VXI-11 revision 1.0; RFC 5531
(calls and record marking).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

from aicalib_hw.errors import Aborted, LockedByOther
from aicalib_hw.transport._sockets import PromptSocket
from aicalib_hw.transport.deadline import Deadline

_CORE_PROGRAM, _ABORT_PROGRAM, _VERSION = 0x0607AF, 0x0607B0, 1
_WRITE, _READ, _CLEAR, _DESTROY_LINK = 11, 12, 15, 23
_ABORT = 1
_LAST = 0x80000000
_CALL = struct.Struct(">11I")
"""Record mark, transaction, call, RPC version 2, program, version, procedure, no credentials, no verifier."""
_REPLY = struct.Struct(">5I")
"""Transaction, reply, accepted, kind and length of the verifier."""
_END_FLAG = 8
_END_REASONS = 2 | 4
_LOCKED, _TIMED_OUT, _ABORTED = 11, 15, 23
_ERRORS = {
    1: "syntax error",
    3: "device not accessible",
    4: "invalid link identifier",
    5: "parameter error",
    6: "channel not established",
    8: "operation not supported",
    9: "out of resources",
    17: "I/O error",
}

_AT_ONCE = (1 << 20) + 1
"""Bytes a read asks for: larger than any reply, as each piece is a round trip."""

_PIECE = 65536

_GRACE = 0.1
"""s beyond the instrument's own time-out in which its answer "timed out" may still come."""

_NEAR = 0.01
"""s by which a wait of the socket may be other than was wanted, as setting it is a call of the system each time."""

_FAREWELL = 1.0
"""s that an instrument gets to take its link back."""


def notice_closed_connections() -> None:
    """Let pyvisa-py end a call whose connection the instrument has closed: it asks it again, at full speed, till late.

    So it is with an instrument that takes no further client, or restarts, while a link is made. Idempotent.
    """
    from pyvisa_py.protocols import rpc  # type: ignore[import-untyped]

    its_own = rpc._recvrecord
    if its_own.__module__ == __name__:
        return

    def record(wire: Any, timeout: Any, read_fun: Any = None, min_packages: int = 0) -> Any:
        def read(size: int) -> bytes:
            data: bytes = (read_fun or wire.recv)(size)
            if not data:
                raise ConnectionResetError("the instrument closed the connection")
            return data

        return its_own(wire, timeout, read, min_packages)

    vars(rpc)["_recvrecord"] = record


class Vxi11Wire:
    """A VXI-11 link that pyvisa-py has opened."""

    reopens_to_clear = False
    remedy = ""

    def __init__(self, session: Any) -> None:
        self._session = session
        inner = session.visalib.sessions[session.session]
        self._client = inner.interface
        self._link: int = inner.link
        self._largest: int = inner.max_recv_size or 1024
        self._host = str(self._client.host)
        self._abort_port = _abort_port(self._client)
        self._transaction: int = self._client.lastxid
        self._socket = PromptSocket.replacing(self._client.sock)
        self._client.sock = self._socket
        self._buffer = bytearray()

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        """Send `message` with a newline and END; nothing comes unasked over VXI-11."""
        data = message + b"\n"
        for start in range(0, len(data), self._largest):
            piece = data[start : start + self._largest]
            flags = _END_FLAG if start + self._largest >= len(data) else 0
            wait = _milliseconds(deadline)
            arguments = struct.pack(">iIIiI", self._link, wait, wait, flags, len(piece)) + piece + _padding(len(piece))
            _raise_for(_integer(self._call(_WRITE, arguments, deadline)))
        return b""

    def receive(self, deadline: Deadline) -> bytes:
        """Read until the instrument says that this is the end."""
        reply = b""
        while not deadline.expired:
            wait = _milliseconds(deadline)
            result = self._call(_READ, struct.pack(">iIIIii", self._link, _AT_ONCE, wait, wait, 0, 0), deadline)
            error, reason, size = struct.unpack_from(">iiI", result)
            _raise_for(error)
            reply += result[12 : 12 + size]
            if reason & _END_REASONS:
                return reply
        raise TimeoutError

    def clear(self, deadline: Deadline) -> None:
        """Send device_clear."""
        wait = _milliseconds(deadline)
        _raise_for(_integer(self._call(_CLEAR, struct.pack(">iiII", self._link, 0, wait, wait), deadline)))

    def interrupt(self) -> bool:
        """Send device_abort over a connection to the abort channel, for the instrument blocks on this one."""
        if not self._abort_port:
            return False
        call = _message(1, _ABORT_PROGRAM, _ABORT, struct.pack(">i", self._link))
        with socket.create_connection((self._host, self._abort_port), timeout=_FAREWELL / 4) as channel:
            channel.sendall(call)
            return bool(channel.recv(64))

    def cut(self) -> None:
        """End the connection."""
        self._socket.shut()

    def close(self) -> None:
        """Give the link back, unless the instrument is too busy to take it, and end the connection."""
        with contextlib.suppress(Exception):
            self._call(_DESTROY_LINK, struct.pack(">i", self._link), Deadline(_FAREWELL))
        self._client.destroy_link = lambda _: 0  # said above; the session would wait 5 s for the answer
        self._session.close()

    def _call(self, procedure: int, arguments: bytes, deadline: Deadline) -> bytes:
        """Call a procedure of the core channel and return its results; answers to calls given up are passed over."""
        self._transaction += 1
        patience = Deadline(deadline.left + _GRACE)
        self._wait_for(patience)
        self._socket.sendall(_message(self._transaction, _CORE_PROGRAM, procedure, arguments))
        while True:
            record = self._record(patience)
            transaction, _, denied, _, size = _REPLY.unpack_from(record)
            if transaction == self._transaction:
                break
        results = _REPLY.size + size + 4
        if denied or _integer(record, results - 4):
            raise OSError(f"the instrument does not accept the VXI-11 call {procedure}")
        return record[results:]

    def _record(self, patience: Deadline) -> bytes:
        """Read one record: fragments, each behind its length, up to the one that is marked as the last."""
        record = b""
        last = False
        while not last:
            mark = struct.unpack(">I", self._exactly(4, patience))[0]
            last = bool(mark & _LAST)
            record += self._exactly(mark & ~_LAST, patience)
        return record

    def _exactly(self, size: int, patience: Deadline) -> bytes:
        while len(self._buffer) < size:
            self._wait_for(patience)
            self._buffer += self._socket.recv(_PIECE)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _wait_for(self, patience: Deadline) -> None:
        left, wait = max(0.001, patience.left), self._socket.gettimeout()
        if wait is None or abs(wait - left) > _NEAR:
            self._socket.settimeout(left)


def _message(transaction: int, program: int, procedure: int, arguments: bytes) -> bytes:
    mark = _LAST | (_CALL.size - 4 + len(arguments))
    return _CALL.pack(mark, transaction, 0, 2, program, _VERSION, procedure, 0, 0, 0, 0) + arguments


def _padding(size: int) -> bytes:
    return bytes(-size % 4)


def _integer(data: bytes, place: int = 0) -> int:
    return int(struct.unpack_from(">i", data, place)[0])


def _abort_port(client: Any) -> int:
    """The port of the abort channel: it stands in the reply to create_link, the last one of this client."""
    unpacker = client.unpacker
    unpacker.set_position(0)
    unpacker.unpack_replyheader()
    return int(unpacker.unpack_create_link_resp()[2])


def _milliseconds(deadline: Deadline) -> int:
    return max(1, int(deadline.left * 1000))


def _raise_for(error: int) -> None:
    if error == _TIMED_OUT:
        raise TimeoutError
    if error == _ABORTED:
        raise Aborted("the instrument ended the exchange because it was asked to abort")
    if error == _LOCKED:
        raise LockedByOther(
            "another client has locked the instrument", advice="close the other program, or let it unlock"
        )
    if error:
        raise OSError(f"VXI-11 error {error}: {_ERRORS.get(error, 'unknown')}")
