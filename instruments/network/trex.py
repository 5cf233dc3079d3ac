"""Cisco TRex in stateless mode: a traffic generator in software, over JSON-RPC on ZeroMQ, port 4501.

Source: trex-core 3.08, its RPC server and its Python client. Not covered: advanced stateful mode, mixed frame sizes,
bursts, service mode, captures, the asynchronous events of port 4500 (states are asked for). Not stated there, and
therefore part of the address: whether counters hold the FCS, which depends on the network adapter; how well a duration
is kept, as the generator is a program; how old counters may be.
"""

from __future__ import annotations

import platform
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from aicalib_hw.errors import (
    AicalibError,
    IdentityMismatch,
    LockedByOther,
    OutOfRange,
    ProtocolError,
    UsageError,
)
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

from . import _trex_model as model
from ._traffic_tester import TrafficTester
from ._trex_address import place_of
from ._trex_reservation import TrexReservation
from ._trex_session import PORT, Call, TrexSession

Statuses = Mapping[str, Mapping[str, Any]]
"""What the server says of each port, by its name."""

_QUIET_STATES = ("IDLE", "STREAMS", "DOWN")


class Trex(TrafficTester[Statuses]):
    """One TRex server.

    address: trex://HOST:PORT?ports=0,1&clock_ppm=100&jitter_us=1000&refresh=1&fcs=yes. ports: those that may be used,
    left out = all. clock_ppm: limits of error of the server's clock; 100 by default, an assumption: no document states
    it. jitter_us: limits of error of start and stop of a gate together; 1000 by default, an assumption too, as the
    generator is a program. refresh: s within which the server brings its counters up to date; 1 by default. fcs:
    whether its bytes hold the FCS, left out = unknown. timeout: s for one exchange.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="trex",
        role="network_tester",
        summary="Cisco TRex traffic generator, stateless mode",
        manual="trex-core 3.08",
        schemes=("trex",),
        wires=("ZMQ",),
        simulator="trex",
    )

    PORT = PORT

    def __init__(self, address: str, *, timeout: float = 5.0, trace: Trace | None = None) -> None:
        self.place = place_of(address)
        self.session = TrexSession(self.place.host, self.place.port, timeout=timeout, trace=trace)
        super().__init__(address, self.session, timeout=timeout)
        # The same on every run on this host, so that what a dead process left is known as ours.
        self.user = f"aicalib-{zlib.crc32(platform.node().encode()):08x}"
        self._session_number = threading.get_native_id() & 0x7FFFFFFF
        self._handlers: dict[str, str] = {}
        self._system: Mapping[str, Any] = {}

    def _connect(self) -> None:
        super()._connect()
        try:
            self.session.agree()
        except BaseException:
            self.session.close()
            raise

    def identify(self) -> Identity:
        """Ask for version and ports; raises IdentityMismatch for a server in another mode."""
        version, system = self.session.batch([("get_version", {}), ("get_system_info", {})])
        if not isinstance(version, Mapping) or not isinstance(system, Mapping):
            raise ProtocolError("the server does not say what it is", where=self.address)
        mode = str(version.get("mode", ""))
        if mode != "STL":
            raise IdentityMismatch(
                f"the server runs in mode {mode or 'unknown'}, and this driver needs stateless mode",
                where=self.address,
                advice="start it with: t-rex-64 -i",
            )
        self._system = system
        number, built_by = str(version.get("version", "")), str(version.get("built_by", ""))
        extra = {"version": number, "build": built_by, "host": str(system.get("hostname", ""))}
        return Identity("Cisco", "TRex", "", number, self.address, extra)

    @property
    def capabilities(self) -> NetworkTesterCapabilities:
        """What a server does; bit/s, bytes with FCS. Larger frames than 9018 bytes are not confirmed."""
        return NetworkTesterCapabilities(
            native_layer="L2-fcs",
            min_frame_size=64,
            max_frame_size=model.LARGEST_FRAME,
            counters_include_fcs=self.place.fcs,
            hardware_timestamps=False,
            timestamp_resolution=1e-6,
            latency_modes=model.LATENCY_MODES,
            gates=("seconds",),
            ownership=True,
            force_ownership=True,
            per_stream_counters=True,
            loss=True,
        )

    @property
    def with_flow_statistics(self) -> frozenset[str]:
        """The ports that count the frames of each stream by themselves."""
        return frozenset(
            str(port.get("index"))
            for port in self._system.get("ports") or []
            if "flow_stats" in ((port.get("rx") or {}).get("caps") or [])
        )

    def ports(self) -> tuple[PortInfo, ...]:
        """List the ports with speed (bit/s), link and owner, as of now."""
        found = []
        for name, status in self.statuses(self._names()).items():
            said = status.get("attr") or {}
            speed, link = said.get("speed"), (said.get("link") or {}).get("up")
            owner = str(status.get("owner") or "") or None
            found.append(
                PortInfo(
                    name,
                    float(speed) * 1e9 if isinstance(speed, int | float) and speed > 0 else None,
                    link if isinstance(link, bool) else None,
                    owner=owner,
                    owned_by_us=owner == self.user and name in self._handlers,
                    clock_tolerance=self.place.clock,
                )
            )
        return tuple(found)

    def reserve(self, ports: Sequence[str], *, owner: str, force: bool = False) -> TrexReservation:
        """Acquire ports and clear them of streams; raises LockedByOther naming who has them unless `force`, OutOfRange.

        owner: whom the audit names; the server knows this host's name. Who was evicted is told in `evicted`.
        """
        with self._lock:
            known = {port.port: port for port in self.ports()}
            for name in ports:
                if name not in known:
                    raise OutOfRange(f"there is no port {name!r}", where=self.address, why=", ".join(known))
            holders = {name: known[name].owner for name in ports}
            evicted = {name: one for name, one in holders.items() if one is not None and one != self.user}
            if evicted and not force:
                name, holder = next(iter(evicted.items()))
                raise LockedByOther(
                    f"port {name} is held by {holder}",
                    where=self.address,
                    advice="let them release it, or reserve with force=True, which is recorded",
                )
            new = [name for name in ports if name not in self._handlers]
            try:
                for name in new:
                    self._acquire(name, force=holders[name] is not None)
                self.stop_traffic(ports)
                self.forget_streams(ports)
            except AicalibError:
                for name in new:
                    if name in self._handlers:
                        self._give_back(name)
                raise
        return TrexReservation(self, tuple(ports), owner, evicted)

    def snapshot(self) -> Mapping[str, Setting]:
        """Read state, speed and owner of every port, and what the address sets."""
        now = Instant.now()
        found = {}
        for name, unit in (("clock", "1"), ("jitter", "s"), ("refresh", "s"), ("fcs", "")):
            found[name] = Setting(getattr(self.place, name), unit, now, "driver")
        for name, status in self.statuses(self._names()).items():
            found[f"{name} state"] = Setting(str(status.get("state", "")), "", Instant.now(), "instrument")
            found[f"{name} attributes"] = Setting(status.get("attr") or {}, "", Instant.now(), "instrument")
        return found

    def _ours(self, *, left_behind: bool) -> Statuses:
        return self.statuses(self._names() if left_behind else tuple(self._handlers))

    def _give_all_back(self, ours: Statuses) -> ReleaseReport:
        report = ReleaseReport()
        mine = {name: status for name, status in ours.items() if status.get("owner") == self.user}
        for name, status in mine.items():
            report += self._release(name, status)
        for name in [name for name in self._handlers if name not in mine]:
            del self._handlers[name]
            thief = ours[name].get("owner") if name in ours else None
            if thief:
                why = f"{name}: {thief} has taken it, our streams may still run there"
                report += ReleaseReport(failures=(why,))
        return report

    def held(self, port: str) -> dict[str, Any]:
        """Return the parameters by which the server knows that a port is ours; raises LockedByOther if it is not."""
        if port not in self._handlers:
            raise LockedByOther(f"port {port} is not held by us", where=self.address, advice="reserve() it first")
        return {"handler": self._handlers[port], "port_id": int(port), "profile_id": model.PROFILE}

    def statuses(self, ports: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Return what the server says of each port, in one exchange."""
        names = tuple(ports)
        calls: list[Call] = [
            ("get_port_status", {"port_id": int(name), "profile_id": "*", "block": False}) for name in names
        ]
        found = self.session.batch(calls) if calls else []
        if not all(isinstance(one, Mapping) for one in found):
            raise ProtocolError("the status of a port is no object", where=self.address)
        return dict(zip(names, found, strict=True))

    @staticmethod
    def transmits(status: Mapping[str, Any]) -> bool:
        """Return True for the status of a port that sends, or is about to."""
        return str(status.get("state", "")) not in _QUIET_STATES

    def stop_traffic(self, ports: Iterable[str]) -> None:
        """Stop the traffic of ports of ours; harmless where there is none."""
        names = [name for name in ports if name in self._handlers]
        sending = [name for name, status in self.statuses(names).items() if self.transmits(status)]
        if sending:
            self.session.batch([("stop_traffic", self.held(name)) for name in sending])

    def forget_streams(self, ports: Iterable[str]) -> None:
        """Remove all streams of ports of ours."""
        self.session.batch([("remove_all_streams", self.held(name)) for name in ports])

    def _acquire(self, port: str, *, force: bool) -> None:
        asked = {"user": self.user, "session_id": self._session_number, "force": force}
        handler = self.session.call("acquire", port_id=int(port), **asked)
        if not isinstance(handler, str):
            raise ProtocolError(f"the server gave no handler for port {port}", where=self.address)
        self._handlers[port] = handler

    def _give_back(self, port: str) -> None:
        self.session.call("release", **{key: value for key, value in self.held(port).items() if key != "profile_id"})
        del self._handlers[port]

    def _release(self, port: str, status: Mapping[str, Any]) -> ReleaseReport:
        actions: list[str] = []
        failures: list[str] = []

        def step(done: str, act: Callable[[], None], otherwise: str) -> None:
            try:
                act()
                actions.append(f"{port}: {done}")
            except AicalibError as error:
                failures.append(f"{port}: {otherwise}: {error.what}")

        if port not in self._handlers:
            step(
                "taken over from a session that ended",
                lambda: self._acquire(port, force=True),
                "not taken over, traffic may still be running",
            )
        if self.transmits(status):
            step("traffic stopped", lambda: self.stop_traffic([port]), "stopping failed, traffic may still be running")
        step("streams deleted", lambda: self.forget_streams([port]), "streams not deleted")
        step("released", lambda: self._give_back(port), "not released")
        return ReleaseReport(tuple(actions), tuple(failures))

    def _names(self) -> tuple[str, ...]:
        present = [str(port.get("index")) for port in self._system.get("ports") or []]
        missing = [name for name in self.place.ports if name not in present]
        if missing:
            raise UsageError(
                f"the server has no port {', '.join(missing)}", where=self.address, why=f"it has {', '.join(present)}"
            )
        return self.place.ports or tuple(present)
