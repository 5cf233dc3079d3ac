"""Huawei Ascend processors: driver `ascend`, addresses ascend://CARD/DEVICE.

Covered: telemetry by DCMI (Ascend DCMI API), and the rate of the matrix product aclnnMatmul (CANN AscendCL API), path
"gemm", in fp16, bf16, fp32 and hf32 as far as the chip has them; its cubeMathType is part of the definition. On an
Ascend 910 (Atlas 900) there is no true fp32, and none is reported. Not covered: vector units, int8, vNPU parts, setting
clocks; DCMI has no energy counter, so energy is integrated power. Never run on hardware.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, cast

from aicalib_hw.errors import AicalibError, ConnectionFailed, NotOpen, NotSupported, UsageError
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
from aicalib_hw.interfaces.instrument import DriverInfo, Setting
from aicalib_hw.readings import Instant

from ..offload import EDGE, Circumstances, MultiplyingAccelerator, PreparedKernel
from . import acl, dcmi, theory
from .matmul import Product, prepared

NEVER_RUN = "never run on hardware"


class AscendAccelerator(MultiplyingAccelerator):
    """One Ascend processor: telemetry by DCMI, rates by AscendCL.

    address: "ascend://0/0" is card and device as DCMI counts them. edge: m = n = k of the matrix product, a multiple
    of 16. seed: of the random operands. acl_device: the runtime's number of this device, None = found by UUID or DCMI's
    logic id. timeout, trace: accepted as in every driver.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="ascend",
        role="accelerator",
        summary="a Huawei Ascend processor, by DCMI and AscendCL",
        manual="Ascend DCMI API, CANN AscendCL API",
        schemes=("ascend",),
        wires=("libdcmi.so", "libascendcl.so", "libnnopbase.so", "libopapi.so"),
        simulator="ascend",
        verified=NEVER_RUN,
    )

    launch_s = 0.05

    def __init__(
        self,
        address: str = "ascend://0/0",
        *,
        timeout: float = 10.0,
        trace: Any = None,
        edge: int = EDGE,
        seed: int = 1,
        acl_device: int | None = None,
    ) -> None:
        super().__init__(address, edge=edge, seed=seed)
        place = re.fullmatch(r"ascend://(\d+)/(\d+)", address)
        if place is None:
            raise UsageError(f"{address!r} is not the address of an Ascend device", advice="write ascend://CARD/DEVICE")
        self._place = (int(place[1]), int(place[2]))
        self._given_device = acl_device
        self._dcmi: dcmi.Dcmi | None = None
        self._device: dcmi.Device | None = None
        self._acl: acl.Acl | None = None
        self._acl_device = -1
        self._joined_by = ""
        self._without_acl = ""
        self._measured_clock: dict[tuple[str, str], float] = {}

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return one address a processor; raises ConnectionFailed where the Ascend driver is absent."""
        return tuple(f"ascend://{card}/{device}" for card, device in dcmi.Dcmi("ascend://").devices())

    def _connect(self) -> None:
        library = dcmi.Dcmi(self.address)
        there = library.devices()
        if self._place not in there:
            listed = ", ".join(f"ascend://{card}/{device}" for card, device in there)
            raise ConnectionFailed(
                "there is no such Ascend device", where=self.address, advice=f"there are: {listed or 'none'}"
            )
        self._dcmi, self._device = library, dcmi.Device(library, *self._place)
        self._find_acl(self._device)

    def _find_acl(self, device: dcmi.Device) -> None:
        """Find the same device in the runtime; without it there is telemetry and nothing to measure rates with."""
        self._acl, self._without_acl = None, ""
        try:
            found = acl.Acl(self.address)
            if self._given_device is not None:
                self._acl_device, self._joined_by = self._given_device, "given"
            else:
                die = bytes(device.die.words) if device.die is not None else None
                self._acl_device, self._joined_by = acl.find(found, die, device.logic_id)
            self._acl = found
        except AicalibError as error:
            self._without_acl = "; ".join(part for part in (error.what, error.why) if part)

    def _disconnect(self) -> None:
        self._acl = self._device = self._dcmi = None

    def identify(self) -> Identity:
        """Ask the device who it is; the number of its die is the UUID."""
        return self._here().identity(self.address)

    @property
    def capabilities(self) -> AcceleratorCapabilities:
        """What this very device provides, from probing each function and from the name of its chip."""
        device = self._here()
        able = theory.precisions(device.name) if self._acl is not None else ()
        notes = {"all figures": NEVER_RUN}
        if self._without_acl:
            notes["AscendCL"] = self._without_acl
        notes |= {name: theory.why_not(device.name, name) for name in theory.MODES if name not in able and self._acl}
        return AcceleratorCapabilities(
            notes=notes,
            supports=tuple(
                PrecisionSupport(cast(Precision, name), theory.MODES[name].accumulator, "gemm", _implementation(name))
                for name in able
            ),
            units=device.cores,
            telemetry=device.provided,
            clock_lock=None,
            load=self._acl is not None,
        )

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> TelemetryReading:
        """Return power (W), clocks (Hz), temperature (degC), utilisation (1), memory (B) and throttle reasons.

        A value that the device does not have at the moment has the status NO_DATA. Raises ConnectionLost if the device
        is lost, DeadlineExceeded, NotPermitted. fresh, timeout: the calls return at once.
        """
        return self._here().read(self.identity)

    def _sample(self) -> TelemetryReading:
        return self.read()

    def theoretical_peak(self, precision: Precision, *, path: Path = "vector", clock: ClockBasis = "maximum") -> Peak:
        """Return AI cores x operations a cycle x clock, in FLOP/s; value None where a factor is not certain.

        clock: "maximum" and "nominal" are the rated clock by DCMI, "measured" that of the last `measure_peak`.
        Raises NotSupported for what the device cannot compute.
        """
        self._require_supported(precision, path)
        device = self._here()
        if clock == "measured":
            stated, basis = (
                self._measured_clock.get((precision, path)),
                "mean of DCMI's clock over the last measure_peak",
            )
        else:
            stated, basis = device.clock(dcmi.CLOCK_RATED), "DCMI, rated clock of the AI cores"
        per_cycle = theory.flop_per_cycle(precision, device.cores)
        operations = theory.SOURCE if per_cycle else theory.UNKNOWN.format(precision)
        source = f"operations: {operations}; clock: {basis}; {NEVER_RUN}"
        if per_cycle is None or stated is None:
            return Peak(None, "FLOP/s", f"{device.cores} AI cores x FLOP/cycle x clock", source, stated, per_cycle)
        formula = f"{device.cores} AI cores x {theory.FLOP_PER_CYCLE} FLOP/cycle x {stated / 1e9:.4f} GHz, dense"
        return Peak(per_cycle * stated, "FLOP/s", formula, source, stated, theory.FLOP_PER_CYCLE)

    def lock_clocks(self, frequency: float) -> AbstractContextManager[None]:
        """Raise NotSupported: DCMI sets no clock of the AI cores."""
        raise NotSupported("the clock of an Ascend processor cannot be set from here", where=self.address)

    def snapshot(self) -> Mapping[str, Setting]:
        """Return the settings in force: size of the product, seed, and how runtime and telemetry were joined."""
        self._here()
        now = Instant.now()
        return {
            "edge": Setting(self._edge, "1", now, "driver"),
            "seed": Setting(self._seed, "1", now, "driver"),
            "runtime's device": Setting(self._acl_device if self._acl else None, "", now, "driver"),
            "joined by": Setting(self._joined_by, "", now, "driver"),
        }

    @contextmanager
    def _prepare(self, support: PrecisionSupport, stopped: Callable[[], bool]) -> Iterator[PreparedKernel]:
        if self._acl is None:
            raise NotSupported("rates cannot be measured here", where=self.address, why=self._without_acl)
        mode = theory.MODES[support.precision]
        product = Product(mode.data_type, mode.cube_math_type, self._edge)
        with prepared(self._acl, self._acl_device, product, self._seed, stopped) as made:
            yield made

    def _circumstances(self, support: PrecisionSupport, strangers: tuple[str, ...]) -> Circumstances:
        device = self._here()
        mode = theory.MODES[support.precision]
        way = f"gemm-aclnnMatmul-cubeMathType{mode.cube_math_type}"
        return Circumstances(
            identity=self.identity,
            support=support,
            definition=f"flop/{support.precision}-accumulate-{support.accumulator}/{way}",
            unit="FLOP/s",
            per_cycle=theory.flop_per_cycle(support.precision, device.cores),
            maximum_clock=device.clock(dcmi.CLOCK_RATED),
            strangers=strangers,
            peak_word="best-call",
            remarks=(NEVER_RUN,),
            settings={
                "cubeMathType": mode.cube_math_type,
                "operands": mode.data_type,
                "edge": self._edge,
                "seed": self._seed,
                "joined_by": self._joined_by,
            },
        )

    def _evaluated(self, result: PeakMeasurement) -> PeakMeasurement:
        if result.clock is not None:
            settings = result.sustained.settings
            self._measured_clock[settings["precision"], settings["path"]] = float(result.clock)
        return result

    def _support_for_load(self, precision: Precision) -> PrecisionSupport:
        return self._require_supported(precision, "gemm")

    def _obstacle(self) -> str:
        return self._without_acl

    def _strangers(self) -> tuple[str, ...]:
        return tuple(f"process {pid}" for pid in self._here().processes() if pid != os.getpid())

    def _here(self) -> dcmi.Device:
        if self._device is None:
            raise NotOpen("ascend is not open", where=self.address, advice="use it in a `with`, or call open()")
        return self._device


def _implementation(precision: str) -> str:
    return f"aclnnMatmul, cubeMathType {theory.MODES[precision].cube_math_type}"
