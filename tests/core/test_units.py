"""The closed table of units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw import units
from aicalib_hw.errors import UnitError

SYMBOLS = sorted(units.UNITS)


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (1.0, "kWh", "J", 3.6e6),
        (1.0, "MiB", "B", 1048576.0),
        (1.0, "GiB", "GB", 1.073741824),
        (800.0, "Gbit/s", "bit/s", 8e11),
        (3.0, "GB/s", "Gbit/s", 24.0),
        (1.024, "EFLOP/s", "FLOP/s", 1.024e18),
        (2.0, "%", "1", 0.02),
    ],
)
def test_known_conversions(value: float, unit: str, to: str, expected: float) -> None:
    assert units.convert(value, unit, to) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("unit", "to"),
    [
        ("FLOP/s", "OP/s"),
        ("FLOP/s", "FLOP"),
        ("token/s", "Hz"),
        ("bit/s", "Hz"),
        ("W", "VA"),
        ("J", "W"),
        ("degC", "K"),
    ],
)
def test_rates_and_powers_of_different_kind_never_convert(unit: str, to: str) -> None:
    with pytest.raises(UnitError, match=r"cannot convert"):
        units.convert(1.0, unit, to)


def test_a_wrong_case_is_refused_and_the_right_one_suggested() -> None:
    with pytest.raises(UnitError) as caught:
        units.require("gbit/s")
    assert "Gbit/s" in caught.value.advice


@given(st.sampled_from(SYMBOLS), st.sampled_from(SYMBOLS), st.floats(-1e15, 1e15))
def test_a_conversion_and_back_returns_the_value(unit: str, to: str, value: float) -> None:
    if units.UNITS[unit].dimension != units.UNITS[to].dimension:
        with pytest.raises(UnitError):
            units.convert(value, unit, to)
    else:
        assert units.convert(units.convert(value, unit, to), to, unit) == pytest.approx(value, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (6100.0, "W", (6.1, "kW")),
        (0.0, "W", (0.0, "W")),
        (1.18e11, "FLOP/s", (118.0, "GFLOP/s")),
        (1.024e18, "FLOP/s", (1.024, "EFLOP/s")),
        (230.0, "V", (230.0, "V")),
        (-2500.0, "W", (-2.5, "kW")),
    ],
)
def test_people_see_decimal_prefixes(value: float, unit: str, shown: tuple[float, str]) -> None:
    number, symbol = units.display(value, unit)
    assert (pytest.approx(number), symbol) == shown


@given(st.sampled_from(SYMBOLS), st.floats(-1e20, 1e20))
def test_display_never_changes_the_quantity(unit: str, value: float) -> None:
    number, symbol = units.display(value, unit)
    assert units.convert(number, symbol, unit) == pytest.approx(value, rel=1e-12, abs=1e-300)
