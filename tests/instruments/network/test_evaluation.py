"""From counted frames to a rate: what holds for whatever a tester counts."""

from __future__ import annotations

from typing import Any

import pytest
from aicalib_hw.instruments.network import _evaluation as evaluation
from hypothesis import assume, given
from hypothesis import strategies as st

from aicalib_hw.errors import CountersWentBack
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import Counters, PortCounters, Stream
from aicalib_hw.readings import Instant, Measurement, Window

IDENTITY = Identity("maker", "tester", "1", "1", "address")
WINDOW = Window(Instant(0, 0), Instant(1, 1), "gate")
SIZES = st.integers(64, 9018)
GATE = evaluation.Gate(2.0, "instrument", 100e-6, "the bench", edges=2)


def rated(*counted: evaluation.Counted, gate: evaluation.Gate = GATE) -> Measurement:
    return evaluation.throughput(counted, gate, gap=20.0, identity=IDENTITY, window=WINDOW, settings={}, evidence={})


def stream(size: int, name: str = "there") -> Stream:
    return Stream(name, "a", "b", size, 1.0)


@given(SIZES, st.integers(1, 10**10), st.floats(0, 1))
def test_a_rate_is_bits_of_received_frames_over_the_gate_at_every_layer(size: int, sent: int, arrived: float) -> None:
    received = round(sent * arrived)
    assume(received > 0)
    result = rated(evaluation.Counted(stream(size), sent, received, octets=received * size, fcs_counted=True))
    assert result.validity
    frames = received / GATE.seconds
    assert result.value is not None
    assert abs(result.value - 8 * size * frames) <= 1e-9 * result.value
    assert abs(result.evidence["rate_L1"] - 8 * (size + 20) * frames) <= 1e-9 * result.evidence["rate_L1"]
    assert abs(result.evidence["rate_L2_nofcs"] - 8 * (size - 4) * frames) <= 1e-9 * result.value
    limit = sum(one.half_width or 0.0 for one in result.components)
    assert abs(limit - (100e-6 + 2 / received)) <= 1e-12


@given(SIZES, st.integers(10_000, 10**10), st.floats(-0.5, 0.5).filter(lambda off: abs(off) > 2e-3))
def test_a_generator_that_did_not_send_what_was_asked_for_gives_no_valid_rate(size: int, sent: int, off: float) -> None:
    intended = sent / GATE.seconds / (1 + off)
    assert not rated(evaluation.Counted(stream(size), sent, sent, intended=intended)).validity
    assert rated(evaluation.Counted(stream(size), sent, sent, intended=sent / GATE.seconds)).validity


@given(SIZES, st.integers(1, 10**10), st.integers(1, 10**6))
def test_more_received_than_sent_is_no_valid_rate(size: int, sent: int, more: int) -> None:
    assert not rated(evaluation.Counted(stream(size), sent, sent + more)).validity


@given(SIZES, SIZES, st.integers(10**4, 10**10), st.sampled_from([True, False, None]))
def test_frames_of_another_size_are_noticed_by_their_bytes(
    size: int, other: int, frames: int, counted: bool | None
) -> None:
    fcs = 0 if counted in (True, None) else 4
    assume(other != size and not (counted is None and other == size - 4))
    right = evaluation.Counted(stream(size), frames, frames, octets=frames * (size - fcs), fcs_counted=counted)
    wrong = evaluation.Counted(stream(size), frames, frames, octets=frames * (other - fcs), fcs_counted=counted)
    assert rated(right).validity
    assert not rated(wrong).validity


@given(SIZES, st.integers(1, 10**9), st.integers(1, 10**9))
def test_of_two_directions_the_slower_one_counts(size: int, one: int, two: int) -> None:
    streams: list[Any] = [evaluation.Counted(stream(size, str(n)), n, n) for n in (one, two)]
    result = rated(*streams)
    assert result.definition.endswith("/bidirectional")
    assert result.value == rated(min(streams, key=lambda each: each.received)).value


COUNTED = st.one_of(st.none(), st.integers(0, 2**64 - 1))


@given(st.lists(COUNTED, min_size=4, max_size=4), st.lists(COUNTED, min_size=4, max_size=4))
def test_only_a_counter_that_shows_less_than_before_has_gone_back(was: list[Any], now: list[Any]) -> None:
    def told(values: list[Any]) -> Counters:
        return Counters(Instant(0, 0), Instant(1, 1), {}, {"there": PortCounters(*values)})

    if any(one is not None and two is not None and two < one for one, two in zip(was, now, strict=True)):
        with pytest.raises(CountersWentBack):
            evaluation.require_forward(told(was), told(now), "address")
    else:
        evaluation.require_forward(told(was), told(now), "address")
    evaluation.require_forward(Counters(Instant(0, 0), Instant(1, 1), {}, {}), told(now), "address")


def test_a_stream_that_is_called_as_a_port_is_held_against_its_own_counters_alone() -> None:
    # The port receives nothing of what its stream sends, and what comes back to it is of another.
    port, of_stream = PortCounters(9, 9, 0, 0), PortCounters(5, 5, 5, 5)
    seen = Counters(Instant(0, 0), Instant(1, 1), {"p1": port}, {"p1": of_stream})
    evaluation.require_forward(seen, seen, "address")
    reset = Counters(Instant(0, 0), Instant(1, 1), {"p1": PortCounters(8, 9, 0, 0)}, {"p1": of_stream})
    with pytest.raises(CountersWentBack, match="tx_frames of p1 went back from 9 to 8"):
        evaluation.require_forward(seen, reset, "address")


@given(st.floats(1e-6, 10.0), st.floats(1e-6, 10.0))
def test_a_gate_whose_ends_are_hardly_known_gives_no_valid_rate(seconds: float, jitter: float) -> None:
    gate = evaluation.Gate(seconds, "host", 500e-6, "slew", jitter=jitter)
    valid = bool(rated(evaluation.Counted(stream(64), 1000, 1000), gate=gate).validity)
    assert valid == (jitter <= evaluation.MOST_JITTER * seconds)
