"""What every simulated accelerator is: one device of the world's node, whose vendor libraries are loaded by path.

Work that any program launches on it, and the platform's load, raise its clock, heat and power; the power is drawn from
the platform's mains. Limits of power and temperature act as the governor in `native/simulated/physics.c` says.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from .. import vendor_libraries
from ..vendor_libraries import ENVIRONMENT, path_of
from ..world import Node, World
from ..world.faults import fault_of

Kind = Literal[
    "lost",
    "no_permission",
    "timeout",
    "energy_frozen",
    "mig",
    "occupied",
    "wrong_result",
    "power_brake",
    "power_gain",
    "energy_gain",
    "ecc_corrected",
    "ecc_uncorrected",
    "no_driver",
    "mismatch",
]
_DEVICE_BITS = {
    "lost": 1,
    "no_permission": 2,
    "timeout": 4,
    "energy_frozen": 8,
    "mig": 16,
    "occupied": 64,
    "wrong_result": 128,
    "power_brake": 256,
}
_NODE_BITS = {"no_driver": 1, "mismatch": 2}


class DeviceFault(BaseModel):
    """One fault, from now on: a state, not an occasion.

    lost: fallen off the bus. no_permission: settings are refused (NVIDIA), everything is (Ascend). timeout: the driver
    does not answer. energy_frozen, energy_gain: the energy counter lies. power_gain: the reported power does. mig: the
    GPU is partitioned. occupied: another container holds the NPU. wrong_result: the matrix unit computes wrongly.
    power_brake: the chassis asks for less. ecc_corrected, ecc_uncorrected: `amount` memory errors. no_driver, mismatch:
    of the whole node, at the next initialisation. amount: a factor for the gains, a count for memory errors.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    amount: float = Field(default=1.0, gt=0)


class DeviceOptions(BaseModel):
    """Options that every simulated accelerator has; what is left out is the model's own.

    serial: begins with SIM. power_limit: enforced cap, W. thermal_resistance: K/W to the cooling air.
    temperature_limit: degC at which it begins to lower its clock. mma_sync: share of the matrix rate that `mma.sync`
    reaches (unconfirmed, 0.62 on Hopper).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    serial: str | None = Field(default=None, pattern="^SIM", max_length=24)
    power_limit: float | None = Field(default=None, gt=0)
    thermal_resistance: float | None = Field(default=None, gt=0)
    temperature_limit: float | None = Field(default=None, gt=0)
    mma_sync: float | None = Field(default=None, gt=0, le=1)


class DeviceTruth:
    """What is really so with one device. Power in W, energy in J since the beginning, clock in Hz, degC, busy s."""

    def __init__(self, node: Node, index: int) -> None:
        self._node = node
        self._index = index

    @property
    def power(self) -> float:
        """Power drawn now, W."""
        return self._node.get(self._index, "power")

    @property
    def energy(self) -> float:
        """Energy drawn so far, J."""
        return self._node.get(self._index, "energy")

    @property
    def clock(self) -> float:
        """Clock of the cores, Hz."""
        return self._node.get(self._index, "clock")

    @property
    def temperature(self) -> float:
        """Temperature of the die, degC."""
        return self._node.get(self._index, "temperature")

    @property
    def limits(self) -> frozenset[str]:
        """Why the clock is below its highest now: idle, power, thermal-soft, thermal-hard, locked, brake."""
        return self._node.limits(self._index)

    @property
    def operations(self) -> Mapping[str, float]:
        """Arithmetic operations finished so far by execution unit, counted by the simulator itself."""
        return self._node.operations(self._index)

    @property
    def busy(self) -> float:
        """How long it has been busy, s of world time."""
        return self._node.busy(self._index)


class SimulatedDevice:
    """One device of the world's node. Drivers in this process find it through the libraries that `start()` loads."""

    simulates: ClassVar[str]
    wires: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[DeviceOptions]]
    libraries: ClassVar[tuple[str, ...]]

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name = name
        self.world = world
        self.options = self.Options.model_validate(options)
        self.address = ""
        self.exchanges: list[tuple[str, bytes]] = []
        model = self.model
        self.number = sum(1 for held in world.node.devices if held.split("-")[0] == model.split("-")[0])
        self.serial = self.options.serial or f"SIM{world.seed % 10**6:06d}{len(world.node.devices):04d}"
        self.index = world.node.add(model, self.serial)
        self.truth = DeviceTruth(world.node, self.index)
        for option, quantity in (
            ("power_limit", "power_limit"),
            ("thermal_resistance", "thermal_resistance"),
            ("temperature_limit", "temperature_soft"),
            ("mma_sync", "mma_sync"),
        ):
            value = getattr(self.options, option)
            if value is not None:
                world.node.set(self.index, quantity, value)

    @property
    def model(self) -> str:
        """The key of its model in `native/simulated/models.c`."""
        raise TypeError("a family says which model it is")

    @property
    def identity_serial(self) -> str:
        """The serial number that the vendor's library gives; begins with SIM."""
        return self.serial

    @property
    def preload(self) -> dict[str, str]:
        """The environment that gives a program started with it this device and its siblings."""
        return {"LD_LIBRARY_PATH": str(vendor_libraries.FOLDER), ENVIRONMENT: str(self.world.node.path)}

    def start(self) -> str:
        """Load the vendor's libraries into this process and point them at this world; return the address."""
        for library in self.libraries:
            loaded = ctypes.CDLL(str(path_of(library)), mode=ctypes.RTLD_GLOBAL)
            if hasattr(loaded, "aicalib_simulated_use"):
                loaded.aicalib_simulated_use(str(self.world.node.path).encode())
        self.address = self._address()
        return self.address

    def stop(self) -> None:
        """Take the device off the bus; idempotent."""
        self.inject("lost")

    def inject(self, fault: DeviceFault | Mapping[str, Any] | str) -> None:
        """Let a fault happen now: a DeviceFault, its data, or just its kind; raises UsageError."""
        made = fault_of(DeviceFault, fault)
        node = self.world.node
        if made.kind in _DEVICE_BITS:
            node.fault(self.index, _DEVICE_BITS[made.kind])
        elif made.kind in _NODE_BITS:
            node.fault(-1, _NODE_BITS[made.kind])
        elif made.kind in ("power_gain", "energy_gain"):
            node.set(self.index, made.kind, made.amount)
        else:
            node.count_ecc(self.index, **{made.kind.removeprefix("ecc_"): round(made.amount)})

    def clear(self) -> None:
        """End every fault of this device, and of the node."""
        self.world.node.fault(self.index, 0, clear=0xFFFFFFFF)
        self.world.node.fault(-1, 0, clear=0xFFFFFFFF)
        self.world.node.set(self.index, "power_gain", 1.0)
        self.world.node.set(self.index, "energy_gain", 1.0)

    def _address(self) -> str:
        raise TypeError("a family says how it is addressed")
