"""Whether a rate was steady: five rounds of the window, what makes them invalid, and what of them is uncertainty."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from aicalib_hw.instruments.storage import _fio_output, _fio_trust, _steadiness
from hypothesis import assume, given
from hypothesis import strategies as st

from .real_fio import READ, account, job


def run_of(rates: Sequence[float], each: int = 1000, ways: tuple[str, str] = ("read", "write")) -> _fio_output.Said:
    """A run that tells of itself every `each` ms, between which it had these rates, byte/s."""
    moved = itertools.accumulate(round(rate * each / 1000) for rate in rates)
    return _fio_output.parse(0, "".join(account(one, each * (n + 1), *ways) for n, one in enumerate(moved)), "")


def whole(said: _fio_output.Said, way: str) -> _fio_output.Said:
    """The same run, with all that fio tells of it."""
    for one in said.jobs:
        one[way]["bw_bytes"] = round(said.moved / said.seconds)
    depth = {"iodepth_level": {"1": 0.0, "4": 100.0}}
    return _fio_output.Said(0, tuple({**one, **depth} for one in said.jobs), "", said.earlier)


def stated(said: _fio_output.Said, **more: Any) -> dict[str, float | None]:
    found = _fio_trust.components(said, job(**more), _fio_trust.Shares())
    return {one.name: one.half_width for one in found}


@given(st.lists(st.floats(0.95, 1.05), min_size=10, max_size=60), st.floats(1e6, 1e11))
def test_rates_within_a_tenth_of_each_other_do_not_range_too_far(rates: list[float], scale: float) -> None:
    assert not any("ranged" in one for one in _steadiness.unsteady(run_of([scale * rate for rate in rates]), READ))


@pytest.mark.parametrize(("slope", "word"), [(-0.016, "fell"), (0.016, "rose")])
def test_a_rate_with_a_trend_is_not_steady_and_how_much_of_one_is_allowed_is_the_jobs(slope: float, word: str) -> None:
    said = run_of([1e9 * (1 + slope * (second - 4.5)) for second in range(10)])
    (reason,) = _steadiness.unsteady(said, READ)
    assert f"{word} by 12.8% of its mean, 10.0% is allowed" in reason
    assert _steadiness.unsteady(said, job(steady_trend=0.13)) == []


def test_one_slow_second_of_ten_is_not_steady_and_how_far_rates_may_range_is_the_jobs() -> None:
    said = run_of([1e9] * 4 + [0.5e9] + [1e9] * 5)
    (reason,) = _steadiness.unsteady(said, READ)
    assert "ranged over 26.3% of its mean, 20.0% is allowed" in reason
    assert _steadiness.unsteady(said, job(steady_range=0.3)) == []


def test_a_rate_that_was_not_steady_is_no_valid_one_of_a_window_and_is_of_a_checkpoint() -> None:
    falling = [1e9 - 1.6e7 * second for second in range(10)]
    (reason,) = _fio_trust.objections(whole(run_of(falling), "read"), job(duration=10.0))
    assert "fell" in reason
    checkpoint = whole(run_of(falling, ways=("write", "read")), "write")
    assert _fio_trust.objections(checkpoint, job("checkpoint-write", size=checkpoint.moved)) == ()
    assert "trend over the window" not in stated(checkpoint, pattern="checkpoint-write")


@given(st.floats(-0.09, 0.09), st.sampled_from([500, 1000, 3000]))
def test_half_of_what_a_steady_rate_rises_over_its_window_stands_in_the_budget(rise: float, each: int) -> None:
    said = run_of([1e9 * (1 + rise * ((n + 0.5) / 20 - 0.5)) for n in range(20)], each)
    assert _steadiness.unsteady(said, READ) == []
    assert stated(said)["trend over the window"] == pytest.approx(abs(rise) / 2, abs=1e-6)


def test_a_window_that_is_too_short_or_was_not_followed_shows_no_steady_state_and_says_so() -> None:
    (short,) = _steadiness.unproven(run_of([1e9] * 4))
    assert "a window of 4 s shows no steady state" in short
    (few,) = _steadiness.unproven(run_of([1e9] * 3, 10_000))
    assert "told of 3 intervals only" in few
    assert "trend over the window" not in stated(run_of([1e9] * 3, 10_000))
    assert _steadiness.unproven(run_of([1e9] * 10)) == []


@given(st.lists(st.integers(700, 1300), min_size=6, max_size=80), st.integers(1, 10**9))
def test_rounds_share_out_all_that_was_moved_whatever_their_lengths(lengths: list[int], a_millisecond: int) -> None:
    times = list(itertools.accumulate(lengths))
    said = _fio_output.parse(0, "".join(account(a_millisecond * time, time) for time in times), "")
    rates = said.round_rates(5)
    assert 1 <= len(rates) <= 5
    assert rates == [pytest.approx(8000 * a_millisecond)] * len(rates)
    assert said.interval_rates == [pytest.approx(8000 * a_millisecond)] * len(lengths)
    assert _steadiness.unsteady(said, READ) == []
    assume(len(rates) == 5)
    assert _steadiness.trend_of(said) == pytest.approx(0, abs=1e-9)
