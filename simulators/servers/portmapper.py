"""A portmapper (RFC 1833, version 2) that knows one address: for VXI-11 clients that cannot be told a port.

Port 111 needs privileges on most systems, or a network namespace; nothing here starts one unless asked to.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping

from . import rpc
from .connections import Connections

PROGRAM, VERSION, PORT = 100000, 2, 111
TCP, UDP = 6, 17
_GETPORT, _DUMP = 3, 4
_LONGEST = 4096


class Portmapper:
    """Tells the TCP port of each program in `ports` (program, version → port). port: its own, over TCP and UDP."""

    def __init__(self, ports: Mapping[tuple[int, int], int], *, host: str = "127.0.0.1", port: int = PORT) -> None:
        self._ports = ports
        self._host = host
        self._connections = Connections(self._serve, host=host, port=port, name="portmapper")
        self._datagrams: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve_datagrams, name="portmapper", daemon=True)

    def start(self) -> int:
        """Listen; return the port. Raises PermissionError where the port is reserved."""
        port = self._connections.start()
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind((self._host, port))
        self._datagrams.settimeout(0.2)
        self._thread.start()
        return port

    def stop(self) -> None:
        """Stop listening; idempotent."""
        self._connections.stop()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _answer(self, record: bytes) -> bytes:
        return rpc.answer(record, PROGRAM, VERSION, {_GETPORT: self._get_port, _DUMP: self._dump})

    def _get_port(self, reader: rpc.Reader) -> bytes:
        program, version, protocol = reader.unsigned(), reader.unsigned(), reader.unsigned()
        return rpc.integers(self._ports.get((program, version), 0) if protocol == TCP else 0)

    def _dump(self, _: rpc.Reader) -> bytes:
        rows = [rpc.integers(1, program, version, TCP, port) for (program, version), port in self._ports.items()]
        return b"".join(rows) + rpc.integers(0)

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (record := rpc.read_record(connection, _LONGEST)) is not None:
                connection.sendall(rpc.framed(self._answer(record)))
        except (ValueError, struct.error):
            return

    def _serve_datagrams(self) -> None:
        assert self._datagrams is not None
        with self._datagrams as datagrams:
            while not self._connections.stopping.is_set():
                try:
                    record, sender = datagrams.recvfrom(_LONGEST)
                    datagrams.sendto(self._answer(record), sender)
                except (TimeoutError, ValueError, struct.error):
                    continue
                except OSError:
                    return
