"""One round of telemetry calls, bound to its device once, and the reading that is made of it.

Eight devices are read ten times a second while they are measured, and most numbers of a round are never looked at: the
calls write into places that are made once, and a `Reading` is made when it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import byref, c_int, c_uint, c_ulonglong
from dataclasses import dataclass, fields
from typing import Any

from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import TelemetryReading, ThrottleState
from aicalib_hw.readings import Instant, Reading, Status, Window

from .nvml import FIELD_POWER_INSTANT, GPU_TEMPERATURE, MEMORY, SM, Device, field_number

_MEAN_NS = 1_000_000_000
_GA100 = (8, 0)


@dataclass(frozen=True, slots=True)
class _Quantity:
    """How a raw number becomes a reading: unit, factor, smallest step in that unit, and what it is a mean of."""

    unit: str
    factor: float
    resolution: float
    channel: str
    mean_ns: int = 0


_POWER_NOW = _Quantity("W", 1e-3, 1e-3, "power, the present value (A100, H100: 25 ms of each 100 ms)")
_POWER_MEAN = _Quantity("W", 1e-3, 1e-3, "power, mean of the last second", _MEAN_NS)
_QUANTITIES = {
    "clock": _Quantity("Hz", 1e6, 1e6, "clock of the multiprocessors, the present value"),
    "memory_clock": _Quantity("Hz", 1e6, 1e6, "clock of the memory, the present value"),
    "temperature": _Quantity("degC", 1.0, 1.0, "sensor of the GPU, the present value"),
    "utilisation": _Quantity("1", 0.01, 0.01, "share of the last 1/6 to 1 s with any kernel resident: no efficiency"),
    "memory_used": _Quantity("B", 1.0, 1.0, "device memory in use"),
    "energy": _Quantity("J", 1e-3, 1e-3, "counter since the driver was loaded, renewed every 10 to 100 ms"),
}

# Bits of nvmlDeviceGetCurrentClocksEventReasons.
_POWER_CAP = 0x4 | 0x200
_HARDWARE = 0x8 | 0x400
_THERMAL = 0x20 | 0x40
_POWER_BRAKE = 0x80


@dataclass(frozen=True, slots=True)
class _Call:
    """A function with its arguments, the place it writes to, and how the number is taken from there."""

    name: str
    symbol: str
    function: Callable[..., int]
    arguments: tuple[Any, ...]
    place: Any
    taken: Callable[[Any], float | int]


class Round:
    """The calls of one device. provided: names of the fields of TelemetryReading that it gives, from calling each."""

    def __init__(self, device: Device) -> None:
        self._nvml, self._handle = device.nvml, device.handle
        self._lock = threading.Lock()
        self._quantities = dict(_QUANTITIES)
        self._calls = [*self._power(device), *filter(self._answers, self._others())]
        self.provided = tuple(call.name for call in self._calls)

    def read(self, source: Identity) -> TelemetryReading:
        """Ask everything once; raises the error that a code means."""
        raw = {}
        with self._lock:
            start = Instant.now()
            for call in self._calls:
                code = call.function(*call.arguments)
                if code:
                    raise self._nvml.translated(self._nvml.api.NVMLError(code), call.symbol)
                raw[call.name] = call.taken(call.place)
            stop = Instant.now()
        return _Sample(raw, self._quantities, start, stop, source)

    def _power(self, device: Device) -> list[_Call]:
        """The present power where the device tells it, else the one that older functions tell."""
        values = (self._nvml.api.c_nvmlFieldValue_t * 1)()
        values[0].fieldId = FIELD_POWER_INSTANT
        present = self._call("power", "nvmlDeviceGetFieldValues", self._field, values, c_int(1))
        self._quantities["power"] = _POWER_NOW
        if present and self._answers(present[0]) and values[0].nvmlReturn == 0 and field_number(values[0]) > 0:
            return present
        older = self._call("power", "nvmlDeviceGetPowerUsage", _value, c_uint())
        if device.capability is not None and device.capability > _GA100:
            self._quantities["power"] = _POWER_MEAN
        return [call for call in older if self._answers(call)]

    def _field(self, places: Any) -> float | int:
        """The number in a field; raises what its own code means: the call succeeds even where a field fails."""
        if places[0].nvmlReturn:
            raise self._nvml.translated(self._nvml.api.NVMLError(places[0].nvmlReturn), "nvmlDeviceGetFieldValues")
        return field_number(places[0])

    def _others(self) -> list[_Call]:
        api = self._nvml.api
        return [
            *self._call("clock", "nvmlDeviceGetClockInfo", _value, c_uint(), c_uint(SM)),
            *self._call("memory_clock", "nvmlDeviceGetClockInfo", _value, c_uint(), c_uint(MEMORY)),
            *self._call("temperature", "nvmlDeviceGetTemperature", _value, c_uint(), c_uint(GPU_TEMPERATURE)),
            *self._call(
                "utilisation", "nvmlDeviceGetUtilizationRates", lambda rates: rates.gpu, api.c_nvmlUtilization_t()
            ),
            *self._call("memory_used", "nvmlDeviceGetMemoryInfo", lambda memory: memory.used, api.c_nvmlMemory_t()),
            *self._call("energy", "nvmlDeviceGetTotalEnergyConsumption", _value, c_ulonglong()),
            *(
                self._call("throttle", "nvmlDeviceGetCurrentClocksEventReasons", _value, c_ulonglong())
                or self._call("throttle", "nvmlDeviceGetCurrentClocksThrottleReasons", _value, c_ulonglong())
            ),
        ]

    def _call(self, name: str, symbol: str, taken: Callable[[Any], Any], place: Any, *given: Any) -> list[_Call]:
        """The call, or nothing if the library does not have the function."""
        function = self._nvml.function(symbol)
        return (
            []
            if function is None
            else [_Call(name, symbol, function, (self._handle, *given, byref(place)), place, taken)]
        )

    def _answers(self, call: _Call) -> bool:
        """Whether the device provides it; raises what else may be wrong with the device."""
        return self._nvml.ask(self._checked, call) is not None

    def _checked(self, call: _Call) -> bool:
        code = call.function(*call.arguments)
        if code:
            raise self._nvml.api.NVMLError(code)
        return True


class _Sample(TelemetryReading):
    """The raw numbers of a round; each becomes a reading when it is looked at. Copied and pickled as plain data."""

    __slots__ = ("_quantities", "_raw", "_source", "_start", "_stop")

    def __init__(
        self, raw: dict[str, Any], quantities: dict[str, _Quantity], start: Instant, stop: Instant, source: Identity
    ) -> None:
        keep = object.__setattr__
        keep(self, "_raw", raw)
        keep(self, "_quantities", quantities)
        keep(self, "_start", start)
        keep(self, "_stop", stop)
        keep(self, "_source", source)

    def __getattribute__(self, name: str) -> Any:
        if name not in _FIELDS:
            return object.__getattribute__(self, name)
        raw, start, stop = self._raw, self._start, self._stop
        if name == "window":
            return Window(start, stop, "one round of calls")
        if name not in raw:
            return None
        if name == "throttle":
            return normalised(raw[name])
        quantity = self._quantities[name]
        begin = start
        if quantity.mean_ns:
            begin = Instant(start.utc_ns - quantity.mean_ns, start.monotonic_ns - quantity.mean_ns)
        window = Window(begin, stop, quantity.channel if quantity.mean_ns else "one round of calls")
        value = raw[name] * quantity.factor
        return Reading(
            value, quantity.unit, Status.VALID, window, self._source, quantity.channel, None, quantity.resolution
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return TelemetryReading, tuple(getattr(self, one.name) for one in fields(TelemetryReading))


_FIELDS = frozenset(one.name for one in fields(TelemetryReading))


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


def _value(place: Any) -> Any:
    return place.value
