"""Simulated Ascend 910 (Atlas 900) and 910B NPUs, through simulated libdcmi, libascendcl and libopapi.

From the DCMI declarations in mind-cluster and gpustack-runtime, both under Apache-2.0, and the interface of AscendCL
and of aclnnMatmul as open programs use them. One NPU a card, with an MCU beside it. Not simulated: virtual NPUs, dcmiv2
of the Ascend 950, super pods.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from ..vendor_libraries import ASCEND
from .device import DeviceOptions, SimulatedDevice


class Options(DeviceOptions):
    """`options` of a simulated Ascend NPU. model: which chip; 910b is the 910B3."""

    model: Literal["910", "910b", "910b1", "910b2", "910b4"] = "910b"


class SimulatedAscendNpu(SimulatedDevice):
    """One simulated NPU: card N, device 0."""

    simulates: ClassVar[str] = "ascend"
    Options: ClassVar[type[DeviceOptions]] = Options
    libraries: ClassVar[tuple[str, ...]] = ASCEND
    wires: ClassVar[tuple[str, ...]] = ASCEND

    @property
    def model(self) -> str:
        """The key of its model in `native/simulated/models.c`."""
        assert isinstance(self.options, Options)
        return f"ascend-{self.options.model}"

    def _address(self) -> str:
        return f"ascend://{self.number}/0"
