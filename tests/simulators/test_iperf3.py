"""Simulated iperf3 as a program that anybody starts, and the truth of what passed between its two hosts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aicalib_hw import registry

SHARE = 1448 / 1538
"""TCP's payload of a segment, of what it takes on the line with 1500 bytes of IP and time stamps."""


class Pair:
    """Two hosts and the program."""

    def __init__(self, rate: float, platform: dict[str, Any] | None, options: dict[str, Any]) -> None:
        settings = {"rate": rate, "seed": 5, "platform": platform or {}}
        self.world = registry.simulator(registry.WORLD).from_settings(settings)
        self.simulator = registry.simulator("iperf3")(self.world, "iperf3", **options)
        self.world.start()
        self.simulator.start()
        self.port = self.simulator.address.removeprefix("iperf3://127.0.0.1:").split("?")[0]

    def command(self, *arguments: str) -> list[str]:
        return [str(self.simulator.program), "-c", "127.0.0.1", "-p", self.port, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=30, check=False)

    def json(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        done = self.run("-J", *arguments)
        assert done.returncode == status, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def end(self, *arguments: str) -> dict[str, Any]:
        document = self.json(*arguments)
        assert "error" not in document
        end: dict[str, Any] = document["end"]
        return end

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def close(self) -> None:
        self.simulator.stop()
        self.world.stop()


Hosts = Callable[..., Pair]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """A function that makes two hosts in a world 100 times as fast as real time."""
    running: list[Pair] = []

    def start(rate: float = 100.0, platform: dict[str, Any] | None = None, **options: Any) -> Pair:
        running.append(Pair(rate, platform, options))
        return running[-1]

    yield start
    for one in running:
        one.close()


def received(end: dict[str, Any]) -> float:
    """Bit/s from what arrived and how long that took."""
    total = end["sum_received"]
    return float(8 * total["bytes"] / (total["end"] - total["start"]))


def test_the_mark_is_in_the_version_and_in_the_results(hosts: Hosts) -> None:
    pair = hosts()
    said = subprocess.run([str(pair.simulator.program), "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("SIM-iperf 3.12 (cJSON")
    assert pair.json("-t", "1")["start"]["version"] == "SIM-iperf 3.12"


@pytest.mark.parametrize("speed", [1, 25, 100, 400, 800])
def test_tcp_fills_the_line_but_for_its_headers(hosts: Hosts, speed: float) -> None:
    pair = hosts(client={"speed": speed}, server={"speed": speed})
    end = pair.end("-t", "30")
    assert pair.simulator.truth.goodput() == pytest.approx(speed * 1e9 * SHARE, rel=1e-9)
    assert pair.simulator.truth.rate("server", "L1") == pytest.approx(speed * 1e9, rel=1e-9)
    assert received(end) == pytest.approx(speed * 1e9 * SHARE, rel=5e-4)
    assert end["sum_sent"]["retransmits"] == 0


def test_a_test_of_30_seconds_takes_a_hundredth_of_it(hosts: Hosts) -> None:
    pair = hosts()
    began = time.monotonic()
    document = pair.json("-t", "30")
    assert time.monotonic() - began < 5
    assert len(document["intervals"]) == 30
    total = sum(part["sum"]["bytes"] for part in document["intervals"])
    assert total == document["end"]["sum_sent"]["bytes"]


def test_the_clock_of_the_client_is_as_wrong_as_its_port(hosts: Hosts) -> None:
    pair = hosts(client={"speed": 10, "ppm": 150.0}, server={"speed": 10, "ppm": 150.0}, path={"capacity": 1.0})
    end = pair.end("-t", "60")
    # The path carries a true 1 Gbit/s; a clock that runs fast measures longer, and so a lower rate.
    assert received(end) == pytest.approx(1e9 * SHARE / (1 + 150e-6), rel=1e-4)
    assert pair.simulator.truth.goodput() == pytest.approx(1e9 * SHARE, rel=1e-5)


def test_a_path_with_less_room_bounds_tcp_and_makes_udp_lose(hosts: Hosts) -> None:
    pair = hosts(client={"speed": 10}, server={"speed": 10}, path={"capacity": 1.0, "latency": 1e-4})
    assert received(pair.end("-t", "20")) == pytest.approx(1e9 * SHARE, rel=1e-3)
    end = pair.end("-t", "20", "-u", "-b", "2G")
    assert end["sum_sent"]["bits_per_second"] == pytest.approx(2e9, rel=1e-3)
    room = 1e9 * 1448 / (1448 + 28 + 18 + 20)
    assert received(end) == pytest.approx(room, rel=1e-3)
    assert end["sum_received"]["lost_percent"] == pytest.approx(100 * (1 - room / 2e9), rel=1e-2)
    assert end["sum"]["bits_per_second"] == end["sum_sent"]["bits_per_second"]
    assert end["sum"]["seconds"] == end["sum_received"]["seconds"]


def test_a_loaded_platform_carries_less(hosts: Hosts) -> None:
    pair = hosts(path={"saturation": 0.4})
    with pair.world.run_load(1.0):
        assert received(pair.end("-t", "20")) == pytest.approx(0.6 * 100e9 * SHARE, rel=0.01)


def test_what_tcp_is_asked_for_at_most_is_kept_to(hosts: Hosts) -> None:
    pair = hosts(path={"latency": 5e-3})
    assert received(pair.end("-t", "30", "-b", "50M")) == pytest.approx(50e6, rel=2e-3)
    assert received(pair.end("-t", "30", "--fq-rate", "80M")) == pytest.approx(80e6, rel=2e-3)
    window = received(pair.end("-t", "30", "-w", "1M"))
    assert window == pytest.approx(8 * 2**20 / 0.01002, rel=2e-3)


def test_one_process_moves_no_more_than_its_host_lets_it(hosts: Hosts) -> None:
    pair = hosts(host_limit=20.0)
    assert received(pair.end("-t", "20")) == pytest.approx(20e9, rel=2e-3)
    assert received(pair.end("-t", "20", "-P", "4")) == pytest.approx(20e9, rel=2e-3)


def test_lost_segments_are_sent_again_and_slow_tcp_down(hosts: Hosts) -> None:
    pair = hosts(client={"speed": 1}, server={"speed": 1}, path={"loss": 1e-4, "latency": 5e-3})
    end = pair.end("-t", "60")
    wanted = 1.22 * 8 * 1448 / (0.01002 * 0.01)
    assert received(end) == pytest.approx(wanted, rel=0.01)
    segments = end["sum_sent"]["bytes"] / 1448
    assert end["sum_sent"]["retransmits"] == pytest.approx(segments * 1e-4, rel=0.3)


def test_reverse_and_both_ways_at_once(hosts: Hosts) -> None:
    pair = hosts()
    document = pair.json("-t", "10", "-R")
    assert document["start"]["test_start"]["reverse"] == 1
    assert received(document["end"]) == pytest.approx(100e9 * SHARE, rel=1e-3)
    assert pair.simulator.truth.goodput(reverse=True) == pytest.approx(100e9 * SHARE, rel=1e-9)
    end = pair.end("-t", "10", "--bidir")
    for name in ("sum_received", "sum_received_bidir_reverse"):
        assert end[name]["bits_per_second"] == pytest.approx(100e9 * SHARE, rel=2e-3)


def test_streams_share_the_line(hosts: Hosts) -> None:
    end = hosts().end("-t", "10", "-P", "4")
    assert [stream["sender"]["socket"] for stream in end["streams"]] == [5, 7, 9, 11]
    for stream in end["streams"]:
        assert stream["receiver"]["bytes"] == pytest.approx(end["sum_received"]["bytes"] / 4, rel=1e-3)


def test_amounts_end_a_test_in_the_time_that_they_take(hosts: Hosts) -> None:
    pair = hosts(rate=1.0)
    end = pair.end("-n", "1G")
    assert end["sum_sent"]["bytes"] == 1 << 30
    assert end["sum_sent"]["seconds"] == pytest.approx(8 * 2**30 / (100e9 * SHARE), rel=0.01)
    assert pair.end("-k", "100")["sum_sent"]["bytes"] == 100 * 131072


def test_what_is_omitted_is_told_and_not_counted(hosts: Hosts) -> None:
    document = hosts().json("-t", "5", "-O", "2")
    assert [part["sum"]["omitted"] for part in document["intervals"]] == [True] * 2 + [False] * 5
    assert document["end"]["sum_sent"]["end"] == pytest.approx(5, abs=0.001)
    assert received(document["end"]) == pytest.approx(100e9 * SHARE, rel=2e-3)


def test_large_datagrams_are_fragments_and_lost_as_a_whole(hosts: Hosts) -> None:
    pair = hosts()
    end = pair.end("-t", "10", "-u", "-b", "1G", "-l", "32768")
    assert end["sum_received"]["lost_packets"] == 0
    assert end["sum_sent"]["bytes"] == 32768 * end["sum_sent"]["packets"]
    frames = [1480] * 22 + [32776 - 22 * 1480]
    on_line = sum(size + 20 + 18 + 20 for size in frames) / 32768
    assert pair.simulator.truth.rate("server", "L1") == pytest.approx(1e9 * on_line, rel=1e-6)


@pytest.mark.parametrize(("version", "status"), [("3.12", 0), ("3.13", 0), ("3.14", 1), ("3.17", 1)])
def test_the_status_of_a_failure_in_json_depends_on_the_version(hosts: Hosts, version: str, status: int) -> None:
    pair = hosts(version=f"SIM-iperf {version}")
    pair.simulator.inject("refuse")
    document = pair.json("-t", "1", status=status)
    assert document["error"] == "unable to connect to server: Connection refused"
    assert (document["intervals"], document["end"]) == ([], {})


def test_newer_versions_tell_their_results_as_they_come(hosts: Hosts) -> None:
    done = hosts(version="SIM-iperf 3.17").run("--json-stream", "-t", "3")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["start", "interval", "interval", "interval", "end"]
    assert events[0]["data"]["version"] == "SIM-iperf 3.17"
    assert events[-1]["data"]["sum_received"]["bytes"] > 0


def test_a_server_is_started_for_one_test_and_ends_after_it(hosts: Hosts) -> None:
    pair = hosts()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    command = [str(pair.simulator.program), "-s", "-1", "-p", port, "-J"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        deadline = time.monotonic() + 5
        while int(port) not in pair.simulator.hosts.servers:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert subprocess.run(command, capture_output=True, check=False).returncode == 1
        pair.port = port
        end = pair.end("-t", "10")
        theirs = json.loads(server.communicate(timeout=10)[0])
    assert server.returncode == 0
    assert theirs["end"]["sum_received"]["bytes"] == pytest.approx(end["sum_received"]["bytes"], rel=1e-3)
    assert pair.json("-t", "1")["error"].endswith("Connection refused")


def test_a_real_client_is_told_that_the_server_is_busy(hosts: Hosts) -> None:
    pair = hosts()
    with socket.create_connection(("127.0.0.1", int(pair.port)), timeout=5) as connection:
        connection.sendall(b"c" * 36 + b"\0")
        assert connection.recv(1) == b"\xff"


def test_a_killed_client_stops_sending(hosts: Hosts) -> None:
    pair = hosts(rate=1.0)
    running = pair.start("-t", "60")
    deadline = time.monotonic() + 10
    while pair.simulator.truth.rate("server", "L1") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=10)
    while pair.simulator.network.ports["client"].sending:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "error" not in pair.json("-t", "1")


def test_a_host_that_nobody_knows_and_one_that_does_not_answer(hosts: Hosts) -> None:
    pair = hosts()
    for host, why in (("nowhere.example", "Name or service not known"), ("192.0.2.1", "Connection timed out")):
        done = subprocess.run(
            [str(pair.simulator.program), "-c", host, "--connect-timeout", "300"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, f"iperf3: error - unable to connect to server: {why}\n")


def test_faults_show_where_they_strike(hosts: Hosts) -> None:
    pair = hosts()
    strike = pair.simulator.inject
    strike("locked")
    assert pair.json("-t", "1")["error"] == "the server is busy running a test. try again later"
    strike({"kind": "drop", "amount": 3.0})
    broken = pair.json("-t", "10")
    assert broken["error"].startswith("unable to write to stream socket")
    assert (len(broken["intervals"]), broken["end"]) == (2, {})
    strike({"kind": "stuck", "amount": 20.0})
    assert "timed out" in pair.json("-t", "10")["error"]
    strike({"kind": "loss", "amount": 0.25})
    assert pair.end("-t", "10", "-u", "-b", "1G")["sum_received"]["lost_percent"] == pytest.approx(25, abs=0.1)
    strike({"kind": "link_down", "amount": 5.0})
    assert received(pair.end("-t", "10")) == pytest.approx(50e9 * SHARE, rel=0.01)
    pair.simulator.network.ports["server"].set_link(True)
    strike("nan")
    assert "-nan" in pair.run("-J", "-t", "1", "-u").stdout
    strike("half_line")
    with pytest.raises(json.JSONDecodeError):
        json.loads(pair.run("-J", "-t", "1").stdout)
    strike("chatter")
    assert not pair.run("-J", "-t", "1").stdout.startswith("{")
    strike("wrong_identity")
    assert pair.json("-t", "1")["start"]["version"] == "SIM-iperf 2.0"


def test_an_option_that_is_not_simulated_is_refused_by_name(hosts: Hosts) -> None:
    done = hosts().run("--sctp")
    assert done.returncode == 1
    assert "sctp" in done.stderr


def test_nothing_is_left_when_the_simulator_stops(hosts: Hosts) -> None:
    pair = hosts(rate=1.0)
    running = pair.start("-t", "60")
    time.sleep(0.3)
    pair.close()
    running.communicate(timeout=10)
    assert running.returncode == 125
    assert not pair.simulator.program.exists()
