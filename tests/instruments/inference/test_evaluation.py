"""From stamped events to token/s: what is stated of a rate holds for every stream that could have been."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from aicalib_hw.instruments.inference._crew import Seen
from aicalib_hw.instruments.inference._evaluation import Evaluated, evaluate, partial_rate, statistics_of
from aicalib_hw.instruments.inference._job import Request
from aicalib_hw.instruments.inference._proof import judge
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.interfaces import InferenceLoad

SECOND = 1_000_000_000


def seen(streams: Sequence[Sequence[int]], *, tokens_an_event: int = 1, **more: Any) -> Seen:
    """One complete request a stream, whose events came at these ns."""
    requests: list[Request] = []
    times: list[int] = []
    of: list[int] = []
    for number, events in enumerate(streams):
        done = len(events) * tokens_an_event
        requests.append(
            Request(
                number, events[0] - 1000, events[0] - 1000, events[-1], 200, events=len(events), prompt_tokens=7,
                output_tokens=done, finish="length",
            )
        )  # fmt: skip
        times += events
        of += [number] * len(events)
    none = np.array([], dtype=np.int64)
    stamps = np.array(more.pop("stamps", ()), dtype=np.int64)
    joined = np.array(more.pop("joined", [0] * len(times)), dtype=np.int64)
    columns = np.array(times, dtype=np.int64), np.array(of, dtype=np.int64), joined, stamps
    return Seen(tuple(requests), *columns, more.pop("lag_times", none), more.pop("lags", none), (), **more)


def evaluated(found: Seen, load: InferenceLoad, begin: float, end: float, *, usage: bool = True) -> Evaluated:
    return evaluate(found, load, round(begin * SECOND), round(end * SECOND), usage=usage, fixed=True)


def half_width(found: Evaluated) -> float:
    return sum(one.half_width or 0.0 for one in found.components)


@given(
    gap=st.floats(0.002, 0.05),
    phases=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    tokens_an_event=st.integers(1, 4),
    begin=st.floats(1.0, 2.0),
    length=st.floats(1.0, 3.0),
)
def test_the_rate_of_steady_streams_is_true_within_what_is_stated_wherever_the_window_lies(
    gap: float, phases: list[float], tokens_an_event: int, begin: float, length: float
) -> None:
    count = round(6.0 / gap)
    streams = [[round((phase * gap + index * gap) * SECOND) for index in range(count)] for phase in phases]
    load = InferenceLoad("m", 7, count * tokens_an_event, concurrency=len(phases))
    found = evaluated(seen(streams, tokens_an_event=tokens_an_event), load, begin, begin + length)
    assert not found.objections
    true = len(phases) * tokens_an_event / gap
    assert found.rate is not None
    assert abs(found.rate / true - 1) <= half_width(found) + 1e-6
    if len(phases) == 1:  # a single stream is never cut
        assert found.rate == pytest.approx(true, rel=1e-6)
        assert "streams cut by the window" not in {one.name for one in found.components}


@given(
    events=st.lists(st.integers(1, 10**8), min_size=3, max_size=200),
    tokens=st.integers(1, 1000),
)
def test_the_weights_of_a_request_add_up_to_its_usage(events: list[int], tokens: int) -> None:
    times = [int(at) for at in np.cumsum(events)]
    one = seen([times])
    stated = one.requests[0]
    stated.output_tokens = max(tokens, len(times))
    load = InferenceLoad("m", 7, stated.output_tokens)
    found = evaluate(one, load, times[0], times[-1], usage=True, fixed=True)
    # all but the first event, at which the window begins
    assert found.tokens == pytest.approx(stated.output_tokens * (len(times) - 1) / len(times))


def test_what_a_window_holds_is_what_came_after_its_first_arrival_and_up_to_its_last() -> None:
    stream = [round(at * SECOND) for at in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)]
    found = evaluated(seen([stream]), InferenceLoad("m", 7, 6), 1.2, 2.7)
    assert (found.start, found.stop) == (SECOND, round(2.5 * SECOND))
    assert found.tokens == 3
    assert found.rate == pytest.approx(2.0)
    assert found.evidence["total_token_rate"] == pytest.approx(2.0)  # its prompt was done before


def test_prompts_count_into_the_total_when_their_first_text_comes() -> None:
    early = [round(at * SECOND) for at in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)]
    late = [round((at + 0.25) * SECOND) for at in (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)]
    found = evaluated(seen([early, late]), InferenceLoad("m", 7, 6, concurrency=2), 1.2, 2.7)
    assert found.total_rate == pytest.approx((7 + found.tokens) / ((found.stop - found.start) / SECOND))


def test_answers_longer_than_asked_for_are_no_result_where_no_usage_tells() -> None:
    stream = [round(at * SECOND) for at in np.arange(0.1, 5, 0.1)]
    found = seen([stream])
    found.requests[0].output_tokens = None
    asked = InferenceLoad("m", 7, len(stream))
    assert not evaluated(found, asked, 1, 4, usage=False).objections
    fewer = evaluated(found, InferenceLoad("m", 7, len(stream) - 1), 1, 4, usage=False)
    assert any(f"had up to {len(stream)} text events" in one for one in fewer.objections), fewer.objections


@pytest.mark.parametrize(("early", "valid"), [(1, True), (100, False)])
def test_answers_that_end_early_are_another_load_unless_they_are_few(early: int, valid: bool) -> None:
    streams = [[round((at + 0.03 * number) * SECOND) for at in (0.1, 0.2, 0.3)] for number in range(100)]
    found = seen(streams, tokens_an_event=10)
    for request in found.requests[:early]:
        request.output_tokens, request.finish = 15, "stop"
    load = InferenceLoad("m", 7, 30, concurrency=100)
    of = evaluate(found, load, SECOND // 2, 2 * SECOND, usage=True, fixed=False)
    assert bool(of.objections) is not valid
    assert any("15 to 15 output tokens" in one for one in (*of.objections, *of.remarks))
    assert evaluate(found, load, SECOND // 2, 2 * SECOND, usage=True, fixed=True).objections


def test_a_failed_request_has_no_tokens_and_makes_no_result_unless_failures_are_allowed() -> None:
    stream = [round(at * SECOND) for at in np.arange(0.1, 5, 0.1)]
    found = seen([stream, stream])
    found.requests[1].failure, found.requests[1].kind, found.requests[1].output_tokens = "broke off", "broken", None
    load = InferenceLoad("m", 7, len(stream), concurrency=2)
    strict = evaluated(found, load, 1, 4)
    assert any("1 of 2 requests failed: broke off" in one for one in strict.objections)
    assert strict.rate == pytest.approx(10.0)
    lenient = evaluated(found, InferenceLoad("m", 7, len(stream), concurrency=2, failure_rate=0.5), 1, 4)
    assert not lenient.objections


def test_a_window_in_which_nothing_came_is_no_result() -> None:
    found = evaluated(seen([[1, 2, 3]]), InferenceLoad("m", 7, 3), 10, 20)
    assert found.rate is None
    assert found.objections == ("no token came in the window",)


def test_a_service_that_stands_still_at_the_end_of_the_window_gives_no_result() -> None:
    before = [round(at * SECOND) for at in np.arange(0.1, 30, 0.05)]
    after = [round(at * SECOND) for at in np.arange(70, 75, 0.05)]
    load = InferenceLoad("m", 7, len(before) + len(after))
    found = evaluated(seen([[*before, *after]]), load, 1, 60)
    assert found.rate == pytest.approx(20.0)  # that of the half in which it worked
    assert any("nothing came in the last 30" in one for one in found.objections), found.objections
    assert not evaluated(seen([[*before, *after]]), load, 1, 30).objections


def test_answers_that_come_whole_and_seldom_are_no_standing_still() -> None:
    streams = [[round(at * SECOND)] for at in (1.0, 11.0, 21.0, 31.0, 41.0, 51.0)]
    load = InferenceLoad("m", 7, 1, streaming=False)
    assert not evaluated(seen(streams), load, 2, 60).objections


def test_events_that_come_together_or_wait_leave_no_times_between_tokens() -> None:
    stream = [round(at * SECOND) for at in np.arange(0.1, 5, 0.1)]
    load = InferenceLoad("m", 7, len(stream))
    quiet = evaluated(seen([stream]), load, 1, 4)
    assert quiet.evidence["itl_s"]["valid"]
    assert quiet.evidence["itl_s"]["p50"] == pytest.approx(0.1)
    together = evaluated(seen([stream], joined=[1] * len(stream)), load, 1, 4)
    assert not together.evidence["itl_s"]["valid"]
    at = np.arange(1, 4, 0.02) * SECOND
    late = seen([stream], lag_times=at.astype(np.int64), lags=np.full(len(at), 5_000_000, dtype=np.int64))
    waited = evaluated(late, load, 1, 4)
    assert "5.0 ms" in waited.evidence["itl_s"]["reasons"][0]
    assert half_width(waited) > half_width(quiet)


def test_in_an_open_loop_a_request_counts_from_when_it_was_due() -> None:
    stream = [round(at * SECOND) for at in np.arange(2.0, 6, 0.1)]
    found = seen([stream])
    found.requests[0].due = round(1.5 * SECOND)
    found.requests[0].sent = round(1.505 * SECOND)
    load = InferenceLoad("m", 7, len(stream), arrival="constant", request_rate=1.0, ttft_limit=0.4)
    evidence = evaluated(found, load, 1.0, 5.0).evidence
    assert evidence["ttft_s"]["count"] == 0  # it was due before the first arrival, where the window begins
    found.requests[0].due = round(2.5 * SECOND)
    evidence = evaluated(found, load, 1.0, 5.0).evidence
    assert evidence["latency_s"]["max"] == pytest.approx(5.9 - 2.5)
    assert evidence["dispatch_lag_s"]["max"] == pytest.approx(1.505 - 2.5)


@pytest.mark.parametrize(("late", "valid"), [(0.005, True), (0.02, False)])
def test_requests_that_are_sent_late_are_not_the_load_that_was_offered(late: float, valid: bool) -> None:
    streams = [[round((at + 0.5 * number) * SECOND) for at in np.arange(1.0, 3.0, 0.1)] for number in range(4)]
    found = seen(streams)
    for request in found.requests:
        request.due = request.sent - round(late * SECOND)
    load = InferenceLoad("m", 7, len(streams[0]), arrival="constant", request_rate=2.0)
    of = evaluated(found, load, 0.9, 4.0)
    assert of.evidence["dispatch_lag_s"]["max"] == pytest.approx(late)
    assert of.objections == (() if valid else ("requests were sent more than 10 ms after they were due",))


def test_percentiles_are_values_that_were_measured() -> None:
    found = statistics_of(np.array([3.0, 1.0, 2.0, 10.0]))
    assert (found["p50"], found["p90"], found["p99"], found["max"]) == (2.0, 10.0, 10.0, 10.0)
    assert statistics_of(np.array([]))["p50"] is None


def test_a_load_that_broke_off_has_the_rate_of_what_came() -> None:
    stream = [round(at * SECOND) for at in np.arange(1.0, 3.05, 0.1)]
    rate, start, stop = partial_rate(seen([stream]), 0)
    assert (start, stop) == (stream[0], stream[-1])
    assert rate == pytest.approx(10.0)
    assert partial_rate(seen([stream]), 10 * SECOND)[0] is None


@pytest.mark.parametrize(("slower", "proven"), [(0.0, True), (0.001, True), (0.01, False)])
def test_a_client_that_falls_behind_proves_nothing(slower: float, proven: bool) -> None:
    sent = [round(at * SECOND) for at in np.arange(0, 2, 0.001)]
    came = [round(at * (1 + slower)) + 50_000 for at in sent]
    proof = judge(seen([came], stamps=sent), 1000.0, events=len(sent), processes=1, streams=1)
    assert (not proof.objections) is proven
    assert proof.loss == pytest.approx(slower / (1 + slower), abs=1e-6)
    short = judge(seen([came], stamps=sent), 1000.0, events=len(sent) + 1, processes=1, streams=1)
    assert any("events came" in one for one in short.objections)
    slow = judge(seen([came], stamps=sent), 2000.0, events=len(sent), processes=1, streams=1)
    assert any("the source reached" in one for one in slow.objections)
