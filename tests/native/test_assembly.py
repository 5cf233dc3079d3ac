"""What the compiler makes of the kernels: nothing but multiply-adds, chain and loop, and no accumulator in memory."""

from __future__ import annotations

import functools
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CPU = Path(__file__).parents[2] / "native" / "cpu"
COMPILERS = {"x86_64": "cc" if platform.machine() == "x86_64" else "x86_64-linux-gnu-gcc"}
COMPILERS["aarch64"] = "cc" if platform.machine() == "aarch64" else "aarch64-linux-gnu-gcc"

# file, function, mnemonic of a step, accumulators
KERNELS = [
    ("x86_64", "amx", "bf16", "tdpbf16ps", 4),
    ("x86_64", "amx", "int8", "tdpbusd", 4),
    ("x86_64", "avx512", "fp64", "vfmadd231pd", 16),
    ("x86_64", "avx512", "fp32", "vfmadd231ps", 16),
    ("x86_64", "avx512_bf16", "bf16", "vdpbf16ps", 16),
    ("x86_64", "avx512_vnni", "int8", "vpdpbusd", 16),
    ("x86_64", "avx_vnni", "int8", "vpdpbusd", 12),
    ("x86_64", "avx2", "fp64", "vfmadd231pd", 12),
    ("x86_64", "avx2", "fp32", "vfmadd231ps", 12),
    ("aarch64", "neon", "fp64", "fmla", 24),
    ("aarch64", "neon", "fp32", "fmla", 24),
    ("aarch64", "neon_dotprod", "int8", "sdot", 24),
    ("aarch64", "sve", "fp64", "fmla", 24),
    ("aarch64", "sve", "fp32", "fmla", 24),
    ("aarch64", "sve", "int8", "sdot", 24),
    ("aarch64", "sve", "bf16", "bfdot", 24),
]


@functools.cache
def assembly_of(compiler: str, file: str) -> str:
    """What a compiler makes of a file."""
    command = [compiler, "-std=gnu11", "-O2", "-S", str(CPU / f"{file}.c"), "-o", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def loop_of(assembly: str, function: str) -> list[str]:
    """The instructions of a function's loop: its longest block that ends in a jump to its own beginning."""
    body = assembly.split(f"\n{function}:\n", 1)[1].split(".size", 1)[0]
    blocks = re.findall(r"^(\.L\d+):\n(.*?\n\s+(?:j\w+|b\.?\w*)\s+\1)$", body, re.MULTILINE | re.DOTALL)
    longest = max((text for _, text in blocks if "\n.L" not in text), key=len)
    lines = (line.strip() for line in longest.splitlines())
    return [line for line in lines if line and not line.startswith((".", "#", "/"))]


@pytest.mark.parametrize(("machine", "file", "function", "step", "accumulators"), KERNELS)
def test_the_loop_holds_the_steps_and_touches_no_memory(
    machine: str, file: str, function: str, step: str, accumulators: int
) -> None:
    compiler = COMPILERS[machine]
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}: apt-get install gcc-{machine.replace('_', '-')}-linux-gnu")
    loop = loop_of(assembly_of(compiler, file), function)
    steps = [line for line in loop if step in line]
    assert len(steps) == 2 * accumulators
    assert not [line for line in loop if "(" in line or "[" in line]
    assert len(loop) <= len(steps) + 5
