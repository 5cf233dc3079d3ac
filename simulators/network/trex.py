"""A simulated TRex server in stateless mode: JSON-RPC over ZeroMQ, on ports of up to 800 Gbit/s.

From the facts on TRex (network.md section 5) and the public source of server 3.08 they were read from. `version` and
`built_by` begin with SIM. `address` has the port of the requests, `publisher_port` is the other. Section 5 leaves open
whether a driver's counters include the FCS (`fcs`), and tells both of a barrier event and of a server that only wakes
(`barrier`).

Faults at the wire, see `servers/zmq.py`: "refuse", "drop", "delay", "stuck", "half_line", "garble", "reboot"; of
ownership "locked", "stolen", "force_refused"; of the traffic "loss", "link_down", "counter_wrap"; "frozen" counters.

Traffic that is sent without a line to it waits, as in `port.py`; a real NIC drops it. No foreign client is on PyPI in a
current form, so tests speak to it by recorded vectors; TRex's own Python client 3.08 has had its session with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ..servers.zmq import ZmqServer
from ..world import World
from ..world.faults import Fault, FaultPlan
from .port import Network, NetworkTruth, PathOptions, PortOptions
from .trex_rpc import answer
from .trex_server import TrexServer


class Options(BaseModel):
    """`options` of the simulated server.

    ports: wired in pairs; their names are their numbers. path: what lies between them. held_by: who has them all at the
    start, "" = nobody. version, built_by: begin with SIM. driver: of the NICs. cores: that send. fcs: whether port
    counters count the FCS. barrier: whether `publish_now` makes an event. bare: publish events themselves, as old
    servers do. old: no `api_sync_v2`, as until v2.30. configuration: world s that a change of layer 2 or 3 takes, while
    there is a ticket for it. rpc_port, publisher_port: 0 = the system chooses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ports: tuple[PortOptions, ...] = Field(default=(PortOptions(), PortOptions()), min_length=1, max_length=16)
    path: PathOptions = PathOptions()
    held_by: str = ""
    version: str = Field(default="SIM-v3.08", pattern="^SIM")
    built_by: str = Field(default="SIM", pattern="^SIM")
    hostname: str = "simulated-trex"
    driver: str = "net_simulated"
    cores: int = Field(default=4, ge=1, le=64)
    fcs: bool = True
    barrier: bool = True
    bare: bool = False
    old: bool = False
    configuration: float = Field(default=0.0, ge=0)
    rpc_port: int = Field(default=0, ge=0, le=65535)
    publisher_port: int = Field(default=0, ge=0, le=65535)


class SimulatedTrex:
    """A simulated TRex server on one world, served on loopback."""

    simulates: ClassVar[str] = "trex"
    wires: ClassVar[tuple[str, ...]] = ("ZMQ",)
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name, self.world = name, world
        self.options = Options.model_validate(options)
        self.faults = FaultPlan(world.seed)
        self.exchanges: list[tuple[str, bytes]] = []
        self.address = ""
        self.publisher_port = 0
        self.server = self._power_up()
        self._wire: ZmqServer | None = None

    @property
    def truth(self) -> NetworkTruth:
        """True rates at the ports, which are named by their numbers."""
        return self.server.network.truth

    @property
    def network(self) -> Network:
        """The simulated ports, which know the truth."""
        return self.server.network

    @property
    def identity_serial(self) -> str:
        """What marks it as simulated: its version."""
        return self.options.version

    def start(self) -> str:
        """Serve; return the address. Idempotent; after a stop it is a power-up."""
        if self._wire is None:
            self.server = self._power_up()
            self._wire = ZmqServer(
                lambda request: answer(request, self.server.call),
                lambda: [json.dumps(event, separators=(",", ":")).encode() for event in self.server.idle()],
                self.faults,
                self.exchanges,
                reboot=self._reboot,
                port=self.options.rpc_port,
                publisher_port=self.options.publisher_port,
            )
            port = self._wire.start()
            self.publisher_port = self._wire.publisher_port
            listed = ",".join(str(number) for number in range(len(self.options.ports)))
            self.address = f"trex://127.0.0.1:{port}?ports={listed}"
        return self.address

    def stop(self) -> None:
        """Stop serving; idempotent."""
        if self._wire is not None:
            self._wire.stop()
            self._wire = None

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `world.faults`."""
        self.faults.inject(fault)

    def _reboot(self) -> None:
        self.server = self._power_up()

    def _power_up(self) -> TrexServer:
        options = self.options
        return TrexServer(
            self.world,
            self.faults,
            [port.model_copy(update={"name": str(number)}) for number, port in enumerate(options.ports)],
            options.path,
            identity={
                "version": options.version,
                "build_date": "Nov  5 2025",
                "build_time": "12:00:00",
                "built_by": options.built_by,
            },
            hostname=options.hostname,
            cores=options.cores,
            fcs=options.fcs,
            barrier=options.barrier,
            bare=options.bare,
            delay=options.configuration,
            driver=options.driver,
            old=options.old,
            held_by=options.held_by,
        )
