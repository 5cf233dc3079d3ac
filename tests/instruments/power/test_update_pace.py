"""Telling a missed update from a late reading."""

from __future__ import annotations

from aicalib_hw.instruments.power._update_pace import UpdatePace
from hypothesis import given
from hypothesis import strategies as st


@given(
    interval=st.sampled_from([0.1, 0.25, 1.0]),
    late=st.lists(st.floats(0.0, 0.85), min_size=2, max_size=200),
    drift=st.floats(-200e-6, 200e-6),
)
def test_readings_late_by_less_than_an_interval_miss_nothing(interval: float, late: list[float], drift: float) -> None:
    pace = UpdatePace(interval)
    stamps = [(number + fraction) * interval * (1 + drift) for number, fraction in enumerate([0.0, *late])]
    assert [pace.missed_before(stamp) for stamp in stamps] == [0] * len(stamps)


@given(
    interval=st.sampled_from([0.1, 0.25, 1.0]),
    gaps=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    jitter=st.lists(st.floats(0.0, 0.09), min_size=60, max_size=60),
)
def test_every_lost_update_is_counted_once(interval: float, gaps: list[int], jitter: list[float]) -> None:
    pace = UpdatePace(interval)
    pace.missed_before(0.0)
    number, found = 0, []
    for gap, fraction in zip(gaps, jitter, strict=False):
        number += 1 + gap
        found.append(pace.missed_before((number + fraction) * interval))
    assert found == gaps


@given(rate=st.floats(1.5, 200.0))
def test_of_updates_that_come_faster_than_the_meter_says_nothing_is_claimed(rate: float) -> None:
    """As in a simulated world that runs faster than the host's clock, where a lost update would look like none."""
    pace = UpdatePace(0.5)
    found = [pace.missed_before(number * 0.5 / rate) for number in range(100)]
    assert found[0] == 0
    assert found[4:] == [None] * 96
