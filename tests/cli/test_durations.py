"""Durations on the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.cli._durations import parse_duration

UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("1s", 1), ("1.5s", 1.5), ("10min", 600), ("2h", 7200)])
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1 s", "1S", "1m", "1m30s", "-1s", "1e3s", "inf s", ".5s", "1.s", "0s", "１s "]
)
def test_anything_else_is_refused_rather_than_guessed(text: str) -> None:
    with pytest.raises(ValueError, match=r"10min|no time"):
        parse_duration(text)


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from(sorted(UNITS)))
def test_every_whole_number_of_every_unit_is_that_many_seconds(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * UNITS[unit])
