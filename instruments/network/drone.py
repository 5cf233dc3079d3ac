"""Ostinato's drone: a traffic generator in software, for any network interface of the host it runs on.

Source: the published protocol of Ostinato 1.2, tried against drone 1.2.0. It counts layer 2 without FCS, about once a
second, and has neither time stamps nor counters for each stream that are used here. Its exact counts are what it is
good for; its gate is timed by this host, which the budget of a rate shows. Not covered: captures, emulated devices,
bursts, fields that vary from frame to frame.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from aicalib_hw.errors import AicalibError, LockedByOther, OutOfRange, ProtocolError, UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    NetworkTesterCapabilities,
    PortInfo,
    ReleaseReport,
    Setting,
)
from aicalib_hw.readings import Instant
from aicalib_hw.trace import Trace

from . import _drone_messages as messages
from ._drone_reservation import DroneReservation
from ._drone_session import PORT, VERSION, DroneSession, numbered
from ._traffic_tester import TrafficTester

_LINK = {0: None, 1: False, 2: True}


class Drone(TrafficTester[Mapping[str, int]]):
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

    PORT = PORT

    def __init__(self, address: str, *, timeout: float = 5.0, trace: Trace | None = None) -> None:
        host, port = _place(address)
        self.session = DroneSession(host, port, timeout=timeout, trace=trace)
        super().__init__(address, self.session, timeout=timeout)
        self.taken: dict[str, int] = {}

    @property
    def mark(self) -> str:
        """What names this host as the user of a port."""
        return f"aicalib {platform.node()}"

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

    def _ours(self, *, left_behind: bool) -> Mapping[str, int]:
        if not left_behind:
            return dict(self.taken)
        named = {port.name: i for i, port in self.configurations().items() if port.user_name == self.mark}
        return named | self.taken

    def _give_all_back(self, ours: Mapping[str, int]) -> ReleaseReport:
        actions: list[str] = []
        failures: list[str] = []
        for name, port_id in ours.items():
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
        said = self.session.call("getStats", **numbered(ports)).port_stats
        found = {one.port_id.id: one for one in said}
        if missing := [port for port in ports if port not in found]:
            raise ProtocolError(f"drone gives no counters of port {missing}", where=self.address)
        return found

    def transmit(self, act: str, ports: Sequence[int]) -> None:
        """Start ("start") or stop ("stop") all streams of ports."""
        self.session.call(f"{act}Transmit", **numbered(ports))

    def name_user(self, port: int, user: str) -> None:
        """Write a user's name beside a port, "" = none."""
        self.session.call("modifyPort", port=[{"port_id": {"id": port}, "user_name": user}])

    def delete_streams(self, port: int) -> None:
        """Delete every stream of a port."""
        listed = self.session.call("getStreamIdList", id=port)
        if listed.stream_id:
            ids = [{"id": one.id} for one in listed.stream_id]
            self.session.call("deleteStream", port_id={"id": port}, stream_id=ids)


def _place(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of a drone", why=str(error), advice="drone://HOST:7878") from error
    if parts.scheme != "drone" or not host or parts.path not in ("", "/") or parts.query:
        raise UsageError(f"{address!r} is no address of a drone", advice="drone://HOST:7878")
    return host, port
