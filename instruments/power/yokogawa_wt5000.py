"""Yokogawa WT5000 precision power analyzer: a reader, unverified.

Sources: IM WT5000-17EN, of which the chapter on grammar was at hand; all else is taken from the WT1800, its elder
relative, and nobody has seen it confirmed. Ranges, status bits, accuracy and the form of its identification are
unconfirmed: ranges are sent as they are given and the instrument decides, no uncertainty is stated.
"""

from __future__ import annotations

from typing import ClassVar

from aicalib_hw.interfaces import DriverInfo

from . import _wt_high_end_tables as tables
from ._wt_high_end import HighEndMeter
from .yokogawa_wt1800 import YokogawaWT1800


class YokogawaWT5000(YokogawaWT1800):
    """A WT5000, by analogy with the WT1800."""

    FAMILY: ClassVar[tables.Family] = tables.WT5000

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="yokogawa-wt5000",
        role="power_meter",
        summary="Yokogawa WT5000 power analyzer, by analogy with the WT1800, unverified",
        manual="IM WT5000-17EN",
        models=((r"YOKOGAWA", r"WT5000(-\S+)?"),),
        wires=("VXI-11", "USBTMC", "GPIB"),
        simulator="yokogawa-wt5000",
        verified="never run on hardware, and most of its commands are unconfirmed",
    )

    @property
    def _family(self) -> tables.Family:
        return self.FAMILY

    def _find_modules(self) -> tuple[int, ...]:
        return HighEndMeter._find_modules(self)
