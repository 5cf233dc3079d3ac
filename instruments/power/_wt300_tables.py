"""Ranges, update intervals and accuracy of the WT300 family.

Sources: IM WT310E-01EN p. 2-7 (ranges), IM WT310E-02EN p. 7-7 and 7-8 (accuracy, 12 months, 23 ± 5 °C),
IM WT310E-17EN (wire spellings). Accuracy is in % of reading and % of range; f in kHz.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

VOLTAGE_RANGES = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
"""V at crest factor 3; half of each at 6 and 6A."""

_TO_20_A = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_TO_40_A = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
_FROM_500_MA = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)

_INTERVALS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_E_INTERVALS = (*_INTERVALS, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class Model:
    """One model: number of elements, current ranges in A at crest factor 3, update intervals in s."""

    elements: int
    current_ranges: tuple[float, ...]
    intervals: tuple[float, ...]
    direct_input_high: bool = False


MODELS: dict[str, Model] = {
    "WT310": Model(1, _TO_20_A, _INTERVALS),
    "WT310E": Model(1, _TO_20_A, _E_INTERVALS),
    "WT310EH": Model(1, _TO_40_A, _E_INTERVALS, direct_input_high=True),
    "WT332E": Model(2, _FROM_500_MA, _E_INTERVALS),
    "WT333E": Model(3, _FROM_500_MA, _E_INTERVALS),
}

EXTERNAL_RANGES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0)
"""V of an external current sensor: up to 2 V with option /EX2, from 2.5 V with /EX1; the meter refuses the others.

At crest factor 3; half of each at 6 and 6A, as on the WT3000: for this family by analogy.
"""

WIRINGS = {"1P2W": "P1W2", "1P3W": "P1W3", "3P3W": "P3W3", "3P4W": "P3W4", "3V3A": "V3A3"}
"""Our name → spelling on the wire."""

WIRINGS_OF = {1: ("1P2W",), 2: ("1P2W", "1P3W", "3P3W"), 3: ("1P2W", "1P3W", "3P3W", "3P4W", "3V3A")}
"""Which wirings a unit of so many elements can be set to."""

CREST_FACTORS = {"3": 1.0, "6": 0.5, "6A": 0.5}
"""Crest factor → factor on every range."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One frequency band, up to `top` Hz: limits of power as ratios of reading and of range.

    reading is a function of f in kHz.
    """

    top: float
    reading: Callable[[float], float]
    range: float


def _constant(percent: float) -> Callable[[float], float]:
    return lambda _: percent / 100


BANDS = (
    Accuracy(45.0, _constant(0.3), 0.2 / 100),
    Accuracy(66.0, _constant(0.1), 0.05 / 100),
    Accuracy(1e3, _constant(0.2), 0.2 / 100),
    Accuracy(10e3, lambda f: (0.1 + 0.067 * (f - 1)) / 100, 0.3 / 100),
    Accuracy(100e3, lambda f: (0.5 + 0.09 * (f - 10)) / 100, 0.5 / 100),
)
HIGH_CURRENT_BANDS = (
    *BANDS[:3],
    Accuracy(10e3, lambda f: 0.13 * f / 100, 0.3 / 100),
    Accuracy(20e3, lambda f: 0.13 * f / 100, 0.5 / 100),
)
"""WT310EH, direct input."""


def zero_power_factor(frequency: float, *, e_series: bool) -> float:
    """Return the influence at power factor 0, as a ratio of S, at `frequency` Hz."""
    if e_series:
        return 0.1 / 100 if 45 <= frequency <= 66 else (0.1 + 0.15 * frequency / 1000) / 100
    return 0.2 / 100 if 45 <= frequency <= 66 else (0.2 + 0.2 * frequency / 1000) / 100


def line_filter(frequency: float) -> float:
    """Return what the line filter adds, as a ratio of reading; stated up to 66 Hz only."""
    return (1.0 if frequency < 45 else 0.3) / 100


SELF_HEATING_VOLTAGE = 1e-7 / 100
"""Ratio of reading for each V²."""
SELF_HEATING_CURRENT = 0.00013 / 100
"""Ratio of reading for each A²."""
ACCURACY_SOURCE = "IM WT310E-02EN p. 7-7, 12 months, 23 ± 5 °C"
OLD_RANGE_LIMIT = 0.1 / 100
"""WT310/WT330 without E, 45 to 66 Hz: 0.1 % of range."""
