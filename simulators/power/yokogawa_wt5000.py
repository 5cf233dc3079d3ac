"""Simulated Yokogawa WT5000, over VXI-11: unverified, for only its grammar chapter is known (IM WT5000-17EN).

Everything but the grammar follows the WT1800E: ranges from 1.5 V to 1000 V, 5 mA to 5 A and 0.5 A to 30 A, updates from
10 ms, 7 elements, the form of the identification and the accuracy (0.01 % of reading, 0.02 % of range) are unconfirmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from .yokogawa_base import Element, SimulatedYokogawa
from .yokogawa_high_end import Bands, HighEndOptions
from .yokogawa_wt1800 import PLAIN, WT1800, both

ASSUMED: Bands = (*PLAIN[:2], (45.0, 0.01, 0.02), *PLAIN[3:])


class WT5000Options(HighEndOptions):
    """Options; elements: 1 to 7, 30 A but for the `small` first ones, 5 A. model: as *IDN? gives it (unconfirmed)."""

    model: str = "WT5000"
    elements: int = Field(default=7, ge=1, le=7)
    small: int = Field(default=0, ge=0, le=7)


class WT5000(WT1800):
    """The model of a WT5000."""

    intervals: tuple[float, ...] = (0.01, *WT1800.intervals)
    large_currents: ClassVar[Mapping[str, tuple[float, ...]]] = both((0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0))
    small_currents: ClassVar[Mapping[str, tuple[float, ...]]] = both(
        (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    )
    most_elements: ClassVar[int] = 7

    def idn(self) -> str:
        return f"YOKOGAWA,{self.options.model},{self.serial},F1.01"

    def bands(self, element: Element) -> Bands:
        return ASSUMED

    def module(self, element: Element) -> str:
        return "5" if element.number <= self.options.small else "30"


class SimulatedWT5000(SimulatedYokogawa):
    """A simulated WT5000, served over VXI-11."""

    simulates: ClassVar[str] = "yokogawa-wt5000"
    Options: ClassVar[type[WT5000Options]] = WT5000Options

    def make_device(self) -> WT5000:
        return WT5000(self.world, self.name, self.identity_serial, self.faults, self.options)
