"""A simulated message-based instrument: one device model, served over every wire of its family at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from ..dialects.exchange import Exchange
from ..world import World
from ..world.faults import Fault, FaultPlan
from .faulty import FaultyWire


class Server(Protocol):
    """What serves a device over one wire. wire: its name, as drivers state it; address: what a client opens."""

    wire: str

    @property
    def address(self) -> str: ...
    def start(self) -> object: ...
    def stop(self) -> None: ...


class SimulatedInstrument(ABC):
    """The shape that the registry expects, but for `truth`, which a subclass adds.

    A subclass states `simulates`, `wires` and `Options`, makes the device model in `make_device`, and in `make_servers`
    one server for each of `wires`, in their order. `address` is that of the first, `addresses` has them all by wire.
    Starting again after a stop is a power-up: a new device with settings at their defaults.
    """

    simulates: ClassVar[str]
    wires: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[BaseModel]]

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name = name
        self.world = world
        self.options: Any = self.Options.model_validate(options)
        self.faults = FaultPlan(world.seed)
        self.exchanges: list[tuple[str, bytes]] = []
        self.addresses: dict[str, str] = {}
        self.address = ""
        self.device: Any = None
        self._servers: list[Server] = []

    @abstractmethod
    def make_device(self) -> Exchange:
        """Return a new device model in its state after power-up."""

    @abstractmethod
    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        """Return a server for each of `wires`, not yet started; they all take `wire`."""

    def start(self) -> str:
        """Serve the device over every wire; return the address of the first. Idempotent."""
        if self.device is None:
            self.device = self.make_device()
            wire = FaultyWire(self.faults, self.device, self.exchanges)
            for server in self.make_servers(wire):
                server.start()
                self._servers.append(server)
            self.addresses = {server.wire: server.address for server in self._servers}
            self.address = self._servers[0].address
        return self.address

    def stop(self) -> None:
        """Stop serving; idempotent."""
        if self.device is not None:
            self.device.stop()
        for server in self._servers:
            server.stop()
        self._servers.clear()
        self.device = None

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `world.faults`."""
        self.faults.inject(fault)
