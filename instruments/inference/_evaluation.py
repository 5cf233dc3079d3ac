"""From stamped events to tokens per second: the window, what counts in it, latencies, and why a number may not be used.

The window runs from one arrival to another, so that a single stream is never cut; of `m` streams at most m − 1 are. A
request's events weigh what its usage says, shared evenly: weights of a request sum up to its tokens.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aicalib_hw.interfaces import InferenceLoad
from aicalib_hw.readings import Component

from ._crew import Seen
from ._job import Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_COALESCED = 0.01
"""Share of events that may come in one read with the one before them, until times between tokens are none."""

MOST_LAG = 1e-3
"""s that the client may keep an event waiting (99 of 100 times), before times between tokens are not valid."""

MOST_DISPATCH_LAG = 0.01
"""s by which 99 of 100 requests may be sent after they were due, before an offered load was not offered."""

_OTHER_LENGTH = 0.01
"""Share by which answers may be shorter on average than was asked for, of a service that does not fix their length."""

_QUIET = 0.01
_LEAST_QUIET = 0.25
"""Share of a window, and s, for which nothing may come at its end where more came all the time before."""

_SLEW = 5e-4
_TIME_BASE = "time base"
_CLOCK = "host clock"
_LEAST_TOKENS = 1000
_PARTS = 10
_DRIFT = 0.01
_PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """tokens in a window of ns, their rate, what it is not known better than, and why it is no result."""

    start: int
    stop: int
    tokens: float
    rate: float | None
    total_rate: float | None
    objections: tuple[str, ...]
    remarks: tuple[str, ...]
    components: tuple[Component, ...]
    evidence: Mapping[str, Any]


def evaluate(seen: Seen, load: InferenceLoad, begin: int, end: int, *, usage: bool, fixed: bool) -> Evaluated:
    """Evaluate what was seen between two moments, monotonic ns.

    usage: whether the service states any, as it did when it was asked. fixed: whether no text can end early.
    """
    import numpy as np

    requests = seen.requests
    weights, objections, remarks = _weights(requests, load, usage=usage, fixed=fixed)
    order = np.argsort(seen.times, kind="stable")
    times, of = seen.times[order], seen.of[order]
    joined = seen.joined[order]
    inside = np.flatnonzero((times >= begin) & (times <= end))
    before = np.flatnonzero(times < begin)
    first = int(before[-1]) if len(before) else int(inside[0]) if len(inside) else 0
    last = int(inside[-1]) if len(inside) else first
    objections += _failures(requests, load, begin, end)
    evidence: dict[str, Any] = {"requests": _counts(requests, begin, end)}
    if last <= first or times[last] == times[first]:
        objections.append("no token came in the window")
        return Evaluated(begin, end, 0.0, None, None, tuple(objections), tuple(remarks), (), evidence)
    start, stop = int(times[first]), int(times[last])
    # events that came at the very moment of the first belong to what was before it
    chosen = np.flatnonzero((times > start) & (times <= stop))
    objections += _stands_still(times[first : last + 1], begin, end)
    weight = weights[of[chosen]]
    tokens = float(weight.sum())
    seconds = (stop - start) / 1e9
    rate = tokens / seconds
    prompt = sum(one.prompt_tokens or 0 for one in _first_inside(requests, times, of, start, stop))
    streams = load.concurrency if load.arrival == "closed" else _most_under_way(requests, start, stop)
    heaviest = float(weight.max())
    if tokens < _LEAST_TOKENS * streams:
        remarks.append(
            f"fewer than {_LEAST_TOKENS * streams} tokens in the window, {_LEAST_TOKENS} of each stream: its "
            "edges count for more than 0.2 %"
        )
    parts = _parts(times[chosen], weight, start, stop)
    half = len(parts) // 2
    drift = sum(parts[half:]) / sum(parts[:half]) - 1 if sum(parts[:half]) else 0.0
    if abs(drift) > _DRIFT and tokens >= _LEAST_TOKENS * streams:
        remarks.append(f"the second half of the window was {drift:+.1%} off the first: no steady state")
    lags = seen.lags[(seen.lag_times >= start) & (seen.lag_times <= stop)] / 1e9
    coalesced = float(joined[chosen].mean())
    events_a_token = float(len(chosen) / tokens) if tokens else 0.0
    intervals = _intervals(times, of, start, stop)
    doubts = _doubts(coalesced, lags, events_a_token, load)
    evidence |= {
        "tokens_in_window": tokens,
        "events_in_window": len(chosen),
        "seconds": seconds,
        "completed_request_rate": sum(one.complete and start < one.ended <= stop for one in requests) / seconds,
        "total_token_rate": (prompt + tokens) / seconds if usage else None,
        **_latencies(requests, times, of, load, start, stop),
        "itl_s": {**statistics_of(intervals), "valid": not doubts, "reasons": doubts},
        "coalesced_share": coalesced,
        "events_per_token": events_a_token,
        "loop_lag_s": statistics_of(lags),
        "rate_by_part": parts,
        "streams": streams,
        "prompt_tokens": _span([one.prompt_tokens for one in requests if one.complete]),
        "output_tokens": _span([one.output_tokens for one in requests if one.complete]),
        "cached_tokens": sum(one.cached_tokens or 0 for one in requests) or None,
        "system_fingerprint": next((one.fingerprint for one in requests if one.fingerprint), ""),
    }
    if load.arrival != "closed":
        dispatch = np.array([(one.sent - one.due) / 1e9 for one in requests if start < one.due <= stop])
        evidence["dispatch_lag_s"] = statistics_of(dispatch)
        if len(dispatch) and float(np.percentile(dispatch, 99, method="inverted_cdf")) > MOST_DISPATCH_LAG:
            objections.append(f"requests were sent more than {MOST_DISPATCH_LAG * 1e3:g} ms after they were due")
    if load.parameters:
        evidence["parameter_normalised_rate"] = rate * load.parameters
        evidence["parameters"] = load.parameters
    if cached := evidence["cached_tokens"]:
        remarks.append(f"{cached} prompt tokens came from a cache: prompts were not all new to the service")
    lag = float(np.percentile(lags, 99, method="inverted_cdf")) if len(lags) else 0.0
    return Evaluated(
        start,
        stop,
        tokens,
        rate,
        (prompt + tokens) / seconds if usage else None,
        tuple(objections),
        tuple(remarks),
        _components(streams, heaviest, tokens, seconds, lag),
        evidence,
    )


def partial_rate(seen: Seen, begin: int) -> tuple[float | None, int, int]:
    """Return text events/s from `begin` to the last that came, and these two moments, of a load that broke off."""
    times = seen.times[seen.times >= begin]
    if len(times) < 2:
        return None, begin, begin
    start, stop = int(times.min()), int(times.max())
    return (len(times) - 1) / ((stop - start) / 1e9) if stop > start else None, start, stop


def statistics_of(values: NDArray[np.float64]) -> dict[str, Any]:
    """Return count, mean, greatest and nearest-rank percentiles; None where there is nothing."""
    import numpy as np

    if not len(values):
        return {"count": 0, "mean": None, "max": None, **{f"p{percent}": None for percent in _PERCENTILES}}
    ranks = np.percentile(values, _PERCENTILES, method="inverted_cdf")
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "max": float(values.max()),
        **{f"p{percent}": float(rank) for percent, rank in zip(_PERCENTILES, ranks, strict=True)},
    }


def _weights(
    requests: Sequence[Request], load: InferenceLoad, *, usage: bool, fixed: bool
) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Tokens that one event of each request stands for, and what is wrong with the counts."""
    import numpy as np

    objections: list[str] = []
    remarks: list[str] = []
    weights = np.zeros(len(requests))
    complete = [one for one in requests if one.complete]
    stated = [one for one in complete if one.output_tokens is not None]
    if usage and len(stated) < len(complete):
        objections.append(f"usage came with {len(stated)} of {len(complete)} answers only")
    short = whole = 0
    other: list[int] = []
    for request in complete:
        tokens = request.output_tokens
        if not usage or tokens is None:
            tokens = load.output_tokens if request.finish == "length" else 0
        short += request.finish != "length"
        whole += tokens
        if tokens != load.output_tokens:
            other.append(tokens)
        if tokens and request.events:
            weights[request.number] = tokens / request.events
    more_events = [one for one in stated if load.streaming and one.events > (one.output_tokens or 0)]
    silent = [one for one in complete if not one.events]
    if more_events:
        worst = max(more_events, key=lambda one: one.events)
        objections.append(
            f"{len(more_events)} answers had more text events than their usage states tokens, one {worst.events} "
            f"with {worst.output_tokens}: the usage is wrong"
        )
    untold = [one for one in complete if load.streaming and one.output_tokens is None]
    longer = [one for one in untold if one.events > load.output_tokens]
    if longer:
        objections.append(
            f"{len(longer)} answers that count for {load.output_tokens} tokens, as no usage is stated, had up to "
            f"{max(one.events for one in longer)} text events"
        )
    if silent:
        objections.append(f"{len(silent)} answers held no text")
    if not usage and short:
        objections.append(f"{short} answers ended before their length, and no usage tells how many tokens they had")
    if usage and other:
        text = (
            f"{len(other)} of {len(complete)} answers had {min(other)} to {max(other)} output tokens by usage, and "
            f"{load.output_tokens} were asked for"
        )
        asked = load.output_tokens * len(complete)
        if fixed or max(other) > load.output_tokens or whole < (1 - _OTHER_LENGTH) * asked:
            objections.append(text)  # another load than the one whose rate was asked for
        else:
            remarks.append(f"{text}: this service does not let the end of the text be suppressed")
    if complete and not usage:
        remarks.append("the service states no usage in its streams: each answer counts for the length asked for")
    return weights, objections, remarks


def _failures(requests: Sequence[Request], load: InferenceLoad, begin: int, end: int) -> list[str]:
    concerned = [one for one in requests if one.sent < end and one.ended > begin]
    failed = [one for one in concerned if not one.complete]
    if not concerned or len(failed) <= load.failure_rate * len(concerned):
        return []
    kinds = ", ".join(dict.fromkeys(one.failure for one in failed))[:300]
    return [f"{len(failed)} of {len(concerned)} requests failed: {kinds}"]


def _stands_still(times: NDArray[np.int64], begin: int, end: int) -> list[str]:
    """Hold the end of a window, after the last arrival, against the times between arrivals: it is not in the rate."""
    import numpy as np

    quiet, longest = (end - int(times[-1])) / 1e9, int(np.diff(times).max()) / 1e9
    if quiet <= max(_LEAST_QUIET, _QUIET * (end - begin) / 1e9, 2 * longest):
        return []
    return [
        f"nothing came in the last {quiet:.3g} s of the window, and something every {longest:.3g} s before: the "
        "service stood still, which the rate does not show"
    ]


def _counts(requests: Sequence[Request], begin: int, end: int) -> dict[str, Any]:
    failures: dict[str, int] = {}
    for one in requests:
        if not one.complete:
            failures[one.kind] = failures.get(one.kind, 0) + 1
    finishes: dict[str, int] = {}
    for one in requests:
        if one.complete:
            finishes[one.finish] = finishes.get(one.finish, 0) + 1
    return {
        "sent": len(requests),
        "complete": sum(one.complete for one in requests),
        "in_window": sum(one.sent < end and one.ended > begin for one in requests),
        "failed": failures,
        "finish_reasons": finishes,
        "output_tokens_by_usage": sum(one.output_tokens or 0 for one in requests),
        "done_marks": sum(one.done for one in requests),
    }


def _first_inside(
    requests: Sequence[Request], times: NDArray[np.int64], of: NDArray[np.int64], start: int, stop: int
) -> list[Request]:
    firsts = _firsts(times, of)
    return [requests[number] for number, at in firsts.items() if start < at <= stop and requests[number].complete]


def _firsts(times: NDArray[np.int64], of: NDArray[np.int64]) -> dict[int, int]:
    """Arrival of the first text of each request; times are in order."""
    import numpy as np

    numbers, places = np.unique(of, return_index=True)
    return {int(number): int(times[place]) for number, place in zip(numbers, places, strict=True)}


def _lasts(times: NDArray[np.int64], of: NDArray[np.int64]) -> dict[int, int]:
    return {number: -at for number, at in _firsts(-times[::-1], of[::-1]).items()}


def _latencies(
    requests: Sequence[Request],
    times: NDArray[np.int64],
    of: NDArray[np.int64],
    load: InferenceLoad,
    start: int,
    stop: int,
) -> dict[str, Any]:
    """Times to the first token, per token, and to the last, s; from when a request was due, never from when it was
    sent.

    In a closed loop of the requests that ended in the window, in an open one of those that were due in it.
    """
    import numpy as np

    firsts, lasts = _firsts(times, of), _lasts(times, of)
    closed = load.arrival == "closed"
    first, each, whole = [], [], []
    good = 0
    for one in requests:
        if not one.complete or one.number not in firsts:
            continue
        if not start < (lasts[one.number] if closed else one.due) <= stop:
            continue
        tokens = one.output_tokens if one.output_tokens is not None else load.output_tokens
        to_first = (firsts[one.number] - one.due) / 1e9
        to_last = (lasts[one.number] - one.due) / 1e9
        whole.append(to_last)
        kept = load.latency_limit is None or to_last <= load.latency_limit
        if load.streaming:
            first.append(to_first)
            kept &= load.ttft_limit is None or to_first <= load.ttft_limit
            if tokens > 1:
                each.append((to_last - to_first) / (tokens - 1))
                kept &= load.tpot_limit is None or each[-1] <= load.tpot_limit
        good += kept
    found: dict[str, Any] = {
        "latency_rule": "requests whose last token came in the window" if closed else "requests due in the window",
        "ttft_s": statistics_of(np.array(first)),
        "tpot_s": statistics_of(np.array(each)),
        "latency_s": statistics_of(np.array(whole)),
    }
    if any(limit is not None for limit in (load.ttft_limit, load.tpot_limit, load.latency_limit)):
        found["goodput"] = good / ((stop - start) / 1e9)
    return found


def _intervals(times: NDArray[np.int64], of: NDArray[np.int64], start: int, stop: int) -> NDArray[np.float64]:
    """Times between successive text events of one request, s, whose later one came in the window."""
    import numpy as np

    order = np.lexsort((times, of))
    at, number = times[order], of[order]
    same = number[1:] == number[:-1]
    gaps = (at[1:] - at[:-1])[same] / 1e9
    later = at[1:][same]
    found: NDArray[np.float64] = gaps[(later > start) & (later <= stop)]
    return found


def _doubts(coalesced: float, lags: NDArray[np.float64], events_a_token: float, load: InferenceLoad) -> list[str]:
    """Why times between events are not times between tokens."""
    import numpy as np

    if not load.streaming:
        return ["answers came whole"]
    found = []
    if coalesced > MOST_COALESCED:
        found.append(f"{coalesced:.1%} of the events came together with the one before them")
    if events_a_token < 0.99:
        found.append(f"an event held {1 / events_a_token:.2f} tokens on average")
    late = float(np.percentile(lags, 99, method="inverted_cdf")) if len(lags) else 0.0
    if late > MOST_LAG:
        found.append(f"1 of 100 events waited {late * 1e3:.1f} ms or more in the client")
    return found


def _parts(times: NDArray[np.int64], weight: NDArray[np.float64], start: int, stop: int) -> list[float]:
    import numpy as np

    edges = np.linspace(start, stop, _PARTS + 1)
    sums, _ = np.histogram(times, bins=edges, weights=weight)
    return [float(one) for one in sums / ((stop - start) / 1e9 / _PARTS)]


def _most_under_way(requests: Sequence[Request], start: int, stop: int) -> int:
    """Most requests that were under way at either edge of the window, at least 1."""
    return max(1, *(sum(one.sent <= edge < one.ended for one in requests) for edge in (start, stop)))


def _span(values: Sequence[int | None]) -> dict[str, int | None]:
    known = [value for value in values if value is not None]
    return {"least": min(known, default=None), "most": max(known, default=None)}


def _components(streams: int, heaviest: float, tokens: float, seconds: float, lag: float) -> tuple[Component, ...]:
    """State what the rate is not known better than."""
    step = time.get_clock_info("monotonic").resolution
    stated = [
        (_TIME_BASE, _SLEW, "a host's clock of which nothing is known: slewed by at most 500 ppm (adjtimex(2))"),
        ("arrival stamps", 2 * (lag + step) / seconds, "99 of 100 answers of the client's loop, and the clock's steps"),
    ]
    if streams > 1:
        cut = (streams - 1) * heaviest / tokens
        stated.append(("streams cut by the window", cut, "all streams but the one whose arrivals bound the window"))
    return tuple(
        Component(name, "B", "1", source, half_width=size, relative=True, shared=_CLOCK if name == _TIME_BASE else None)
        for name, size, source in stated
    )
