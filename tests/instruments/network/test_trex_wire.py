"""What TRex takes and gives, byte for byte: packing, JSON-RPC, errors by their numbers, frames that others can read."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import struct
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from aicalib_hw.instruments.network import _trex_model as model
from aicalib_hw.instruments.network._trex_session import TrexSession, packed, unpacked
from aicalib_hw.instruments.network.trex import Trex
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    ConnectionLost,
    CountersWentBack,
    DeadlineExceeded,
    IdentityMismatch,
    InstrumentReportedError,
    LicenceMissing,
    LinkDown,
    LockedByOther,
    ProtocolError,
)
from aicalib_hw.interfaces import Gate, Rate, Stream
from aicalib_hw.trace import Trace
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.zmq import RequestWire

Answer = Callable[[dict[str, Any]], Any]


class Refused(Exception):
    """What the scripted server answers as an error: number, message, and its specific words."""


class Scripted:
    """A server that answers as recorded sessions of trex-core 3.08 do: by method, packed or plain, in one thread."""

    def __init__(self, *, packs: bool) -> None:
        self.packs = packs
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.raw: list[bytes] = []
        self.answers: dict[str, Answer] = {
            "api_sync_v2": lambda _: {"api_h": "xyzzy"},
            "get_version": lambda _: {"version": "v3.08", "mode": "STL", "build_date": "x", "built_by": "hhaim"},
            "get_system_info": lambda _: {
                "hostname": "gen",
                "port_count": 2,
                "ports": [{"index": n, "rx": {"caps": ["flow_stats", "latency", "rx_bytes"]}} for n in (0, 1)],
            },
        }
        self.reply: Callable[[bytes], bytes] = lambda answer: answer
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.REP)
        self._socket.linger = 0
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._ends = threading.Event()
        self.leaves = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _serve(self) -> None:
        while not self._ends.is_set():
            if not self._socket.poll(20):
                continue
            data = self._socket.recv()
            self.raw.append(data)
            mark, length = struct.unpack(">II", data[:8])
            text = zlib.decompress(data[8:])
            assert (mark, length) == (0xABE85CEA, len(text))
            asked = json.loads(text)
            replies = [self._answer(one) for one in (asked if isinstance(asked, list) else [asked])]
            if self.leaves:
                self._socket.close(linger=0)
                return
            plain = json.dumps(replies if isinstance(asked, list) else replies[0]).encode()
            if self.packs:
                plain = struct.pack(">II", 0xABE85CEA, len(plain)) + zlib.compress(plain)
            self._socket.send(self.reply(plain))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((request["method"], request["params"]))
        envelope = {"jsonrpc": "2.0", "id": request["id"]}
        answer = self.answers.get(request["method"])
        if answer is None:
            return envelope | {"error": {"code": -32601, "message": "Method not found"}}
        try:
            return envelope | {"result": answer(request["params"])}
        except Refused as refused:
            code, message, specific = refused.args
            return envelope | {"error": {"code": code, "message": message, "specific_err": specific}}


@pytest.fixture(params=[True, False], ids=["packed replies", "plain replies"])
def server(request: pytest.FixtureRequest) -> Iterator[Scripted]:
    scripted = Scripted(packs=request.param)
    yield scripted
    scripted.close()


@pytest.fixture
def session(server: Scripted) -> Iterator[TrexSession]:
    with TrexSession("127.0.0.1", server.port, timeout=1.0) as opened:
        opened.agree()
        yield opened


def refusing(code: int, message: str, specific: Any = "") -> Answer:
    def answer(_: dict[str, Any]) -> Any:
        raise Refused(code, message, specific)

    return answer


@given(st.binary(max_size=3000))
def test_what_was_packed_is_what_comes_out_and_announces_its_length(message: bytes) -> None:
    data = packed(message)
    assert struct.unpack(">II", data[:8]) == (0xABE85CEA, len(message))
    assert zlib.decompress(data[8:]) == message
    assert unpacked(data) == message


@given(st.binary(min_size=20, max_size=300), st.integers(1, 12), st.integers(-3, 3).filter(bool))
def test_a_packed_message_that_is_not_whole_is_refused(message: bytes, missing: int, off: int) -> None:
    data = packed(message)
    wrong_length = data[:4] + struct.pack(">I", len(message) + off) + data[8:]
    for damaged in (data[:-missing], wrong_length):
        with pytest.raises(ProtocolError):
            unpacked(damaged)


def test_a_reply_that_unpacks_to_more_than_it_announces_takes_no_memory_for_it() -> None:
    bomb = struct.pack(">II", 0xABE85CEA, 100) + zlib.compress(bytes(20 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="not whole"):
            unpacked(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_every_request_is_packed_and_bears_the_handle_of_the_interface(server: Scripted, session: TrexSession) -> None:
    session.batch([("get_version", {}), ("get_system_info", {})])
    assert server.asked[0] == ("api_sync_v2", {"name": "STL", "major": 5, "minor": 1})
    assert [method for method, _ in server.asked[1:]] == ["get_version", "get_system_info"]
    assert all(parameters == {"api_h": "xyzzy"} for _, parameters in server.asked[1:])
    assert len(server.raw) == 2, "a batch is one exchange"


@pytest.mark.parametrize(
    ("code", "message", "specific", "kind"),
    [
        (-32000, "Failed To Execute", "port is already taken by 'x'", LockedByOther),
        (-32000, "port is not owned by you or your current executing session", "", LockedByOther),
        (-32000, "Failed To Execute", "link state is down on port 0", LinkDown),
        (-32000, "Failed To Execute", "no licence", LicenceMissing),
        (-32000, "Failed To Execute", "packet is too long", InstrumentReportedError),
        (-32602, "Invalid params", "port_id", InstrumentReportedError),
        (-32603, "Internal error", "", InstrumentReportedError),
    ],
)
def test_an_error_of_the_server_keeps_its_number_and_words(
    server: Scripted, session: TrexSession, code: int, message: str, specific: str, kind: type[InstrumentReportedError]
) -> None:
    server.answers["acquire"] = refusing(code, message, specific)
    with pytest.raises(kind) as refused:
        session.call("acquire", port_id=0)
    assert (refused.value.code, refused.value.command) == (code, "acquire")
    assert (specific or message) in str(refused.value)


def test_what_takes_long_is_fetched_by_its_ticket_and_what_is_put_off_is_asked_again(
    server: Scripted, session: TrexSession
) -> None:
    polls: Iterator[Answer] = iter([refusing(-32002, "work in progress", 7), lambda _: {"done": True}])
    server.answers["reset"] = refusing(-32002, "work in progress", 7)
    server.answers["get_async_results"] = lambda parameters: next(polls)(parameters)
    tries: Iterator[Answer] = iter([refusing(-32001, "try again"), lambda _: "ok"])
    server.answers["busy"] = lambda parameters: next(tries)(parameters)
    server.answers["idle"] = lambda _: 1
    assert session.call("reset") == {"done": True}
    assert [parameters["ticket_id"] for method, parameters in server.asked if method == "get_async_results"] == [7, 7]
    assert session.batch([("idle", {}), ("busy", {})]) == [1, "ok"]
    assert [method for method, _ in server.asked].count("idle") == 1
    server.answers["reset"] = refusing(-32001, "try again")
    with pytest.raises(DeadlineExceeded):
        session.call("reset")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"3",
        b'{"jsonrpc": "2.0", "id": 99, "result": 1}',
        b'{"id": 2}',
        b'[{"id": 1}, 2]',
    ],
)
def test_a_reply_that_the_protocol_does_not_allow_is_told_and_the_next_exchange_is_sound(
    server: Scripted, session: TrexSession, reply: bytes
) -> None:
    server.reply = lambda _: reply
    with pytest.raises(ProtocolError):
        session.call("get_version")
    server.reply = lambda answer: answer
    assert session.call("get_version")["version"] == "v3.08"


def test_a_late_reply_is_never_taken_for_the_next(server: Scripted) -> None:
    with TrexSession("127.0.0.1", server.port, timeout=0.3) as session:
        session.agree()
        server.answers["slow"] = lambda _: (threading.Event().wait(0.6), "late")[1]
        with pytest.raises(DeadlineExceeded) as late:
            session.call("slow", packet="A" * 10_000)
        assert len(str(late.value)) < 600
        session.timeout = 2.0
        assert session.call("get_version")["version"] == "v3.08"


def test_a_server_that_goes_away_is_noticed_at_once_and_not_after_the_deadline(server: Scripted) -> None:
    with TrexSession("127.0.0.1", server.port, timeout=30.0) as session:
        session.agree()
        server.leaves = True
        began = time.monotonic()
        with pytest.raises(ConnectionLost):
            session.call("get_version")
        assert time.monotonic() - began < 5.0


@pytest.mark.alone
def test_abort_ends_a_wait_of_another_thread(server: Scripted) -> None:
    with TrexSession("127.0.0.1", server.port, timeout=30.0) as session:
        session.agree()
        server.answers["hang"] = lambda _: server._ends.wait(2)
        threading.Timer(0.3, session.abort).start()
        began = time.monotonic()
        with pytest.raises(Aborted):
            session.call("hang")
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(("size", "whole"), [(1000, True), (1001, False)])
def test_a_reply_of_more_than_the_largest_size_ends_the_connection(size: int, whole: bool) -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as peer:
        peer.linger = 0
        wire = RequestWire(f"tcp://127.0.0.1:{peer.bind_to_random_port('tcp://127.0.0.1')}", timeout=5.0, largest=1000)
        try:
            wire.send(b"?", Deadline(5.0))
            assert peer.poll(5000)
            peer.recv()
            peer.send(bytes(size))
            if whole:
                assert len(wire.receive(Deadline(5.0))) == size
            else:
                with pytest.raises(ConnectionResetError, match="larger than 1000 bytes"):
                    wire.receive(Deadline(5.0))
        finally:
            wire.close()


def test_nobody_and_somebody_who_speaks_otherwise_are_failed_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for port in (1, mute.getsockname()[1]):
            with pytest.raises(ConnectionFailed):
                TrexSession("127.0.0.1", port, timeout=0.5).open()


@pytest.mark.parametrize(
    ("method", "answer", "why"),
    [
        ("api_sync_v2", refusing(-32601, "Method not found"), "2.30"),
        ("api_sync_v2", refusing(-32000, "API version mismatch"), "mismatch"),
        ("get_version", lambda _: {"version": "v3.08", "mode": "ASTF"}, "ASTF"),
    ],
)
def test_a_server_of_another_kind_is_refused(server: Scripted, method: str, answer: Answer, why: str) -> None:
    server.answers[method] = answer
    with pytest.raises(IdentityMismatch) as refused:
        Trex(f"trex://127.0.0.1:{server.port}", timeout=1.0).open()
    assert why in str(refused.value)


def test_the_trace_shows_what_was_said_and_not_how_it_was_packed(server: Scripted) -> None:
    with Trace() as trace, TrexSession("127.0.0.1", server.port, timeout=1.0, trace=trace) as session:
        session.agree()
        said = [(entry["direction"], json.loads(entry["text"])) for entry in trace.recent]
    assert [direction for direction, _ in said] == ["write", "read"]
    assert said[0][1]["method"] == "api_sync_v2"
    assert said[1][1]["result"] == {"api_h": "xyzzy"}


class Ports:
    """Two ports of the scripted server that count what is sent, from numbers that were there before."""

    def __init__(self, server: Scripted, *, size: int, before: int) -> None:
        self.size, self.frames, self.state, self.before = size, 0, "IDLE", before
        self.owner = ["", ""]
        self.duration = 0.0
        self.counts_bytes = True
        server.answers |= {
            "get_port_status": self.status,
            "acquire": self.acquire,
            "release": self.release,
            "remove_all_streams": lambda _: {},
            "add_stream": lambda _: {},
            "start_traffic": self.start,
            "stop_traffic": lambda _: {},
            "get_port_stats": self.statistics,
            "get_pgid_stats": self.flows,
        }

    def status(self, asked: dict[str, Any]) -> dict[str, Any]:
        link = {"up": True}
        return {"owner": self.owner[asked["port_id"]], "state": self.state, "attr": {"speed": 25.0, "link": link}}

    def acquire(self, asked: dict[str, Any]) -> str:
        self.owner[asked["port_id"]] = asked["user"]
        return f"handler{asked['port_id']}"

    def release(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["handler"] == f"handler{asked['port_id']}"
        self.owner[asked["port_id"]] = ""
        return {}

    def start(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.duration = asked["duration"]
        self.frames = round(asked["duration"] * 1_000_000)
        return {"multiplier": 1.0, "ts": 1.0}

    def statistics(self, asked: dict[str, Any]) -> dict[str, Any]:
        side = "o" if asked["port_id"] == 0 else "i"
        counts = {f"{one}{what}": self.before for one in "io" for what in ("packets", "bytes")}
        counts[f"{side}packets"] += self.frames
        counts[f"{side}bytes"] += self.frames * self.size
        return counts | {"m_total_tx_bps": 1e9, "m_total_rx_bps": 1e9}

    def flows(self, asked: dict[str, Any]) -> dict[str, Any]:
        (number,) = asked["pgids"]
        frames, size = ((self.before + one) % 2**64 for one in (self.frames, self.frames * self.size))
        flow = {"tp": {"0": frames}, "tb": {"0": size}, "rp": {"1": frames}}
        if self.counts_bytes:
            flow["rb"] = {"1": size}
        return {"flow_stats": {str(number): flow}, "ver_id": {str(number): 1}}


@pytest.mark.parametrize("before", [0, 5_000_000, 2**64 - 1000], ids=["from zero", "running on", "wrapping"])
def test_a_rate_is_what_was_counted_since_traffic_began(server: Scripted, before: int) -> None:
    ports = Ports(server, size=1518, before=before)
    with Trex(f"trex://127.0.0.1:{server.port}?refresh=0.05&jitter_us=10", timeout=1.0) as tester:
        with tester.reserve(["0", "1"], owner="test") as reservation:
            reservation.configure([Stream("there", "0", "1", 1518, Rate(1e6 * 8 * 1518, "L2-fcs"))])
            result = reservation.measure_throughput(Gate("seconds", 0.5), settle=0.0)
        assert (result.validity, ports.duration) == (result.validity, 0.5)
        assert result.validity, result.validity.reasons
        # 1e6 frames/s of 1518 bytes: 12.144 Gbit/s of layer 2.
        assert result.value == pytest.approx(12.144e9, rel=1e-12)
        assert result.evidence["streams"]["there"]["sent"] == 500_000
        assert ports.owner == ["", ""]
    sent = dict(server.asked)
    assert sent["start_traffic"]["mul"] == {"type": "raw", "op": "abs", "value": 1.0}
    assert sent["add_stream"]["stream"]["mode"] == {
        "type": "continuous",
        "rate": {"type": "pps", "value": pytest.approx(1e6)},
    }


def test_counters_that_somebody_reset_are_told_and_no_number_near_the_end_of_64_bits(server: Scripted) -> None:
    ports = Ports(server, size=1518, before=5_000_000)
    with (
        Trex(f"trex://127.0.0.1:{server.port}?refresh=0.05", timeout=1.0) as tester,
        tester.reserve(["0", "1"], owner="test") as reservation,
    ):
        reservation.configure([Stream("there", "0", "1", 1518, Rate(1e6 * 8 * 1518, "L2-fcs"))])
        assert reservation.read().ports["0"].tx_frames == 0
        ports.before = 0
        with pytest.raises(CountersWentBack) as told:
            reservation.read()
        assert "from 5000000 to 0" in str(told.value)
        reservation.clear()
        assert reservation.read().ports["0"].tx_frames == 0


def test_an_adapter_that_counts_no_bytes_of_a_flow_has_none_and_not_zero(server: Scripted) -> None:
    ports = Ports(server, size=1518, before=0)
    ports.counts_bytes = False
    with (
        Trex(f"trex://127.0.0.1:{server.port}?refresh=0.05&jitter_us=10", timeout=1.0) as tester,
        tester.reserve(["0", "1"], owner="test") as reservation,
    ):
        reservation.configure([Stream("there", "0", "1", 1518, Rate(1e6 * 8 * 1518, "L2-fcs"))])
        assert reservation.measure_throughput(Gate("seconds", 0.5), settle=0.0).validity
        counted = reservation.read().streams["there"]
    assert (counted.rx_frames, counted.rx_bytes) == (500_000, None)


def a_stream(size: int, **more: Any) -> Stream:
    return Stream("there", "0", "1", size, 1.0, **more)


def test_a_frame_of_every_size_is_udp_over_ip_as_wireshark_reads_it(tmp_path: Path) -> None:
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed: sudo apt-get install tshark")
    sizes = (64, 512, 1518, 9018)
    frames = [base64.b64decode(model.stream(a_stream(size), 1, gap=20.0)["packet"]["binary"]) for size in sizes]
    assert [len(frame) for frame in frames] == [size - 4 for size in sizes]
    capture = tmp_path / "frames.pcap"
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    capture.write_bytes(
        header + b"".join(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)
    )
    fields = ("ip.src", "ip.dst", "ip.len", "ip.checksum.status", "udp.length", "_ws.malformed")
    shown = subprocess.run(
        ["tshark", "-r", str(capture), "-o", "ip.check_checksum:TRUE", "-T", "fields"]
        + [part for name in fields for part in ("-e", name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.splitlines()
    assert [line.split("\t") for line in shown] == [
        ["198.18.0.1", "198.19.0.1", str(size - 18), "1", str(size - 38), ""] for size in sizes
    ]


def test_headers_of_the_users_own_come_first_and_are_filled_up() -> None:
    data = model.frame(a_stream(64, headers="ffffffffffff0000000000018100"))
    assert data[:14].hex() == "ffffffffffff0000000000018100"
    assert data[14:] == bytes(46)
