"""Ranges and limits of error of Hioki power meters, typed for the simulators.

Limits: PW3336/PW3337 data sheet page 8 (active power, 45 to 66 Hz); voltage and current have the same there. Ranges,
crest limits and the end of a range are not in the communications manual: they are options, and these their defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

from .inputs import Behaviour
from .metering import AutoRange, Limits

VOLTAGES = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0, 1000.0)
CURRENTS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
LOW_VOLTAGES = (6.0, *VOLTAGES)
LOW_CURRENTS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
OVER_AT = 1.3
"""PW3336: 65 A on the 50 A range."""

WIRINGS = {
    "TYPE1": "1P2W x 3",
    "TYPE2": "1P3W + 1P2W",
    "TYPE3": "3P3W + 1P2W",
    "TYPE4": "3P3W2M",
    "TYPE5": "3V3A",
    "TYPE6": "3P3W3M",
    "TYPE7": "3P4W",
}
"""Words of :WIRing."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its name in *IDN?, channels, ranges in V and A, words of :WIRing (none where it cannot be set)."""

    name: str
    channels: int
    voltages: tuple[float, ...]
    currents: tuple[float, ...]
    wirings: tuple[str, ...]
    default_wiring: str


MODELS = {
    "PW3335": Model("PW3335", 1, LOW_VOLTAGES, LOW_CURRENTS, (), ""),
    "PW3336": Model("PW3336", 2, VOLTAGES, CURRENTS, ("TYPE1", "TYPE2", "TYPE3", "TYPE4"), "TYPE1"),
    "PW3337": Model("PW3337", 3, VOLTAGES, CURRENTS, tuple(WIRINGS), "TYPE7"),
}


def limits(load: float) -> Limits:
    """Return the limits of active power at 45 to 66 Hz for an input of `load` x full scale."""
    return Limits(0.001, 0.0005) if load < 0.5 else Limits(0.0015, 0.0)


def behaviour(voltages: tuple[float, ...], currents: tuple[float, ...], over_at: float) -> Behaviour:
    """Return how the family chooses ranges and shows what is beyond them."""
    auto = AutoRange(up=over_at, down=1.0, fits=1.0, peak=6.0)
    return Behaviour(voltages, currents, over_at, auto, auto, limits)
