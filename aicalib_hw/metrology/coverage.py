"""From degrees of freedom, or the shape of a distribution, to the coverage factor k, and back to a probability."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from aicalib_hw.errors import MissingExtra, UsageError

PROBABILITY = 0.9545
"""Coverage probability for which k = 2 of a normal distribution is stated."""

MANY_DEGREES = 30
"""From so many effective degrees of freedom on, k is that of the normal distribution."""


def gtc() -> Any:
    """Return the GUM Tree Calculator, imported when first needed; raises MissingExtra without it."""
    try:
        import GTC  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra.for_library("GTC", "metrology", "combining uncertainties") from error
    return GTC


def coverage_factor(dof: int | None, probability: float = PROBABILITY) -> float:
    """Return k for `probability` and `dof` degrees of freedom (None = infinite), two-sided, Student's t."""
    if dof is None and probability == PROBABILITY:
        return 2.0
    reporting = gtc().reporting
    return float(reporting.k_factor(math.inf if dof is None else dof, p=100.0 * probability))


def usable_degrees(effective: float | None) -> int | None:
    """Return the degrees of freedom to enter the t-distribution with, rounded down; None = take the normal one."""
    if effective is None or effective >= MANY_DEGREES:
        return None
    return max(1, math.floor(effective + 1e-9))


def rectangular_factor(half_width: float, rest: float, probability: float = PROBABILITY) -> float:
    """Return k for a rectangle of ±`half_width` beside a normal rest of standard uncertainty `rest`.

    The exact quantile of the sum of both, over its standard uncertainty: 1.65 at 95.45 % for the
    rectangle alone, rising to 2 with the rest. Raises UsageError unless half_width > 0 and rest ≥ 0.
    """
    if not (0 < half_width < math.inf and 0 <= rest < math.inf):
        raise UsageError(f"±{half_width!r} beside {rest!r} is no rectangular cause with a normal rest")
    combined = math.hypot(half_width / math.sqrt(3.0), rest)
    if rest < 1e-6 * half_width:
        return probability * half_width / combined
    normal = NormalDist()

    def antiderivative(z: float) -> float:
        return z * normal.cdf(z) + normal.pdf(z)

    def covered(x: float) -> float:
        ends = antiderivative((x + half_width) / rest) - antiderivative((x - half_width) / rest)
        return ends * rest / half_width - 1.0

    low, high = 0.0, half_width + 40.0 * rest
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if covered(middle) < probability else (low, middle)
    return high / combined


def student_cdf(t: float, dof: int) -> float:
    """Return the cumulative probability of Student's t for whole degrees of freedom.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4. Raises UsageError for fewer than one.
    """
    if dof < 1:
        raise UsageError(f"Student's t has no {dof} degrees of freedom")
    angle = math.atan(t / math.sqrt(dof))
    cosine = math.cos(angle)
    odd = dof % 2
    term = cosine if odd else 1.0
    terms = 0.0
    for power in range(1 if odd else 0, dof - 1, 2):
        terms += term
        term *= cosine**2 * (power + 1) / (power + 2)
    inside = 2 / math.pi * (angle + math.sin(angle) * terms) if odd else math.sin(angle) * terms
    return min(1.0, max(0.0, (1 + inside) / 2))
