"""A simulated iperf3 between two simulated hosts: an executable file with iperf3's command line, JSON and status.

From the facts on iperf3 (network.md section 7.1) and the program's own behaviour. The first line of `--version` begins
with `SIM` (`SIM-iperf 3.12 (…)`), and so does `version` in the `start` of its JSON. World time is the program's time.

The same file is client and server. A server stands at the port of `address` from the beginning; others are started by
`-s`, `-1` for one test, and listen on a real port. The hosts are the ports "client" and "server" of a simulated network
(`port.py`): what TCP carries is what the path has room for, UDP loses the rest. Traps of the real one are there: status
0 for failures in JSON before 3.14, a receiver whose `seconds` are the sender's, a UDP sum that is the sender's rate,
more received than sent with `-O`, counts in whole blocks.

Faults: "refuse" (nobody listens), "locked" (the server is busy), "drop" (the connection ends after `amount` s), "stuck"
(nothing is sent for `amount` s, and then given up), "delay" (real s, before it begins); "loss", "link_down" of the
network; "half_line", "garble", "chatter", "nan" of what is said; "wrong_identity".

Not simulated, and refused by name: SCTP, files, daemons, log files, authentication, IPv6, rate limits of the server. A
real iperf3 that connects to a simulated server is told that it is busy.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from ..servers.connections import Connections
from ..servers.executable import Executable, Invocation
from ..world import World
from ..world.faults import Fault, FaultPlan
from .iperf3_flow import Host, goodput
from .iperf3_session import Hosts, Server, Session
from .port import Layer, Network, NetworkTruth, PathOptions, PortOptions

_HOST = "127.0.0.1"
_DENIED = b"\xff"
_COOKIE = 37
_STRANGE = "SIM-iperf 2.0"


class Options(BaseModel):
    """`options` of simulated iperf3.

    version: what it says of itself, begins with SIM; quirks follow it: 3.12, 3.14 (failures in JSON have status 1),
    3.17 (`--json-stream`). client, server: the hosts' ports, `ppm` is the error of their clocks. path: between them.
    mtu: bytes; host_limit: Gbit/s of payload that one process moves, None = any; buffer: bytes in a socket.
    congestion: name of the algorithm. names: of the server's host. listen_port: 0 = the system chooses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str = Field(default="SIM-iperf 3.12", pattern=r"^SIM-iperf 3\.\d+$")
    client: PortOptions = PortOptions(speed=100)
    server: PortOptions = PortOptions(speed=100)
    path: PathOptions = PathOptions(latency=20e-6)
    mtu: int = Field(default=1500, ge=576, le=9600)
    host_limit: float | None = Field(default=None, gt=0)
    buffer: int = Field(default=2 << 20, ge=0)
    congestion: str = "cubic"
    names: tuple[str, ...] = ("127.0.0.1", "localhost")
    listen_port: int = Field(default=0, ge=0, le=65535)


class Iperf3Truth:
    """True rates of the latest test."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts, self._network = hosts, NetworkTruth(hosts.network)

    def rate(self, port: str, layer: Layer) -> float:
        """Return the true rate at which frames of the latest test got through to "client" or "server", bit/s."""
        return self._network.rate(port, layer)

    def goodput(self, *, reverse: bool = False) -> float:
        """Return the true rate at which payload got through in the latest test, from its first to its last, bit/s."""
        test = self._hosts.latest
        if test is None:
            return 0.0
        flows = [flow for flow, back, _ in test.flows if back is reverse]
        ends = [float(flow.run.stopped or self._hosts.network.now()) for flow in flows]
        return goodput(flows, float(test.began), max(ends)) if flows else 0.0


class SimulatedIperf3:
    """A simulated iperf3 and two hosts on one world. program: the executable file."""

    simulates: ClassVar[str] = "iperf3"
    wires: ClassVar[tuple[str, ...]] = ("process",)
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name, self.world = name, world
        self.options = Options.model_validate(options)
        self.faults = FaultPlan(world.seed)
        self.exchanges: list[tuple[str, bytes]] = []
        self.address = ""
        self.program = Path()
        ports = [
            self.options.client.model_copy(update={"name": "client"}),
            self.options.server.model_copy(update={"name": "server"}),
        ]
        self.network = Network(world, self.faults, ports, self.options.path)
        limit = self.options.host_limit
        host = Host(
            self.options.mtu, None if limit is None else limit * 1e9, self.options.buffer, self.options.congestion
        )
        self.hosts = Hosts(world, self.network, self.faults, host, self.options.names)
        self.truth = Iperf3Truth(self.hosts)
        self._executable: Executable | None = None
        self._listener: Connections | None = None

    @property
    def identity_serial(self) -> str:
        """What marks it as simulated: its version."""
        return self.options.version

    def start(self) -> str:
        """Make the executable file and let a server listen; return the address. Idempotent."""
        if self._executable is None:
            self._executable = Executable("iperf3", self._work, self.faults, self.exchanges)
            self.program = self._executable.start()
            self._listener = Connections(_turn_away, host=_HOST, port=self.options.listen_port, name="simulated-iperf3")
            port = self._listener.start()
            self.hosts.servers[port] = Server(port)
            self.address = f"iperf3://{_HOST}:{port}?program={quote(str(self.program))}"
        return self.address

    def stop(self) -> None:
        """End every running program and remove the executable; idempotent."""
        if self._executable is not None:
            self._executable.stop()
            self._executable = None
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
        self.hosts.servers.clear()

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `world.faults`."""
        self.faults.inject(fault)

    def _work(self, invocation: Invocation) -> int:
        executable = self._executable
        assert executable is not None
        strange = self.faults.strikes("wrong_identity") is not None
        version = _STRANGE if strange else self.options.version
        return Session(invocation, self.hosts, version, executable.stopping.is_set).run()


def _turn_away(connection: socket.socket) -> None:
    """Tell a real iperf3 that the server is busy: what it would send has no way through the simulated network."""
    connection.settimeout(2.0)
    connection.recv(_COOKIE)
    connection.sendall(_DENIED)
