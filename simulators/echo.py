"""An echo device: the instrument that PyVISA's own hardware tests talk to, for proving a wire by programs of others.

`RECEIVE` and then any message: that message is kept. `SEND`: it comes back. `RCVSLOWSRQ` and `SENDSLOWSRQ` do the same
slowly and request service when the answer is there. Everything else is IEEE 488.2. A message ends by a newline, and
not by END alone, so that what is kept may be any other bytes.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from .dialects.exchange import Session
from .dialects.scpi.engine import Device
from .dialects.scpi.required import register_required
from .dialects.scpi.status import Status
from .servers.faulty import FaultyWire
from .servers.hislip import HislipServer
from .servers.instrument import Server, SimulatedInstrument
from .servers.tcp import TcpServer
from .servers.vxi11 import Vxi11Server
from .world import World

_MESSAGE_AVAILABLE = 16


class Options(BaseModel):
    """`options` of the echo device. delay: of the slow commands, s of world time. *_port: 0 = the system chooses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    serial: str = Field(default="SIM0ECHO", pattern="^SIM")
    delay: float = Field(default=0.2, ge=0)
    vxi11_port: int = 0
    hislip_port: int = 0
    tcp_port: int = 0


class Echo(Device):
    """Keeps one message for each client and gives it back."""

    def __init__(self, world: World, options: Options) -> None:
        super().__init__(Status())
        self._world = world
        self._delay = options.delay
        self._expecting: weakref.WeakSet[Session] = weakref.WeakSet()
        self._kept: weakref.WeakKeyDictionary[Session, bytes] = weakref.WeakKeyDictionary()
        register_required(self)
        self.command("*IDN", ask=lambda *_: f"AICALIB,ECHO,{options.serial},1.0")
        self.command("*RST", set=lambda *_: self._kept.clear())
        self.command("*TST", ask=lambda *_: "0")
        self.command("*TRG", set=lambda *_: None)

    def execute(self, session: Session, message: bytes) -> bytes | None:
        if session in self._expecting:
            self._expecting.discard(session)
            self._kept[session] = message
            return None
        word = message.strip().upper()
        if word in (b"RECEIVE", b"RCVSLOWSRQ"):
            self._expecting.add(session)
            return None
        if word == b"SEND":
            return self._kept.get(session)
        if word == b"SENDSLOWSRQ":
            self.status.service_enable |= _MESSAGE_AVAILABLE
            session.wants_service = True
            self._world.clock.wait_until(self._world.clock.now() + self._delay, cancel=self.cancelled)
            return self._kept.get(session)
        return super().execute(session, message)

    def forget(self, session: Session, *, wait: bool = True) -> None:
        self._expecting.discard(session)
        super().forget(session, wait=wait)


class SimulatedEcho(SimulatedInstrument):
    """The echo device on every wire that carries messages."""

    simulates: ClassVar[str] = "echo"
    wires: ClassVar[tuple[str, ...]] = ("VXI-11", "HiSLIP", "TCP")
    Options: ClassVar[type[BaseModel]] = Options

    def make_device(self) -> Echo:
        return Echo(self.world, self.options)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        return (
            Vxi11Server(wire, port=self.options.vxi11_port, newline_only=True),
            HislipServer(wire, port=self.options.hislip_port, newline_only=True),
            TcpServer(wire, port=self.options.tcp_port),
        )
