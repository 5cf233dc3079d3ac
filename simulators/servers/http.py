"""HTTP/1.1 on loopback, with TLS where a certificate is given: requests and replies, harmed as the fault plan says.

Faults: "refuse" a connection; at a request "drop" (half of the reply, then the connection ends), "delay" and "stuck"
(no reply for `amount` s, then an ended connection), "pieces", "garble" (of the body), "reboot".
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from ..world.faults import FaultPlan
from .connections import Connections

Respond = Callable[[str, str, bytes], tuple[int, str, bytes]]
"""Verb, path and body to status, content type and body."""

_LARGEST = 1 << 26
"""Largest body taken, bytes."""
_KEPT = 2000
"""Exchanges kept in the log."""


class HttpServer:
    """Serves `respond` to any number of clients. certificate, key: PEM files; one file may hold both."""

    wire = "HTTP"

    def __init__(
        self,
        respond: Respond,
        faults: FaultPlan,
        log: list[tuple[str, bytes]],
        *,
        reboot: Callable[[], None],
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._respond, self._faults, self._log, self._reboot = respond, faults, log, reboot
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate, key)
        self._host = host
        self._down_until = 0.0
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._connections = Connections(self._serve, host=host, port=port, admit=self._admit, name="http-server")

    @property
    def address(self) -> str:
        """http(s)://HOST:PORT."""
        return f"http{'s' if self._tls else ''}://{self._host}:{self._connections.port}"

    def start(self) -> int:
        """Listen; return the port."""
        return self._connections.start()

    def stop(self) -> None:
        """Close every connection; idempotent."""
        self._connections.stopping.set()
        self._disconnect()
        self._connections.stop()

    def answer(self, method: str, path: str, body: bytes, send: Callable[[bytes], None]) -> None:
        """Send what a request gets; raises ConnectionError where the connection ends with it."""
        self._keep(">", f"{method} {path}\n".encode() + body)
        reboot = self._faults.strikes("reboot")
        if reboot is not None:
            self._down_until = time.monotonic() + reboot.amount
            self._reboot()
            self._disconnect()
            raise ConnectionError("the instrument reboots")
        stuck = self._faults.strikes("stuck")
        if stuck is not None:
            self._connections.stopping.wait(stuck.amount)
            raise ConnectionError("stuck by a fault")
        status, kind, content = self._respond(method, path, body)
        delay = self._faults.strikes("delay")
        if delay is not None:
            self._connections.stopping.wait(delay.amount)
        self._keep("<", f"{status}\n".encode() + content)
        if self._faults.strikes("garble") is not None:
            content = bytes(byte ^ 0x80 for byte in content)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        data = head.encode("ascii") + content
        if self._faults.strikes("drop") is not None:
            send(data[: len(data) // 2])
            raise ConnectionError("dropped by a fault")
        if self._faults.strikes("pieces") is not None:
            for index in range(len(data)):
                send(data[index : index + 1])
            return
        send(data)

    def _admit(self) -> bool:
        return time.monotonic() >= self._down_until and self._faults.strikes("refuse") is None

    def _serve(self, connection: socket.socket) -> None:
        # A socket that TLS wraps is taken over by it, so that only this server can still close it.
        served = connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True)
        with served:
            with self._guard:
                self._open.add(served)
            try:
                _Handler(served, self)
            finally:
                with self._guard:
                    self._open.discard(served)

    def _disconnect(self) -> None:
        with self._guard:
            sockets = tuple(self._open)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _keep(self, direction: str, data: bytes) -> None:
        self._log.append((direction, data))
        del self._log[:-_KEPT]


class _Handler(BaseHTTPRequestHandler):
    """Parses the requests of one connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, owner: HttpServer) -> None:
        self._owner = owner
        nobody: Any = None
        super().__init__(connection, ("", 0), nobody)

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _LARGEST or "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            self.close_connection = True
            return
        body = self.rfile.read(int(length))
        self._owner.answer(self.command, self.path.partition("?")[0], body, self.connection.sendall)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - names of the standard library

    def log_message(self, *_: object) -> None:
        """Say nothing on standard error."""
