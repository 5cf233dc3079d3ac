"""Whether the rate of a run was steady: the rates of five rounds of its window, how far they range, and their trend.

In the manner of a steady state of five rounds within an excursion and a slope, as tests of solid-state storage have it;
the limits are the job's. A rate that was not steady is not that of the storage but that of the moment, and is no valid
one. What trend a steady rate still has is how much its mean would be another, had the window begun earlier or later.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from aicalib_hw.interfaces import StorageJob

from ._fio_output import Said

ROUNDS = 5
LEAST_DURATION = 10.0
"""s: the rounds of a shorter window are too short to show a steady state."""


def unsteady(said: Said, job: StorageJob) -> list[str]:
    """Say by how much the rates of the rounds of a run range, and which way they go, where it is more than allowed."""
    rates = said.round_rates(ROUNDS)
    if len(rates) < ROUNDS:
        return []
    extent, trend = (max(rates) - min(rates)) / statistics.fmean(rates), _trend(rates)
    found = []
    if extent > job.steady_range:
        found.append(
            f"not steady: from round to round the rate ranged over {extent:.1%} of its mean, "
            f"{job.steady_range:.1%} is allowed"
        )
    if abs(trend) > job.steady_trend:
        way = "rose" if trend > 0 else "fell"
        found.append(
            f"not steady: from the first round to the last the rate {way} by {abs(trend):.1%} of its mean, "
            f"{job.steady_trend:.1%} is allowed"
        )
    return found


def unproven(said: Said) -> list[str]:
    """Say why nothing is known of how steady a run was, where it is so."""
    if said.seconds < LEAST_DURATION:
        return [f"a window of {said.seconds:.0f} s shows no steady state: {LEAST_DURATION:g} s or more do"]
    if len(said.round_rates(ROUNDS)) < ROUNDS:
        return [
            f"no steady state was shown: fio told of {len(said.interval_rates)} intervals only, {ROUNDS} rounds show it"
        ]
    return []


def trend_of(said: Said) -> float | None:
    """Return by what share of its mean the rate rose over the window; None where too few rounds tell."""
    rates = said.round_rates(ROUNDS)
    return _trend(rates) * ROUNDS / (ROUNDS - 1) if len(rates) == ROUNDS else None


def _trend(rates: Sequence[float]) -> float:
    """By what share of the mean a line through the rates rises from the first round to the last."""
    slope, _ = statistics.linear_regression(range(len(rates)), rates)
    return slope * (len(rates) - 1) / statistics.fmean(rates)
