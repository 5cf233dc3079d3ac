"""Telling a missed update from a late reading, of a meter and a reader whose every moment is known."""

from __future__ import annotations

import math
from collections.abc import Iterable

from aicalib_hw.instruments.power._update_pace import UpdatePace
from hypothesis import given
from hypothesis import strategies as st

INTERVALS = st.sampled_from([0.1, 0.25, 1.0])
PHASES = st.floats(0.0, 0.99)
DELAYS = st.floats(0.0, 0.09)
AT_ONCE = (0.001, 0.001, 0.001)
"""Busy before it asks, and on their way the question and the reply."""


def followed(
    interval: float, phase: float, drift: float, readings: Iterable[tuple[float, float, float]]
) -> tuple[list[int], list[int]]:
    """What the pace says before each reading, and what the meter lost; all times of `readings` in intervals.

    Update n falls at n + phase. Of all that fell since the reading before, the meter gives the last.
    """
    pace = UpdatePace(interval)
    said: list[int] = []
    lost: list[int] = []
    now, read = phase, math.floor(phase)
    for busy, there, back in readings:
        asked = now + busy
        fallen = math.floor(asked + there - phase)
        given_at = max(asked + there, read + 1 + phase)
        lost.append(max(0, fallen - read - 1))
        read = max(fallen, read + 1)
        now = given_at + back
        missed = pace.missed_before(asked * interval * (1 + drift), now * interval * (1 + drift))
        assert missed is not None
        said.append(missed)
    return said, lost


@given(
    interval=INTERVALS,
    phase=PHASES,
    drift=st.floats(-200e-6, 200e-6),
    readings=st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 0.2), st.floats(0.0, 0.2)), min_size=2),
)
def test_never_more_is_said_to_be_missed_than_was(
    interval: float, phase: float, drift: float, readings: list[tuple[float, float, float]]
) -> None:
    said, lost = followed(interval, phase, drift, readings)
    for number in range(len(said)):
        assert sum(said[: number + 1]) <= sum(lost[1 : number + 1])


@given(
    interval=INTERVALS,
    phase=PHASES,
    drift=st.floats(-200e-6, 200e-6),
    readings=st.lists(st.tuples(st.floats(0.0, 0.7), DELAYS, DELAYS), min_size=2, max_size=200),
)
def test_readings_late_by_less_than_an_interval_miss_nothing(
    interval: float, phase: float, drift: float, readings: list[tuple[float, float, float]]
) -> None:
    said, lost = followed(interval, phase, drift, readings)
    assert said == lost == [0] * len(readings)


@given(
    interval=INTERVALS,
    phase=PHASES,
    stalls=st.lists(st.tuples(st.floats(0.0, 5.0), DELAYS, DELAYS), min_size=1, max_size=60),
)
def test_every_lost_update_is_told_of_by_the_second_punctual_reading_after_it(
    interval: float, phase: float, stalls: list[tuple[float, float, float]]
) -> None:
    """Also one that fell while the question was on its way, which the moment of the question does not show."""
    punctual = [AT_ONCE] * 3
    said, lost = followed(interval, phase, 0.0, punctual + [one for stall in stalls for one in (stall, *punctual)])
    assert lost[:3] == [0, 0, 0]
    for end in range(3, len(said) + 1, 4):
        assert sum(said[:end]) == sum(lost[:end])


def test_a_reply_that_comes_two_intervals_late_is_no_missed_update() -> None:
    said, lost = followed(0.1, 0.5, 0.0, [AT_ONCE, AT_ONCE, (0.001, 0.001, 1.9), *[AT_ONCE] * 5])
    assert said == lost == [0] * 8


@given(rate=st.floats(1.5, 200.0))
def test_of_updates_that_come_faster_than_the_meter_says_nothing_is_claimed(rate: float) -> None:
    """As in a simulated world that runs faster than the host's clock, where a lost update would look like none."""
    pace = UpdatePace(0.5)
    found = [pace.missed_before((number - 1) * 0.5 / rate, number * 0.5 / rate) for number in range(100)]
    assert found[0] == 0
    assert found[7:] == [None] * 93
