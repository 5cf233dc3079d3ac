"""JSON and text over HTTP and HTTPS: deadlines, certificates verified, one exchange at a time, all of it traced.

On httpx. Every request has a deadline; a server that is silent is an error and not a wait without end. What a
server reports as an error keeps its status and its words. Nothing is sent twice but by the caller's wish, save a GET
on a kept connection that broke under it, as one does which the server was closing (RFC 9112, 9.3.1): it goes once more.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentError,
    InstrumentReportedError,
    MissingExtra,
    NotOpen,
    ProtocolError,
    UsageError,
)
from aicalib_hw.trace import Trace

if TYPE_CHECKING:
    import httpx

_LARGEST = 64 * 2**20
"""Bytes of a reply: more than any instrument has to say."""

_LOOK = 0.1
"""s between looks whether an exchange is overdue."""


class JsonLink:
    """One server that takes and gives JSON.

    base: http://HOST:PORT or https://HOST:PORT. timeout: s for one exchange. certificate: file of the certificate, or
    of its authority, that an https server is verified with, None = those the system trusts. Verification cannot be
    turned off. extra: the extra of this distribution that brings httpx. headers: sent with every request, never traced.
    All methods may be called from any thread; exchanges follow one another.
    """

    def __init__(
        self,
        base: str,
        *,
        timeout: float = 10.0,
        certificate: str | Path | None = None,
        trace: Trace | None = None,
        extra: str = "network",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not timeout > 0:
            raise UsageError(f"a time-out of {timeout} s is none", where=base, advice="give a positive number")
        self.base = base
        self.timeout = timeout
        self.lock = threading.RLock()
        self._certificate = certificate
        self._trace = trace
        self._extra = extra
        self._headers = dict(headers or {})
        self._client: httpx.Client | None = None
        self._sockets: set[socket.socket] = set()
        self._connected = False
        self._aborted = threading.Event()
        self._expired = threading.Event()
        self._guard = threading.Lock()
        self._due: float | None = None
        self._closed = threading.Event()

    def open(self) -> None:
        """Make ready; the first exchange connects. Raises MissingExtra, UsageError for an unreadable certificate."""
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra.for_library("httpx", self._extra, "this instrument") from error
        with self.lock:
            if self._client is None:
                self._aborted.clear()
                self._client = httpx.Client(
                    base_url=self.base,
                    verify=self._verification(),
                    trust_env=False,
                    headers={"Accept-Encoding": "identity"},
                    event_hooks={"response": [_bounded]},
                )
                self._closed = threading.Event()
                threading.Thread(
                    target=self._watch_time, args=(self._closed,), name=f"deadlines of {self.base}", daemon=True
                ).start()

    def close(self) -> None:
        """Drop the connection; idempotent, never raises."""
        with self.lock:
            client, self._client = self._client, None
            self._closed.set()
            self._sockets.clear()
            if client is not None:
                with contextlib.suppress(Exception):
                    client.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, path: str, *, timeout: float | None = None) -> Any:
        """Return the JSON at `path`; raises as `send`."""
        return self.send("GET", path, timeout=timeout)

    def send(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Send `body` as JSON and return the JSON that comes back, None for an empty reply.

        timeout: s for this exchange, None = the link's. Raises ConnectionFailed, ConnectionLost, DeadlineExceeded,
        InstrumentReportedError for a status that is no success, ProtocolError for what is no JSON, Aborted.
        """
        text = None if body is None else json.dumps(body)
        return _content(self._exchange(method, path, text, timeout), f"{method} {path}", self.base)

    def text(
        self, method: str, path: str, body: Any = None, *, timeout: float | None = None
    ) -> tuple[str, Mapping[str, str]]:
        """Send `body` as JSON, if any, and return what comes back as text, with its headers; raises as `send`."""
        sent = None if body is None else json.dumps(body)
        response = self._exchange(method, path, sent, timeout, accept="*/*")
        if not response.is_success:
            raise InstrumentReportedError(
                response.status_code, _words(response.text), f"{method} {path}", where=self.base
            )
        return response.text, response.headers

    def _exchange(
        self, method: str, path: str, text: str | None, timeout: float | None, accept: str = "application/json"
    ) -> httpx.Response:
        import httpx

        client = self._client
        if client is None:
            raise NotOpen(f"the link to {self.base} is not open", where=self.base, advice="open() it first")
        limit = self.timeout if timeout is None else timeout
        with self.lock:
            self._aborted.clear()
            self._note("write", f"{method} {path}" + (f" {text}" if text is not None else ""))
            self._bound(limit)
            due = time.monotonic() + limit

            def request() -> httpx.Response:
                self._connected = False
                return client.request(
                    method,
                    path,
                    content=text,
                    headers={"Content-Type": "application/json", "Accept": accept, **self._headers},
                    timeout=max(0.001, due - time.monotonic()),
                    extensions={"trace": self._watch},
                )

            try:
                try:
                    response = request()
                except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                    over = self._aborted.is_set() or self._expired.is_set()
                    if method != "GET" or self._connected or over:
                        raise
                    self._note("event", f"the kept connection broke, once more: {type(error).__name__}: {error}")
                    response = request()
            except (httpx.HTTPError, OSError) as error:
                raise self._mapped(error, f"{method} {path}", limit) from error
            finally:
                self._bound(None)
            self._note("read", response.text, status=response.status_code)
        return response

    def abort(self) -> None:
        """End the exchange that blocks in another thread; the next one connects anew. Never raises."""
        self._aborted.set()
        self._cut()

    def _bound(self, limit: float | None) -> None:
        """Let what begins now end within `limit` s; None: it has ended."""
        with self._guard:
            self._due = None if limit is None else time.monotonic() + limit
            if limit is not None:
                self._expired.clear()

    def _watch_time(self, closed: threading.Event) -> None:
        """End what is overdue: httpx bounds each wait alone, so a server that sends a byte now and then is never late.

        One thread for the whole link: one for each exchange would cost a tenth of it.
        """
        while not closed.wait(_LOOK):
            with self._guard:
                if self._due is not None and time.monotonic() > self._due:
                    self._due = None
                    self._expired.set()
                    self._cut()

    def _cut(self) -> None:
        for one in tuple(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _verification(self) -> ssl.SSLContext:
        if self._certificate is None and self.base.startswith("http:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never asked: what the system trusts takes long to read
        try:
            return ssl.create_default_context(cafile=None if self._certificate is None else str(self._certificate))
        except OSError as error:
            raise UsageError(
                "the certificate to verify the server with cannot be read",
                where=str(self._certificate),
                why=str(error),
                advice="name a file in PEM form",
            ) from error

    def _watch(self, event: str, facts: dict[str, Any]) -> None:
        """Remember the socket of every connection, so that `abort` can end it, and that there was a new one."""
        if event.endswith("connect_tcp.started"):
            self._connected = True
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            found = facts["return_value"].get_extra_info("socket")
            if isinstance(found, socket.socket):
                self._sockets = {one for one in self._sockets if one.fileno() >= 0} | {found}
                if self._aborted.is_set() or self._expired.is_set():  # while it was being made
                    self._cut()

    def _mapped(self, error: Exception, request: str, limit: float) -> InstrumentError:
        import httpx

        self._note("event", f"{type(error).__name__}: {error}")
        if self._aborted.is_set():
            return Aborted(f"{request} was aborted", where=self.base)
        why = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, httpx.TimeoutException) or self._expired.is_set():
            late = self._expired.is_set()
            return DeadlineExceeded(
                f"no answer to {request} within {limit:g} s",
                where=self.base,
                why="the server had not finished its answer by then" if late else why,
                advice="the server is busy or gone; a longer timeout may help where it works for long",
            )
        if "CERTIFICATE_VERIFY_FAILED" in why or "SSL" in why:
            return ConnectionFailed(
                f"{self.base} cannot be trusted",
                where=self.base,
                why=why,
                advice="give the file of the server's certificate, or of its authority, as certificate=…",
            )
        if isinstance(error, httpx.ConnectError):
            return ConnectionFailed(
                f"nothing answers at {self.base}", where=self.base, why=why, advice="check host, port and that it runs"
            )
        return ConnectionLost(
            f"the connection broke during {request}",
            where=self.base,
            why=why,
            advice="what was asked for may have been carried out; look before you ask again",
        )

    def _note(self, direction: str, data: str, **more: Any) -> None:
        if self._trace is not None:
            self._trace.add(self.base, direction, data, **more)


def _bounded(response: httpx.Response) -> None:
    """Let the body of a reply be read up to a size, whatever the server sends."""
    from aicalib_hw.transport._http_body import Bounded

    response.stream = Bounded(response.stream, _LARGEST, str(response.url))


def _content(response: httpx.Response, request: str, where: str) -> Any:
    try:
        found = response.json() if response.content else None
    except ValueError as error:
        if response.is_success:
            raise ProtocolError(
                f"the reply to {request} is no JSON", where=where, why=f"{error}: {response.text[:80]!r}"
            ) from error
        found = response.text
    if response.is_success:
        return found
    raise InstrumentReportedError(response.status_code, _words(found), request, where=where)


def _words(found: Any) -> str:
    """What a server says of an error: the texts in it, or all of it."""
    if isinstance(found, dict):
        texts = found.get("errors") or found.get("message") or found.get("error") or found
        found = "; ".join(map(str, texts)) if isinstance(texts, list) else texts
    return " ".join(str(found).split())[:500] if found else ""
