"""Yokogawa WT1800 and WT1800E high-performance power analyzers.

Sources: the WT1800 manuals (ranges; accuracy, 6 months), IM WT1801E-17EN by reference, and what public programs that
drive these instruments agree on; grammar and formats as in IM WT3001E-17EN. Not covered: motor inputs, lists of
harmonics, further Σ groups, update interval AUTO. Unconfirmed and therefore settable: the peak-over question
(`peak_over_query`), what the line filter is set to (`line_filter_cutoff`), the influence of the power factor on the
accuracy (`power_factor_influence`), all accuracy of the WT1800E (`unconfirmed_accuracy`). Of the condition register
only the update bit is used; over-range shows in the values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from aicalib_hw.interfaces import DriverInfo

from . import _wt_high_end_tables as tables
from ._wt_high_end import HighEndMeter


class YokogawaWT1800(HighEndMeter):
    """A power analyzer of the WT1800 family."""

    FAMILY: ClassVar[tables.Family] = tables.WT1800
    WORDS: ClassVar[Mapping[str, str]] = {"U": "URMS", "I": "IRMS"}

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="yokogawa-wt1800",
        role="power_meter",
        summary="Yokogawa WT1800, WT1800E power analyzers",
        manual="IM WT1801E-17EN, IM WT3001E-17EN",
        models=((r"YOKOGAWA", r"WT180\d(E|EM)?(-\S+)?"),),
        wires=("VXI-11", "USBTMC", "GPIB"),
        simulator="yokogawa-wt1800",
    )

    @property
    def _family(self) -> tables.Family:
        return tables.WT1800E if re.match(r"WT180\dE", self.identity.model, re.IGNORECASE) else tables.WT1800

    def _find_modules(self) -> tuple[int, ...]:
        """Read the mix from the model's name (5A3-50A3); where it is mixed, ask which element is which."""
        counts = {int(code): int(count) for code, count in re.findall(r"-(\d+)A(\d)", self.identity.model.upper())}
        fitted = {code: count for code, count in counts.items() if count}
        if len(fitted) == 1 and set(fitted) <= set(self._family.modules):
            ((code, count),) = fitted.items()
            return (code,) * count
        return super()._find_modules()
