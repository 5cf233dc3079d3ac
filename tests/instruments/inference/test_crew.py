"""The client processes of a load by themselves: where they send, and what they leave behind."""

from __future__ import annotations

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
from aicalib_hw.instruments.inference._crew import Crew
from aicalib_hw.instruments.inference._job import Job

WAITING = """
import threading, time
from aicalib_hw.instruments.inference._crew import Crew
from aicalib_hw.instruments.inference._job import Job

def job(number, directory, signals):
    key = {"Authorization": "Bearer unspeakable"}
    return Job(directory, signals, "http://127.0.0.1:9/v1", key, {}, chat=False, streaming=True, slots=1)

with Crew(2, job, trace=None, aborted=threading.Event()):
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


@pytest.fixture
def elsewhere() -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Elsewhere,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


def test_a_request_goes_to_the_service_of_the_address_and_nowhere_else(elsewhere: tuple[int, list[str]]) -> None:
    port, asked = elsewhere

    def job(number: int, directory: str, signals: str) -> Job:
        url = f"http://127.0.0.1:{port}/v1/completions"
        return Job(directory, signals, url, {}, {}, chat=False, streaming=True, slots=1, most_requests=1)

    with Crew(1, job, trace=None, aborted=threading.Event()) as crew:
        crew.go()
        seen = crew.collect(10.0)
    assert [(one.status, one.kind) for one in seen.requests] == [(307, "refused")]
    assert asked == ["/v1/completions"]


@pytest.mark.parametrize("ready", [True, False], ids=["once they are ready", "while they begin"])
def test_client_processes_whose_parent_was_killed_end_and_leave_no_file(tmp_path: Path, ready: bool) -> None:
    command = [sys.executable, "-c", WAITING]
    parent = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as said:
        if ready:
            assert said.readline() == b"ready\n"
        else:
            _until(lambda: len(list(tmp_path.glob("*/client-1"))) == 1)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    if ready:
        _until(lambda: not list(tmp_path.iterdir()))
    else:  # what had not begun yet leaves its folder, and no key in it once one client has read its job
        _until(lambda: not list(tmp_path.glob("*/client-0")))


def _until(reached: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)
