"""The iperf3 driver against real iperf3: over loopback, and between two hosts over a cable of known rate."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.network import _iperf3_output
from aicalib_hw.instruments.network.iperf3 import Iperf3

from aicalib_hw import rates
from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    IdentityMismatch,
    InstrumentReportedError,
    LockedByOther,
    MissingProgram,
    NotSupported,
    OutOfRange,
    ProtocolError,
    UsageError,
)
from aicalib_hw.interfaces import Gate, Rate, Stream
from aicalib_hw.readings import Validity, ValidityStatus

from .conftest import Host

FORWARD = Stream("forward", "local", "remote", 1518, 1.0)
BACKWARD = Stream("backward", "remote", "local", 1518, 1.0)


@pytest.fixture(autouse=True)
def iperf3_is_there() -> None:
    if not shutil.which("iperf3"):
        pytest.skip("iperf3 is not installed: sudo apt-get install iperf3")


@pytest.fixture
def server() -> Iterator[Callable[[], tuple[int, subprocess.Popen[bytes]]]]:
    """Start an iperf3 server on loopback and return its port and process."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[int, subprocess.Popen[bytes]]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen(
            ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port), "--forceflush"], stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        while b"listening" not in process.stdout.readline():
            assert process.poll() is None
        threading.Thread(target=process.stdout.read, daemon=True).start()
        return port, process

    yield start
    for process in started:
        process.kill()
        process.wait(5.0)
        assert process.stdout is not None
        process.stdout.close()


def measured(address: str, stream: Stream, seconds: float = 1.0) -> Any:
    with Iperf3(address) as tester, tester.reserve(("local", "remote"), owner="test") as reservation:
        reservation.configure([stream])
        return reservation.measure_throughput(Gate("seconds", seconds), settle=0.0)


def test_the_installed_client_says_who_it_is() -> None:
    with Iperf3("iperf3://127.0.0.1") as tester:
        assert (tester.identity.maker, tester.identity.model) == ("ESnet", "iperf3")
        assert tester.identity.firmware.startswith("3.")
        assert tester.identity.extra["build"].startswith("iperf 3.")
        assert tester.identity.extra["system"].startswith("Linux")
        assert not tester.identity.simulated
        assert tester.snapshot()["transport"].value == "tcp"
        assert [port.port for port in tester.ports()] == ["local", "remote"]


@pytest.mark.parametrize("stream", [FORWARD, BACKWARD], ids=lambda stream: stream.name)
def test_what_tcp_delivered_is_the_receivers_bytes_over_the_receivers_time(
    server: Callable[[], Any], stream: Stream
) -> None:
    port, _ = server()
    result = measured(f"iperf3://127.0.0.1:{port}?omit=0", stream)
    end = result.evidence["end"]["sum_received"]
    assert result.value == pytest.approx(8 * end["bytes"] / (end["end"] - end["start"]))
    assert result.definition == "rate/L4/tcp/unidirectional"
    assert result.validity
    assert 0.9 < result.evidence["received_s"] < 1.5
    assert ("-R" in result.evidence["command"].split()) == (stream is BACKWARD)
    widths = {component.name: component.half_width for component in result.components}
    late = "end of the receiver's time"
    assert widths.keys() == {"time base of the receiver", "start and stop", late}
    sent = result.evidence["end"]["sum_sent"]
    longer = (end["end"] - end["start"]) - (sent["end"] - sent["start"])
    assert widths[late] == pytest.approx(max(0.0, longer) / (end["end"] - end["start"]))


def test_udp_counts_datagrams_of_the_frame_size_and_their_loss(server: Callable[[], Any]) -> None:
    port, _ = server()
    offered = Rate(20e6, "L2-fcs")
    with Iperf3(f"iperf3://127.0.0.1:{port}?transport=udp&omit=0") as tester:
        reservation = tester.reserve(("local",), owner="test")
        reservation.configure([Stream("udp", "local", "remote", 1518, offered)])
        result = reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
        counters = reservation.read()
    frame = rates.Frame(1518, headers=28)
    assert result.definition == "rate/L4/udp/unidirectional"
    assert result.value is not None
    assert rates.convert(float(result.value), "L4", "L2-fcs", frame) == pytest.approx(20e6, rel=0.03)
    assert counters.streams["udp"].rx_bytes == result.evidence["received_bytes"]
    assert result.evidence["received_bytes"] % 1472 == 0
    assert counters.streams["udp"].lost == 0
    assert counters.ports["local"].rx_bytes is None


def test_a_tcp_rate_that_was_asked_for_is_kept(server: Callable[[], Any]) -> None:
    port, _ = server()
    stream = Stream("slow", "local", "remote", 1518, Rate(50e6, "L4"))
    result = measured(f"iperf3://127.0.0.1:{port}?omit=0&parallel=2", stream)
    assert result.value == pytest.approx(50e6, rel=0.15)


def test_no_server_is_a_failed_connection_although_iperf3_may_end_with_status_0() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionFailed) as failed:
        measured(f"iperf3://127.0.0.1:{port}", FORWARD)
    assert failed.value.where == f"127.0.0.1:{port}"
    assert "iperf3 -s" in failed.value.advice


def test_a_busy_server_is_somebody_elses(server: Callable[[], Any]) -> None:
    port, _ = server()
    other = subprocess.Popen(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", "10"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        with pytest.raises(LockedByOther):
            measured(f"iperf3://127.0.0.1:{port}", FORWARD)
    finally:
        other.kill()
        other.wait(5.0)


def test_a_server_that_dies_in_the_run_leaves_what_was_seen_and_no_value(server: Callable[[], Any]) -> None:
    port, process = server()
    threading.Timer(2.5, process.kill).start()
    result = measured(f"iperf3://127.0.0.1:{port}?omit=0", FORWARD, 30.0)
    assert result.value is None
    assert result.validity.status is ValidityStatus.ERROR
    assert result.validity != Validity()
    assert len(result.evidence["intervals"]) >= 1
    assert result.evidence["intervals"][0]["bytes"] > 0


@pytest.mark.alone
def test_abort_ends_the_client_and_nothing_goes_on_sending(server: Callable[[], Any]) -> None:
    port, _ = server()
    with Iperf3(f"iperf3://127.0.0.1:{port}?omit=0") as tester:
        reservation = tester.reserve(("local",), owner="test")
        reservation.configure([FORWARD])
        threading.Timer(0.5, tester.abort).start()
        began = time.monotonic()
        with pytest.raises(Aborted):
            reservation.measure_throughput(Gate("seconds", 60.0), settle=0.0)
        assert time.monotonic() - began < 6.0
        assert not reservation.running
        assert reservation.release()
        time.sleep(0.5)
        assert reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0).validity


@pytest.mark.alone
def test_goodput_over_a_shaped_cable_is_that_of_the_shaper(two_hosts: tuple[Host, Host], tmp_path: Path) -> None:
    """tbf counts Ethernet frames without FCS: 1514 bytes that carry 1448, with the time-stamp option of TCP.

    Its bucket is full at first, 0.2 % of what goes through, and lets a timer of this host be 10 ms late.
    """
    here, there = two_hosts
    shaped = 100e6
    here.run(
        "tc",
        "qdisc",
        "add",
        "dev",
        here.interface,
        "root",
        "tbf",
        "rate",
        "100mbit",
        "burst",
        "128kb",
        "latency",
        "100ms",
    )
    process = there.start("iperf3", "-s", "-1", "-B", there.address)
    try:
        time.sleep(0.5)
        client = here.wrapper("iperf3", tmp_path)
        before = there.counter("rx_bytes"), there.counter("rx_packets")
        result = measured(f"iperf3://{there.address}?omit=0&program={client}", FORWARD, 6.0)
        after = there.counter("rx_bytes"), there.counter("rx_packets")
    finally:
        process.kill()
        process.wait(5.0)
    frame = rates.Frame(1518, headers=rates.IPV4_TCP)
    at_layer_2 = rates.convert(float(result.value), "L4", "L2-nofcs", frame)
    assert float(result.value) == pytest.approx(shaped * 1448 / 1514, rel=0.01)
    assert at_layer_2 == pytest.approx(shaped, rel=0.01)
    octets, packets = after[0] - before[0], after[1] - before[1]
    carried = result.evidence["received_bytes"] * 1514 / 1448
    assert carried == pytest.approx(octets, rel=0.01)
    assert octets / packets == pytest.approx(1514, rel=0.01)


@pytest.mark.parametrize(
    "address",
    [
        "iperf3://",
        "iperf3://host:port",
        "iperf3://-s",
        "iperf3://host?transport=sctp",
        "iperf3://host?parallel=0",
        "iperf3://host?omit=61",
        "iperf3://host?wndow=3",
        "iperf3://host/path",
    ],
)
def test_an_address_that_asks_for_nonsense_is_refused_at_once(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        Iperf3(address)
    assert address in str(refused.value)


def test_another_program_or_none_is_not_taken_for_iperf3(tmp_path: Path) -> None:
    other = tmp_path / "iperf3"
    for said in ("echo 'iperf version 2.1.8 (12 August 2022) pthreads'", "echo 'iperf 3.1 (cJSON 1.5.2)'", "true"):
        other.write_text(f"#!/bin/sh\n{said}\n")
        other.chmod(0o755)
        with pytest.raises(IdentityMismatch):
            Iperf3(f"iperf3://127.0.0.1?program={other}").open()
    with pytest.raises(MissingProgram, match="apt-get install iperf3"):
        Iperf3("iperf3://127.0.0.1?program=iperf3-is-not-here").open()


@pytest.mark.parametrize("gate", [Gate("packets", 1000), Gate("seconds", 0.5), Gate("seconds", 0), Gate("host", 10)])
def test_a_gate_that_iperf3_lacks_is_refused_before_traffic(gate: Gate) -> None:
    with Iperf3("iperf3://127.0.0.1:1") as tester:
        reservation = tester.reserve(("local",), owner="test")
        reservation.configure([FORWARD])
        with pytest.raises(OutOfRange):
            reservation.measure_throughput(gate, settle=0.0)


def test_what_cannot_be_offered_is_refused_before_traffic() -> None:
    with Iperf3("iperf3://127.0.0.1:1") as tcp, Iperf3("iperf3://127.0.0.1:1?transport=udp") as udp:
        over_tcp, over_udp = (tester.reserve(("local",), owner="test") for tester in (tcp, udp))
        for reservation, stream in (
            (over_tcp, Stream("half", "local", "remote", 1518, 0.5)),
            (over_tcp, Stream("layer 2", "local", "remote", 1518, Rate(1e9, "L2-fcs"))),
            (over_tcp, Stream("loop", "local", "local", 1518, 1.0)),
            (over_tcp, Stream("nothing", "local", "remote", 1518, Rate(0.0, "L4"))),
            (over_udp, Stream("nothing", "local", "remote", 1518, Rate(0.0, "L2-fcs"))),
            (over_udp, Stream("negative", "local", "remote", 1518, Rate(-1e6, "L4"))),
            (over_udp, Stream("line", "local", "remote", 1518, 1.0)),
            (over_udp, Stream("tiny", "local", "remote", 61, Rate(1e6, "L4"))),
        ):
            with pytest.raises(OutOfRange):
                reservation.configure([stream])
        with pytest.raises(OutOfRange):
            tcp.reserve(("0/0",), owner="test")
        with pytest.raises(NotSupported):
            over_tcp.configure([FORWARD, BACKWARD])
        with pytest.raises(NotSupported):
            tcp.reserve(("local",), owner="test", force=True)
        with pytest.raises(UsageError):
            over_tcp.measure_throughput(Gate("seconds", 1), settle=0.0)


@pytest.mark.parametrize(
    "said", ["", "[]", '{"end": {"sum_received": {"bytes": -nan}}}', '{"a": NaN}', "iperf3: error"]
)
def test_what_is_no_json_object_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        _iperf3_output.parse(said)


@pytest.mark.parametrize(
    "end",
    [
        {},
        {"sum_received": {"bytes": 1}},
        {"sum_received": {"bytes": None, "start": 0, "end": 1}},
        {"sum_received": {"bytes": 1, "start": 0, "end": 0}},
        {"sum_sent": {"bytes": 1, "start": 0, "end": 1}},
    ],
)
def test_without_the_receivers_count_there_is_no_measurement(end: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        _iperf3_output.received({"end": end}, "here")


def test_the_receivers_own_end_counts_and_not_the_senders_seconds() -> None:
    said = {"end": {"sum_received": {"start": 0, "end": 1.25, "seconds": 1.0, "bytes": 125_000_000}}}
    assert _iperf3_output.received(said, "here") == (125_000_000, 1.25)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("error - the server is busy running a test. try again later", LockedByOther),
        ("unable to connect to server: Connection refused", ConnectionFailed),
        ("unable to send cookie to server: Permission denied", InstrumentReportedError),
    ],
)
def test_what_iperf3_says_went_wrong_has_a_type(words: str, kind: type[Exception]) -> None:
    error = _iperf3_output.failure_of(words, "127.0.0.1:5201", "iperf3 -c 127.0.0.1")
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(("sent", "limited"), [(1.0, False), (0.995, False), (0.9, True), (0.3, True)])
def test_a_sender_of_datagrams_that_is_itself_the_limit_says_nothing_about_the_path(sent: float, limited: bool) -> None:
    said = {"end": {"sum_sent": {"start": 0, "end": 10.0, "bytes": round(sent * 1.25e9)}}}
    assert bool(_iperf3_output.fell_short(said, 1e9)) is limited
    assert _iperf3_output.fell_short({"end": {}}, 1e9) == ""


SENDS = """
from aicalib_hw.instruments.network.iperf3 import Iperf3
from aicalib_hw.interfaces import Gate, Stream
with Iperf3("iperf3://127.0.0.1?serve=yes&omit=0") as tester:
    reservation = tester.reserve(("local", "remote"), owner="test")
    reservation.configure([Stream("forward", "local", "remote", 1518, 1.0)])
    print(tester.place.port, flush=True)
    reservation.measure_throughput(Gate("seconds", 60.0), settle=0.0)
"""


def test_a_killed_program_leaves_neither_traffic_nor_a_server_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", SENDS], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        port = program.stdout.readline().strip()
        deadline = time.monotonic() + 10
        while len(_running_at(port)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(_running_at(port)) >= 2
        program.kill()
    deadline = time.monotonic() + 10
    while _running_at(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _running_at(port) == []


def _running_at(port: str) -> list[int]:
    """The iperf3 processes, and those that stand between them and us, that were told this port."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"-p" in words and words[words.index(b"-p") + 1] == port.encode():
                found.append(int(path.parent.name))
    return found
