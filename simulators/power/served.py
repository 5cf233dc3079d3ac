"""What a simulated power meter is to benches and tests, beside its wires: its serial number, and its truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..servers.instrument import SimulatedInstrument
from ..world import World
from ..world.faults import Fault


class MeterTruth:
    """What the meter's input truly is, W and J, on the world's clock."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def active_power(self) -> float:
        """Active power now, W."""
        return self._world.truth.active_power

    def energy_between(self, start: float, stop: float) -> float:
        """Energy between two world times, J."""
        return self._world.truth.energy_between(start, stop)


class SimulatedMeter(SimulatedInstrument):
    """A simulated meter; a family adds what `SimulatedInstrument` asks for, and an option `serial`."""

    def __init__(self, world: World, name: str, **options: Any) -> None:
        super().__init__(world, name, **options)
        self.truth = MeterTruth(world)

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault from now on: what was due before is not touched by it; see `world.faults`."""
        if self.device is not None:
            self.device.inputs.catch_up()
        super().inject(fault)

    @property
    def identity_serial(self) -> str:
        """The serial number on the wire; begins with SIM."""
        return str(self.options.serial)
