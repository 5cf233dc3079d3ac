"""The Ethernet protocol of Yokogawa instruments before VXI-11: WT3000, WT1600 and their generation.

Plain TCP, port 10001. Every packet is a 4-byte big-endian word and its payload; the top bit of the word
marks the last packet of a message, the other 31 are the length of the payload. The server first asks for
a user name and a password, in such packets. Source: Yokogawa's page of frequently asked questions "How to
connect to legacy Yokogawa products using Ethernet protocol"; the port from public programs. Unconfirmed and
therefore not relied on: the wording of the questions, and whether `anonymous` is asked for a password at all.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from urllib.parse import urlsplit

from aicalib_hw.errors import ConnectionFailed, UsageError
from aicalib_hw.trace import Trace
from aicalib_hw.transport._in_step import come_into_step
from aicalib_hw.transport._sockets import PromptSocket
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.link import MessageLink, Wire

PORT = 10001
_LAST = 0x80000000
_LENGTH = 0x7FFFFFFF
_PASSWORD_QUESTION = 1.0
"""s to wait for a question for the password; an instrument that does not ask takes the answer for an empty message."""


class YokogawaLegacyLink(MessageLink):
    """A link to `SCHEME://HOST[:PORT]`; see `MessageLink` for what it does.

    user, password: of the instrument's own list; `anonymous` needs none. timeout: s for one exchange.
    """

    def __init__(
        self,
        address: str,
        *,
        user: str = "anonymous",
        password: str = "",
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
        trace: Trace | None = None,
    ) -> None:
        super().__init__(address, timeout=timeout, connect_timeout=connect_timeout, trace=trace)
        self._user = user
        self._password = password
        if trace is not None:
            trace.hide(password)

    def _connect(self) -> Wire:
        parts = urlsplit(self.resource)
        try:
            host, port = parts.hostname, parts.port or PORT
        except ValueError as error:
            raise UsageError(f"{self.resource!r} has no usable port", why=str(error)) from error
        if not host:
            raise UsageError(f"{self.resource!r} names no host", advice="for example wt3000://192.168.1.7")
        deadline = Deadline(self._connect_timeout)
        try:
            wire = LegacyWire(socket.create_connection((host, port), timeout=deadline.left))
        except OSError as error:
            raise ConnectionFailed(
                f"nothing answers at {self.resource}",
                where=self.resource,
                why=str(error),
                advice="check power, cable and address; the instrument needs its Ethernet option /C7",
            ) from error
        try:
            wire.log_in(self._user, self._password, deadline)
        except OSError as error:
            wire.close()
            raise ConnectionFailed(
                f"{self.resource} does not let the user {self._user!r} in",
                where=self.resource,
                why=str(error) or "it ended the connection, or does not answer",
                advice="check user and password; it serves one client at a time: close the other program",
            ) from error
        return wire


class LegacyWire:
    """One connection, message by message."""

    reopens_to_clear = True
    remedy = ", and whether another program holds its one connection"

    def __init__(self, connected: socket.socket) -> None:
        self._socket = PromptSocket.replacing(connected)

    def log_in(self, user: str, password: str, deadline: Deadline) -> None:
        """Answer the questions for name and password; ends when the instrument answers as itself."""
        self.receive(deadline)
        self._put(user.encode("ascii"), deadline)
        with contextlib.suppress(TimeoutError):
            self.receive(Deadline(min(_PASSWORD_QUESTION, deadline.left)))
        self._put(password.encode("ascii"), deadline)
        come_into_step(lambda message: self._put(message + b"\n", deadline), lambda: self.receive(deadline))

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        """Send one message as one packet."""
        dropped = self._socket.arrived()
        self._put(message + b"\n", deadline)
        return dropped

    def receive(self, deadline: Deadline) -> bytes:
        """Read packets up to the one that is marked as the last."""
        reply = bytearray()
        last = False
        while not last:
            (word,) = struct.unpack(">I", self._exactly(4, deadline))
            last = bool(word & _LAST)
            reply += self._exactly(word & _LENGTH, deadline)
        return bytes(reply)

    def clear(self, deadline: Deadline) -> None:
        """Nothing: a connection of its own has nothing on its way."""

    def interrupt(self) -> bool:
        """There is no second channel."""
        return False

    def cut(self) -> None:
        """End the connection."""
        self._socket.shut()

    def close(self) -> None:
        """End the connection, so that the instrument takes the next client."""
        self._socket.shut()
        self._socket.close()

    def _put(self, data: bytes, deadline: Deadline) -> None:
        self._socket.settimeout(max(0.001, deadline.left))
        self._socket.sendall(struct.pack(">I", _LAST | len(data)) + data)

    def _exactly(self, size: int, deadline: Deadline) -> bytes:
        found = bytearray()
        self._socket.deadline = deadline
        try:
            while len(found) < size:
                found += self._socket.recv(min(size - len(found), 1 << 16))
        finally:
            self._socket.deadline = None
        return bytes(found)
