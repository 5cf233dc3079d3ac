"""The simulated TRex server by recorded vectors: what the facts say goes over the wire (network.md sections 1 and 5).

The client here is a socket, zlib and json. Expected rates come from fps = R / (8 (L + 20)), expected texts from the
public source of server 3.08.
"""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from aicalib_hw import registry

MAGIC = bytes.fromhex("abe85cea")
GOLDEN = {
    (64, 100): 148809523.8,
    (64, 800): 1190476190.5,
    (1518, 100): 8127438.2,
    (1518, 400): 32509752.9,
    (1518, 800): 65019505.9,
    (9018, 800): 11064394.8,
}
"""Frames/s at 100 % by frame length and Gbit/s, from the table of section 1.1."""


class Client:
    """One client with its own session. errors come back as they are."""

    def __init__(self, trex: Any, user: str = "aical", session: int = 1) -> None:
        self.user, self.session = user, session
        self.handlers: dict[int, str] = {}
        self._context = zmq.Context()
        port = trex.address.removeprefix("trex://127.0.0.1:").split("?")[0]
        self.requests = self._context.socket(zmq.REQ)
        self.events = self._context.socket(zmq.SUB)
        for one in (self.requests, self.events):
            one.setsockopt(zmq.LINGER, 0)
            one.setsockopt(zmq.RCVTIMEO, 5000)
        self.requests.connect(f"tcp://127.0.0.1:{port}")
        self.events.connect(f"tcp://127.0.0.1:{trex.publisher_port}")
        self.events.setsockopt(zmq.SUBSCRIBE, b"")
        self.api = ""

    def raw(self, message: bytes) -> bytes:
        self.requests.send(message)
        return bytes(self.requests.recv())

    def exchange(self, asked: Any) -> Any:
        text = json.dumps(asked).encode()
        reply = self.raw(MAGIC + struct.pack(">I", len(text)) + zlib.compress(text))
        assert reply[:4] == MAGIC
        unpacked = zlib.decompress(reply[8:])
        assert struct.unpack(">I", reply[4:8])[0] == len(unpacked)
        return json.loads(unpacked)

    def ask(self, method: str, **params: Any) -> Any:
        """The whole reply."""
        if self.api:
            params.setdefault("api_h", self.api)
        return self.exchange({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})

    def result(self, method: str, **params: Any) -> Any:
        reply = self.ask(method, **params)
        assert "error" not in reply, reply
        assert (reply["id"], reply["jsonrpc"]) == (7, "2.0")
        return reply["result"]

    def error(self, method: str, **params: Any) -> tuple[int, str]:
        error = self.ask(method, **params)["error"]
        return error["code"], error.get("specific_err", "")

    def sync(self) -> None:
        self.api = self.result("api_sync_v2", name="STL", major=5, minor=1)["api_h"]

    def acquire(self, *ports: int, force: bool = False) -> None:
        for port in ports:
            who = {"user": self.user, "session_id": self.session}
            self.handlers[port] = self.result("acquire", port_id=port, force=force, **who)

    def owned(self, port: int, **more: Any) -> dict[str, Any]:
        return {"port_id": port, "handler": self.handlers[port], **more}

    def fetch(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.result("get_async_events", session_id=self.session, user="sub")["data"]
        return found

    def close(self) -> None:
        self.requests.close()
        self.events.close()
        self._context.term()


def stream(size: int = 1518, packets: int | None = None, group: int | None = None, **more: Any) -> dict[str, Any]:
    """A stream of the facts. size: of a frame with FCS; what is sent has none."""
    mode: dict[str, Any] = {"type": "continuous", "rate": {"type": "pps", "value": 1.0}}
    if packets is not None:
        mode |= {"type": "single_burst", "total_pkts": packets}
    rule = {"enabled": True, "stream_id": group, "rule_type": more.pop("rule_type", "stats")}
    made: dict[str, Any] = {
        "enabled": True,
        "self_start": True,
        "flags": 3,
        "action_count": 0,
        "isg": 0.0,
        "core_id": -1,
        "next_stream_id": -1,
        "mode": mode,
        "vm": {"instructions": []},
        "packet": {"binary": base64.b64encode(bytes(size - 4)).decode(), "meta": ""},
        "flow_stats": rule if group is not None else {"enabled": False},
    }
    return made | more


def multiplier(kind: str = "percentage", value: float = 100.0, op: str = "abs") -> dict[str, Any]:
    return {"type": kind, "op": op, "value": value}


Bench = Callable[..., tuple[Any, Client]]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A function that makes a server on a stepped world and a client that has both ports."""
    running: list[Any] = []

    def start(*, rate: float = 0.0, reserve: bool = True, **options: Any) -> tuple[Any, Client]:
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate})
        trex = registry.simulator("trex")(world, "trex", **options)
        trex.start()
        client = Client(trex)
        running.extend((client.close, trex.stop, world.stop))
        if reserve:
            client.sync()
            client.acquire(0, 1)
        return trex, client

    yield start
    for end in running:
        end()


def run(client: Client, made: dict[str, Any], mul: dict[str, Any] | None = None, duration: float = -1.0) -> Any:
    """Add one stream to port 0 and start it."""
    client.result("add_stream", **client.owned(0, profile_id="_", stream_id=1, stream=made))
    return client.result("start_traffic", **starting(client, mul, duration))


def starting(client: Client, mul: dict[str, Any] | None = None, duration: float = -1.0) -> dict[str, Any]:
    rest = {"mul": mul or multiplier(), "duration": duration, "force": False, "core_mask": (1 << 64) - 1}
    return client.owned(0, profile_id="_", start_at_ts=0, **rest)


def test_the_version_and_the_builder_bear_the_mark(bench: Bench) -> None:
    _, client = bench(reserve=False)
    version = client.result("get_version")
    assert version["version"] == "SIM-v3.08"
    assert version["built_by"].startswith("SIM")
    assert version["mode"] == "STL"


def test_who_asks_compressed_is_answered_so_and_who_does_not_is_not(bench: Bench) -> None:
    _, client = bench(reserve=False)
    plain = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}).encode()
    assert json.loads(client.raw(plain))["result"]["ts"] >= 0
    packed = client.raw(MAGIC + struct.pack(">I", len(plain)) + zlib.compress(plain))
    assert packed.startswith(MAGIC)
    assert "ts" in json.loads(zlib.decompress(packed[8:]))["result"]
    damaged = client.raw(MAGIC + struct.pack(">I", len(plain)) + b"no zlib")
    assert json.loads(damaged)["error"] == {"code": -32700, "message": "Bad JSON Format"}


def test_a_batch_is_answered_in_its_order_and_one_alone_without_a_list(bench: Bench) -> None:
    _, client = bench(reserve=False)
    one = {"jsonrpc": "2.0", "method": "ping", "params": {}}
    several = client.exchange([{**one, "id": number} for number in (3, 1, 2)])
    assert [reply["id"] for reply in several] == [3, 1, 2]
    assert client.exchange([{**one, "id": 9}])["id"] == 9


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        (b"{", -32700, "Bad JSON Format"),
        (b'{"jsonrpc":"2.0","method":"ping"}', -32600, "Missing 'id' field"),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600, "Invalid JSONRPC Version"),
        (b'{"jsonrpc":"2.0","id":1,"params":{}}', -32600, "Missing Method Name"),
        (b'{"jsonrpc":"2.0","id":1,"method":"nothing"}', -32601, "Method nothing not registered"),
        (b" " * 1_000_000, -32603, "Request is too large (1000000 bytes). Consider splitting to smaller chunks."),
    ],
)
def test_a_request_that_is_none_is_told_what_is_wrong(bench: Bench, asked: bytes, code: int, message: str) -> None:
    _, client = bench(reserve=False)
    error = json.loads(client.raw(asked))["error"]
    assert (error["code"], error["message"]) == (code, message)


def test_the_handshake_gives_a_handler_that_every_other_method_needs(bench: Bench) -> None:
    _, client = bench(reserve=False)
    assert client.error("get_system_info") == (-32602, "field 'api_h' value is null")
    assert client.error("get_system_info", api_h="wrong")[0] == -32000
    assert "newer client version is required" in client.error("api_sync_v2", name="STL", major=4, minor=9)[1]
    assert "too new" in client.error("api_sync_v2", name="STL", major=5, minor=2)[1]
    assert "configuration mismatch" in client.error("api_sync_v2", name="ASTF", major=2, minor=0)[1]
    client.sync()
    assert "get_profile_list" in client.result("get_supported_cmds")
    assert client.result("get_system_info")["port_count"] == 2


def test_an_old_server_has_no_second_handshake(bench: Bench) -> None:
    _, client = bench(reserve=False, old=True)
    assert client.error("api_sync_v2", name="STL", major=5, minor=1)[0] == -32601
    client.api = client.result("api_sync", api_vers=[{"type": "core", "major": 5, "minor": 1}])["api_vers"][0]["api_h"]
    assert client.result("get_system_info")["port_count"] == 2


def test_fields_are_missed_and_their_types_checked(bench: Bench) -> None:
    _, client = bench()
    assert client.error("get_port_status") == (-32602, "field 'port_id' value is null")
    assert client.error("get_port_status", port_id=7) == (-32000, "invalid port id - should be: 0 1")
    assert client.error("get_port_status", port_id="0")[1].endswith("'port_id' is 'string', expecting 'byte'")
    assert client.error("get_port_status", port_id=300)[1].endswith("'port_id' has size bigger than uint8.")
    assert client.error("start_traffic", **starting(client, multiplier("raw", 0.0)))[1] == "multiplier can't be zero"
    assert client.error("start_traffic", **starting(client, multiplier(op="add")))[0] == -32602
    assert "can only be one of ['raw' ,'bps'" in client.error("start_traffic", **starting(client, multiplier("x")))[1]


def test_a_port_belongs_to_one_session_until_it_is_released_or_forced(bench: Bench) -> None:
    trex, first = bench()
    second = Client(trex, "other", 2)
    second.sync()
    asked = {"port_id": 0, "user": "other", "session_id": 2}
    assert second.error("acquire", force=False, **asked) == (-32000, "port is already taken by 'aical'")
    again = {"port_id": 0, "user": "aical", "session_id": 3}
    assert first.error("acquire", force=False, **again)[1] == "port is already owned by another session of 'aical'"
    assert first.result("get_port_status", port_id=0, block=False)["owner"] == "aical"
    second.acquire(0, force=True)
    told = [event["data"] for event in first.fetch() if event["type"] == 5]
    assert told[-1] == {"port_id": 0, "who": "other", "session_id": 2, "force": True}
    assert first.error("stop_traffic", **first.owned(0)) == (
        -32000,
        "port is not owned by you or your current executing session",
    )
    second.result("release", **second.owned(0))
    assert second.error("stop_traffic", **second.owned(0))[1] == "please acquire the port before modifying port state"
    assert second.result("get_port_status", port_id=0)["owner"] == ""
    second.close()


@pytest.mark.parametrize(("size", "speed"), GOLDEN)
def test_frames_leave_at_the_rate_of_the_line(bench: Bench, size: int, speed: int) -> None:
    trex, client = bench(ports=[{"speed": speed}] * 2)
    run(client, stream(size))
    trex.world.clock.advance(10.5)
    sent = client.result("get_port_stats", port_id=0)
    assert sent["opackets"] == pytest.approx(10.5 * GOLDEN[size, speed], rel=1e-9, abs=1)
    assert sent["obytes"] == sent["opackets"] * size
    assert sent["m_total_tx_pps"] == pytest.approx(GOLDEN[size, speed], rel=1e-6)
    assert sent["m_total_tx_bps"] * (1 + 20 / size) == pytest.approx(speed * 1e9, rel=1e-6)
    received = client.result("get_port_stats", port_id=1)
    assert 0 <= sent["opackets"] - received["ipackets"] <= 1e-6 * GOLDEN[size, speed] + 1


@pytest.mark.parametrize(
    ("mul", "rate"),
    [
        (multiplier("percentage", 25.0), 0.25 * 800e9 / 8 / 1538),
        (multiplier("bpsl1", 400e9), 400e9 / 8 / 1538),
        (multiplier("bps", 1e9), 1e9 / 8 / 1518),
        (multiplier("pps", 12345.0), 12345.0),
        (multiplier("raw", 3.0), 3.0),
    ],
)
def test_a_multiplier_is_a_rate_on_its_layer(bench: Bench, mul: dict[str, Any], rate: float) -> None:
    trex, client = bench()
    assert run(client, stream(), mul)["multiplier"] == pytest.approx(rate)
    trex.world.clock.advance(100.0)
    assert client.result("get_port_stats", port_id=0)["opackets"] == pytest.approx(100 * rate, abs=1)


def test_more_than_the_line_takes_is_refused_and_where_it_is_forced_the_line_is_full(bench: Bench) -> None:
    trex, client = bench()
    client.result("add_stream", **client.owned(0, stream_id=1, stream=stream()))
    asked = starting(client, multiplier("percentage", 200.0))
    told = "Expected L1 B/W: '1600 Gbps' exceeds port line rate: '800 Gbps'"
    assert client.error("start_traffic", **asked) == (-32000, told)
    client.result("start_traffic", **(asked | {"force": True}))
    trex.world.clock.advance(10.0)
    assert client.result("get_port_stats", port_id=0)["opackets"] == pytest.approx(650195059, abs=1)


@pytest.mark.parametrize(
    ("rate", "value", "frames"), [("bps_L1", 8e9, 650195), ("bps_L2", 8e9, 658762), ("percentage", 1.0, 650195)]
)
def test_a_stream_states_its_rate_on_its_layer(bench: Bench, rate: str, value: float, frames: int) -> None:
    trex, client = bench()
    made = stream()
    made["mode"]["rate"] = {"type": rate, "value": value}
    run(client, made, multiplier("raw", 1.0))
    trex.world.clock.advance(1.0)
    assert client.result("get_port_stats", port_id=0)["opackets"] == pytest.approx(frames, abs=1)


def test_counters_are_with_or_without_the_fcs_as_the_driver_has_it(bench: Bench) -> None:
    trex, client = bench(fcs=False)
    run(client, stream(1518, packets=1000), multiplier("pps", 1000.0))
    trex.world.clock.advance(2.0)
    sent = client.result("get_port_stats", port_id=0)
    assert (sent["opackets"], sent["obytes"]) == (1000, 1000 * 1514)


def test_frames_shorter_than_the_least_are_filled_up(bench: Bench) -> None:
    trex, client = bench()
    run(client, stream(18, packets=10), multiplier("pps", 1000.0))
    trex.world.clock.advance(1.0)
    assert client.result("get_port_stats", port_id=0)["obytes"] == 10 * 64
    refused = client.error("add_stream", **client.owned(1, stream_id=1, stream=stream(17)))
    assert refused == (-32000, "Bad packet size provided: 13. Should be between 14 and 9238")


def test_a_port_goes_from_idle_to_streams_to_tx_and_back_and_says_so(bench: Bench) -> None:
    trex, client = bench()

    def state() -> str:
        status = client.result("get_port_status", port_id=0, profile_id="*", block=False)
        assert status["state_profile"] == {"_": status["state"]}
        return str(status["state"])

    client.fetch()
    assert state() == "IDLE"
    assert "cannot be executed on current state: 'IDLE" in client.error("start_traffic", **starting(client))[1]
    run(client, stream(), duration=5.0)
    assert state() == "TX"
    assert "add_stream" in client.error("add_stream", **client.owned(0, stream_id=2, stream=stream()))[1]
    trex.world.clock.advance(4.0)
    assert state() == "TX"
    trex.world.clock.advance(1.5)
    assert state() == "STREAMS"
    client.result("start_traffic", **starting(client))
    client.result("stop_traffic", **client.owned(0, profile_id="*"))
    client.result("remove_all_streams", **client.owned(0, profile_id="*"))
    assert state() == "IDLE"
    events = client.fetch()
    assert [event["type"] for event in events] == [10, 0, 14, 4, 10, 0, 11, 1]
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + 8))
    assert {event["name"] for event in events} == {"trex-event"}
    assert client.fetch() == []


def test_traffic_lasts_as_long_as_it_was_told_by_the_clock_of_the_server(bench: Bench) -> None:
    trex, client = bench(ports=[{"ppm": 100.0}] * 2)
    run(client, stream(), duration=60.0)
    trex.world.clock.advance(100.0)
    assert client.result("get_port_stats", port_id=0)["opackets"] == pytest.approx(60 * 65019505.9, rel=1e-9)
    assert trex.truth.rate("1", "L1") == pytest.approx(800e9 * (1 + 1e-4), rel=1e-9)


def test_paused_traffic_goes_on_and_a_running_rate_is_changed(bench: Bench) -> None:
    trex, client = bench()
    run(client, stream(), multiplier("pps", 1000.0))
    trex.world.clock.advance(1.0)
    client.result("pause_traffic", **client.owned(0))
    assert client.result("get_port_status", port_id=0)["state"] == "PAUSE"
    trex.world.clock.advance(5.0)
    client.result("resume_traffic", **client.owned(0))
    for op, value, rate in (("abs", 500.0, 500.0), ("add", 100.0, 600.0), ("sub", 200.0, 400.0)):
        done = client.result("update_traffic", **client.owned(0, force=False, mul=multiplier("pps", value, op)))
        assert done["multiplier"] == pytest.approx(rate)
        trex.world.clock.advance(1.0)
    assert client.result("get_port_stats", port_id=0)["opackets"] == pytest.approx(2500, abs=4)
    less = client.owned(0, force=False, mul=multiplier("pps", 1000.0, "sub"))
    assert client.error("update_traffic", **less)[1] == "Update request will lower traffic to less than zero"


def test_packet_groups_are_counted_where_they_leave_and_where_they_arrive(bench: Bench) -> None:
    trex, client = bench(path={"latency": 30e-6, "jitter": 5e-6})
    client.result("add_stream", **client.owned(0, stream_id=1, stream=stream(512, group=5)))
    timed = stream(512, packets=100, group=6, rule_type="latency")
    timed["mode"]["rate"]["value"] = 50.0
    client.result("add_stream", **client.owned(0, stream_id=2, stream=timed))
    client.result("start_traffic", **starting(client, multiplier("percentage", 50.0)))
    assert client.result("get_active_pgids") == {"ids": {"flow_stats": [5], "latency": [6]}}
    trex.world.clock.advance(10.0)
    client.result("stop_traffic", **client.owned(0))
    trex.world.clock.advance(1.0)
    found = client.result("get_pgid_stats", pgids=[])
    flow = found["flow_stats"]["5"]
    assert flow["tp"]["0"] == flow["rp"]["1"] == pytest.approx(0.5 * 10 * 800e9 / 8 / 532, rel=1e-6)
    assert flow["tb"]["0"] == 512 * flow["tp"]["0"]
    assert (flow["tp"]["1"], flow["rp"]["0"]) == (0, 0)
    latency = found["latency"]["6"]
    assert found["flow_stats"]["6"]["rp"]["1"] == 100
    assert latency["lat"]["average"] == pytest.approx(30.0)
    assert (latency["lat"]["total_min"], latency["lat"]["total_max"]) == (25.0, 35.0)
    assert "er" not in latency
    assert list(client.result("get_pgid_stats", pgids=[6])["flow_stats"]) == ["6"]


def test_what_is_lost_is_missed_by_number(bench: Bench) -> None:
    trex, client = bench()
    trex.inject({"kind": "loss", "amount": 0.25})
    run(client, stream(packets=1000, group=6, rule_type="latency"), multiplier("raw", 1.0))
    trex.world.clock.advance(1100.0)
    found = client.result("get_pgid_stats", pgids=[6])
    assert found["flow_stats"]["6"]["rp"]["1"] == 750
    assert found["latency"]["6"]["er"] == {"drp": 250}


def test_a_wake_is_published_and_the_event_itself_is_fetched(bench: Bench) -> None:
    _, client = bench(rate=1.0)
    deadline = time.monotonic() + 5
    # A subscriber has joined some time after it connected, and hears of nothing before that.
    while not client.events.poll(20):
        client.result("publish_now", key=4711, baseline=False)
        assert time.monotonic() < deadline
    assert client.events.recv() == b"{}"
    client.result("publish_now", key=4712, baseline=True)
    event = client.fetch()[-1]
    assert (event["name"], event["type"], event["data"]) == ("trex-barrier", 4712, {})


def test_an_old_server_publishes_its_events(bench: Bench) -> None:
    _, client = bench(rate=1.0, bare=True, barrier=False)
    deadline = time.monotonic() + 5
    while not client.events.poll(20):
        client.acquire(0, force=True)
        assert time.monotonic() < deadline
    event = json.loads(client.events.recv())
    assert (event["name"], event["type"]) == ("trex-event", 5)


def test_work_in_progress_has_a_ticket_and_a_port_in_it_is_asked_again(bench: Bench) -> None:
    trex, client = bench(configuration=2.0)
    code, ticket = client.error("set_l2", **client.owned(0, dst_mac="02:00:00:00:00:01"))
    assert code == -32002
    assert client.error("get_async_results", ticket_id=int(ticket)) == (-32002, ticket)
    assert client.error("get_port_status", port_id=0) == (-32001, "")
    assert client.error("get_async_results", ticket_id=1)[0] == -32003
    trex.world.clock.advance(3.0)
    assert client.result("get_async_results", ticket_id=int(ticket)) == {}
    status = client.result("get_port_status", port_id=0)
    assert status["attr"]["layer_cfg"]["ether"]["dst"] == "02:00:00:00:00:01"
    assert status["attr"]["speed"] == 800.0


def test_a_link_that_is_down_is_told_and_keeps_traffic_from_starting(bench: Bench) -> None:
    _, client = bench()
    client.result("add_stream", **client.owned(0, stream_id=1, stream=stream()))
    client.fetch()
    client.result("set_port_attr", **client.owned(1, attr={"link_status": {"up": False}}))
    assert client.result("get_port_status", port_id=0)["attr"]["link"] == {"up": False}
    assert client.error("start_traffic", **starting(client)) == (-32000, "Link state is DOWN.")
    assert {event["type"] for event in client.fetch()} == {8}
    assert client.error("set_port_attr", port_id=0, attr={"colour": {}})[1] == "unknown attribute type: 'colour'"


def test_what_is_not_simulated_is_refused_when_it_is_asked_for(bench: Bench) -> None:
    _, client = bench()
    for more in ({"isg": 10.0}, {"next_stream_id": 2}, {"self_start": False}):
        assert "not simulated" in client.error("add_stream", **client.owned(0, stream_id=1, stream=stream(**more)))[1]
    assert client.error("push_remote", **client.owned(0))[0] == -32601
    assert client.result("get_stream_list", port_id=0, profile_id="_") == []


def test_two_streams_of_one_number_are_one_too_many(bench: Bench) -> None:
    _, client = bench()
    asked = client.owned(0, stream_id=4, stream=stream())
    client.result("add_stream", **asked)
    assert client.error("add_stream", **asked)[1] == "stream 4 already exists in profile_id(_)"
    assert client.result("get_stream", port_id=0, stream_id=4, get_pkt=True)["stream"] == asked["stream"]


def test_a_lost_reply_is_never_sent_and_the_next_client_is_served(bench: Bench) -> None:
    trex, client = bench()
    trex.inject("drop")
    client.requests.setsockopt(zmq.RCVTIMEO, 300)
    with pytest.raises(zmq.Again):
        client.ask("get_global_stats")
    again = Client(trex)
    assert "m_tx_bps" in again.result("get_global_stats", api_h=client.api)
    again.close()


def test_a_late_half_or_garbled_reply_is_what_it_is(bench: Bench) -> None:
    trex, client = bench()
    ask = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}).encode()
    whole = len(client.raw(ask))
    trex.inject("half_line")
    assert len(client.raw(ask)) < 0.7 * whole
    trex.inject("garble")
    with pytest.raises(json.JSONDecodeError):
        json.loads(client.raw(ask))
    trex.inject({"kind": "delay", "amount": 0.3})
    began = time.monotonic()
    client.raw(ask)
    assert time.monotonic() - began >= 0.3


def test_a_server_that_starts_anew_knows_nobody(bench: Bench) -> None:
    trex, client = bench()
    trex.inject({"kind": "reboot", "amount": 0.1})
    client.requests.setsockopt(zmq.RCVTIMEO, 200)
    with pytest.raises(zmq.Again):
        client.ask("ping")
    time.sleep(0.2)
    again = Client(trex)
    assert again.error("get_port_status", port_id=0, api_h=client.api)[0] == -32000
    again.sync()
    assert again.result("get_port_status", port_id=0)["owner"] == ""
    again.close()


def test_ports_are_stolen_locked_and_not_given_up(bench: Bench) -> None:
    trex, client = bench()
    trex.inject("stolen")
    assert "not owned by you" in client.error("stop_traffic", **client.owned(0))[1]
    assert client.result("get_port_status", port_id=1)["owner"] == "somebody-else"
    trex.inject("force_refused")
    taken = {"port_id": 0, "user": "aical", "session_id": 1}
    assert client.error("acquire", force=True, **taken)[1] == "port is already taken by 'somebody-else'"
    client.acquire(0, force=True)
    client.result("release", **client.owned(0))
    trex.inject("locked")
    assert client.error("acquire", force=False, **taken)[1] == "port is already taken by 'somebody-else'"


def test_counters_freeze_and_wrap(bench: Bench) -> None:
    trex, client = bench()
    trex.inject({"kind": "counter_wrap", "amount": 1000})
    run(client, stream(), multiplier("pps", 100.0))
    before = client.result("get_port_stats", port_id=0)
    assert before["opackets"] == (1 << 64) - 1000
    trex.inject("frozen")
    trex.world.clock.advance(20.0)
    assert client.result("get_port_stats", port_id=0) == before
    assert client.result("get_port_stats", port_id=0)["opackets"] == 1000


def test_ports_may_be_held_from_the_start(bench: Bench) -> None:
    _, client = bench(reserve=False, held_by="night-shift")
    client.sync()
    taken = {"port_id": 1, "user": "aical", "session_id": 1}
    assert client.error("acquire", force=False, **taken)[1] == "port is already taken by 'night-shift'"
    client.acquire(1, force=True)
