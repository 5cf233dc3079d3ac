"""The CUDA driver API through libcuda: what a measurement needs, and its errors by name.

Source: CUDA Driver API reference (NVIDIA), the unversioned and _v2 entry points that drivers for CUDA 11 to 13 have in
common. The primary context is used, because the constructor of others changed its arguments in CUDA 13.
"""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Callable, Sequence
from ctypes import byref, c_char, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, Self

from aicalib_hw.errors import ConnectionFailed, ConnectionLost, InstrumentReportedError, NotPermitted, NotSupported
from aicalib_hw.transport.library import SharedLibrary

NAMES = ("libcuda.so.1", "libcuda.so")
ADVICE = "install the NVIDIA driver; in a container, start it with the GPU passed through (--gpus all)"

ATTRIBUTE_CLOCK_KHZ, ATTRIBUTE_MULTIPROCESSORS = 13, 16
ATTRIBUTE_MAJOR, ATTRIBUTE_MINOR = 75, 76

_NO_DRIVER = {3, 34, 100, 803, 804}
_REFUSED = {200, 209, 218, 220, 221, 222, 801}
_LOST = {4, 214, 700, 702, 709, 710, 715, 716, 717, 718, 719, 46, 999}
_NOT_PERMITTED = {800}
_WHY = {
    34: "this is the stub library of a toolkit, not a driver",
    218: "the driver's compiler does not accept the kernel",
    221: "libnvidia-ptxjitcompiler.so.1 is missing beside the driver",
    222: "the driver is older than the kernel's PTX version",
    803: "driver and library are of different versions: reboot, or reload the kernel module",
}
_MEMORY = c_uint64


class Cuda:
    """The loaded and initialised driver; every call that fails raises, naming function, code and word."""

    def __init__(self, where: str, names: Sequence[str] = NAMES) -> None:
        self.where = where
        self.library = SharedLibrary(names, purpose="computing on an NVIDIA device", where=where, advice=ADVICE)
        self._functions: dict[str, Callable[..., Any]] = {}
        self.call("cuInit", c_uint(0))

    def devices(self) -> list[int]:
        """Return the driver's number of every device that it shows to this process."""
        count = c_int()
        self.call("cuDeviceGetCount", byref(count))
        found = []
        for index in range(count.value):
            device = c_int()
            self.call("cuDeviceGet", byref(device), c_int(index))
            found.append(device.value)
        return found

    def attribute(self, device: int, number: int) -> int:
        """Return an attribute of a device."""
        value = c_int()
        self.call("cuDeviceGetAttribute", byref(value), c_int(number), c_int(device))
        return value.value

    def uuid(self, device: int) -> str:
        """Return the UUID as NVML writes it, "GPU-…"."""
        held = (c_char * 16)()
        symbol = "cuDeviceGetUuid_v2" if self.library.has("cuDeviceGetUuid_v2") else "cuDeviceGetUuid"
        self.call(symbol, byref(held), c_int(device))
        return f"GPU-{uuid.UUID(bytes=held.raw)}"

    def pci_address(self, device: int) -> str:
        """Return the PCI address, for example "0000:C1:00.0"."""
        held = ctypes.create_string_buffer(64)
        self.call("cuDeviceGetPCIBusId", held, c_int(64), c_int(device))
        return held.value.decode("ascii", "replace")

    def driver_version(self) -> int:
        """Return the CUDA version that the driver serves: 1000 x major + 10 x minor."""
        value = c_int()
        self.call("cuDriverGetVersion", byref(value))
        return value.value

    def find(self, wanted_uuid: str, wanted_pci: str) -> int:
        """Return the driver's number of the device with this UUID or PCI address; raises ConnectionFailed.

        Never by index: NVML counts in PCI order, and this driver as CUDA_DEVICE_ORDER and CUDA_VISIBLE_DEVICES say.
        """
        shown = {}
        for device in self.devices():
            shown[device] = (self.uuid(device), pci_place(self.pci_address(device)))
        for device, (own_uuid, own_pci) in shown.items():
            if own_uuid.casefold() == wanted_uuid.casefold() or own_pci == pci_place(wanted_pci):
                return device
        raise ConnectionFailed(
            f"the CUDA driver does not show the device {wanted_uuid} at {wanted_pci}",
            where=self.where,
            why=f"it shows {', '.join(one for one, _ in shown.values()) or 'none'}",
            advice="check CUDA_VISIBLE_DEVICES and which devices the container was given",
        )

    def call(self, symbol: str, *arguments: Any) -> None:
        """Call a function that returns an error code; arguments are ctypes objects."""
        code = self._raw(symbol)(*arguments)
        if code:
            self._raise(code, symbol)

    def quietly(self, symbol: str, *arguments: Any) -> None:
        """Call a function on the way out, where an error would say only what an earlier one has said."""
        self._raw(symbol)(*arguments)

    def _raw(self, symbol: str) -> Callable[..., Any]:
        if symbol not in self._functions:
            found = self.library.function(symbol)
            found.argtypes = None  # type: ignore[attr-defined]  # every argument is given as a ctypes object
            self._functions[symbol] = found
        return self._functions[symbol]

    def _words(self, symbol: str, code: int) -> str:
        text = c_char_p()
        found = self._raw(symbol)(c_int(code), byref(text)) == 0 and text.value
        return found.decode("utf-8", "replace") if found else ""

    def _raise(self, code: int, symbol: str) -> None:
        name = self._words("cuGetErrorName", code) or f"error {code}"
        text = self._words("cuGetErrorString", code)
        why = "; ".join(part for part in (f"{symbol} returned {code} ({name}: {text})", _WHY.get(code, "")) if part)
        if code in _NO_DRIVER:
            raise ConnectionFailed(
                "there is no working NVIDIA driver here", where=self.where, why=why, advice=ADVICE
            ).of_vendor(code, text, symbol)
        if code in _LOST:
            raise ConnectionLost(
                "the device was lost while it computed", where=self.where, why=why, advice="see the system log (Xid)"
            ).of_vendor(code, text, symbol)
        if code in _REFUSED:
            raise NotSupported("the device or its driver refuses the kernel", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        if code in _NOT_PERMITTED:
            raise NotPermitted("the driver refuses this to the present user", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        raise InstrumentReportedError(code, f"{name}: {text}", symbol, where=self.where)


def pci_place(address: str) -> tuple[int, int, int]:
    """Return domain, bus and device of a PCI address, which NVML and CUDA write with domains of different width."""
    domain, bus, rest = address.split(":")
    return int(domain, 16), int(bus, 16), int(rest.split(".")[0], 16)


class Session:
    """The device's primary context, current on the calling thread; all is waited for and given back by `close()`."""

    def __init__(self, cuda: Cuda, device: int) -> None:
        self.cuda = cuda
        self._device = c_int(device)
        self._context = c_void_p()
        self._stream = c_void_p()
        self._undo: list[tuple[str, Any]] = []

    def __enter__(self) -> Self:
        self.cuda.call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)
        self._undo.append(("cuDevicePrimaryCtxRelease_v2", self._device))
        try:
            self.cuda.call("cuCtxSetCurrent", self._context)
            # 1: a stream of its own that does not wait for the default one.
            self.cuda.call("cuStreamCreate", byref(self._stream), c_uint(1))
            self._undo.append(("cuStreamDestroy_v2", self._stream))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def stream(self) -> c_void_p:
        """The stream that everything is queued on."""
        return self._stream

    def settle(self) -> None:
        """Wait for what runs; never raises."""
        if self._stream:
            self.cuda.quietly("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        """Wait for what runs, then give everything back, the newest first; never raises."""
        self.settle()
        while self._undo:
            symbol, made = self._undo.pop()
            if symbol == "cuDevicePrimaryCtxRelease_v2":
                self.cuda.quietly("cuCtxSetCurrent", c_void_p())
            self.cuda.quietly(symbol, made)

    def load(self, text: str, name: str, optimisation: int) -> c_void_p:
        """Have the driver compile PTX, and return the kernel; raises NotSupported with the compiler's own words.

        optimisation: 0 to 4.
        """
        module, function = c_void_p(), c_void_p()
        log = ctypes.create_string_buffer(8192)
        # 5 and 6: buffer for the errors of the compiler, and its size. 7: level of optimisation.
        options = (c_int * 3)(5, 6, 7)
        values = (c_void_p * 3)(ctypes.addressof(log), len(log), optimisation)
        try:
            self.cuda.call("cuModuleLoadDataEx", byref(module), c_char_p(text.encode()), c_uint(3), options, values)
        except NotSupported as error:
            words = " ".join(log.value.decode("utf-8", "replace").split())
            if words:
                error.why = f"{error.why}: {words}"
            raise
        self._undo.append(("cuModuleUnload", module))
        self.cuda.call("cuModuleGetFunction", byref(function), module, c_char_p(name.encode()))
        return function

    def blocks_per_multiprocessor(self, function: c_void_p, threads: int) -> int:
        """Return how many blocks of this kernel fit on a multiprocessor at once."""
        count = c_int()
        symbol = "cuOccupancyMaxActiveBlocksPerMultiprocessor"
        self.cuda.call(symbol, byref(count), function, c_int(threads), c_size_t(0))
        return max(1, count.value)

    def memory(self, size: int, data: bytes | None = None) -> _MEMORY:
        """Return device memory of `size` bytes that holds `data`, or zeros; size a multiple of 4."""
        place = _MEMORY()
        self.cuda.call("cuMemAlloc_v2", byref(place), c_size_t(size))
        self._undo.append(("cuMemFree_v2", place))
        if data is None:
            self.clear(place, size)
        else:
            self.cuda.call("cuMemcpyHtoD_v2", place, c_char_p(data), c_size_t(size))
        return place

    def clear(self, place: _MEMORY, size: int) -> None:
        """Fill with zeros and wait until it is done."""
        self.cuda.call("cuMemsetD32_v2", place, c_uint(0), c_size_t(size // 4))
        self.cuda.call("cuCtxSynchronize")

    def read(self, place: _MEMORY, size: int) -> bytes:
        """Return the bytes, after all that is queued."""
        self.cuda.call("cuStreamSynchronize", self._stream)
        held = ctypes.create_string_buffer(size)
        self.cuda.call("cuMemcpyDtoH_v2", held, place, c_size_t(size))
        return held.raw

    def launch(self, function: c_void_p, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """Queue the kernel on the stream."""
        places = (c_void_p * len(arguments))(*(ctypes.addressof(one) for one in arguments))
        shape = [c_uint(number) for number in (blocks, 1, 1, threads, 1, 1)]
        self.cuda.call("cuLaunchKernel", function, *shape, c_uint(0), self._stream, places, c_void_p())

    def event(self) -> c_void_p:
        """Return a new event that keeps its time; waiting for it leaves the processor alone."""
        event = c_void_p()
        # 1: who waits sleeps. The default spins, which warms the platform whose power may be measured meanwhile.
        self.cuda.call("cuEventCreate", byref(event), c_uint(1))
        return event

    def record(self, event: c_void_p) -> None:
        """Queue the event on the stream."""
        self.cuda.call("cuEventRecord", event, self._stream)

    def wait(self, event: c_void_p) -> None:
        """Wait until the event has happened."""
        self.cuda.call("cuEventSynchronize", event)

    def seconds(self, start: c_void_p, stop: c_void_p) -> float:
        """Return the time between two events that have happened, s; the driver resolves about 0.5 µs."""
        elapsed = c_float()
        self.cuda.call("cuEventElapsedTime", byref(elapsed), start, stop)
        return elapsed.value / 1e3

    def forget(self, event: c_void_p) -> None:
        """Give an event back."""
        self.cuda.quietly("cuEventDestroy_v2", event)
