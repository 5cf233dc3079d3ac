"""AscendCL and its matrix product aclnnMatmul: device memory, events, and the two-phase call.

Source of names, order of arguments and constants: the interface as ggml-cann (ggml-org/llama.cpp, MIT) calls it, and as
the public documentation of CANN describes it.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_float, c_int, c_int8, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Self

from aicalib_hw.errors import AicalibError, ConnectionFailed, ConnectionLost, InstrumentReportedError, NotSupported
from aicalib_hw.transport.library import SharedLibrary, told_by_environment

RUNTIME, OPERATORS, EXECUTORS = ("libascendcl.so",), ("libopapi.so",), ("libnnopbase.so",)
VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
ADVICE = "install CANN and run its set_env.sh in the shell that starts this program"

DATA_TYPES = {"fp32": 0, "fp16": 1, "bf16": 27}
_ND = 2
_HUGE_FIRST = 0
_TO_DEVICE, _TO_HOST = 1, 2
_TIMED_EVENT = 0x8
_ALREADY_INITIALISED = 100002

_NO_DEVICE = {100039, 107001, 200002, 207004, 500004}
_MISSING = {161002, 200001, 200006}
_LOST = {507010, 507014, 507015, 507046, 507054, 507899, 107020}


class Acl:
    """The loaded and initialised runtime with its operators; errors carry what the runtime says last of them."""

    def __init__(self, where: str) -> None:
        self.where = where
        purpose = "computing on an Ascend device"
        self.runtime = SharedLibrary(RUNTIME, purpose=purpose, where=where, advice=ADVICE)
        self.executors = SharedLibrary(EXECUTORS, purpose=purpose, where=where, advice=ADVICE)
        self.operators = SharedLibrary(OPERATORS, purpose=purpose, where=where, advice=ADVICE)
        code = self._function(self.runtime, "aclInit")(c_char_p(None))
        # Whoever initialised it first in this process may still need it: it is never finalised here.
        if code not in (0, _ALREADY_INITIALISED):
            raise self._error(code, "aclInit")

    def device_count(self) -> int:
        """Return how many devices the runtime shows to this process."""
        count = c_uint32()
        self.call("aclrtGetDeviceCount", byref(count))
        return count.value

    def uuid(self, device: int) -> bytes | None:
        """Return the 16 bytes by which the runtime names a device, None where it is too old to."""
        if not self.runtime.has("aclrtDeviceGetUuid"):
            return None
        held = ctypes.create_string_buffer(16)
        code = self._function(self.runtime, "aclrtDeviceGetUuid")(c_int32(device), held)
        return held.raw if code == 0 else None

    def soc_name(self) -> str:
        """Return the full name of the processor, for example "Ascend910B3"."""
        found = self._function(self.runtime, "aclrtGetSocName", c_char_p)()
        return found.decode("ascii", "replace") if found else ""

    def call(self, symbol: str, *arguments: Any, of: SharedLibrary | None = None) -> None:
        """Call a function that returns an error code; arguments are ctypes objects."""
        code = self._function(of or self.runtime, symbol)(*arguments)
        if code:
            raise self._error(code, symbol)

    def quietly(self, symbol: str, *arguments: Any, of: SharedLibrary | None = None) -> None:
        """Call a function on the way out, where an error would say only what an earlier one has said."""
        self._function(of or self.runtime, symbol)(*arguments)

    def _function(self, library: SharedLibrary, symbol: str, result: Any = c_int) -> Any:
        found: Any = library.function(symbol, result=result)
        found.argtypes = None  # every argument is given as a ctypes object
        return found

    def _error(self, code: int, symbol: str) -> AicalibError:
        said = self._function(self.runtime, "aclGetRecentErrMsg", c_char_p)()
        text = " ".join(said.decode("utf-8", "replace").split())[:1000] if said else ""
        why = f"{symbol} returned {code}" + (f" ({text})" if text else "")
        if code in _NO_DEVICE:
            return ConnectionFailed(
                "there is no working Ascend runtime here", where=self.where, why=why, advice=ADVICE
            ).of_vendor(code, text, symbol)
        if code in _MISSING:
            return NotSupported("the device does not provide this", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        if code in _LOST:
            return ConnectionLost("the device was lost while it computed", where=self.where, why=why).of_vendor(
                code, text, symbol
            )
        return InstrumentReportedError(code, text, symbol, where=self.where)


class Session:
    """A device current on the calling thread, with a stream; all is waited for and given back by `close()`."""

    def __init__(self, acl: Acl, device: int) -> None:
        self.acl = acl
        self._device = c_int32(device)
        self.stream = c_void_p()
        self._undo: list[tuple[SharedLibrary, str, Any]] = []

    def __enter__(self) -> Self:
        self.acl.call("aclrtSetDevice", self._device)
        self._undo.append((self.acl.runtime, "aclrtResetDevice", self._device))
        try:
            self.acl.call("aclrtCreateStream", byref(self.stream))
            self._undo.append((self.acl.runtime, "aclrtDestroyStream", self.stream))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what runs, then give everything back, the newest first; never raises."""
        if self.stream:
            self.acl.quietly("aclrtSynchronizeStream", self.stream)
        while self._undo:
            library, symbol, made = self._undo.pop()
            self.acl.quietly(symbol, made, of=library)

    def memory(self, size: int, data: int | None = None) -> c_void_p:
        """Return device memory of `size` bytes, filled from the host's address `data` or else with zeros."""
        place, count = c_void_p(), c_size_t(size)
        self.acl.call("aclrtMalloc", byref(place), count, c_int(_HUGE_FIRST))
        self._undo.append((self.acl.runtime, "aclrtFree", place))
        if data is None:
            self.acl.call("aclrtMemset", place, count, c_int32(0), count)
        else:
            self.acl.call("aclrtMemcpy", place, count, c_void_p(data), count, c_int(_TO_DEVICE))
        return place

    def read(self, place: c_void_p, offset: int, size: int) -> bytes:
        """Return bytes from device memory, after all that is queued."""
        self.acl.call("aclrtSynchronizeStream", self.stream)
        held = ctypes.create_string_buffer(size)
        at = c_void_p((place.value or 0) + offset)
        self.acl.call("aclrtMemcpy", held, c_size_t(size), at, c_size_t(size), c_int(_TO_HOST))
        return held.raw

    def tensor(self, place: c_void_p, rows: int, columns: int, data_type: int) -> c_void_p:
        """Return a matrix over device memory, by rows."""
        shape, strides = (c_int64 * 2)(rows, columns), (c_int64 * 2)(columns, 1)
        two = c_uint64(2)
        made = self.acl._function(self.acl.executors, "aclCreateTensor", c_void_p)(
            shape, two, c_int(data_type), strides, c_int64(0), c_int(_ND), shape, two, place
        )
        if not made:
            raise InstrumentReportedError(161001, "no tensor was made", "aclCreateTensor", where=self.acl.where)
        tensor = c_void_p(made)
        self._undo.append((self.acl.executors, "aclDestroyTensor", tensor))
        return tensor

    def plan_matmul(self, tensors: tuple[c_void_p, ...], cube_math_type: int) -> tuple[int, c_void_p]:
        """Return the bytes of workspace and the executor of one product, left x right = out: the first phase."""
        size, executor = c_uint64(), c_void_p()
        self.acl.call(
            "aclnnMatmulGetWorkspaceSize", *tensors, c_int8(cube_math_type), byref(size), byref(executor),
            of=self.acl.operators,
        )  # fmt: skip
        return size.value, executor

    def make_repeatable(self, executor: c_void_p) -> bool:
        """Let an executor be used more than once; False where this release cannot."""
        if not self.acl.executors.has("aclSetAclOpExecutorRepeatable"):
            return False
        if self.acl._function(self.acl.executors, "aclSetAclOpExecutorRepeatable")(executor):
            return False
        self._undo.append((self.acl.executors, "aclDestroyAclOpExecutor", executor))
        return True

    def matmul(self, workspace: c_void_p, size: int, executor: c_void_p) -> None:
        """Queue one product: the second phase."""
        self.acl.call("aclnnMatmul", workspace, c_uint64(size), executor, self.stream, of=self.acl.operators)

    def event(self) -> c_void_p:
        """Return a new event that keeps its time."""
        event = c_void_p()
        self.acl.call("aclrtCreateEventWithFlag", byref(event), c_uint32(_TIMED_EVENT))
        return event

    def record(self, event: c_void_p) -> None:
        """Queue the event on the stream."""
        self.acl.call("aclrtRecordEvent", event, self.stream)

    def wait(self, event: c_void_p) -> None:
        """Wait until the event has happened."""
        self.acl.call("aclrtSynchronizeEvent", event)

    def seconds(self, start: c_void_p, stop: c_void_p) -> float:
        """Return the time between two events that have happened, s."""
        elapsed = c_float()
        self.acl.call("aclrtEventElapsedTime", byref(elapsed), start, stop)
        return elapsed.value / 1e3

    def forget(self, event: c_void_p) -> None:
        """Give an event back."""
        self.acl.quietly("aclrtDestroyEvent", event)


def find(acl: Acl, die: bytes | None, logic_id: int) -> tuple[int, str]:
    """Return the runtime's number of the device of this die or logic id, and by what it was found; or raise.

    Never by place in a list: the UUID where the runtime tells one that is the beginning of the die's number, else
    DCMI's logic id, which is the runtime's own number as long as the runtime shows all devices: where it was told to
    show some, it counts those, and nothing is joined by number.
    """
    count = acl.device_count()
    if die is not None:
        for device in range(count):
            if acl.uuid(device) == die[:16]:
                return device, "uuid"
    if told_by_environment(VISIBLE):
        raise ConnectionFailed(
            f"which of the Ascend runtime's devices has the logic id {logic_id} is not known",
            where=acl.where,
            why=f"{VISIBLE} is set, so the runtime counts its devices anew, and it tells no UUID",
            advice=f"unset {VISIBLE}, or give acl_device",
        )
    if logic_id >= count:
        raise ConnectionFailed(
            f"the Ascend runtime does not show the device of logic id {logic_id}",
            where=acl.where,
            why=f"it shows {count}",
            advice="check which devices the container was given",
        )
    return logic_id, "logic id"
