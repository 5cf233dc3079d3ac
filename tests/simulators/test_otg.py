"""The simulated OTG controller under snappi, the model's own client, unmodified; truth and counts from arithmetic."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import snappi
from aicalib_hw.simulators.network.otg import SimulatedOtg

from .wired import started

Serve = Callable[..., Any]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that serves a controller on a stepped world: `serve(port={"ppm": 5})`."""
    running: list[Any] = []

    def start(**options: Any) -> Any:
        running.append(started(SimulatedOtg, **options))
        return running[-1]

    yield start
    for tester in running:
        tester.stop()
        tester.world.stop()


def location(tester: Any) -> str:
    """Where a client that knows nothing of drivers' addresses finds it."""
    parts = urlsplit(tester.address.removeprefix("otg+"))
    return f"{parts.scheme}://{parts.netloc}"


def client(tester: Any) -> Any:
    return snappi.api(location=location(tester))


def flow_of(api: Any, size: int = 1518, *, both: bool = False, **options: Any) -> Any:
    """A configuration with one flow at line rate, or one each way."""
    config = api.config()
    config.ports.port(name="left", location="sim;1;1").port(name="right", location="sim;1;2")
    layer = config.layer1.layer1(name="line", port_names=["left", "right"])[-1]
    layer.speed = options.get("speed", layer.SPEED_800_GBPS)
    for name, tx, rx in (("there", "left", "right"), ("back", "right", "left"))[: 2 if both else 1]:
        flow = config.flows.flow(name=name)[-1]
        flow.tx_rx.port.tx_name, flow.tx_rx.port.rx_names = tx, [rx]
        flow.packet.ethernet().ipv4().udp()
        flow.size.fixed = size
        flow.rate.percentage = 100
        flow.metrics.enable = True
    return config


def transmit(api: Any, state: str, *flows: str) -> None:
    control = api.control_state()
    control.traffic.flow_transmit.state = state
    control.traffic.flow_transmit.flow_names = list(flows)
    api.set_control_state(control)


def flows(api: Any, *names: str) -> list[Any]:
    request = api.metrics_request()
    request.flow.flow_names = list(names)
    return list(api.get_metrics(request).flow_metrics)


def ports(api: Any, *names: str) -> list[Any]:
    request = api.metrics_request()
    request.port.port_names = list(names)
    return list(api.get_metrics(request).port_metrics)


def refused(api: Any, call: Callable[[], Any]) -> Any:
    """Return the Error object with which the controller refuses a call."""
    with pytest.raises(Exception) as failed:  # noqa: PT011 - snappi raises bare Exception
        call()
    error = api.from_exception(failed.value)
    assert error is not None, failed.value
    return error


@pytest.mark.parametrize("size", [64, 512, 1518, 9018])
def test_snappi_runs_800_gbit_s_over_a_gate_of_the_tester(serve: Serve, size: int) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api, size)
    config.flows[0].duration.fixed_seconds.seconds = 10
    config.flows[0].metrics.timestamps = True
    assert list(api.set_config(config).warnings or []) == []
    transmit(api, "start")
    tester.world.clock.advance(5.0)
    assert [flow.transmit for flow in flows(api)] == ["started"]
    assert flows(api)[0].tx_l1_rate_bps == pytest.approx(800e9, abs=8 * (size + 20))
    tester.world.clock.advance(6.0)
    (flow,) = flows(api)
    frames = 10 * 800_000_000_000 // (8 * (size + 20))
    assert (flow.transmit, flow.frames_tx, flow.frames_rx) == ("stopped", frames, frames)
    assert (flow.bytes_tx, flow.bytes_rx) == (frames * size, frames * size)
    assert (flow.port_tx, flow.port_rx) == ("left", "right")
    gate = (flow.timestamps.last_timestamp_ns - flow.timestamps.first_timestamp_ns) * 1e-9
    assert (frames - 1) * 8 * (size + 20) / gate == pytest.approx(800e9, rel=1e-9)
    left, right = ports(api)
    assert (left.frames_tx, left.frames_rx, right.frames_rx, right.bytes_rx) == (frames, 0, frames, frames * size)
    assert (left.link, left.transmit, left.location, left.speed) == ("up", "stopped", "sim;1;1", 100_000_000)
    assert tester.truth.rate("sim;1;2", "L2") == pytest.approx(800e9 * size / (size + 20), rel=1e-12)


def test_snappi_accepts_the_version_and_sees_the_mark(serve: Serve) -> None:
    version = client(serve()).get_version()
    assert version.app_version.startswith("SIM")
    own = snappi.api(location="http://127.0.0.1:1").get_local_version().api_spec_version
    tester = serve(api_spec_version=own)
    checked = snappi.api(location=location(tester), version_check=True)
    assert checked.set_config(flow_of(checked)) is not None


def test_a_configuration_stays_until_somebody_replaces_it(serve: Serve) -> None:
    tester = serve()
    mine, theirs = client(tester), client(tester)
    config = flow_of(mine, 64)
    config.flows[0].rate.pps = 10**9
    mine.set_config(config)
    seen = theirs.get_config()
    assert [port.name for port in seen.ports] == ["left", "right"]
    assert (seen.flows[0].rate.choice, seen.flows[0].rate.pps, seen.flows[0].size.fixed) == ("pps", 10**9, 64)
    transmit(mine, "start")
    theirs.set_config(theirs.config())
    assert list(mine.get_config().ports) == []
    assert not any(port.sending for port in tester.network.ports.values())
    assert refused(mine, lambda: transmit(mine, "start", "there")).code == 400


def test_64_bit_integers_are_text_on_the_wire(serve: Serve) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api)
    config.flows[0].rate.pps = 1000
    api.set_config(config)
    with urllib.request.urlopen(location(tester) + "/config") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert json.load(answer)["flows"][0]["rate"] == {"choice": "pps", "pps": "1000"}
    question = urllib.request.Request(location(tester) + "/monitor/metrics", b'{"choice": "port"}', method="POST")
    with urllib.request.urlopen(question) as answer:
        metric = json.load(answer)["port_metrics"][0]
    assert (metric["frames_tx"], metric["bytes_rx"], metric["speed"]) == ("0", "0", "100000000")


@pytest.mark.parametrize(
    ("unit", "value", "frames"),
    [
        ("pps", 12345, 12345),
        ("bps", 672 * 1000, 1000),
        ("kbps", 672, 1000),
        ("mbps", 6720, 10**7),
        ("gbps", 672, 10**9),
        ("percentage", 50.0, 595_238_095),
    ],
)
def test_bit_rates_are_of_layer_1(serve: Serve, unit: str, value: float, frames: int) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api, 64)
    setattr(config.flows[0].rate, unit, value)
    config.flows[0].duration.fixed_seconds.seconds = 1
    api.set_config(config)
    transmit(api, "start")
    tester.world.clock.advance(2.0)
    assert flows(api)[0].frames_tx == frames


def test_packets_end_a_flow_and_start_clears_the_counters(serve: Serve) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api, both=True)
    for flow in config.flows:
        flow.duration.fixed_packets.packets = 4_000_000_000
    api.set_config(config)
    for _ in range(2):
        transmit(api, "start")
        tester.world.clock.advance(70.0)
        assert [(flow.frames_tx, flow.frames_rx) for flow in flows(api)] == [(4_000_000_000, 4_000_000_000)] * 2
        assert [(port.frames_tx, port.frames_rx) for port in ports(api)] == [(4_000_000_000, 4_000_000_000)] * 2


def test_a_continuous_flow_pauses_goes_on_and_stops(serve: Serve) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api)
    config.flows[0].rate.pps = 1000
    config.flows[0].duration.fixed_seconds.seconds = 4
    api.set_config(config)
    transmit(api, "start")
    tester.world.clock.advance(1.0)
    transmit(api, "pause")
    tester.world.clock.advance(10.0)
    assert [(flow.transmit, flow.frames_tx) for flow in flows(api)] == [("paused", 1000)]
    transmit(api, "resume")
    tester.world.clock.advance(10.0)
    assert [(flow.transmit, flow.frames_tx) for flow in flows(api)] == [("stopped", 4000)]


def test_loss_and_latency_are_those_of_the_path(serve: Serve) -> None:
    tester = serve(path={"loss": 0.001, "latency": 3e-6, "jitter": 1e-6}, port={"ppm": 20.0})
    api = client(tester)
    config = flow_of(api, 1230, speed="speed_100_gbps")
    config.flows[0].duration.fixed_packets.packets = 1_000_000
    config.flows[0].metrics.loss = True
    config.flows[0].metrics.latency.enable = True
    config.flows[0].metrics.latency.mode = "cut_through"
    api.set_config(config)
    transmit(api, "start")
    tester.world.clock.advance(1.0)
    (flow,) = flows(api)
    assert (flow.frames_rx, flow.loss) == (999_000, pytest.approx(0.1))
    times = (flow.latency.minimum_ns, flow.latency.average_ns, flow.latency.maximum_ns)
    assert times == pytest.approx((2000, 3000, 4000), rel=3e-5)
    # Last bit in to first bit out: 1230 bytes at 100 Gbit/s, 98.4 ns, less.
    config.flows[0].metrics.latency.mode = "store_forward"
    api.set_config(config)
    transmit(api, "start")
    tester.world.clock.advance(1.0)
    assert flows(api)[0].latency.average_ns == pytest.approx(3000 - 98.4, rel=3e-5)


def test_metrics_that_were_not_asked_for_are_absent(serve: Serve) -> None:
    tester = serve(l1_rates=False)
    api = client(tester)
    config = flow_of(api, both=True)
    config.flows[1].metrics.enable = False
    api.set_config(config)
    (flow,) = flows(api)
    assert (flow.loss, flow.tx_l1_rate_bps, flow.frames_tx) == (None, None, 0)
    request = api.metrics_request()
    request.port.column_names = ["frames_rx", "link"]
    port = api.get_metrics(request).port_metrics[0]
    assert (port.name, port.frames_rx, port.link, port.frames_tx) == ("left", 0, "up", None)


def test_byte_counters_leave_the_fcs_out_where_the_option_says_so(serve: Serve) -> None:
    tester = serve(fcs=False)
    api = client(tester)
    config = flow_of(api, 64)
    config.flows[0].duration.fixed_packets.packets = 10
    api.set_config(config)
    transmit(api, "start")
    tester.world.clock.advance(1.0)
    assert flows(api)[0].bytes_rx == ports(api, "right")[0].bytes_rx == 600
    assert dict(parse_qsl(urlsplit(tester.address).query))["fcs"] == "no"


def test_an_update_changes_rate_and_size_only(serve: Serve) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api)
    config.flows[0].duration.fixed_packets.packets = 7
    api.set_config(config)
    update = api.config_update()
    update.flows.property_names = ["size"]
    changed = update.flows.flows.flow(name="there")[-1]
    changed.tx_rx.port.tx_name, changed.size.fixed = "left", 256
    changed.duration.fixed_packets.packets = 9
    api.update_config(update)
    transmit(api, "start")
    tester.world.clock.advance(1.0)
    assert (flows(api)[0].frames_tx, flows(api)[0].bytes_tx) == (7, 7 * 256)


def test_a_link_that_is_switched_off_stops_the_frames(serve: Serve) -> None:
    tester = serve()
    api = client(tester)
    api.set_config(flow_of(api))
    control = api.control_state()
    control.port.link.state = "down"
    control.port.link.port_names = ["right"]
    api.set_control_state(control)
    transmit(api, "start")
    tester.world.clock.advance(1.0)
    assert [(port.link, port.frames_tx) for port in ports(api)] == [("down", 0), ("down", 0)]


BAD: list[tuple[str, Callable[[Any], None], int]] = [
    ("a rate above the line", lambda config: setattr(config.flows[0].rate, "pps", 65_019_506), 400),
    ("a frame that is too short", lambda config: setattr(config.flows[0].size, "fixed", 63), 400),
    ("a frame that is too long", lambda config: setattr(config.flows[0].size, "fixed", 16_001), 400),
    ("a location that is not there", lambda config: setattr(config.ports[0], "location", "sim;9;9"), 400),
    ("a sender that is not there", lambda config: setattr(config.flows[0].tx_rx.port, "tx_name", "middle"), 400),
    ("a name that stands twice", lambda config: setattr(config.ports[1], "name", "left"), 400),
    ("two ports at one location", lambda config: setattr(config.ports[1], "location", "sim;1;1"), 400),
    ("random sizes", lambda config: setattr(config.flows[0].size.random, "min", 64), 501),
    ("devices", lambda config: config.devices.device(name="host"), 501),
    ("bursts", lambda config: setattr(config.flows[0].duration.burst, "packets", 3), 501),
]


@pytest.mark.parametrize(("what", "spoil", "code"), BAD, ids=[what for what, _, _ in BAD])
def test_what_the_tester_cannot_do_is_refused_and_changes_nothing(
    serve: Serve, what: str, spoil: Callable[[Any], None], code: int
) -> None:
    api = client(serve())
    api.set_config(flow_of(api, 256))
    config = flow_of(api)
    spoil(config)
    error = refused(api, lambda: api.set_config(config))
    assert (error.code, error.kind) == (code, "validation" if code == 400 else "internal")
    assert list(error.errors)
    assert api.get_config().flows[0].size.fixed == 256


def test_flows_that_are_together_above_line_rate_are_refused(serve: Serve) -> None:
    api = client(serve())
    config = flow_of(api)
    config.flows.append(config.flows[0].clone())
    config.flows[0].rate.percentage = 60
    config.flows[1].name, config.flows[1].rate.percentage = "more", 40
    api.set_config(config)
    config.flows[1].rate.percentage = 40.1
    assert refused(api, lambda: api.set_config(config)).code == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/nothing", None, 404),
        ("PUT", "/config", b"{}", 405),
        ("POST", "/config", b"{", 400),
        ("POST", "/config", b'{"ports": [{"name": "a", "colour": "red"}]}', 400),
        ("POST", "/monitor/metrics", b'{"choice": "bgpv4"}', 501),
        ("POST", "/monitor/metrics", b'{"choice": "port", "port": {"port_names": ["x"]}}', 400),
        ("POST", "/control/state", b'{"choice": "traffic", "traffic": {"choice": "wobble"}}', 400),
        ("POST", "/monitor/capture", b'{"port_name": "left"}', 501),
        ("PATCH", "/config/append", b"{}", 501),
    ],
)
def test_every_error_is_an_error_object_whose_code_is_the_status(
    serve: Serve, method: str, path: str, body: bytes | None, code: int
) -> None:
    question = urllib.request.Request(location(serve()) + path, body, method=method)
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(question)
    error = json.loads(failed.value.read())
    assert (failed.value.code, failed.value.headers["Content-Type"]) == (code, "application/json")
    assert error["code"] == code
    assert error["errors"]


def test_a_location_in_use_is_had_by_preemption_only(serve: Serve) -> None:
    api = client(serve(in_use={"sim;1;2": "alice"}))
    config = flow_of(api)
    error = refused(api, lambda: api.set_config(config))
    assert (error.code, error.kind) == (500, "internal")
    assert "alice" in error.errors[0]
    config.options.port_options.location_preemption = True
    api.set_config(config)
    assert [port.location for port in ports(api)] == ["sim;1;1", "sim;1;2"]


def test_preemption_can_be_refused(serve: Serve) -> None:
    tester = serve(in_use={"sim;1;2": "alice"})
    tester.inject("force_refused")
    api = client(tester)
    config = flow_of(api)
    config.options.port_options.location_preemption = True
    assert refused(api, lambda: api.set_config(config)).code == 500


@pytest.fixture
def running(serve: Serve) -> tuple[Any, Any]:
    """A controller whose flow runs, and the client that started it."""
    tester = serve()
    api = client(tester)
    api.set_config(flow_of(api))
    transmit(api, "start")
    tester.world.clock.advance(1.0)
    return tester, api


def test_stolen_ports_stop_and_answer_with_their_new_owner(running: tuple[Any, Any]) -> None:
    tester, api = running
    tester.inject({"kind": "stolen", "after": 1})
    assert flows(api)[0].transmit == "started"
    for _ in range(2):
        assert "in use" in refused(api, lambda: flows(api)).errors[0]
    assert not tester.network.ports["sim;1;1"].sending
    config = flow_of(api)
    assert refused(api, lambda: api.set_config(config)).code == 500
    config.options.port_options.location_preemption = True
    api.set_config(config)


def test_a_missing_licence_keeps_the_ports_or_the_traffic_back(serve: Serve) -> None:
    tester = serve()
    api = client(tester)
    tester.inject({"kind": "licence"})
    assert "licence" in refused(api, lambda: api.set_config(flow_of(api))).errors[0]
    api.set_config(flow_of(api))
    tester.inject({"kind": "licence"})
    assert "licence" in refused(api, lambda: transmit(api, "start")).errors[0]
    assert not tester.network.ports["sim;1;1"].sending


def test_a_connection_drops_at_the_request_that_the_fault_says(running: tuple[Any, Any]) -> None:
    tester, api = running
    tester.inject({"kind": "drop", "after": 2})
    assert len(flows(api)) == len(flows(api)) == 1
    with pytest.raises(requests.exceptions.RequestException):
        flows(api)
    assert flows(api)[0].transmit == "started"


def test_garbage_is_no_json_and_the_next_answer_is(running: tuple[Any, Any]) -> None:
    tester, api = running
    tester.inject("garble")
    with pytest.raises(Exception) as failed:  # noqa: PT011 - whatever the client makes of it
        flows(api)
    assert api.from_exception(failed.value) is None
    assert flows(api)[0].transmit == "started"


@pytest.mark.parametrize(("kind", "lasting"), [("delay", 0.3), ("stuck", 0.3)])
def test_a_late_answer_is_late_and_a_stuck_server_gives_none(
    running: tuple[Any, Any], kind: str, lasting: float
) -> None:
    tester, api = running
    tester.inject({"kind": kind, "amount": lasting})
    begin = time.monotonic()
    if kind == "delay":
        assert len(flows(api)) == 1
    else:
        with pytest.raises(requests.exceptions.RequestException):
            flows(api)
    assert time.monotonic() - begin >= lasting


def test_a_refused_connection_and_one_in_pieces(serve: Serve) -> None:
    tester = serve()
    tester.inject("refuse")
    with pytest.raises(requests.exceptions.RequestException):
        client(tester).get_version()
    tester.inject("pieces")
    assert client(tester).get_version().app_version.startswith("SIM")


def test_a_rebooted_controller_has_no_configuration(running: tuple[Any, Any]) -> None:
    tester, api = running
    tester.inject({"kind": "reboot", "amount": 0.05})
    with pytest.raises(requests.exceptions.RequestException):
        flows(api)
    time.sleep(0.1)
    assert list(api.get_config().ports) == []
    assert not tester.network.ports["sim;1;1"].sending


def test_counters_wrap_at_64_bits(serve: Serve) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api)
    config.flows[0].duration.fixed_packets.packets = 1000
    api.set_config(config)
    tester.inject({"kind": "counter_wrap", "amount": 400})
    transmit(api, "start")
    assert ports(api, "right")[0].frames_rx == 2**64 - 400
    tester.world.clock.advance(1.0)
    assert ports(api, "right")[0].frames_rx == 600


@pytest.mark.parametrize("share", [0.001, 0.05])
def test_lost_frames_are_missing_from_one_run_only(serve: Serve, share: float) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api)
    config.flows[0].duration.fixed_packets.packets = 1_000_000
    api.set_config(config)
    tester.inject({"kind": "loss", "amount": share})
    for expected in (round(1_000_000 * (1 - share)), 1_000_000):
        transmit(api, "start")
        tester.world.clock.advance(1.0)
        assert (flows(api)[0].frames_tx, flows(api)[0].frames_rx) == (1_000_000, expected)


def test_a_link_goes_down_in_mid_run(serve: Serve) -> None:
    tester = serve()
    api = client(tester)
    config = flow_of(api)
    config.flows[0].duration.fixed_seconds.seconds = 10
    api.set_config(config)
    tester.inject({"kind": "link_down", "amount": 4.0})
    transmit(api, "start")
    tester.world.clock.advance(11.0)
    left, right = ports(api)
    assert (left.link, right.link, flows(api)[0].transmit) == ("down", "down", "stopped")
    assert left.frames_tx == 4 * 800_000_000_000 // (8 * 1538)


def test_two_clients_at_once_get_whole_answers(running: tuple[Any, Any]) -> None:
    tester, _ = running
    seen: list[int] = []

    def watch() -> None:
        api = client(tester)
        seen.extend(flows(api)[0].frames_tx for _ in range(10))

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(30.0)
    assert seen == [800_000_000_000 // (8 * 1538)] * 20


def test_the_address_has_what_a_driver_needs(serve: Serve) -> None:
    tester = serve(port={"speed": 400}, stated_ppm=4.6)
    parts = urlsplit(tester.address)
    assert (parts.scheme, parts.hostname) == ("otg+http", "127.0.0.1")
    assert parse_qsl(parts.query) == [
        ("port", "p1@sim;1;1"),
        ("port", "p2@sim;1;2"),
        ("speed", "400"),
        ("fcs", "yes"),
        ("clock_ppm", "4.6"),
    ]


def test_https_shows_the_certificate_that_it_was_given(serve: Serve, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, *name, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    tester = serve(certificate=certificate, key=key)
    assert tester.address.startswith("otg+https://127.0.0.1:")
    version = location(tester) + "/capabilities/version"
    assert requests.get(version, verify=str(certificate), timeout=5).json()["app_version"].startswith("SIM")
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(version, timeout=5)
    assert client(tester).get_version().app_version.startswith("SIM")
