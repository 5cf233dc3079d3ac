"""What one NVIDIA device can compute: by our own kernels through the CUDA driver, and by cuBLASLt where it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, cast

from aicalib_hw.errors import AicalibError, NotSupported
from aicalib_hw.interfaces.accelerator import Path, Precision, PrecisionSupport

from ..offload import PreparedKernel
from . import cublaslt, cuda, kernel, nvml, product, ptx, theory

CUBLASLT = "cublasLt"


class Rates:
    """The device of NVML found in the CUDA driver; without it there is telemetry and nothing to measure rates with.

    implementation: of the path "matrix", None = the better one. obstacle: why nothing can be computed, "" if it can.
    multiprocessors: None without the CUDA driver.
    """

    def __init__(self, where: str, device: nvml.Device, implementation: str | None) -> None:
        self._where = where
        self._device = device
        self._implementation = implementation
        self._cuda: cuda.Cuda | None = None
        self._number = -1
        self._lt: cublaslt.CublasLt | None = None
        self._without_lt: dict[str, str] | None = None
        self.multiprocessors: int | None = None
        self.obstacle = ""
        try:
            found = cuda.Cuda(where)
            self._number = found.find(device.uuid, device.pci_address)
            self.multiprocessors = found.attribute(self._number, cuda.ATTRIBUTE_MULTIPROCESSORS)
            self._cuda = found
        except AicalibError as error:
            self.obstacle = "; ".join(part for part in (error.what, error.why) if part)

    @property
    def able(self) -> bool:
        """True if the CUDA driver has the device."""
        return self._cuda is not None

    def supports(self, edge: int) -> tuple[PrecisionSupport, ...]:
        """Return what can be computed, the better implementation first; edge: of a library's product."""
        missing = self.without_cublaslt(edge)
        return (
            *(
                PrecisionSupport(
                    cast(Precision, one.precision), one.accumulator, cast(Path, one.path), one.implementation
                )
                for one in self._kernels()
            ),
            *(
                PrecisionSupport(cast(Precision, name), "fp32", "gemm", CUBLASLT)
                for name in cublaslt.MODES
                if self._lt is not None and f"{CUBLASLT} {name}" not in missing
            ),
        )

    def without_cublaslt(self, edge: int) -> Mapping[str, str]:
        """Return which products cuBLASLt does not have on this device, and why; asked once, as it makes a context."""
        if self._cuda is None:
            return {}
        if self._without_lt is None:
            try:
                lt = cublaslt.CublasLt(self._where)
            except AicalibError as error:
                self._without_lt = {CUBLASLT: f"{error.what} ({error.advice})"}
            else:
                told = {name: product.why_not(self._cuda, lt, self._number, name, edge) for name in cublaslt.MODES}
                self._without_lt = {f"{CUBLASLT} {name}": why for name, why in told.items() if why}
                self._lt = lt
        return self._without_lt

    def prepared(
        self, support: PrecisionSupport, edge: int, seed: int, stopped: Callable[[], bool]
    ) -> AbstractContextManager[PreparedKernel]:
        """Return what puts this on the device for the calling thread; raises NotSupported without the CUDA driver."""
        if self._cuda is None or self.multiprocessors is None:
            raise NotSupported("rates cannot be measured here", where=self._where, why=self.obstacle)
        if support.path == "gemm" and self._lt is not None:
            return product.prepared(self._cuda, self._lt, self._number, support.precision, edge, seed, stopped)
        wanted = (support.precision, support.path, support.implementation)
        own = next(one for one in self._kernels() if (one.precision, one.path, one.implementation) == wanted)
        return kernel.prepared(self._cuda, self._number, own, self.multiprocessors, seed)

    def settings(self, support: PrecisionSupport, edge: int) -> Mapping[str, Any]:
        """Return what belongs to the definition of a rate besides the precision."""
        of_product = {"edge": edge, "library": self._lt.version()} if support.path == "gemm" and self._lt else {}
        return {"multiprocessors": self.multiprocessors, **of_product}

    def per_cycle(self, support: PrecisionSupport) -> int | None:
        """Return FLOP a cycle of one multiprocessor, None where it is not certain."""
        capability = self._device.capability
        if capability is None:
            return None
        return theory.flop_per_cycle(capability, support.precision, support.path, self._device.board)

    def _kernels(self) -> list[ptx.Kernel]:
        """Our kernels that run on this device, the better first; none without the CUDA driver."""
        capability = self._device.capability
        if self._cuda is None or capability is None:
            return []
        return [
            one
            for one in ptx.kernels()
            if ptx.runs_on(one.target, *capability)
            and (one.path == "vector" or self._implementation in (None, one.implementation))
        ]
