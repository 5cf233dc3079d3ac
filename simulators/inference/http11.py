"""HTTP/1.1 for many streams at once in one process: requests in, whole replies or chunked streams out.

One request of a connection is answered at a time; further ones wait. Standard library alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_LARGEST_HEAD = 1 << 16
_LARGEST_BODY = 1 << 26


@dataclass(frozen=True)
class Request:
    """One request. headers: by names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    persistent: bool
    chunked: bool


class Connection(asyncio.Protocol):
    """One client. handle(connection, request) is called for each request; on_gone once its client has gone."""

    def __init__(
        self,
        handle: Callable[[Connection, Request], None],
        admit: Callable[[Connection], bool],
        forget: Callable[[Connection], None],
        server: str,
    ) -> None:
        self._handle, self._admit, self._forget = handle, admit, forget
        self._server = server
        self._transport: Any = None
        self._received = bytearray()
        self._busy: Request | None = None
        self._chunked = False
        self.on_gone: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if not self._admit(self):
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._forget(self)
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._busy is None:
            self._next()

    def reply(self, status: int, content: bytes, kind: str = "application/json", extra: str = "") -> None:
        """Answer the request at hand with a whole body."""
        self.send_head(status, kind, f"Content-Length: {len(content)}\r\n{extra}")
        self.write(content)
        self._done()

    def begin(self, kind: str) -> None:
        """Begin a stream of unknown length as the answer to the request at hand."""
        request = self._busy
        self._chunked = request is not None and request.chunked
        self.send_head(200, kind, "Transfer-Encoding: chunked\r\n" if self._chunked else "")

    def send_head(self, status: int, kind: str, extra: str) -> None:
        """Send the head of an answer."""
        closing = "" if self._busy is not None and self._busy.persistent else "Connection: close\r\n"
        phrase = HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {phrase}\r\nServer: {self._server}\r\nContent-Type: {kind}\r\n"
        self.write(f"{head}{extra}{closing}\r\n".encode())

    def part(self, data: bytes) -> None:
        """Send a part of the stream."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """End the stream."""
        if self._chunked:
            self.write(b"0\r\n\r\n")
        self._done()

    def write(self, data: bytes) -> None:
        """Send bytes, now if the system takes them."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def cut(self) -> None:
        """End the connection with what has been sent, in the middle of an answer."""
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once, by a reset where the system does so."""
        self._transport.abort()

    def _done(self) -> None:
        persistent = self._busy is not None and self._busy.persistent
        self._busy, self.on_gone = None, None
        if not persistent:
            self._transport.close()
        elif self._received:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self._busy is not None or self._transport.is_closing():
            return
        head, found, _ = bytes(self._received).partition(b"\r\n\r\n")
        if not found:
            if len(self._received) > _LARGEST_HEAD:
                self._transport.abort()
            return
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        length = headers.get("content-length", "0")
        bad = len(parts) != 3 or not length.isdecimal() or int(length) > _LARGEST_BODY or "transfer-encoding" in headers
        if bad:
            self._busy = Request("", "", {}, b"", False, False)
            self.reply(411 if len(parts) == 3 else 400, b'{"error": "a body needs a Content-Length"}')
            return
        whole = len(head) + 4 + int(length)
        if len(self._received) < whole:
            if headers.get("expect", "").lower() == "100-continue" and len(self._received) == len(head) + 4:
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        modern = parts[2] == "HTTP/1.1"
        wish = headers.get("connection", "").lower()
        persistent = "close" not in wish if modern else "keep-alive" in wish
        body = bytes(self._received[len(head) + 4 : whole])
        del self._received[:whole]
        self._busy = Request(parts[0], parts[1].partition("?")[0], headers, body, persistent, modern)
        with contextlib.suppress(ConnectionError):
            self._handle(self, self._busy)
