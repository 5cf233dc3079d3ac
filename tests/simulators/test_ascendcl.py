"""The simulated libascendcl, libnnopbase and libopapi, called as open programs call them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from ctypes import c_float, c_int8, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any

import numpy as np
import pytest
from aicalib_hw.simulators import vendor_libraries
from numpy.typing import NDArray

from .conftest import Devices

Array = NDArray[Any]
Started = Callable[..., tuple[Any, "Acl"]]
KEEP, ALLOW_LESS, USE_FP16, USE_HF32 = range(4)
UP, DOWN = 1, 2
TIME_LINE = 8
_TYPES = {"float32": 0, "float16": 1}
rng = np.random.default_rng(11)


class Acl:
    """A client of AscendCL on device 0."""

    def __init__(self, soc: str = "") -> None:
        self._libraries = [
            ctypes.CDLL(str(vendor_libraries.path_of(name)))
            for name in ("libascendcl.so", "libnnopbase.so", "libopapi.so")
        ]
        self._libraries[1].aclCreateTensor.restype = c_void_p
        self._libraries[0].aclrtGetSocName.restype = ctypes.c_char_p
        self._libraries[0].aclGetRecentErrMsg.restype = ctypes.c_char_p
        self("aclInit", None)
        self("aclrtSetDevice", 0)

    def raw(self, name: str, *arguments: Any) -> Any:
        """Call a function of whichever library has it."""
        for library in self._libraries:
            if hasattr(library, name):
                return getattr(library, name)(*arguments)
        raise AssertionError(name)

    def __call__(self, name: str, *arguments: Any) -> None:
        code = self.raw(name, *arguments)
        assert code == 0, (name, code, self.raw("aclGetRecentErrMsg"))

    def allocate(self, size: int) -> c_void_p:
        address = c_void_p()
        self("aclrtMalloc", ctypes.byref(address), c_size_t(size), 0)
        return address

    def up(self, array: Array) -> c_void_p:
        address = self.allocate(array.nbytes)
        self("aclrtMemcpy", address, c_size_t(array.nbytes), c_void_p(array.ctypes.data), c_size_t(array.nbytes), UP)
        return address

    def down(self, address: c_void_p, like: Array) -> Array:
        out = np.empty_like(like)
        self("aclrtMemcpy", c_void_p(out.ctypes.data), c_size_t(out.nbytes), address, c_size_t(out.nbytes), DOWN)
        return out

    def tensor(self, address: c_void_p, rows: int, columns: int, kind: int, transposed: bool = False) -> c_void_p:
        size = (c_int64 * 2)(rows, columns)
        stride = (c_int64 * 2)(1, rows) if transposed else (c_int64 * 2)(columns, 1)
        made = self.raw("aclCreateTensor", size, c_uint64(2), kind, stride, c_int64(0), 2, size, c_uint64(2), address)
        return c_void_p(made)

    def prepare(self, tensors: Sequence[c_void_p], math: int) -> tuple[int, Any, Any]:
        workspace, executor = c_uint64(), c_void_p()
        code = self.raw(
            "aclnnMatmulGetWorkspaceSize", *tensors, c_int8(math), ctypes.byref(workspace), ctypes.byref(executor)
        )
        return code, workspace, executor

    def matmul(self, a: Array, b: Array, math: int, transposed: bool = False) -> Array:
        kind = _TYPES[a.dtype.name]
        m, k, n = a.shape[0], a.shape[1], b.shape[1]
        out = np.zeros((m, n), a.dtype)
        device = self.up(out)
        held = np.ascontiguousarray(b.T) if transposed else b
        tensors = [
            self.tensor(self.up(a), m, k, kind),
            self.tensor(self.up(held), k, n, kind, transposed),
            self.tensor(device, m, n, kind),
        ]
        code, workspace, executor = self.prepare(tensors, math)
        assert code == 0, self.raw("aclGetRecentErrMsg")
        self("aclnnMatmul", self.allocate(workspace.value), workspace, executor, None)
        self("aclrtSynchronizeDevice")
        return self.down(device, out)


@pytest.fixture
def started(devices: Devices) -> Iterator[Started]:
    """A function that returns a simulated NPU and a client of it."""
    opened: list[Acl] = []

    def start(**options: Any) -> tuple[Any, Acl]:
        (npu,) = devices("ascend", **options)
        npu.start()
        opened.append(Acl())
        return npu, opened[-1]

    yield start
    for acl in opened:
        acl("aclFinalize")


def rounded(x: Array, mantissa_bits: int) -> Array:
    """x to so many bits of mantissa, to nearest even."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    found: Array = np.ldexp(np.round(np.ldexp(mantissa, mantissa_bits + 1)), exponent - mantissa_bits - 1)
    return found


@pytest.mark.parametrize("transposed", [False, True])
def test_small_products_are_true_in_the_type_of_the_operands(started: Started, transposed: bool) -> None:
    npu, acl = started()
    assert acl.raw("aclrtGetSocName") == b"Ascend910B3"
    a, b = rng.standard_normal((48, 80)), rng.standard_normal((80, 32))
    for kind, relative in ((np.float32, 1e-6), (np.float16, 2e-3)):
        x, y = a.astype(kind), b.astype(kind)
        true = x.astype(np.float64) @ y.astype(np.float64)
        assert acl.matmul(x, y, KEEP, transposed) == pytest.approx(true, rel=relative, abs=relative)
    assert npu.truth.operations == {"matrix-fp32": 2 * 48 * 80 * 32, "matrix-fp16": 2 * 48 * 80 * 32}


def test_the_cubes_mathematics_is_what_was_asked_for(started: Started) -> None:
    npu, acl = started()
    a, b = (rng.standard_normal((64, 64)).astype(np.float32) for _ in range(2))
    true = a.astype(np.float64) @ b.astype(np.float64)
    half = a.astype(np.float16).astype(np.float64) @ b.astype(np.float16).astype(np.float64)
    hf32 = rounded(a, 11) @ rounded(b, 11)
    assert acl.matmul(a, b, KEEP) == pytest.approx(true, rel=1e-5, abs=1e-5)
    assert acl.matmul(a, b, USE_FP16) == pytest.approx(half, rel=1e-5, abs=1e-5)
    assert acl.matmul(a, b, ALLOW_LESS) == pytest.approx(hf32, rel=1e-5, abs=1e-5)
    assert acl.matmul(a, b, USE_HF32) == pytest.approx(hf32, rel=1e-5, abs=1e-5)
    assert set(npu.truth.operations) == {"matrix-fp32", "matrix-fp16", "matrix-tf32"}


def test_the_910_of_an_atlas_900_has_no_single_precision_product(started: Started) -> None:
    _, acl = started(model="910")
    assert acl.raw("aclrtGetSocName") == b"Ascend910A"
    address = acl.up(np.zeros((16, 16), np.float32))
    for kind, math, accepted in (
        (0, KEEP, False),
        (0, USE_HF32, False),
        (0, ALLOW_LESS, True),
        (1, KEEP, True),
        (27, KEEP, False),
    ):
        tensors = [acl.tensor(address, 16, 16, kind) for _ in range(3)]
        assert (acl.prepare(tensors, math)[0] == 0) is accepted
    a, b = (rng.standard_normal((32, 32)).astype(np.float32) for _ in range(2))
    half = a.astype(np.float16).astype(np.float64) @ b.astype(np.float16).astype(np.float64)
    assert acl.matmul(a, b, ALLOW_LESS) == pytest.approx(half, rel=1e-5, abs=1e-5)


def test_a_large_product_takes_the_time_of_its_units_and_its_power(started: Started) -> None:
    npu, acl = started()
    n = 4096
    address = acl.allocate(2 * n * n)
    workspace = acl.allocate(16 << 20)
    tensors = [acl.tensor(address, n, n, 1), acl.tensor(address, n, n, 1), acl.tensor(acl.allocate(2 * n * n), n, n, 1)]
    stream, begin, end = c_void_p(), c_void_p(), c_void_p()
    acl("aclrtCreateStream", ctypes.byref(stream))
    for event in (begin, end):
        acl("aclrtCreateEventWithFlag", ctypes.byref(event), TIME_LINE)
    idle = npu.truth.power

    def launch() -> None:
        code, size, executor = acl.prepare(tensors, KEEP)
        assert code == 0
        acl("aclnnMatmul", workspace, size, executor, stream)

    for _ in range(200):
        launch()
    acl("aclrtSynchronizeStream", stream)
    acl("aclrtRecordEvent", begin, stream)
    for _ in range(400):
        launch()
    npu.world.clock.advance(0.05)
    assert npu.truth.power > idle + 200
    acl("aclrtRecordEvent", end, stream)
    acl("aclrtSynchronizeStream", stream)
    milliseconds = c_float()
    acl("aclrtEventElapsedTime", ctypes.byref(milliseconds), begin, end)
    rate = 400 * 2 * n**3 / (milliseconds.value * 1e-3)
    peak = 20 * 8192 * npu.truth.clock  # 2 x 16 x 16 x 16 a clock and core
    assert 0.9 < rate / peak < 1.0
    assert acl.raw("aclrtEventElapsedTime", ctypes.byref(milliseconds), end, begin) == 107007


def test_what_was_not_computed_is_not_a_number(started: Started) -> None:
    _, acl = started()
    n = 2048
    a = rng.integers(-4, 5, (n, n)).astype(np.float16)
    device_c = acl.up(np.zeros((n, n), np.float16))
    device_a = acl.up(a)
    code, size, executor = acl.prepare(
        (acl.tensor(device_a, n, n, 1), acl.tensor(device_a, n, n, 1), acl.tensor(device_c, n, n, 1)), KEEP
    )
    assert code == 0
    acl("aclnnMatmul", acl.allocate(size.value), size, executor, None)
    row = np.zeros(64, np.float16)
    place = c_void_p((device_c.value or 0) + 2 * (1234 * n + 256))
    assert acl.down(place, row) == pytest.approx(a[1234].astype(np.float64) @ a[:, 256:320].astype(np.float64))
    whole = acl.down(device_c, np.zeros((n, n), np.float16)).astype(np.float64)
    known = ~np.isnan(whole)
    assert 0 < known.sum() < n * n
    assert (whole == a.astype(np.float64) @ a.astype(np.float64))[known].all()


def test_a_product_that_is_read_late_is_that_of_its_time(started: Started) -> None:
    _, acl = started()
    a = rng.integers(-4, 5, (32, 32)).astype(np.float32)
    device_a, device_c = acl.up(a), acl.up(np.zeros_like(a))
    code, size, executor = acl.prepare(
        (acl.tensor(device_a, 32, 32, 0), acl.tensor(device_a, 32, 32, 0), acl.tensor(device_c, 32, 32, 0)), KEEP
    )
    assert code == 0
    acl("aclnnMatmul", acl.allocate(size.value), size, executor, None)
    acl("aclrtMemset", device_a, c_size_t(a.nbytes), c_int32(0), c_size_t(a.nbytes))
    assert acl.down(device_c, a).tobytes() == (a @ a).tobytes()


def test_a_product_outlives_the_operands_it_was_made_of(started: Started) -> None:
    _, acl = started()
    n = 2048
    a = rng.integers(-4, 5, (n, n)).astype(np.float16)
    device_a, device_c = acl.up(a), acl.up(np.zeros((n, n), np.float16))
    code, size, executor = acl.prepare(
        (acl.tensor(device_a, n, n, 1), acl.tensor(device_a, n, n, 1), acl.tensor(device_c, n, n, 1)), KEEP
    )
    assert code == 0
    acl("aclnnMatmul", acl.allocate(size.value), size, executor, None)
    acl("aclrtSynchronizeDevice")
    acl("aclrtFree", device_a)
    assert acl.raw("aclrtFree", device_a) == 100000
    assert acl.raw("aclrtMemset", device_a, c_size_t(2), c_int32(0), c_size_t(2)) == 100000
    row = np.zeros(16, np.float16)
    place = c_void_p((device_c.value or 0) + 2 * 77 * n)
    assert acl.down(place, row) == pytest.approx(a[77].astype(np.float64) @ a[:, :16].astype(np.float64))
    acl("aclrtFree", device_c)


def test_misuse_is_answered_with_the_vendors_codes(started: Started) -> None:
    npu, acl = started()
    assert acl.raw("aclInit", None) == 100002
    assert acl.raw("aclrtSetDevice", 3) == 107001
    assert acl.raw("aclnnMatmulGetWorkspaceSize", None, None, None, c_int8(0), None, None) == 161001
    address = acl.up(np.zeros((16, 16), np.float16))
    a, wrong = acl.tensor(address, 16, 16, 1), acl.tensor(address, 8, 16, 1)
    assert acl.prepare((a, wrong, a), KEEP)[0] == 161002
    assert b"shapes" in acl.raw("aclGetRecentErrMsg")
    _, size, executor = acl.prepare((a, a, a), KEEP)
    workspace = acl.allocate(size.value)
    acl("aclnnMatmul", workspace, size, executor, None)
    assert acl.raw("aclnnMatmul", workspace, size, executor, None) == 161002
    _, size, executor = acl.prepare((a, a, a), KEEP)
    acl("aclSetAclOpExecutorRepeatable", executor)
    for _ in range(2):
        acl("aclnnMatmul", workspace, size, executor, None)
    acl("aclDestroyAclOpExecutor", executor)
    assert acl.raw("aclrtMalloc", ctypes.byref(c_void_p()), c_size_t(80 << 30), 0) == 207018
    npu.inject("lost")
    assert acl.raw("aclrtSynchronizeDevice") == 507010


def test_a_device_that_computes_wrongly_is_seen_in_its_products(started: Started) -> None:
    npu, acl = started()
    npu.inject("wrong_result")
    a = np.eye(16, dtype=np.float32)
    assert (acl.matmul(a, a, KEEP) != a).all()


def test_numbers_are_converted_as_numpy_does(started: Started) -> None:
    _, acl = started()
    library = ctypes.CDLL(str(vendor_libraries.path_of("libascendcl.so")))
    library.aclFloat16ToFloat.restype = c_float
    library.aclFloatToFloat16.restype = ctypes.c_uint16
    assert acl.raw("aclDataTypeSize", 1) == 2
    bits = np.arange(65536, dtype=np.uint16)
    expected = bits.view(np.float16).astype(np.float32)
    found = np.array([library.aclFloat16ToFloat(ctypes.c_uint16(int(one))) for one in bits], np.float32)
    assert np.array_equal(found, expected, equal_nan=True)
    for value in (1.0, 65504.0, 65520.0, 6e-8, 2.9e-8, 0.333333, -1e5, 1.0009765, 1.00048828125):
        got = library.aclFloatToFloat16(c_float(value))
        with np.errstate(over="ignore"):
            assert got == int(np.float32(value).astype(np.float16).view(np.uint16))


def test_without_a_node_there_is_no_driver(started: Started) -> None:
    npu, _ = started()
    npu.world.stop()
    libraries = vendor_libraries.path_of("libascendcl.so")
    library = ctypes.CDLL(str(libraries))
    library.aicalib_simulated_use(None)
    assert library.aclInit(None) == 500004
