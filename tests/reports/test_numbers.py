"""Numbers in print: two digits of uncertainty, the value as far, a unit always."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw import units
from aicalib_hw.reports import numbers


def plain(text: object) -> str:
    return str(text).replace("\u00a0", " ").replace("\u2212", "-")


@pytest.mark.parametrize(
    ("value", "expanded", "unit", "expected"),
    [
        (10.05762, 0.027, "A", "10.058 ± 0.027 A"),  # GUM 7.2.6: 10,057 62 with 27 milli is 10,058
        (1.0, 0.0996, "W", "1.00 ± 0.10 W"),
        (2.44e12, 3.1e9, "FLOP/s", "2.4400 ± 0.0031 TFLOP/s"),
        (999.96, 0.12, "W", "999.96 ± 0.12 W"),
        (5.0, 1234.0, "W", "0.0 ± 1.2 kW"),
        (123456.0, 23456.0, "W", "123 ± 23 kW"),
        (-12.345, 0.01, "W", "-12.345 ± 0.010 W"),
        (-0.001, 0.5, "W", "0.00 ± 0.50 W"),
        (21.5, 0.25, "degC", "21.50 ± 0.25 °C"),
        (100.0, 0.125, "J", "100.00 ± 0.12 J"),  # ties to even
        (100.0, 0.135, "J", "100.00 ± 0.14 J"),
    ],
)
def test_a_value_ends_where_its_uncertainty_ends(value: float, expanded: float, unit: str, expected: str) -> None:
    assert plain(numbers.stated(value, expanded, unit)) == expected


sizes = st.floats(1e-9, 1e15)


@given(sizes, st.floats(1e-9, 1.0))
def test_rounding_loses_less_than_the_uncertainty_can_tell(value: float, relative: float) -> None:
    expanded = value * relative
    shown = numbers.stated(value, expanded, "W")
    scale = float(units.require(shown.unit).factor)
    place = Decimal(shown.uncertainty).as_tuple().exponent
    assert Decimal(shown.value).as_tuple().exponent == place
    assert len(Decimal(shown.uncertainty).normalize().as_tuple().digits) <= 2
    assert float(shown.uncertainty) * scale == pytest.approx(expanded, rel=0.051)
    assert float(shown.value) * scale == pytest.approx(value, abs=0.051 * expanded + 1e-9 * value)


@given(sizes, st.sampled_from(["W", "FLOP/s", "s", "bit/s", "V"]))
def test_a_value_without_uncertainty_keeps_five_digits_and_its_unit(value: float, unit: str) -> None:
    digits, shown = plain(numbers.significant(value, unit)).split(" ")
    assert units.convert(float(digits), shown.replace("µ", "u"), unit) == pytest.approx(value, rel=5.1e-5)


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, "0 %"), (0.25, "25 %"), (0.2541, "25.4 %"), (1.0, "100 %"), (0.004, "0.4 %")]
)
def test_a_load_is_shown_to_a_tenth_of_a_per_cent(fraction: float, expected: str) -> None:
    assert plain(numbers.load(fraction)) == expected


@pytest.mark.parametrize(
    ("duration", "expected"), [(0.0, "0 s"), (3.2e-4, "320.0 µs"), (2.0, "2.000 s"), (1.5e-8, "15.00 ns")]
)
def test_short_times_take_the_prefix_that_fits(duration: float, expected: str) -> None:
    assert plain(numbers.short_time(duration)) == expected


def test_long_durations_are_minutes() -> None:
    assert plain(numbers.seconds(725.4)) == "12 min 05 s"


def test_an_error_keeps_its_sign_and_ends_with_its_uncertainty() -> None:
    assert plain(numbers.aligned(-17.1344, 0.49, "W", "W", signed=True)) == "-17.13 W"
    assert plain(numbers.aligned(17.1344, 0.49, "W", "W", signed=True)) == "+17.13 W"
    assert plain(numbers.aligned_percent(0.057137, 0.0016)) == "+5.71 %"
