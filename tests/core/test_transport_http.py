"""Exchanges over HTTP keep to their deadline, whatever the server does meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from aicalib_hw.errors import Aborted, DeadlineExceeded
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
