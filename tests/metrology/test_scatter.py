"""What runs betray: against published critical values, and by how often sound runs are flagged."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

import pytest

from aicalib_hw.metrology.scatter import drift, remarks, stray


def extreme(count: int, distance: float) -> list[float]:
    """`count` values of which the last lies exactly `distance` standard deviations from the mean."""
    rest = [(-1.0) ** number for number in range(count - 1)]
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        values = [*rest, middle]
        reached = (middle - statistics.fmean(values)) / statistics.stdev(values)
        low, high = (middle, high) if reached < distance else (low, middle)
    return [*rest, low]


@pytest.mark.parametrize(
    ("count", "critical"), [(4, 1.4962), (5, 1.7637), (6, 1.9728), (8, 2.2744), (10, 2.4821), (20, 3.0008)]
)
def test_a_value_is_stray_beyond_the_published_critical_value_of_grubbs(count: int, critical: float) -> None:
    """Two-sided, 1 %: the tables of 0.5 % one-sided."""
    assert stray(extreme(count, critical - 0.001)) is None
    assert stray(extreme(count, critical + 0.001)) == count - 1


def test_a_slope_is_told_from_scatter_as_the_t_distribution_tells_it() -> None:
    steady, rising = [0.0, 1.0, -1.0, 1.0, -1.0, 0.0], [0.0, 1.1, 1.9, 3.1, 3.9, 5.0]
    assert drift(steady) is None
    assert drift(rising) == pytest.approx(1.0, abs=0.03)
    assert drift(rising[::-1]) == pytest.approx(-1.0, abs=0.03)
    assert drift([1.0, 2.0, 3.0, 4.0]) == pytest.approx(1.0)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [3.0, 3.0, 3.0, 3.0]])
def test_too_few_or_equal_values_betray_nothing(values: list[float]) -> None:
    assert stray(values) is None
    assert drift(values) is None
    assert remarks(values, "W", limit=1e-9 if len(values) > 3 else None) == ()


@pytest.mark.parametrize("count", [3, 6, 10])
@pytest.mark.parametrize("test", [stray, drift])
def test_sound_runs_are_flagged_once_in_a_hundred(test: Callable[[Sequence[float]], object], count: int) -> None:
    draw = random.Random(11)
    flagged = sum(test([draw.gauss(500, 2) for _ in range(count)]) is not None for _ in range(2000))
    assert 5 <= flagged <= 36


def test_the_remark_names_the_run_that_lies_apart_and_says_that_it_was_kept() -> None:
    (remark,) = remarks([100.0, 100.1, 99.9, 130.0, 100.05, 99.95], "W")
    assert "run 4" in remark
    assert "kept" in remark


def test_scatter_is_remarked_from_a_fifth_of_the_permissible_error_on() -> None:
    values = [99.0, 101.0, 99.0, 101.0, 100.0]
    spread = statistics.stdev(values)
    assert remarks(values, "W", limit=5.01 * spread) == ()
    assert len(remarks(values, "W", limit=4.99 * spread)) == 1


def test_rounding_is_not_taken_for_scatter() -> None:
    """Two of three equal readings make the third an outlier by any test; within the last digit it is none."""
    values = [331.7575, 331.755, 331.7575]
    assert len(remarks(values, "W")) == 1
    assert remarks(values, "W", resolution=0.01) == ()
    assert len(remarks([331.75, 331.70, 331.75], "W", resolution=0.01)) == 1
