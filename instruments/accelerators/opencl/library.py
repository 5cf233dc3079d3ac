"""OpenCL 1.2 through libOpenCL: the few functions that a measurement needs, and its errors by name.

Source: The OpenCL Specification, version 1.2 (Khronos), chapters 4 and 5, and the constants of its cl.h.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any, Self

from aicalib_hw.errors import ConnectionFailed, ConnectionLost, InstrumentReportedError, NotSupported
from aicalib_hw.transport.library import SharedLibrary

NAMES = ("libOpenCL.so.1", "libOpenCL.so")
ADVICE = (
    "install the maker's OpenCL driver and the loader (Debian, Ubuntu: sudo apt-get install -y ocl-icd-libopencl1; "
    "for the processor itself also pocl-opencl-icd)"
)

DEVICE_TYPES = {1 << 1: "cpu", 1 << 2: "gpu", 1 << 3: "accelerator", 1 << 4: "custom"}
_ALL_DEVICES = 0xFFFFFFFF
_NO_PLATFORM, _NO_DEVICE = -1001, -1
_PROFILING = 1 << 1
_READ_WRITE = 1 << 0
_BUILD_LOG = 0x1183
_STARTED, _ENDED = 0x1282, 0x1283

PLATFORM_NAME, PLATFORM_VERSION = 0x0902, 0x0901
(
    DEVICE_TYPE, DEVICE_VENDOR_ID, DEVICE_UNITS, DEVICE_MAXIMUM_MHZ, DEVICE_MEMORY, DEVICE_AVAILABLE, DEVICE_COMPILER,
    DEVICE_NAME, DEVICE_VENDOR, DEVICE_DRIVER, DEVICE_VERSION, DEVICE_EXTENSIONS, DEVICE_TIMER_NS,
    DEVICE_WIDTH_FP32, DEVICE_WIDTH_FP64, DEVICE_FP64,
) = (
    0x1000, 0x1001, 0x1002, 0x100C, 0x101F, 0x1027, 0x1028,
    0x102B, 0x102C, 0x102D, 0x102F, 0x1030, 0x1025,
    0x103A, 0x103B, 0x1032,
)  # fmt: skip

_ERRORS = {
    -1: "CL_DEVICE_NOT_FOUND", -2: "CL_DEVICE_NOT_AVAILABLE", -3: "CL_COMPILER_NOT_AVAILABLE",
    -4: "CL_MEM_OBJECT_ALLOCATION_FAILURE", -5: "CL_OUT_OF_RESOURCES", -6: "CL_OUT_OF_HOST_MEMORY",
    -7: "CL_PROFILING_INFO_NOT_AVAILABLE", -11: "CL_BUILD_PROGRAM_FAILURE",
    -14: "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST", -30: "CL_INVALID_VALUE", -32: "CL_INVALID_PLATFORM",
    -33: "CL_INVALID_DEVICE", -34: "CL_INVALID_CONTEXT", -36: "CL_INVALID_COMMAND_QUEUE", -38: "CL_INVALID_MEM_OBJECT",
    -42: "CL_INVALID_BINARY", -44: "CL_INVALID_PROGRAM", -45: "CL_INVALID_PROGRAM_EXECUTABLE",
    -46: "CL_INVALID_KERNEL_NAME", -49: "CL_INVALID_ARG_INDEX", -50: "CL_INVALID_ARG_VALUE",
    -51: "CL_INVALID_ARG_SIZE", -54: "CL_INVALID_WORK_GROUP_SIZE", -58: "CL_INVALID_EVENT",
    -61: "CL_INVALID_BUFFER_SIZE", -1001: "CL_PLATFORM_NOT_FOUND_KHR",
}  # fmt: skip
_LOST = {-2, -5, -14, -36}


@dataclass(frozen=True, slots=True)
class Device:
    """One device of one platform, by its place in the loader's lists."""

    platform: int
    number: int
    platform_id: int
    device_id: int

    @property
    def address(self) -> str:
        """The address that opens it."""
        return f"opencl://{self.platform}/{self.number}"


class OpenCL:
    """The loaded library; every call that fails raises, naming function, code and word."""

    def __init__(self, where: str, names: Sequence[str] = NAMES) -> None:
        self.where = where
        self.library = SharedLibrary(names, purpose="an OpenCL device", where=where, advice=ADVICE)
        self._functions: dict[str, Callable[..., Any]] = {}

    def devices(self) -> list[Device]:
        """Return every device of every platform; empty if there is no platform."""
        count = c_uint()
        code = self._raw("clGetPlatformIDs")(0, None, byref(count))
        if code == _NO_PLATFORM or count.value == 0:
            return []
        self._require(code, "clGetPlatformIDs")
        platforms = (c_void_p * count.value)()
        self.call("clGetPlatformIDs", count, platforms, None)
        found = []
        for index, platform in enumerate(platforms):
            code = self._raw("clGetDeviceIDs")(c_void_p(platform), c_uint64(_ALL_DEVICES), 0, None, byref(count))
            if code == _NO_DEVICE:
                continue
            self._require(code, "clGetDeviceIDs")
            ids = (c_void_p * count.value)()
            self.call("clGetDeviceIDs", c_void_p(platform), c_uint64(_ALL_DEVICES), count, ids, None)
            found += [Device(index, number, int(platform), int(one)) for number, one in enumerate(ids)]
        return found

    def text(self, device: Device, what: int) -> str:
        """Return a device fact that is text."""
        return self._info("clGetDeviceInfo", device.device_id, what).rstrip(b"\0").decode("utf-8", "replace").strip()

    def platform_text(self, device: Device, what: int) -> str:
        """Return a fact of the device's platform."""
        found = self._info("clGetPlatformInfo", device.platform_id, what)
        return found.rstrip(b"\0").decode("utf-8", "replace").strip()

    def number(self, device: Device, what: int) -> int:
        """Return a device fact that is a whole number."""
        return int.from_bytes(self._info("clGetDeviceInfo", device.device_id, what), "little")

    def call(self, symbol: str, *arguments: Any) -> None:
        """Call a function that returns an error code."""
        self._require(self._raw(symbol)(*arguments), symbol)

    def make(self, symbol: str, *arguments: Any) -> c_void_p:
        """Call a function that returns an object and puts its error code into the last argument."""
        code = c_int()
        made = self._raw(symbol, c_void_p)(*arguments, byref(code))
        self._require(code.value, symbol)
        return c_void_p(made)

    def _info(self, symbol: str, owner: int, what: int) -> bytes:
        size = c_size_t()
        self.call(symbol, c_void_p(owner), c_uint(what), c_size_t(0), None, byref(size))
        held = ctypes.create_string_buffer(size.value)
        self.call(symbol, c_void_p(owner), c_uint(what), size, held, None)
        return held.raw

    def _raw(self, symbol: str, result: Any = c_int) -> Callable[..., Any]:
        if symbol not in self._functions:
            found = self.library.function(symbol, result=result)
            found.argtypes = None  # type: ignore[attr-defined]  # every argument is given as a ctypes object
            self._functions[symbol] = found
        return self._functions[symbol]

    def _require(self, code: int, symbol: str) -> None:
        if code == 0:
            return
        text = _ERRORS.get(code, "an error that OpenCL 1.2 does not name")
        if code in _LOST:
            raise ConnectionLost(
                "the OpenCL device stopped working", where=self.where, why=f"{symbol} returned {code} ({text})"
            ).of_vendor(code, text, symbol)
        raise InstrumentReportedError(code, text, symbol, where=self.where)


class Session:
    """Context, queue with profiling and one program on a device; everything is given back by `close()`."""

    def __init__(self, opencl: OpenCL, device: Device) -> None:
        self.opencl = opencl
        self.device = device
        self._undo: list[tuple[str, c_void_p]] = []
        self._id = c_void_p(device.device_id)

    def __enter__(self) -> Self:
        try:
            self._context = self._keep(
                "clReleaseContext",
                self.opencl.make("clCreateContext", None, c_uint(1), byref(self._id), None, None),
            )
            self._queue = self._keep(
                "clReleaseCommandQueue",
                self.opencl.make("clCreateCommandQueue", self._context, self._id, c_uint64(_PROFILING)),
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what runs, then release everything, the newest first; never raises."""
        if hasattr(self, "_queue"):
            self.opencl._raw("clFinish")(self._queue)
        while self._undo:
            symbol, made = self._undo.pop()
            self.opencl._raw(symbol)(made)

    def program(self, source: str, options: str, binary: bytes | None = None) -> c_void_p:
        """Build a program from source, or from what the maker's own compiler made of it."""
        if binary is None:
            text = c_char_p(source.encode())
            made = self.opencl.make("clCreateProgramWithSource", self._context, c_uint(1), byref(text), None)
        else:
            held, size = ctypes.create_string_buffer(binary, len(binary)), c_size_t(len(binary))
            place = c_void_p(ctypes.addressof(held))
            made = self.opencl.make(
                "clCreateProgramWithBinary", self._context, c_uint(1), byref(self._id), byref(size), byref(place), None
            )
        program = self._keep("clReleaseProgram", made)
        try:
            self.opencl.call("clBuildProgram", program, c_uint(1), byref(self._id), options.encode(), None, None)
        except InstrumentReportedError as error:
            raise NotSupported(
                "the device's compiler refuses the kernel",
                where=self.opencl.where,
                why=f"{error.command} returned {error.code} ({error.text}): {self._build_log(program)}",
            ).of_vendor(error.code or 0, error.text, error.command) from error
        return program

    def kernel(self, program: c_void_p, name: str) -> c_void_p:
        """Return a kernel of a built program."""
        return self._keep("clReleaseKernel", self.opencl.make("clCreateKernel", program, name.encode()))

    def buffer(self, size: int) -> c_void_p:
        """Return a buffer of `size` bytes, zeroed."""
        made = self.opencl.make("clCreateBuffer", self._context, c_uint64(_READ_WRITE), c_size_t(size), None)
        buffer = self._keep("clReleaseMemObject", made)
        self.write(buffer, bytes(size))
        return buffer

    def write(self, buffer: c_void_p, data: bytes) -> None:
        """Put `data` into the buffer and wait until it is there."""
        self.opencl.call(
            "clEnqueueWriteBuffer", self._queue, buffer, c_uint(1), c_size_t(0), c_size_t(len(data)), data,
            c_uint(0), None, None,
        )  # fmt: skip

    def read(self, buffer: c_void_p, size: int) -> bytes:
        """Return the first `size` bytes of the buffer, after all that is queued."""
        held = ctypes.create_string_buffer(size)
        self.opencl.call(
            "clEnqueueReadBuffer", self._queue, buffer, c_uint(1), c_size_t(0), c_size_t(size), held,
            c_uint(0), None, None,
        )  # fmt: skip
        return held.raw

    def arguments(self, kernel: c_void_p, *values: Any) -> None:
        """Set the arguments of a kernel, each a ctypes object."""
        for index, value in enumerate(values):
            self.opencl.call("clSetKernelArg", kernel, c_uint(index), c_size_t(ctypes.sizeof(value)), byref(value))

    def launch(self, kernel: c_void_p, items: int, group: int) -> c_void_p:
        """Queue the kernel over `items` work-items in groups of `group`, start it, and return its event."""
        event, shape, local = c_void_p(), c_size_t(items), c_size_t(group)
        self.opencl.call(
            "clEnqueueNDRangeKernel", self._queue, kernel, c_uint(1), None, byref(shape), byref(local),
            c_uint(0), None, byref(event),
        )  # fmt: skip
        self.opencl.call("clFlush", self._queue)
        return event

    def times(self, event: c_void_p) -> tuple[int, int]:
        """Wait for a launch and return its start and end on the device's clock, ns; the event is then gone."""
        try:
            self.opencl.call("clWaitForEvents", c_uint(1), byref(event))
            start, stop = c_uint64(), c_uint64()
            for what, place in ((_STARTED, start), (_ENDED, stop)):
                self.opencl.call("clGetEventProfilingInfo", event, c_uint(what), c_size_t(8), byref(place), None)
        finally:
            self.opencl._raw("clReleaseEvent")(event)
        return start.value, stop.value

    def _keep(self, release: str, made: c_void_p) -> c_void_p:
        self._undo.append((release, made))
        return made

    def _build_log(self, program: c_void_p) -> str:
        size = c_size_t()
        asked = (program, self._id, c_uint(_BUILD_LOG))
        self.opencl.call("clGetProgramBuildInfo", *asked, c_size_t(0), None, byref(size))
        held = ctypes.create_string_buffer(size.value + 1)
        self.opencl.call("clGetProgramBuildInfo", *asked, size, held, None)
        return " ".join(held.value.decode("utf-8", "replace").split())[:2000]


def require_platform(devices: Sequence[Device], where: str) -> None:
    """Raise ConnectionFailed if the loader found no platform."""
    if not devices:
        raise ConnectionFailed(
            "there is no OpenCL device on this machine",
            where=where,
            why="the loader lists no platform (-1001, CL_PLATFORM_NOT_FOUND_KHR) or no device",
            advice=ADVICE,
        )
