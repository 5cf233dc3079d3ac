"""What repeated runs betray: a stray run, a drift, too much scatter. Flagged for a person, never removed.

Runs enter a result whether flagged or not: who leaves one out says so and why. The tests are those for
few values of a normal distribution, at a level at which a sound set of runs is seldom flagged.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from aicalib_hw import units
from aicalib_hw.metrology.coverage import coverage_factor

LEVEL = 0.01
"""Probability of flagging runs that have nothing wrong with them, for each test."""

LARGEST_SCATTER = 1 / 5
"""Standard deviation of the runs, as a share of the maximum permissible error, that passes without a remark."""

_FEWEST = 3


def stray(values: Sequence[float], *, level: float = LEVEL) -> int | None:
    """Return the index of the value that Grubbs' two-sided test takes for an outlier, None if there is none.

    values: in any one unit; fewer than three, or all equal, have no outlier. Source: Grubbs 1969; GB/T 4883.
    """
    count = len(values)
    if count < _FEWEST or (spread := statistics.stdev(values)) == 0:
        return None
    mean = statistics.fmean(values)
    index = max(range(count), key=lambda one: abs(values[one] - mean))
    squared = coverage_factor(count - 2, 1 - level / count) ** 2
    critical = (count - 1) / math.sqrt(count) * math.sqrt(squared / (count - 2 + squared))
    return index if abs(values[index] - mean) / spread > critical else None


def drift(values: Sequence[float], *, level: float = LEVEL) -> float | None:
    """Return the slope by run, in the unit of `values`, if it is other than zero; None if it may be zero.

    Student's two-sided test of the slope of a straight line through the values in their order.
    """
    count = len(values)
    if count < _FEWEST or statistics.pstdev(values) == 0:
        return None
    order = range(count)
    slope, _ = statistics.linear_regression(order, values)
    correlation = min(1.0, abs(statistics.correlation(order, values)))
    rest = 1 - correlation**2
    student = math.inf if rest <= 0 else correlation * math.sqrt((count - 2) / rest)
    return slope if student > coverage_factor(count - 2, 1 - level) else None


def remarks(
    values: Sequence[float], unit: str, *, limit: float | None = None, resolution: float = 0.0
) -> tuple[str, ...]:
    """Return what a person should look at before using the mean of `values` (in `unit`), as sentences.

    limit: maximum permissible error in `unit`, None = not given. resolution: smallest step of the instrument in
    `unit`; runs that lie within one step of each other betray nothing, as the tests would take rounding for scatter.
    """
    found: list[str] = []
    if values and max(values) - min(values) <= resolution:
        return ()
    index = stray(values)
    if index is not None:
        found.append(
            f"run {index + 1} ({_shown(values[index], unit, '.6g')}) lies apart from the others by "
            "Grubbs' test; it was kept"
        )
    slope = drift(values)
    if slope is not None:
        found.append(f"the runs drift by {_shown(slope, unit, '+.3g')} each: the platform or the meter was not steady")
    if limit is not None and len(values) >= _FEWEST:
        spread = statistics.stdev(values)
        if spread > LARGEST_SCATTER * limit:
            found.append(
                f"the runs scatter by {_shown(spread, unit, '.3g')} (one standard deviation), "
                f"more than a fifth of the maximum permissible error"
            )
    return tuple(found)


def _shown(value: float, unit: str, form: str) -> str:
    shown, prefixed = units.display(value, unit)
    return f"{shown:{form}} {prefixed}"
