"""Simulated NVIDIA H100, H200 and A100, through simulated libnvidia-ml.so.1 and libcuda.so.1.

From the NVML API's declarations in nvidia-ml-py and the published behaviour of its power sensors. Not simulated: MIG
instances (a partitioned GPU only says that it is), NVSwitch, vGPU.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from ..vendor_libraries import NVIDIA
from .device import DeviceOptions, SimulatedDevice


class Options(DeviceOptions):
    """`options` of a simulated NVIDIA GPU. model: which card."""

    model: Literal["h100", "h200", "a100"] = "h100"


class SimulatedNvidiaGpu(SimulatedDevice):
    """One simulated GPU; in NVML's order, which is that of the PCI bus."""

    simulates: ClassVar[str] = "nvidia"
    Options: ClassVar[type[DeviceOptions]] = Options
    libraries: ClassVar[tuple[str, ...]] = NVIDIA
    wires: ClassVar[tuple[str, ...]] = NVIDIA

    @property
    def model(self) -> str:
        """The key of its model in `native/simulated/models.c`."""
        assert isinstance(self.options, Options)
        return f"nvidia-{self.options.model}"

    def _address(self) -> str:
        return f"nvidia://{self.number}"
