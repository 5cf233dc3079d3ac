"""A small SCPI device for tests of engine and servers, which are about no instrument in particular."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from aicalib_hw.simulators.dialects.scpi.engine import Device, integer
from aicalib_hw.simulators.dialects.scpi.status import Status
from aicalib_hw.simulators.servers.hislip import HislipServer
from aicalib_hw.simulators.servers.instrument import Server, SimulatedInstrument
from aicalib_hw.simulators.servers.tcp import TcpServer
from aicalib_hw.simulators.servers.vxi11 import Vxi11Server
from pydantic import BaseModel

from aicalib_hw import registry


class Toy(Device):
    """*IDN?, an error queue, a number that is kept, a string that comes back, a wait that only a clear ends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Status(), **options)
        self.level = 0
        self.kept: list[bytes] = []
        self.command("*IDN", ask=lambda *_: "AICALIB,TOY,SIM0,1")
        self.command(":SYSTem:ERRor[:NEXT]", ask=lambda *_: '{},"{}"'.format(*self.status.next_error()))
        self.command(":SOURce:LEVel", set=self._set_level, ask=lambda *_: str(self.level))
        self.command(":DATA", set=lambda _, data: self.kept.append(data[0]), ask=lambda *_: self.kept[-1])
        self.command(":WAIT", ask=self._wait)
        self.command("*TRG", set=lambda *_: setattr(self, "level", 77))

    def _set_level(self, _: Sequence[int], data: Sequence[bytes]) -> None:
        self.level = integer(data)

    def _wait(self, *_: Any) -> str:
        self.cancelled.wait(30.0)
        return "1"


class Options(BaseModel):
    """Options of the servers of the toy."""

    most_clients: int | None = None
    terminator: bytes = b"\n"
    reply_terminator: bytes = b"\n"


class SimulatedToy(SimulatedInstrument):
    """The toy on every wire."""

    simulates: ClassVar[str] = "toy"
    wires: ClassVar[tuple[str, ...]] = ("TCP", "VXI-11", "HiSLIP")
    Options: ClassVar[type[BaseModel]] = Options

    def make_device(self) -> Toy:
        return Toy()

    def make_servers(self, wire: Any) -> list[Server]:
        asked = self.options
        return [
            TcpServer(
                wire,
                terminator=asked.terminator,
                reply_terminator=asked.reply_terminator,
                most_clients=asked.most_clients,
            ),
            Vxi11Server(wire, most_links=asked.most_clients),
            HislipServer(wire, most_clients=asked.most_clients),
        ]


def toy(**options: Any) -> SimulatedToy:
    """Return a toy on a stepped world, not yet started."""
    return SimulatedToy(registry.simulator(registry.WORLD).from_settings({"rate": 0}), "toy", **options)
