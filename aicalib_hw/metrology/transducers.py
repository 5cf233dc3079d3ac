"""Transducers between mains and meter: their limits of error, as components of the power measured through them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from aicalib_hw.errors import UsageError
from aicalib_hw.readings import Component

ARC_MINUTE = math.pi / 10800
"""One minute of arc in radians."""


@dataclass(frozen=True, slots=True)
class Transducer:
    """One transducer for each element of a meter, all of one model.

    ratio_error: limit of the relative error of the ratio (0.002 of class 0.2). phase_error: limit, rad.
    source: where the limits come from.
    """

    kind: Literal["current", "voltage"]
    model: str
    serial: str
    ratio_error: float
    phase_error: float
    source: str

    def components(self, power_factor: float | None) -> tuple[Component, ...]:
        """Return the relative components that it brings into an active power.

        The ratio enters with its limit, the phase error δ (rad) with tan φ · δ. The transducers of all phases are taken
        for one cause: their limits add linearly. power_factor: of the power, None = not known.

        Raises UsageError for a power factor of 0, or none, beside a phase error: its part has no limit then.
        """
        named = " ".join(part for part in (f"{self.kind} transducer", self.model, self.serial) if part)
        parts = [("ratio", self.ratio_error)]
        if self.phase_error:
            if not power_factor:
                raise UsageError(
                    f"what the phase error of the {named} does to the power has no limit",
                    why="the power factor is 0, or the meter does not tell it",
                    advice="measure with a meter that reads the power factor",
                )
            tangent = math.sqrt(max(0.0, 1 - power_factor**2)) / abs(power_factor)
            parts.append(("phase", tangent * self.phase_error))
        return tuple(
            Component(
                name=f"{self.kind} transducer, {name}",
                kind="B",
                unit="1",
                relative=True,
                half_width=limit,
                source=f"{named}: {self.source}",
                shared=f"{self.kind} transducer {self.model} {name}",
            )
            for name, limit in parts
        )
