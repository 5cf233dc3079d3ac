"""From the simulator to the process that serves: orders and answers, one JSON object a line."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any

from aicalib_hw.errors import UsageError

_MODULE = "aicalib_hw.simulators.inference.process"
_PATIENCE = 20.0
"""How long the process may take to start and to answer, real s."""


class Link:
    """The process and the link to it. Raises UsageError where it does not start, ConnectionError once it has gone."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._guard = threading.Lock()
        token = secrets.token_hex(16)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(_PATIENCE)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
            )
            try:
                assert self._process.stdin is not None
                self._process.stdin.write(f"{listener.getsockname()[1]} {token}\n".encode())
                self._process.stdin.close()
                self._socket = self._accept(listener)
                self._file = self._socket.makefile("rb")
                if self._file.readline().decode().strip() != token:
                    raise ConnectionError("somebody else connected")
                self._send(settings)
                answer = self._receive()
            except (OSError, ConnectionError) as error:
                raise UsageError(
                    "the simulated inference service does not start", why=self._last_words(error)
                ) from error
        if "error" in answer:
            self.close()
            raise UsageError(
                "the simulated inference service cannot listen",
                why=answer["error"],
                advice="check listen_port, certificate and key",
            )
        self.port = int(answer["port"])

    def ask(self, what: str, **details: Any) -> Any:
        """Give an order and return its answer."""
        with self._guard:
            self._send({"do": what} | details)
            return self._receive()

    def close(self) -> None:
        """End the process; idempotent."""
        with self._guard:
            self._socket.close()
            self._file.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _accept(self, listener: socket.socket) -> socket.socket:
        connection, _ = listener.accept()
        connection.settimeout(_PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _send(self, data: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(data).encode() + b"\n")

    def _receive(self) -> Any:
        line = self._file.readline()
        if not line:
            raise ConnectionError("the process has ended")
        return json.loads(line)

    def _last_words(self, error: Exception) -> str:
        self._process.kill()
        self._process.wait()
        self._said.seek(0)
        with self._said as said:
            return said.read().decode(errors="replace").strip()[-500:] or str(error)
