"""Simulated inference services on worlds of their own, and what a client needs of their addresses."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from aicalib_hw import registry

MODEL = "simulated-8b"
QUICK = {"stream_rate": 2000.0, "capacity": 20_000.0, "first_token": 0.005}
"""A service that is soon done."""


@contextmanager
def served(*, rate: float = 1.0, platform: Any = None, **options: Any) -> Iterator[Any]:
    """A running service on a world of its own."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": rate, "platform": platform or {}})
    service = registry.simulator("openai")(world, "service", **options)
    world.start()
    try:
        service.start()
        yield service
    finally:
        service.stop()
        world.stop()


def base(service: Any) -> str:
    """The base URL for a client that knows nothing of drivers' addresses."""
    return str(service.address.removeprefix("openai+"))


def root(service: Any) -> str:
    return base(service).removesuffix("/v1")


def asked(tokens: int, *, prompt: str = "one two three", **more: Any) -> dict[str, Any]:
    """The body of a request for exactly so many tokens in a stream with usage."""
    return {
        "model": MODEL,
        "prompt": prompt,
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        **more,
    }


def reads(service: Any, body: dict[str, Any]) -> list[tuple[int, bytes]]:
    """Everything that comes on a plain socket after a request, read by read, with the time of each in ns."""
    address = urlsplit(base(service))
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    got = []
    with socket.create_connection((address.hostname, address.port), timeout=20) as wire:
        wire.sendall(head.encode() + content)
        while True:
            try:
                data = wire.recv(1 << 16)
            except ConnectionResetError:
                break
            if not data:
                break
            got.append((time.monotonic_ns(), data))
    return got


def rest_of(request: int, service: Any, *, within: float = 5.0) -> Any:
    """The truth of a request once it has ended."""
    deadline = time.monotonic() + within
    while True:
        told = service.truth.requests[request]
        if told.outcome or time.monotonic() > deadline:
            return told
        time.sleep(0.01)
