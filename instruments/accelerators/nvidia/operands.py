"""Operands of the matrix kernels: seeded random whole numbers without zero, and the sum that each thread must reach.

A step adds A·B and the next A'·B with A' = D - A, where D has a single 1 in each row: a pair of steps adds a row of B.
Such rows hold small positive numbers, so that every sum grows, and all others hold numbers up to 255: the products use
every bit of a bf16 significand, and still all sums stay whole numbers far below 2^24, exact in fp32 in whatever order
the hardware adds. (All-zero or constant operands would draw less power and so run at a higher clock than real data.)
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import ptx

Matrix = list[list[int]]
_LARGEST = 254
_SMALL = 5


@dataclass(frozen=True, slots=True)
class Operands:
    """A and A' by row, B by row (k) and column. gain: what a pair of steps adds to each element of the product."""

    left: Matrix
    second: Matrix
    right: Matrix

    @property
    def gain(self) -> Matrix:
        """(A + A')·B, exactly."""
        inner = range(len(self.right))
        return [
            [sum((a[k] + s[k]) * self.right[k][n] for k in inner) for n in range(len(self.right[0]))]
            for a, s in zip(self.left, self.second, strict=True)
        ]


def operands(rows: int, columns: int, inner: int, seed: int) -> Operands:
    """Return operands of these sizes, the same for the same seed."""
    chance = random.Random(seed)

    def number(largest: int) -> int:
        return chance.choice((-1, 1)) * chance.randint(1, largest)

    small = (0, 3, 5, inner - 2)
    right = [
        [chance.randint(1, _SMALL) if k in small else number(_LARGEST) for _ in range(columns)] for k in range(inner)
    ]
    left = [[number(_LARGEST) for _ in range(inner)] for _ in range(rows)]
    second = [[-value for value in row] for row in left]
    for row, (own, opposite) in enumerate(zip(left, second, strict=True)):
        k = small[(row + row // 8) % 4]
        own[k] = own[k] if own[k] != 1 else 2
        opposite[k] = 1 - own[k]
    return Operands(left, second, right)


def encoded(value: int, precision: str) -> int:
    """Return the bits of a whole number up to 255 in this precision; exact in all of them."""
    if precision == "fp16":
        return int.from_bytes(struct.pack("<e", float(value)), "little")
    bits = int.from_bytes(struct.pack("<f", float(value)), "little")
    return bits >> 16 if precision == "bf16" else bits


def _packed(values: Sequence[int], precision: str) -> list[int]:
    """32-bit registers, the first value in the low half."""
    bits = [encoded(value, precision) for value in values]
    if precision == "tf32":
        return bits
    return [low | high << 16 for low, high in zip(bits[::2], bits[1::2], strict=True)]


def mma_table(one: Operands, precision: str, gained: list[int]) -> bytes:
    """Return the registers of every lane of a warp, as m16n8k16 and m16n8k8 (tf32) lay them out, each with its gain."""
    wide = precision == "tf32"
    words: list[int] = []
    for lane in range(32):
        group, place = lane // 4, lane % 4
        columns = (place, place + 4) if wide else (2 * place, 2 * place + 1, 2 * place + 8, 2 * place + 9)
        halves = [columns[:1], columns[1:]] if wide else [columns[:2], columns[2:]]
        for matrix in (one.left, one.second):
            for half in halves:
                for row in (group, group + 8):
                    words += _packed([matrix[row][k] for k in half], precision)
        words += [*_packed([one.right[k][group] for k in columns], precision), gained[lane]]
    return struct.pack(f"<{len(words)}I", *words)


def mma_gains(one: Operands) -> list[int]:
    """Return by lane what its four elements of one accumulator gain together in a pair of steps."""
    gain = one.gain
    found = []
    for lane in range(32):
        group, place = lane // 4, lane % 4
        found.append(sum(gain[row][2 * place + index] for row in (group, group + 8) for index in (0, 1)))
    return found


def wgmma_table(one: Operands, precision: str, gained: list[int]) -> bytes:
    """Return A, A', B as shared memory holds them, in core matrices of 8 rows x 16 bytes; then each thread's gain."""
    columns = [[row[n] for row in one.right] for n in range(len(one.right[0]))]
    tiles = b"".join(_core_matrices(rows, precision) for rows in (one.left, one.second, columns))
    return tiles + struct.pack(f"<{len(gained)}I", *gained)


def _core_matrices(rows: Matrix, precision: str) -> bytes:
    size = 4 if precision == "tf32" else 2
    per_core = 16 // size
    cores = []
    for first in range(0, len(rows), 8):
        for k in range(0, len(rows[0]), per_core):
            for row in rows[first : first + 8]:
                cores += [encoded(value, precision).to_bytes(size, "little") for value in row[k : k + per_core]]
    return b"".join(cores)


def wgmma_gains(one: Operands) -> list[int]:
    """Return by thread of the warp group what its 128 elements gain together in a pair of steps."""
    gain = one.gain
    found = []
    for thread in range(128):
        warp, lane = divmod(thread, 32)
        row, place = 16 * warp + lane // 4, lane % 4
        found.append(
            sum(gain[r][8 * j + 2 * place + index] for r in (row, row + 8) for j in range(32) for index in (0, 1))
        )
    return found


_INNER = {"fp16": 16, "bf16": 16, "tf32": 8}
TABLES: dict[
    str, tuple[tuple[int, int], Callable[[Operands, str, list[int]], bytes], Callable[[Operands], list[int]], int]
] = {
    # implementation: rows and columns of the product, its table, its gains, accumulators
    "mma.sync": ((16, 8), mma_table, mma_gains, ptx.MMA_ACCUMULATORS),
    "wgmma": ((64, 256), wgmma_table, wgmma_gains, 1),
}


def for_kernel(kernel: ptx.Kernel, seed: int) -> tuple[bytes, list[int]]:
    """Return the operands' table of a matrix kernel, and by thread of a group what its sum gains in one round."""
    (rows, columns), table, gains, accumulators = TABLES[kernel.implementation]
    one = operands(rows, columns, _INNER[kernel.precision], seed)
    gained = [ptx.PAIRS * accumulators * gain for gain in gains(one)]
    return table(one, kernel.precision, gained), gained
