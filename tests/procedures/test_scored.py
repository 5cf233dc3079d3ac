"""Scored against truth: over many worlds, errors must be as large as the uncertainties say, and no larger."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

from aicalib_hw.bench import PowerPlan
from aicalib_hw.procedures import calibrate_power
from tests.benches import stepped

from .stamps import Stamps

SEEDS = range(1, 25)

PLAN = PowerPlan(loads=(0.0, 1.0), duration=1.0, runs=3, settle=0.5, ranging_duration=0.5, energy_duration=0)

BENCH = """
[bench]
name = "scored"
[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
options = {{ error_fraction = 1.0 }}
settings = {{ update_interval = 0.5 }}
[load]
source = "world"
[world]
rate = 0.0
seed = {seed}
[world.platform]
idle_power = 400.0
full_power = 1500.0
ripple = 0.0
leakage = 0.0
"""


def errors_over_u(path: Path, seed: int) -> list[tuple[float, float]]:
    """(error / U, error / u) of each valid point of one world."""
    path.write_text(BENCH.format(seed=seed), encoding="utf-8")
    with stepped(path, interval=0.5) as bench:
        stamps = Stamps(bench)
        results = calibrate_power(bench, plan=PLAN, progress=stamps).results
        scores = []
        for result in results:
            if result.evaluation is not None:
                error = result.evaluation.value - stamps.true_power(result.title)
                scores.append(
                    (error / result.evaluation.expanded_uncertainty, error / result.evaluation.standard_uncertainty)
                )
    return scores


def test_the_share_of_errors_within_u_is_that_of_its_coverage_probability_over_many_worlds(tmp_path: Path) -> None:
    """A meter whose errors fill its limits: 95 % must lie within U, and their size must be that of u, not a part of it.

    With 48 points of a true coverage of 95.45 % fewer than 40 lie within U once in several thousand such tests; an u
    that is twice too large or too small moves the mean square of error / u to a quarter or to four.
    """
    scores = [score for seed in SEEDS for score in errors_over_u(tmp_path / "scored.toml", seed)]
    assert len(scores) >= 40, "too many points were not valid to score anything"
    within = sum(abs(over_expanded) <= 1 for over_expanded, _ in scores)
    assert within >= 0.95 * len(scores) - 3 * math.sqrt(0.95 * 0.05 * len(scores))
    size = math.sqrt(statistics.fmean(over_standard**2 for _, over_standard in scores))
    assert 0.6 < size < 1.5
    assert min(score for _, score in scores) < -0.3 < 0.3 < max(score for _, score in scores)
