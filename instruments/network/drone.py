"""Ostinato's drone: a traffic generator in software, for any network interface of the host it runs on.

Source: the published protocol of Ostinato 1.2, tried against drone 1.2.0. It counts layer 2 without FCS, about once a
second, and has neither time stamps nor counters for each stream that are used here. Its exact counts are what it is
good for; its gate is timed by this host, which the budget of a rate shows. Not covered: captures, emulated devices,
bursts, fields that vary from frame to frame.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from aicalib_hw.errors import AicalibError, LockedByOther, NotSupported, OutOfRange, ProtocolError, UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    Counters,
    DriverInfo,
    EffectiveConfig,
    Gate,
    NetworkTester,
    NetworkTesterCapabilities,
    PortCounters,
    PortInfo,
    ReleaseReport,
    Setting,
    Stream,
)
from aicalib_hw.readings import Instant
from aicalib_hw.trace import Trace
from aicalib_hw.transport.deadline import Deadline

from . import _drone_messages as messages
from . import _evaluation
from ._drone_session import PORT, VERSION, DroneSession
from ._gated import GatedReservation

REFRESH = 1.2
"""s within which drone brings its counters, and whether a port transmits, up to date: about once a second."""

_POLL = 0.05
_LINK = {0: None, 1: False, 2: True}
_MOST = 2**32 - 1
_SLEW = 500e-6
_STOP, _FROM_THE_FIRST = 0, 2
"""What comes after a stream's packets: nothing, or the first stream again."""
_LOOP = 10_000
"""Frames after which a stream without end begins again."""

_FIXED = 0
"""An address as given; drone would otherwise look for an emulated device to take it from."""

_TO, _FROM = 0x02_00_00_00_FF_01, 0x02_00_00_00_00_00
"""Locally administered addresses, as nobody is to answer."""


class Drone(NetworkTester):
    """One drone.

    address: drone://HOST:PORT. timeout: s for one call.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="drone",
        role="network_tester",
        summary="Ostinato's drone, protocol 1.x",
        manual="Ostinato 1.2",
        schemes=("drone",),
        wires=("raw TCP",),
        verified="drone 1.2.0 on Linux, over a pair of virtual Ethernet interfaces",
    )

    def __init__(self, address: str, *, timeout: float = 5.0, trace: Trace | None = None) -> None:
        super().__init__(address)
        host, port = _place(address)
        self.session = DroneSession(host, port, timeout=timeout, trace=trace)
        self._lock = self.session.lock
        self.stopping = threading.Event()
        self.patience = timeout
        self.taken: dict[str, int] = {}

    @property
    def mark(self) -> str:
        """What names this host as the user of a port."""
        return f"aicalib {platform.node()}"

    def _connect(self) -> None:
        self.session.open()

    def _disconnect(self) -> None:
        self.session.close()

    def identify(self) -> Identity:
        """Name the protocol that drone has confirmed; it tells neither version nor serial number of itself."""
        self.session.call("checkVersion", version=VERSION, client_name="aicalib-hw")
        return Identity("Ostinato", "drone", "", "", self.address, {"protocol": VERSION})

    @property
    def capabilities(self) -> NetworkTesterCapabilities:
        """What drone does: counted gates, ownership by name; bytes with FCS."""
        return NetworkTesterCapabilities(
            native_layer="L2-nofcs",
            min_frame_size=64,
            max_frame_size=9_018,
            counters_include_fcs=False,
            hardware_timestamps=False,
            gates=("packets",),
            ownership=True,
            force_ownership=True,
            notes={"owner": "a name beside the port that other clients may pass over"},
        )

    def ports(self) -> tuple[PortInfo, ...]:
        """List the interfaces with speed (bit/s), link and user, as of now."""
        found = []
        for port_id, port in self.configurations().items():
            state = self.statistics([port_id])[port_id].state
            owner = port.user_name or None
            found.append(
                PortInfo(
                    port.name,
                    port.speed * 1e6 if port.speed > 0 else None,
                    _LINK.get(state.link_state),
                    owner=owner,
                    owned_by_us=owner == self.mark,
                )
            )
        return tuple(found)

    def reserve(self, ports: Sequence[str], *, owner: str, force: bool = False) -> DroneReservation:
        """Write our name beside the ports; raises LockedByOther where another's stands, unless `force`."""
        known = {port.name: (port_id, port) for port_id, port in self.configurations().items()}
        for name in ports:
            if name not in known:
                raise OutOfRange(f"there is no port {name!r}", where=self.address, why=", ".join(known))
        users = {name: known[name][1].user_name for name in ports}
        evicted = {name: user for name, user in users.items() if user and user != self.mark}
        if evicted and not force:
            listed = ", ".join(f"{name} by {user}" for name, user in evicted.items())
            raise LockedByOther(
                f"ports are used: {listed}",
                where=self.address,
                advice="ask them, or reserve with force=True, which is recorded",
            )
        for name in ports:
            self.taken[name] = known[name][0]
            self.name_user(known[name][0], self.mark)
        return DroneReservation(self, ports, owner, evicted)

    def snapshot(self) -> Mapping[str, Setting]:
        """Read the configuration of every port."""
        now = Instant.now()
        return {
            port.name: Setting(messages.text_of(port), "", now, "instrument") for port in self.configurations().values()
        }

    def abort(self) -> None:
        """End a measurement that blocks in another thread; from any thread; never raises."""
        self.stopping.set()
        self.session.abort()

    def release(self) -> ReleaseReport:
        """Stop traffic, delete streams and take our name off every port that has it; idempotent, never raises."""
        if not self.is_open:
            return ReleaseReport()
        try:
            named = {port.name: i for i, port in self.configurations().items() if port.user_name == self.mark}
        except AicalibError as error:
            return ReleaseReport(failures=(f"whose the ports are cannot be told, traffic may still run: {error.what}",))
        actions: list[str] = []
        failures: list[str] = []
        for name, port_id in (named | self.taken).items():
            try:
                # Always: what drone says of a port may be a second old.
                self.transmit("stop", [port_id])
                actions.append(f"{name}: traffic stopped")
                self.delete_streams(port_id)
                self.name_user(port_id, "")
                actions.append(f"{name}: given back")
                self.taken.pop(name, None)
            except AicalibError as error:
                failures.append(f"{name}: giving it back failed, traffic may still be running: {error.what}")
        return ReleaseReport(tuple(actions), tuple(failures))

    def configurations(self) -> dict[int, Any]:
        """Return every port's configuration by its number."""
        listed = self.session.call("getPortIdList")
        ports = self.session.call("getPortConfig", port_id=list(listed.port_id)).port
        return {port.port_id.id: port for port in ports}

    def statistics(self, ports: Sequence[int]) -> dict[int, Any]:
        """Return the counters of ports by number; raises ProtocolError where one is missing."""
        said = self.session.call("getStats", **_ports(ports)).port_stats
        found = {one.port_id.id: one for one in said}
        if missing := [port for port in ports if port not in found]:
            raise ProtocolError(f"drone gives no counters of port {missing}", where=self.address)
        return found

    def transmit(self, act: str, ports: Sequence[int]) -> None:
        """Start ("start") or stop ("stop") all streams of ports."""
        self.session.call(f"{act}Transmit", **_ports(ports))

    def name_user(self, port: int, user: str) -> None:
        """Write a user's name beside a port, "" = none."""
        self.session.call("modifyPort", port=[{"port_id": {"id": port}, "user_name": user}])

    def delete_streams(self, port: int) -> None:
        """Delete every stream of a port."""
        listed = self.session.call("getStreamIdList", id=port)
        if listed.stream_id:
            ids = [{"id": one.id} for one in listed.stream_id]
            self.session.call("deleteStream", port_id={"id": port}, stream_id=ids)


class DroneReservation(GatedReservation):
    """Ports of one drone that have our name."""

    fcs_counted = False
    poll = _POLL
    refresh = REFRESH

    def __init__(self, tester: Drone, ports: Sequence[str], owner: str, evicted: Mapping[str, str]) -> None:
        super().__init__(tester, ports, owner, evicted)
        self._tester = tester

    def configure(self, streams: Sequence[Stream]) -> EffectiveConfig:
        """Define the streams, at most one a port, and read them back; raises OutOfRange, NotSupported."""
        tester = self._tester
        self._require_possible(streams)
        senders = [stream.tx for stream in streams]
        if len(set(senders)) < len(senders):
            raise NotSupported("drone counts ports, so it takes one stream a port", where=tester.address)
        for stream in streams:
            if stream.headers:
                raise NotSupported("headers of one's own are not sent through drone here", where=tester.address)
        for port in self._ports:
            tester.delete_streams(tester.taken[port])
        self._streams = tuple(streams)
        for stream in streams:
            self._define(stream, _FROM_THE_FIRST, _LOOP)
        return self._read_back()

    def clear(self) -> None:
        """Set all counters of our ports to zero."""
        self._tester.session.call("clearStats", **_ports(self._numbers()))

    def start(self) -> None:
        """Start all streams until `stop()`; raises LinkDown."""
        self._require_links()
        for stream in self._streams:
            self._define(stream, _FROM_THE_FIRST, _LOOP)
        self._tester.transmit("start", self._senders())
        deadline = Deadline(2 * REFRESH)
        while not self.running and not deadline.expired:
            self._tester.stopping.wait(self.poll)

    def stop(self) -> None:
        """Stop transmitting; idempotent."""
        self._tester.transmit("stop", self._senders() or self._numbers())

    @property
    def running(self) -> bool:
        """True while a port transmits, as drone says."""
        return any(one.state.is_transmit_on for one in self._tester.statistics(self._numbers()).values())

    def read(self) -> Counters:
        """Read the counters of all ports, between two instants; a stream's are those of its two ports."""
        before = Instant.now()
        found = self._tester.statistics(self._numbers())
        after = Instant.now()
        ports = {
            name: PortCounters(
                tx_frames=found[number].tx_pkts,
                tx_bytes=found[number].tx_bytes,
                rx_frames=found[number].rx_pkts,
                rx_bytes=found[number].rx_bytes,
            )
            for name in self._ports
            for number in (self._tester.taken[name],)
        }
        streams = {
            stream.name: PortCounters(
                tx_frames=ports[stream.tx].tx_frames,
                tx_bytes=ports[stream.tx].tx_bytes,
                rx_frames=ports[stream.rx].rx_frames,
                rx_bytes=ports[stream.rx].rx_bytes,
            )
            for stream in self._streams
        }
        return Counters(before, after, ports, streams)

    def _begin(self, gate: Gate) -> None:
        if not 2 <= gate.amount <= _MOST or gate.amount != int(gate.amount):
            raise OutOfRange(f"{gate.amount:g} frames cannot be a gate", why=f"whole, 2 to {_MOST}")
        for stream in self._streams:
            self._define(stream, _STOP, int(gate.amount))
        self.clear()
        self._tester.transmit("start", self._senders())

    def _gate_of(self, gate: Gate, last: Counters, elapsed: float) -> _evaluation.Gate:
        clock = "this host's clock: slewed by the kernel by at most 500 ppm"
        # That it has ended shows up to a refresh late: half of one in the mean, give or take as much.
        seconds = max(elapsed - REFRESH / 2, _POLL)
        return _evaluation.Gate(seconds, "host", _SLEW, clock, jitter=REFRESH / 2, edges=2)

    def _define(self, stream: Stream, after: int, packets: int) -> None:
        """Write one stream; its number is that of its place among the streams."""
        tester = self._tester
        port, number = tester.taken[stream.tx], self._streams.index(stream)
        where = {"port_id": {"id": port}}
        if number not in {one.id for one in tester.session.call("getStreamIdList", id=port).stream_id}:
            tester.session.call("addStream", **where, stream_id=[{"id": number}])
        tester.session.call("modifyStream", **where, stream=[self._stream(stream, port, number, after, packets)])
        tester.session.call("build", **where)

    def _stream(self, stream: Stream, port: int, number: int, after: int, packets: int) -> dict[str, Any]:
        return {
            "stream_id": {"id": number},
            "core": {"name": stream.name, "is_enabled": True, "len_mode": 0, "frame_len": stream.frame_size},
            "control": {
                "unit": 0,
                "mode": 0,
                "num_packets": packets,
                "next": after,
                "packets_per_sec": self._frames(stream),
            },
            "protocol": [
                {
                    "protocol_id": {"id": messages.MAC},
                    "mac": {"dst_mac": _TO, "dst_mac_mode": _FIXED, "src_mac": _FROM + port, "src_mac_mode": _FIXED},
                },
                {"protocol_id": {"id": messages.ETHERNET_II}, "eth2": {}},
                {"protocol_id": {"id": messages.PAYLOAD}, "payload": {}},
            ],
        }

    def _frames(self, stream: Stream) -> float:
        """Frames/s that a stream asks for; raises UsageError for a share of a line of unknown speed."""
        speeds = {port.port: port.speed for port in self._tester.ports()}
        frames = _evaluation.intended_frames(stream, speeds.get(stream.tx), self.gap)
        if frames is None:
            raise UsageError(
                f"drone does not know the speed of {stream.tx}", advice='give the load as a Rate: Rate(1e6, "L2-fcs")'
            )
        return frames

    def _read_back(self) -> EffectiveConfig:
        streams, differences = [], []
        for number, stream in enumerate(self._streams):
            where = {"port_id": {"id": self._tester.taken[stream.tx]}}
            (found,) = self._tester.session.call("getStreamConfig", **where, stream_id=[{"id": number}]).stream
            asked = self._frames(stream)
            if found.core.frame_len != stream.frame_size:
                differences.append(f"{stream.name}: {found.core.frame_len} B instead of {stream.frame_size} B")
            if abs(found.control.packets_per_sec - asked) > 1e-6 * asked:
                differences.append(f"{stream.name}: {found.control.packets_per_sec:g}/s instead of {asked:g}/s")
            streams.append(replace(stream, frame_size=found.core.frame_len))
        return EffectiveConfig(tuple(streams), tuple(differences))

    def _numbers(self) -> list[int]:
        return [self._tester.taken[port] for port in self._ports]

    def _senders(self) -> list[int]:
        return [self._tester.taken[stream.tx] for stream in self._streams]


def _ports(numbers: Sequence[int]) -> dict[str, Any]:
    return {"port_id": [{"id": number} for number in numbers]}


def _place(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of a drone", why=str(error), advice="drone://HOST:7878") from error
    if parts.scheme != "drone" or not host or parts.path not in ("", "/") or parts.query:
        raise UsageError(f"{address!r} is no address of a drone", advice="drone://HOST:7878")
    return host, port
