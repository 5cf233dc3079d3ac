"""VXI-11 over the RPC client of pyvisa-py, whose session above it has faults that cannot be set right from outside.

pyvisa-py 0.8 takes the time that has passed off a transfer's time-out again with every piece of it (#575), loses
the end of a reply that is a multiple of what was asked for (#608), waits a second longer than it was told to, and
cannot abort. The calls are therefore made here, in its client's words. Source: VXI-11 revision 1.0.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

from aicalib_hw.errors import Aborted, LockedByOther
from aicalib_hw.transport._sockets import PromptSocket
from aicalib_hw.transport.deadline import Deadline

_WRITE, _READ, _CLEAR, _DESTROY_LINK = 11, 12, 15, 23
_ABORT_PROGRAM, _ABORT_VERSION, _ABORT = 0x0607B0, 1, 1
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

_GRACE = 0.1
"""s beyond the instrument's own time-out in which its answer "timed out" may still come."""

_FAREWELL = 1.0
"""s that an instrument gets to take its link back."""


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
        self._socket = PromptSocket.replacing(self._client.sock)
        self._client.sock = self._socket

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        """Send `message` with a newline and END; nothing comes unasked over VXI-11."""
        data = message + b"\n"
        for start in range(0, len(data), self._largest):
            piece = data[start : start + self._largest]
            flags = _END_FLAG if start + self._largest >= len(data) else 0
            packer, unpacker = self._client.packer, self._client.unpacker
            error, _ = self._call(
                _WRITE,
                (self._link, _milliseconds(deadline), _milliseconds(deadline), flags, piece),
                packer.pack_device_write_parms,
                unpacker.unpack_device_write_resp,
                deadline,
            )
            _raise_for(error)
        return b""

    def receive(self, deadline: Deadline) -> bytes:
        """Read until the instrument says that this is the end."""
        reply = bytearray()
        packer, unpacker = self._client.packer, self._client.unpacker
        while not deadline.expired:
            wait = _milliseconds(deadline)
            error, reason, data = self._call(
                _READ,
                (self._link, _AT_ONCE, wait, wait, 0, 0),
                packer.pack_device_read_parms,
                unpacker.unpack_device_read_resp,
                deadline,
            )
            _raise_for(error)
            reply += data
            if reason & _END_REASONS:
                return bytes(reply)
        raise TimeoutError

    def clear(self, deadline: Deadline) -> None:
        """Send device_clear."""
        packer, unpacker = self._client.packer, self._client.unpacker
        wait = _milliseconds(deadline)
        _raise_for(
            self._call(
                _CLEAR,
                (self._link, 0, wait, wait),
                packer.pack_device_generic_parms,
                unpacker.unpack_device_error,
                deadline,
            )
        )

    def interrupt(self) -> bool:
        """Send device_abort over a connection to the abort channel, for the instrument blocks on this one."""
        if not self._abort_port:
            return False
        call = struct.pack(">10I", 1, 0, 2, _ABORT_PROGRAM, _ABORT_VERSION, _ABORT, 0, 0, 0, 0)
        call += struct.pack(">i", self._link)
        with socket.create_connection((self._host, self._abort_port), timeout=_FAREWELL / 4) as channel:
            channel.sendall(struct.pack(">I", 0x80000000 | len(call)) + call)
            return bool(channel.recv(64))

    def cut(self) -> None:
        """End the connection."""
        self._socket.shut()

    def close(self) -> None:
        """Give the link back, unless the instrument is too busy to take it, and end the connection."""
        with contextlib.suppress(Exception):
            self._call(
                _DESTROY_LINK,
                self._link,
                self._client.packer.pack_device_link,
                self._client.unpacker.unpack_device_error,
                Deadline(_FAREWELL),
            )
        self._client.destroy_link = lambda _: 0  # said above; the session would wait 5 s for the answer
        self._session.close()

    def _call(self, procedure: int, parameters: Any, pack: Any, unpack: Any, deadline: Deadline) -> Any:
        from pyvisa_py.protocols import rpc

        self._client.timeout = deadline.left + _GRACE
        return rpc.Client.make_call(self._client, procedure, parameters, pack, unpack)


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
