"""Simulated meters on worlds of their own, and a plain socket that speaks what a manual prints."""

from __future__ import annotations

import socket
from typing import Any

from aicalib_hw import registry

STEADY = {"ripple": 0.0, "leakage": 0.0}
"""A platform whose power moves with its load alone."""
TEN_AMPERES = {
    **STEADY,
    "idle_power": 2300.0,
    "efficiency": [1.0, 1.0, 1.0],
    "power_factor": [1.0, 1.0, 1.0],
    "crest_factor": [1.4142, 1.4142],
}
"""230 V, 10 A, power factor 1: the input of the manuals' examples."""


def started(kind: type[Any], *, rate: float = 0.0, seed: int = 1, platform: Any = None, **options: Any) -> Any:
    """Return a running simulated meter on a world of its own."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": rate, "seed": seed, "platform": platform or {}})
    meter = kind(world, "meter", **options)
    world.start()
    meter.start()
    return meter


class Line:
    """A socket on which messages and replies are lines. end: of a message; asked for on its own: of a reply."""

    def __init__(self, address: str, end: bytes = b"\r\n") -> None:
        if address.startswith("ptdaemon://"):
            host, port = address.removeprefix("ptdaemon://").split(":")
        else:
            _, host, port, _ = address.split("::")
        self.end = end
        self.socket = socket.create_connection((host, int(port)), timeout=5.0)
        self._got = b""

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode("ascii") + self.end)

    def line(self) -> str:
        return self.raw(self.end).decode("ascii")

    def raw(self, end: bytes) -> bytes:
        while end not in self._got:
            part = self.socket.recv(4096)
            if not part:
                raise ConnectionError("closed by the instrument")
            self._got += part
        line, self._got = self._got.split(end, 1)
        return line

    def exactly(self, count: int) -> bytes:
        while len(self._got) < count:
            self._got += self.socket.recv(4096)
        data, self._got = self._got[:count], self._got[count:]
        return data

    def ask(self, text: str) -> str:
        self.send(text)
        return self.line()

    def do(self, text: str) -> None:
        """Send a message and wait until it is executed, so that the clock may move on."""
        self.send(text)
        assert self.ask("*OPC?") == "1"

    def close(self) -> None:
        self.socket.close()
