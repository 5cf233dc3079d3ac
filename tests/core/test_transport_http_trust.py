"""What a server may do to an exchange over HTTP: point elsewhere, talk nonsense, keep silent, be somebody else."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aicalib_hw.errors import (
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentReportedError,
    NotOpen,
    ProtocolError,
    UsageError,
)
from aicalib_hw.trace import Trace
from aicalib_hw.transport.http import JsonLink

pytest.importorskip("httpx")

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server(http.server.ThreadingHTTPServer):
    """A server that answers every request as it is told to, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.answer: Answer = plain(200, b"{}")
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that turn away."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, body))
        self.server.answer(self)

    do_GET = do_POST  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def plain(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def test_a_redirect_is_an_error_and_nothing_is_sent_to_where_it_points(server: Server) -> None:
    elsewhere = Server()
    threading.Thread(target=elsewhere.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        server.answer = plain(307, b"", Location=f"{elsewhere.base}/config")
        with JsonLink(server.base) as link, pytest.raises(InstrumentReportedError) as refused:
            link.send("POST", "/config", {"secret": 1})
        assert refused.value.code == 307
        assert elsewhere.asked == []
    finally:
        elsewhere.shutdown()
        elsewhere.server_close()


@pytest.mark.parametrize("body", [b"{", b"<html>", b"\xff\xfe\x00", b"NaN!", b"{}{}"])
def test_what_is_no_json_is_told_with_its_beginning(server: Server, body: bytes) -> None:
    server.answer = plain(200, body)
    with JsonLink(server.base) as link:
        with pytest.raises(ProtocolError):
            link.get("/")
        server.answer = plain(200, b'{"sound": true}')
        assert link.get("/") == {"sound": True}


def test_an_empty_reply_is_nothing_and_no_error(server: Server) -> None:
    server.answer = plain(204, b"")
    with JsonLink(server.base) as link:
        assert link.send("POST", "/x", {}) is None


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b'{"code": 400, "errors": ["no flow a", "no port b"]}', "no flow a; no port b"),
        (500, b'{"message": "it broke"}', "it broke"),
        (503, b"<h1>busy</h1>", "busy"),
        (404, b"", ""),
    ],
)
def test_an_error_of_the_server_keeps_its_status_and_its_words(
    server: Server, status: int, body: bytes, words: str
) -> None:
    server.answer = plain(status, body)
    with JsonLink(server.base) as link, pytest.raises(InstrumentReportedError) as refused:
        link.get("/thing")
    assert (refused.value.code, refused.value.command) == (status, "GET /thing")
    assert words in refused.value.text


@pytest.mark.alone
def test_a_silent_server_is_late_and_the_next_exchange_does_not_get_its_answer(server: Server) -> None:
    released = threading.Event()

    def slow(handler: http.server.BaseHTTPRequestHandler) -> None:
        released.wait(5)
        plain(200, b'"late"')(handler)

    server.answer = slow
    with JsonLink(server.base, timeout=0.3) as link:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            link.get("/")
        assert time.monotonic() - began < 3.0
        server.answer = plain(200, b'"next"')
        released.set()
        assert link.get("/", timeout=5.0) == "next"


def test_a_server_that_hangs_up_is_a_lost_connection_and_one_that_is_not_there_a_failed_one(server: Server) -> None:
    def hang_up(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        handler.connection.shutdown(socket.SHUT_RDWR)

    server.answer = hang_up
    with JsonLink(server.base) as link, pytest.raises(ConnectionLost):
        link.get("/")
    with JsonLink("http://127.0.0.1:1") as link, pytest.raises(ConnectionFailed):
        link.get("/")


def test_what_is_not_open_says_so_and_a_proxy_of_the_environment_is_not_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = JsonLink(server.base)
    with pytest.raises(NotOpen):
        link.get("/")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with link:
        assert link.get("/") == {}


def test_passwords_and_tokens_in_a_body_reach_no_trace(server: Server) -> None:
    server.answer = plain(200, b'{"token": "open sesame"}')
    with Trace() as trace, JsonLink(server.base, trace=trace) as link:
        link.send("POST", "/login", {"password": "open sesame", "user": "me"})
        assert server.asked == [("POST", "/login", b'{"password": "open sesame", "user": "me"}')]
        text = json.dumps(trace.recent)
        assert "sesame" not in text
        assert "/login" in text


def certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: sudo apt-get install openssl")
    paths = folder / f"{name}.pem", folder / f"{name}-key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    called = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={'IP' if name[0].isdigit() else 'DNS'}:{name}"]
    files = ["-keyout", str(paths[1]), "-out", str(paths[0])]
    subprocess.run([*made, *called, *files], check=True, capture_output=True, timeout=30)
    return paths


@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", True), ("elsewhere.example", False)])
def test_only_the_certificate_that_was_given_and_is_of_this_host_is_trusted(
    server: Server, tmp_path: Path, name: str, trusted: bool
) -> None:
    certificate, key = certificate_for(name, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    base = server.base.replace("http://", "https://")
    with JsonLink(base, timeout=5.0) as link, pytest.raises(ConnectionFailed) as refused:
        link.send("POST", "/", {"a": 1})
    assert "certificate" in refused.value.advice
    assert server.asked == []
    with JsonLink(base, timeout=5.0, certificate=certificate) as link:
        if trusted:
            assert link.get("/") == {}
        else:
            with pytest.raises(ConnectionFailed):
                link.get("/")
            assert server.asked == []


def test_a_certificate_that_cannot_be_read_is_told_before_anything_is_sent(server: Server, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nothing")
    for path in (tmp_path / "missing.pem", nonsense):
        with pytest.raises(UsageError) as refused:
            JsonLink(server.base, certificate=path).open()
        assert str(path) in str(refused.value)
    assert server.asked == []


def test_a_reply_without_end_is_cut_off_and_not_kept(server: Server) -> None:
    sent = 0

    def flood(handler: http.server.BaseHTTPRequestHandler) -> None:
        nonlocal sent
        piece = b" " * 2**20
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while sent < 4096:
            handler.wfile.write(piece)
            sent += 1

    server.answer = flood
    with JsonLink(server.base, timeout=20.0) as link, pytest.raises(ProtocolError, match="more than"):
        link.get("/")
    assert sent < 200
