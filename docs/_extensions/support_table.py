"""The table of what each accelerator driver can measure, made from what the drivers' capabilities are made of.

`python docs/_extensions/support_table.py` writes it into docs/reference/accelerators.md; a test compares the two.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aicalib_hw.instruments.accelerators.ascend import AscendAccelerator, theory
from aicalib_hw.instruments.accelerators.cpu import CpuAccelerator, gemm, native
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator, cublaslt, ptx
from aicalib_hw.instruments.accelerators.opencl import OpenCLAccelerator

PAGE = Path(__file__).parents[1] / "reference" / "accelerators.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->"

NOT_SUPPORTED = (
    "AMD Instinct and Radeon", "Cambricon MLU", "Google TPU", "Hygon DCU", "Iluvatar and MetaX",
    "Intel graphics processors", "Moore Threads",
)  # fmt: skip

_TARGETS = {
    "sm_50": "compute capability 5.0 and later",
    "sm_53": "compute capability 5.3 and later",
    "sm_80": "compute capability 8.0 and later",
    "sm_90a": "compute capability 9.0 alone",
}


def table() -> str:
    """Return the table as Markdown: driver, path, precision and accumulator, by what, where, what it ran on."""
    rows = []
    for kernel in native.kernels():
        where = f"processors with {kernel.instruction_set}" if kernel.instruction_set != "portable" else "any processor"
        rows.append((CpuAccelerator, kernel.path, kernel.precision, kernel.accumulator, kernel.instruction_set, where))
    rows += [(CpuAccelerator, "gemm", name, name, "numpy.matmul", "any processor") for name in gemm.PRECISIONS]
    rows += [
        (NvidiaAccelerator, one.path, one.precision, one.accumulator, one.implementation, _TARGETS[one.target])
        for one in ptx.kernels()
    ]
    rows += [
        (NvidiaAccelerator, "gemm", name, "fp32", "cublasLt", "where cuBLASLt is installed and has it on the device")
        for name in cublaslt.MODES
    ]
    for name, mode in theory.MODES.items():
        where = "all that have AscendCL" if name in theory.precisions("910A") else "910B1 to 910B4, 910C, 950"
        implementation = f"aclnnMatmul, cubeMathType {mode.cube_math_type}"
        rows.append((AscendAccelerator, "gemm", name, mode.accumulator, implementation, where))
    for name in ("fp64", "fp32"):
        where = "devices with double precision" if name == "fp64" else "all"
        rows.append((OpenCLAccelerator, "vector", name, name, "opencl-fma", where))
    lines = ["| driver | path | operands | accumulator | by | on | ran on |", "|" + " --- |" * 7]
    for kind, *cells in rows:
        ran = "not run on hardware" if "hardware" in kind.DRIVER.verified else "hardware"
        lines.append("| " + " | ".join([f"`{kind.DRIVER.name}`", *cells, ran]) + " |")
    lines += [f"| {maker} | not supported | | | | | |" for maker in NOT_SUPPORTED]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def with_table(text: str) -> str:
    """Return the page's text with the present table between its marks."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"written: {PAGE}\n")
