"""Accelerator: one processor that computes, CPU included: telemetry, clocks, peak rate, steady load."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self, runtime_checkable

from aicalib_hw.interfaces.instrument import Capabilities, Instrument, Progress
from aicalib_hw.readings import Measurement, Reading, Window

Precision = Literal["fp64", "fp32", "tf32", "hf32", "fp16", "bf16", "fp8e4m3", "int8"]
Path = Literal["vector", "matrix", "gemm"]
ClockBasis = Literal["maximum", "nominal", "measured"]

Ready = Callable[[float], bool]
"""How accelerators that are to work together begin together: called when the own warm-up is over, by one thread, again
and again until it returns True, because the others are warm too. Meanwhile the device goes on working; nothing counts.

The argument is the time in s that the call may wait for the others, 0 where the calling thread itself keeps the device
busy. Between two calls the thread looks whether it was aborted. Raises Aborted if another accelerator failed."""


@runtime_checkable
class LoadRun(Protocol):
    """A steady load that runs until its duration is over or `stop()`; stops on leaving its `with`."""

    @property
    def fraction(self) -> float:
        """The asked fraction of full load, 0…1."""

    @property
    def running(self) -> bool:
        """True while the load is applied."""

    def achieved(self) -> float | None:
        """Return the fraction of full load achieved since the last call or the start, 0…1; None: it is not measured."""

    def others(self) -> float | None:
        """Return the share, 0…1, of this host's processors that other programs used since the last call or the start.

        None where that cannot be told. It adds to `achieved` only where the device is these processors.
        """

    def stop(self) -> None:
        """End the load now; idempotent, never raises."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True, slots=True)
class PrecisionSupport:
    """One thing the device can compute: precision, accumulator, path, and what implements it ("avx512", …)."""

    precision: Precision
    accumulator: str
    path: Path
    implementation: str


@dataclass(frozen=True, slots=True)
class AcceleratorCapabilities(Capabilities):
    """supports: what `measure_peak` can run. units: cores or multiprocessors used. Rest: None = not provided.

    telemetry: names of the fields of `TelemetryReading` that this device provides.
    host_processors: the device is the processors of this host, so that other programs of this host load it too.
    """

    supports: tuple[PrecisionSupport, ...] = ()
    units: int | None = None
    telemetry: tuple[str, ...] = ()
    clock_lock: bool | None = None
    load: bool | None = None
    host_processors: bool | None = None

    def supported(self, precision: str, path: str) -> PrecisionSupport | None:
        """Return the support entry for this precision and path, None if there is none."""
        return next((s for s in self.supports if (s.precision, s.path) == (precision, path)), None)


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """Why a device runs slower than it could; None = the device cannot tell."""

    thermal: bool | None = None
    power_cap: bool | None = None
    power_brake: bool | None = None
    current: bool | None = None
    hardware: bool | None = None
    raw: str = ""

    @property
    def active(self) -> bool:
        """True if any known reason is active."""
        return any((self.thermal, self.power_cap, self.power_brake, self.current, self.hardware))


@dataclass(frozen=True, slots=True)
class TelemetryReading:
    """What the device says of itself, in one window: W, J, Hz, degC, ratio, B; None = not provided."""

    window: Window
    power: Reading | None = None
    energy: Reading | None = None
    clock: Reading | None = None
    memory_clock: Reading | None = None
    temperature: Reading | None = None
    utilisation: Reading | None = None
    memory_used: Reading | None = None
    throttle: ThrottleState | None = None

    def __str__(self) -> str:
        """What is provided, each with its unit, and when."""
        said = {"power": self.power, "energy": self.energy, "clock": self.clock, "memory clock": self.memory_clock,
                "temperature": self.temperature, "utilisation": self.utilisation,
                "memory used": self.memory_used}  # fmt: skip
        texts = [f"{name} {reading.shown}" for name, reading in said.items() if reading is not None]
        return ", ".join([*texts, str(self.window.stop)])


@dataclass(frozen=True, slots=True)
class Peak:
    """A theoretical peak: value in `unit`, the formula with its numbers, and where these come from.

    value is None where the operations a cycle are not known for this device; `source` says why.
    """

    value: float | None
    unit: str
    formula: str
    source: str
    clock_hz: float | None = None
    operations_per_cycle: float | None = None


@dataclass(frozen=True, slots=True)
class PeakMeasurement:
    """Two measurements of one run, of different definition, which nothing compares with each other.

    sustained: exact operations over the common window of all units: what a calibration reports.
    peak: from slices that overlap in time on all units.
    efficiency_*: of the peak, against the theoretical peak at that clock; None = theory unknown.
    clock: Hz under load. share: CPU time / wall time obtained, 0…1. rejected: runs not used.
    energy: J by the device's counter and by integration, where it has them.
    """

    sustained: Measurement
    peak: Measurement
    clock: Reading | None
    efficiency_measured_clock: float | None
    efficiency_maximum_clock: float | None
    share: float | None
    throttle: ThrottleState | None
    rejected: int
    energy: Mapping[str, float] = field(default_factory=dict)


class Accelerator(Instrument):
    """One device that computes, addressed as cpu://local, nvidia://0, ascend://0/0 or opencl://0/0."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> AcceleratorCapabilities:
        """What this very device can do, from probing."""

    @abc.abstractmethod
    def read(self, *, fresh: bool = True, timeout: float | None = None) -> TelemetryReading:
        """Return one telemetry reading."""

    @abc.abstractmethod
    def stream(self, *, interval: float = 1.0, duration: float | None = None) -> Iterator[TelemetryReading]:
        """Yield a telemetry reading every `interval` s for `duration` s, or until closed."""

    @abc.abstractmethod
    def theoretical_peak(self, precision: Precision, *, path: Path = "vector", clock: ClockBasis = "maximum") -> Peak:
        """Return the data-sheet peak with formula and source; raises NotSupported for what it cannot compute."""

    @abc.abstractmethod
    def lock_clocks(self, frequency: float) -> AbstractContextManager[None]:
        """Hold the clock at `frequency` Hz and restore it on exit; raises NotSupported where it cannot."""

    @abc.abstractmethod
    def measure_peak(
        self,
        precision: Precision = "fp32",
        *,
        path: Path = "vector",
        duration: float = 1.0,
        ready: Ready | None = None,
        progress: Progress | None = None,
    ) -> PeakMeasurement:
        """Run the peak kernel for `duration` s on all units and evaluate it.

        ready: called when the device is warm, while it goes on working, until it returns True, and what counts begins;
        None = begin at once.
        Raises NotSupported for a precision or path this device lacks, Aborted after `abort()`.
        """

    @abc.abstractmethod
    def run_load(self, fraction: float, *, duration: float | None, precision: Precision = "fp32") -> LoadRun:
        """Start a steady load of `fraction` (0…1) of all units for `duration` s, None = until stopped."""
