"""NVML through nvidia-ml-py: who the device is, what it says of itself, and errors by name.

Source: NVML API reference (NVIDIA). What a number is a mean of differs between generations, and each reading says it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from aicalib_hw.errors import (
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentReportedError,
    LockedByOther,
    MissingExtra,
    NotPermitted,
    NotSupported,
)
from aicalib_hw.identity import Identity

ADVICE = "install the NVIDIA driver; in a container, start it with the GPU passed through (--gpus all)"

_NO_PERMISSION = 4
_NO_LIBRARY = {1, 9, 12, 18}
_MISSING = {3, 13, 25}
_NO_DEVICE = {6, 28}
_TIMEOUT, _IN_USE = 10, 19
_LOST = {15, 16}
_WHY = {
    18: "driver and library are of different versions: reboot, or reload the kernel module",
    13: "the installed library is older than this function",
    25: "the library does not know this version of the structure",
}

SM, MEMORY = 1, 2
GPU_TEMPERATURE = 0
_DEFAULT = 2
FIELD_POWER_INSTANT = 186
VIOLATIONS = {
    74: "power cap", 75: "thermal", 76: "sync boost", 77: "board limit", 79: "reliability",
    269: "thermal, software", 270: "thermal, hardware", 271: "power brake",
}  # fmt: skip
_VALUE = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


class Nvml:
    """The initialised library; `call` turns its errors into ours. Every open driver holds one reference."""

    def __init__(self, where: str) -> None:
        self.where = where
        try:
            self.api: Any = importlib.import_module("pynvml")
        except ImportError as error:
            raise MissingExtra.for_library("nvidia-ml-py", "accelerators", "telemetry of NVIDIA devices") from error
        self.call(self.api.nvmlInit)

    def close(self) -> None:
        """Give the reference back; never raises."""
        try:
            self.api.nvmlShutdown()
        except self.api.NVMLError:
            return

    def function(self, symbol: str) -> Callable[..., int] | None:
        """Return a function of the library that nvidia-ml-py has loaded, None where the library lacks it."""
        try:
            found: Callable[..., int] = self.api.nvmlLib[symbol]
        except AttributeError:
            return None
        return found

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of nvidia-ml-py; raises the error of ours that its code means."""
        try:
            return function(*arguments)
        except self.api.NVMLError as error:
            raise self.translated(error, getattr(function, "__name__", "NVML")) from error

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any | None:
        """Call a function; None where the device or library does not provide it."""
        try:
            return self.call(function, *arguments)
        except NotSupported:
            return None

    def translated(self, error: Any, symbol: str) -> Exception:
        """Return our error for one of nvidia-ml-py, with code, text and function."""
        code, text = int(error.value), str(error)
        why = "; ".join(part for part in (f"{symbol} returned {code} ({text})", _WHY.get(code, "")) if part)
        if code in _NO_LIBRARY:
            return ConnectionFailed(
                "there is no working NVIDIA driver here", where=self.where, why=why, advice=ADVICE
            ).of_vendor(code, text, symbol)
        if code in _MISSING:
            return NotSupported("the device does not provide this", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        if code == _NO_PERMISSION:
            return NotPermitted(
                "the driver refuses this to the present user", where=self.where, why=why, advice="run as root"
            ).of_vendor(code, text, symbol)
        if code in _NO_DEVICE:
            return ConnectionFailed("there is no such NVIDIA device", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        if code in _LOST:
            return ConnectionLost(
                "the device is lost", where=self.where, why=why, advice="see the system log (Xid), and reset the device"
            ).of_vendor(code, text, symbol)
        if code == _TIMEOUT:
            return DeadlineExceeded("the driver did not answer in time", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        if code == _IN_USE:
            return LockedByOther("another program holds the device", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        return InstrumentReportedError(code, text, symbol, where=self.where)


class Device:
    """One device by its NVML handle: who it is, its clocks and modes, and who else is on it."""

    def __init__(self, nvml: Nvml, name: str) -> None:
        """name: index in NVML's order, which is that of the PCI bus, or a UUID."""
        self.nvml, api = nvml, nvml.api
        if name.isdigit() and int(name) >= count(nvml):
            raise ConnectionFailed(
                "there is no such NVIDIA device",
                where=nvml.where,
                why=f"NVML counts {count(nvml)}",
                advice="`aicalib discover` lists the addresses there are",
            )
        self.handle = (
            nvml.call(api.nvmlDeviceGetHandleByIndex, int(name))
            if name.isdigit()
            else nvml.call(api.nvmlDeviceGetHandleByUUID, name)
        )
        self.uuid = str(nvml.call(api.nvmlDeviceGetUUID, self.handle))
        self.pci_address = str(nvml.call(api.nvmlDeviceGetPciInfo, self.handle).busId)
        self.board = str(nvml.call(api.nvmlDeviceGetName, self.handle))
        capability = nvml.ask(api.nvmlDeviceGetCudaComputeCapability, self.handle)
        self.capability: tuple[int, int] | None = None if capability is None else (capability[0], capability[1])

    def identity(self, address: str) -> Identity:
        """Ask the device who it is; boards of the consumer series tell no serial number."""
        nvml, api = self.nvml, self.nvml.api

        def said(function: Any, *arguments: Any) -> str:
            value = nvml.ask(function, *arguments)
            return "" if value is None else str(value)

        extra = {
            "uuid": self.uuid,
            "pci": self.pci_address,
            "driver": said(api.nvmlSystemGetDriverVersion),
            "NVML": said(api.nvmlSystemGetNVMLVersion),
            "compute capability": "{}.{}".format(*self.capability) if self.capability else "",
        }
        return Identity(
            maker="NVIDIA",
            model=self.board,
            serial=said(api.nvmlDeviceGetSerial, self.handle),
            firmware=said(api.nvmlDeviceGetVbiosVersion, self.handle),
            address=address,
            extra={name: value for name, value in extra.items() if value},
        )

    def violations(self) -> dict[str, int]:
        """Return by reason how long the clock has been held down since the driver was loaded, ns; as far as told."""
        values = self.nvml.ask(self.nvml.api.nvmlDeviceGetFieldValues, self.handle, list(VIOLATIONS))
        return {VIOLATIONS[one.fieldId]: int(field_number(one)) for one in values or () if one.nvmlReturn == 0}

    def maximum_clock(self) -> float | None:
        """Return the highest clock of the multiprocessors, Hz."""
        megahertz = self.nvml.ask(self.nvml.api.nvmlDeviceGetMaxClockInfo, self.handle, SM)
        return None if not megahertz else megahertz * 1e6

    def nominal_clock(self) -> float | None:
        """Return the clock that the board has by default under load, Hz."""
        megahertz = self.nvml.ask(self.nvml.api.nvmlDeviceGetClock, self.handle, SM, _DEFAULT)
        return None if not megahertz else megahertz * 1e6

    def is_divided(self) -> bool:
        """Return whether MIG is on, so that nobody can use the whole device."""
        mode = self.nvml.ask(self.nvml.api.nvmlDeviceGetMigMode, self.handle)
        return bool(mode and mode[0])

    def processes(self) -> list[int]:
        """Return the process numbers that compute on the device, as NVML sees them."""
        running = self.nvml.ask(self.nvml.api.nvmlDeviceGetComputeRunningProcesses, self.handle)
        return [int(one.pid) for one in running or ()]

    def lock_clock(self, megahertz: int) -> None:
        """Hold the clock of the multiprocessors; raises NotPermitted where only root may."""
        self.nvml.call(self.nvml.api.nvmlDeviceSetGpuLockedClocks, self.handle, megahertz, megahertz)

    def unlock_clock(self) -> None:
        """Let the driver choose the clock again."""
        self.nvml.call(self.nvml.api.nvmlDeviceResetGpuLockedClocks, self.handle)

    def supported_clocks(self) -> list[int]:
        """Return the clocks that can be set at the highest memory clock, MHz; empty if the device tells none."""
        api = self.nvml.api
        memory = self.nvml.ask(api.nvmlDeviceGetSupportedMemoryClocks, self.handle)
        if not memory:
            return []
        return sorted(self.nvml.ask(api.nvmlDeviceGetSupportedGraphicsClocks, self.handle, max(memory)) or ())

    def clock_step(self) -> float | None:
        """Return the smallest distance between clocks that can be set, Hz; None if the device tells none."""
        return min((later - before for before, later in pairwise(self.supported_clocks())), default=0) * 1e6 or None


def field_number(field: Any) -> float | int:
    """Return the number in a field value, from the member that its type names."""
    value: float | int = getattr(field.value, _VALUE[field.valueType])
    return value


def count(nvml: Nvml) -> int:
    """Return how many devices there are."""
    return int(nvml.call(nvml.api.nvmlDeviceGetCount))
