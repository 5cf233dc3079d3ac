"""The PTX kernels: NVIDIA's assembler takes them for what they declare, and their arithmetic is exact on paper."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aicalib_hw.instruments.accelerators.nvidia import operands, ptx, theory
from aicalib_hw.instruments.accelerators.offload import CHAINS

KERNELS = {kernel.name: kernel for kernel in ptx.kernels()}


def assembler() -> str:
    """ptxas: on the path, or from NVIDIA's compiler wheel."""
    found = shutil.which("ptxas") or next(
        (str(path) for path in Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin/ptxas")), None
    )
    assert found, "ptxas is needed: the wheel nvidia-cuda-nvcc has it"
    return found


ASSEMBLED = [
    (name, architecture)
    for name, kernel in KERNELS.items()
    for architecture in {
        "sm_50": ("sm_75", "sm_80", "sm_90", "sm_120"),
        "sm_53": ("sm_75", "sm_80", "sm_90", "sm_120"),
        "sm_80": ("sm_80", "sm_89", "sm_90", "sm_120"),
        "sm_90a": ("sm_90a",),
    }[kernel.target]
]


@pytest.mark.parametrize(("name", "architecture"), ASSEMBLED)
def test_the_assembler_takes_each_kernel_without_spilling_a_register(
    name: str, architecture: str, tmp_path: Path
) -> None:
    source = tmp_path / "kernel.ptx"
    kernel = KERNELS[name]
    source.write_text(kernel.text)
    ran = subprocess.run(
        [
            assembler(),
            "-v",
            f"-O{min(kernel.optimisation, 3)}",
            f"-arch={architecture}",
            str(source),
            "-o",
            str(tmp_path / "kernel.cubin"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "0 bytes spill stores, 0 bytes spill loads" in ran.stderr
    assert "serialized" not in ran.stderr


@pytest.mark.parametrize("architecture", ["sm_90", "sm_100a"])
def test_wgmma_is_refused_by_every_other_architecture(architecture: str, tmp_path: Path) -> None:
    source = tmp_path / "kernel.ptx"
    source.write_text(KERNELS["warpgroup_bf16"].text)
    command = [assembler(), f"-arch={architecture}", str(source), "-o", str(tmp_path / "kernel.cubin")]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    major, minor = divmod(int(architecture.removeprefix("sm_").removesuffix("a")), 10)
    assert ptx.runs_on("sm_90a", 9, 0)
    assert architecture == "sm_90" or not ptx.runs_on("sm_90a", major, minor)


_FLOP_OF = {
    # By instruction: what the PTX ISA says one of them does, for all the threads that execute it together.
    "fma.rn.f64": 2,
    "fma.rn.f32": 2,
    "fma.rn.f16x2": 4,
    "mma.sync.aligned.m16n8k16": 2 * 16 * 8 * 16,
    "mma.sync.aligned.m16n8k8": 2 * 16 * 8 * 8,
    "wgmma.mma_async.sync.aligned.m64n256k16": 2 * 64 * 256 * 16,
    "wgmma.mma_async.sync.aligned.m64n256k8": 2 * 64 * 256 * 8,
}


@pytest.mark.parametrize("name", KERNELS)
def test_the_operations_claimed_are_those_of_the_instructions_in_the_loop(name: str) -> None:
    kernel = KERNELS[name]
    loop = kernel.text.partition("STEPS:")[2].partition("@%p0 bra STEPS")[0]
    turns = int(re.search(r"setp\.lt\.u32 %p0, %r7, (\d+);", loop)[1])  # type: ignore[index]
    counted = sum(loop.count(f"    {instruction}") * flop for instruction, flop in _FLOP_OF.items())
    assert counted * turns == kernel.flop
    outside = kernel.text.replace(loop, "")
    assert not any(instruction in outside for instruction in ("fma.", "mma."))


@pytest.mark.parametrize(("precision", "significand"), [("fp64", 53), ("fp32", 24), ("fp16", 11)])
def test_every_number_in_a_chain_is_exact_and_a_pair_adds_one(precision: str, significand: int) -> None:
    a, m, c = CHAINS[precision].factors
    assert a * a + m * c == 1
    assert all(abs(value) < 2**significand for value in (a, m, c))
    assert 64 + ptx.PAIRS + a * a <= 2**significand
    assert CHAINS[precision].most_pairs >= ptx.PAIRS
    assert CHAINS[precision].most_pairs + 64 + a * a <= 2**significand


def decoded(bits: int, precision: str) -> float:
    """The number that a register half, or for tf32 a whole register, stands for."""
    if precision == "fp16":
        return float(struct.unpack("<e", bits.to_bytes(2, "little"))[0])
    wide = bits << 16 if precision == "bf16" else bits
    return float(struct.unpack("<f", wide.to_bytes(4, "little"))[0])


@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
def test_a_warp_that_multiplies_the_table_as_the_isa_lays_it_out_reaches_the_expected_sums(precision: str) -> None:
    table, gains = operands.for_kernel(KERNELS[f"matrix_{precision}"], seed=7)
    words = struct.unpack(f"<{len(table) // 4}I", table)
    assert [words[11 * lane + 10] for lane in range(32)] == gains
    inner = 8 if precision == "tf32" else 16
    left, second, right = np.zeros((16, inner)), np.zeros((16, inner)), np.zeros((inner, 8))
    for lane in range(32):
        registers = words[11 * lane : 11 * lane + 10]
        group, place = lane >> 2, lane & 3
        for matrix, own in ((left, registers[0:4]), (second, registers[4:8])):
            # PTX ISA, matrix fragments of mma.m16n8k16 and .m16n8k8 (tf32): row and column of element i of A.
            for index in range(4 if precision == "tf32" else 8):
                if precision == "tf32":
                    value = decoded(own[index], precision)
                    row, column = group + 8 * (index & 1), place + 4 * (index >> 1)
                else:
                    value = decoded(own[index >> 1] >> 16 * (index & 1) & 0xFFFF, precision)
                    row = group if index < 2 or 4 <= index < 6 else group + 8
                    column = 2 * place + (index & 1) + (0 if index < 4 else 8)
                matrix[row, column] = value
        for index in range(2 if precision == "tf32" else 4):
            if precision == "tf32":
                right[place + 4 * index, group] = decoded(registers[8 + index], precision)
            else:
                value = decoded(registers[8 + (index >> 1)] >> 16 * (index & 1) & 0xFFFF, precision)
                right[2 * place + (index & 1) + (0 if index < 2 else 8), group] = value
    assert np.all(left != 0)
    assert np.all(second != 0)
    assert np.all(right != 0)
    product, partial = left @ right + second @ right, np.abs(left) @ np.abs(right)
    assert partial.max() + ptx.PAIRS * np.abs(product).max() < 2**24
    for lane in range(32):
        group, place = lane >> 2, lane & 3
        elements = [product[group + 8 * (index >> 1), 2 * place + (index & 1)] for index in range(4)]
        assert gains[lane] == ptx.PAIRS * 12 * int(sum(elements))
    assert min(gains) > 0
    assert len(set(gains)) > 4


@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
def test_a_warp_group_that_reads_the_tiles_by_the_descriptor_reaches_the_expected_sums(precision: str) -> None:
    table, gains = operands.for_kernel(KERNELS[f"warpgroup_{precision}"], seed=7)
    size, inner = (4, 8) if precision == "tf32" else (2, 16)
    assert struct.unpack("<128I", table[ptx.WGMMA_BYTES :]) == tuple(gains)

    def tile(begin: int, rows: int) -> Any:
        matrix = np.zeros((rows, inner))
        for row in range(rows):
            for k in range(inner):
                # PTX ISA, canonical K-major layout without swizzling: 128 bytes along k, 256 along the rows.
                place = begin + (row // 8) * 256 + (k * size // 16) * 128 + (row % 8) * 16 + k * size % 16
                matrix[row, k] = decoded(int.from_bytes(table[place : place + size], "little"), precision)
        return matrix

    left, second, right = tile(0, 64), tile(2048, 64), tile(4096, 256)
    product = (left + second) @ right.T
    assert np.abs(left).sum(1).max() * 254 + ptx.PAIRS * np.abs(product).max() < 2**24
    for thread in range(128):
        row, column = 16 * (thread // 32) + thread % 32 // 4, 2 * (thread % 4)
        sum_of_elements = sum(
            product[row + 8 * (index >> 1 & 1), column + 8 * (index >> 2) + (index & 1)] for index in range(128)
        )
        assert gains[thread] == ptx.PAIRS * int(sum_of_elements)


def test_operands_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    kernel = KERNELS["matrix_bf16"]
    assert operands.for_kernel(kernel, 3) == operands.for_kernel(kernel, 3)
    assert operands.for_kernel(kernel, 3) != operands.for_kernel(kernel, 4)


@pytest.mark.parametrize(
    ("capability", "precision", "path", "units", "clock", "data_sheet"),
    [
        ((9, 0), "fp32", "vector", 132, 1980e6, 66.9e12),
        ((9, 0), "fp16", "matrix", 132, 1830e6, 989.4e12),
        ((8, 0), "fp16", "matrix", 108, 1410e6, 311.9e12),
        ((7, 0), "fp16", "matrix", 80, 1530e6, 125.3e12),
        ((7, 5), "fp16", "matrix", 40, 1590e6, 65.1e12),
        ((8, 6), "fp16", "matrix", 84, 1740e6, 149.7e12),
    ],
)
def test_theory_is_what_the_data_sheets_print(
    capability: tuple[int, int], precision: str, path: str, units: int, clock: float, data_sheet: float
) -> None:
    per_cycle = theory.flop_per_cycle(capability, precision, path, "NVIDIA board")
    assert per_cycle is not None
    assert per_cycle * units * clock == pytest.approx(data_sheet, rel=1e-3)


def test_what_is_not_certain_has_no_theory() -> None:
    assert theory.flop_per_cycle((12, 0), "fp32", "vector", "NVIDIA board") is None
    assert theory.flop_per_cycle((8, 0), "fp16", "vector", "NVIDIA board") is None
    assert theory.flop_per_cycle((8, 6), "fp16", "matrix", "NVIDIA GeForce RTX 3090") == 512
    assert theory.flop_per_cycle((8, 6), "tf32", "matrix", "NVIDIA GeForce RTX 3090") is None
