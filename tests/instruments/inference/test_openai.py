"""The driver of OpenAI-compatible services against a server of another make that has their habits and their faults."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    DeadlineExceeded,
    IdentityMismatch,
    InstrumentError,
    InstrumentReportedError,
    NotPermitted,
    NotSupported,
    OutOfRange,
    UsageError,
)
from aicalib_hw.interfaces import InferenceLoad
from aicalib_hw.readings import Measurement, ValidityStatus, to_plain
from aicalib_hw.trace import Trace
from aicalib_hw.transport.hosts import is_this_host

from .service import Habits, Service

SHORT = InferenceLoad("words", 12, 20, concurrency=4, warm_up=0.0, duration=1.0)
QUICK = replace(SHORT, duration=0.4)
OFFERED = replace(QUICK, arrival="constant", concurrency=1, request_rate=10, duration=0.6)
"""Where all that counts is that answers come: at a rate that is offered, the service needs no sounding."""


def measured(service: Service, load: InferenceLoad = SHORT, options: str = "", **more: Any) -> Measurement:
    with hw.open_instrument(service.address + options, **more) as instrument:
        found = instrument.measure_tokens(load)
    assert isinstance(found, Measurement)
    return found


def lag_alone(found: Measurement) -> bool:
    """True if all that is wrong is that this busy host could not prove itself."""
    own = ("did not prove itself", "proven for", "after they were due")
    return all(any(one in reason for one in own) for reason in found.validity.reasons)


@pytest.fixture(scope="module")
def closed_loop() -> tuple[Service, Measurement]:
    """One load in a closed loop, of which several things are true, and the service that has had it."""
    with Service(Habits(gap=0.01, first=0.01)) as service:
        return service, measured(service, replace(SHORT, parameters=7_000_000_000))


def test_a_closed_loop_gives_the_rate_at_which_tokens_came_and_counts_every_one(
    closed_loop: tuple[Service, Measurement],
) -> None:
    service, found = closed_loop
    by_usage = found.evidence["requests"]["output_tokens_by_usage"]
    assert service.most_at_once == 4
    assert found.validity or lag_alone(found), found.validity
    assert found.definition == "token/output/usage-counted/steady-window"
    # 20 tokens in 0.01 + 19 x 0.01 s and what a request takes besides: of each stream at most 100 a second
    assert found.value is not None
    assert 250 < found.value <= 401
    inside = [at for at in service.sent if found.window.start.monotonic_ns < at <= found.window.stop.monotonic_ns]
    assert found.value * found.window.duration == pytest.approx(len(inside), abs=8)
    assert found.evidence["tokens_in_window"] == pytest.approx(found.value * found.window.duration)
    counters = found.evidence["engine_counters"]
    assert counters["generated_tokens"] == counters["generated_tokens_by_usage"] == by_usage
    assert counters["prompt_tokens"] == counters["prompt_tokens_by_usage"]
    assert found.evidence["prompt_tokens"] == {"least": 12, "most": 12}
    assert found.evidence["proof"]["events_received"] == found.evidence["proof"]["events_sent"]
    assert {"time base", "streams cut by the window"} <= {one.name for one in found.components}
    assert to_plain(found)


def test_every_prompt_begins_in_another_way_and_is_of_the_length_asked_for(
    closed_loop: tuple[Service, Measurement],
) -> None:
    service, _ = closed_loop
    prompts = [text for text in service.prompts if len(text.split()) == 12]
    assert len(set(prompts)) >= len(prompts) - 1
    assert len(prompts) > 12


def test_the_rate_normalised_by_parameters_stands_beside_the_raw_one(closed_loop: tuple[Service, Measurement]) -> None:
    _, found = closed_loop
    assert found.value is not None
    assert found.evidence["parameter_normalised_rate"] == pytest.approx(7e9 * found.value)


@pytest.mark.parametrize(
    ("habits", "endpoint"),
    [
        ({"usage": "with-finish", "done": False}, "completions"),
        ({"line_end": "\r\n", "comments": True}, "chat"),
        ({"splits": 50, "gap": 0.03}, "chat"),
        (
            {"refuses": ("ignore_eos", "min_tokens", "stream_options", "temperature"), "usage": "with-finish"},
            "completions",
        ),
    ],
    ids=["as transformers", "crlf and comments", "in shreds", "refuses fields"],
)
def test_what_servers_do_differently_changes_no_count(habits: dict[str, Any], endpoint: str) -> None:
    with Service(Habits(**habits)) as service:
        found = measured(service, replace(OFFERED, output_tokens=10), options=f"?endpoint={endpoint}")
    assert found.validity or lag_alone(found), found.validity
    counters = found.evidence["engine_counters"]
    assert counters["generated_tokens"] == counters["generated_tokens_by_usage"] > 0
    assert found.evidence["requests"]["finish_reasons"] == {"length": found.evidence["requests"]["complete"]}


def test_several_tokens_in_one_event_weigh_as_many_and_leave_no_times_between_tokens() -> None:
    with Service(Habits(a_event=4)) as service:
        found = measured(service)
    assert found.value is not None
    assert 280 < found.value <= 481  # 20 tokens take 0.01 + 4 x 0.04 s
    assert found.evidence["events_per_token"] == pytest.approx(0.25, abs=0.01)
    assert not found.evidence["itl_s"]["valid"]
    assert "tokens on average" in " ".join(found.evidence["itl_s"]["reasons"])


def test_a_service_without_usage_counts_by_length_and_says_so() -> None:
    with Service(Habits(usage="never")) as service:
        found = measured(service)
        assert found.definition == "token/output/length-counted/steady-window"
        assert found.value is not None
        assert 250 < found.value <= 401
    assert any("states no usage" in remark for remark in found.evidence["remarks"])


def test_answers_that_come_whole_count_when_they_have_come() -> None:
    with Service(Habits(gap=0.002)) as service:
        found = measured(service, InferenceLoad("words", 12, 40, concurrency=4, warm_up=0, duration=1, streaming=False))
    assert found.definition == "token/output/usage-counted/completed-window"
    assert found.value is not None
    assert 1000 < found.value < 2050
    assert found.evidence["ttft_s"]["count"] == 0
    assert found.evidence["latency_s"]["p50"] > 0.08
    assert not found.evidence["itl_s"]["valid"]


@pytest.mark.parametrize("arrival", ["poisson", "constant"])
def test_in_an_open_loop_latency_counts_from_when_a_request_was_due(arrival: Any) -> None:
    load = InferenceLoad("words", 12, 20, arrival=arrival, request_rate=20, warm_up=0, duration=1.5, latency_limit=10.0)
    with Service(Habits(gap=0.005)) as service:
        found = measured(service, load)
    assert found.definition == "token/output/usage-counted/offered-window"
    assert found.value is not None
    assert found.value == pytest.approx(400, rel=0.6 if arrival == "poisson" else 0.25)
    assert found.evidence["dispatch_lag_s"]["count"] > 5
    assert found.evidence["latency_s"]["p50"] > 0.1
    assert found.evidence["goodput"] > 0


def test_a_queue_in_front_of_the_service_is_in_the_latency_and_not_omitted() -> None:
    """One request at a time is answered, in 0.1 s, and ten a second are too many by none; twenty are twice too many."""
    load = InferenceLoad("words", 12, 17, arrival="constant", request_rate=20, warm_up=0, duration=1.0)
    with Service(Habits(gap=0.006, first=0.0)) as service:
        turn = threading.Lock()
        answer = service._answer

        async def one_at_a_time(*what: Any, **how: Any) -> Any:
            import asyncio

            while not turn.acquire(blocking=False):
                await asyncio.sleep(0.002)
            try:
                return await answer(*what, **how)
            finally:
                turn.release()

        service._answer = one_at_a_time  # type: ignore[method-assign]
        found = measured(service, load)
    # the request due at the end of the window waits for the twenty before it, of which only half were answered
    assert found.evidence["latency_s"]["max"] > 0.6
    assert found.evidence["latency_s"]["max"] > 2 * found.evidence["latency_s"]["mean"] * 0.8


def test_two_processes_see_what_one_sees_whatever_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random.py", "json.py", "aiohttp.py"):
        (tmp_path / name).write_text("raise SystemExit('of the laboratory')\n")
    monkeypatch.chdir(tmp_path)
    load = replace(SHORT, concurrency=5, processes=2)
    with Service(Habits(gap=0.01)) as service:
        found = measured(service, load)
        assert service.most_at_once == 5
    counters = found.evidence["engine_counters"]
    assert counters["generated_tokens"] == counters["generated_tokens_by_usage"] > 0
    assert found.evidence["client"]["processes"] == 2
    assert found.value is not None
    assert 310 < found.value <= 501


def test_a_service_that_is_faster_than_was_expected_makes_the_client_prove_itself_for_that() -> None:
    with Service(Habits(gap=0.02)) as service, hw.open_instrument(service.address) as instrument:

        def note(_: float, what: str) -> None:
            if what == "warming up":
                service.habits.gap = 0.005

        found = instrument.measure_tokens(replace(SHORT, concurrency=2), progress=note)
    later, wanted = found.evidence["proof_afterwards"], 2 * found.evidence["events_in_window"] / found.window.duration
    assert wanted > 1.02 * found.evidence["proof"]["event_rate"]
    assert later["events_sent"] > 0
    proven = not later["objections"] and wanted <= 1.02 * later["event_rate"]
    assert any("proven for" in one for one in found.validity.reasons) is not proven, found.validity


def test_an_endpoint_whose_usage_is_wrong_gives_no_result() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"most": 18}, "20 were asked for"),
        ({"lie": -15}, "more text events than their usage"),
        ({"lie": 20, "a_event": 2}, "20 were asked for"),
    ]
    # without the engine's counters, which would contradict such a usage as well, but are waited for
    with Service() as service, hw.open_instrument(f"{service.address}?metrics=no") as instrument:
        for habits, reason in wrong:
            service.habits = Habits(**habits)
            found = instrument.measure_tokens(OFFERED)
            assert found.validity.status is ValidityStatus.INVALID
            assert any(reason in one for one in found.validity.reasons), found.validity
            assert not found.runs[0].used


def test_an_endpoint_that_counts_for_others_too_gives_no_result() -> None:
    with Service() as service, hw.open_instrument(service.address) as instrument:

        def note(_: float, what: str) -> None:
            service.generated += what == "measuring"

        found = instrument.measure_tokens(OFFERED, progress=note)
    assert any("others used it" in one for one in found.validity.reasons), found.validity


def test_a_server_that_dies_in_the_window_leaves_what_was_seen_and_an_error() -> None:
    with Service() as service, hw.open_instrument(service.address) as instrument:

        def note(_: float, what: str) -> None:
            if what == "measuring":
                service.habits.dies_after = min(service.habits.dies_after, service.generated + 300)

        load = replace(SHORT, duration=3)  # the longer it is, the longer the client proves itself before it
        found = instrument.measure_tokens(load, progress=note)
    assert found.validity.status is ValidityStatus.ERROR
    assert found.value is None
    assert "broke off" in found.validity.reasons[0]
    assert found.evidence["events"] > 200
    assert found.evidence["partial_event_rate"] > 100
    assert found.evidence["partial_token_rate"] == pytest.approx(found.evidence["partial_event_rate"])
    assert found.evidence["output_tokens_by_usage"] % 20 == 0
    assert found.evidence["failures"]


def test_a_server_that_falls_silent_is_an_error_within_the_timeout() -> None:
    began = time.monotonic()
    with Service(Habits(stalls=True)) as service, pytest.raises(DeadlineExceeded) as silent:
        measured(service, timeout=1.0)
    assert "silent" in str(silent.value) or "nothing came" in str(silent.value)
    assert time.monotonic() - began < 30


@pytest.fixture
def small_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Has temporary files lie on a disk of so many bytes."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a small disk needs root and mount: sudo apt-get install mount")
    place = tmp_path / "place"
    place.mkdir()

    def make(size: str) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=True)
        monkeypatch.setattr("tempfile.tempdir", str(place))
        return place

    yield make
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full_of_what_came_ends_the_load_and_what_was_kept_is_whole(
    small_place: Callable[[str], Path],
) -> None:
    place = small_place("900k")
    load = replace(OFFERED, output_tokens=50, request_rate=60, duration=4.0, headroom=1.0)
    with Service(Habits(gap=0.002)) as server, hw.open_instrument(server.address, timeout=5.0) as service:
        found = service.measure_tokens(load)
    assert found.validity.status is ValidityStatus.ERROR
    assert found.value is None
    assert f"cannot be kept in {place}: No space left on device" in found.validity.reasons[0]
    assert found.window.duration < load.duration
    assert found.evidence["requests_complete"] > 20
    assert found.evidence["output_tokens_by_usage"] == 50 * found.evidence["requests_complete"]
    assert found.evidence["events"] >= found.evidence["output_tokens_by_usage"]
    assert list(place.iterdir()) == []


def test_a_disk_on_which_nothing_of_the_load_can_be_kept_is_told_by_name(small_place: Callable[[str], Path]) -> None:
    place = small_place("64k")
    with (
        Service(Habits(gap=0.002)) as server,
        hw.open_instrument(server.address, timeout=5.0) as service,
        pytest.raises(ConnectionFailed, match="the client has no place for its files"),
    ):
        service.measure_tokens(replace(SHORT, output_tokens=50, concurrency=8))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_refuses_the_load_is_quoted(status: int) -> None:
    with (
        Service(Habits(fails=status)) as service,
        pytest.raises(InstrumentReportedError, match="overloaded") as refused,
    ):
        measured(service)
    assert refused.value.code == status


def test_a_model_that_is_not_served_is_named_with_those_that_are() -> None:
    with Service() as service, pytest.raises(OutOfRange, match="words") as refused:
        measured(service, replace(SHORT, model="other"))
    assert "'other'" in str(refused.value)
    with Service(Habits(lists_models=500)) as service, pytest.raises(OutOfRange, match="other"):
        measured(service, replace(SHORT, model="other"))
    with Service(Habits(lists_models=500)) as service:
        assert measured(service, OFFERED).evidence["requests"]["complete"]


def test_a_key_is_sent_and_never_shown(tmp_path: Path) -> None:
    key = "sk-unspeakable-1234567890"
    file = tmp_path / "key"
    file.write_text(key + "\n")
    with Service(Habits(key=key)) as service, Trace(tmp_path / "trace.jsonl") as trace:
        found = measured(service, OFFERED, options=f"?key_file={file}", trace=trace)
        assert found.evidence["requests"]["complete"] > 0
        file.write_text("sk-wrong-unspeakable")
        with pytest.raises(NotPermitted) as refused:
            measured(service, options=f"?key_file={file}", trace=trace)
        with pytest.raises(NotPermitted, match="wants a key") as missing:
            measured(service, trace=trace)
    shown = (
        json.dumps(to_plain(found)) + (tmp_path / "trace.jsonl").read_text() + str(refused.value) + str(missing.value)
    )
    assert "unspeakable" not in shown
    assert "key_file" in str(refused.value)
    with Service() as service, hw.open_instrument(service.address, api_key=key) as instrument:
        assert key not in str(instrument.snapshot())


@pytest.mark.parametrize("content", ["", "two words", "ünïcode", None])
def test_a_file_without_one_key_is_refused_and_not_shown(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with Service() as service, pytest.raises(UsageError) as refused:
        measured(service, options=f"?key_file={file}")
    assert str(file) in str(refused.value)
    assert not content or content not in str(refused.value)


def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_that_is_named_is_believed(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, *name, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Service(tls=context) as service:
        with pytest.raises(ConnectionFailed, match="cannot be trusted"):
            measured(service, options="?metrics=no")
        found = measured(service, OFFERED, options=f"?metrics=no&certificate={certificate}")
    assert found.evidence["requests"]["complete"] > 0
    with pytest.raises(UsageError, match="certificate"):
        measured(service, options="?certificate=/nowhere/here.pem")


def test_whether_client_and_service_share_a_host_is_told_by_its_own_addresses() -> None:
    for own in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert is_this_host(own), own
    # a host without a way out has no such address
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))
        assert is_this_host(way.getsockname()[0])
    for other in ("192.0.2.1", "2001:db8::1", "no-such-name.invalid"):
        assert not is_this_host(other), other


def test_nothing_there_and_something_else_there_are_told_apart() -> None:
    with pytest.raises(ConnectionFailed):
        hw.open_instrument("openai+http://127.0.0.1:9/v1").close()
    with Service() as service, pytest.raises(IdentityMismatch, match="OpenAI"):
        hw.open_instrument(service.address.replace("/v1", "/v2")).close()


@pytest.mark.parametrize(
    "address",
    [
        "openai+ftp://host/v1",
        "openai+http:///v1",
        "openai+http://user:word@host/v1",
        "openai+http://host:70000/v1",
        "openai+http://host/v1?endpoint=images",
        "openai+http://host/v1?api_key=sk-1",
        "openai+http://host/v1?metrics=host",
        "openai+http://host/v1?metrics=http://user:word@host/metrics",
        "prometheus+http://host/metrics?also=http://user:word@other/metrics",
        "prometheus+http://user:word@host:70000/metrics",
        "prometheus+http://host/metrics?also=http://host/metrics",
        "prometheus+http://host/metrics?longest=many",
        "prometheus+http://host/metrics?counts=both",
        "prometheus+http://host/metrics?every=0",
    ],
)
def test_an_address_that_makes_no_sense_is_refused_without_a_word_sent(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        hw.open_instrument(address)
    assert "user:word" not in str(refused.value)
    assert "sk-1" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_tokens": 0},
        {"output_tokens": 0},
        {"concurrency": 0},
        {"request_rate": 5.0},
        {"arrival": "poisson"},
        {"arrival": "burst"},
        {"duration": 0.0},
        {"warm_up": -1.0},
        {"processes": 5},
        {"headroom": 0.5},
        {"failure_rate": 2.0},
        {"parameters": 0},
        {"input_tokens": 1},
    ],
)
def test_a_load_that_cannot_be_applied_is_refused_before_it_is(wrong: dict[str, Any]) -> None:
    with Service() as service, pytest.raises(OutOfRange):
        measured(service, replace(SHORT, **wrong))
    assert all(body["max_tokens"] <= 16 for body in service.bodies)


def test_abort_ends_a_measurement_within_a_second_and_leaves_no_client_behind() -> None:
    with Service() as service, hw.open_instrument(service.address) as instrument:
        ended: list[tuple[float, BaseException]] = []
        measuring = threading.Event()

        def note(_: float, what: str) -> None:
            if what == "measuring":
                measuring.set()

        def work() -> None:
            try:
                load = replace(SHORT, concurrency=2, duration=3)
                instrument.measure_tokens(load, progress=note)
            except BaseException as error:  # noqa: BLE001 - carried to the test
                ended.append((time.monotonic(), error))

        thread = threading.Thread(target=work)
        thread.start()
        assert measuring.wait(60)
        before = len(service.prompts)
        while len(service.prompts) < before + 2:
            time.sleep(0.01)
        assert service.most_at_once == 2
        asked = time.monotonic()
        instrument.abort()
        thread.join(10)
        ((at, error),) = ended
        assert isinstance(error, Aborted), repr(error)
        assert at - asked < 1.0
        time.sleep(0.3)
        assert service._at_once == 0
        assert instrument.release()
        if error.partial is not None:  # a busy host's clients may not tell in time; that they do is a test of the crew
            assert_what_came_was_kept(error.partial, service)


def assert_what_came_was_kept(partial: object, service: Service) -> None:
    assert isinstance(partial, Measurement)
    assert partial.validity.status is ValidityStatus.ABORTED
    assert partial.value is None
    assert "aborted" in partial.validity.reasons[0]
    assert 0 < partial.evidence["events"] <= service.generated
    assert partial.evidence["requests_complete"] > 0
    assert to_plain(partial)


def test_an_aborted_load_leaves_what_was_seen_marked_as_aborted() -> None:
    load = replace(OFFERED, request_rate=20, duration=3)
    with Service() as service, hw.open_instrument(service.address) as instrument:

        def note(_: float, what: str) -> None:
            if what == "measuring":
                threading.Timer(0.5, instrument.abort).start()

        for _ in range(5):  # within the second that an abort may take, a busy host's clients may not tell
            with pytest.raises(Aborted) as aborted:
                instrument.measure_tokens(load, progress=note)
            if aborted.value.partial is not None:
                break
        assert_what_came_was_kept(aborted.value.partial, service)
        assert aborted.value.partial.evidence["partial_token_rate"] > 0  # type: ignore[attr-defined]


@pytest.fixture
def before_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the paced source of the client's proof do something before it begins, whoever starts it."""

    def let(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            f"import os, sys, time\nif any('._source import' in one for one in sys.orig_argv):\n    {code}\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return let


def test_an_abort_while_the_source_of_the_proof_has_not_begun_is_answered_within_a_second(
    before_the_source: Callable[[str], None],
) -> None:
    before_the_source("time.sleep(60)")
    asked: list[float] = []
    with Service() as service, hw.open_instrument(service.address) as instrument:

        def abort() -> None:
            asked.append(time.monotonic())
            instrument.abort()

        def note(_: float, what: str) -> None:
            if what.startswith("proving"):
                threading.Timer(0.3, abort).start()

        with pytest.raises(Aborted):
            instrument.measure_tokens(OFFERED, progress=note)
        assert time.monotonic() - asked[0] < 1.0


def test_a_source_of_the_proof_that_ends_is_told_at_once_with_its_last_words(
    before_the_source: Callable[[str], None],
) -> None:
    before_the_source("os.write(2, b'warning\\nno port is free\\n'); os._exit(3)")
    began: list[float] = []
    with Service() as service, hw.open_instrument(service.address) as instrument:
        with pytest.raises(InstrumentError, match="source of the client's proof ended with status 3") as told:
            instrument.measure_tokens(OFFERED, progress=lambda _, what: began.append(time.monotonic()))
        assert time.monotonic() - began[-1] < 5.0
    assert told.value.why == "no port is free"


def test_counters_are_read_and_their_absence_is_said() -> None:
    with Service() as service, hw.open_instrument(service.address) as instrument:
        counters = instrument.read()
        assert counters.generated_tokens.value == service.generated == 0
        assert counters.requests_running == 0
        assert instrument.capabilities.counters
        assert instrument.capabilities.models == ("words",)
    with Service() as service, hw.open_instrument(service.address + "?metrics=no") as instrument:
        assert instrument.capabilities.counters is None
        with pytest.raises(NotSupported):
            instrument.read()
    with Service(Habits(counters=False)) as service:
        found = measured(service, OFFERED)
    assert found.evidence["engine_counters"] is None
    assert any("no counters" in remark for remark in found.evidence["remarks"])
