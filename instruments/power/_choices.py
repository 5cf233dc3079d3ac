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
    raise OutOfRange(
        f"this meter has no {what} of {value} {unit}".rstrip(),
        why=f"it has {listed} {unit}".rstrip(),
        advice=advice,
    )
