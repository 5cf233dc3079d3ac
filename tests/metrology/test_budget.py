"""The uncertainty core against published and independently computed numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import UnitError, UsageError
from aicalib_hw.metrology.budget import evaluate, rounded, standard_uncertainty, type_a
from aicalib_hw.readings import Component

GAUGE = (
    ("standard", 25.0, 18.0),
    ("repeated observations", 5.8, 24.0),
    ("random effects of the comparator", 3.9, 5.0),
    ("systematic effects of the comparator", 6.7, 8.0),
    ("difference of expansion coefficients", 2.8867513459481287, 50.0),
    ("difference of temperatures", 16.598795136695323, 2.0),
)
"""GUM H.1, table H.1: contributions in nm (no unit of length is known here, so ms stand for them), and freedom."""


def part(size: float, *, name: str = "part", dof: float | None = None, shared: str | None = None) -> Component:
    return Component(name, "B", "W", "an example", standard_uncertainty=size, dof=dof, shared=shared)


SIZES = st.lists(st.floats(min_value=1e-3, max_value=1e3), min_size=1, max_size=8)


def test_the_end_gauge_of_the_guide_comes_out_as_published() -> None:
    parts = [Component(name, "B", "ms", "GUM H.1", standard_uncertainty=u, dof=dof) for name, u, dof in GAUGE]
    result = evaluate(50.000838e6, "ms", parts, probability=0.99)
    assert result.standard_uncertainty == pytest.approx(31.664, abs=0.01)
    assert result.dof == pytest.approx(16.752, abs=0.01)
    assert 92.4 <= result.expanded_uncertainty <= 93.0


def test_without_limit_of_freedom_k_is_two() -> None:
    result = evaluate(100.0, "W", [part(1.0), part(1.0)])
    assert result.coverage_factor == pytest.approx(2.0, abs=1e-3)
    assert result.dof is None


@pytest.mark.parametrize(
    ("distribution", "size"),
    [("rectangular", 1.0 / 3**0.5), ("triangular", 1.0 / 6**0.5), ("arcsine", 1.0 / 2**0.5), ("normal", 1.0)],
)
def test_a_half_width_becomes_the_standard_deviation_of_its_distribution(distribution: str, size: float) -> None:
    component = Component("limit", "B", "kW", "an example", half_width=1.0, distribution=distribution)  # type: ignore[arg-type]
    assert standard_uncertainty(component, 5.0, "kW") == pytest.approx(size)
    assert standard_uncertainty(component, 5.0, "W") == pytest.approx(1000 * size)
    with pytest.raises(UnitError):
        standard_uncertainty(component, 5.0, "s")


def test_one_percent_of_a_reference_leaves_more_than_one_percent() -> None:
    limit = Component("reference", "B", "1", "an example", half_width=0.01, relative=True)
    assert evaluate(200.0, "W", [limit]).expanded_uncertainty / 200 == pytest.approx(0.01155, abs=1e-5)


def test_type_a_is_the_standard_deviation_of_the_mean() -> None:
    component = type_a([1.0, 2.0, 3.0, 4.0, 5.0], "W")
    assert component.standard_uncertainty == pytest.approx(math.sqrt(2.5 / 5))
    assert component.dof == 4
    with pytest.raises(UsageError):
        type_a([1.0], "W")


@given(SIZES, st.floats(min_value=1e-2, max_value=1e2))
def test_what_is_scaled_has_its_uncertainty_scaled(sizes: list[float], factor: float) -> None:
    plain = evaluate(10.0, "W", map(part, sizes))
    scaled = evaluate(10.0 * factor, "W", [part(size * factor) for size in sizes])
    assert scaled.expanded_uncertainty == pytest.approx(factor * plain.expanded_uncertainty, rel=1e-9)


@given(SIZES)
def test_the_order_of_the_components_does_not_matter(sizes: list[float]) -> None:
    there, back = evaluate(1.0, "W", map(part, sizes)), evaluate(1.0, "W", map(part, reversed(sizes)))
    assert back.standard_uncertainty == pytest.approx(there.standard_uncertainty, rel=1e-9)


@given(st.permutations([(1.0, 2.0), (3.0, 50.0), (2.0, None)]))
def test_one_cause_is_known_as_badly_as_its_least_known_part(parts: list[tuple[float, float | None]]) -> None:
    result = evaluate(1.0, "W", [part(size, dof=dof, shared="one meter") for size, dof in parts])
    assert result.dof == pytest.approx(2.0)
    assert result.standard_uncertainty == pytest.approx(6.0)


def test_runs_given_to_the_evaluation_are_its_type_a_component() -> None:
    runs = [10.0, 10.2, 9.9, 10.1]
    given_runs = evaluate(10.05, "W", [part(0.01)], runs=runs)
    assert given_runs == evaluate(10.05, "W", [type_a(runs, "W"), part(0.01)])
    with pytest.raises(UsageError):
        evaluate(10.0, "W", [part(0.01)], runs=[10.0])


def test_the_factor_of_a_dominant_rectangle_is_taken_only_when_asked() -> None:
    parts = [Component("reference", "B", "1", "an example", half_width=0.01, relative=True), part(0.4)]
    plain, asked = evaluate(200.0, "W", parts), evaluate(200.0, "W", parts, rectangular=True)
    assert plain.coverage_factor == 2.0
    assert asked.coverage_factor == pytest.approx(1.77, abs=0.005)
    assert asked.standard_uncertainty == plain.standard_uncertainty
    assert "reference" in asked.method
    assert "rectangular" not in plain.method


@pytest.mark.parametrize(
    "parts",
    [
        [part(1.0)],
        [Component("limit", "B", "W", "x", half_width=1.0), part(1.0)],
        [Component("limit", "B", "W", "x", half_width=1.0), part(0.5, dof=2)],
        [Component("limit", "B", "W", "x", half_width=1.0, shared="k"), part(0.1, shared="k")],
    ],
    ids=["normal", "not dominant", "few degrees of freedom", "a normal part of the same cause"],
)
def test_the_factor_of_a_rectangle_is_refused_where_no_rectangle_dominates(parts: list[Component]) -> None:
    with pytest.raises(UsageError):
        evaluate(1.0, "W", parts, rectangular=True)


@given(SIZES)
def test_independent_components_add_in_squares_and_one_cause_adds_linearly(sizes: list[float]) -> None:
    independent = evaluate(1.0, "W", map(part, sizes))
    together = evaluate(1.0, "W", [part(size, shared="one meter") for size in sizes])
    assert independent.standard_uncertainty == pytest.approx(math.hypot(*sizes), rel=1e-9)
    assert together.standard_uncertainty == pytest.approx(sum(sizes), rel=1e-9)
    assert together.standard_uncertainty >= independent.standard_uncertainty * (1 - 1e-12)


@given(SIZES, SIZES)
def test_the_shares_of_a_budget_add_to_the_whole(own: list[float], common: list[float]) -> None:
    parts = [*map(part, own), *(part(size, shared="one meter") for size in common)]
    assert sum(line.share for line in evaluate(1.0, "W", parts).budget) == pytest.approx(1.0, abs=1e-9)


@given(SIZES, st.floats(min_value=1e-3, max_value=1e3))
def test_another_component_never_makes_a_result_more_certain(sizes: list[float], more: float) -> None:
    before = evaluate(1.0, "W", map(part, sizes)).standard_uncertainty
    assert evaluate(1.0, "W", map(part, [*sizes, more])).standard_uncertainty >= before * (1 - 1e-12)


@pytest.mark.parametrize("parts", [[], [part(0.0)], [part(0.0), part(0.0, shared="x")]])
def test_a_budget_without_uncertainty_is_refused(parts: list[Component]) -> None:
    with pytest.raises(UsageError):
        evaluate(1.0, "W", parts)


def test_scatter_that_resolution_already_explains_is_not_counted_twice() -> None:
    fine, coarse = part(0.1, name="resolution"), part(5.0, name="resolution")
    scatter = part(1.0, name="repeatability")
    assert evaluate(1.0, "W", [scatter, fine]).standard_uncertainty == pytest.approx(1.0)
    assert evaluate(1.0, "W", [scatter, coarse]).standard_uncertainty == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("value", "expanded", "shown"),
    [
        (1.23456, 0.0996, ("1.23", "0.10")),
        (1.23456, 0.0994, ("1.235", "0.099")),
        (1234.5, 12.3, ("1234", "12")),
        (1234.5, 123.0, ("1230", "120")),
        (0.5, 9.96, ("0", "10")),
        (2.0, 0.0125, ("2.000", "0.012")),
        (2.0, 0.0135, ("2.000", "0.014")),
    ],
)
def test_a_result_is_shown_to_two_digits_of_its_uncertainty(
    value: float, expanded: float, shown: tuple[str, str]
) -> None:
    assert rounded(value, expanded) == shown


@given(st.floats(min_value=1e-9, max_value=1e9), st.floats(min_value=-1e9, max_value=1e9))
def test_rounding_keeps_value_and_uncertainty_to_half_a_last_digit(expanded: float, value: float) -> None:
    shown, limit = rounded(value, expanded)
    step = 10.0 ** (math.floor(math.log10(expanded)) - 1)
    assert abs(float(limit) - expanded) <= 0.501 * step
    assert abs(float(shown) - value) <= 5.01 * step
    assert len(shown.partition(".")[2]) == len(limit.partition(".")[2])


@pytest.mark.parametrize("expanded", [0.0, -1.0, math.inf, math.nan])
def test_an_uncertainty_that_is_none_is_not_reported(expanded: float) -> None:
    with pytest.raises(UsageError):
        rounded(1.0, expanded)
