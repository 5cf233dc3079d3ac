"""Every shape of `mma.sync` that the simulated CUDA driver carries out, in kernels that NVIDIA's own compiler made."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import c_int
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from .conftest import Devices
from .cuda_program import Array, Cuda, ptx

rng = np.random.default_rng(7)


def _minifloats(exponent_bits: int, fraction_bits: int) -> Array:
    """The numbers of the 8-bit format of so many bits, by the definition of a binary floating-point format."""
    bias, size = 2 ** (exponent_bits - 1) - 1, 2**fraction_bits
    codes = np.arange(256)
    exponent, fraction = codes >> fraction_bits & 2**exponent_bits - 1, codes % size / size
    value = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
    found: Array = np.where(codes < 128, value, -value)
    return found


@dataclass(frozen=True)
class Shape:
    """m and k (n is 8), type of the operands and of the accumulator as PTX writes them, and where it is counted."""

    m: int
    k: int
    operands: str
    accumulator: str
    unit: str

    @property
    def name(self) -> str:
        return f"m{self.m}n8k{self.k}_{self.operands}_{self.accumulator}"

    @property
    def storage(self) -> Any:
        """The type in which numpy keeps an operand as it stands in memory."""
        return {"f64": np.float64, "tf32": np.float32, "f16": np.float16, "bf16": np.uint16, "s8": np.int8}.get(
            self.operands, np.uint8
        )

    @property
    def pack(self) -> int:
        """Operands in one register."""
        return max(1, 4 // int(np.dtype(self.storage).itemsize))

    @property
    def results(self) -> int:
        """Elements of the product that a lane holds."""
        return self.m // 4

    def drawn(self, count: int) -> tuple[Array, Array]:
        """Random operands: as they stand in memory, and the numbers that they are."""
        if self.operands in ("e4m3", "e5m2"):
            table = _minifloats(*((4, 3) if self.operands == "e4m3" else (5, 2)))
            codes = rng.choice(np.flatnonzero((np.abs(table) <= 16) & (np.abs(table) >= 0.125)), count)
            return codes.astype(np.uint8), table[codes]
        low = 0 if self.operands == "u8" else -100
        whole = rng.integers(low, 100, count)
        if self.operands in ("s8", "u8"):
            return whole.astype(self.storage), whole.astype(np.float64)
        values = (whole / 8).astype(np.float32)
        if self.operands == "bf16":
            return (values.view(np.uint32) >> 16).astype(np.uint16), values.astype(np.float64)
        return values.astype(self.storage), values.astype(np.float64)

    def kernel(self) -> str:
        """CUDA C that adds the product of two fragments to an accumulator n times, and stores it."""
        scalar, letter = {"f64": ("double", "d"), "s32": ("int", "r")}.get(self.accumulator, ("float", "f"))
        held = self.results
        if self.accumulator == "f16":
            scalar, letter, held = "unsigned", "r", self.results // 2
        operand, register = ("double", "d") if self.operands == "f64" else ("unsigned", "r")
        a, b = self.m * self.k // (32 * self.pack), self.k * 8 // (32 * self.pack)
        groups = [
            [f"%{place}" for place in range(begin, begin + count)]
            for begin, count in ((0, held), (held, a), (held + a, b))
        ]
        listed = ["{" + ",".join(group) + "}" for group in (*groups, groups[0])]
        outputs = ", ".join(f'"+{letter}"(C[{index}])' for index in range(held))
        inputs = ", ".join(
            f'"{register}"({name}[l * {count} + {index}])'
            for name, count in (("a", a), ("b", b))
            for index in range(count)
        )
        kind = f"{self.accumulator}.{self.operands}.{self.operands}.{self.accumulator}"
        return f"""
extern "C" __global__ void {self.name}(const {operand} *a, const {operand} *b, {scalar} *c, int n) {{
    int l = threadIdx.x & 31;
    {scalar} C[{held}] = {{}};
    for (int i = 0; i < n; i++)
        asm volatile("mma.sync.aligned.m{self.m}n8k{self.k}.row.col.{kind} {",".join(listed)};" : {outputs} : {inputs});
    for (int i = 0; i < {held}; i++) c[(blockIdx.x * blockDim.x + threadIdx.x) * {held} + i] = C[i];
}}
"""


SHAPES = [
    Shape(16, 16, "f16", "f32", "matrix-fp16"),
    Shape(16, 8, "f16", "f32", "matrix-fp16"),
    Shape(16, 16, "f16", "f16", "matrix-fp16"),
    Shape(16, 8, "f16", "f16", "matrix-fp16"),
    Shape(16, 16, "bf16", "f32", "matrix-bf16"),
    Shape(16, 8, "bf16", "f32", "matrix-bf16"),
    Shape(16, 8, "tf32", "f32", "matrix-tf32"),
    Shape(16, 4, "tf32", "f32", "matrix-tf32"),
    Shape(8, 4, "f64", "f64", "matrix-fp64"),
    Shape(16, 4, "f64", "f64", "matrix-fp64"),
    Shape(16, 8, "f64", "f64", "matrix-fp64"),
    Shape(16, 16, "f64", "f64", "matrix-fp64"),
    Shape(16, 32, "s8", "s32", "matrix-int8"),
    Shape(16, 16, "s8", "s32", "matrix-int8"),
    Shape(16, 32, "u8", "s32", "matrix-int8"),
    Shape(16, 16, "u8", "s32", "matrix-int8"),
    Shape(16, 32, "e4m3", "f32", "matrix-fp8"),
    Shape(16, 32, "e5m2", "f32", "matrix-fp8"),
]
SOURCE = "".join(shape.kernel() for shape in SHAPES)


def fragments(a: Array, b: Array, pack: int) -> tuple[Array, Array]:
    """Operands as the lanes of a warp hold them, by the figures in the PTX ISA, "Matrix Fragments for mma"."""
    (m, k), tall = a.shape, a.shape[0] == 16
    lanes_a = np.zeros((32, m * k // (32 * pack), pack), a.dtype)
    lanes_b = np.zeros((32, k * 8 // (32 * pack), pack), b.dtype)
    for lane in range(32):
        group, thread = divmod(lane, 4)
        for element in range(pack):
            for register in range(lanes_a.shape[1]):
                column = thread * pack + (register // 2 if tall else register) * 4 * pack + element
                lanes_a[lane, register, element] = a[group + 8 * (register % 2 if tall else 0), column]
            for register in range(lanes_b.shape[1]):
                lanes_b[lane, register, element] = b[thread * pack + register * 4 * pack + element, group]
    return lanes_a, lanes_b


@pytest.fixture
def started(devices: Devices) -> Iterator[tuple[Any, Cuda]]:
    (gpu,) = devices("nvidia")
    gpu.start()
    cuda = Cuda()
    yield gpu, cuda
    cuda.close()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_warp_multiplies_matrices_and_the_operations_are_counted(started: tuple[Any, Cuda], shape: Shape) -> None:
    gpu, cuda = started
    m, k, times = shape.m, shape.k, 3
    held, values = shape.drawn(m * k + 8 * k)
    lanes_a, lanes_b = fragments(held[: m * k].reshape(m, k), held[m * k :].reshape(k, 8), shape.pack)
    accumulator = {"f64": np.float64, "s32": np.int32, "f16": np.float16}.get(shape.accumulator, np.float32)
    out = np.zeros((32, shape.results), accumulator)
    device = cuda.up(out)
    function = cuda.function(ptx(SOURCE, "compute_90"), shape.name)
    cuda.launch(function, 1, 32, cuda.up(lanes_a), cuda.up(lanes_b), device, c_int(times))
    lanes = cuda.down(device, out)
    found = np.zeros((m, 8))
    for lane in range(32):
        group, thread = divmod(lane, 4)
        for element in range(shape.results):
            found[group + 8 * (element // 2), 2 * thread + element % 2] = lanes[lane, element]
    right = values[: m * k].reshape(m, k) @ values[m * k :].reshape(k, 8)
    relative = 2e-3 if shape.accumulator == "f16" else 1e-6
    assert found == pytest.approx(times * right, rel=relative, abs=relative)
    assert gpu.truth.operations[shape.unit] == times * 2 * m * k * 8
