"""DCMI, Huawei's device management library: who the device is and what it says of itself; both generations of calls.

The older calls name a device by card and device, the newer (dcmiv2_, Ascend 950) by one number. Source of names, order
of arguments and layouts: Ascend/mind-cluster, component/ascend-common/devmanager/dcmi, and gpustack-runtime (both of
them Apache-2.0).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import Structure, byref, c_char, c_int, c_int32, c_ubyte, c_uint, c_uint32, c_uint64, c_ulong
from typing import Any

from aicalib_hw.errors import (
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentReportedError,
    LockedByOther,
    NotPermitted,
    NotSupported,
)
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.accelerator import TelemetryReading, ThrottleState
from aicalib_hw.readings import Instant, Reading, Status, Window
from aicalib_hw.transport.library import SharedLibrary

NAMES = ("libdcmi.so", "/usr/local/Ascend/driver/lib64/driver/libdcmi.so", "/usr/local/dcmi/libdcmi.so")
ADVICE = (
    "install the Ascend driver; in a container, pass through /dev/davinciN, /dev/davinci_manager, /dev/devmm_svm and "
    "/dev/hisi_hdc"
)

_ERRORS = {
    -8001: "invalid parameter", -8002: "operation not permitted", -8003: "memory operation failed",
    -8004: "secure function failed", -8005: "inner error", -8006: "time-out", -8007: "invalid device",
    -8008: "device does not exist", -8009: "ioctl failed", -8010: "sending a message failed",
    -8011: "receiving a message failed", -8012: "not ready", -8013: "not supported in a container",
    -8014: "file operation failed", -8015: "reset failed", -8016: "operation aborted", -8017: "being upgraded",
    -8020: "resource occupied", -8022: "partition not right", -8023: "configuration does not exist",
    -8255: "not supported",
}  # fmt: skip
_MISSING = {-8013, -8255}
_LOST = {-8008, -8009, -8010, -8011, -8012}
_NOT_SUPPORTED = -8255

NPU = 0
_MOST_CARDS = 64
_MOST_DEVICES = 128
CLOCK_HBM, CLOCK_NOW, CLOCK_RATED = 6, 7, 9
UTILISATION_AICORE = 2
_DIES = {"dcmi": (1,), "dcmiv2": (2, 1)}
"""Kinds of die whose number serves as UUID. Where the newer calls are used only the second kind has one."""

_INVALID = -8001
_MEGABYTE = 2.0**20
"""What DCMI calls MB: a processor with 64 GiB of high-bandwidth memory tells 65536."""

_LOW_POWER, _REASONS = 8, 9
_NO_VALUES = {0x7FFD, 0x7FFF}
"""What the management controller answers where it has no value, and where reading failed."""

# Bits of the reasons for a lowered clock.
_THERMAL, _CURRENT, _POWER_BRAKE, _SUPPLY, _POWER_CAP = 1 << 2, 1 << 3 | 1 << 4, 1 << 5, 1 << 8, 1 << 10


class ChipInfo(Structure):
    """Names and number of AI cores."""

    _fields_ = (("kind", c_ubyte * 32), ("name", c_ubyte * 32), ("version", c_ubyte * 32), ("cores", c_uint32))


class ChipInfo2(Structure):
    """The same with the name of the product's processor."""

    _fields_ = (*ChipInfo._fields_, ("npu_name", c_ubyte * 32))


class PciInfo(Structure):
    """Place on the PCI bus, with its domain."""

    _fields_ = (
        ("vendor", c_uint32), ("sub_vendor", c_uint32), ("product", c_uint32), ("sub_product", c_uint32),
        ("domain", c_int32), ("bus", c_uint32), ("device", c_uint32), ("function", c_uint32),
        ("reserved", c_ubyte * 32),
    )  # fmt: skip


class Label(Structure):
    """The electronic label of a board."""

    _fields_ = (
        ("product", c_char * 256), ("model", c_char * 256), ("maker", c_char * 256), ("made", c_char * 256),
        ("serial", c_char * 256),
    )  # fmt: skip


class Die(Structure):
    """The number of a die, which serves as UUID."""

    _fields_ = (("words", c_uint32 * 5),)


class HbmInfo(Structure):
    """High-bandwidth memory: MB (of 2^20 bytes), MHz, MB, degC, percent."""

    _fields_ = (
        ("size", c_uint64), ("clock", c_uint32), ("used", c_uint64), ("temperature", c_int32), ("bandwidth", c_uint32),
    )  # fmt: skip


class ProcessMemory(Structure):
    """One process on the device, and the bytes that it holds."""

    _fields_ = (("process", c_int32), ("memory", c_ulong))


class Dcmi:
    """The initialised library; every call that fails raises, naming function, code and meaning."""

    def __init__(self, where: str, names: Sequence[str] = NAMES) -> None:
        self.where = where
        self.library = SharedLibrary(names, purpose="telemetry of Ascend devices", where=where, advice=ADVICE)
        self._functions: dict[str, Any] = {}
        code = self._raw("dcmi_init")() if self.library.has("dcmi_init") else _NOT_SUPPORTED
        self.newer = code == _NOT_SUPPORTED and self.library.has("dcmiv2_init")
        if self.newer:
            code = self._raw("dcmiv2_init")()
        if code:
            text = _ERRORS.get(code, "an error without a name")
            occupied = "; the devices are held by another container" if code == -8020 else ""
            raise ConnectionFailed(
                "the Ascend driver does not answer",
                where=where,
                why=f"dcmi_init returned {code} ({text}){occupied}",
                advice=ADVICE,
            ).of_vendor(code, text, "dcmi_init")

    def devices(self) -> list[tuple[int, int]]:
        """Return card and device of every processor; the newer calls have one device a card."""
        count = c_int()
        if self.newer:
            numbers = (c_int * _MOST_DEVICES)()
            self.call("dcmiv2_get_device_list", numbers, byref(count), c_int(_MOST_DEVICES))
            return [(numbers[index], 0) for index in range(count.value)]
        cards = (c_int * _MOST_CARDS)()
        symbol = "dcmi_get_card_list" if self.library.has("dcmi_get_card_list") else "dcmi_get_card_num_list"
        self.call(symbol, byref(count), cards, c_int(_MOST_CARDS))
        found = []
        for card in cards[: count.value]:
            on_card = c_int()
            self.call("dcmi_get_device_num_in_card", c_int(card), byref(on_card))
            for device in range(on_card.value):
                kind = c_int()
                self.call("dcmi_get_device_type", c_int(card), c_int(device), byref(kind))
                if kind.value == NPU:
                    found.append((card, device))
        return found

    def text(self, name: str) -> str:
        """Return a text about the library or the driver, "" where it is not told."""
        held = ctypes.create_string_buffer(64)
        symbol = f"{'dcmiv2' if self.newer else 'dcmi'}_{name}"
        if not self.library.has(symbol) or self._raw(symbol)(held, c_uint(64)):
            return ""
        return held.value.decode("utf-8", "replace")

    def call(self, symbol: str, *arguments: Any) -> None:
        """Call a function; arguments are ctypes objects."""
        code = self._raw(symbol)(*arguments)
        if code:
            raise self._error(code, symbol)

    def _raw(self, symbol: str) -> Any:
        if symbol not in self._functions:
            found: Any = self.library.function(symbol)
            found.argtypes = None  # every argument is given as a ctypes object
            self._functions[symbol] = found
        return self._functions[symbol]

    def _error(self, code: int, symbol: str) -> Exception:
        text = _ERRORS.get(code, "an error without a name")
        why = f"{symbol} returned {code} ({text})"
        if code in _MISSING:
            return NotSupported("the device does not provide this", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        if code == -8002:
            return NotPermitted(
                "the driver refuses this to the present user", where=self.where, why=why, advice="run as root"
            ).of_vendor(code, text, symbol)
        if code == -8006:
            return DeadlineExceeded("the device did not answer in time", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        if code == -8020:
            return LockedByOther("the device is held by another container", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        if code in _LOST:
            return ConnectionLost("the device is lost", where=self.where, why=why, advice=ADVICE).of_vendor(
                code, text, symbol
            )
        return InstrumentReportedError(code, text, symbol, where=self.where)


class Device:
    """One processor, with what was probed once."""

    def __init__(self, dcmi: Dcmi, card: int, device: int) -> None:
        self.dcmi = dcmi
        self._place = (c_int(card),) if dcmi.newer else (c_int(card), c_int(device))
        self._prefix = "dcmiv2" if dcmi.newer else "dcmi"
        self._card = card
        self.chip = self._chip()
        self.pci_address = self._pci_address()
        self.die = self._die()
        self.provided = tuple(name for name, read in self._sources().items() if self._ask(read) is not None)

    @property
    def name(self) -> str:
        """Name of the processor, for example "910B3"."""
        return _text(self.chip.npu_name) or _text(self.chip.name)

    @property
    def cores(self) -> int:
        """Number of AI cores."""
        return int(self.chip.cores)

    @property
    def logic_id(self) -> int:
        """The number by which the vendor's other libraries know this device."""
        if self.dcmi.newer:
            return self._card
        number = c_int()
        self.dcmi.call("dcmi_get_device_logic_id", byref(number), *self._place)
        return number.value

    def identity(self, address: str) -> Identity:
        """Ask the device who it is."""
        label = Label()
        read = self._ask(lambda: self._fill("get_device_elabel_info", label))
        serial = label.serial.decode("utf-8", "replace").strip() if read is not None else ""
        extra = {
            "uuid": "-".join(f"{word:08X}" for word in self.die.words) if self.die is not None else "",
            "pci": self.pci_address,
            "chip": _text(self.chip.name),
            "AI cores": str(self.cores),
            "driver": self.dcmi.text("get_driver_version"),
            "DCMI": self.dcmi.text("get_dcmi_version"),
            "calls": "dcmiv2" if self.dcmi.newer else "dcmi",
        }
        return Identity(
            maker="Huawei",
            model=f"Ascend {self.name}",
            serial=serial,
            firmware=_text(self.chip.version),
            address=address,
            extra={name: value for name, value in extra.items() if value},
        )

    def read(self, source: Identity) -> TelemetryReading:
        """Read everything that the device provides."""
        start = Instant.now()
        sources = self._sources()
        found = {name: sources[name]() for name in self.provided}
        now = Window(start, Instant.now(), "one round of calls")

        def reading(name: str, unit: str, resolution: float, channel: str) -> Reading | None:
            if name not in found:
                return None
            value = found[name]
            if isinstance(value, _NoValue):
                return Reading(None, unit, Status.NO_DATA, now, source, channel, raw=value.raw)
            return Reading(value, unit, Status.VALID, now, source, channel, None, resolution)

        return TelemetryReading(
            window=now,
            power=reading("power", "W", 0.1, "power of the board; what it is a mean of is not documented"),
            clock=reading("clock", "Hz", 1e6, "the present clock of the AI cores"),
            memory_clock=reading("memory_clock", "Hz", 1e6, "the present clock of the memory"),
            temperature=reading("temperature", "degC", 1.0, "the processor's sensor"),
            utilisation=reading(
                "utilisation", "1", 0.01, "share of time in which AI cores work; 0 while they are profiled"
            ),
            memory_used=reading("memory_used", "B", _MEGABYTE, "high-bandwidth memory in use"),
            throttle=found.get("throttle"),
        )

    def clock(self, kind: int) -> float | None:
        """Return a clock of the device, Hz; None where it is not told."""
        return self._ask(lambda: self._clock(kind))

    def processes(self) -> list[int]:
        """Return the numbers of the processes on the device."""
        entries, count = (ProcessMemory * 64)(), c_int(64)
        symbol = "get_device_proc_mem_info" if self.dcmi.newer else "get_device_resource_info"
        called = self._ask(lambda: self._call(symbol, entries, byref(count)))
        return [] if called is None else [entries[index].process for index in range(min(count.value, 64))]

    def _sources(self) -> dict[str, Any]:
        return {
            "power": self._power,
            "clock": lambda: self._clock(CLOCK_NOW),
            "memory_clock": lambda: self._clock(CLOCK_HBM),
            "temperature": self._temperature,
            "utilisation": self._utilisation,
            "memory_used": self._memory_used,
            "throttle": self._throttle,
        }

    def _ask(self, read: Any) -> Any | None:
        """What `read` returns, None where the device or the library does not provide it."""
        try:
            return read()
        except NotSupported:
            return None

    def _call(self, name: str, *arguments: Any) -> bool:
        self.dcmi.call(f"{self._prefix}_{name}", *self._place, *arguments)
        return True

    def _fill(self, name: str, structure: Any) -> Any:
        self._call(name, byref(structure))
        return structure

    def _chip(self) -> Any:
        if self.dcmi.newer:
            return self._fill("get_device_chip_info", ChipInfo2())
        found = self._ask(lambda: self._fill("get_device_chip_info_v2", ChipInfo2()))
        if found is not None:
            return found
        older, padded = self._fill("get_device_chip_info", ChipInfo()), ChipInfo2()
        ctypes.memmove(byref(padded), byref(older), ctypes.sizeof(ChipInfo))
        return padded

    def _pci_address(self) -> str:
        name = "get_device_pcie_info" if self.dcmi.newer else "get_device_pcie_info_v2"
        found = self._ask(lambda: self._fill(name, PciInfo()))
        if found is None:
            return ""
        return f"{found.domain:04X}:{found.bus:02X}:{found.device:02X}.{found.function:X}"

    def _die(self) -> Any:
        name = "get_device_die_id" if self.dcmi.newer else "get_device_die_v2"
        for kind in _DIES[self._prefix]:
            die = Die()
            try:
                self._call(name, c_int(kind), byref(die))
            except NotSupported:
                continue
            except InstrumentReportedError as error:
                if error.code != _INVALID:
                    raise
            else:
                return die
        return None

    def _power(self) -> float | _NoValue:
        tenths = c_int()
        self._call("get_device_power_info", byref(tenths))
        return _number(tenths.value, 0.1)

    def _temperature(self) -> float | _NoValue:
        degrees = c_int()
        self._call("get_device_temperature", byref(degrees))
        return _number(degrees.value, 1.0)

    def _clock(self, kind: int) -> float:
        megahertz = c_uint()
        self._call("get_device_frequency", c_int(kind), byref(megahertz))
        return megahertz.value * 1e6

    def _utilisation(self) -> float | _NoValue:
        percent = c_uint()
        self._call("get_device_utilization_rate", c_int(UTILISATION_AICORE), byref(percent))
        return percent.value / 100 if percent.value <= 100 else _NoValue(str(percent.value))

    def _memory_used(self) -> float:
        return float(self._fill("get_device_hbm_info", HbmInfo()).used) * _MEGABYTE

    def _throttle(self) -> ThrottleState:
        mask, size = c_uint64(), c_uint(ctypes.sizeof(c_uint64))
        self._call("get_device_info", c_int(_LOW_POWER), c_uint(_REASONS), byref(mask), byref(size))
        return normalised(mask.value)


class _NoValue:
    """What the device answered instead of a number."""

    def __init__(self, raw: str) -> None:
        self.raw = raw


def _number(raw: int, unit: float) -> float | _NoValue:
    return _NoValue(f"{raw:#x}") if raw in _NO_VALUES else raw * unit


def normalised(mask: int) -> ThrottleState:
    """Return what the bits of the reasons for a lowered clock mean; idleness is none. They have no memory."""
    return ThrottleState(
        thermal=bool(mask & _THERMAL),
        power_cap=bool(mask & _POWER_CAP),
        power_brake=bool(mask & _POWER_BRAKE),
        current=bool(mask & _CURRENT),
        hardware=bool(mask & _SUPPLY),
        raw=f"{mask:#x}",
    )


def _text(characters: Any) -> str:
    return bytes(characters).split(b"\0")[0].decode("utf-8", "replace").strip()
