"""The driver of OpenAI-compatible services against the simulated one, whose every token has a known time.

Driver and simulator were written from the same facts by different hands, and neither knows of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import NotPermitted
from aicalib_hw.interfaces import InferenceLoad
from aicalib_hw.readings import Measurement, ValidityStatus

LOAD = InferenceLoad("", 32, 20, arrival="constant", request_rate=20, warm_up=0, duration=0.8)
"""At a rate that is offered the service needs no sounding."""
_OF_THIS_HOST = ("did not prove itself", "was proven for", "after they were due")


@pytest.fixture
def service() -> Iterator[Callable[..., Any]]:
    """Starts a simulated service with the options that are named, on a world in real time."""
    with ExitStack() as undo:

        def start(**options: Any) -> Any:
            world = registry.simulator(registry.WORLD).from_settings({"rate": 1, "seed": 3})
            simulated = registry.simulator("openai")(world, "service", **{"follows_platform": False, **options})
            world.start()
            undo.callback(world.stop)
            simulated.start()
            undo.callback(simulated.stop)
            return simulated

        yield start


def measured(simulated: Any, load: InferenceLoad = LOAD, options: str = "", fault: Any = None) -> Measurement:
    """Measure; `fault`, or each of several, strikes when the window begins."""
    with hw.open_instrument(simulated.address + options, timeout=3.0) as instrument:
        return measured_by(instrument, simulated, load, fault)


def measured_by(instrument: Any, simulated: Any, load: InferenceLoad = LOAD, fault: Any = None) -> Measurement:
    """As `measured`, by a driver that is open."""
    struck: list[Any] = []

    def note(_: float, what: str) -> None:
        if fault is not None and what == "measuring" and not struck:
            struck.extend(simulated.inject(one) for one in (fault if isinstance(fault, list) else [fault]))

    found = instrument.measure_tokens(load, progress=note)
    assert isinstance(found, Measurement)
    assert found.identity.simulated
    return found


def reasons(found: Measurement) -> list[str]:
    """What makes it invalid, but for this busy host's own weakness."""
    return [one for one in found.validity.reasons if not any(own in one for own in _OF_THIS_HOST)]


def rate_of_source(truth: Any, found: Measurement) -> float:
    """The rate at which the tokens of the window were sent, token/s: from one of them to another."""
    sent = np.sort(np.concatenate([np.array(one.sent) for one in truth.events()]))
    edges = (found.window.start.monotonic_ns, found.window.stop.monotonic_ns)
    first, last = (int(np.abs(sent - edge).argmin()) for edge in edges)
    return float((last - first) / ((sent[last] - sent[first]) / 1e9))


@dataclass(frozen=True)
class Case:
    """A load in a closed loop: nominal token/s of all streams, its streams, client processes, tokens each, window s."""

    rate: int
    streams: int
    processes: int
    length: int
    seconds: float


@pytest.mark.alone
@pytest.mark.parametrize(
    "cases",
    # the two slow ones at the same time, as each leaves this host to the other
    [[Case(10, 1, 1, 8, 4.0), Case(1_000, 10, 1, 50, 6.0)], [Case(20_000, 200, 2, 100, 12.0)]],
    ids=["10 and 1000 token/s", "20000 token/s"],
)
def test_counts_are_exact_and_the_rate_is_true_to_a_thousandth(service: Callable[..., Any], cases: list[Case]) -> None:
    services = [service(stream_rate=case.rate / case.streams, capacity=1e6) for case in cases]
    with ThreadPoolExecutor(len(cases)) as pool:
        results = list(pool.map(loaded, services, cases))
    for case, simulated, found in zip(cases, services, results, strict=True):
        assert reasons(found) == [], case
        # the windows are long enough for the few ms by which a busy host lets the source be late at their edges;
        # a thousandth, or what the driver states of its stamps where others keep this host busy
        (stamps,) = (one.half_width or 0.0 for one in found.components if one.name == "arrival stamps")
        assert found.value == pytest.approx(rate_of_source(simulated.truth, found), rel=max(1e-3, stamps)), case
        assert found.value is not None
        assert 0.9 * case.rate < found.value < 1.2 * case.rate, case
        counters = found.evidence["engine_counters"]
        assert counters["generated_tokens"] == counters["generated_tokens_by_usage"], case
        assert counters["prompt_tokens"] == counters["prompt_tokens_by_usage"], case
        ours = [one for one in simulated.truth.requests if one.asked == case.length and one.outcome == "length"]
        assert found.evidence["requests"]["output_tokens_by_usage"] <= sum(one.tokens for one in ours), case
        sent = simulated.truth.tokens_between(found.window.start.monotonic_ns, found.window.stop.monotonic_ns)
        assert found.evidence["tokens_in_window"] == pytest.approx(sent, abs=max(1, 0.01 * case.rate)), case


def loaded(simulated: Any, case: Case) -> Measurement:
    load = InferenceLoad("", 32, case.length, concurrency=case.streams, processes=case.processes, warm_up=0)
    return measured(simulated, replace(load, duration=case.seconds, headroom=1.0))


@pytest.mark.alone
def test_times_to_the_first_token_and_between_tokens_are_true_within_a_millisecond(service: Callable[..., Any]) -> None:
    """At 1000 token/s, of requests that come one by one: together they would wait for each other in the server."""
    simulated = service(stream_rate=50.0, capacity=1e6)
    load = InferenceLoad("", 32, 40, arrival="constant", request_rate=25, warm_up=0, duration=1.5)
    tries = []
    with hw.open_instrument(simulated.address, timeout=3.0) as instrument:
        for _ in range(3):
            tries.append(against_the_source(simulated.truth, measured_by(instrument, simulated, load)))
            if max(tries[-1][1].values()) < 1e-3:
                return
    # Whether others kept this host busy, the stamps of the source tell, and not the driver, which is what is tested: a
    # source that was late by a millisecond itself does not show whether the client was.
    assert not any(quiet for quiet, _ in tries), tries
    assert all(min(worst[name] for _, worst in tries) < 1e-2 for name in ("itl p50", "ttft p50", "tpot p50")), tries


def against_the_source(truth: Any, found: Measurement) -> tuple[bool, dict[str, float]]:
    """Whether the source was in time, by its own stamps, and by how much the driver's times differ from its, s."""
    start, stop = found.window.start.monotonic_ns, found.window.stop.monotonic_ns
    ours = [
        one for one in truth.requests if one.outcome == "length" and one.asked == 40 and start < one.received <= stop
    ]
    numbers = {one.number for one in ours}
    events = [one for one in truth.events() if one.number in numbers]
    late = np.concatenate([np.array(one.sent) - np.array(one.due) for one in events]) / 1e9
    gaps = np.concatenate([np.diff(np.array(one.sent)) for one in events]) / 1e9
    firsts = [(one.first - one.received) / 1e9 for one in ours]
    each = np.percentile([(one.last - one.first) / 1e9 / (one.tokens - 1) for one in ours], 50)
    told = found.evidence
    worst = {
        f"itl p{percent}": abs(told["itl_s"][f"p{percent}"] - np.percentile(gaps, percent)) for percent in (50, 90, 95)
    }
    # A time counts from when the request was due, and how late it was sent is stated beside it; what the server took to
    # notice a request is in the time of the client, and not in that of the server.
    for percent in (50, 90, 95):
        beyond = told["ttft_s"][f"p{percent}"] - np.percentile(firsts, percent)
        worst[f"ttft p{percent}"] = max(-beyond, beyond - told["dispatch_lag_s"][f"p{percent}"], 0.0)
    worst["tpot p50"] = abs(told["tpot_s"]["p50"] - each)
    return bool(np.percentile(late, 99) < 1e-3), worst


@pytest.mark.parametrize("fault", ["coalesced", "bundled"])
def test_tokens_that_come_together_count_and_leave_no_times_between_them(
    service: Callable[..., Any], fault: str
) -> None:
    simulated = service()
    found = measured(simulated, fault={"kind": fault, "count": None})
    assert reasons(found) == []
    assert not found.evidence["itl_s"]["valid"]
    assert any("together" in one or "tokens on average" in one for one in found.evidence["itl_s"]["reasons"])
    assert found.evidence["engine_counters"]["generated_tokens_by_usage"] % 20 == 0


@pytest.mark.parametrize(
    ("engine", "endpoint"),
    [
        ("vllm", "chat"),
        ("tgi", "completions"),
        ("llama.cpp", "chat"),
        ("llama-cpp-python", "completions"),
        ("transformers", "chat"),
    ],
)
def test_whatever_the_manners_of_the_engine_the_tokens_are_the_same(
    service: Callable[..., Any], engine: str, endpoint: str
) -> None:
    simulated = service(engine=engine)
    found = measured(simulated, options=f"?endpoint={endpoint}")
    assert reasons(found) == []
    assert found.value == pytest.approx(rate_of_source(simulated.truth, found), rel=0.02)
    assert found.evidence["requests"]["finish_reasons"] == {"length": found.evidence["requests"]["complete"]}
    kind = "length" if engine == "llama-cpp-python" else "usage"
    assert found.definition == f"token/output/{kind}-counted/offered-window"
    if found.evidence["engine_counters"]:
        counters = found.evidence["engine_counters"]
        assert counters["generated_tokens"] == counters["generated_tokens_by_usage"]


def test_how_bytes_are_cut_and_joined_changes_no_count(service: Callable[..., Any]) -> None:
    simulated = service()
    for fault in ("split_events", "split_characters", "crlf", "comments", "wrong_content_type"):
        simulated.inject({"kind": fault, "count": 400})
    found = measured(simulated)
    assert reasons(found) == []
    counters = found.evidence["engine_counters"]
    assert counters["generated_tokens"] == counters["generated_tokens_by_usage"] > 0


def test_a_fault_of_one_request_makes_no_result(service: Callable[..., Any]) -> None:
    """Each fault strikes a request of its own and is a reason of its own; those that hide no other share a load."""
    together = {
        "truncated": "without a finish_reason",
        "unauthorised": "status 401",
        "no_usage": "usage came with",
        "overrun": "20 were asked for",
    }
    faults = [{"kind": fault, "after": after} for after, fault in enumerate(together)]
    simulated = service()
    with hw.open_instrument(simulated.address, timeout=3.0) as instrument:
        found = measured_by(instrument, simulated, fault=faults)
        assert found.validity.status is ValidityStatus.INVALID
        for fault, reason in together.items():
            assert any(reason in one for one in found.validity.reasons), (fault, found.validity)
        assert any(one.startswith("2 of ") and "failed" in one for one in found.validity.reasons), found.validity
        assert reasons(measured_by(instrument, simulated)) == [], "something is left of the faults before"


def test_usage_and_counters_that_contradict_each_other_are_told_whichever_is_wrong(service: Callable[..., Any]) -> None:
    """Both at the same time, as each waits for counters that may still follow."""
    wrong: dict[str, dict[str, Any]] = {"counters_frozen": {"count": None}, "false_usage": {}}
    services = {kind: service() for kind in wrong}
    with ThreadPoolExecutor(len(wrong)) as pool:
        found = {
            kind: pool.submit(measured, services[kind], fault={"kind": kind, **more}) for kind, more in wrong.items()
        }
    for kind, one in found.items():
        validity = one.result().validity
        assert validity.status is ValidityStatus.INVALID, kind
        assert any("one of the two is wrong" in reason for reason in validity.reasons), (kind, validity)


def test_a_service_that_dies_leaves_what_was_seen(service: Callable[..., Any]) -> None:
    found = measured(service(), replace(LOAD, duration=2.0), fault={"kind": "dies"})
    assert found.validity.status is ValidityStatus.ERROR
    assert found.value is None
    assert found.evidence["events"] > 0


def test_a_key_that_is_wanted_is_asked_for_and_never_shown(service: Callable[..., Any]) -> None:
    simulated = service(api_key="unspeakable")
    with pytest.raises(NotPermitted, match="key"):
        hw.open_instrument(simulated.address)
    with hw.registry.driver("openai")(simulated.address, api_key="unspeakable") as instrument:
        found = instrument.measure_tokens(LOAD)
    assert reasons(found) == []
    with pytest.raises(NotPermitted) as refused, hw.registry.driver("openai")(simulated.address, api_key="word-x"):
        pass
    assert "word-x" not in str(refused.value)


def test_several_engines_behind_one_address_are_counted_as_one(service: Callable[..., Any]) -> None:
    simulated = service(engines=3)
    found = measured(simulated)
    assert reasons(found) == []
    base = simulated.address.removeprefix("openai+").removesuffix("/v1")
    with hw.open_instrument(f"prometheus+{base}/metrics") as counters:
        assert counters.identity.simulated
        total = counters.read().generated_tokens
    assert total is not None
    assert total.value == sum(one.tokens for one in simulated.truth.requests)
