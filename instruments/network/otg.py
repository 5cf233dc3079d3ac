"""Open Traffic Generator: any traffic tester that speaks the OTG model 1.x over HTTP or HTTPS.

Source: Open Traffic Generator API model 1.60 and 1.62 (openapi of the models repository). Keysight's controllers
(KENG, ixia-c) speak it for their hardware and software ports. Not covered: gRPC, gNMI, emulated devices, captures,
mixed frame sizes. Not stated by the model and therefore part of the address: whether bytes hold the FCS (`fcs`), how
well the ports' clock is known (`clock_ppm`), how well a gate is kept (`jitter_us`): many a controller is a program.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aicalib_hw.errors import (
    AicalibError,
    IdentityMismatch,
    InstrumentReportedError,
    LicenceMissing,
    LinkDown,
    LockedByOther,
    OutOfRange,
    ProtocolError,
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
from aicalib_hw.transport.http import JsonLink

from . import _otg_model as model
from ._otg_address import place_of
from ._otg_reservation import OtgReservation
from ._traffic_tester import TrafficTester

_CONFIGURING = 6.0
"""Factor on the time-out of an exchange for pushing a configuration, which connects ports."""

_MARK = "aicalib "


class OpenTrafficGenerator(TrafficTester[str | None]):
    """One controller and the ports it is given.

    address: otg+https://HOST:PORT?port=NAME@LOCATION&port=…&speed=800&fcs=yes&clock_ppm=100&jitter_us=1&certificate=FILE,
    or otg+http for a controller without TLS. port: name and location of each port, as the controller knows it. speed:
    Gbit/s, left out = as it is. fcs: whether the controller's byte counters hold the FCS, left out = unknown.
    clock_ppm: limits of error of the ports' clock, from data sheet or certificate; 100 by default, the tolerance of
    Ethernet. jitter_us: limits of error of start and stop of a gate together; left out = by how much its length differs
    from the receiver's time stamps, and 1000 where there are none, an assumption as for any program. certificate: what
    the controller's certificate is verified with. timeout: s for one exchange.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="otg",
        role="network_tester",
        summary="traffic testers that speak the Open Traffic Generator model 1.x",
        manual="Open Traffic Generator API model 1.60 and 1.62",
        schemes=("otg+https", "otg+http"),
        wires=("HTTPS", "HTTP"),
        simulator="otg",
    )

    def __init__(self, address: str, *, timeout: float = 10.0, trace: Trace | None = None) -> None:
        self.place = place_of(address)
        self.link = JsonLink(self.place.base, timeout=timeout, certificate=self.place.certificate, trace=trace)
        super().__init__(address, self.link, timeout=timeout)
        self.flows: tuple[str, ...] = ()
        self.owned = False

    @property
    def mark(self) -> str:
        """What names this host as the owner of a configuration."""
        return f"{_MARK}{platform.node()}"

    def identify(self) -> Identity:
        """Ask for the versions; raises IdentityMismatch for another model than 1.x."""
        said = self.ask("GET", "/capabilities/version")
        api, app = (str(said.get(name, "")) for name in ("api_spec_version", "app_version"))
        if not api.startswith("1."):
            raise IdentityMismatch(
                f"the controller speaks model {api or 'unknown'}, and this driver model 1.x",
                where=self.address,
                advice="bring the controller up to date",
            )
        return Identity("Open Traffic Generator", "OTG", "", app, self.address, {"version": app, "api": api})

    @property
    def capabilities(self) -> NetworkTesterCapabilities:
        """What the model offers; what a controller lacks shows as None in its counters. bit/s, bytes with FCS."""
        return NetworkTesterCapabilities(
            native_layer="L2-fcs",
            max_rate=self.place.speed,
            min_frame_size=64,
            max_frame_size=14_000,
            counters_include_fcs=self.place.fcs,
            latency_modes=model.LATENCY_MODES,
            gates=("seconds", "packets"),
            ownership=True,
            force_ownership=True,
            per_stream_counters=True,
            loss=True,
        )

    def ports(self) -> tuple[PortInfo, ...]:
        """List the ports of the address with link, speed and owner, as of now."""
        metrics = {one.get("name"): one for one in self.metrics("port")} if self._configured() else {}
        owner = self._owner()
        found = []
        for name in self.place.ports:
            entry = metrics.get(name, {})
            kilobytes = model.integer(entry, "speed")
            link = entry.get("link")
            found.append(
                PortInfo(
                    name,
                    self.place.speed if kilobytes is None else kilobytes * 8e3,
                    None if link is None else link == "up",
                    owner=owner,
                    owned_by_us=owner == self.mark,
                    clock_tolerance=self.place.clock,
                )
            )
        return tuple(found)

    def reserve(self, ports: Sequence[str], *, owner: str, force: bool = False) -> OtgReservation:
        """Take the ports by a configuration of ours; raises LockedByOther naming whose is there, OutOfRange.

        owner: whom the audit names. With `force` a configuration of others is replaced, and told in `evicted`.
        """
        for port in ports:
            if port not in self.place.ports:
                raise OutOfRange(f"there is no port {port!r}", where=self.address, why=", ".join(self.place.ports))
        with self._lock:
            present = self._owner()
            evicted: dict[str, str] = {}
            if present is not None and present != self.mark:
                if not force:
                    raise LockedByOther(
                        f"the ports carry a configuration of {present}",
                        where=self.address,
                        advice="let them release it, or reserve with force=True, which is recorded",
                    )
                evicted = dict.fromkeys(ports, present)
            chosen = {name: self.place.ports[name] for name in ports}
            self.owned = True
            self.push(model.config(chosen, self.place.speed, [], self.mark, force=force))
        return OtgReservation(self, chosen, owner, evicted, force)

    def snapshot(self) -> Mapping[str, Setting]:
        """Read the configuration in force, and what the address sets."""
        now = Instant.now()
        found = {"configuration": Setting(self.ask("GET", "/config") or {}, "", now, "instrument")}
        for name, unit in (("speed", "bit/s"), ("fcs", ""), ("clock", "1"), ("jitter", "s")):
            found[name] = Setting(getattr(self.place, name), unit, now, "driver")
        return found

    def _ours(self, *, left_behind: bool) -> str | None:
        return self._owner() if left_behind or self.owned else None

    def _give_all_back(self, ours: str | None) -> ReleaseReport:
        if ours is not None and ours != self.mark:
            return self._left_to(ours)
        if ours is None and not self.owned:
            return ReleaseReport()
        actions: list[str] = []
        failures: list[str] = []
        try:
            known, held = self.flows, self._flows()
            self.stop_flows(held)
            actions.append("traffic stopped")
            if known and (added := [name for name in held if name not in known]):
                actions.append(f"flows that somebody added to our configuration end with it: {', '.join(added)}")
        except AicalibError as error:
            failures.append(f"traffic stopped failed, traffic may still be running: {error.what}")
        try:
            # Asked anew: it may have been replaced since, and what is pushed empties whatever is there.
            if (present := self._owner()) not in (None, self.mark):
                return self._left_to(str(present))
            self.push({})
            actions.append("ports given back")
        except AicalibError as error:
            failures.append(f"ports given back failed, traffic may still be running: {error.what}")
        self.owned = bool(failures)
        return ReleaseReport(tuple(actions), tuple(failures))

    def _left_to(self, others: str) -> ReleaseReport:
        """Their configuration has replaced ours whole: what would be stopped and emptied now is theirs."""
        lost, self.owned = self.owned, False
        return ReleaseReport((f"left to {others}, whose configuration replaced ours",) if lost else ())

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Exchange JSON; raises LicenceMissing, LockedByOther, LinkDown, InstrumentReportedError, as JsonLink.send."""
        try:
            said = self.link.send(method, path, body, timeout=timeout)
        except InstrumentReportedError as error:
            raise _refusal(error, self.address) from error
        if said is not None and not isinstance(said, dict):
            raise ProtocolError(f"the reply to {method} {path} is no object", where=self.address, why=repr(said)[:80])
        return said or {}

    def push(self, config: Mapping[str, Any]) -> None:
        """Push a whole configuration."""
        self.ask("POST", "/config", config, timeout=_CONFIGURING * self.link.timeout)

    def stop_flows(self, names: Sequence[str]) -> None:
        """Stop flows of our configuration by name, all of it where the controller stops none by name.

        Raises LockedByOther where the configuration is somebody else's by now: what it sends is not ours to stop.
        """
        present = self._owner()
        if present is not None and present != self.mark:
            raise LockedByOther(
                f"the ports carry a configuration of {present}", where=self.address, why="it has replaced ours"
            )
        if not names or present is None:
            return
        try:
            self.transmit("stop", names)
        except InstrumentReportedError:
            # Some older controllers take no names; all flows are those of the configuration, which is ours.
            self.transmit("stop")

    def transmit(self, state: str, flows: Sequence[str] = ()) -> None:
        """Start or stop flows, () = all; starting clears the counters."""
        flow_transmit = {"state": state, "flow_names": list(flows)}
        traffic = {"choice": "flow_transmit", "flow_transmit": flow_transmit}
        self.ask("POST", "/control/state", {"choice": "traffic", "traffic": traffic})

    def metrics(self, kind: str) -> list[dict[str, Any]]:
        """Return the metrics of every port ("port") or flow ("flow")."""
        said = self.ask("POST", "/monitor/metrics", {"choice": kind, kind: {}})
        found = said.get(f"{kind}_metrics", [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ProtocolError(f"{kind} metrics are no list of objects", where=self.address)
        return found

    def _flows(self) -> list[str]:
        return [str(one.get("name", "")) for one in self.ask("GET", "/config").get("flows") or []]

    def _configured(self) -> bool:
        return bool((self.ask("GET", "/config")).get("ports"))

    def _owner(self) -> str | None:
        """Whose configuration is there: our mark, others in words, None if there is none."""
        config = self.ask("GET", "/config")
        if not config.get("ports"):
            return None
        names = [str(one.get("name", "")) for one in config.get("layer1") or []]
        marks = [name for name in names if name.startswith(_MARK)]
        return marks[0] if marks else f"somebody ({', '.join(names) or 'no layer 1 named'})"


def _refusal(error: InstrumentReportedError, where: str) -> AicalibError:
    """A refusal of the controller by what its words speak of; the error itself where they speak of nothing known."""
    words = error.text.lower()
    if "licen" in words:
        return LicenceMissing("the controller lacks a licence", where=where, why=error.text)
    if any(word in words for word in ("owned by", "in use", "ownership", "already taken", "reserved by")):
        return LockedByOther(
            "a port belongs to somebody else",
            where=where,
            why=error.text,
            advice="ask them, or reserve with force=True",
        )
    if "link" in words and "down" in words:
        return LinkDown("a port has no link", where=where, why=error.text)
    return error
