"""Refusing, before anything is sent, a value that a meter does not have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aicalib_hw.errors import OutOfRange


def require_one_of(what: str, value: Any, allowed: Sequence[Any], unit: str = "", advice: str = "choose one") -> None:
    """Raise OutOfRange, listing what there is, unless `value` is among `allowed` (numbers within 1e-9)."""
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if any(value == one or (numeric and math.isclose(value, one, rel_tol=1e-9)) for one in allowed):
        return
    listed = ", ".join(f"{one:g}" if isinstance(one, (int, float)) else str(one) for one in allowed)
    meant_as_number = unit and not numeric  # "300V" has its unit already, and is no number
    raise OutOfRange(
        f"this meter has no {what} of {value!r}: a number in {unit}"
        if meant_as_number
        else f"this meter has no {what} of {value} {unit}".rstrip(),
        why=f"it has {listed} {unit}".rstrip(),
        advice=advice,
    )


def require_ratio(name: str, ratio: float, limits: tuple[float, float]) -> None:
    """Raise OutOfRange unless a transducer's ratio, primary over secondary, lies within the meter's limits."""
    low, high = limits
    if not low <= ratio <= high:
        raise OutOfRange(
            f"a {name} of {ratio:g} cannot be set",
            why=f"this meter takes {low:g} to {high:g}",
            advice="give primary over secondary: 100 for 500 A to 5 A, 1 for none",
        )


def require_full_scale(name: str, full: float, unit: str) -> None:
    """Raise OutOfRange for what no meter has as a range; whether this one has it, the instrument says."""
    if not 0 < full < 1e6:
        raise OutOfRange(
            f"a {name} of {full:g} {unit} cannot be set",
            why="a range lies above 0 and below a million",
            advice="give one of the ranges that the meter's panel offers",
        )
