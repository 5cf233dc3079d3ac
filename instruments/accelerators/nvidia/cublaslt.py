"""cuBLASLt's matrix product: what a measurement needs of it, and its errors by name.

Source: cublasLt.h and cublas_api.h of the wheel nvidia-cublas 13.1 (types, constants, sizes of structures). All of
it has been carried out by NVIDIA's library on an H200.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import Structure, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aicalib_hw.errors import AicalibError, ConnectionFailed, ConnectionLost, InstrumentReportedError, NotSupported
from aicalib_hw.transport.library import SharedLibrary

NAMES = ("libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11")
ADVICE = "install it with: pip install nvidia-cublas"
WORKSPACE = 32 << 20
"""Bytes of workspace offered to the library, what NVIDIA recommends on compute capability 9.0."""

# cudaDataType_t, cublasComputeType_t
R_32F, R_16F, R_16BF, R_8F_E4M3 = 0, 2, 14, 28
COMPUTE_32F, COMPUTE_32F_FAST_TF32 = 68, 77
# cublasLtMatmulDescAttributes_t, cublasLtMatmulPreferenceAttributes_t, cublasOperation_t
DESC_TRANSA, PREF_MAX_WORKSPACE_BYTES, OP_T = 3, 1, 1

_NOT_INITIALIZED, _ARCH_MISMATCH, _EXECUTION_FAILED, _INTERNAL_ERROR, _NOT_SUPPORTED = 1, 8, 13, 14, 15


@dataclass(frozen=True, slots=True)
class Mode:
    """How a precision is asked for: format of operands and result, their data types, and the type it computes in."""

    operands: str
    result: str
    operand_type: int
    result_type: int
    compute: int


MODES = {
    "tf32": Mode("fp32", "fp32", R_32F, R_32F, COMPUTE_32F_FAST_TF32),
    "fp16": Mode("fp16", "fp16", R_16F, R_16F, COMPUTE_32F),
    "bf16": Mode("bf16", "bf16", R_16BF, R_16BF, COMPUTE_32F),
    "fp8e4m3": Mode("fp8e4m3", "bf16", R_8F_E4M3, R_16BF, COMPUTE_32F),
}
"""The operands are exact in tf32 too, so that a result of tf32 is compared like one of fp32."""


class HeuristicResult(Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm that the library proposes, and whether it can be used."""

    _fields_ = (
        ("algo", c_uint64 * 8),
        ("workspace_size", c_size_t),
        ("state", c_int),
        ("waves_count", c_float),
        ("reserved", c_int * 4),
    )


class CublasLt:
    """The loaded library; raises ConnectionFailed where there is none."""

    def __init__(self, where: str, names: Sequence[str] | None = None) -> None:
        self.where = where
        purpose = "a matrix product by cuBLASLt"
        self.library = SharedLibrary(names or places(), purpose=purpose, where=where, advice=ADVICE)

    def version(self) -> str:
        """Return the version of the library, for example "13.1.0"."""
        number = int(self._function("cublasLtGetVersion", c_size_t)())
        major, rest = divmod(number, 10_000)
        return f"{major}.{rest // 100}.{rest % 100}"

    def call(self, symbol: str, *arguments: Any) -> None:
        """Call a function that returns a status; arguments are ctypes objects."""
        status = self._function(symbol)(*arguments)
        if status:
            raise self._error(status, symbol)

    def quietly(self, symbol: str, *arguments: Any) -> None:
        """Call a function on the way out, where an error would say only what an earlier one has said."""
        self._function(symbol)(*arguments)

    def _function(self, symbol: str, result: Any = c_int) -> Callable[..., Any]:
        found: Any = self.library.function(symbol, result=result)
        found.argtypes = None  # every argument is given as a ctypes object
        return found  # type: ignore[no-any-return]

    def _error(self, status: int, symbol: str) -> AicalibError:
        text = ""
        if self.library.has("cublasLtGetStatusString"):
            said = self._function("cublasLtGetStatusString", c_char_p)(c_int(status))
            text = said.decode("ascii", "replace") if said else ""
        why = f"{symbol} returned {status}" + (f" ({text})" if text else "")
        kind, what = {
            _NOT_INITIALIZED: (ConnectionFailed, "cuBLASLt does not start on this device"),
            _ARCH_MISMATCH: (NotSupported, "the device does not provide this product"),
            _NOT_SUPPORTED: (NotSupported, "cuBLASLt does not provide this product on this device"),
            _EXECUTION_FAILED: (ConnectionLost, "the device was lost while it computed"),
            _INTERNAL_ERROR: (ConnectionLost, "cuBLASLt failed while it computed"),
        }.get(status, (None, ""))
        if kind is None:
            return InstrumentReportedError(status, text, symbol, where=self.where)
        return kind(what, where=self.where, why=why, advice=ADVICE if kind is ConnectionFailed else "").of_vendor(
            status, text, symbol
        )


def places() -> tuple[str, ...]:
    """Return where the library is looked for: by its name, then in the folders of NVIDIA's Python packages."""
    try:
        package = importlib.util.find_spec("nvidia")
    except (ImportError, ValueError):
        package = None
    folders = list(package.submodule_search_locations or ()) if package is not None else []
    found = [str(path) for folder in folders for name in NAMES for path in sorted(Path(folder).glob(f"*/lib/{name}"))]
    return (*NAMES, *found)


@dataclass(slots=True)
class Plan:
    """A product of square matrices that the library has an algorithm for: D = A transposed x B, all by columns.

    So stored, row i of the left matrix is a column of A, row j of the right one a column of B, and element (i, j) of
    left x right transposed stands at i + j x edge. fp8 is multiplied in this form alone.
    """

    lt: CublasLt
    handle: c_void_p
    description: c_void_p
    operands: c_void_p
    result: c_void_p
    chosen: HeuristicResult

    def multiply(self, left: c_uint64, right: c_uint64, out: c_uint64, workspace: c_uint64, stream: c_void_p) -> None:
        """Queue one product of matrices in device memory."""
        one, zero = c_float(1.0), c_float(0.0)
        self.lt.call(
            "cublasLtMatmul", self.handle, self.description, byref(one), left, self.operands, right, self.operands,
            byref(zero), out, self.result, out, self.result, byref(self.chosen), workspace, c_size_t(WORKSPACE), stream,
        )  # fmt: skip


@contextmanager
def planned(lt: CublasLt, mode: Mode, edge: int) -> Iterator[Plan]:
    """The library's own choice for this product on the current context; all of it is given back on leaving.

    Raises NotSupported where the library has no algorithm, ConnectionFailed where it does not start on the device.
    """
    with Made(lt) as made:
        handle = made("cublasLt", ())
        description, operands, result, preference = describe(lt, mode, edge, made)
        chosen, count = HeuristicResult(), c_int()
        lt.call(
            "cublasLtMatmulAlgoGetHeuristic", handle, description, operands, operands, result, result, preference,
            c_int(1), byref(chosen), byref(count),
        )  # fmt: skip
        if count.value < 1 or chosen.state:
            raise NotSupported("cuBLASLt has no algorithm for this product on this device", where=lt.where)
        yield Plan(lt, handle, description, operands, result, chosen)


class Made:
    """Objects of the library, destroyed on leaving, the newest first."""

    def __init__(self, lt: CublasLt) -> None:
        self._lt = lt
        self._undo: list[tuple[str, c_void_p]] = []

    def __call__(self, kind: str, arguments: Sequence[Any]) -> c_void_p:
        """Return a new object: "cublasLtMatrixLayout" is made by cublasLtMatrixLayoutCreate."""
        place = c_void_p()
        self._lt.call(f"{kind}Create", byref(place), *arguments)
        self._undo.append((f"{kind}Destroy", place))
        return place

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        while self._undo:
            symbol, place = self._undo.pop()
            self._lt.quietly(symbol, place)


def describe(lt: CublasLt, mode: Mode, edge: int, made: Made) -> tuple[c_void_p, c_void_p, c_void_p, c_void_p]:
    """Return operation, layout of both operands, layout of the result, and preference; needs no device."""
    description = made("cublasLtMatmulDesc", (c_int(mode.compute), c_int(R_32F)))
    transposed = c_int32(OP_T)
    lt.call("cublasLtMatmulDescSetAttribute", description, c_int(DESC_TRANSA), byref(transposed), c_size_t(4))
    shape = (c_uint64(edge), c_uint64(edge), c_int64(edge))
    operands = made("cublasLtMatrixLayout", (c_int(mode.operand_type), *shape))
    result = made("cublasLtMatrixLayout", (c_int(mode.result_type), *shape))
    preference = made("cublasLtMatmulPreference", ())
    room = c_uint64(WORKSPACE)
    lt.call(
        "cublasLtMatmulPreferenceSetAttribute", preference, c_int(PREF_MAX_WORKSPACE_BYTES), byref(room), c_size_t(8)
    )
    return description, operands, result, preference
