"""What one simulated TRex server answers: its methods by name, its sessions and their events.

A method says of itself whether it needs the API handler, and whether it needs the port's. Tagged packet groups, pcap
files, captures, capture ports, neighbours and the stateful mode are not simulated; their methods are not registered.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from ..world import World
from ..world.faults import FaultPlan
from .port import Network, PathOptions, PortOptions, Stream
from .trex_port import DEFAULT, TrexPort, single
from .trex_rpc import IN_PROGRESS, NO_RESULTS, PARAMETERS, TRY_AGAIN, Params, Refused, refused
from .trex_statistics import XSTATS, ZEROS, flow_counts, latency_counts
from .trex_stream import MULTIPLIERS, parse_stream

API = ("STL", 5, 1)
_STALL = 10.0
"""Time after which a session that does not ask gets no more events, real s."""
_THIEF = "somebody-else"
_COMMON = frozenset(("get_version", "api_sync", "api_sync_v2", "ping"))
"""Methods without an API handler."""
_MOST_GROUPS = 1024


class Session:
    """The events that one client has not fetched yet."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.sequence = 0
        self.asked = time.monotonic()


class TrexServer:
    """The state of one server from its start on. identity: version, build and so on; delay: world s of port set-up.

    barrier: whether `publish_now` makes an event of its own (facts, section 5, step 2), or only wakes (as 3.08 does);
    bare: publish events themselves, as servers before 3.0 did, and not only that there are some.
    """

    def __init__(
        self,
        world: World,
        faults: FaultPlan,
        ports: list[PortOptions],
        path: PathOptions,
        *,
        identity: Mapping[str, str],
        hostname: str,
        cores: int,
        fcs: bool,
        barrier: bool,
        bare: bool,
        delay: float,
        driver: str,
        old: bool,
        held_by: str,
    ) -> None:
        self.world, self.faults = world, faults
        self.network = Network(world, faults, ports, path)
        self.ports = [
            TrexPort(number, model, fcs=fcs, publish=self._publish)
            for number, model in enumerate(self.network.ports.values())
        ]
        self._identity, self._hostname, self._cores, self._driver = dict(identity), hostname, cores, driver
        self._barrier, self._bare, self._delay, self._old = barrier, bare, delay, old
        self._handler = secrets.token_urlsafe(6)
        self._began = world.clock.now()
        self._sessions: dict[int, Session] = {}
        self._wakes: list[dict[str, Any]] = []
        self._versions: dict[int, int] = {}
        self._tickets: dict[int, tuple[float, Callable[[], Any]]] = {}
        self._busy: dict[int, float] = {}
        self._shown: dict[int, dict[str, Any]] = {}
        for port in self.ports if held_by else ():
            port.acquire(held_by, secrets.randbits(31), False)

    def call(self, method: str, params: Any) -> Any:
        """Carry out a method; raises Refused, or KeyError for one that there is not."""
        run = getattr(self, f"_do_{method}", None) if method.isidentifier() else None
        if run is None or (self._old and method == "api_sync_v2"):
            raise KeyError(method)
        asked = Params(params)
        if method not in _COMMON and asked.string("api_h") != self._handler:
            kind = "STL" if method in _STATELESS else "common"
            raise refused(f"API verification failed - API handler provided mismatch for class: '{kind}'")
        if self.faults.strikes("stolen") is not None:
            self._steal()
        if method in _OWNED:
            handler = asked.string("handler")
            self._port(asked).check_owner(handler)
        if not isinstance(params, dict):
            raise refused("JSON-RPC2 params should be object in TRex case ")
        for port in self.ports:
            port.tick()
        return run(asked)

    def idle(self) -> list[dict[str, Any]]:
        """Let the ports follow the time; return what is to be published."""
        for port in self.ports:
            port.tick()
        wakes, self._wakes = self._wakes, []
        return wakes

    def _steal(self) -> None:
        """Let somebody else take every port that is taken."""
        for port in self.ports:
            if port.owner is not None:
                port.acquire(_THIEF, secrets.randbits(31), True)

    def _publish(self, kind: int, data: Mapping[str, Any], name: str = "trex-event") -> None:
        event = {"name": name, "type": kind, "data": dict(data)}
        for session in self._sessions.values():
            if not session.events or time.monotonic() - session.asked < _STALL:
                session.events.append({**event, "seq": session.sequence})
                session.sequence += 1
        self._wakes.append(event if self._bare else {})

    def _port(self, asked: Params) -> TrexPort:
        number = asked.unsigned("port_id", "byte")
        if number >= len(self.ports):
            listed = "".join(f" {port.number}" for port in self.ports)
            raise refused(f"invalid port id - should be:{listed}")
        return self.ports[number]

    @staticmethod
    def _profile(asked: Params) -> str:
        return str(asked.value["profile_id"]) if asked.given("profile_id") else DEFAULT

    def _do_ping(self, _: Params) -> Any:
        return {"ts": self._now()}

    def _do_get_version(self, _: Params) -> Any:
        return {**self._identity, "mode": "STL"}

    def _do_api_sync(self, asked: Params) -> Any:
        listed = asked.array("api_vers")
        if len(listed) != 1:
            raise Refused(PARAMETERS, "'api_vers' should be a list of size 1")
        one = Params(listed[0])
        kind = one.choice("type", ("core",))
        return {"api_vers": [{"type": kind, "api_h": self._sync("STL", one.integer("major"), one.integer("minor"))}]}

    def _do_api_sync_v2(self, asked: Params) -> Any:
        return {"api_h": self._sync(asked.string("name"), asked.integer("major"), asked.integer("minor"))}

    def _sync(self, name: str, major: int, minor: int) -> str:
        ours, our_major, our_minor = API
        if name != ours:
            raise refused(
                f"RPC configuration mismatch - server RPC configuration: '{ours}', client RPC configuration: '{name}'"
            )
        text = ""
        if major < our_major:
            text = "RPC version mismatch: a newer client version is required"
        elif (major, minor) > (our_major, our_minor):
            text = "Version mismatch: your client version is too new to be supported by the server"
        if text:
            raise refused(
                f"{text}\n(API type '{ours}': - server: '{our_major}.{our_minor}', client: '{major}.{minor}')"
            )
        return self._handler

    def _do_get_supported_cmds(self, _: Params) -> Any:
        return sorted(name.removeprefix("_do_") for name in dir(self) if name.startswith("_do_"))

    def _do_get_async_events(self, asked: Params) -> Any:
        number = asked.unsigned("session_id")
        session = self._sessions.setdefault(number, Session())
        session.asked = time.monotonic()
        events, session.events = session.events, []
        return {"data": events}

    def _do_publish_now(self, asked: Params) -> Any:
        key = asked.unsigned("key")
        asked.flag("baseline")
        if self._barrier:
            self._publish(key, {}, "trex-barrier")
        else:
            self._wakes.append({})
        return {}

    def _do_get_async_results(self, asked: Params) -> Any:
        ticket = asked.unsigned("ticket_id", "uint64")
        if ticket not in self._tickets:
            raise Refused(NO_RESULTS)
        ready, result = self._tickets[ticket]
        if self.world.clock.now() < ready:
            raise Refused(IN_PROGRESS, str(ticket))
        del self._tickets[ticket]
        return result()

    def _do_cancel_async_task(self, asked: Params) -> Any:
        self._tickets.pop(asked.unsigned("ticket_id", "uint64"), None)
        return None

    def _do_get_system_info(self, _: Params) -> Any:
        return {
            "hostname": self._hostname,
            "uptime": f"{self._now() - self._began:.0f} seconds",
            "dp_core_count": self._cores,
            "dp_core_count_per_port": max(1, self._cores // max(1, len(self.ports) // 2)),
            "core_type": "simulated",
            "is_multiqueue_mode": True,
            "advanced_per_stream_stats": True,
            "port_count": len(self.ports),
            "ports": [self._port_info(port) for port in self.ports],
        }

    def _port_info(self, port: TrexPort) -> dict[str, Any]:
        options = port.model.options
        return {
            "index": port.number,
            "driver": self._driver,
            "description": "simulated port",
            "pci_addr": f"0000:{port.number:02x}:00.0",
            "numa": 0,
            "hw_mac": port.mac,
            "stack": "Legacy",
            "supp_speeds": [round(speed * 1000) for speed in options.speeds],
            "cores": list(range(self._cores)),
            "rx": {"caps": ["flow_stats", "latency", "rx_bytes"], "counters": _MOST_GROUPS},
            "is_fc_supported": True,
            "is_led_supported": True,
            "is_link_supported": True,
            "is_prom_supported": True,
            "is_vxlan_supported": False,
            "is_ieee1588_supported": False,
            "is_virtual": False,
        }

    def _do_get_owner(self, asked: Params) -> Any:
        owner = self._port(asked).owner
        return {"owner": owner.name if owner else "<FREE>"}

    def _do_get_port_status(self, asked: Params) -> Any:
        port = self._port(asked)
        if self.world.clock.now() < self._busy.get(port.number, 0.0):
            raise Refused(TRY_AGAIN)
        status: dict[str, Any] = {"owner": port.owner.name if port.owner else "", "state": port.state}
        if asked.given("profile_id"):
            name = self._profile(asked)
            states = {profile.name: profile.state for profile in port.chosen(name)}
            status["state_profile"] = states if name == "*" else states[name]
        inactive = {"is_active": False}
        return status | {
            "service": port.service,
            "service_filtered": port.filtered,
            "profile_count": len(port.profiles),
            "max_stream_id": max((number for one in port.profiles.values() for number in one.streams), default=0),
            "attr": port.attribute_status(),
            "rx_info": {
                "latency": {
                    "is_active": any(one.latency for p in port.profiles.values() for one in p.streams.values())
                },
                "queue": {"is_active": port.queue},
                "stack": {"is_active": True},
                "grat_arp": inactive,
                "capture_port": inactive,
                "capwap_proxy": inactive,
            },
        }

    def _do_get_port_stats(self, asked: Params) -> Any:
        port = self._port(asked)
        if self.faults.strikes("frozen") is not None and port.number in self._shown:
            return self._shown[port.number]
        self._shown[port.number] = port.statistics()
        return self._shown[port.number]

    def _do_get_port_xstats_names(self, asked: Params) -> Any:
        self._port(asked)
        return {"xstats_names": list(XSTATS)}

    def _do_get_port_xstats_values(self, asked: Params) -> Any:
        statistics = self._port(asked).statistics()
        return {"xstats_values": [statistics[field] for field in XSTATS.values()]}

    def _do_get_global_stats(self, _: Params) -> Any:
        listed = [port.statistics() for port in self.ports]

        def total(field: str) -> Any:
            return sum(one[field] for one in listed)

        return dict.fromkeys(ZEROS, 0) | {
            "m_cpu_util": max(one["m_cpu_util"] for one in listed),
            "m_cpu_util_raw": max(one["m_cpu_util"] for one in listed),
            "m_platform_factor": 1.0,
            "m_tx_bps": single(total("m_total_tx_bps")),
            "m_rx_bps": single(total("m_total_rx_bps")),
            "m_tx_pps": single(total("m_total_tx_pps")),
            "m_rx_pps": single(total("m_total_rx_pps")),
            "m_total_tx_pkts": total("opackets"),
            "m_total_rx_pkts": total("ipackets"),
            "m_total_tx_bytes": total("obytes"),
            "m_total_rx_bytes": total("ibytes"),
        }

    def _do_get_utilization(self, _: Params) -> Any:
        used = max(port.statistics()["m_cpu_util"] for port in self.ports)
        ports = [port.number for port in self.ports[:2]]
        return {"cpu": [{"history": [round(used)], "ports": ports} for _ in range(self._cores)], "mbuf_stats": {}}

    def _do_acquire(self, asked: Params) -> Any:
        port = self._port(asked)
        user, force, session = asked.string("user"), asked.flag("force"), asked.unsigned("session_id")
        if self.faults.strikes("locked") is not None and port.owner is None:
            port.acquire(_THIEF, secrets.randbits(31), False)
        if force and port.owner is not None and self.faults.strikes("force_refused") is not None:
            force = False
        handler = port.acquire(user, session, force)
        self._sessions.setdefault(session, Session())
        return handler

    def _do_release(self, asked: Params) -> Any:
        self._port(asked).release()
        return {}

    def _do_shutdown(self, asked: Params) -> Any:
        user, force = asked.string("user"), asked.flag("force")
        for port in self.ports:
            if port.owner is not None and port.owner.name != user and not force:
                taken = f"port {port.number} is owned by '{port.owner.name}'"
                raise refused(f"{taken} - specify 'force' for override")
        raise refused("a shutdown is not simulated")

    def _do_set_port_attr(self, asked: Params) -> Any:
        port = self._port(asked)
        attributes = asked.object("attr")
        for name in attributes.value:
            values = attributes.object(name) if name != "vxlan_fs" else attributes
            if name in ("promiscuous", "multicast"):
                port.attributes[name] = values.flag("enabled")
            elif name == "link_status":
                port.model.set_link(values.flag("up"))
            elif name == "led_status":
                port.attributes["led"] = values.flag("on")
            elif name == "flow_ctrl_mode":
                port.attributes["fc"] = values.integer("mode")
            elif name == "vxlan_fs":
                raise refused("Error applying vxlan_fs: operation is not supported for this NIC.")
            else:
                raise refused(f"unknown attribute type: '{name}'")
        return {}

    def _do_set_l2(self, asked: Params) -> Any:
        port, mac = self._port(asked), asked.string("dst_mac")
        if len(mac.split(":")) != 6:
            raise Refused(PARAMETERS, f"'invalid MAC address: '{mac}'")

        def done() -> Any:
            port.layer["dst"], port.ipv4 = mac, None
            return {}

        return self._configured(port, done)

    def _do_set_l3(self, asked: Params) -> Any:
        port = self._port(asked)
        source, destination = asked.string("src_addr"), asked.string("dst_addr")

        def done() -> Any:
            port.ipv4 = (source, destination)
            return {}

        return self._configured(port, done)

    def _do_set_vlan(self, asked: Params) -> Any:
        port, tags = self._port(asked), asked.array("vlan")
        if len(tags) > 2:
            raise Refused(PARAMETERS, f"Maximal number of stacked VLANs is 2, got: {len(tags)}")
        for tag in tags:
            if not isinstance(tag, int) or not 0 < tag <= 4095:
                raise Refused(PARAMETERS, f"invalid VLAN tag: '{tag}'")

        def done() -> Any:
            port.tags = list(tags)
            return {}

        return self._configured(port, done)

    def _configured(self, port: TrexPort, done: Callable[[], Any]) -> Any:
        """Change a port's set-up now, or give a ticket for it where that takes time."""
        now = self.world.clock.now()
        if now < self._busy.get(port.number, 0.0):
            raise refused("Interface is in the middle of configuration")
        if self._delay <= 0:
            return done()
        ticket = secrets.randbits(31)
        self._busy[port.number] = now + self._delay
        self._tickets[ticket] = (now + self._delay, done)
        raise Refused(IN_PROGRESS, str(ticket))

    def _do_set_rx_feature(self, asked: Params) -> Any:
        port = self._port(asked)
        kind = asked.choice("type", ("queue", "server", "capwap_proxy"))
        if kind == "server":
            return {}
        enabled = asked.flag("enabled")
        if kind == "capwap_proxy" and enabled:
            raise refused("a CAPWAP proxy is not simulated")
        if kind == "queue":
            if enabled and not port.service:
                raise refused("setting RX queue is only available under service mode")
            if enabled and asked.unsigned("size") == 0:
                raise Refused(PARAMETERS, "queue size cannot be zero")
            port.queue = enabled
        return {}

    def _do_get_rx_queue_pkts(self, asked: Params) -> Any:
        if not self._port(asked).service:
            raise refused("fetching RX queue packets is only available under service mode")
        return {"pkts": []}

    def _do_capture(self, asked: Params) -> Any:
        if asked.choice("command", ("start", "stop", "fetch", "status", "remove")) != "status":
            raise refused("captures are not simulated")
        return []

    def _do_get_tpg_status(self, asked: Params) -> Any:
        named, numbered = bool(asked.string("username", "")), asked.given("port_id")
        if named == numbered:
            which = "only one" if named else "at least one"
            raise refused(f"Should provide {which} between port_id and username to get TPG status")
        data = {"username": "-", "acquired_ports": [], "rx_ports": [], "num_tpgids": 0, "num_tags": 0}
        return {"enabled": False, "data": data}

    def _do_service(self, asked: Params) -> Any:
        port = self._port(asked)
        enabled, filtered = asked.flag("enabled"), asked.flag("filtered", False)
        if not enabled and port.queue:
            raise refused("unable to disable service mode - please remove RX queue")
        port.service, port.filtered = enabled, filtered
        return {}

    def _do_remove_rx_filters(self, asked: Params) -> Any:
        for profile in self._port(asked).chosen(self._profile(asked)):
            profile.need(("STREAMS",), "remove_rx_filters")
        return {}

    def _do_get_profile_list(self, asked: Params) -> Any:
        return sorted(self._port(asked).profiles)

    def _do_get_stream_list(self, asked: Params) -> Any:
        port, name = self._port(asked), self._profile(asked)
        if name == "*":
            return {profile.name: sorted(profile.streams) for profile in port.profiles.values()}
        return sorted(port.profile(name).streams)

    def _do_get_all_streams(self, asked: Params) -> Any:
        port, name = self._port(asked), self._profile(asked)
        found = {
            profile.name: {str(number): stream.text for number, stream in profile.streams.items()}
            for profile in (port.chosen(name) if name == "*" or name in port.profiles else [])
        }
        return {"profiles": found} if name == "*" else {"streams": found.get(name, {})}

    def _do_get_stream(self, asked: Params) -> Any:
        port, name = self._port(asked), self._profile(asked)
        whole, number = asked.flag("get_pkt"), asked.unsigned("stream_id")
        streams = port.profile(name).streams
        if number not in streams:
            raise refused(f"stream id {number}, profile id {name} on port {port.number} does not exists")
        text = {key: value for key, value in streams[number].text.items() if whole or key != "packet"}
        return {"stream": text}

    def _do_add_stream(self, asked: Params) -> Any:
        port = self._port(asked)
        number = asked.unsigned("stream_id")
        port.add(self._profile(asked), parse_stream(number, asked.object("stream"), port.model, self._cores))
        return {}

    def _do_remove_stream(self, asked: Params) -> Any:
        self._port(asked).remove(self._profile(asked), asked.unsigned("stream_id"))
        return {}

    def _do_remove_all_streams(self, asked: Params) -> Any:
        self._port(asked).remove(self._profile(asked), None)
        return {}

    def _do_validate(self, asked: Params) -> Any:
        port = self._port(asked)
        streams = [one for one in port.profile(self._profile(asked)).streams.values() if one.enabled]
        if not streams:
            raise refused("no streams attached to port")
        one = Fraction(1)
        on_line = float(sum((stream.bits(one, port.model.gap) for stream in streams), Fraction(0)))
        rate: dict[str, float] = {}
        for name, value in (
            ("bps_l2", float(sum((stream.bits(one, 0) for stream in streams), Fraction(0)))),
            ("bps_l1", on_line),
            ("pps", float(sum((stream.rate for stream in streams), Fraction(0)))),
            ("line_util", on_line / float(port.model.line_rate) * 100.01),
        ):
            rate[f"max_{name}"] = rate[f"min_{name}"] = value
        return {"rate": rate, "graph": {"expected_duration": 0.0, "events_count": 0, "events": []}}

    def _do_start_traffic(self, asked: Params) -> Any:
        port = self._port(asked)
        duration, force = asked.number("duration"), asked.flag("force")
        mask = asked.unsigned("core_mask", "uint64", (1 << 64) - 1)
        at = asked.number("start_at_ts", 0.0)
        if not mask & ((1 << self._cores) - 1):
            raise Refused(PARAMETERS, f"core_mask: '0x{mask:x}' for {self._cores:x} cores generates an empty set")
        multiplier = asked.object("mul")
        kind, operation = multiplier.choice("type", MULTIPLIERS), multiplier.string("op")
        value = multiplier.number("value", positive=True)
        if value == 0:
            raise Refused(PARAMETERS, "multiplier can't be zero")
        if operation != "abs":
            raise Refused(PARAMETERS, "start message can only specify absolute speed rate")
        if at:
            raise refused("start_at_ts is not simulated")
        if self.world.clock.now() < self._busy.get(port.number, 0.0):
            raise refused("Interface is in the middle of configuration")
        wrap = self.faults.strikes("counter_wrap")
        if wrap is not None:
            for one in self.ports:
                one.model.preset(int(wrap.amount))
        name = self._profile(asked)
        now = self._now()
        port.start(name, kind, value, duration, force)
        for stream in port.profiles[name].streams.values():
            if stream.group is not None:
                self._versions.setdefault(stream.group, len(self._versions))
        return {"multiplier": float(port.profiles[name].factor), "ts": now}

    def _do_stop_traffic(self, asked: Params) -> Any:
        self._port(asked).stop(self._profile(asked))
        return {}

    def _do_pause_traffic(self, asked: Params) -> Any:
        self._port(asked).pause(self._profile(asked))
        return {}

    def _do_resume_traffic(self, asked: Params) -> Any:
        self._port(asked).resume(self._profile(asked))
        return {}

    def _do_update_traffic(self, asked: Params) -> Any:
        port, force, multiplier = self._port(asked), asked.flag("force"), asked.object("mul")
        kind, operation = multiplier.choice("type", MULTIPLIERS), multiplier.choice("op", ("abs", "add", "sub"))
        factor = port.update(self._profile(asked), kind, operation, multiplier.number("value"), force)
        return {"multiplier": float(factor)}

    def _groups(self, wanted: list[int] | None = None) -> dict[int, list[tuple[TrexPort, Stream, bool]]]:
        """Return the running or past streams of each packet group."""
        found: dict[int, list[tuple[TrexPort, Stream, bool]]] = {}
        for port in self.ports:
            for profile in port.profiles.values():
                for number, stream in profile.running.items():
                    settings = profile.streams.get(number)
                    if settings is not None and settings.group is not None and (not wanted or settings.group in wanted):
                        found.setdefault(settings.group, []).append((port, stream, settings.latency))
        return found

    def _do_get_active_pgids(self, _: Params) -> Any:
        groups = self._groups()
        latency = sorted(group for group, streams in groups.items() if streams[0][2])
        return {"ids": {"flow_stats": sorted(set(groups) - set(latency)), "latency": latency}}

    def _do_get_pgid_stats(self, asked: Params) -> Any:
        wanted = asked.array("pgids")
        if len(wanted) > _MOST_GROUPS:
            raise refused(f"Asking information for too many packet group IDs. Max allowed is {_MOST_GROUPS}")
        flows: dict[str, Any] = {}
        latency: dict[str, Any] = {"g": {"old_flow": 0, "bad_hdr": 0}}
        versions: dict[str, int] = {}
        for group, streams in sorted(self._groups(wanted).items()):
            versions[str(group)] = self._versions.get(group, 0)
            flows[str(group)] = flow_counts(streams, len(self.ports))
            measured = [stream for _, stream, timed in streams if timed]
            if measured:
                latency[str(group)] = latency_counts(measured)
        return {"flow_stats": flows, "latency": latency, "ver_id": versions}

    def _now(self) -> float:
        return self.ports[0].model.time()


_STATELESS = frozenset(
    name
    for words in (
        "acquire release get_active_pgids get_pgid_stats get_profile_list get_stream_list get_all_streams get_stream",
        "add_stream remove_stream remove_all_streams start_traffic stop_traffic pause_traffic resume_traffic",
        "update_traffic validate remove_rx_filters service get_tpg_status",
    )
    for name in words.split()
)
_OWNED = frozenset(
    name
    for words in (
        "release add_stream remove_stream remove_all_streams start_traffic stop_traffic pause_traffic",
        "resume_traffic update_traffic validate remove_rx_filters service",
    )
    for name in words.split()
)
"""Methods that need the handler of the port."""
