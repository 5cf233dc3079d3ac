"""What goes wrong with a simulated inference service, seen by the openai client and on a plain socket."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from httpx_sse import SSEError, connect_sse
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from aicalib_hw.errors import UsageError

from .serving import QUICK, asked, base, reads, rest_of, root, served

FOREVER: dict[str, Any] = {"count": None}


def stream(service: Any, tokens: int) -> list[Any]:
    """The chunks that the openai client gets of a stream."""
    api = openai.OpenAI(base_url=base(service), api_key="none", max_retries=0, timeout=20)
    body = asked(tokens)
    extra = {"ignore_eos": body.pop("ignore_eos")}
    return list(api.completions.create(**body, extra_body=extra))


def words(chunks: list[Any]) -> list[str]:
    return "".join(chunk.choices[0].text for chunk in chunks if chunk.choices).split()


def payload(got: list[tuple[int, bytes]]) -> bytes:
    """The body of an answer with its chunks joined, from what was read on the wire."""
    _, _, rest = b"".join(data for _, data in got).partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


@pytest.mark.parametrize(
    "kind", ["coalesced", "split_events", "split_characters", "pieces", "crlf", "comments", "bundled", "delay"]
)
def test_however_the_bytes_come_a_right_client_gets_the_same_text(kind: str) -> None:
    with served(**QUICK) as service:
        plain = stream(service, 40)
        service.inject({"kind": kind, "amount": 0.05 if kind == "delay" else 1.0})
        harmed = stream(service, 40)
        first, second = service.truth.requests
    assert len(words(plain)) == len(words(harmed)) == 40
    assert (first.tokens, second.tokens) == (40, 40)
    assert harmed[-1].usage.completion_tokens == 40


def test_events_are_really_cut_and_really_come_together() -> None:
    with served(stream_rate=200.0) as service:
        plain = reads(service, asked(20))
        service.inject("split_events")
        cut = reads(service, asked(20))
        service.inject("split_characters")
        broken = reads(service, asked(20))
        service.inject({"kind": "coalesced", "amount": 10})
        together = reads(service, asked(20))
    assert sum(not data.rstrip().endswith(b"}") for _, data in cut[2:]) >= 15
    assert sum(data.endswith(b"\n\n\r\n") for _, data in plain[1:]) >= 15
    undecodable = 0
    for _, data in broken:
        try:
            data.decode()
        except UnicodeDecodeError:
            undecodable += 1
    assert undecodable >= 4
    assert max(data.count(b"data: ") for _, data in together) >= 10
    assert payload(plain).count(b"data: ") == payload(cut).count(b"data: ") == payload(together).count(b"data: ") == 22


def test_line_ends_and_comments_are_really_there() -> None:
    with served(**QUICK) as service:
        service.inject("crlf")
        ends = payload(reads(service, asked(5)))
        service.inject("comments")
        comments = payload(reads(service, asked(5)))
    assert b"\r\n\r\n" in ends
    assert b"data: " not in ends
    assert comments.count(b": keep-alive\n\n") == comments.count(b"data: ") == 7


def test_tokens_in_one_event_are_fewer_events_and_not_fewer_tokens() -> None:
    with served(**QUICK) as service:
        service.inject({"kind": "bundled", "amount": 5})
        chunks = stream(service, 42)
        truth = rest_of(0, service)
    assert (truth.tokens, truth.events) == (42, 9)
    assert sum(bool(chunk.choices) for chunk in chunks) == 9
    assert chunks[-1].usage.completion_tokens == 42


def test_usage_can_be_missing_or_a_lie_while_the_truth_knows_better() -> None:
    with served(**QUICK) as service:
        service.inject("no_usage")
        none = stream(service, 20)
        service.inject({"kind": "false_usage", "amount": 1.5})
        lie = stream(service, 20)
        assert all(chunk.usage is None for chunk in none)
        assert lie[-1].usage.completion_tokens == 30
        assert [request.tokens for request in service.truth.requests] == [20, 20]


def test_a_text_can_end_early_or_run_on_although_its_length_was_fixed() -> None:
    with served(**QUICK) as service:
        service.inject("early_stop")
        short = stream(service, 40)
        service.inject({"kind": "overrun", "amount": 1.8125})
        long = stream(service, 64)
    assert (len(words(short)), short[-1].usage.completion_tokens) == (20, 20)
    assert [chunk.choices[0].finish_reason for chunk in short if chunk.choices][-1] == "stop"
    assert (len(words(long)), long[-1].usage.completion_tokens) == (116, 116)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_request_in_the_middle_of_a_run_is_refused_with_that_status(status: int) -> None:
    with served(**QUICK) as service:
        service.inject({"kind": "http_error", "amount": status, "after": 1})
        assert len(words(stream(service, 5))) == 5
        with pytest.raises(openai.APIStatusError) as caught:
            stream(service, 5)
        assert caught.value.status_code == status
        assert len(words(stream(service, 5))) == 5
        assert len(service.truth.requests) == 2


def test_streams_are_cut_ended_without_a_reason_or_broken_by_an_error_event() -> None:
    with served(**QUICK) as service:
        service.inject("drop")
        with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
            stream(service, 40)
        service.inject("truncated")
        ended = stream(service, 40)
        service.inject("error_event")
        with pytest.raises(openai.APIError, match="broken by a fault"):
            stream(service, 40)
        outcomes = [(request.outcome, request.tokens) for request in service.truth.requests]
    assert [chunk.choices[0].finish_reason for chunk in ended if chunk.choices][-1] is None
    assert len(words(ended)) == 21
    assert outcomes == [("dropped", 21), ("truncated", 21), ("error 500", 21)]


def test_a_server_that_dies_is_gone_and_its_truth_is_not() -> None:
    with served(**QUICK) as service:
        service.inject("dies")
        with pytest.raises((openai.APIConnectionError, httpx.ReadError, httpx.RemoteProtocolError)):
            stream(service, 40)
        with pytest.raises(httpx.ConnectError):
            httpx.get(root(service) + "/health")
        assert service.truth.requests[0].outcome == "died"
        assert 20 <= service.truth.requests[0].tokens <= 40


def test_a_restart_begins_the_counters_anew() -> None:
    def counted() -> float:
        page = httpx.get(root(service) + "/metrics").text
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == "vllm:generation_tokens_total"
        )

    with served(**QUICK) as service:
        stream(service, 30)
        assert counted() == 30
        service.inject({"kind": "reboot", "amount": 0.05})
        with pytest.raises(httpx.HTTPError):
            httpx.get(root(service) + "/health")
        while True:
            try:
                assert counted() == 0
                break
            except httpx.HTTPError:
                continue
        assert service.truth.tokens == 30
        service.inject({"kind": "counters_frozen", "count": None})
        stream(service, 30)
        assert counted() == 0
        assert service.truth.tokens == 60


def test_first_token_and_a_token_in_the_middle_come_late_by_what_was_asked() -> None:
    with served(**QUICK) as service:
        service.inject({"kind": "slow_first", "amount": 0.3})
        stream(service, 20)
        service.inject({"kind": "stall", "amount": 0.4})
        stream(service, 20)
        slow, stalled = service.truth.events()
        received = service.truth.requests[0].received
    assert (slow.due[0] - received) / 1e9 == pytest.approx(0.305, abs=0.02)
    gaps = [(late - early) / 1e9 for early, late in zip(stalled.due, stalled.due[1:], strict=False)]
    assert max(gaps) == pytest.approx(0.4005, abs=1e-4)
    assert sorted(gaps)[-2] == pytest.approx(0.0005, abs=1e-4)


def test_a_key_that_is_refused_a_wrong_content_type_and_nonsense() -> None:
    with served(**QUICK) as service:
        service.inject("unauthorised")
        refused = httpx.post(base(service) + "/completions", json=asked(5))
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
        service.inject("wrong_content_type")
        with (
            httpx.Client() as http,
            connect_sse(http, "POST", base(service) + "/completions", json=asked(5)) as source,
            pytest.raises(SSEError),
        ):
            next(source.iter_sse())
        service.inject("garble")
        with pytest.raises(json.JSONDecodeError):
            stream(service, 10)
        service.inject("refuse")
        with pytest.raises(httpx.HTTPError):
            httpx.get(root(service) + "/health")
        with pytest.raises(UsageError):
            service.inject("hunger")


FIELDS = st.sampled_from(
    ["model", "prompt", "messages", "max_tokens", "min_tokens", "stream", "stream_options", "logit_bias", "n", "stop"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.just("simulated-8b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_whatever_is_asked_is_answered_and_the_service_lives_on() -> None:
    with served(**QUICK, context=200) as service, httpx.Client(timeout=10) as http:

        @settings(max_examples=80, deadline=None)
        @given(st.dictionaries(FIELDS, VALUES), st.sampled_from(["completions", "chat/completions"]), st.booleans())
        def ask(body: dict[str, Any], path: str, known: bool) -> None:
            if known:
                body = {**body, "model": "simulated-8b"}
            answer = http.post(f"{base(service)}/{path}", json=body)
            assert answer.status_code in (200, 400, 404, 501)
            if answer.status_code != 200:
                assert answer.json()["error"]["message"]

        ask()
        address = urlsplit(base(service))
        for rubbish in (
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"\x16\x03\x01\x02\x00" * 30,
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ):
            with socket.create_connection((address.hostname, address.port), timeout=5) as wire:
                wire.sendall(rubbish)
                wire.shutdown(socket.SHUT_WR)
                while wire.recv(4096):
                    pass
        assert len(words(stream(service, 5))) == 5
        assert service.truth.tokens == sum(request.tokens for request in service.truth.requests)
