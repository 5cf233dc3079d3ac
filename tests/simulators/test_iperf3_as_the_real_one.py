"""The real iperf3 and the simulated one, given the same: names and types of results, words and status are the same."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import pytest

from aicalib_hw import registry

REAL = shutil.which("iperf3")
pytestmark = pytest.mark.skipif(REAL is None, reason="needs iperf3: apt-get install iperf3")

CLIENT = ("-c", "127.0.0.1")


@pytest.fixture(scope="module")
def simulated() -> Iterator[Any]:
    """The simulator, in a world five times as fast, so that the real one takes most of the time."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 5})
    iperf3 = registry.simulator("iperf3")(world, "iperf3")
    world.start()
    iperf3.start()
    yield iperf3
    iperf3.stop()
    world.stop()


_given: set[int] = set()
_giving = threading.Lock()


def free_port() -> int:
    """A port that is free, and was not given to anybody who may not have begun to listen at it yet."""
    with _giving:
        while True:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = int(listener.getsockname()[1])
            if port not in _given:
                _given.add(port)
                return port


@contextlib.contextmanager
def served(program: str, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server of a program for one test; its port and process."""
    port = free_port()
    command = [program, "-s", "-1", "-B", "127.0.0.1", "-p", str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            until(lambda: connections(port, _LISTENS) > 0, server)
            yield port, server
        finally:
            if server.poll() is None:
                server.kill()


_LISTENS, _ESTABLISHED = "0A", "01"


def connections(port: int, state: str) -> int:
    """How many sockets of this machine are at a local port in a state of TCP, as the kernel numbers them."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == state for row in rows)


def sending(simulated: Any, program: str, port: int) -> bool:
    """True once a client of a program has begun: a connection for orders and one for data, or simulated traffic."""
    if program == REAL:
        return connections(port, _ESTABLISHED) > 1
    return any(one.sending for one in simulated.network.ports.values())


def until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a running process brings about."""
    deadline = time.monotonic() + 20
    while not true():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def by_both(simulated: Any, act: Callable[[str], Any]) -> list[Any]:
    """Do the same with the real program and with the simulated one, at the same time; what came of each, in order."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(act, (str(REAL), str(simulated.program))))


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)


class Pair(NamedTuple):
    """What a client and its server said of one test, and the status of the server."""

    client: subprocess.CompletedProcess[str]
    server: str
    status: int


def both(simulated: Any, arguments: tuple[str, ...]) -> list[Pair]:
    """Run a test with the real pair and with the simulated one; the server tells in JSON where the client does not."""
    form = () if "-J" in arguments else ("-J",)

    def act(program: str) -> Pair:
        with served(program, *form) as (port, server):
            client = run(program, *CLIENT, "-p", str(port), *arguments)
            told = server.communicate(timeout=20)[0]
            return Pair(client, told, server.returncode)

    return by_both(simulated, act)


def shape(value: Any) -> Any:
    """What is there under which names, and of which type; a whole number may have been a fraction."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


def skeleton(text: str) -> list[str]:
    """Lines with their figures and units taken out."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"\d+(\.\d+)?", "#", line)
        line = re.sub(r"# ?([KMGT]?)(Bytes|bits/sec)", "# unit", line)
        lines.append(re.sub(r"\s+", " ", line).strip())
    return lines


RUNS = [
    ("-t", "1"),
    ("-t", "1", "-R"),
    ("-t", "1", "--bidir"),
    ("-t", "1", "-P", "2"),
    ("-t", "1", "-u", "-b", "10M"),
    ("-t", "1", "-u", "-b", "10M", "-R"),
    ("-t", "1", "-u", "-b", "10M", "--bidir"),
    ("-n", "100M"),
    ("-t", "1", "-O", "1", "--title", "a", "--extra-data", "b"),
    ("-t", "1", "--get-server-output"),
]


TEXTS = [("-t", "1"), ("-t", "1", "-R"), ("-t", "1", "--bidir", "-P", "2"), ("-t", "1", "-u", "-b", "10M")]
TEXTS += [("-t", "1", "-O", "1"), ("-t", "1", "-u", "-R", "-b", "10M")]

Done = Callable[..., list[Pair]]


@pytest.fixture(scope="module")
def done(simulated: Any) -> Done:
    """What came of each test, by its arguments: each is run once for all that look at it, and a few run at a time."""
    asked = [*((*arguments, "-J") for arguments in RUNS), *TEXTS]
    with ThreadPoolExecutor(4) as pool:
        found: dict[tuple[str, ...], Future[list[Pair]]] = {one: pool.submit(both, simulated, one) for one in asked}
        wait(found.values())
    return lambda *arguments: found[arguments].result()


@pytest.mark.parametrize("arguments", RUNS, ids=" ".join)
def test_results_have_the_same_names_and_types(done: Done, arguments: tuple[str, ...]) -> None:
    real, ours = (one.client for one in done(*arguments, "-J"))
    assert ours.returncode == real.returncode == 0
    assert ours.stderr == real.stderr == ""
    one, other = json.loads(real.stdout), json.loads(ours.stdout)
    assert list(other) == list(one)
    assert shape(other) == shape(one)
    for name in ("start", "end"):
        assert list(other[name]) == list(one[name])
    told, ours_told = one["start"]["test_start"], other["start"]["test_start"]
    assert {key: value for key, value in ours_told.items() if key != "blksize"} == {
        key: value for key, value in told.items() if key != "blksize"
    }
    flags = [
        [(row["sender"], row["omitted"]) for part in document["intervals"] for row in part["streams"]]
        for document in (one, other)
    ]
    # Between two real hosts a test that is limited in bytes takes as many intervals as it takes.
    if "-n" not in arguments:
        assert flags[0] == flags[1]
    for key in ("sum", "sum_sent", "sum_received"):
        assert one["end"].get(key, {}).get("sender") == other["end"].get(key, {}).get("sender"), key


@pytest.mark.parametrize("arguments", [(), ("-u", "-b", "10M")], ids=["tcp", "udp"])
def test_numbers_follow_from_each_other_in_the_same_odd_ways(done: Done, arguments: tuple[str, ...]) -> None:
    for one in done("-t", "1", *arguments, "-J"):
        end = json.loads(one.client.stdout)["end"]
        sent, received = end["sum_sent"], end["sum_received"]
        assert sent["bits_per_second"] == pytest.approx(8 * sent["bytes"] / sent["end"], rel=1e-6)
        assert received["bits_per_second"] == pytest.approx(8 * received["bytes"] / received["end"], rel=1e-6)
        assert received["end"] > sent["end"]
        if arguments:
            whole = end["sum"]
            assert whole["bytes"] == sent["bytes"]
            assert whole["bits_per_second"] == sent["bits_per_second"]
            assert whole["seconds"] == received["end"]
            assert received["bytes"] == (received["packets"] - received["lost_packets"]) * (
                sent["bytes"] // sent["packets"]
            )
        else:
            stream = end["streams"][0]
            assert stream["receiver"]["seconds"] == stream["sender"]["end"] != stream["receiver"]["end"]
            # A server that is told of the end first leaves the rest of a block unread.
            assert sent["bytes"] % 131072 == 0
            assert sent["bytes"] - 64 * 131072 <= received["bytes"] <= sent["bytes"]


@pytest.mark.parametrize("arguments", [("-t", "1"), ("-t", "1", "-R"), ("-t", "1", "-u", "-b", "10M")], ids=" ".join)
def test_what_a_server_says_in_json_is_of_the_same_form(done: Done, arguments: tuple[str, ...]) -> None:
    pairs = done(*arguments)
    assert [(one.client.returncode, one.status) for one in pairs] == [(0, 0)] * 2
    said = [json.loads(one.server) for one in pairs]
    assert list(said[1]) == list(said[0])
    for name in ("start", "end"):
        assert shape(said[1][name]) == shape(said[0][name])
    assert shape(said[1]["intervals"][0]) == shape(said[0]["intervals"][0])
    for key in ("sum_sent", "sum_received"):
        assert (said[1]["end"][key]["bytes"] == 0) is (said[0]["end"][key]["bytes"] == 0)


@pytest.mark.parametrize("arguments", TEXTS, ids=" ".join)
def test_the_text_for_people_has_the_same_lines_with_other_numbers(done: Done, arguments: tuple[str, ...]) -> None:
    real, ours = (one.client for one in done(*arguments))
    assert ours.returncode == real.returncode == 0
    assert skeleton(ours.stdout) == skeleton(real.stdout)


MISTAKES = [
    (),
    ("-s", "-c", "x"),
    ("-R",),
    ("-s", "-R"),
    (*CLIENT, "-1"),
    (*CLIENT, "-t", "90000"),
    (*CLIENT, "-P", "200"),
    (*CLIENT, "-u", "-l", "70000"),
    (*CLIENT, "-l", "2M"),
    (*CLIENT, "-n", "1M", "-t", "1"),
    (*CLIENT, "-O", "70"),
    (*CLIENT, "-p", "99999"),
    (*CLIENT, "-i", "100"),
    (*CLIENT, "-w", "1000M"),
    (*CLIENT, "-R", "--bidir"),
    (*CLIENT, "--bogus"),
    (*CLIENT, "--json-stream"),
    ("-c",),
    (*CLIENT, "-p"),
    (*CLIENT, "-y"),
]


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_mistakes_are_told_in_the_same_words_with_the_same_status(simulated: Any, arguments: tuple[str, ...]) -> None:
    real, ours = by_both(simulated, lambda program: run(program, *arguments))
    assert ours.returncode == real.returncode == 1
    told = [line for line in real.stderr.splitlines() if re.match(r"\S*iperf3: ", line)]
    assert told
    assert told[0].replace(str(REAL), "iperf3") in ours.stderr.replace(str(simulated.program), "iperf3")
    assert ("Usage: iperf3" in ours.stdout) is ("Usage: iperf3" in real.stdout)


@pytest.mark.parametrize("form", [(), ("-J",)], ids=["text", "json"])
def test_failures_have_the_same_words_and_status(simulated: Any, form: tuple[str, ...]) -> None:
    arguments = (*CLIENT, "-p", "1", *form)
    real, ours = by_both(simulated, lambda program: run(program, *arguments))
    assert (ours.returncode, ours.stderr) == (real.returncode, real.stderr)
    if form:
        assert json.loads(ours.stdout)["error"] == json.loads(real.stdout)["error"]
        assert shape(json.loads(ours.stdout)) == shape(json.loads(real.stdout))


@pytest.mark.parametrize("form", [(), ("-J",)], ids=["text", "json"])
def test_a_taken_port_and_a_busy_server_are_told_alike(simulated: Any, form: tuple[str, ...]) -> None:
    def act(program: str) -> Any:
        with served(program) as (port, server):
            taken = run(program, "-s", "-1", "-B", "127.0.0.1", "-p", str(port), *form)
            command = [program, *CLIENT, "-p", str(port), "-t", "30"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
                until(lambda: sending(simulated, program, port), server)
                busy = run(program, *CLIENT, "-p", str(port), "-t", "1", *form)
                first.terminate()
        return [
            (done.returncode, done.stderr, json.loads(done.stdout).get("error") if form else None)
            for done in (taken, busy)
        ]

    said = by_both(simulated, act)
    assert said[1] == said[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_client_tells_its_own_side(simulated: Any, number: int) -> None:
    def act(program: str) -> Any:
        with served(program) as (port, server):
            command = [program, *CLIENT, "-p", str(port), "-t", "60", "-J"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
                until(lambda: sending(simulated, program, port), server)
                time.sleep(1.2)
                client.send_signal(number)
                out, errors = client.communicate(timeout=20)
            server.communicate(timeout=20)
            return client.returncode, errors, json.loads(out), server.returncode

    real, ours = by_both(simulated, act)
    assert (ours[0], ours[1], ours[3]) == (real[0], real[1], real[3])
    assert ours[2]["error"] == real[2]["error"] == "interrupt - the client has terminated"
    assert shape(ours[2]["end"]) == shape(real[2]["end"])
    for one in (real[2], ours[2]):
        assert one["end"]["sum_received"]["bytes"] == 0
        assert 1.0 < one["end"]["sum_sent"]["end"] < 60.0


def test_a_server_that_is_stopped_breaks_the_test_of_its_client(simulated: Any) -> None:
    def act(program: str) -> Any:
        with served(program) as (port, server):
            command = [program, *CLIENT, "-p", str(port), "-t", "60", "-J"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
                until(lambda: sending(simulated, program, port), server)
                time.sleep(1.2)
                server.send_signal(signal.SIGINT)
                out, _ = client.communicate(timeout=20)
            errors = server.communicate(timeout=20)[1]
            document = json.loads(out)
            # Whether the client is told before its own writing fails is a matter of luck.
            assert re.match("unable to write to stream socket: |the server has terminated", document["error"])
            return client.returncode, server.returncode, errors, bool(document["intervals"])

    said = by_both(simulated, act)
    assert said[1] == said[0]
