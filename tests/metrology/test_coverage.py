"""Coverage factors and probabilities against tables, closed forms and sampled sums."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.coverage import coverage_factor, rectangular_factor, student_cdf, usable_degrees

DEGREES = st.integers(min_value=1, max_value=60)


@pytest.mark.parametrize(
    ("dof", "probability", "factor"),
    [(1, 0.95, 12.706), (4, 0.95, 2.776), (10, 0.95, 2.228), (16, 0.99, 2.921), (8, 0.9545, 2.37), (5, 0.9545, 2.65)],
)
def test_coverage_factors_are_those_of_the_t_distribution(dof: int, probability: float, factor: float) -> None:
    assert coverage_factor(dof, probability) == pytest.approx(factor, abs=0.005)


@given(DEGREES, st.sampled_from([0.68, 0.9, 0.95, 0.9545, 0.99]))
def test_the_factor_of_a_probability_covers_just_that_probability(dof: int, probability: float) -> None:
    factor = coverage_factor(dof, probability)
    assert student_cdf(factor, dof) - student_cdf(-factor, dof) == pytest.approx(probability, abs=1e-6)


@given(DEGREES, st.floats(min_value=-50, max_value=50))
def test_students_distribution_is_symmetric_and_rises(dof: int, t: float) -> None:
    assert student_cdf(t, dof) + student_cdf(-t, dof) == pytest.approx(1.0, abs=1e-12)
    assert 0 <= student_cdf(t, dof) <= 1
    assert student_cdf(t + 0.1, dof) >= student_cdf(t, dof) - 1e-12


@pytest.mark.parametrize(
    ("effective", "used"), [(None, None), (math.inf, None), (30.0, None), (29.99, 29), (16.75, 16)]
)
def test_degrees_of_freedom_are_cut_and_many_count_as_all(effective: float | None, used: int | None) -> None:
    assert usable_degrees(effective) == used


def test_fewer_than_one_degree_of_freedom_counts_as_one() -> None:
    assert usable_degrees(0.4) == 1
    with pytest.raises(UsageError):
        student_cdf(1.0, 0)


@pytest.mark.parametrize(("rest", "factor"), [(0.0, 1.65), (0.002, 1.77), (0.004, 1.90), (1.0, 2.00)])
def test_a_rectangle_needs_a_smaller_factor_the_more_it_dominates(rest: float, factor: float) -> None:
    assert rectangular_factor(0.01, rest) == pytest.approx(factor, abs=0.005)


@pytest.mark.parametrize("rest", [0.05, 0.3, 1.0])
def test_the_factor_of_a_rectangle_covers_what_a_sampled_sum_shows(rest: float) -> None:
    draw = random.Random(7)
    limit = rectangular_factor(1.0, rest) * math.hypot(1 / 3**0.5, rest)
    inside = sum(abs(draw.uniform(-1, 1) + draw.gauss(0, rest)) <= limit for _ in range(40_000))
    assert inside / 40_000 == pytest.approx(0.9545, abs=0.004)


@pytest.mark.parametrize(
    ("half_width", "rest"), [(0.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (math.inf, 1.0), (math.nan, 1.0)]
)
def test_what_is_no_rectangle_has_no_factor(half_width: float, rest: float) -> None:
    with pytest.raises(UsageError):
        rectangular_factor(half_width, rest)
