"""How Hioki power meters write numbers: fixed width, decimal point where the range puts it, codes for what is none.

PW3336A987-01: a measured value has 10 characters (sign, six with the decimal point, E, sign, one digit), an integrated
value 11. The position of the point follows the range: 300 V x 20 A shows +230.00E+0, +10.000E+0, +2.3000E+3.
"""

from __future__ import annotations

import math

OVER_RANGE, SCALING_ERROR, NO_DATA = "+999.99E+9", "+888.88E+9", "+777.77E+9"
OVER_RANGE_SUM, SCALING_ERROR_SUM, NO_DATA_SUM = "+9999.99E+9", "+8888.88E+9", "+7777.77E+9"
_LARGEST = 9.9999e8
"""Beyond this a scaled value does not fit the display any more: scaling error."""


def measured(value: float, full: float) -> str:
    """Return a value in 10 characters, its decimal point as the full scale `full` (base unit) has it."""
    return _fixed(value, full, 5, NO_DATA, SCALING_ERROR)


def integrated(value: float, full: float) -> str:
    """Return an integrated value in 11 characters; `full`: the largest that the display expects."""
    return _fixed(value, full, 6, NO_DATA_SUM, SCALING_ERROR_SUM)


def duration(seconds: float) -> str:
    """Return the time of integration, hhhhh,mm,ss: its commas are inside one item."""
    whole = int(seconds + 1e-9)
    return f"{whole // 3600:05d},{whole // 60 % 60:02d},{whole % 60:02d}"


def ratio(value: float) -> str:
    """Return a ratio of a transformer, four digits: 2.000, 166.7, 1000."""
    digits = 3 - min(3, max(0, math.floor(math.log10(value))))
    return f"{value:.{digits}f}"


def _fixed(value: float, full: float, digits: int, nothing: str, beyond: str) -> str:
    if not math.isfinite(value):
        return nothing
    if abs(value) > _LARGEST:
        return beyond
    exponent = _exponent(full)
    whole = _whole(full, exponent)
    if abs(round(value / 10.0**exponent, digits - whole)) >= 10.0**whole:
        exponent = _exponent(value)
        whole = _whole(value, exponent)
    mantissa = abs(value) / 10.0**exponent
    sign = "-" if value < 0 else "+"
    return f"{sign}{mantissa:0{digits + 1}.{digits - whole}f}E{'-' if exponent < 0 else '+'}{abs(exponent)}"


def _exponent(value: float) -> int:
    return 3 * math.floor(math.log10(abs(value)) / 3 + 1e-12) if value else 0


def _whole(value: float, exponent: int) -> int:
    """Digits before the decimal point, 1 to 3."""
    return 1 + max(0, math.floor(math.log10(abs(value)) + 1e-12) - exponent) if value else 1
