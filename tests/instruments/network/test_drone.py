"""The driver for Ostinato's drone against a real drone, its counts against those of the kernel."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aicalib_hw.instruments.network.drone import Drone

from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    LinkDown,
    LockedByOther,
    NotOpen,
    NotSupported,
    OutOfRange,
    ProtocolError,
    UsageError,
)
from aicalib_hw.interfaces import Gate, Rate, Stream
from aicalib_hw.trace import Trace, read_trace

from .conftest import Host

PORT = 7878
FRAMES = 5_000
STREAM = Stream("out to in", "out", "in", 1518, Rate(10_000 * 8 * 1518.0, "L2-fcs"))


@pytest.fixture(scope="module")
def listening(one_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A real drone on a host of its own, listening on its loopback."""
    tmp_path = tmp_path_factory.mktemp("drone")
    if not shutil.which("drone"):
        pytest.skip("drone is not installed: sudo apt-get install ostinato")
    settings = tmp_path / ".config" / "Ostinato" / "drone.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text("[RpcServer]\nAddress=127.0.0.1\n")
    process = subprocess.Popen(
        ["ip", "netns", "exec", one_host.name, "drone"],
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 30.0
        while not one_host.run("ss", "-Hltn", f"sport = :{PORT}"):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        yield one_host
    finally:
        process.kill()
        process.wait(5.0)


def await_links(tester: Drone, *, up: bool) -> None:
    """Wait until drone has noticed that the cable is plugged in or pulled, which takes it about a second."""
    deadline = time.monotonic() + 20.0
    while {port.link_up is not False for port in tester.ports() if port.port in ("out", "in")} != {up}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def drone(listening: Host) -> Iterator[Host]:
    """That drone as it was started: no stream, no name, both ends of the cable up, whatever a test has left."""
    yield listening
    for interface in ("out", "in"):
        listening.run("ip", "link", "set", interface, "up")
    with listening.inside():
        cleaning = Drone(f"drone://127.0.0.1:{PORT}").open()
    with cleaning:
        for number in cleaning.configurations():
            cleaning.transmit("stop", [number])
            cleaning.delete_streams(number)
            cleaning.name_user(number, "")
        await_links(cleaning, up=True)


@pytest.fixture
def tester(drone: Host, tmp_path: Path) -> Iterator[Drone]:
    with Trace(tmp_path / "trace.jsonl") as trace:
        opened = Drone(f"drone://127.0.0.1:{PORT}", trace=trace)
        with drone.inside():
            opened.open()
        yield opened
        opened.close()


def kernel(host: Host, interface: str, name: str) -> int:
    return int(host.run("cat", f"/sys/class/net/{interface}/statistics/{name}"))


def test_every_frame_that_was_sent_is_counted_at_the_far_end_by_drone_and_by_the_kernel(
    drone: Host, tester: Drone, tmp_path: Path
) -> None:
    assert tester.identity.maker == "Ostinato"
    assert {port.port for port in tester.ports()} >= {"out", "in"}
    with tester.reserve(["out", "in"], owner="test") as reservation:
        assert {port.port for port in tester.ports() if port.owned_by_us} == {"out", "in"}
        effective = reservation.configure([STREAM])
        assert effective.differences == ()
        before = kernel(drone, "in", "rx_packets"), kernel(drone, "in", "rx_bytes")
        result = reservation.measure_throughput(Gate("packets", FRAMES), settle=0.0)
        after = kernel(drone, "in", "rx_packets"), kernel(drone, "in", "rx_bytes")
        assert result.evidence["streams"]["out to in"]["sent"] == FRAMES
        assert result.evidence["streams"]["out to in"]["received"] == FRAMES
        assert (after[0] - before[0], after[1] - before[1]) == (FRAMES, FRAMES * 1514)
        assert result.definition == "rate/L2-fcs/1518B/unidirectional"
        # Half a second is no gate for a tester that tells once a second whether it transmits.
        assert not result.validity
        # On a busy host drone also falls short of what it is asked for, which is told beside it.
        assert any("the counts hold, the rate does not" in reason for reason in result.validity.reasons)
        assert not reservation.running
    assert [port for port in tester.ports() if port.owner] == []
    assert [tester.session.call("getStreamIdList", id=i).stream_id for i in tester.configurations()] == [[]] * 4
    assert any(
        entry["direction"] == "write" and "startTransmit" in entry["text"]
        for entry in read_trace(tmp_path / "trace.jsonl")
    )


def test_traffic_without_end_stops_and_is_given_back(drone: Host, tester: Drone) -> None:
    reservation = tester.reserve(["out", "in"], owner="test")
    reservation.configure([STREAM])
    reservation.clear()
    reservation.start()
    assert reservation.running
    assert tester.release()
    quiet = kernel(drone, "in", "rx_packets")
    assert quiet > 0
    time.sleep(0.3)
    assert kernel(drone, "in", "rx_packets") == quiet
    assert tester.release()


def test_what_a_client_that_died_left_running_is_stopped_by_the_next(drone: Host) -> None:
    dead = Drone(f"drone://127.0.0.1:{PORT}")
    with drone.inside():
        dead.open()
    reservation = dead.reserve(["out", "in"], owner="test")
    reservation.configure([STREAM])
    reservation.start()
    dead.session.close()
    again = Drone(f"drone://127.0.0.1:{PORT}")
    with drone.inside():
        again.open()
    report = again.release()
    assert report
    again.close()
    assert any("out: traffic stopped" in action for action in report.actions)
    quiet = kernel(drone, "in", "rx_packets")
    time.sleep(0.3)
    assert kernel(drone, "in", "rx_packets") == quiet


def test_a_port_with_anothers_name_is_theirs_unless_force_is_used(tester: Drone) -> None:
    (number,) = [i for i, port in tester.configurations().items() if port.name == "out"]
    tester.name_user(number, "another laboratory")
    with pytest.raises(LockedByOther, match="another laboratory"):
        tester.reserve(["out"], owner="test")
    with tester.reserve(["out"], owner="test", force=True) as reservation:
        assert reservation.evicted == {"out": "another laboratory"}


@pytest.mark.alone
def test_abort_ends_a_measurement_and_its_traffic(drone: Host, tester: Drone) -> None:
    with tester.reserve(["out", "in"], owner="test") as reservation:
        reservation.configure([STREAM])
        threading.Timer(0.5, tester.stopping.set).start()
        began = time.monotonic()
        with pytest.raises(Aborted):
            reservation.measure_throughput(Gate("packets", 10_000_000), settle=0.0)
        # Its own end is a thousand seconds away.
        assert time.monotonic() - began < 10.0
        assert not reservation.running


def test_a_cable_that_is_pulled_is_no_link(drone: Host, tester: Drone) -> None:
    with tester.reserve(["out", "in"], owner="test") as reservation:
        reservation.configure([STREAM])
        drone.run("ip", "link", "set", "in", "down")
        await_links(tester, up=False)
        with pytest.raises(LinkDown):
            reservation.measure_throughput(Gate("packets", FRAMES), settle=0.0)


def test_what_drone_lacks_is_refused_before_traffic(tester: Drone) -> None:
    with pytest.raises(OutOfRange, match="eth7"):
        tester.reserve(["eth7"], owner="test")
    with tester.reserve(["out", "in"], owner="test") as reservation:
        for stream in (
            Stream("short", "out", "in", 63, 1.0),
            Stream("elsewhere", "out", "lo", 64, 1.0),
            Stream("above", "out", "in", 64, Rate(11e9, "L2-fcs")),
            Stream("nothing", "out", "in", 64, 0.0),
            Stream("late", "out", "in", 64, 1.0, latency_mode="cut_through"),
        ):
            with pytest.raises(OutOfRange):
                reservation.configure([stream])
        with pytest.raises(NotSupported):
            reservation.configure([STREAM, Stream("second", "out", "in", 64, 0.1)])
        with pytest.raises(UsageError):
            reservation.measure_throughput(Gate("packets", 10), settle=0.0)
        reservation.configure([STREAM])
        with pytest.raises(NotSupported):
            reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
        with pytest.raises(OutOfRange):
            reservation.measure_throughput(Gate("packets", 1), settle=0.0)


@pytest.mark.parametrize("address", ["drone://", "drone://host:port", "drone://host/x", "drone://host?x=1", "dron://h"])
def test_an_address_of_nothing_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        Drone(address)


def answering(*replies: bytes) -> tuple[int, threading.Thread]:
    """A server for one client that answers each call with the next of `replies`, then with nothing."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as client:
            for reply in replies:
                head = client.recv(8)
                client.recv(struct.unpack(">HHI", head)[2])
                client.sendall(reply)
            if client.recv(1):
                time.sleep(0.5)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener.getsockname()[1], thread


COMPATIBLE = struct.pack(">HHI", 2, 15, 2) + b"\x08\x01"


def test_what_is_no_drone_is_told_apart_from_a_slow_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    with pytest.raises(ConnectionFailed):
        Drone(f"drone://127.0.0.1:{nobody}").open()
    for reply, error in (
        (struct.pack(">HHI", 9, 15, 0), ProtocolError),
        (struct.pack(">HHI", 2, 15, 1 << 30), ProtocolError),
        (struct.pack(">HHI", 2, 3, 0), ProtocolError),
        (struct.pack(">HHI", 2, 15, 2) + b"\xff\xff", ProtocolError),
        (b"", DeadlineExceeded),
    ):
        port, thread = answering(reply)
        with pytest.raises(error):
            Drone(f"drone://127.0.0.1:{port}", timeout=5.0 if reply else 0.4).open()
        thread.join(5.0)


def test_a_drone_that_goes_away_is_a_lost_connection_and_release_says_what_it_could_not_do() -> None:
    port, thread = answering(COMPATIBLE, COMPATIBLE)
    tester = Drone(f"drone://127.0.0.1:{port}", timeout=2.0).open()
    with pytest.raises(ConnectionLost):
        tester.ports()
    thread.join(5.0)
    assert tester.release().failures
    assert not tester.close().failures, "nothing was taken, so that nothing is left to be given back"
    with pytest.raises(NotOpen):
        tester.session.call("getPortIdList")
