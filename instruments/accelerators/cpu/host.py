"""What this machine has to compute with, found once when the driver is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from aicalib_hw.errors import NotSupported
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import ClockBasis, Path, Peak, Precision, PrecisionSupport

from . import gemm, native, operations_per_cycle
from .arithmetic import Kernel
from .calibration import chains_agree
from .cores import CoreOfHost, Quota, allowed_processors, find_cores, find_quota
from .processor import StatedClock, identity, maximum_clock, nominal_clock

ADDRESS = "cpu://local"

_PATHS = ("vector", "matrix")
_ORDER = ("fp64", "fp32", "bf16", "int8")
_NEEDED = {
    ("bf16", "vector"): "bf16 needs AVX512-BF16",
    ("int8", "vector"): "int8 needs AVX512-VNNI, AVX-VNNI or the dot-product extension of arm64",
    ("bf16", "matrix"): "bf16 needs AMX-BF16",
    ("int8", "matrix"): "int8 needs AMX-INT8",
    ("bf16", "gemm"): "numpy multiplies matrices in fp32 and fp64 only",
    ("int8", "gemm"): "numpy multiplies matrices in fp32 and fp64 only",
}


@dataclass(frozen=True, slots=True)
class Host:
    """kernels: the one to use, by precision and path. chains_agree: clock by additions over by multiplications."""

    processor: native.Processor
    cores: tuple[CoreOfHost, ...]
    kernels: Mapping[tuple[str, str], Kernel]
    quota: Quota | None
    chains_agree: float | None

    @classmethod
    def look(cls, most_cores: int | None = None, instruction_set: str | None = None) -> Self:
        """Find the cores, and the widest kernel of each precision and path, or those of `instruction_set`.

        Raises MissingExtra without the native extension, NotSupported for an instruction set that is not there.
        """
        kernels = [kernel for kernel in native.kernels() if kernel.supported]
        chosen: dict[tuple[str, str], Kernel] = {}
        for kernel in kernels:
            if instruction_set in (None, kernel.instruction_set):
                chosen.setdefault((kernel.precision, kernel.path), kernel)
        if not chosen:
            known = sorted({kernel.instruction_set for kernel in kernels})
            raise NotSupported(
                f"this processor cannot run {instruction_set}", where=ADDRESS, advice=f"it has: {', '.join(known)}"
            )
        return cls(
            processor=native.processor(),
            cores=find_cores(allowed_processors())[:most_cores],
            kernels={(name, path): chosen[name, path] for path in _PATHS for name in _ORDER if (name, path) in chosen},
            quota=find_quota(),
            chains_agree=chains_agree(),
        )

    def identity(self, address: str) -> Identity:
        """Return who the processor is."""
        return identity(self.processor, self.cores, address)

    def supports(self) -> tuple[PrecisionSupport, ...]:
        """Return what can be computed: the kernels, and numpy's matrix product."""
        own = [
            PrecisionSupport(
                _precision(kernel.precision), kernel.accumulator, cast(Path, kernel.path), kernel.instruction_set
            )
            for kernel in self.kernels.values()
        ]
        products = gemm.PRECISIONS if gemm.available() else ()
        return (*own, *(PrecisionSupport(_precision(name), name, "gemm", "numpy.matmul") for name in products))

    def kernel(self, precision: str, path: str = "vector") -> Kernel:
        """Return the kernel for a precision; raises NotSupported, saying what the processor lacks and what it has."""
        if (precision, path) in self.kernels:
            return self.kernels[precision, path]
        has = [
            f"{name}: {', '.join(f'{one.precision} ({one.instruction_set})' for one in kernels)}"
            for name in _PATHS
            if (kernels := [kernel for kernel in self.kernels.values() if kernel.path == name])
        ]
        has += [f"gemm: {', '.join(gemm.PRECISIONS)}"] if gemm.available() else []
        withheld = f"; the system withholds {', '.join(self.processor.withheld)}" if self.processor.withheld else ""
        raise NotSupported(
            f"this processor has no {path} path for {precision}",
            where=ADDRESS,
            why=f"{_NEEDED.get((precision, path), 'there is no kernel for it')}; the processor has "
            f"{', '.join(self.processor.instruction_sets) or 'no vector instruction set known here'}{withheld}",
            advice=f"what it can compute: {'; '.join(has)}",
        )

    def operations_per_cycle(self, kernel: Kernel) -> int | None:
        """Return what the table knows for one core; None also where the cores are of unlike classes."""
        if len({core.kind for core in self.cores}) > 1:
            return None
        return operations_per_cycle.of_kernel(self.processor, kernel.precision, kernel.instruction_set)

    def reaches_the_table(self) -> bool:
        """Whether the table's number is what our own kernels were seen to do on such a processor."""
        entry = operations_per_cycle.known(self.processor)
        return entry is not None and entry.measured

    def stated_clock(self, basis: ClockBasis) -> StatedClock:
        """Return the maximum or nominal clock as the system or the maker states it."""
        if basis == "nominal":
            return nominal_clock(self.processor)
        return maximum_clock(self.processor, self.cores)

    def theoretical_peak(self, kernel: Kernel, clock: StatedClock) -> Peak:
        """Return cores x operations a cycle x clock, its value None where a factor is not known."""
        unit = unit_of(kernel.precision)
        count, per_cycle, cores = unit.removesuffix("/s"), self.operations_per_cycle(kernel), len(self.cores)
        entry = operations_per_cycle.known(self.processor)
        known = f"{entry.name}: {entry.source}" if entry is not None and per_cycle else "not known for this processor"
        source = f"operations a cycle: {known}; clock: {clock.source}"
        if per_cycle is None or clock.hertz is None:
            return Peak(None, unit, f"{cores} cores x {count}/cycle x clock", source, clock.hertz, per_cycle)
        formula = f"{cores} cores x {per_cycle} {count}/cycle x {clock.hertz / 1e9:.4f} GHz"
        return Peak(cores * per_cycle * clock.hertz, unit, formula, source, clock.hertz, per_cycle)

    def notes(self) -> dict[str, str]:
        """Return what a reader of the capabilities should know besides."""
        notes = {"instruction sets": " ".join(self.processor.instruction_sets)}
        if self.processor.withheld:
            notes["withheld"] = (
                f"{' '.join(self.processor.withheld)}: the processor has it, but this system does not save its "
                "registers for this process (Linux: arch_prctl, ARCH_REQ_XCOMP_PERM)"
            )
        if self.quota is not None:
            notes["quota"] = f"{self.quota.processors:g} processors, {self.quota.source}"
        if all(kernel.instruction_set == "portable" for kernel in self.kernels.values()):
            notes["portable"] = "plain C only: a lower bound of what this processor can do, and no clock"
        return notes

    def evidence(self) -> dict[str, Any]:
        """Return what belongs beside every measurement, as plain data."""
        quota = self.quota
        return {
            "quota": {"processors": quota.processors, "source": quota.source} if quota is not None else None,
            "hypervisor": self.processor.hypervisor,
            "chains_agree": self.chains_agree,
        }


def unit_of(precision: str) -> str:
    """Return the unit of a rate: integer operations are not floating-point operations."""
    return "OP/s" if precision == "int8" else "FLOP/s"


def _precision(name: str) -> Precision:
    return cast(Precision, name)
