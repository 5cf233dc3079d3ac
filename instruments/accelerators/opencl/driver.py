"""Any device of an installed OpenCL driver: driver `opencl`, addresses opencl://PLATFORM/DEVICE.

Covered: fp32 and fp64 multiply-adds on the vector units of processors, graphics cards and, given a program that the
maker's own compiler built from multiply_add.cl, FPGA boards (CL_DEVICE_TYPE_ACCELERATOR). Not covered: matrix units,
telemetry and clocks, which OpenCL does not have; the theoretical peak, because OpenCL tells no operations a cycle.
Source: The OpenCL Specification, version 1.2 (Khronos).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path as FilePath
from typing import Any, ClassVar

from aicalib_hw.errors import ConnectionFailed, NotOpen, NotSupported, UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import (
    AcceleratorCapabilities,
    ClockBasis,
    Path,
    Peak,
    Precision,
    PrecisionSupport,
    TelemetryReading,
)
from aicalib_hw.interfaces.instrument import DriverInfo, Setting
from aicalib_hw.readings import Instant

from ..offload import Circumstances, OffloadAccelerator, PreparedKernel
from . import library
from .kernel import ACCUMULATORS, prepared, shape_of
from .library import Device, OpenCL, require_platform

IMPLEMENTATION = "opencl-fma"
_NO_THEORY = "OpenCL tells units and a clock, not the operations a cycle: a peak cannot be derived"


class OpenCLAccelerator(OffloadAccelerator):
    """One OpenCL device, by the place of its platform and its own in the loader's lists.

    address: "opencl://0/0". binary: file with the program for this device, built by the maker's compiler from
    multiply_add.cl, for devices that have no compiler of their own. timeout, trace: accepted as in every driver.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="opencl",
        role="accelerator",
        summary="a processor, graphics card or FPGA board with an OpenCL driver",
        manual="The OpenCL Specification, version 1.2",
        schemes=("opencl",),
        wires=("libOpenCL.so.1",),
        verified="PoCL 3.1 on an Intel Emerald Rapids processor, NVIDIA H200 with driver 580.159.04, Linux; on no FPGA",
    )

    launch_s = 0.001

    def __init__(
        self, address: str = "opencl://0/0", *, timeout: float = 10.0, trace: Any = None, binary: str | None = None
    ) -> None:
        super().__init__(address)
        place = re.fullmatch(r"opencl://(\d+)/(\d+)", address)
        if place is None:
            raise UsageError(
                f"{address!r} is not the address of an OpenCL device", advice="write opencl://PLATFORM/DEVICE"
            )
        self._place = (int(place[1]), int(place[2]))
        self._binary_file = binary
        self._binary: bytes | None = None
        self._opencl: OpenCL | None = None
        self._device: Device | None = None

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return the address of every device that the loader lists; raises ConnectionFailed without a loader."""
        return tuple(device.address for device in OpenCL("opencl://").devices())

    def _connect(self) -> None:
        opencl = OpenCL(self.address)
        devices = opencl.devices()
        require_platform(devices, self.address)
        found = [device for device in devices if (device.platform, device.number) == self._place]
        if not found:
            there = ", ".join(device.address for device in devices)
            raise ConnectionFailed("there is no such OpenCL device", where=self.address, advice=f"there are: {there}")
        if self._binary_file is not None:
            self._binary = FilePath(self._binary_file).read_bytes()
        self._opencl, self._device = opencl, found[0]

    def _disconnect(self) -> None:
        self._opencl = self._device = None

    def identify(self) -> Identity:
        """Ask the device who it is; OpenCL has no serial number, and the driver's version counts as firmware."""
        opencl, device = self._here()
        return Identity(
            maker=opencl.text(device, library.DEVICE_VENDOR),
            model=opencl.text(device, library.DEVICE_NAME),
            serial="",
            firmware=opencl.text(device, library.DEVICE_DRIVER),
            address=self.address,
            extra={
                "type": self._type(),
                "platform": opencl.platform_text(device, library.PLATFORM_NAME),
                "platform version": opencl.platform_text(device, library.PLATFORM_VERSION),
                "OpenCL": opencl.text(device, library.DEVICE_VERSION),
                "units": str(opencl.number(device, library.DEVICE_UNITS)),
                "stated clock": f"{opencl.number(device, library.DEVICE_MAXIMUM_MHZ)} MHz",
                "memory": f"{opencl.number(device, library.DEVICE_MEMORY)} B",
            },
        )

    @property
    def capabilities(self) -> AcceleratorCapabilities:
        """What the device says it can compute; nothing if it has no compiler and no built program was given."""
        opencl, device = self._here()
        notes = {"type": self._type()}
        usable = self._binary is not None or bool(opencl.number(device, library.DEVICE_COMPILER))
        if not usable:
            notes["compiler"] = "the device has none: give `binary`, built from multiply_add.cl by the maker's compiler"
        double = bool(opencl.number(device, library.DEVICE_FP64))
        if not double:
            notes["fp64"] = "the device has no double precision (CL_DEVICE_DOUBLE_FP_CONFIG is 0)"
        names: tuple[Precision, ...] = ("fp64", "fp32") if double else ("fp32",)
        return AcceleratorCapabilities(
            notes=notes,
            supports=tuple(PrecisionSupport(name, name, "vector", IMPLEMENTATION) for name in names) if usable else (),
            units=opencl.number(device, library.DEVICE_UNITS),
            telemetry=(),
            clock_lock=None,
            load=usable,
            host_processors=self._type() == "cpu",
        )

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> TelemetryReading:
        """Refuse: OpenCL tells neither W nor Hz nor degC of the present moment; always raises NotSupported."""
        raise NotSupported(
            "OpenCL has no telemetry",
            where=self.address,
            advice="open the same device by its maker's own driver where there is one (nvidia://, cpu://)",
        )

    def theoretical_peak(self, precision: Precision, *, path: Path = "vector", clock: ClockBasis = "maximum") -> Peak:
        """Return a peak without value, FLOP/s, that says why; raises NotSupported for what the device lacks."""
        self._require_supported(precision, path)
        opencl, device = self._here()
        stated = opencl.number(device, library.DEVICE_MAXIMUM_MHZ) * 1e6
        units = opencl.number(device, library.DEVICE_UNITS)
        return Peak(
            value=None,
            unit="FLOP/s",
            formula=f"{units} compute units x operations a cycle x clock",
            source=_NO_THEORY,
            clock_hz=stated if clock != "measured" and stated else None,
        )

    def lock_clocks(self, frequency: float) -> AbstractContextManager[None]:
        """Raise NotSupported: OpenCL sets no clocks."""
        raise NotSupported("OpenCL cannot set clocks", where=self.address, advice="use the maker's own tool")

    def snapshot(self) -> Mapping[str, Setting]:
        """Return the settings in force: accumulators, and shape of the work by precision."""
        opencl, device = self._here()
        now = Instant.now()
        shown = {"accumulators": Setting(ACCUMULATORS, "1", now, "fixed")}
        for support in self.capabilities.supports:
            shape = shape_of(opencl, device, support.precision)
            text = f"groups of {shape.group}, {shape.groups_per_unit} a unit, vectors of {shape.lanes}"
            shown[support.precision] = Setting(text, "", now, "driver")
        return shown

    @contextmanager
    def _prepare(self, support: PrecisionSupport, stopped: Callable[[], bool]) -> Iterator[PreparedKernel]:
        opencl, device = self._here()
        with prepared(opencl, device, support.precision, self._binary) as kernel:
            yield kernel

    def _circumstances(self, support: PrecisionSupport, strangers: tuple[str, ...]) -> Circumstances:
        opencl, device = self._here()
        shape = shape_of(opencl, device, support.precision)
        return Circumstances(
            identity=self.identity,
            support=support,
            definition=f"flop/{support.precision}-accumulate-{support.accumulator}/vector",
            unit="FLOP/s",
            per_cycle=None,
            maximum_clock=None,
            settings={"accumulators": ACCUMULATORS, "lanes": shape.lanes, "group": shape.group},
            remarks=() if self._type() in ("cpu", "gpu") else ("never run on a device of this type",),
        )

    def _type(self) -> str:
        opencl, device = self._here()
        return library.DEVICE_TYPES.get(opencl.number(device, library.DEVICE_TYPE) & ~1, "custom")

    def _here(self) -> tuple[OpenCL, Device]:
        if self._opencl is None or self._device is None:
            raise NotOpen("opencl is not open", where=self.address, advice="use it in a `with`, or call open()")
        return self._opencl, self._device
