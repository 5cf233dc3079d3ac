"""A simulated Teledyne LeCroy Xena chassis with one 800 Gbit/s module, on its text port and its binary port at once.

`address` is the text port, `binary_port` the other; both are chosen by the system. Faults at the wire: "refuse", "drop"
(after so many replies, in the middle of one), "delay", "garble", "pieces", "half_line" (the rest of a reply never
comes), "double_terminator" (an empty line more); of ownership: "locked", "stolen", "force_refused", "licence"; of the
traffic: "loss", "link_down", "counter_wrap".
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel

from ..servers.connections import Connections
from ..world import World
from ..world.faults import Fault, FaultPlan
from .port import NetworkTruth
from .xena_binary import HEADER, BinarySession, Packet
from .xena_chassis import Chassis, Options
from .xena_text import TextSession

_CHUNK = 1 << 16
_KEPT = 2000
"""Exchanges kept in the log."""
_LOOK = 0.1
"""How often is looked whether there is something to tell to a binary client, real s."""
_HOST = "127.0.0.1"


class SimulatedXena:
    """A simulated Xena chassis on one world, served on loopback."""

    simulates: ClassVar[str] = "xena"
    wires: ClassVar[tuple[str, ...]] = ("TCP",)
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name, self.world = name, world
        self.options = Options.model_validate(options)
        self.faults = FaultPlan(world.seed)
        self.exchanges: list[tuple[str, bytes]] = []
        self.address = ""
        self.binary_port = 0
        self.chassis = Chassis(world, self.faults, self.options)
        self._servers: list[Connections] = []

    @property
    def truth(self) -> NetworkTruth:
        """True rates at the ports."""
        return self.chassis.network.truth

    @property
    def identity_serial(self) -> str:
        """What marks it as simulated: its build string, and the beginning of its version."""
        return self.options.serial

    def start(self) -> str:
        """Serve both ports; return the address of the text port. Idempotent; after a stop it is a power-up."""
        if not self._servers:
            self.chassis = Chassis(self.world, self.faults, self.options)
            for serve in (self._serve_text, self._serve_binary):
                server = Connections(serve, host=_HOST, admit=self._admit, name="simulated-xena")
                server.start()
                self._servers.append(server)
            text, binary = self._servers
            ports = ",".join(port.name for port in self.options.ports)
            self.address = f"xena://{_HOST}:{text.port}?ports={ports}"
            self.binary_port = binary.port
        return self.address

    def stop(self) -> None:
        """Stop serving; idempotent."""
        for server in self._servers:
            server.stop()
        self._servers.clear()

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `world.faults`."""
        self.faults.inject(fault)

    def _admit(self) -> bool:
        return self.faults.strikes("refuse") is None

    def _serve_text(self, connection: socket.socket) -> None:
        stopping = self._servers[0].stopping
        text = TextSession(self.chassis, stopping)
        waiting = bytearray()
        try:
            while not text.session.ended:
                connection.settimeout(text.session.timeout)
                try:
                    data = connection.recv(_CHUNK)
                except TimeoutError:
                    return
                if not data:
                    return
                waiting += data
                while b"\n" in waiting and not text.session.ended:
                    line, _, rest = waiting.partition(b"\n")
                    waiting = bytearray(rest)
                    self._log(">", bytes(line))
                    lines = text.answer(line.rstrip(b"\r").decode("latin-1"))
                    if lines:
                        self._reply(connection.sendall, "".join(f"{one}\n" for one in lines).encode("latin-1"))
        finally:
            self.chassis.disconnect(text.session)

    def _serve_binary(self, connection: socket.socket) -> None:
        server = self._servers[1]
        binary = BinarySession(self.chassis)
        guard = threading.Lock()

        def tell() -> None:
            while not binary.session.ended and not server.stopping.wait(_LOOK):
                try:
                    with guard:
                        for packet in binary.news():
                            connection.sendall(packet)
                except OSError:
                    return

        server.spawn(tell)
        waiting = bytearray()
        try:
            while not binary.session.ended:
                connection.settimeout(binary.session.timeout)
                try:
                    data = connection.recv(_CHUNK)
                except TimeoutError:
                    return
                if not data:
                    return
                waiting += data
                while len(waiting) >= HEADER.size and not binary.session.ended:
                    head = Packet.read(bytes(waiting[: HEADER.size]))
                    if head is None:
                        return
                    end = HEADER.size + head.size
                    if len(waiting) < end:
                        break
                    body = bytes(waiting[HEADER.size : end])
                    self._log(">", bytes(waiting[:end]))
                    del waiting[:end]
                    with guard:
                        self._reply(connection.sendall, binary.answer(head, body), lines=False)
        finally:
            self.chassis.disconnect(binary.session)

    def _reply(self, send: Callable[[bytes], None], data: bytes, *, lines: bool = True) -> None:
        """Send a reply, harmed as the faults say; raises ConnectionError where the connection drops."""
        delay = self.faults.strikes("delay")
        if delay is not None:
            self._servers[0].stopping.wait(delay.amount)
        self._log("<", data)
        if self.faults.strikes("garble") is not None:
            data = bytes(byte ^ 0x80 if byte > 32 else byte for byte in data)
        if lines and self.faults.strikes("double_terminator") is not None:
            data += b"\n"
        if self.faults.strikes("drop") is not None:
            send(data[: len(data) // 2])
            raise ConnectionError("dropped by a fault")
        if self.faults.strikes("half_line") is not None:
            data = data[: len(data) // 2]
        if self.faults.strikes("pieces") is not None:
            for index in range(len(data)):
                send(data[index : index + 1])
            return
        send(data)

    def _log(self, direction: str, data: bytes) -> None:
        self.exchanges.append((direction, data))
        del self.exchanges[:-_KEPT]
