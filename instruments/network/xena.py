"""Teledyne LeCroy Xena traffic testers (Valkyrie, Odin, Loki, Thor, Freya, Edun) over their command line, port 22611.

Source: XOA CLI documentation, command reference and "concurrent sessions". All of its counts are of layer 2, whole
frames with FCS. Not covered: filters, modifiers, histograms, advanced timing, impairment, Layer 4-7 chassis.
P_TXTIME, the time elapsed, is kept as evidence. Unconfirmed and therefore not relied on: whether reservations end with
the session (traffic may go on, so our streams carry a mark), and whether P_TXTIME stands still after the last packet of
a limited stream (so there is no gate of packets).
"""

from __future__ import annotations

import platform
import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

from aicalib_hw.errors import Aborted, AicalibError, DeadlineExceeded, LockedByOther, OutOfRange, UsageError
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
from aicalib_hw.transport.deadline import Deadline

from ._traffic_tester import TrafficTester
from ._xena_address import place_of
from ._xena_reservation import XenaReservation
from ._xena_session import PORT, XenaSession

LATENCY_MODES = ("LAST2LAST", "FIRST2LAST", "LAST2FIRST", "FIRST2FIRST")
_RELINQUISHED_WITHIN = 63.0
"""s that the maker's own script waits for a port to be given up."""

Held = tuple[list[PortInfo], list[PortInfo]]
"""The ports that are ours, and those that were and that somebody has taken."""

_SNAPSHOT = (("P_SPEED", ""), ("P_INTERFRAMEGAP", "B"), ("P_LATENCYMODE", ""), ("P_TRAFFIC", ""))


class Xena(TrafficTester[Held]):
    """One chassis.

    address: xena://HOST:PORT?ports=0/0,0/1&clock_ppm=100&password=…; ports: those that may be used, left out = all.
    clock_ppm: limits of error of the ports' clock, from data sheet or certificate; 100 by default, the tolerance of
    Ethernet. password: of the chassis, left out = the one it is delivered with. timeout: s for one exchange.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="xena",
        role="network_tester",
        summary="Teledyne LeCroy Xena traffic testers",
        manual="XOA CLI documentation",
        schemes=("xena",),
        wires=("TCP",),
        simulator="xena",
    )

    PORT = PORT

    def __init__(self, address: str, *, timeout: float = 5.0, trace: Trace | None = None) -> None:
        place = place_of(address)
        self._chosen, self.clock, self._shown = place.ports, place.clock, place.shown
        if trace is not None and place.password:
            trace.hide(place.password)
        # At most 8 letters, the same on every run on this host, so that what a dead process left is known as ours.
        owner = f"aic{zlib.crc32(platform.node().encode()) & 0xFFFF:04x}"
        self.session = XenaSession(
            place.host, place.port, password=place.password or "xena", owner=owner, timeout=timeout, trace=trace
        )
        super().__init__(address, self.session, timeout=timeout)
        self._taken: set[str] = set()
        self._latency_modes: dict[str, str] = {}

    def identify(self) -> Identity:
        """Ask the chassis for model, serial number and version."""
        answers = self.session.ask("C_MODEL ?", "C_SERIALNO ?", "C_VERSIONSTR ?", "C_BUILDSTRING ?")
        model, serial, version, build = (" ".join(answer.values).strip('"') for answer in answers)
        return Identity("Teledyne LeCroy Xena", model, serial, version, self._shown, {"build": build})

    @property
    def capabilities(self) -> NetworkTesterCapabilities:
        """What a chassis of this kind does; bit/s, bytes with FCS, s."""
        return NetworkTesterCapabilities(
            native_layer="L2-fcs",
            min_frame_size=64,
            max_frame_size=16_383,
            counters_include_fcs=True,
            hardware_timestamps=True,
            latency_modes=LATENCY_MODES,
            gates=("seconds",),
            ownership=True,
            force_ownership=True,
            per_stream_counters=True,
            loss=True,
        )

    def ports(self) -> tuple[PortInfo, ...]:
        """List the ports with speed (bit/s), link and owner, as of now."""
        found = []
        for name in self._names():
            speed, sync, state, owner = self.session.ask(
                f"{name} P_SPEED ?", f"{name} P_RECEIVESYNC ?", f"{name} P_RESERVATION ?", f"{name} P_RESERVEDBY ?"
            )
            held = "".join(state.values).upper()
            found.append(
                PortInfo(
                    name,
                    speed.numbers[0] * 1e6,
                    "".join(sync.values).upper() == "IN_SYNC",
                    owner=None if held == "RELEASED" else " ".join(owner.values).strip('"') or "unknown",
                    owned_by_us=held == "RESERVED_BY_YOU",
                    clock_tolerance=self.clock,
                )
            )
        return tuple(found)

    def reserve(self, ports: Sequence[str], *, owner: str, force: bool = False) -> XenaReservation:
        """Reserve ports; raises LockedByOther naming who has them unless `force`, which is told in `evicted`."""
        self.stopping.clear()
        known = {port.port: port for port in self.ports()}
        for name in ports:
            if name not in known:
                raise OutOfRange(f"there is no port {name!r}", where=self.address, why=", ".join(known))
        evicted: dict[str, str] = {}
        for name in ports:
            holder = known[name].owner
            if holder is None or known[name].owned_by_us:
                continue
            if not force and holder != self.session.owner:
                raise LockedByOther(
                    f"port {name} is reserved by {holder}",
                    where=self.address,
                    advice="let them release it, or reserve with force=True, which is recorded",
                )
            evicted |= {name: holder} if holder != self.session.owner else {}
            self._take_away(name, unless=self.stopping)
        taken: list[str] = []
        try:
            for name in ports:
                if not known[name].owned_by_us:
                    self.session.command(f"{name} P_RESERVATION RESERVE")
                taken.append(name)
        except AicalibError:
            for name in taken:
                self.session.command(f"{name} P_RESERVATION RELEASE")
            raise
        self._taken |= set(ports)
        return XenaReservation(self, tuple(ports), owner, evicted)

    def snapshot(self) -> Mapping[str, Setting]:
        """Read speed, gap, latency mode and traffic of every port."""
        now = Instant.now()
        found: dict[str, Setting] = {"clock": Setting(self.clock, "1", now, "driver")}
        for name in self._names():
            for parameter, unit in _SNAPSHOT:
                (answer,) = self.session.ask(f"{name} {parameter} ?")
                found[f"{name} {parameter}"] = Setting(" ".join(answer.values), unit, Instant.now(), "instrument")
        return found

    def set_latency_mode(self, port: str, mode: str) -> None:
        """Set the latency mode of a port of ours; what it was is set again when the port is given back."""
        if port not in self._latency_modes:
            (present,) = self.session.ask(f"{port} P_LATENCYMODE ?")
            self._latency_modes[port] = "".join(present.values)
        self.session.command(f"{port} P_LATENCYMODE {mode}")

    def _ours(self, *, left_behind: bool) -> Held:
        if not (left_behind or self._taken):
            return [], []
        ports = self.ports()
        mine = [
            port
            for port in ports
            if (left_behind or port.port in self._taken)
            and (port.owner == self.session.owner or self._left_running(port))
        ]
        return mine, [port for port in ports if port.port in self._taken and port.owner and port not in mine]

    def _give_all_back(self, ours: Held) -> ReleaseReport:
        mine, lost = ours
        report = ReleaseReport()
        kept: set[str] = set()
        for port in mine:
            done = self._release(port)
            report += done
            if not done:
                kept.add(port.port)
        report += ReleaseReport(
            failures=tuple(f"{port.port}: {port.owner} has taken it, our streams may still run there" for port in lost)
        )
        # Of a port that went to others nothing is ours any more, nor is the mode that it once had theirs.
        self._taken &= kept
        self._latency_modes = {port: mode for port, mode in self._latency_modes.items() if port in self._taken}
        return report

    def take_again(self, ports: Sequence[str]) -> None:
        """Reserve ports whose reservation ended with a broken session; raises LockedByOther naming who has one now."""
        for port in self.ports():
            if port.port not in ports or port.owned_by_us:
                continue
            if port.owner not in (None, self.session.owner):
                raise LockedByOther(f"port {port.port} is reserved by {port.owner}", where=self.address)
            if port.owner is not None:
                self._take_away(port.port)
            self.session.command(f"{port.port} P_RESERVATION RESERVE")

    def streams_of(self, port: str) -> list[int]:
        """Return the indices of the streams that are defined on a port."""
        return self.session.ask(f"{port} PS_INDICES ?")[0].numbers

    def _release(self, port: PortInfo) -> ReleaseReport:
        name = port.port
        actions: list[str] = []
        failures: list[str] = []
        try:
            if not port.owned_by_us:
                if port.owner is not None:
                    self._take_away(name)
                self.session.command(f"{name} P_RESERVATION RESERVE")
                actions.append(f"{name}: taken over from a session that ended")
            (traffic,) = self.session.ask(f"{name} P_TRAFFIC ?")
            if traffic.values != ["OFF"]:
                self.session.command(f"{name} P_TRAFFIC OFF")
                actions.append(f"{name}: traffic stopped")
        except AicalibError as error:
            failures.append(f"{name}: stopping failed, traffic may still be running: {error.what}")
        steps = (
            ("streams deleted", self._delete_streams),
            ("time limit taken off", self._take_off_limit),
            ("latency mode set back", self._set_latency_mode_back),
            ("released", self._give_back),
        )
        for done, step in steps:
            try:
                if step(name):
                    actions.append(f"{name}: {done}")
            except AicalibError as error:
                failures.append(f"{name}: not {done}: {error.what}")
        return ReleaseReport(tuple(actions), tuple(failures))

    def _left_running(self, port: PortInfo) -> bool:
        """True for a port that nobody holds any more and that still sends a stream of this host's."""
        if port.owner is not None or self.session.ask(f"{port.port} P_TRAFFIC ?")[0].values == ["OFF"]:
            return False
        comments = (self.session.ask(f"{port.port} PS_COMMENT [{i}] ?")[0] for i in self.streams_of(port.port))
        return any(" ".join(one.values).strip('"') == self.session.owner for one in comments)

    def _delete_streams(self, port: str) -> bool:
        indices = self.streams_of(port)
        for index in indices:
            self.session.command(f"{port} PS_DELETE [{index}]")
        return bool(indices)

    def _take_off_limit(self, port: str) -> bool:
        """Let the port send without end again: a limit of ours would end the traffic of whoever has it next."""
        (limit,) = self.session.ask(f"{port} P_TXTIMELIMIT ?")
        if limit.numbers[0]:
            self.session.command(f"{port} P_TXTIMELIMIT 0")
        return bool(limit.numbers[0])

    def _set_latency_mode_back(self, port: str) -> bool:
        former = self._latency_modes.get(port)
        if former is None:
            return False
        self.session.command(f"{port} P_LATENCYMODE {former}")
        del self._latency_modes[port]
        return True

    def _give_back(self, port: str) -> bool:
        self.session.command(f"{port} P_RESERVATION RELEASE")
        return True

    def _take_away(self, port: str, unless: threading.Event | None = None) -> None:
        """Take a port from its owner and wait until it is given up; raises DeadlineExceeded, Aborted by `unless`."""
        self.session.command(f"{port} P_RESERVATION RELINQUISH")
        deadline = Deadline(_RELINQUISHED_WITHIN)
        while "".join(self.session.ask(f"{port} P_RESERVATION ?")[0].values).upper() != "RELEASED":
            if (unless or threading.Event()).wait(0.1):
                raise Aborted(f"the wait for port {port} was aborted", where=self.address)
            if deadline.expired:
                raise DeadlineExceeded(
                    f"port {port} was not given up within {_RELINQUISHED_WITHIN:g} s", where=self.address
                )

    def _names(self) -> tuple[str, ...]:
        (counts,) = self.session.ask("C_PORTCOUNTS ?")
        present = [f"{module}/{port}" for module, count in enumerate(counts.numbers) for port in range(count)]
        missing = [name for name in self._chosen if name not in present]
        if missing:
            raise UsageError(
                f"the chassis has no port {', '.join(missing)}", where=self.address, why=f"it has {', '.join(present)}"
            )
        return self._chosen or tuple(present)
