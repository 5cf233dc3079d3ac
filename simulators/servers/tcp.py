"""SCPI on a raw socket: messages and replies end by a terminator, replies queue, nothing else passes.

No END, no status byte, no device clear, no service request: a client that wants these takes VXI-11 or HiSLIP.
"""

from __future__ import annotations

import contextlib
import socket

from .connections import Connections
from .faulty import FaultySession, FaultyWire
from .framing import Framer

_CHUNK = 1 << 16
_LEAVING = 0.3
"""How long a client that has gone may keep its place from the next, real s."""
_FAREWELL = 0.5
"""How long what a client has asked before it shut down its side may take, real s."""
_BACKLOG = 4096
"""Messages of a client that wait for the parser before the server stops to take more from the socket."""


class TcpServer:
    """Serves one device on a raw socket.

    terminator: ends a message of the client. reply_terminator: ends a reply. most_clients: at once; None = any. One
    more is accepted and closed at once, as instruments do that serve one client only.
    """

    wire = "TCP"

    def __init__(
        self,
        wire: FaultyWire,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        terminator: bytes = b"\n",
        reply_terminator: bytes = b"\n",
        most_clients: int | None = None,
    ) -> None:
        self._wire = wire
        self._host = host
        self._terminator = terminator
        self._reply_terminator = reply_terminator
        self._most_clients = most_clients
        self._connections = Connections(self._serve, host=host, port=port, admit=self._admit, name="tcp-server")

    @property
    def address(self) -> str:
        """The VISA resource name."""
        return f"TCPIP::{self._host}::{self._connections.port}::SOCKET"

    def start(self) -> int:
        """Listen; return the port."""
        return self._connections.start()

    def stop(self) -> None:
        """Close every connection; idempotent."""
        self._connections.stop()

    def _admit(self) -> bool:
        if self._most_clients is not None and not self._connections.wait_below(self._most_clients, _LEAVING):
            return False
        return not self._wire.refuse()

    def _serve(self, connection: socket.socket) -> None:
        session = self._wire.connect(borders=False, terminator=self._reply_terminator)
        framer = Framer(self._terminator)
        writer = self._connections.spawn(self._answer, connection, session)
        try:
            while data := connection.recv(_CHUNK):
                overruns = framer.overruns
                messages = framer.feed(data)
                if framer.overruns > overruns:
                    session.overrun()
                if messages:
                    if self._wire.locked():
                        return
                    session.write(*messages)
                    while session.backlog > _BACKLOG and not self._connections.stopping.is_set():
                        session.settle(0.2)
            # A client that has shut down its side only still gets the replies to what it sent.
            if session.settle(_FAREWELL):
                session.finish()
                writer.join(2.0)
        finally:
            session.close()

    def _answer(self, connection: socket.socket, session: FaultySession) -> None:
        try:
            while (data := session.stream()) is not None:
                self._wire.reply(connection.sendall, data)
        except OSError:
            session.close()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
