"""Operands of a library's matrix product, and the comparison of its elements with fp64 arithmetic on the host."""

from __future__ import annotations

import struct
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aicalib_hw.errors import Aborted

CHECKED = 64
"""Elements of a product that are compared."""

_ROWS = 256
_PATIENCE_S = 0.05


@dataclass(frozen=True, slots=True)
class Format:
    """How numbers stand in memory.

    bytes: of one. digits: of the significand, the hidden one included. partial_sums: how much the error of partial sums
    may come to, in whatever order they are made, of the sum of the absolute products.
    """

    bytes: int
    digits: int
    partial_sums: float = 2.0**-18


FORMATS = {
    # IEEE 754-2019, table 3.5; bf16: 8 digits.
    "fp32": Format(4, 24),
    "fp16": Format(2, 11),
    "bf16": Format(2, 8),
    # OCP 8-bit floating point, E4M3. The sums of fp8 products are kept with fewer digits than fp32 has (some 14 on
    # Hopper, not documented); the bound is far below what a wrong element shows.
    "fp8e4m3": Format(1, 4, 2.0**-10),
}


class Operands:
    """Two square matrices as they stand in memory, row by row."""

    def __init__(self, edge: int, kind: str, seed: int, stopped: Callable[[], bool] = lambda: False) -> None:
        import numpy as np

        chance = np.random.default_rng(seed)
        self.kind = kind
        self.left, self.right = (_random(chance, edge, kind, stopped) for _ in range(2))

    def element(self, row: int, column: int, *, transposed: bool = False) -> tuple[float, float]:
        """Return the right value of an element of the product, and the sum of its absolute products.

        transposed: of left x right transposed, which is made of rows alone.
        """
        import numpy as np

        left = as_fp64(self.left[row], self.kind)
        right = as_fp64(self.right[column] if transposed else self.right[:, column], self.kind)
        return float(left @ right), float(np.abs(left) @ np.abs(right))


_in_use: weakref.WeakValueDictionary[tuple[int, str, int], Operands] = weakref.WeakValueDictionary()
_making = threading.Lock()


def operands(edge: int, kind: str, seed: int, stopped: Callable[[], bool] = lambda: False) -> Operands:
    """Return the matrices of a seed: made once for all devices that multiply them at the same time.

    stopped: whether to give up, which raises Aborted.
    """
    while not _making.acquire(timeout=_PATIENCE_S):
        _require_going_on(stopped)
    try:
        found = _in_use.get((edge, kind, seed))
        if found is None:
            found = _in_use[edge, kind, seed] = Operands(edge, kind, seed, stopped)
        return found
    finally:
        _making.release()


def wrong_elements(
    made: Operands, result: str, chance: Any, read: Callable[[int, int], bytes], *, transposed: bool = False
) -> str:
    """Compare CHECKED elements, chosen by `chance`, and say what is wrong, "" if nothing is.

    result: format of the product. read: returns the bytes of the element of a row and a column. transposed: the product
    is left x right transposed.
    """
    edge, roundoff = len(made.left), 2.0 ** -FORMATS[result].digits
    bad = []
    for row, column in chance.integers(0, edge, size=(CHECKED, 2)).tolist():
        right, absolute = made.element(row, column, transposed=transposed)
        found = decoded(read(row, column), result)
        if not abs(found - right) <= roundoff * abs(right) + FORMATS[made.kind].partial_sums * absolute:
            bad.append(f"element ({row}, {column}) is {found!r} and {right!r} is right")
    return f"wrong results in {len(bad)} of {CHECKED} elements: {bad[0]}" if bad else ""


def as_fp64(stored: Any, kind: str) -> Any:
    """Return the numbers that stand in an array."""
    import numpy as np

    if kind == "fp8e4m3":
        return np.array([e4m3(bits) for bits in range(256)])[stored]
    if kind == "bf16":
        return (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return stored.astype(np.float64)


def decoded(raw: bytes, kind: str) -> float:
    """Return the number that these bytes are."""
    if kind == "bf16":
        return float(struct.unpack("<f", b"\0\0" + raw)[0])
    return float(struct.unpack("<e" if kind == "fp16" else "<f", raw)[0])


def e4m3(bits: int) -> float:
    """Return the number of 8 bits: sign, 4 of exponent (bias 7), 3 of significand; S.1111.111 alone is no number."""
    sign, exponent, fraction = bits >> 7, bits >> 3 & 15, bits & 7
    if exponent == 15 and fraction == 7:
        return float("nan")
    size = fraction / 8 * 2.0**-6 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7)
    return -size if sign else size


def _random(chance: Any, edge: int, kind: str, stopped: Callable[[], bool]) -> Any:
    """Random numbers below 2 with random sign, exact in the format: never zero, all bits of the significand in use."""
    import numpy as np

    values: Any
    if kind == "fp8e4m3":
        sizes = [bits for bits in range(128) if 0.125 <= e4m3(bits) < 2]
        values = np.array([*sizes, *(bits | 0x80 for bits in sizes)] * (256 // (2 * len(sizes))), dtype=np.uint8)
    else:
        positive = np.arange(1, 256, 2, dtype=np.float32) / 128
        values = np.concatenate((positive, -positive))
    if kind == "fp16":
        values = values.astype(np.float16)
    elif kind == "bf16":
        values = (values.view(np.uint32) >> 16).astype(np.uint16)
    made = np.empty((edge, edge), values.dtype)
    # 256 values, so that one random byte chooses one: a matrix may have 67 million.
    for row in range(0, edge, _ROWS):
        _require_going_on(stopped)
        block = made[row : row + _ROWS]
        np.take(values, chance.integers(0, len(values), size=block.shape, dtype=np.uint8), out=block, mode="clip")
    return made


def _require_going_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Aborted("the measurement was aborted", why="nothing had been launched")
