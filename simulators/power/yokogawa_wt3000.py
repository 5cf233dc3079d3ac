"""Simulated Yokogawa WT3000E, over the legacy Ethernet of option /C7.

From IM WT3001E-17EN (chapters 5 to 7) and IM 760301-01E p. 12-7 (accuracy, 6 months). Its GP-IB, RS-232 and USB are not
simulated. What the WT3000 without E answers to *IDN? is not known; the serial number, always 0 in the instrument,
carries the mark of the simulation here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from ..servers.faulty import FaultyWire
from ..servers.instrument import Server
from ..servers.yokogawa_legacy import YokogawaLegacyServer
from ..world import World
from ..world.faults import FaultPlan
from .metering import Sample
from .yokogawa_base import Element, SimulatedYokogawa
from .yokogawa_high_end import Bands, HighEndMeter, HighEndOptions

LARGE: Bands = (
    (0.1, 0.2, 0.3), (30.0, 0.05, 0.05), (45.0, 0.02, 0.04), (66.0, 0.05, 0.05), (1e3, 0.15, 0.1), (1e4, 0.3, 0.2)
)  # fmt: skip
SMALL: Bands = (*LARGE[:2], (45.0, 0.05, 0.05), *LARGE[3:])
"""The 2 A element on ranges up to 200 mA."""

FUNCTIONS = (
    "U", "I", "P", "S", "Q", "LAMBda", "PHI", "FU", "FI", "UPPeak", "UMPeak", "IPPeak", "IMPeak", "CFU", "CFI", "PC",
    "TIME", "WH", "WHP", "WHM", "AH", "AHP", "AHM", "WS", "WQ", "UTHD", "ITHD", "PTHD",
    "ETA1", "ETA2", "ETA3", "ETA4",
)  # fmt: skip


class WT3000Options(HighEndOptions):
    """Options; elements: 1 to 4, 30 A but for the `small` first ones, 2 A.

    users: who may log in, with passwords. asks_anonymous: whether `anonymous` is asked for a password (unconfirmed).
    """

    elements: int = Field(default=4, ge=1, le=4)
    small: int = Field(default=0, ge=0, le=4)
    users: Mapping[str, str] = {"anonymous": ""}
    asks_anonymous: bool = True


class WT3000(HighEndMeter):
    """The model of a WT3000E."""

    intervals: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    voltages: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "3": (15.0, 30.0, 60.0, 100.0, 150.0, 300.0, 600.0, 1000.0),
        "6": (7.5, 15.0, 30.0, 50.0, 75.0, 150.0, 300.0, 500.0),
    }
    large_currents: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "3": (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0),
        "6": (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0),
    }
    small_currents: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "3": (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
        "6": (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
    }
    external_voltages: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "3": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        "6": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    }
    functions: ClassVar[tuple[str, ...]] = FUNCTIONS
    most_elements: ClassVar[int] = 4
    sigmas: ClassVar[tuple[str, ...]] = ("SIGMA", "SIGMB")
    orders: ClassVar[int] = 100
    integration_features: ClassVar[Mapping[str, bool]] = {"real_time": True, "auto_zero": True}

    def __init__(self, world: World, name: str, serial: str, faults: FaultPlan, options: WT3000Options) -> None:
        super().__init__(world, name, serial, faults, options, options.elements)

    def idn(self) -> str:
        count, small = len(self.elements), self.options.small
        return f"YOKOGAWA,WT300{count}E-2A{small}-30A{count - small},{self.serial},F6.01"

    def bands(self, element: Element) -> Bands:
        return SMALL if element.number <= self.options.small and element.current_range <= 0.2 else LARGE

    def condition(self, samples: Mapping[int, Sample]) -> int:
        found = 0
        for key, sample in samples.items():
            found |= (sample.over_voltage or sample.over_current) << (7 + key)
            found |= (sample.peak_over_voltage or sample.peak_over_current) << 15
        return found

    def module(self, element: Element) -> str:
        return "2" if element.number <= self.options.small else "30"


class SimulatedWT3000(SimulatedYokogawa):
    """A simulated WT3000E, served over Yokogawa's legacy Ethernet."""

    simulates: ClassVar[str] = "yokogawa-wt3000"
    wires: ClassVar[tuple[str, ...]] = (YokogawaLegacyServer.wire,)
    Options: ClassVar[type[WT3000Options]] = WT3000Options

    def make_device(self) -> WT3000:
        return WT3000(self.world, self.name, self.identity_serial, self.faults, self.options)

    def make_servers(self, wire: FaultyWire) -> Sequence[Server]:
        options = self.options
        return [YokogawaLegacyServer(wire, scheme="wt3000", users=options.users, asks_all=options.asks_anonymous)]
