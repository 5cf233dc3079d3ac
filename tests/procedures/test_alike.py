"""Sentences that differ in their numbers alone are told once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.procedures._alike import alike


def test_numbers_become_ranges_and_words_stay_as_they_are() -> None:
    assert alike(
        [
            "24 of 60 parts at fp32 were disturbed",
            "busy host: ours for 31.0% of the time",
            "7 of 60 parts at fp32 were disturbed",
            "busy host: ours for 22.5% of the time",
            "the matrix product is wrong",
        ]
    ) == [
        "7 to 24 of 60 parts at fp32 were disturbed",
        "busy host: ours for 22.5 to 31.0% of the time",
        "the matrix product is wrong",
    ]


def test_other_words_are_never_taken_together() -> None:
    sentences = ["fp32: 3 runs", "fp64: 3 runs", "0/0 to 0/1: 3 runs of port-1", "0/0 to 0/1: 3 runs of port-2"]
    assert len(alike(sentences)) >= 3
    assert alike(["fp32: 3 runs", "fp64: 4 runs"]) == ["fp32: 3 runs", "fp64: 4 runs"]


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_the_range_holds_every_number(numbers: list[int]) -> None:
    (told,) = alike(f"{number} of 9 were lost" for number in numbers)
    least, most = min(numbers), max(numbers)
    assert told == (f"{least} of 9 were lost" if least == most else f"{least} to {most} of 9 were lost")


@given(st.lists(st.text()))
def test_nothing_is_lost_where_there_are_no_numbers(sentences: list[str]) -> None:
    plain = [sentence for sentence in sentences if not any(c.isdigit() for c in sentence)]
    assert alike(plain) == list(dict.fromkeys(plain))
