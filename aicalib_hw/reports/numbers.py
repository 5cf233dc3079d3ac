"""Numbers as a report shows them: never without a unit, never with digits that mean nothing.

How value and uncertainty are rounded is `metrology.budget.rounded`'s; prefixes and signs are chosen here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aicalib_hw import units
from aicalib_hw.metrology.budget import rounded

NONE = "—"
MINUS = "\u2212"
_SPACE = "\u00a0"
_PERCENT = re.compile(r"(?<=\d) ?%(?!\w)")
"""After a number; not that of an address, as in "a1%20b"."""
_SYMBOLS = {"degC": "°C", "deg": "°", "us": "µs", "1": ""}


@dataclass(frozen=True, slots=True)
class Stated:
    """A value with its expanded uncertainty, as text in `unit`."""

    value: str
    uncertainty: str
    unit: str

    def __str__(self) -> str:
        return f"{self.value} ± {self.uncertainty}{_spaced(self.unit)}"


def stated(value: float, expanded: float, unit: str) -> Stated:
    """Round a value by its expanded uncertainty (both in `unit`), scaled by a decimal prefix."""
    _, shown = units.display(max(abs(value), expanded), unit)
    text, half_width = rounded(units.convert(value, unit, shown), units.convert(expanded, unit, shown))
    return Stated(_with_sign(text), half_width, shown)


def aligned(value: float, expanded: float, unit: str, shown: str, *, signed: bool = False) -> str:
    """Return a value (in `unit`) in the unit `shown`, ending where its expanded uncertainty (in `unit`) ends."""
    text, _ = rounded(units.convert(value, unit, shown), units.convert(expanded, unit, shown))
    return f"{_with_sign(text, signed=signed)}{_spaced(shown)}"


def significant(value: float, unit: str, digits: int = 5) -> str:
    """Return a value without stated uncertainty, scaled by a decimal prefix, with its unit: 171.90 GFLOP/s."""
    number, shown = units.display(value, unit)
    return f"{_digits(number, digits)}{_spaced(shown)}"


def percent(ratio: float, digits: int = 2) -> str:
    """Return a ratio in per cent with so many significant digits: 0.0231 → 2.3 %."""
    return f"{_digits(ratio * 100, digits)}{_SPACE}%"


def as_declared(value: float, unit: str) -> str:
    """Return a value that somebody stated, in the unit that is given, to six digits at most."""
    return f"{value:.6g}{_SPACE}{symbol(unit)}".replace("-", MINUS)


def in_words(text: str) -> str:
    """Return words with the space before each per cent sign that a report has everywhere: 25% load → 25 % load."""
    return _PERCENT.sub(f"{_SPACE}%", text)


def aligned_percent(ratio: float, uncertainty: float) -> str:
    """Return a signed ratio in per cent, ending where its uncertainty (a ratio too) ends."""
    text, _ = rounded(ratio * 100, uncertainty * 100)
    return f"{_with_sign(text, signed=True)}{_SPACE}%"


def load(fraction: float) -> str:
    """Return a load, 0…1, in per cent to a tenth: 25.4 %, and 25 % where there is no tenth."""
    return f"{trimmed(f'{fraction * 100:.1f}')}{_SPACE}%"


def trimmed(number: str) -> str:
    """Return a number without zeros that end its decimals: for what was chosen, not measured."""
    digits, space, unit = number.partition(_SPACE)
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + space + unit


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
    return (MINUS if value < 0 else "") + rounded(0.0, abs(value), digits=digits)[1]


def _with_sign(text: str, *, signed: bool = False) -> str:
    """Give a rounded number a true minus sign, and a plus sign if asked; nothing is negative zero."""
    size = text.lstrip("-")
    if not size.strip("0."):
        return size
    return (MINUS if text.startswith("-") else "+" if signed else "") + size
