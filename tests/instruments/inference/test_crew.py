"""The client processes of a load by themselves: where they send, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aicalib_hw.instruments.inference._crew import Crew, run_module
from aicalib_hw.instruments.inference._job import Job

from aicalib_hw.errors import Aborted, ConnectionFailed

WAITING = """
import sys, threading, time
from aicalib_hw.instruments.inference._crew import Crew
from aicalib_hw.instruments.inference._job import Job

def job(number, directory, signals):
    key = {"Authorization": "Bearer unspeakable"}
    return Job(directory, signals, "http://127.0.0.1:9/v1", key, {}, chat=False, streaming=True, slots=1)

with Crew(2, trace=None, aborted=threading.Event()) as crew:
    crew.take(job)
    if "done" in sys.argv:
        crew.go()
        crew.collect(60.0)
    print("ready", flush=True)
    time.sleep(60)
"""


class Elsewhere(BaseHTTPRequestHandler):
    """Sends whoever asks on to another path, and keeps which paths were asked for."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        self.send_response(307)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Answering(BaseHTTPRequestHandler):
    """Answers with one token after the delay that the request names, s."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(asked["delay"])
        self.send_response(200)
        answer = json.dumps({"choices": [{"text": "word", "finish_reason": "length"}]})
        body = f"data: {answer}\n\n".encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def elsewhere() -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Elsewhere,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


def test_a_request_goes_to_the_service_of_the_address_and_nowhere_else(elsewhere: tuple[int, list[str]]) -> None:
    port, asked = elsewhere

    def job(number: int, directory: str, signals: str) -> Job:
        url = f"http://127.0.0.1:{port}/v1/completions"
        return Job(directory, signals, url, {}, {}, chat=False, streaming=True, slots=1, most_requests=1)

    with Crew(1, trace=None, aborted=threading.Event()) as crew:
        crew.take(job)
        crew.go()
        seen = crew.collect(10.0)
    assert [(one.status, one.kind) for one in seen.requests] == [(307, "refused")]
    assert asked == ["/v1/completions"]


def test_a_process_that_has_done_its_share_waits_for_another_and_both_carry_the_next_load(answering: int) -> None:
    """The proof of several client processes is such a load: each is done by itself, some sooner than others."""
    longest = 40

    def job(number: int, directory: str, signals: str) -> Job:
        url, requests = f"http://127.0.0.1:{answering}/v1/completions", 1 if number else longest
        body = {"delay": 0.02}
        how = {"chat": False, "streaming": True, "slots": 1}
        return Job(directory, signals, url, {}, body, most_requests=requests, warm_requests=requests, **how)  # type: ignore[arg-type]

    with Crew(2, trace=None, aborted=threading.Event()) as crew:
        crew.take(job)
        crew.go()
        assert crew.wait_until_warm(30.0) is not None
        seen = crew.collect(30.0)
        assert [one.finish for one in seen.requests] == ["length"] * 41
        assert len(seen.times) == 41
        longest = 2
        crew.take(job)
        crew.go()
        assert crew.wait_until_warm(30.0) is not None
        again = crew.collect(30.0)
    assert len(again.times) == len(again.requests) == 3
    assert again.times.min() > seen.times.max()


def test_a_load_that_is_given_up_leaves_what_was_seen_without_a_gap(answering: int) -> None:
    aborted = threading.Event()

    def job(number: int, directory: str, signals: str) -> Job:
        url = f"http://127.0.0.1:{answering}/v1/completions"
        return Job(directory, signals, url, {}, {"delay": 0.01}, chat=False, streaming=True, slots=2)

    with Crew(2, trace=None, aborted=aborted) as crew:
        crew.take(job)
        crew.go()
        assert crew.wait_until_warm(30.0) is not None
        crew.abort()
        assert aborted.is_set()
        with pytest.raises(Aborted):
            crew.wait(60.0)
        with pytest.raises(Aborted):
            crew.collect(60.0)
        seen = crew.salvage(30.0)
    assert seen is not None
    assert seen.gone == "it was given up"
    complete = [one for one in seen.requests if one.complete]
    assert len(complete) >= 4
    assert all(one.finish == "length" for one in complete)
    assert {one.kind for one in seen.requests if not one.complete} <= {"cut"}
    assert len(seen.times) == sum(one.events for one in seen.requests) >= len(complete)


@pytest.mark.parametrize("when", ["they begin", "they are ready", "they are done"])
def test_client_processes_whose_parent_was_killed_end_and_leave_no_file(tmp_path: Path, when: str) -> None:
    command = [sys.executable, "-c", WAITING, when.split()[-1]]
    parent = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as said:
        if when != "they begin":
            assert said.readline() == b"ready\n"
        else:
            _until(lambda: len(list(tmp_path.glob("*/client-1"))) == 1)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _until(lambda: not list(tmp_path.iterdir()))


def test_a_paced_source_whose_maker_was_gone_before_it_could_look_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with run_module("_source", ["1", str(gone.pid)], None, None) as source:
        assert source.wait(30.0).status == 0


def test_a_host_without_a_place_for_files_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with (
        pytest.raises(ConnectionFailed, match="the client has no place for its files"),
        Crew(1, trace=None, aborted=threading.Event()),
    ):
        pass


def _until(reached: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)
