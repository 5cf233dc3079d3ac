"""Simulated Open Traffic Generator controller with ports of its own, over HTTP or HTTPS.

From the public model 1.62 and what its client snappi needs of a server (network.md sections 3.2 to 3.5). One controller
has no sessions: a configuration stays until somebody, anybody, replaces it; an empty one gives all ports back.

Not simulated, and answered with an Error of code 501: devices, groups, captures, protocols, random sizes, bursts and
delays, several receivers of a flow, changing a flow that transmits, appending and deleting, actions.

Assumed, as the model leaves it open: a configuration replaced in mid-run stops the run; start clears the counters of
all ports and flows; time stamps count from the start of the tester; sizes include the FCS; rates are of the last whole
second; the texts of errors, and that refused input is 400, what the tester cannot do now 500.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..servers.http import HttpServer
from ..world import World
from ..world.faults import Fault, FaultPlan
from . import otg_model as model
from .port import Count, Network, NetworkTruth, PathOptions, Port, PortOptions, Stream

_JSON = "application/json"
_PREAMBLE = 8
_SPEEDS = {
    "speed_10_fd_mbps": 0.01,
    "speed_10_hd_mbps": 0.01,
    "speed_100_fd_mbps": 0.1,
    "speed_100_hd_mbps": 0.1,
    "speed_1_gbps": 1,
    "speed_10_gbps": 10,
    "speed_25_gbps": 25,
    "speed_40_gbps": 40,
    "speed_50_gbps": 50,
    "speed_100_gbps": 100,
    "speed_200_gbps": 200,
    "speed_400_gbps": 400,
    "speed_800_gbps": 800,
}
_UNITS = {"bps": 1, "kbps": 10**3, "mbps": 10**6, "gbps": 10**9}
_LONGEST_MIX = 10_000
"""Frames after which a mix of sizes must repeat."""
_THIEF = "another controller"


class Options(BaseModel):
    """`options` of the simulated controller and its ports.

    locations: of its ports, wired in pairs. port: what each of them is; path: what lies between them. in_use: location
    to owner, for ports that somebody else has at the start. fcs: whether byte counters and bit rates count the FCS;
    l1_rates: whether flow metrics have rates in bit/s (since 2025). app_version: begins with SIM. stated_ppm: what the
    address says of the time base. certificate, key: PEM files, HTTPS then. listen_port: 0 = the system chooses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    locations: tuple[str, ...] = Field(default=("sim;1;1", "sim;1;2"), min_length=1)
    port: PortOptions = PortOptions()
    path: PathOptions = PathOptions()
    in_use: dict[str, str] = {}
    fcs: bool = True
    l1_rates: bool = True
    app_version: str = Field(default="SIM1.55.0", pattern="^SIM")
    api_spec_version: str = "1.62.0"
    sdk_version: str = "1.62.0"
    stated_ppm: float | None = Field(default=None, ge=0)
    certificate: Path | None = None
    key: Path | None = None
    listen_port: int = Field(default=0, ge=0, le=65535)


class Refused(Exception):
    """What is answered with an Error object of the model. code: the status; errors: texts."""

    def __init__(self, code: int, *errors: str) -> None:
        super().__init__(*errors)
        self.code, self.errors = code, errors


class Flow:
    """One flow of the configuration in force. stream: of its latest run."""

    def __init__(self, settings: model.Flow, port: Port, to: Port) -> None:
        self.settings, self.port, self.to = settings, port, to
        self.stream: Stream | None = None
        self.paused = False

    def sizes(self) -> tuple[int, ...]:
        """Return the sizes of its frames, in the order in which they repeat, bytes."""
        size = self.settings.size
        if size.fixed is not None:
            return (size.fixed,)
        if size.increment is not None:
            sizes = tuple(range(size.increment.start, size.increment.end + 1, size.increment.step))
            if not sizes:
                raise Refused(400, f"flow {self.settings.name}: sizes from {size.increment.start} to less")
            return sizes
        if size.weight_pairs is not None:
            return self._mixed(size.weight_pairs)
        raise Refused(501, f"flow {self.settings.name}: random sizes are not simulated")

    def _mixed(self, pairs: model.WeightPairs) -> tuple[int, ...]:
        if pairs.custom is not None:
            weights = [(pair.size, pair.weight) for pair in pairs.custom]
        elif pairs.predefined in model.MIXES:
            weights = list(model.MIXES[pairs.predefined])
        else:
            raise Refused(501, f"flow {self.settings.name}: the mix {pairs.predefined} is not simulated")
        shares = [Fraction(str(weight)) for _, weight in weights]
        unit = min(shares)
        if any((share / unit).denominator != 1 for share in shares) or sum(shares) / unit > _LONGEST_MIX:
            raise Refused(
                501, f"flow {self.settings.name}: weights that are no multiples of the least are not simulated"
            )
        return tuple(
            itertools.chain.from_iterable(
                [size] * int(share / unit) for (size, _), share in zip(weights, shares, strict=True)
            )
        )

    def frame_rate(self) -> Fraction:
        """Return frames/s of the tester's time."""
        rate = self.settings.rate
        if rate.pps is not None:
            return Fraction(rate.pps)
        if rate.percentage is not None:
            return self.port.frame_rate(self.sizes(), fraction=Fraction(str(rate.percentage)) / 100)
        return self.port.frame_rate(self.sizes(), bits=Fraction(getattr(rate, rate.choice) * _UNITS[rate.choice]))

    def start(self) -> Stream:
        """Make the stream of a new run."""
        duration = self.settings.duration
        self.paused = False
        self.stream = self.port.network.add(
            Stream(
                self.port,
                sizes=self.sizes(),
                rate=self.frame_rate(),
                packets=duration.fixed_packets.packets if duration.fixed_packets else None,
                seconds=duration.fixed_seconds.seconds if duration.fixed_seconds else None,
                to=self.to,
                name=self.settings.name,
            )
        )
        return self.stream

    @property
    def transmit(self) -> str:
        """ "started", "stopped" or "paused"."""
        if self.paused:
            return "paused"
        return "started" if self.stream is not None and self.stream.sending else "stopped"

    def check(self) -> None:
        """Raise Refused for what the tester does not do."""
        name, options = self.settings.name, self.port.options
        duration = self.settings.duration
        if duration.burst is not None:
            raise Refused(501, f"flow {name}: bursts are not simulated")
        timing = duration.continuous or duration.fixed_packets or duration.fixed_seconds or model.Continuous()
        delay = timing.delay
        if delay is not None and any((delay.bytes, delay.nanoseconds, delay.microseconds)):
            raise Refused(501, f"flow {name}: delays are not simulated")
        sizes = self.sizes()
        if min(sizes) < options.least_frame or max(sizes) > options.largest_frame:
            raise Refused(
                400, f"flow {name}: frame sizes are {options.least_frame} to {options.largest_frame} bytes on this port"
            )
        if self.frame_rate() * 8 * (sum(sizes) + len(sizes) * (_PREAMBLE + max(timing.gap, 12))) > (
            self.port.line_rate * len(sizes)
        ):
            raise Refused(400, f"flow {name}: the rate is above the line rate of {float(self.port.speed):g} Gbit/s")


class Controller:
    """The controller: one configuration, its flows, and the ports that it holds."""

    def __init__(self, world: World, options: Options, faults: FaultPlan) -> None:
        self.world, self.options, self.faults = world, options, faults
        made = [options.port.model_copy(update={"name": location}) for location in options.locations]
        self.network = Network(world, faults, made, options.path)
        self._guard = threading.RLock()
        self._epoch = time.time() - world.clock.now()
        self._others = dict(options.in_use)
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("POST", "/config"): self._set_config,
            ("GET", "/config"): lambda _: _plain(self._config),
            ("PATCH", "/config"): self._update_config,
            ("POST", "/control/state"): self._control,
            ("POST", "/monitor/metrics"): self._metrics,
            ("GET", "/capabilities/version"): lambda _: {
                "api_spec_version": options.api_spec_version,
                "sdk_version": options.sdk_version,
                "app_version": options.app_version,
            },
        }
        self._unsimulated = {
            ("PATCH", "/config/append"),
            ("PATCH", "/config/delete"),
            ("POST", "/control/action"),
            ("POST", "/monitor/states"),
            ("POST", "/monitor/capture"),
        }
        self._forget()

    def power_up(self) -> None:
        """Stop everything and forget the configuration: a restart of the controller."""
        with self._guard:
            self._release()

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Answer one request: status, content type, body."""
        try:
            with self._guard:
                answer = self._dispatch(method, path, body)
        except Refused as refused:
            return self._error(refused.code, refused.errors)
        except ValidationError as error:
            found = error.errors(include_url=False)
            return self._error(400, [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found])
        return 200, _JSON, json.dumps(answer, indent=2).encode()

    @staticmethod
    def _error(code: int, errors: Sequence[str]) -> tuple[int, str, bytes]:
        kind = "validation" if 400 <= code < 500 else "internal"
        return code, _JSON, json.dumps({"code": code, "kind": kind, "errors": list(errors)}).encode()

    def _dispatch(self, method: str, path: str, body: bytes) -> Any:
        if (method, path) in self._unsimulated:
            raise Refused(501, f"{method} {path} is not simulated")
        if (method, path) not in self._routes:
            known = {known for _, known in (*self._routes, *self._unsimulated)}
            raise Refused(405, f"{path} does not take {method}") if path in known else Refused(404, f"no {path} here")
        asked = None
        if method != "GET":
            try:
                asked = json.loads(body)
            except ValueError as error:
                raise Refused(400, f"the body is no JSON: {error}") from None
        if self.faults.strikes("stolen") is not None:
            self._steal()
        return self._routes[method, path](asked)

    def _forget(self) -> None:
        self._config = model.Config()
        self._ports: dict[str, Port] = {}
        self._flows: dict[str, Flow] = {}

    def _release(self) -> None:
        self.network.remove(tuple(self.network.streams))
        for port in self._ports.values():
            port.owner = None
        self._forget()

    def _steal(self) -> None:
        """Let somebody else take every port that this controller holds."""
        self.network.stop(self.network.streams)
        for port in self._ports.values():
            self._others[port.name] = _THIEF
            port.owner = None

    def _held(self) -> None:
        """Raise Refused if somebody else has a port of the configuration."""
        stolen = [f"location {port.name} is in use by {self._others[port.name]}" for port in self._taken()]
        if stolen:
            raise Refused(500, *stolen)

    def _taken(self) -> list[Port]:
        return [port for port in self._ports.values() if port.name in self._others]

    def _set_config(self, asked: Any) -> dict[str, Any]:
        config = model.Config.model_validate(asked)
        unsimulated = config.unsimulated()
        if unsimulated:
            raise Refused(501, *(f"{part} of a configuration are not simulated" for part in unsimulated))
        names = [item.name for items in (config.ports, config.layer1, config.flows) for item in items]
        if len(names) != len(set(names)):
            raise Refused(400, *(f"{name} is not unique" for name in sorted({n for n in names if names.count(n) > 1})))
        ports = {port.name: self._located(port) for port in config.ports}
        if len(set(ports.values())) != len(ports):
            raise Refused(400, "two ports have one location")
        speeds = self._speeds(config, ports)
        flows = {flow.name: self._joined(flow, ports) for flow in config.flows}
        before = {port: port.speed for port in ports.values()}
        for port, speed in speeds.items():
            port.speed = speed
        try:
            self._check(flows.values())
            self._take(config, ports)
        except Refused:
            for port, speed in before.items():
                port.speed = speed
            raise
        self._release()
        self._config, self._ports, self._flows = config, ports, flows
        for port in ports.values():
            port.owner = "us"
        return {"warnings": []}

    def _located(self, port: model.Port) -> Port:
        if port.location not in self.network.ports:
            raise Refused(400, f"port {port.name}: no location {port.location}")
        return self.network.ports[port.location]

    @staticmethod
    def _speeds(config: model.Config, ports: Mapping[str, Port]) -> dict[Port, float]:
        speeds: dict[Port, float] = {port: port.options.speed for port in ports.values()}
        for layer in config.layer1:
            for name in layer.port_names:
                if name not in ports:
                    raise Refused(400, f"layer1 {layer.name}: no port {name}")
                if layer.speed is None:
                    continue
                speed = _SPEEDS[layer.speed]
                if speed not in (*ports[name].options.speeds, ports[name].options.speed):
                    raise Refused(400, f"port {name} has no {layer.speed}")
                speeds[ports[name]] = speed
        return speeds

    @staticmethod
    def _joined(flow: model.Flow, ports: Mapping[str, Port]) -> Flow:
        if flow.tx_rx.choice == "device" or flow.tx_rx.port is None:
            raise Refused(501, f"flow {flow.name}: flows between devices are not simulated")
        ends = flow.tx_rx.port
        receivers = ends.rx_names or ([ends.rx_name] if ends.rx_name else [])
        if len(receivers) > 1:
            raise Refused(501, f"flow {flow.name}: several receivers are not simulated")
        unknown = [name for name in (ends.tx_name, *receivers) if name not in ports]
        if unknown:
            raise Refused(400, *(f"flow {flow.name}: no port {name}" for name in unknown))
        port = ports[ends.tx_name]
        return Flow(flow, port, ports[receivers[0]] if receivers else port.peer)

    @staticmethod
    def _check(flows: Any) -> None:
        wanted: dict[Port, Fraction] = {}
        for flow in flows:
            flow.check()
            sizes = flow.sizes()
            bits = flow.frame_rate() * Count(len(sizes), sum(sizes)).bits("L1", flow.port.gap) / len(sizes)
            wanted[flow.port] = wanted.get(flow.port, Fraction(0)) + bits
        above = [port.name for port, bits in wanted.items() if bits > port.line_rate]
        if above:
            raise Refused(400, *(f"the flows of location {name} are together above its line rate" for name in above))

    def _take(self, config: model.Config, ports: Mapping[str, Port]) -> None:
        if ports and self.faults.strikes("licence") is not None:
            raise Refused(500, "no licence for these ports")
        if ports and self.faults.strikes("locked") is not None:
            self._others.setdefault(next(iter(ports.values())).name, _THIEF)
        taken = [port for port in ports.values() if port.name in self._others]
        preempt = config.options is not None and config.options.port_options.location_preemption
        if taken and (not preempt or self.faults.strikes("force_refused") is not None):
            raise Refused(500, *(f"location {port.name} is in use by {self._others[port.name]}" for port in taken))
        for port in taken:
            del self._others[port.name]

    def _update_config(self, asked: Any) -> dict[str, Any]:
        update = model.ConfigUpdate.model_validate(asked)
        if update.flows is None:
            raise Refused(501, "updates of protocols are not simulated")
        self._held()
        changed = {flow.settings.name: flow for flow in self._chosen([flow.name for flow in update.flows.flows])}
        if any(flow.transmit != "stopped" for flow in changed.values()):
            raise Refused(501, "changing a flow that transmits is not simulated")
        made = dict(self._flows)
        for new in update.flows.flows:
            old = changed[new.name]
            parts: dict[str, Any] = {part: getattr(new, part) for part in update.flows.property_names}
            flow = Flow(old.settings.model_copy(update=parts), old.port, old.to)
            flow.stream = old.stream
            made[new.name] = flow
        self._check(made.values())
        self._flows = made
        self._config = self._config.model_copy(update={"flows": [flow.settings for flow in made.values()]})
        return {"warnings": []}

    def _chosen(self, names: Sequence[str]) -> list[Flow]:
        unknown = [name for name in names if name not in self._flows]
        if unknown:
            raise Refused(400, *(f"no flow {name}" for name in unknown))
        return [self._flows[name] for name in names] if names else list(self._flows.values())

    def _control(self, asked: Any) -> dict[str, Any]:
        state = model.ControlState.model_validate(asked)
        self._held()
        if state.choice == "traffic" and state.traffic is not None:
            transmit = state.traffic.flow_transmit
            flows = self._chosen(transmit.flow_names)
            {"start": self._start, "stop": self._stop, "pause": self._pause, "resume": self._resume}[transmit.state](
                flows
            )
        elif state.choice == "port" and state.port is not None and state.port.link is not None:
            link = state.port.link
            for port in self._named(link.port_names).values():
                port.set_link(link.state == "up")
        else:
            raise Refused(501, f"control of {state.choice} is not simulated")
        return {"warnings": []}

    def _start(self, flows: Sequence[Flow]) -> None:
        if self.faults.strikes("licence") is not None:
            raise Refused(500, "no licence to transmit")
        wrap = self.faults.strikes("counter_wrap")
        with self.network.guard:
            self.network.remove([flow.stream for flow in flows if flow.stream is not None])
            for port in self._ports.values():
                port.clear_sent()
                port.clear_received()
                if wrap is not None:
                    port.preset(int(wrap.amount))
            self.network.start([flow.start() for flow in flows])

    def _stop(self, flows: Sequence[Flow]) -> None:
        self.network.stop([flow.stream for flow in flows if flow.stream is not None])
        for flow in flows:
            flow.paused = False

    def _pause(self, flows: Sequence[Flow]) -> None:
        for flow in flows:
            if flow.stream is not None and flow.stream.sending:
                self.network.stop([flow.stream])
                flow.paused = True

    def _resume(self, flows: Sequence[Flow]) -> None:
        again = []
        for flow in flows:
            stream = flow.stream
            if stream is None or not flow.paused:
                continue
            run = stream.runs[-1]
            if stream.packets is not None:
                stream.packets -= run.sent(self.network.now()).frames
            if stream.seconds is not None and run.stopped is not None:
                stream.seconds -= float((run.stopped - run.start) * flow.port.clock)
            flow.paused = False
            again.append(stream)
        self.network.start(again)

    def _named(self, names: Sequence[str]) -> dict[str, Port]:
        unknown = [name for name in names if name not in self._ports]
        if unknown:
            raise Refused(400, *(f"no port {name}" for name in unknown))
        return {name: self._ports[name] for name in names} if names else self._ports

    def _metrics(self, asked: Any) -> dict[str, Any]:
        request = model.MetricsRequest.model_validate(asked)
        self._held()
        with self.network.guard:
            if request.choice == "port":
                ports = self._named(request.port.port_names)
                columns: Sequence[str] = request.port.column_names
                metrics = [_kept(self._port_metric(name, port), columns, ("name",)) for name, port in ports.items()]
                return {"choice": "port_metrics", "port_metrics": metrics}
            if request.choice == "flow":
                flows = [flow for flow in self._chosen(request.flow.flow_names) if flow.settings.metrics.enable]
                wanted: Sequence[str] = request.flow.metric_names
                always = ("name", "port_tx", "port_rx", "loss", "timestamps", "latency")
                return {
                    "choice": "flow_metrics",
                    "flow_metrics": [_kept(self._flow_metric(flow), wanted, always) for flow in flows],
                }
        raise Refused(501, f"metrics of {request.choice} are not simulated")

    def _size(self, count: Count) -> int:
        return count.bits("L2" if self.options.fcs else "L2-no-fcs") // 8

    def _port_metric(self, name: str, port: Port) -> dict[str, Any]:
        sent, received = port.sent, port.received
        sent_rate, received_rate = port.last_second("sent"), port.last_second("received")
        return {
            "name": name,
            "location": port.name,
            "link": "up" if port.link else "down",
            "capture": "stopped",
            "transmit": "started" if port.sending else "stopped",
            "frames_tx": str(sent.frames),
            "frames_rx": str(received.frames),
            "bytes_tx": str(self._size(sent) % (1 << 64)),
            "bytes_rx": str(self._size(received) % (1 << 64)),
            "frames_tx_rate": sent_rate.frames,
            "frames_rx_rate": received_rate.frames,
            "bytes_tx_rate": self._size(sent_rate),
            "bytes_rx_rate": self._size(received_rate),
            "last_change": str(round((self._epoch + float(port.changed)) * 1e9)),
            "speed": str(round(float(port.speed) * 125_000)),
        }

    def _flow_metric(self, flow: Flow) -> dict[str, Any]:
        stream, settings = flow.stream, flow.settings.metrics
        port_names = {port: name for name, port in self._ports.items()}
        sent, received = (stream.sent, stream.received) if stream is not None else (Count(), Count())
        metric: dict[str, Any] = {
            "name": flow.settings.name,
            "port_tx": port_names[flow.port],
            "port_rx": port_names.get(flow.to, ""),
            "transmit": flow.transmit,
            "frames_tx": str(sent.frames),
            "frames_rx": str(received.frames),
            "bytes_tx": str(self._size(sent)),
            "bytes_rx": str(self._size(received)),
        }
        for side, way in (("sent", "tx"), ("received", "rx")):
            rate = stream.last_second(side) if stream is not None else Count()  # type: ignore[arg-type]
            metric[f"frames_{way}_rate"] = rate.frames
            if self.options.l1_rates:
                bits = 8 * self._size(rate)
                metric[f"{way}_l1_rate_bps"] = rate.bits("L1", flow.port.gap)
                metric |= {f"{way}_rate_{unit}": bits / size for unit, size in _UNITS.items() if unit != "gbps"}
                metric[f"{way}_rate_bytes"] = bits / 8
        if settings.loss and sent.frames:
            metric["loss"] = 100 * (sent.frames - received.frames) / sent.frames
        arrivals = stream.arrivals() if stream is not None else None
        if settings.timestamps and arrivals is not None:
            first, last = arrivals
            metric["timestamps"] = {"first_timestamp_ns": first * 1e9, "last_timestamp_ns": last * 1e9}
        if settings.latency is not None and settings.latency.enable and stream is not None:
            times = stream.latency("last2first" if settings.latency.mode == "store_forward" else "first2first")
            if times is not None:
                # A platform that stores whole frames cannot send one before it has it.
                least, mean, most = (max(seconds, 0.0) * 1e9 for seconds in times)
                metric["latency"] = {"minimum_ns": least, "maximum_ns": most, "average_ns": mean}
        return metric


def _plain(config: model.Config) -> Any:
    return config.model_dump(mode="json", exclude_none=True)


def _kept(metric: dict[str, Any], columns: Sequence[str], always: Sequence[str]) -> dict[str, Any]:
    if not columns:
        return metric
    return {name: value for name, value in metric.items() if name in columns or name in always}


class SimulatedOtg:
    """A simulated OTG controller on one world, served on loopback. `network` has its ports."""

    simulates: ClassVar[str] = "otg"
    wires: ClassVar[tuple[str, ...]] = ("HTTP",)
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.world, self.name = world, name
        self.options = Options.model_validate(options)
        self.faults = FaultPlan(world.seed)
        self.exchanges: list[tuple[str, bytes]] = []
        self.addresses: dict[str, str] = {}
        self.address = ""
        self.controller = Controller(world, self.options, self.faults)
        self._server: HttpServer | None = None

    @property
    def network(self) -> Network:
        """The ports, by their locations, and the path between them."""
        return self.controller.network

    @property
    def truth(self) -> NetworkTruth:
        """True rates by the locations of ports, bit/s."""
        return self.network.truth

    @property
    def identity_serial(self) -> str:
        """What bears the mark: this family has no serial number, its version begins with SIM."""
        return self.options.app_version

    def start(self) -> str:
        """Listen; return the address for a driver. Idempotent."""
        if self._server is None:
            asked = self.options
            self._server = HttpServer(
                self.controller.respond,
                self.faults,
                self.exchanges,
                reboot=self.controller.power_up,
                port=asked.listen_port,
                certificate=asked.certificate,
                key=asked.key,
            )
            self._server.start()
            query: list[tuple[str, str]] = [
                ("port", f"p{number}@{location}") for number, location in enumerate(asked.locations, start=1)
            ]
            query += [
                ("speed", f"{next(iter(self.network.ports.values())).options.speed:g}"),
                ("fcs", "yes" if asked.fcs else "no"),
            ]
            if asked.stated_ppm is not None:
                query.append(("clock_ppm", f"{asked.stated_ppm:g}"))
            if asked.certificate is not None:
                query.append(("certificate", str(asked.certificate)))
            self.address = f"otg+{self._server.address}?{urlencode(query, safe=';@/')}"
            self.addresses = {self._server.wire: self.address}
        return self.address

    def stop(self) -> None:
        """Stop serving, and all traffic; idempotent. The configuration is forgotten."""
        if self._server is not None:
            self._server.stop()
            self._server = None
            self.controller.power_up()

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `world.faults`."""
        self.faults.inject(fault)
