"""This machine's processor as an accelerator: driver `cpu`, address cpu://local.

Covered: the vector units of every physical core that this process may use (fp64, fp32, bf16 and int8
where the processor has them), AMX (path "matrix", bf16 and int8), the matrix product of numpy's BLAS
(path "gemm"), a steady part load, and Linux's own telemetry. Not covered: other matrix units (SME), and
setting the clock. Method and sources: native/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from aicalib_hw.errors import Aborted, NotOpen, NotSupported, UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import (
    AcceleratorCapabilities,
    ClockBasis,
    Path,
    Peak,
    PeakMeasurement,
    Precision,
    Ready,
    TelemetryReading,
)
from aicalib_hw.interfaces.instrument import DriverInfo, Progress, Setting
from aicalib_hw.readings import Instant

from ..computing import ComputingAccelerator
from . import gemm
from .arithmetic import Kernel
from .calibration import SLICES_PER_CLOCK
from .host import ADDRESS, Host
from .kernel_run import KernelRun
from .load import CpuLoad
from .processor import StatedClock
from .telemetry import Telemetry

_FRESH_S = 0.1


class CpuAccelerator(ComputingAccelerator):
    """The processor of this machine.

    address: "cpu://local". cores: use only the first so many physical cores, None = all that the affinity
    mask allows. instruction_set: use this one ("avx2") and not the widest. timeout, trace: accepted as in
    every driver; nothing is waited for and nothing goes over a wire here.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="cpu",
        role="accelerator",
        summary="the processor of this machine, measured by native kernels",
        manual="native/README.md",
        schemes=("cpu",),
        wires=("this host",),
        verified="Intel Emerald Rapids and AMD EPYC Zen 5 under KVM, Linux; NEON and SVE for their results only, in an "
        "emulator",
    )

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        timeout: float = 10.0,
        trace: Any = None,
        cores: int | None = None,
        instruction_set: str | None = None,
    ) -> None:
        super().__init__(address)
        if address.rstrip("/") != ADDRESS:
            raise UsageError(f"{address!r} is not the address of a processor", advice=f"the only one is {ADDRESS}")
        if cores is not None and cores < 1:
            raise UsageError(f"{cores} cores cannot be measured", where=address, advice="give 1 or more")
        self._most_cores = cores
        self._instruction_set = instruction_set
        self._host: Host | None = None
        self._measured_clock: dict[Kernel, float] = {}
        self._run: KernelRun | None = None

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return the one address: every machine has a processor."""
        return (ADDRESS,)

    def _connect(self) -> None:
        self._host = Host.look(self._most_cores, self._instruction_set)

    def _disconnect(self) -> None:
        self._host = None

    def identify(self) -> Identity:
        """Ask the processor who it is; it has no serial number, and the microcode counts as firmware."""
        return self._opened_host().identity(self.address)

    @property
    def capabilities(self) -> AcceleratorCapabilities:
        """What this processor can compute, from CPUID or the kernel, and what this host tells of it."""
        host = self._opened_host()
        return AcceleratorCapabilities(
            notes=host.notes(),
            supports=host.supports(),
            units=len(host.cores),
            telemetry=self._telemetry().provided,
            clock_lock=None,
            load=True,
            host_processors=True,
        )

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> TelemetryReading:
        """Return utilisation (0…1), clock (Hz), temperature (degC), memory (B), power (W), energy (J), as far as told.

        fresh: means over the next 0.1 s, or `timeout` s if that is shorter; else what the counters say now,
        which is no mean: utilisation and power are then None. Ends early on `abort()`.
        """
        if not fresh:
            return self._telemetry().read(None)
        wait = _FRESH_S if timeout is None else min(_FRESH_S, timeout)
        with self._abortable() as stop:
            return self._telemetry().read(lambda: stop.wait(wait))

    def _reading_after(self, wait: Callable[[], object]) -> TelemetryReading:
        return self._telemetry().read(wait)

    def theoretical_peak(self, precision: Precision, *, path: Path = "vector", clock: ClockBasis = "maximum") -> Peak:
        """Return cores x operations a cycle x clock, in FLOP/s (OP/s for int8).

        clock: "maximum" and "nominal" as stated by the system, "measured" as found by the last `measure_peak`.
        The value is None where the processor is not in the table, or the clock is not known; `source` says which.
        Raises NotSupported for what this processor cannot compute.
        """
        host = self._opened_host()
        kernel = host.kernel(precision, "vector" if _is_gemm(precision, path) else path)
        if clock == "measured":
            stated = StatedClock(self._measured_clock.get(kernel), "clock chain of the last measure_peak")
        else:
            stated = host.stated_clock(clock)
        return host.theoretical_peak(kernel, stated)

    def lock_clocks(self, frequency: float) -> AbstractContextManager[None]:
        """Raise NotSupported: clocks are measured here, not set."""
        raise NotSupported(
            "the clock of the processor cannot be set from here",
            where=self.address,
            why="it needs rights over cpufreq and differs from one frequency driver to the next",
            advice="set it with the system's own tool (cpupower frequency-set) before measuring",
        )

    def measure_peak(
        self,
        precision: Precision = "fp32",
        *,
        path: Path = "vector",
        duration: float = 1.0,
        ready: Ready | None = None,
        progress: Progress | None = None,
    ) -> PeakMeasurement:
        """Run the kernel (or, path "gemm", numpy's matrix product) for `duration` s on all cores and evaluate it.

        duration: s, 0.1 or more; 10 or more for a calibration. ready: whether other accelerators are warm too.
        Raises NotSupported for what the processor lacks, Aborted after `abort()`, LockedByOther while another
        measurement or load of this object runs.
        """
        host = self._opened_host()
        self._require_long_enough(duration)
        with self._computing(), self._abortable() as stop:
            if _is_gemm(precision, path):
                result = gemm.measure(
                    precision,
                    duration,
                    identity=self.identity,
                    cores=len(host.cores),
                    stopped=stop.is_set,
                    ready=ready,
                    progress=progress,
                )
            else:
                run = KernelRun(host, host.kernel(precision, path), self.identity, stop)
                result = self._measure_kernel(run, duration, ready, progress)
            if result is None or stop.is_set():
                raise Aborted("the measurement was aborted", where=self.address)
        if not _is_gemm(precision, path) and result.clock is not None:
            self._measured_clock[host.kernel(precision, path)] = float(result.clock)
        return result

    def run_load(
        self,
        fraction: float,
        *,
        duration: float | None,
        precision: Precision = "fp32",
        period: float = 0.005,
        seed: int = 0,
    ) -> CpuLoad:
        """Start a steady load of `fraction` (0…1) of all cores for `duration` s, None = until stopped.

        period: s of one turn of work and sleep, 0.0005 to 0.1, jittered by a quarter from `seed`: keep it well
        below the update interval of a power meter that watches. Raises NotSupported, UsageError, LockedByOther.
        """
        host = self._opened_host()
        self._require_fraction(fraction)
        if not 0.0005 <= period <= 0.1:
            raise UsageError(f"a period of {period} s is out of range", where=self.address, advice="0.0005 s to 0.1 s")
        kernel = host.kernel(precision)
        return self._started(lambda: CpuLoad(kernel, host.cores, fraction, duration=duration, period=period, seed=seed))

    def snapshot(self) -> Mapping[str, Setting]:
        """Return the settings in force: cores, kernels, quota."""
        host, now = self._opened_host(), Instant.now()
        kernels = " ".join(f"{kernel.precision}/{kernel.instruction_set}" for kernel in host.kernels.values())
        return {
            "cores": Setting(len(host.cores), "1", now, "driver"),
            "processors": Setting(" ".join(str(core.processor) for core in host.cores), "", now, "driver"),
            "kernels": Setting(kernels, "", now, "driver"),
            "quota": Setting(host.quota.processors if host.quota else None, "1", now, "instrument"),
            "slices_per_clock": Setting(SLICES_PER_CLOCK, "1", now, "fixed"),
        }

    def _opened_host(self) -> Host:
        if self._host is None:
            raise NotOpen("cpu is not open", where=self.address, advice="use it in a `with`, or call open()")
        return self._host

    def _telemetry(self) -> Telemetry:
        return Telemetry(self._opened_host().cores, self.identity)

    def _measure_kernel(
        self, run: KernelRun, duration: float, ready: Ready | None, progress: Progress | None
    ) -> PeakMeasurement | None:
        self._run = run
        try:
            return run.measure(duration, ready=ready, progress=progress)
        finally:
            self._run = None

    def _interrupt(self) -> None:
        run = self._run
        if run is not None:
            run.stop()


def _is_gemm(precision: str, path: str) -> bool:
    return path == "gemm" and precision in gemm.PRECISIONS
