"""Numbers as a report shows them: never without a unit, never with digits that mean nothing.

An expanded uncertainty has two significant digits, and the value ends at the same decimal place (GUM 7.2.6). Rounding
is to the nearest, ties to even (GB/T 8170). Decimal prefixes only.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from aicalib_hw import units

NONE = "—"
MINUS = "\u2212"
_SPACE = "\u00a0"
_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
_SYMBOLS = {"degC": "°C", "deg": "°", "us": "µs", "1": ""}
_UNCERTAIN_DIGITS = 2
_WITHOUT_UNCERTAINTY = -6


@dataclass(frozen=True, slots=True)
class Stated:
    """A value with its expanded uncertainty, as text in `unit`."""

    value: str
    uncertainty: str
    unit: str

    def __str__(self) -> str:
        return f"{self.value} ± {self.uncertainty}{_SPACE}{symbol(self.unit)}"


def stated(value: float, expanded: float, unit: str) -> Stated:
    """Round a value by its expanded uncertainty (both in `unit`), scaled by a decimal prefix."""
    _, shown = units.display(max(abs(value), expanded), unit)
    half_width, exponent = rounded(units.convert(expanded, unit, shown))
    return Stated(at_place(units.convert(value, unit, shown), exponent), half_width, shown)


def rounded(expanded: float, digits: int = _UNCERTAIN_DIGITS) -> tuple[str, int]:
    """Return an uncertainty with `digits` significant digits, and the power of ten of the last of them."""
    if expanded == 0:
        return "0", _WITHOUT_UNCERTAINTY
    exact = Decimal(repr(float(abs(expanded))))
    exponent = exact.adjusted() - digits + 1
    result = _at(exact, exponent)
    if result.adjusted() > exact.adjusted():
        # 0.0996 becomes 0.10, not 0.100: rounding carried into the next decade.
        exponent += 1
        result = _at(exact, exponent)
    return f"{result:f}", exponent


def at_place(value: float, exponent: int, *, signed: bool = False) -> str:
    """Return `value` rounded at the given power of ten, with a true minus sign."""
    result = _at(Decimal(repr(float(value))), exponent)
    text = f"{abs(result):f}"
    if result == 0:
        return text
    return (MINUS if result < 0 else "+" if signed else "") + text


def significant(value: float, unit: str, digits: int = 5) -> str:
    """Return a value without stated uncertainty, scaled by a decimal prefix, with its unit: 171.90 GFLOP/s."""
    number, shown = units.display(value, unit)
    return f"{_digits(number, digits)}{_spaced(shown)}"


def in_unit(value: float, unit: str, shown: str, exponent: int, *, signed: bool = False) -> str:
    """Return a value in a chosen unit at a chosen decimal place."""
    return f"{at_place(units.convert(value, unit, shown), exponent, signed=signed)}{_spaced(shown)}"


def percent(ratio: float, digits: int = 2, *, signed: bool = False) -> str:
    """Return a ratio in per cent with so many significant digits: 0.0231 → 2.3 %."""
    text = _digits(abs(ratio) * 100, digits)
    sign = MINUS if ratio < 0 else "+" if signed and ratio > 0 else ""
    return f"{sign}{text}{_SPACE}%"


def load(fraction: float) -> str:
    """Return a load, 0…1, in per cent to a tenth: 25.4 %, and 25 % where there is no tenth."""
    return f"{trimmed(f'{fraction * 100:.1f}')}{_SPACE}%"


def trimmed(number: str) -> str:
    """Return a number without zeros that end its decimals: for what was chosen, not measured."""
    digits, space, unit = number.partition(_SPACE)
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + space + unit


def at_percent_place(ratio: float, uncertainty: float) -> str:
    """Return a signed ratio in per cent, as precise as its uncertainty allows."""
    _, exponent = rounded(uncertainty * 100)
    return f"{at_place(ratio * 100, exponent, signed=True)}{_SPACE}%"


def seconds(duration: float) -> str:
    """Return a duration in s, or in min and s from two minutes on."""
    if abs(duration) < 120:
        return significant(duration, "s", 4)
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes}{_SPACE}min {rest:02d}{_SPACE}s"


def short_time(duration: float) -> str:
    """Return a time in s, ms, µs or ns, whatever fits: 3.2e-4 → 320.0 µs."""
    for unit in ("s", "ms", "us"):
        if abs(units.convert(duration, "s", unit)) >= 1.0 or duration == 0:
            return significant(units.convert(duration, "s", unit), unit, 4)
    return significant(units.convert(duration, "s", "ns"), "ns", 4)


def symbol(unit: str) -> str:
    """Return a unit as it is printed."""
    return _SYMBOLS.get(unit, unit)


def _spaced(unit: str) -> str:
    printed = symbol(unit)
    return f"{_SPACE}{printed}" if printed else ""


def _digits(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    text, _ = rounded(value, digits)
    return (MINUS if value < 0 else "") + text


def _at(value: Decimal, exponent: int) -> Decimal:
    return value.quantize(Decimal((0, (1,), exponent)), context=_EXACT)
