"""Counters alone: nothing is sent, and what an engine has counted between two changes is its rate."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.errors import Aborted, ConnectionFailed, IdentityMismatch, OutOfRange, ProtocolError
from aicalib_hw.interfaces import InferenceLoad
from aicalib_hw.readings import ValidityStatus

from .service import Habits, Service

PASSIVE = InferenceLoad("", 1, 1, warm_up=0, duration=1.0)


class Engine:
    """A page of counters that count at a rate of their own, by the clock, in steps of `step` tokens."""

    def __init__(self, rate: float, step: int = 1) -> None:
        self.rate, self.step, self.offset, self.started = rate, step, 0, time.monotonic()
        self.page = 'vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}\n'
        self.status = 200

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805 - the names are those of the base class
                body = self.page.format(tokens=self.tokens).encode()
                handler.send_response(self.status)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/metrics"

    @property
    def tokens(self) -> int:
        counted = int((time.monotonic() - self.started) * self.rate)
        return self.offset + counted - counted % self.step

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    one = Engine(5000.0)
    yield one
    one.stop()


def test_the_rate_of_a_counter_is_found_within_what_is_stated(engine: Engine) -> None:
    with hw.open_instrument(f"prometheus+{engine.url}?every=0.02") as counters:
        assert counters.identity.maker == "vllm"
        assert counters.capabilities.models == ("m",)
        found = counters.measure_tokens(PASSIVE)
    assert found.validity
    assert found.definition == "token/output/engine-counter/window"
    widths = sum(one.half_width or 0.0 for one in found.components)
    assert found.value == pytest.approx(5000, rel=widths)
    assert widths < 0.2
    assert found.evidence["tokens_in_window"] == pytest.approx(found.value * found.window.duration)


def test_a_number_of_requests_that_is_none_is_told_as_an_error_of_the_page(engine: Engine) -> None:
    with hw.open_instrument(f"prometheus+{engine.url}") as counters:
        engine.page += "vllm:num_requests_running NaN\n"
        with pytest.raises(ProtocolError, match="no number"):
            counters.read()


def test_a_counter_in_coarse_steps_is_aligned_with_its_steps() -> None:
    engine = Engine(5000.0, step=1000)
    try:
        with hw.open_instrument(f"prometheus+{engine.url}?every=0.01") as counters:
            found = counters.measure_tokens(PASSIVE)
    finally:
        engine.stop()
    assert found.value is not None
    assert found.evidence["largest_step_token"] % 1000 == 0
    assert found.evidence["tokens_in_window"] % 1000 == 0
    assert found.value == pytest.approx(5000, rel=0.15)


def test_pages_are_summed_and_each_must_count(engine: Engine) -> None:
    second = Engine(1000.0)
    try:
        with hw.open_instrument(f"prometheus+{engine.url}?every=0.02&also={second.url}") as counters:
            found = counters.measure_tokens(PASSIVE)
            both = counters.read()
            assert both.generated_tokens.value == pytest.approx(engine.tokens + second.tokens, abs=600)
            second.page = "up 1\n"
            with pytest.raises(IdentityMismatch, match="generated"):
                counters.identify()
    finally:
        second.stop()
    assert found.value == pytest.approx(6000, rel=0.15)


def test_a_restarted_engine_and_one_that_comes_or_goes_make_no_result(engine: Engine) -> None:
    page = engine.page + "process_start_time_seconds 1.7e9\n"
    changes: list[tuple[dict[str, Any], str]] = [
        ({"started": time.monotonic() + 1}, "fell"),
        ({"page": page.replace('"0"', '"1"')}, "came, went"),
        ({"page": page.replace("1.7e9", "1.7000001e9")}, "started anew"),
    ]
    for change, reason in changes:
        engine.started, engine.page = time.monotonic() - 10, page
        with hw.open_instrument(f"prometheus+{engine.url}?every=0.05") as counters:
            timer = threading.Timer(0.7, engine.__dict__.update, [change])
            timer.start()
            found = counters.measure_tokens(PASSIVE)
            timer.join()
        assert found.validity.status is ValidityStatus.INVALID
        assert any(reason in one for one in found.validity.reasons), found.validity


def test_a_page_that_goes_away_leaves_what_was_read(engine: Engine) -> None:
    with hw.open_instrument(f"prometheus+{engine.url}?every=0.05") as counters:
        timer = threading.Timer(0.5, lambda: engine.__dict__.update(status=503))
        timer.start()
        found = counters.measure_tokens(PASSIVE)
        timer.join()
    assert found.validity.status is ValidityStatus.ERROR
    assert found.value is None
    assert found.evidence["looks"]


def test_an_idle_service_has_no_rate() -> None:
    engine = Engine(0.0)
    try:
        with hw.open_instrument(f"prometheus+{engine.url}?every=0.05", timeout=0.4) as counters:
            found = counters.measure_tokens(PASSIVE)
    finally:
        engine.stop()
    assert found.validity.status is ValidityStatus.INVALID
    assert found.value is None
    assert "nothing was generated" in found.validity.reasons[0]


def test_counters_beyond_a_double_are_subtracted_to_the_token(engine: Engine) -> None:
    engine.offset = 510_000_000_000_000_001
    with hw.open_instrument(f"prometheus+{engine.url}?every=0.02") as counters:
        found = counters.measure_tokens(PASSIVE)
    assert found.value == pytest.approx(5000, rel=0.15)


def test_an_engine_that_is_not_known_is_read_by_the_name_of_its_counter(engine: Engine) -> None:
    engine.page = "mindie_tokens_out_total {tokens}\n"
    with pytest.raises(IdentityMismatch, match="generated="):
        hw.open_instrument(f"prometheus+{engine.url}")
    with hw.open_instrument(f"prometheus+{engine.url}?generated=mindie_tokens_out_total&every=0.02") as counters:
        assert counters.measure_tokens(PASSIVE).value == pytest.approx(5000, rel=0.15)


def test_what_is_no_page_and_what_is_not_there_are_told_apart(engine: Engine) -> None:
    engine.page = "<html></html>"
    with pytest.raises(IdentityMismatch):
        hw.open_instrument(f"prometheus+{engine.url}")
    with pytest.raises(ConnectionFailed):
        hw.open_instrument("prometheus+http://127.0.0.1:9/metrics")


def test_a_model_that_is_not_counted_is_refused(engine: Engine) -> None:
    with hw.open_instrument(f"prometheus+{engine.url}") as counters, pytest.raises(OutOfRange, match="m"):
        counters.measure_tokens(InferenceLoad("other", 1, 1))


@pytest.mark.alone
def test_abort_ends_the_watching_within_a_second(engine: Engine) -> None:
    with hw.open_instrument(f"prometheus+{engine.url}") as counters:
        timer = threading.Timer(0.5, counters.abort)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Aborted):
            counters.measure_tokens(InferenceLoad("", 1, 1, warm_up=600, duration=600))
        assert time.monotonic() - began < 1.5


def test_counters_and_client_agree_on_one_service() -> None:
    """Two drivers, one service: what one streams, the other reads off the engine's counters at the same time."""
    seen: list[Any] = []
    measuring = threading.Event()
    with (
        Service(Habits(gap=0.01)) as service,
        hw.open_instrument(service.address) as client,
        hw.open_instrument(service.metrics + "?every=0.02") as page,
    ):

        def watch() -> None:
            assert measuring.wait(60)
            seen.append(page.measure_tokens(InferenceLoad("words", 1, 1, warm_up=0, duration=2)))

        thread = threading.Thread(target=watch)
        thread.start()
        load = InferenceLoad("words", 12, 40, concurrency=4, warm_up=0, duration=4)
        found = client.measure_tokens(load, progress=lambda _, note: measuring.set() if note == "measuring" else None)
        thread.join()
    assert found.value is not None
    assert seen[0].value == pytest.approx(found.value, rel=0.1)
