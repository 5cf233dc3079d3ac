"""NVML through nvidia-ml-py: who the device is, what it says of itself, and errors by name.

Source: NVML API reference (NVIDIA). What a number is a mean of differs between generations, and each reading says it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
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
from aicalib_hw.interfaces.accelerator import TelemetryReading, ThrottleState
from aicalib_hw.readings import Instant, Reading, Status, Window

ADVICE = "install the NVIDIA driver; in a container, start it with the GPU passed through (--gpus all)"

_UNINITIALIZED, _NOT_SUPPORTED, _NO_PERMISSION, _NOT_FOUND = 1, 3, 4, 6
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
_GPU_TEMPERATURE = 0
_CURRENT, _DEFAULT = 0, 2
FIELD_ENERGY, FIELD_POWER_AVERAGE, FIELD_POWER_INSTANT = 83, 185, 186
VIOLATIONS = {
    74: "power cap", 75: "thermal", 76: "sync boost", 77: "board limit", 79: "reliability",
    269: "thermal, software", 270: "thermal, hardware", 271: "power brake",
}  # fmt: skip
_VALUE = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}

# Bits of nvmlDeviceGetCurrentClocksEventReasons.
_POWER_CAP = 0x4 | 0x200
_HARDWARE = 0x8 | 0x400
_THERMAL = 0x20 | 0x40
_POWER_BRAKE = 0x80

_AMPERE, _GA100 = (8, 0), (8, 0)
_MEAN_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PowerMeaning:
    """Which number stands for the power, over how long it is a mean, and in words.

    field: of nvmlDeviceGetFieldValues, None = nvmlDeviceGetPowerUsage.
    """

    field: int | None
    mean_ns: int
    words: str


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
    """One device by its NVML handle, with what was probed once: meaning of its power, fields that it provides."""

    def __init__(self, nvml: Nvml, name: str) -> None:
        """name: index in NVML's order, which is that of the PCI bus, or a UUID."""
        self.nvml, api = nvml, nvml.api
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
        self.power = self._meaning_of_power()
        self._asked = {
            "clock": (api.nvmlDeviceGetClockInfo, SM),
            "memory_clock": (api.nvmlDeviceGetClockInfo, MEMORY),
            "temperature": (api.nvmlDeviceGetTemperature, _GPU_TEMPERATURE),
            "utilisation": (api.nvmlDeviceGetUtilizationRates,),
            "memory_used": (api.nvmlDeviceGetMemoryInfo,),
            "energy": (api.nvmlDeviceGetTotalEnergyConsumption,),
            "throttle": (api.nvmlDeviceGetCurrentClocksEventReasons,),
        }
        self.provided = tuple(
            name
            for name, (function, *rest) in self._asked.items()
            if nvml.ask(function, self.handle, *rest) is not None
        )

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

    def read(self, source: Identity) -> TelemetryReading:
        """Read everything that the device provides, each number once."""
        nvml, handle = self.nvml, self.handle
        found: dict[str, Any] = {}
        start = Instant.now()
        power = self._power()
        for name in self.provided:
            function, *rest = self._asked[name]
            found[name] = nvml.call(function, handle, *rest)
        stop = Instant.now()
        now = Window(start, stop, "one round of calls")

        def reading(name: str, value: float | None, unit: str, resolution: float, channel: str) -> Reading | None:
            if value is None:
                return None
            return Reading(value, unit, Status.VALID, now, source, channel, None, resolution)

        clock, memory_clock, energy = (found.get(name) for name in ("clock", "memory_clock", "energy"))
        temperature, utilisation, memory = (found.get(name) for name in ("temperature", "utilisation", "memory_used"))
        return TelemetryReading(
            window=now,
            power=None if power is None else self._power_reading(power, start, stop, source),
            energy=reading("energy", None if energy is None else energy / 1e3, "J", 1e-3, _ENERGY),
            clock=reading("clock", None if clock is None else clock * 1e6, "Hz", 1e6, _CLOCK),
            memory_clock=reading(
                "memory_clock", None if memory_clock is None else memory_clock * 1e6, "Hz", 1e6, _CLOCK
            ),
            temperature=reading("temperature", temperature, "degC", 1.0, "GPU sensor, the present value"),
            utilisation=reading(
                "utilisation", None if utilisation is None else utilisation.gpu / 100, "1", 0.01, _BUSY
            ),
            memory_used=reading(
                "memory_used", None if memory is None else memory.used, "B", 1.0, "device memory in use"
            ),
            throttle=normalised(found["throttle"]) if "throttle" in found else None,
        )

    def violations(self) -> dict[str, int]:
        """Return by reason how long the clock has been held down since the driver was loaded, ns; as far as told."""
        values = self.nvml.ask(self.nvml.api.nvmlDeviceGetFieldValues, self.handle, list(VIOLATIONS))
        return {VIOLATIONS[one.fieldId]: int(_value(one)) for one in values or () if one.nvmlReturn == 0}

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

    def _meaning_of_power(self) -> PowerMeaning | None:
        api = self.nvml.api
        values = self.nvml.ask(api.nvmlDeviceGetFieldValues, self.handle, [FIELD_POWER_INSTANT])
        if values is not None and values[0].nvmlReturn == 0 and _value(values[0]) > 0:
            return PowerMeaning(FIELD_POWER_INSTANT, 0, "power, the present value (A100, H100: 25 ms of each 100 ms)")
        if self.nvml.ask(api.nvmlDeviceGetPowerUsage, self.handle) is None:
            return None
        if self.capability is not None and self.capability > _GA100:
            return PowerMeaning(None, _MEAN_NS, "power, mean of the last second")
        return PowerMeaning(None, 0, "power, the present value")

    def _power(self) -> float | None:
        """Milliwatts, None where the device tells none."""
        if self.power is None:
            return None
        nvml = self.nvml
        if self.power.field is None:
            return float(nvml.call(nvml.api.nvmlDeviceGetPowerUsage, self.handle))
        (one,) = nvml.call(nvml.api.nvmlDeviceGetFieldValues, self.handle, [self.power.field])
        if one.nvmlReturn:
            raise nvml.translated(nvml.api.NVMLError(one.nvmlReturn), "nvmlDeviceGetFieldValues")
        return float(_value(one))

    def _power_reading(self, milliwatts: float, start: Instant, stop: Instant, source: Identity) -> Reading:
        meaning = self.power
        assert meaning is not None
        begin = Instant(start.utc_ns - meaning.mean_ns, start.monotonic_ns - meaning.mean_ns)
        window = Window(begin, stop, meaning.words)
        return Reading(milliwatts / 1e3, "W", Status.VALID, window, source, meaning.words, None, 1e-3)


_ENERGY = "energy counter since the driver was loaded, renewed every 10 to 100 ms"
_CLOCK = "the present clock"
_BUSY = "share of time with any kernel resident, over the last 1/6 to 1 s: no measure of efficiency"


def normalised(mask: int) -> ThrottleState:
    """Return what the bits of the clock event reasons mean; idleness and settings of the user are no throttling."""
    return ThrottleState(
        thermal=bool(mask & _THERMAL),
        power_cap=bool(mask & _POWER_CAP),
        power_brake=bool(mask & _POWER_BRAKE),
        current=None,
        hardware=bool(mask & _HARDWARE),
        raw=f"{mask:#x}",
    )


def _value(field: Any) -> float | int:
    value: float | int = getattr(field.value, _VALUE[field.valueType])
    return value


def count(nvml: Nvml) -> int:
    """Return how many devices there are."""
    return int(nvml.call(nvml.api.nvmlDeviceGetCount))
