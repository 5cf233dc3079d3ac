"""A matrix product is judged by what other programs took from it, as the kernel's rate is."""

from __future__ import annotations

import pytest
from aicalib_hw.instruments.accelerators.cpu.gemm import judged, share_obtained, slow_calls

STEADY = [100_000_000] * 20


def test_a_quiet_host_leaves_nothing_to_say() -> None:
    validity = judged(0.999, 0.004, STEADY)
    assert validity
    assert validity.reasons == ()


@pytest.mark.parametrize(("share", "others"), [(0.9, 0.0), (1.0, 0.05), (0.9, None)])
def test_a_little_is_told_and_does_not_invalidate(share: float, others: float | None) -> None:
    validity = judged(share, others, STEADY)
    assert validity
    assert len(validity.reasons) == 1
    assert "busy host" in validity.reasons[0]


@pytest.mark.parametrize(
    ("share", "others", "durations", "reason"),
    [
        (0.25, 0.1, STEADY, "had its processors for 25.0% of the time"),
        (0.99, 0.5, STEADY, "other programs held 50.0% of the processors"),
        (0.99, None, [100] * 15 + [130] * 5, "5 of 20 calls took more than 10% longer"),
    ],
)
def test_more_than_a_fifth_makes_it_invalid(
    share: float, others: float | None, durations: list[int], reason: str
) -> None:
    validity = judged(share, others, durations)
    assert not validity
    assert any(reason in one for one in validity.reasons)


def test_the_share_is_of_as_many_threads_as_were_at_work() -> None:
    assert share_obtained([400, 400, 400], [100, 100, 100], 4) == 1.0
    assert share_obtained([400, 200, 200], [100, 100, 200], 4) == pytest.approx(0.5)
    # One thread by the user's choice, and all of its time: nobody took anything.
    assert share_obtained([100, 100], [100, 100], 4) == 1.0


def test_calls_as_fast_as_the_fastest_are_not_slow() -> None:
    assert slow_calls([100, 105, 110, 111, 200]) == 2
