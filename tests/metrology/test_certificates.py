"""A certificate's corrections: applied where it reaches, refused where it does not."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import UsageError
from aicalib_hw.identity import Certificate, CertificatePoint
from aicalib_hw.metrology.certificates import corrected, validity_on


def certificate(*points: tuple[float, float, float, float], unit: str = "W") -> Certificate:
    """Points as (at, correction, U, k)."""
    made = tuple(CertificatePoint("power", None, at, add, expanded, k, unit) for at, add, expanded, k in points)
    return Certificate("C-1", "a laboratory", "2024-03-01", "2025-02-28", "national standards", made)


THREE = certificate((6000.0, 3.0, 6.0, 2.0), (1000.0, -1.0, 2.0, 2.0), (3000.0, 1.0, 3.3, 1.65))


@pytest.mark.parametrize(
    ("value", "wanted", "uncertainty"),
    [
        (1000.0, 999.0, 1.0),
        (3000.0, 3001.0, 2.0),
        (6000.0, 6003.0, 3.0),
        (2000.0, 2000.0, 1.5),
        (1500.0, 1499.5, 1.25),
        (4500.0, 4502.0, 2.5),
    ],
)
def test_a_correction_is_added_and_interpolated_between_points(value: float, wanted: float, uncertainty: float) -> None:
    result, component = corrected(value, "W", "power", THREE)
    assert result == pytest.approx(wanted)
    assert component.standard_uncertainty == pytest.approx(uncertainty)


def test_points_in_another_unit_mean_the_same() -> None:
    result, component = corrected(1000.0, "W", "power", certificate((1.0, -0.001, 0.002, 2.0), unit="kW"))
    assert result == pytest.approx(999.0)
    assert component.standard_uncertainty == pytest.approx(1.0)


@pytest.mark.parametrize("value", [999.9, 6000.1, 0.0, -1000.0])
def test_outside_its_points_a_certificate_says_nothing(value: float) -> None:
    with pytest.raises(UsageError):
        corrected(value, "W", "power", THREE)


def test_a_certificate_of_another_quantity_is_refused() -> None:
    with pytest.raises(UsageError):
        corrected(1000.0, "J", "energy", THREE)
    with pytest.raises(UsageError):
        corrected(1000.0, "W", "power", certificate())


@given(st.floats(min_value=1000.0, max_value=6000.0))
def test_between_its_points_a_correction_stays_between_theirs(value: float) -> None:
    result, component = corrected(value, "W", "power", THREE)
    assert -1.0 - 1e-9 <= result - value <= 3.0 + 1e-9
    assert component.standard_uncertainty is not None
    assert 1.0 <= component.standard_uncertainty <= 3.0


def test_two_values_of_one_certificate_share_its_error() -> None:
    (_, low), (_, high) = corrected(1200.0, "W", "power", THREE), corrected(5000.0, "W", "power", THREE)
    assert low.shared == high.shared
    assert low.shared is not None


@pytest.mark.parametrize(
    ("day", "holds"),
    [
        ((2024, 2, 29), False),
        ((2024, 3, 1), True),
        ((2024, 9, 15), True),
        ((2025, 2, 28), True),
        ((2025, 3, 1), False),
    ],
)
def test_a_certificate_holds_from_its_first_to_its_last_day(day: tuple[int, int, int], holds: bool) -> None:
    assert (validity_on(THREE, datetime.date(*day)) is None) is holds


def two_ranges() -> Certificate:
    """The meter errs by +1 W in its range of 6 kW and by −5 W in that of 1.2 kW; both were found at 1 kW."""
    lines = ((6000.0, 500.0, -1.0), (6000.0, 1000.0, -1.0), (1200.0, 900.0, 5.0), (1200.0, 1000.0, 5.0))
    points = tuple(CertificatePoint("power", full, at, add, 2.0, 2.0, "W") for full, at, add in lines)
    return Certificate("C-2", "a laboratory", "2024-03-01", "2025-02-28", "national standards", points)


@pytest.mark.parametrize(("full_scale", "wanted"), [(6000.0, 949.0), (1200.0, 955.0), (1200.4, 955.0)])
def test_points_of_the_range_in_force_count_and_no_others(full_scale: float, wanted: float) -> None:
    assert corrected(950.0, "W", "power", two_ranges(), full_scale=full_scale)[0] == pytest.approx(wanted)


@pytest.mark.parametrize("full_scale", [None, 3000.0])
def test_a_range_that_was_not_calibrated_is_refused_and_those_that_were_are_named(full_scale: float | None) -> None:
    with pytest.raises(UsageError, match="range in force") as refused:
        corrected(950.0, "W", "power", two_ranges(), full_scale=full_scale)
    assert "1200, 6000 W" in refused.value.why


def test_a_value_between_two_ranges_own_points_is_not_bridged() -> None:
    """700 W lies between points of both ranges together, but below those of its own."""
    with pytest.raises(UsageError, match="does not reach"):
        corrected(700.0, "W", "power", two_ranges(), full_scale=1200.0)


def test_points_without_range_hold_in_any_and_give_way_to_those_of_the_range() -> None:
    general = CertificatePoint("power", None, 1000.0, 9.0, 2.0, 2.0, "W")
    both = dataclasses.replace(two_ranges(), points=(*two_ranges().points, general))
    assert corrected(1000.0, "W", "power", both, full_scale=3000.0)[0] == pytest.approx(1009.0)
    assert corrected(1000.0, "W", "power", both, full_scale=1200.0)[0] == pytest.approx(1005.0)
    assert corrected(1000.0, "W", "power", both)[0] == pytest.approx(1009.0)


def test_a_meter_behind_transducers_is_corrected_at_its_own_input() -> None:
    """95 kW through 100 : 1 are 950 W at the meter."""
    value, component = corrected(95_000.0, "W", "power", two_ranges(), full_scale=1200.0, scale=100.0)
    assert value == pytest.approx(95_500.0)
    assert component.standard_uncertainty == pytest.approx(100.0)


def test_two_corrections_for_one_point_are_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        corrected(1000.0, "W", "power", certificate((1000.0, 1.0, 2.0, 2.0), (1000.0, 2.0, 2.0, 2.0)))
