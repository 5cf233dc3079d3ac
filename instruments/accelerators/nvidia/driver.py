"""NVIDIA graphics processors: driver `nvidia`, addresses nvidia://0 (NVML's order) or nvidia://GPU-UUID.

Covered: telemetry (NVML API reference), clocks, and rates by our own kernels through the CUDA driver (CUDA Driver API):
fp64, fp32 and fp16 on the vector units, tf32, fp16 and bf16 on the matrix units by wgmma (compute capability 9.0) or
mma.sync (8.0 and later, a lower bound on 9.0); by the product of cuBLASLt, where it is installed and has one on the
device, path "gemm", tf32, fp16, bf16 and fp8. Not covered: MIG parts, int8, sparsity, tcgen05 of compute capability 10.
The kernels have been assembled for every target that they declare, and run on an H200; a locked clock never was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from aicalib_hw.errors import NotOpen, NotSupported, UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import (
    AcceleratorCapabilities,
    ClockBasis,
    Path,
    Peak,
    PeakMeasurement,
    Precision,
    PrecisionSupport,
    TelemetryReading,
)
from aicalib_hw.interfaces.instrument import DriverInfo, ReleaseReport, Setting
from aicalib_hw.readings import Instant

from ..offload import EDGE, Circumstances, MultiplyingAccelerator, PreparedKernel
from . import nvml, theory
from .clock_lock import ClockLock
from .rates import Rates
from .sample import Round

VERIFIED = "NVIDIA H200 with driver 580.159.04, Linux: telemetry, every path, part load; on no other, no locked clock"
_RAN_ON = {(9, 0)}
"""Compute capabilities of the devices that these kernels have run on."""


class NvidiaAccelerator(MultiplyingAccelerator):
    """One NVIDIA device: telemetry by NVML, rates by the CUDA driver, joined by UUID or PCI address.

    address: "nvidia://0" counts as NVML does, by PCI address. implementation: "wgmma" or "mma.sync" for the path
    "matrix", None = the better one that the device has. seed: of the random matrix operands. edge: m = n = k of
    cuBLASLt's product, a multiple of 16. foreign_processes: what to do when others compute on the device: "refuse"
    makes the result invalid, "allow" only says so (in a container NVML may know this very process by another number).
    timeout, trace: accepted as in every driver.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="nvidia",
        role="accelerator",
        summary="an NVIDIA graphics processor, by NVML and the CUDA driver",
        manual="NVML API reference, CUDA Driver API",
        schemes=("nvidia",),
        wires=("libnvidia-ml.so.1", "libcuda.so.1"),
        simulator="nvidia",
        verified=VERIFIED,
    )

    def __init__(
        self,
        address: str = "nvidia://0",
        *,
        timeout: float = 10.0,
        trace: Any = None,
        implementation: str | None = None,
        seed: int = 1,
        edge: int = EDGE,
        foreign_processes: str = "refuse",
    ) -> None:
        super().__init__(address, edge=edge, seed=seed)
        place = re.fullmatch(r"nvidia://(\d+|\S+-[0-9a-fA-F-]+)", address)
        if place is None:
            raise UsageError(f"{address!r} is not the address of an NVIDIA device", advice="write nvidia://0")
        if implementation not in (None, "wgmma", "mma.sync"):
            raise UsageError(f"unknown implementation {implementation!r}", advice="wgmma or mma.sync")
        if foreign_processes not in ("refuse", "allow"):
            raise UsageError(f"unknown choice {foreign_processes!r}", advice='"refuse" or "allow"')
        self._name = place[1]
        self._implementation = implementation
        self._foreign = foreign_processes
        self._nvml: nvml.Nvml | None = None
        self._device: nvml.Device | None = None
        self._round: Round | None = None
        self._rates: Rates | None = None
        self._measured_clock: dict[tuple[str, str], float] = {}
        self._clock_lock: ClockLock | None = None

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return one address a device, in NVML's order; raises MissingExtra or ConnectionFailed without NVML."""
        library = nvml.Nvml("nvidia://")
        try:
            return tuple(f"nvidia://{index}" for index in range(nvml.count(library)))
        finally:
            library.close()

    def _connect(self) -> None:
        self._nvml = nvml.Nvml(self.address)
        try:
            self._device = nvml.Device(self._nvml, self._name)
            self._round = Round(self._device)
            self._clock_lock = ClockLock(self._device, self.address)
            self._rates = Rates(self.address, self._device, self._implementation)
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        self._rates = self._device = self._round = self._clock_lock = None
        if self._nvml is not None:
            self._nvml.close()
        self._nvml = None

    def identify(self) -> Identity:
        """Ask the device who it is."""
        return self._here().identity(self.address)

    @property
    def capabilities(self) -> AcceleratorCapabilities:
        """What this very device provides, from probing each function and from its compute capability."""
        device, rates = self._here(), self._computes()
        notes = dict(rates.without_cublaslt(self._edge))
        if told := self._not_run():
            notes["kernels"] = told
        if rates.obstacle:
            notes["cuda"] = rates.obstacle
        if device.is_divided():
            notes["MIG"] = "MIG is on: the whole device cannot be measured"
        return AcceleratorCapabilities(
            notes=notes,
            supports=rates.supports(self._edge),
            units=rates.multiprocessors,
            telemetry=self._round.provided if self._round is not None else (),
            clock_lock=bool(device.supported_clocks()),
            load=rates.able,
        )

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> TelemetryReading:
        """Return power (W), energy (J), clocks (Hz), temperature (degC), utilisation (1), memory (B), throttle reasons.

        Each reading's channel says what it is a mean of, and its window when. Raises ConnectionLost if the device is
        lost, NotPermitted, DeadlineExceeded. fresh, timeout: the calls return at once, so neither makes a difference.
        """
        self._here()
        assert self._round is not None
        return self._round.read(self.identity)

    def _sample(self) -> TelemetryReading:
        return self.read()

    def theoretical_peak(self, precision: Precision, *, path: Path = "vector", clock: ClockBasis = "maximum") -> Peak:
        """Return multiprocessors x FLOP a cycle x clock, in FLOP/s; value None where a factor is not certain.

        clock: "maximum" and "nominal" (the board's default) as NVML states them, "measured" from the last
        `measure_peak` of this precision and path. Raises NotSupported for what the device cannot compute.
        """
        support = self._require_supported(precision, path)
        stated, basis = {
            "maximum": (self._here().maximum_clock(), "NVML, highest clock of the multiprocessors"),
            "nominal": (self._here().nominal_clock(), "NVML, default application clock"),
            "measured": (
                self._measured_clock.get((precision, path)),
                "mean of NVML's clock over the last measure_peak",
            ),
        }[clock]
        units, per_cycle = self._computes().multiprocessors, self._computes().per_cycle(support)
        source = f"FLOP a cycle: {theory.SOURCE if per_cycle else 'not certain for this device'}; clock: {basis}"
        if units is None or per_cycle is None or stated is None:
            return Peak(None, "FLOP/s", f"{units} multiprocessors x FLOP/cycle x clock", source, stated, per_cycle)
        formula = f"{units} multiprocessors x {per_cycle} FLOP/cycle x {stated / 1e9:.4f} GHz, dense"
        return Peak(units * per_cycle * stated, "FLOP/s", formula, source, stated, per_cycle)

    def lock_clocks(self, frequency: float) -> AbstractContextManager[None]:
        """Hold the multiprocessors' clock at `frequency` Hz and let it go on exit; throttling may still undercut it.

        Raises OutOfRange, naming the nearest clocks there are, NotPermitted without root, NotSupported.
        """
        self._here()
        assert self._clock_lock is not None
        return self._clock_lock.held(frequency)

    def snapshot(self) -> Mapping[str, Setting]:
        """Return the settings in force: locked clock, power limit (W), persistence, MIG, implementation, seed."""
        device, now, locked = self._here(), Instant.now(), self._locked_mhz
        limit = device.nvml.ask(device.nvml.api.nvmlDeviceGetEnforcedPowerLimit, device.handle)
        shown = {
            "locked clock": Setting(None if locked is None else locked * 1e6, "Hz", now, "driver"),
            "MIG": Setting(device.is_divided(), "", now, "instrument"),
            "implementation": Setting(self._implementation or "best", "", now, "driver"),
            "seed": Setting(self._seed, "1", now, "driver"),
            "edge": Setting(self._edge, "1", now, "driver"),
        }
        if limit is not None:
            shown["power limit"] = Setting(limit / 1e3, "W", now, "instrument")
        return shown

    def release(self) -> ReleaseReport:
        """Stop every load and let go of a clock that was locked here; idempotent; never raises."""
        report = super().release()
        return report if self._clock_lock is None else report + self._clock_lock.let_go()

    def _prepare(
        self, support: PrecisionSupport, stopped: Callable[[], bool]
    ) -> AbstractContextManager[PreparedKernel]:
        return self._computes().prepared(support, self._edge, self._seed, stopped)

    def _circumstances(self, support: PrecisionSupport, strangers: tuple[str, ...]) -> Circumstances:
        device, rates = self._here(), self._computes()
        per_cycle, units = rates.per_cycle(support), rates.multiprocessors
        way = "vector" if support.path == "vector" else f"{support.path}-{support.implementation}"
        told = f"others computed on the device: {', '.join(strangers)}" if strangers else ""
        return Circumstances(
            identity=self.identity,
            support=support,
            definition=f"flop/{support.precision}-accumulate-{support.accumulator}/{way}",
            unit="FLOP/s",
            per_cycle=per_cycle * units if per_cycle and units else None,
            maximum_clock=device.maximum_clock(),
            clock_step=device.clock_step(),
            clock_locked=self._locked_mhz is not None,
            strangers=strangers if self._foreign == "refuse" else (),
            remarks=tuple(filter(None, (self._not_run(), told if self._foreign == "allow" else ""))),
            peak_word="best-call" if support.path == "gemm" else "peak",
            settings={"seed": self._seed, "locked_mhz": self._locked_mhz, **rates.settings(support, self._edge)},
        )

    def _not_run(self) -> str:
        """Say so where no device of this kind has ever carried out our kernels, "" where one has."""
        capability = self._here().capability
        if capability in _RAN_ON:
            return ""
        told = "{}.{}".format(*capability) if capability else "unknown"
        return f"never run on a device of compute capability {told}"

    def _counters(self) -> Mapping[str, int]:
        return self._here().violations()

    def _evaluated(self, result: PeakMeasurement) -> PeakMeasurement:
        if result.clock is not None:
            settings = result.sustained.settings
            self._measured_clock[settings["precision"], settings["path"]] = float(result.clock)
        return result

    def _require_whole_device(self) -> None:
        if self._here().is_divided():
            raise NotSupported(
                "MIG is on, so the whole device cannot be measured",
                where=self.address,
                advice="switch MIG off (nvidia-smi -mig 0), which needs root and an idle device",
            )

    def _obstacle(self) -> str:
        return self._computes().obstacle

    def _strangers(self) -> tuple[str, ...]:
        return tuple(f"process {pid}" for pid in self._here().processes() if pid != os.getpid())

    @property
    def _locked_mhz(self) -> int | None:
        return None if self._clock_lock is None else self._clock_lock.mhz

    def _computes(self) -> Rates:
        self._here()
        assert self._rates is not None
        return self._rates

    def _here(self) -> nvml.Device:
        if self._device is None:
            raise NotOpen("nvidia is not open", where=self.address, advice="use it in a `with`, or call open()")
        return self._device
