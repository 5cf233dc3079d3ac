"""The client processes of a load by themselves: where they send, and what they leave behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aicalib_hw.instruments.inference._crew import Crew
from aicalib_hw.instruments.inference._job import Job


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
