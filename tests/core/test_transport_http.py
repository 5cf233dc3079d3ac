"""Exchanges over HTTP keep to their deadline, and only what may be asked twice is, whatever the server does."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from aicalib_hw.errors import Aborted, ConnectionLost, DeadlineExceeded
from aicalib_hw.transport.http import JsonLink

pytest.importorskip("httpx")


@pytest.fixture
def dribbling() -> Iterator[str]:
    """A server that promises a long answer and sends a byte of it ten times a second; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while True:
            try:
                wire, _ = listener.accept()
            except OSError:
                return
            with wire:
                wire.recv(4096)
                try:
                    wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
                    while not ended.wait(0.1):
                        wire.sendall(b" ")
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    ended.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_server_that_sends_a_byte_now_and_then_is_late_all_the_same(dribbling: str) -> None:
    began = time.monotonic()
    with JsonLink(dribbling, timeout=0.5) as link:
        for _ in range(2):
            with pytest.raises(DeadlineExceeded, match="not finished its answer"):
                link.get("/")
    assert time.monotonic() - began < 5.0


@pytest.mark.alone
def test_abort_ends_an_exchange_that_would_go_on(dribbling: str) -> None:
    with JsonLink(dribbling, timeout=30.0) as link:
        threading.Timer(0.3, link.abort).start()
        began = time.monotonic()
        with pytest.raises(Aborted):
            link.get("/")
        assert time.monotonic() - began < 3.0


class Resetting:
    """Answers the first `answers` requests of a connection, and resets it `late` s after the next; methods it saw."""

    def __init__(self, answers: int, late: float = 0.0) -> None:
        self.seen: list[str] = []
        self.answers = answers
        self._late = late
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            with wire:
                wire.settimeout(5)
                for number in range(self.answers + 1):
                    asked = wire.recv(4096)
                    while asked.startswith(b"POST") and not asked.endswith(b"{}"):
                        asked += wire.recv(4096)
                    if not asked:
                        break
                    self.seen.append(asked.split()[0].decode())
                    if number < self.answers:
                        wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                time.sleep(self._late)
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def resetting(request: pytest.FixtureRequest) -> Iterator[Resetting]:
    """A server that resets each connection when it has answered so many requests."""
    server = Resetting(request.param)
    yield server
    server.stop()


@pytest.mark.parametrize("resetting", [1], indirect=True)
def test_what_was_asked_on_a_connection_that_the_server_closes_is_asked_once_more(resetting: Resetting) -> None:
    with JsonLink(resetting.base, timeout=5.0) as link:
        assert link.get("/") == {}
        assert link.get("/") == {}
    assert resetting.seen == ["GET"] * 3


@pytest.mark.parametrize("resetting", [1], indirect=True)
def test_what_may_have_been_carried_out_is_never_sent_again(resetting: Resetting) -> None:
    with JsonLink(resetting.base, timeout=5.0) as link:
        assert link.send("POST", "/", {}) == {}
        with pytest.raises(ConnectionLost, match="broke during POST"):
            link.send("POST", "/", {})
    assert resetting.seen == ["POST"] * 2


@pytest.mark.parametrize("resetting", [0], indirect=True)
def test_a_server_that_resets_a_new_connection_is_not_asked_again(resetting: Resetting) -> None:
    with JsonLink(resetting.base, timeout=5.0) as link, pytest.raises(ConnectionLost, match="broke during GET"):
        link.get("/")
    assert resetting.seen == ["GET"]


def test_asking_once_more_has_what_is_left_of_the_time() -> None:
    server = Resetting(1, late=0.6)
    try:
        with JsonLink(server.base, timeout=5.0) as link:
            link.get("/")
            server.answers = 0  # of the next connection
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                link.get("/", timeout=1.0)
            assert time.monotonic() - began < 1.5
    finally:
        server.stop()
    assert server.seen == ["GET"] * 3
