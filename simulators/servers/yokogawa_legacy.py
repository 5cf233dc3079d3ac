"""Yokogawa's legacy Ethernet: messages in packets, a login before them (Yokogawa FAQ; port 10001 in the instrument).

A packet is a word of 4 bytes, most significant first, and its payload. The word's top bit marks the last packet of a
message, its other bits give the payload's length. After connecting the server asks for a user name, then for a
password; `anonymous` needs none. One client only.

Unconfirmed: the wording of the questions, what is said to a wrong password (here the line is closed), and whether
`anonymous`, who needs no password, is asked for one (`asks_all`).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping

from .connections import Connections, exactly
from .faulty import FaultySession, FaultyWire

LAST = 0x80000000
_LONGEST = 1 << 20
_LEAVING = 0.3


class YokogawaLegacyServer:
    """Serves one device. scheme: of the address. users: name → password. asks_all: also who needs no password."""

    wire = "Yokogawa legacy Ethernet"

    def __init__(
        self,
        wire: FaultyWire,
        *,
        scheme: str,
        users: Mapping[str, str],
        asks_all: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._wire = wire
        self._scheme = scheme
        self._users = users
        self._asks_all = asks_all
        self._host = host
        self._connections = Connections(self._serve, host=host, port=port, admit=self._admit, name="yokogawa-legacy")

    @property
    def address(self) -> str:
        """A URL, for VISA knows no such wire."""
        return f"{self._scheme}://{self._host}:{self._connections.port}"

    def start(self) -> int:
        """Listen; return the port."""
        return self._connections.start()

    def stop(self) -> None:
        """Close every connection; idempotent."""
        self._connections.stop()

    def _admit(self) -> bool:
        return self._connections.wait_below(1, _LEAVING) and not self._wire.refuse()

    def _serve(self, connection: socket.socket) -> None:
        if not self._logged_in(connection):
            return
        session = self._wire.connect(borders=False)
        writer = self._connections.spawn(self._answer, connection, session)
        try:
            while (message := _message(connection)) is not None:
                if self._wire.locked():
                    return
                for part in message.split(b"\n"):
                    if part.strip():
                        session.write(part)
        finally:
            session.close()
            writer.join(2.0)

    def _answer(self, connection: socket.socket, session: FaultySession) -> None:
        try:
            while (data := session.stream()) is not None:
                self._wire.reply(connection.sendall, _packet(data))
        except OSError:
            session.close()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _logged_in(self, connection: socket.socket) -> bool:
        connection.sendall(_packet(b"username?"))
        name = _message(connection)
        password = None if name is None else self._users.get(_line(name))
        if name is None or password is None:
            return False
        if password or self._asks_all:
            connection.sendall(_packet(b"password?"))
            given = _message(connection)
            if given is None or _line(given) != password:
                return False
        return True


def _line(message: bytes) -> str:
    return message.decode("ascii", "replace").strip()


def _packet(payload: bytes) -> bytes:
    return struct.pack(">I", LAST | len(payload)) + payload


def _message(connection: socket.socket) -> bytes | None:
    """Return one message, put together from its packets; None when the client has gone or sends nonsense."""
    data = b""
    while True:
        head = exactly(connection, 4)
        if head is None:
            return None
        (word,) = struct.unpack(">I", head)
        length = word & ~LAST
        if len(data) + length > _LONGEST:
            return None
        part = exactly(connection, length)
        if part is None:
            return None
        data += part
        if word & LAST:
            return data
