"""Decision rules at, below and beyond their limits: every row of the rules' own tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.coverage import coverage_factor
from aicalib_hw.metrology.decision import conformance_probability, decide
from aicalib_hw.metrology.result import Evaluation, Indication, PermissibleError, Rule, Verdict
from aicalib_hw.readings import Validity, ValidityStatus

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INDETERMINATE
ALMOST_PASS, ALMOST_FAIL = Verdict.CONDITIONAL_PASS, Verdict.CONDITIONAL_FAIL
REFERENCE_OF_ONE_PERCENT = 0.01 / 3**0.5
"""Standard uncertainty of a reference known to ±1 %, rectangular."""


def measured(value: float, expanded: float) -> Evaluation:
    return Evaluation(value, "W", expanded / 2, None, 2.0, 0.9545, expanded, (), "an example")


def verdict(rule: Rule, error: float, expanded: float, limit: float = 3.0) -> Verdict:
    """Verdict on an indication that is `error` W off at 1000 W."""
    indication = Indication(1000.0 + error, "W", "an example")
    permissible = PermissibleError(limit, "absolute", "an example", "W")
    return decide(measured(1000.0, expanded), indication, permissible, rule, quantity="power").verdict


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("rule", "expanded", "error", "wanted"),
    [
        ("jjf1094", 1.0, 3.0, PASS),
        ("jjf1094", 1.0, 3.25, FAIL),
        ("jjf1094", 2.0, 1.0, PASS),
        ("jjf1094", 2.0, 1.25, OPEN),
        ("jjf1094", 2.0, 4.75, OPEN),
        ("jjf1094", 2.0, 5.0, FAIL),
        ("jjf1094", 4.0, 0.0, OPEN),
        ("nonbinary_u", 2.0, 1.0, PASS),
        ("nonbinary_u", 2.0, 1.25, ALMOST_PASS),
        ("nonbinary_u", 2.0, 3.0, ALMOST_PASS),
        ("nonbinary_u", 2.0, 3.25, ALMOST_FAIL),
        ("nonbinary_u", 2.0, 5.0, ALMOST_FAIL),
        ("nonbinary_u", 2.0, 5.25, FAIL),
        ("nonbinary_u", 1.0, 3.0, ALMOST_PASS),
        ("simple", 2.0, 3.0, PASS),
        ("simple", 2.0, 3.25, FAIL),
        ("simple", 90.0, 3.0, PASS),
        ("none", 1.0, 0.0, Verdict.NOT_EVALUATED),
    ],
)
def test_each_rule_decides_as_its_standard_says(
    rule: Rule, expanded: float, error: float, wanted: Verdict, sign: int
) -> None:
    assert verdict(rule, sign * error, expanded) is wanted


def test_a_reference_as_coarse_as_the_limit_can_never_show_a_pass_with_a_guard_band() -> None:
    expanded = 2 * REFERENCE_OF_ONE_PERCENT * 1000
    assert (10 - expanded) / 10 == pytest.approx(-0.155, abs=5e-4)
    assert verdict("jjf1094", 0.0, expanded, limit=10.0) is OPEN
    assert verdict("nonbinary_u", 0.0, expanded, limit=10.0) is ALMOST_PASS


@pytest.mark.parametrize(("error", "probability"), [(0.0, 0.917), (0.005, 0.80), (0.01, 0.50)])
def test_the_probability_of_conformance_is_that_of_a_normal_distribution(error: float, probability: float) -> None:
    for sign in (1, -1):
        assert conformance_probability(sign * error, REFERENCE_OF_ONE_PERCENT, 0.01) == pytest.approx(
            probability, abs=0.006
        )


@pytest.mark.parametrize(
    ("dof", "inside", "outside"),
    [(1, 0.5, 0.5), (2, 0.57735, 0.42265), (4, 0.62610, 0.37390), (None, 0.68269, 0.31731)],
)
def test_with_few_runs_conformance_is_less_certain(dof: int | None, inside: float, outside: float) -> None:
    """At E = 0 and MPEV = u: the share of Student's t within ±1, from its closed forms."""
    found = conformance_probability(0.0, 1.0, 1.0, dof=dof)
    assert found == pytest.approx(inside, abs=1e-5)
    assert 1 - found == pytest.approx(outside, abs=1e-5)


def test_a_decision_takes_its_probability_from_the_degrees_of_freedom_of_its_budget() -> None:
    few = Evaluation(1000.0, "W", 10.0, 2.7, 4.53, 0.9545, 45.3, (), "an example")
    many = Evaluation(1000.0, "W", 10.0, 99.0, 2.0, 0.9545, 20.0, (), "an example")
    probabilities = [
        decide(one, Indication(1000.0, "W", "x"), LIMIT, "simple", quantity="power").conformance_probability
        for one in (few, many)
    ]
    assert probabilities == [pytest.approx(0.57735, abs=1e-5), pytest.approx(0.68269, abs=1e-5)]


def test_without_uncertainty_conformance_is_certain_or_impossible() -> None:
    assert conformance_probability(1.0, 0.0, 1.0) == 1.0
    assert conformance_probability(-1.1, 0.0, 1.0) == 0.0


def test_a_relative_limit_is_of_the_measured_value_and_units_are_converted() -> None:
    decision = decide(
        measured(6000.0, 20.0),
        Indication(6.1, "kW", "an example"),
        PermissibleError(0.02, "relative", "an example"),
        "jjf1094",
        quantity="power",
    )
    assert decision.error == pytest.approx(100.0)
    assert decision.relative_error == pytest.approx(100 / 6000)
    assert decision.maximum_permissible_error == pytest.approx(120.0)
    assert decision.verdict is PASS


def test_an_absolute_limit_is_converted_to_the_unit_of_the_result() -> None:
    limit = PermissibleError(0.05, "absolute", "an example", "kW")
    decision = decide(measured(1000.0, 1.0), Indication(1040.0, "W", "x"), limit, "simple", quantity="power")
    assert decision.maximum_permissible_error == pytest.approx(50.0)


def test_a_relative_limit_at_zero_has_no_meaning() -> None:
    limit = PermissibleError(0.05, "relative", "an example")
    with pytest.raises(UsageError):
        decide(measured(0.0, 1.0), Indication(1.0, "W", "x"), limit, "simple", quantity="power")


INDICATION = Indication(1000.0, "W", "an example")
LIMIT = PermissibleError(10.0, "absolute", "an example", "W")
SPOILED = Validity(ValidityStatus.INVALID, ("3 updates were missed",))


def test_what_cannot_be_judged_is_not_judged_and_says_why() -> None:
    result = measured(1000.0, 1.0)
    spoiled = decide(result, INDICATION, LIMIT, "simple", quantity="power", validity=SPOILED)
    silent = decide(result, None, LIMIT, "simple", quantity="power")
    unlimited = decide(result, INDICATION, None, "simple", quantity="power")
    valueless = decide(None, INDICATION, LIMIT, "simple", quantity="power")
    for decision in (spoiled, silent, unlimited, valueless):
        assert decision.verdict is Verdict.NOT_EVALUATED
        assert decision.conformance_probability is None
    assert "3 updates were missed" in spoiled.reason
    assert unlimited.error == 0.0
    assert silent.error is None


ERRORS = st.floats(min_value=0.0, max_value=10.0)
RULES = st.sampled_from(("jjf1094", "nonbinary_u", "simple"))


@given(RULES, ERRORS, ERRORS, st.floats(min_value=1e-3, max_value=6.0))
def test_a_larger_error_is_never_judged_more_kindly(rule: Rule, one: float, other: float, expanded: float) -> None:
    order = list(Verdict)
    small, large = sorted((one, other))
    assert order.index(verdict(rule, small, expanded)) <= order.index(verdict(rule, large, expanded))


@given(ERRORS, st.floats(min_value=1e-3, max_value=6.0), st.sampled_from([1, 2, 3, 7, 29, None]))
def test_a_pass_with_a_guard_band_is_at_least_95_percent_sure(error: float, expanded: float, dof: int | None) -> None:
    if verdict("nonbinary_u", error, expanded) is PASS:
        uncertainty = expanded / coverage_factor(dof)
        assert conformance_probability(error, uncertainty, 3.0, dof=dof) > 0.95
