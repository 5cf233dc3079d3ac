"""Models, wirings, markers and accuracy of the Hioki PW3335, PW3336 and PW3337.

Sources: PW3336A987-01 and PW3335A985-01 (wirings, formats, markers), PW3336/PW3337 data sheet p. 8 (accuracy,
direct input). Limits of error are ratios of reading and of full scale (voltage range × current range); f in kHz.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from aicalib_hw.readings import Status

ELEMENTS = {"PW3335": 1, "PW3336": 2, "PW3337": 3}

WIRINGS = {"1P2W": 1, "1P3W": 2, "3P3W": 3, "3V3A": 5, "3P4W": 7}
"""Our name → number of `:WIRing TYPE`. Types 4 (3P3W2M) and 6 (3P3W3M) have no name in the interface."""

WIRINGS_OF = {1: ("1P2W",), 2: ("1P2W", "1P3W", "3P3W"), 3: ("1P2W", "1P3W", "3P3W", "3V3A", "3P4W")}

SUMMED = {"1P3W": (0, 1), "3P3W": (0, 1), "3P4W": (0, 1, 2)}
"""Elements whose power the sum holds. Of 3V3A the manual at hand does not say it."""

RATIO = (0.001, 9999.0)
"""Limits of VT and CT ratios; the instrument rounds to four digits (3332 manual p. 158, here by analogy)."""

MARKERS = {
    999.99e9: Status.OVER_RANGE,
    9999.99e9: Status.OVER_RANGE,
    888.88e9: Status.INVALID,
    8888.88e9: Status.INVALID,
    777.77e9: Status.NO_DATA,
    7777.77e9: Status.NO_DATA,
}
"""Shown instead of a number: over range, scaling error, no data; the longer ones in integration values."""

STATUS_FIELDS = {
    0: Status.PEAK_OVER,
    4: Status.PEAK_OVER,
    8: Status.OVER_RANGE,
    12: Status.OVER_RANGE,
    20: Status.INVALID,
    24: Status.INVALID,
}
"""Lowest bit of a field of STATUS → what it means: PU, PI (peak of U, I), RU, RI (range of U, I), CP, RP; one bit a
channel. CP (calculation) and RP are not described in what is at hand: what they speak against is no number here. SY
(synchronisation) and HM (harmonics) are passed over: they need not concern a power, and SY cannot hold for DC."""


def marked(value: float) -> Status:
    """Return what a value stands for if it is a marker, else VALID."""
    for marker, status in MARKERS.items():
        if math.isclose(abs(value), marker, rel_tol=1e-6):
            return status
    return Status.VALID


@dataclass(frozen=True, slots=True)
class Band:
    """Limits up to `top` Hz: of reading and full scale below half of it, of reading from half, and from the whole.

    below, half, whole: function of f in kHz → (ratio of reading, ratio of full scale).
    """

    top: float
    below: Callable[[float], tuple[float, float]]
    half: Callable[[float], tuple[float, float]]
    whole: Callable[[float], tuple[float, float]]


def _percent(reading: float, full: float = 0.0) -> Callable[[float], tuple[float, float]]:
    return lambda _: (reading / 100, full / 100)


DIRECT_CURRENT = Band(0.1, _percent(0.1, 0.1), _percent(0.1, 0.1), _percent(0.2))
BANDS = (
    Band(16.0, _percent(0.1, 0.2), _percent(0.3), _percent(0.3)),
    Band(45.0, _percent(0.1, 0.1), _percent(0.2), _percent(0.2)),
    Band(66.0, _percent(0.1, 0.05), _percent(0.15), _percent(0.15)),
    Band(500.0, _percent(0.1, 0.1), _percent(0.2), _percent(0.2)),
    Band(1e3, _percent(0.1, 0.2), _percent(0.3), _percent(0.3)),
    Band(
        10e3,
        lambda f: ((0.03 + 0.07 * f) / 100, 0.2 / 100),
        lambda f: ((0.23 + 0.07 * f) / 100, 0.0),
        lambda f: ((0.23 + 0.07 * f) / 100, 0.0),
    ),
)
ACCURACY_SOURCE = "PW3336/PW3337 data sheet p. 8, direct input"
