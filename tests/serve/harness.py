"""A client that speaks to a PTDaemon as the MLPerf harness does: one line out, one line back, CR LF both ways."""

from __future__ import annotations

import re
import socket
from types import TracebackType
from typing import Self

SAMPLE = re.compile(
    r"Time,[^,]*,Watts,(?P<watts>[^,]*),Volts,(?P<volts>[^,]*),Amps,(?P<amps>[^,]*),.*,Mark,(?P<mark>[^,]*)"
)
"""How that harness finds samples in the daemon's log (of a single meter)."""


class Harness:
    """One connection; `cmd` sends a line and returns the next."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=20.0)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def cmd(self, command: str) -> str:
        self._socket.sendall(command.encode() + b"\r\n")
        return self.line()

    def line(self) -> str:
        while b"\r\n" not in self._rest:
            received = self._socket.recv(16384)
            if not received:
                raise ConnectionError("the daemon closed the connection")
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line.decode()

    def last(self, command: str = "RL") -> list[str]:
        """The samples behind `Last N samples`."""
        found = re.fullmatch(r"Last (\d+) samples", self.cmd(command))
        assert found is not None
        return [self.line() for _ in range(int(found[1]))]
