"""Ranges, accuracy and error numbers of the WT300 family, typed from the manuals for the simulator alone.

Sources: IM WT310E-01EN p. 2-7 (ranges), IM WT310E-02EN p. 7-7 (accuracy, 45 to 66 Hz, 12 months).
"""

from __future__ import annotations

from dataclasses import dataclass

VOLTAGE_RANGES = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
_SMALL_TO_20 = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_EH = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
_THREE = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)

INTERVALS = {"100MS": 0.1, "250MS": 0.25, "500MS": 0.5, "1S": 1.0, "2S": 2.0, "5S": 5.0}
E_INTERVALS = {"10S": 10.0, "20S": 20.0}


@dataclass(frozen=True, slots=True)
class Model:
    """One model: elements, current ranges in A at crest factor 3, update intervals by their wire spelling."""

    name: str
    elements: int
    current_ranges: tuple[float, ...]
    intervals: dict[str, float]


MODELS = {
    model.name: model
    for model in (
        Model("WT310", 1, _SMALL_TO_20, INTERVALS),
        Model("WT310E", 1, _SMALL_TO_20, INTERVALS | E_INTERVALS),
        Model("WT310EH", 1, _EH, INTERVALS | E_INTERVALS),
        Model("WT332E", 2, _THREE, INTERVALS | E_INTERVALS),
        Model("WT333E", 3, _THREE, INTERVALS | E_INTERVALS),
    )
}

READING_LIMIT, RANGE_LIMIT = 0.001, 0.0005
"""Limits of error at 45 to 66 Hz: 0.1 % of reading + 0.05 % of range, for voltage, current and power."""

CANNOT_WHILE_INTEGRATING, ALREADY_STARTED, NOT_RUNNING, STOP_FIRST = 813, 842, 844, 845
ERROR_TEXTS = {
    113: "Undefined Header",
    813: "Invalid operation in integration",
    842: "Attempted to start integration during integration",
    844: "Attempted to stop integration when not in progress",
    845: "Attempted to reset integration while it is running",
}
"""The numbers are known; of the texts only that of 113 is, the rest are this simulator's words."""
