"""The simulated libcuda.so.1 with kernels that NVIDIA's own compiler made: what they compute, and how long."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from ctypes import c_float, c_int, c_uint, c_uint64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Devices
from .cuda_program import Cuda, CudaError, ptx

Started = Callable[..., tuple[Any, Cuda]]
rng = np.random.default_rng(7)

PEAK = """
extern "C" __global__ void peak(float *out, float a, float b, int n) {
    float x0 = threadIdx.x, x1 = x0 + 1, x2 = x0 + 2, x3 = x0 + 3, x4 = x0 + 4, x5 = x0 + 5, x6 = x0 + 6, x7 = x0 + 7;
    for (int i = 0; i < n; i++) {
#pragma unroll
        for (int j = 0; j < 16; j++) {
            x0 = fmaf(x0, a, b); x1 = fmaf(x1, a, b); x2 = fmaf(x2, a, b); x3 = fmaf(x3, a, b);
            x4 = fmaf(x4, a, b); x5 = fmaf(x5, a, b); x6 = fmaf(x6, a, b); x7 = fmaf(x7, a, b);
        }
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7;
}
"""
FMA_OF_ROUND = 16 * 8

MIXED = """
extern "C" __global__ void saxpy(int n, float a, const float *x, float *y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
extern "C" __global__ void gemm(const double *A, const double *B, double *C, int n) {
    __shared__ double a[16][16], b[16][16];
    int ty = threadIdx.x / 16, tx = threadIdx.x % 16, row = ty + blockIdx.x / (n / 16) * 16;
    int column = tx + blockIdx.x % (n / 16) * 16;
    double sum = 0;
    for (int t = 0; t < n / 16; t++) {
        a[ty][tx] = A[row * n + t * 16 + tx];
        b[ty][tx] = B[(t * 16 + ty) * n + column];
        __syncthreads();
        for (int k = 0; k < 16; k++) sum += a[ty][k] * b[k][tx];
        __syncthreads();
    }
    C[row * n + column] = sum;
}
extern "C" __global__ void sum(const float *x, float *out, int n) {
    __shared__ float warps[8];
    float s = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) s += x[i];
    for (int o = 16; o; o >>= 1) s += __shfl_down_sync(0xffffffffu, s, o);
    if ((threadIdx.x & 31) == 0) warps[threadIdx.x >> 5] = s;
    __syncthreads();
    if (threadIdx.x == 0) {
        float total = 0;
        for (int i = 0; i < 8; i++) total += warps[i];
        atomicAdd(out, total);
    }
}
__constant__ unsigned table[4] = {3, 1, 4, 1};
extern "C" __global__ void integers(unsigned long long *out, unsigned seed) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, h = seed ^ i;
    for (int k = 0; k < 5 + (i & 7); k++) {
        h = h * 1664525u + 1013904223u;
        h ^= h >> 13;
        h = __funnelshift_l(h, h, 7);
    }
    int divisor = (int)(i % 97) - 48 ? (int)(i % 97) - 48 : 5;
    long long q = (long long)(int)h / divisor;
    out[i] = (unsigned long long)q * table[i & 3] + __popc(h) + __clz(h) + __umulhi(h, h) + (h % 1000003u);
}
"""


@pytest.fixture
def started(devices: Devices) -> Iterator[Started]:
    """A function that returns a simulated GPU and a client of it."""
    opened: list[Cuda] = []

    def start(**options: Any) -> tuple[Any, Cuda]:
        (gpu,) = devices("nvidia", **options)
        gpu.start()
        opened.append(Cuda())
        return gpu, opened[-1]

    yield start
    for cuda in opened:
        cuda.close()


def test_a_guarded_loop_free_kernel_touches_what_it_should(started: Started) -> None:
    _, cuda = started()
    x, y = (rng.random(1100).astype(np.float32) for _ in range(2))
    device_y = cuda.up(y)
    cuda.launch(cuda.function(ptx(MIXED), "saxpy"), 4, 256, c_int(1000), c_float(2.5), cuda.up(x), device_y)
    expected = y.copy()
    expected[:1000] = (2.5 * x[:1000].astype(np.float64) + y[:1000]).astype(np.float32)
    assert cuda.down(device_y, y).tobytes() == expected.tobytes()


def test_threads_of_a_block_share_memory_and_meet_at_barriers(started: Started) -> None:
    gpu, cuda = started()
    n = 48
    a, b = rng.random((n, n)), rng.random((n, n))
    device_c = cuda.up(np.zeros((n, n)))
    cuda.launch(cuda.function(ptx(MIXED), "gemm"), 9, 256, cuda.up(a), cuda.up(b), device_c, c_int(n))
    assert cuda.down(device_c, a) == pytest.approx(a @ b, rel=1e-14)
    assert gpu.truth.operations["fp64"] == 2 * n**3


def test_lanes_exchange_values_and_blocks_add_atomically(started: Started) -> None:
    _, cuda = started()
    x = (np.arange(5000) % 7).astype(np.float32)
    total = cuda.up(np.zeros(1, np.float32))
    cuda.launch(cuda.function(ptx(MIXED), "sum"), 3, 256, cuda.up(x), total, c_int(5000))
    assert cuda.down(total, np.zeros(1, np.float32))[0] == x.sum()


def test_integer_arithmetic_is_that_of_the_c_language(started: Started) -> None:
    _, cuda = started()

    def expected(i: int) -> int:
        h = 12345 ^ i
        for _ in range(5 + (i & 7)):
            h = (h * 1664525 + 1013904223) % 2**32
            h ^= h >> 13
            h = (h << 7 | h >> 25) % 2**32
        signed, divisor = h - (h >> 31 << 32), i % 97 - 48 or 5
        quotient = abs(signed) // abs(divisor) * (1 if (signed < 0) == (divisor < 0) else -1)
        return (
            quotient * (3, 1, 4, 1)[i & 3] + h.bit_count() + 32 - h.bit_length() + (h * h >> 32) + h % 1000003
        ) % 2**64

    out = cuda.up(np.zeros(512, np.uint64))
    cuda.launch(cuda.function(ptx(MIXED), "integers"), 2, 256, out, c_uint(12345))
    assert cuda.down(out, np.zeros(512, np.uint64)).tolist() == [expected(i) for i in range(512)]


def test_operations_of_a_large_grid_are_counted_from_one_thread(started: Started) -> None:
    gpu, cuda = started()
    grid, block, rounds = 132 * 8, 256, 3000
    function = cuda.function(ptx(PEAK), "peak")
    out = cuda.up(np.zeros(grid * block, np.float32))
    with cuda.timed() as seconds:
        cuda.launch(function, grid, block, out, c_float(0.999), c_float(0.001), c_int(rounds))
    flop = 2 * FMA_OF_ROUND * rounds * grid * block
    assert gpu.truth.operations["fp32"] == pytest.approx(flop, rel=1e-4)
    assert flop / seconds[0] < 132 * 256 * 1980e6
    x, a, b = np.arange(8, dtype=np.float32), np.float64(np.float32(0.999)), np.float64(np.float32(0.001))
    for _ in range(16 * rounds):
        x = (x * a + b).astype(np.float32)
    total = x[0]
    for value in x[1:]:
        total = np.float32(total + value)
    assert cuda.down(out, np.zeros(grid * block, np.float32))[0] == total


def test_the_rate_is_that_of_the_units_at_the_clock_of_the_moment(started: Started) -> None:
    gpu, cuda = started()
    function = cuda.function(ptx(PEAK), "peak")
    out = cuda.up(np.zeros(132 * 8 * 256, np.float32))
    for locked in (None, 990.0):
        if locked is not None:
            gpu.world.node.set(gpu.index, "clock_maximum", locked * 1e6)
            gpu.world.clock.advance(1.0)
        for _ in range(10):
            with cuda.timed() as seconds:
                cuda.launch(function, 132 * 8, 256, out, c_float(0.999), c_float(0.001), c_int(2000))
        clock = gpu.truth.clock
        rate = 2 * FMA_OF_ROUND * 2000 * 132 * 8 * 256 / seconds[0]
        assert 0.96 < rate / (132 * 256 * clock) < 1.0
        assert clock == pytest.approx((locked or 1980.0) * 1e6)


def test_work_raises_power_clock_heat_and_the_platforms_mains(started: Started) -> None:
    gpu, cuda = started()
    gpu.world.clock.advance(5.0)
    idle, mains, cool = gpu.truth.power, gpu.world.truth.active_power, gpu.truth.temperature
    function = cuda.function(ptx(PEAK), "peak")
    out = cuda.up(np.zeros(132 * 8 * 256, np.float32))
    for _ in range(200):
        cuda.launch(function, 132 * 8, 256, out, c_float(0.999), c_float(0.001), c_int(20000))
    gpu.world.clock.advance(2.0)
    assert gpu.truth.power > idle + 400
    assert gpu.world.truth.active_power > mains + 400
    assert gpu.truth.temperature > cool + 3
    cuda("cuCtxSynchronize")
    gpu.world.clock.advance(2.0)
    assert gpu.truth.power == pytest.approx(idle, rel=0.05)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda text: text.replace(b"fma.rn.f32", b"fma.rz.f32"), 218, b"directed rounding"),
        (lambda text: text.replace(b"fma.rn.f32", b"frobnicate.f32"), 218, b"frobnicate"),
        (lambda text: text.replace(b"\tret;", b"\twgmma.fence.sync.aligned;\n\tret;"), 218, b"wgmma"),
        (lambda text: text.replace(b"sm_80", b"sm_120"), 209, b"sm_120"),
        (lambda text: text.replace(b".version ", b".version 9"), 222, b"newer"),
        (lambda text: text.replace(b"setp", b"setp.nonsense"), 218, b"nonsense"),
        (lambda text: text[: len(text) // 2], 218, b""),
        (lambda text: b"\177ELF" + text, 209, b""),
        (lambda text: b"hello", 218, b""),
    ],
)
def test_what_cannot_be_interpreted_is_refused_with_its_reason(
    started: Started, change: Callable[[bytes], bytes], code: int, words: bytes
) -> None:
    _, cuda = started()
    with pytest.raises(CudaError) as refused:
        cuda.module(change(ptx(PEAK)))
    assert refused.value.code == code
    assert words in cuda.log.value


def test_a_kernel_that_other_threads_decide_is_refused_in_a_grid_too_large_to_follow(started: Started) -> None:
    _, cuda = started()
    function = cuda.function(ptx(MIXED), "sum")
    x, total = cuda.up(np.ones(5000, np.float32)), cuda.up(np.zeros(1, np.float32))
    with pytest.raises(CudaError) as refused:
        cuda.launch(function, 1_000_000, 256, x, total, c_int(5000))
    assert refused.value.code == 218


def test_illegal_addresses_are_found_at_the_next_synchronisation(started: Started) -> None:
    _, cuda = started()
    cuda.launch(cuda.function(ptx(PEAK), "peak"), 1, 32, c_uint64(0xDEAD0000), c_float(1), c_float(0), c_int(1))
    with pytest.raises(CudaError) as raised:
        cuda("cuCtxSynchronize")
    assert raised.value.code == 700
    cuda("cuDevicePrimaryCtxReset_v2", 0)
    Cuda()("cuCtxSynchronize")


@pytest.mark.parametrize(("fault", "code"), [("lost", 999), ({"kind": "ecc_uncorrected"}, 214)])
def test_a_device_that_fails_during_a_run_says_so(started: Started, fault: Any, code: int) -> None:
    gpu, cuda = started()
    function = cuda.function(ptx(PEAK), "peak")
    out = cuda.up(np.zeros(132 * 8 * 256, np.float32))
    cuda.launch(function, 132 * 8, 256, out, c_float(0.999), c_float(0.001), c_int(20000))
    gpu.inject(fault)
    with pytest.raises(CudaError) as raised:
        cuda("cuCtxSynchronize")
    assert raised.value.code == code


def test_a_device_that_computes_wrongly_stores_wrong_numbers(started: Started) -> None:
    gpu, cuda = started()
    gpu.inject("wrong_result")
    y = np.zeros(64, np.float32)
    device = cuda.up(y)
    cuda.launch(cuda.function(ptx(MIXED), "saxpy"), 1, 64, c_int(64), c_float(1), cuda.up(y + 1), device)
    assert (cuda.down(device, y) != 1).all()


def test_identity_agrees_with_nvml_and_the_device_properties_with_the_data_sheet(started: Started) -> None:
    _, cuda = started(model="a100")
    uuid = ctypes.create_string_buffer(16)
    cuda("cuDeviceGetUuid_v2", uuid, 0)
    assert uuid.raw.startswith(b"SIM")
    value = c_int()
    for attribute, expected in ((16, 108), (75, 8), (76, 0), (13, 1410_000), (10, 32), (37, 5120)):
        cuda("cuDeviceGetAttribute", ctypes.byref(value), attribute, 0)
        assert value.value == expected
    total = ctypes.c_size_t()
    cuda("cuDeviceTotalMem_v2", ctypes.byref(total), 0)
    assert total.value == 80 << 30
    with pytest.raises(CudaError) as refused:
        cuda("cuMemAlloc_v2", ctypes.byref(c_uint64()), ctypes.c_size_t(90 << 30))
    assert refused.value.code == 2


def test_in_a_fast_world_times_and_energies_are_those_of_the_programs_host(started: Started) -> None:
    gpu, cuda = started(rate=20.0)
    function = cuda.function(ptx(PEAK), "peak")
    out = cuda.up(np.zeros(132 * 8 * 256, np.float32))
    arguments = (out, c_float(0.999), c_float(0.001), c_int(20000))
    for _ in range(10):
        cuda.launch(function, 132 * 8, 256, *arguments)
    cuda("cuCtxSynchronize")
    before = gpu.truth.energy
    with cuda.timed() as seconds:
        for _ in range(10):
            cuda.launch(function, 132 * 8, 256, *arguments)
    power = (gpu.truth.energy - before) / (20.0 * seconds[0])
    assert 0.96 < 10 * 2 * FMA_OF_ROUND * 20000 * 132 * 8 * 256 / seconds[0] / (132 * 256 * 1980e6) < 1.0
    assert 400.0 < power < 700.0


def test_no_text_makes_the_reader_of_ptx_fall_over(started: Started) -> None:
    _, cuda = started()
    source, draw = ptx(MIXED), np.random.default_rng(3)
    words = [
        b"",
        b";",
        b"{",
        b"}",
        b"[",
        b"]",
        b"%r1",
        b".",
        b"0x",
        b"@",
        b",",
        b"bra $L",
        b"\xff",
        b"99999999999",
        b"-",
        b"<9>",
    ]
    seen = set()
    for _ in range(400):
        at = int(draw.integers(0, len(source)))
        length = int(draw.integers(0, 12))
        changed = source[:at] + words[int(draw.integers(0, len(words)))] + source[at + length :]
        module = ctypes.c_void_p()
        code = ctypes.CDLL("libcuda.so.1").cuModuleLoadData(ctypes.byref(module), changed + b"\0")
        seen.add(code)
        if code == 0:
            cuda("cuModuleUnload", module)
    assert {0, 218} <= seen <= {0, 2, 209, 218, 222}


def test_devices_work_at_once_in_threads_and_a_forked_child_has_no_driver(devices: Devices) -> None:
    gpus = devices("nvidia", 2, rate=1.0)
    program = f"""
import ctypes, os, sys, threading
import numpy as np
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.simulators.cuda_program import Cuda, CudaError
image = open(sys.argv[1], "rb").read()
results = []
def work(number):
    cuda = Cuda(number)
    y = np.full(256, number, np.float32)
    function, x, out = cuda.function(image, "saxpy"), cuda.up(y + 1), cuda.up(y)
    for _ in range(200):
        cuda.launch(function, 1, 256, ctypes.c_int(256), ctypes.c_float(1), x, out)
    results.append((cuda.down(out, y) == number + 200 * (number + 1)).all())
threads = [threading.Thread(target=work, args=(number % 2,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
child = os.fork()
if child == 0:
    try:
        Cuda(0)
    except CudaError as error:
        os._exit(error.code)
    os._exit(99)
print(all(results), len(results), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    with tempfile.NamedTemporaryFile() as image:
        image.write(ptx(MIXED))
        image.flush()
        done = subprocess.run(
            [sys.executable, "-c", program, image.name],
            env={**os.environ, **gpus[0].preload},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout.split() == ["True", "4", "3"], done.stderr
    for number, gpu in enumerate(gpus):
        assert gpu.truth.operations["fp32"] == 2 * 200 * 256 * 2, number
