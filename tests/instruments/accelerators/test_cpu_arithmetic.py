"""What a kernel must have computed: counted step by step, and exact in the format that holds it."""

from __future__ import annotations

import struct

import pytest
from aicalib_hw.instruments.accelerators.cpu.arithmetic import (
    ADDS_PRODUCTS,
    SCALES_ITSELF,
    Kernel,
    gain,
    largest_step,
)
from hypothesis import given
from hypothesis import strategies as st


def kernel(precision: str, accumulator: str, products: int, form: int = ADDS_PRODUCTS) -> Kernel:
    return Kernel(0, precision, accumulator, "made up", "vector", 16, 8, products, form, 18, 4, True)


KERNELS = [
    kernel("fp64", "fp64", 1),
    kernel("fp32", "fp32", 1),
    kernel("bf16", "fp32", 2),
    kernel("int8", "int32", 4),
    kernel("fp64", "fp64", 1, SCALES_ITSELF),
    kernel("fp32", "fp32", 1, SCALES_ITSELF),
]
EACH = pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k.precision}-form{k.form}")


def stepped(kernel: Kernel, start: int, pairs: int) -> list[int]:
    """Every value that a lane takes, by stepping it."""
    m1, c1, m2, c2 = kernel.operands
    values = [start]
    for _ in range(pairs):
        for m, c in ((m1, c1), (m2, c2)):
            lane = values[-1]
            values.append(lane + kernel.products * m * c if kernel.form == ADDS_PRODUCTS else m * lane + c)
    return values


@EACH
@given(pairs=st.integers(0, 50), start=st.integers(0, 15))
def test_the_gain_is_what_stepping_gives(kernel: Kernel, pairs: int, start: int) -> None:
    values = stepped(kernel, start, pairs)
    assert values[-1] - start == gain(kernel, kernel.operands, pairs)
    assert max(map(abs, values)) <= start + abs(values[-1] - start) + largest_step(kernel, kernel.operands)


@EACH
def test_one_step_too_few_does_not_go_unnoticed(kernel: Kernel) -> None:
    pairs = 1000
    right = gain(kernel, kernel.operands, pairs)
    assert stepped(kernel, 0, pairs)[-2] != right
    assert gain(kernel, kernel.operands, pairs - 1) != right


@EACH
def test_every_number_on_the_way_is_exact_in_its_format(kernel: Kernel) -> None:
    most = kernel.most_pairs
    assert most > 500_000
    furthest = kernel.accumulators + abs(gain(kernel, kernel.operands, most)) + largest_step(kernel, kernel.operands)
    if kernel.accumulator == "int32":
        assert furthest < 2**31
    else:
        code = {"fp64": "d", "fp32": "f"}[kernel.accumulator]
        for value in (furthest, furthest - 1, furthest - 2):
            assert struct.unpack(code, struct.pack(code, float(value)))[0] == value


@EACH
def test_the_operands_fit_the_format_they_are_multiplied_in(kernel: Kernel) -> None:
    m1, c1, m2, c2 = kernel.operands
    if kernel.precision == "int8":
        assert all(0 <= m <= 127 for m in (m1, m2))
        assert all(-128 <= c <= 127 for c in (c1, c2))
    elif kernel.precision == "bf16":
        assert all(abs(operand) <= 2**8 for operand in kernel.operands)
    else:
        assert all(abs(operand) <= 2**31 for operand in kernel.operands)


def test_operations_are_counted_as_additions_and_multiplications() -> None:
    assert kernel("fp32", "fp32", 1).operations_per_pair == 2 * 16 * 8 * 2
    assert kernel("int8", "int32", 4).operations_per_pair == 2 * 16 * 8 * 4 * 2


def test_lanes_that_would_not_gain_evenly_have_no_gain() -> None:
    with pytest.raises(ValueError, match="evenly"):
        gain(kernel("fp64", "fp64", 1, SCALES_ITSELF), (2, 1, 1, 1), 3)
