"""Simulated Yokogawa WT1800 and WT1800E, over VXI-11.

From the WT1800 manuals as far as they are known (accuracy, ranges, integration limits) and public programs for the
instrument; grammar and numeric formats are those of IM WT3001E-17EN. GP-IB and USB are not simulated.

Unconfirmed: bits of the condition register but those of update and integration (left 0); the identification of a
WT1800 without E; which elements are the 5 A ones (the first here); the accuracy of the WT1800E (0.05 % of reading and
of range in a brochure, and what its specimens keep to); cut-off frequencies of the line filter (any from 100 Hz to
1 MHz).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from ..dialects.scpi.engine import CommandError
from ..world import World
from ..world.faults import FaultPlan
from .metering import Sample
from .yokogawa_base import Element, SimulatedYokogawa
from .yokogawa_grammar import Data, SettingTree, nr3, number, one_of, text
from .yokogawa_high_end import Bands, HighEndMeter, HighEndOptions

PLAIN: Bands = (
    (0.1, 0.3, 0.2),
    (10.0, 0.1, 0.2),
    (45.0, 0.1, 0.05),
    (66.0, 0.2, 0.1),
    (1e3, 0.3, 0.2),
    (5e4, 0.7, 0.3),
)
"""WT1800, 6 months."""
BROCHURE: Bands = (*PLAIN[:2], (45.0, 0.05, 0.05), *PLAIN[3:])
"""WT1800E, unconfirmed."""

FUNCTIONS = (
    "URMS", "UMN", "UDC", "URMN", "UAC", "UPPeak", "UMPeak", "CFU", "IRMS", "IMN", "IDC", "IRMN", "IAC", "IPPeak",
    "IMPeak", "CFI", "P", "S", "Q", "LAMBda", "PHI", "PC", "PPPeak", "PMPeak", "FU", "FI", "TIME", "WH", "WHP", "WHM",
    "AH", "AHP", "AHM", "WS", "WQ", "ETA1", "ETA2", "ETA3", "ETA4", "UK", "IK", "PK", "UTHD", "ITHD", "PTHD",
)  # fmt: skip
_ONE = ("URMS", "IRMS", "P", "S", "Q", "LAMBDA", "PHI", "FU", "FI")
_PEAKS = ("UPPEAK", "UMPEAK", "IPPEAK", "IMPEAK", "CFU", "CFI")
_ENERGY = ("TIME", "WH", "WHP", "WHM", "AH", "AHP", "AHM", "WS", "WQ")
PATTERNS = {1: (*_ONE, "NONE"), 2: _ONE + _PEAKS, 3: (*_ONE[:5], *_ENERGY, "NONE"), 4: (*_ONE, *_PEAKS, "PC", *_ENERGY)}
"""Presets by analogy with the WT3000E's."""

_VOLTAGES = (1.5, 3.0, 6.0, 10.0, 15.0, 30.0, 60.0, 100.0, 150.0, 300.0, 600.0, 1000.0)
_LARGE = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_SMALL = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_EXTERNAL = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def both(ranges: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    """Return ranges by crest factor: at 6 half of those at 3."""
    return {"3": ranges, "6": tuple(value / 2 for value in ranges)}


class WT1800Options(HighEndOptions):
    """Options; elements: 1 to 6, 50 A but for the `small` first ones, 5 A."""

    model: Literal["WT1800", "WT1800E"] = "WT1800E"
    elements: int = Field(default=6, ge=1, le=6)
    small: int = Field(default=0, ge=0, le=6)


class WT1800(HighEndMeter):
    """The model of a WT1800 or WT1800E."""

    intervals: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    voltages: ClassVar[Mapping[str, tuple[float, ...]]] = both(_VOLTAGES)
    large_currents: ClassVar[Mapping[str, tuple[float, ...]]] = both(_LARGE)
    small_currents: ClassVar[Mapping[str, tuple[float, ...]]] = both(_SMALL)
    external_voltages: ClassVar[Mapping[str, tuple[float, ...]]] = both(_EXTERNAL)
    functions: ClassVar[tuple[str, ...]] = FUNCTIONS
    patterns: ClassVar[Mapping[int, tuple[str, ...]]] = PATTERNS
    most_elements: ClassVar[int] = 6
    sigmas: ClassVar[tuple[str, ...]] = ("SIGMA", "SIGMB", "SIGMC")
    orders: ClassVar[int] = 500
    bare_external: ClassVar[bool] = True
    integration_features: ClassVar[Mapping[str, bool]] = {"real_time": True, "auto_zero": True, "timers": True}

    def __init__(self, world: World, name: str, serial: str, faults: FaultPlan, options: WT1800Options) -> None:
        super().__init__(world, name, serial, faults, options, options.elements)

    def idn(self) -> str:
        count, small = len(self.elements), self.options.small
        letter = self.options.model.removeprefix("WT1800")
        return f"YOKOGAWA,WT180{count}{letter}-5A{small}-50A{count - small},{self.serial},F1.01"

    def bands(self, element: Element) -> Bands:
        return BROCHURE if self.options.model == "WT1800E" else PLAIN

    def condition(self, samples: Mapping[int, Sample]) -> int:
        return 0

    def module(self, element: Element) -> str:
        return "5" if element.number <= self.options.small else "50"

    def modes(self, unit: str) -> tuple[str, ...]:
        return ("RMS", "MEAN", "DC", "RMEAN", "AC")

    def reset_inputs(self) -> None:
        super().reset_inputs()
        self.sensor_display = "DIRECT"
        for element in self.elements:
            element.integrates = "RMS"

    def register_inputs(self, tree: SettingTree) -> None:
        super().register_inputs(tree)
        tree.speak("DIRect", "MEASure")
        self.word("[:INPut]:CURRent:EXTSensor:DISPlay", "sensor_display", ("DIRect", "MEASure"))

        def take(element: Element, data: Data) -> None:
            element.integrates = one_of(data, self.modes("current"))

        self.one_by_one("INTEGrate:QMODe", take, lambda element: element.integrates)

    def _filter(self, data: Data) -> str:
        if text(data) == "OFF":
            return "OFF"
        frequency = number(data, "HZ")
        if not 100 <= frequency <= 1e6:
            raise CommandError(222)
        return nr3(frequency, 4)


class SimulatedWT1800(SimulatedYokogawa):
    """A simulated WT1800 or WT1800E, served over VXI-11."""

    simulates: ClassVar[str] = "yokogawa-wt1800"
    Options: ClassVar[type[WT1800Options]] = WT1800Options

    def make_device(self) -> WT1800:
        return WT1800(self.world, self.name, self.identity_serial, self.faults, self.options)
