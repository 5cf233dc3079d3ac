"""Programs of others that measure or reach floating-point rates; run as programs, never linked."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_ENVIRONMENT = Path("build/peers")

_OPENBLAS = """
import ctypes, sys, time
library, precision, threads, size, calls = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
blas = ctypes.CDLL(library)
blas.openblas_set_num_threads(threads)
# CBLAS: 101 is row-major, 111 no transposition.
number, gemm = (ctypes.c_double, blas.cblas_dgemm) if precision == "fp64" else (ctypes.c_float, blas.cblas_sgemm)
left, right, product = ((number * (size * size))(*([1.0] * (size * size))) for _ in range(3))
best = float("inf")
for _ in range(calls):
    start = time.perf_counter()
    gemm(101, 111, 111, size, size, size, number(1), left, size, right, size, number(0), product, size)
    best = min(best, time.perf_counter() - start)
print(2 * size**3 / best)
"""

# An OpenBLAS older than the processor falls back to plain kernels; told a core type, it uses the right ones.
_OPENBLAS_CORE = {"avx512": "SkylakeX", "avx2": "Haswell"}

# Instruction set of our kernel to likwid-bench's name of the same.
_LIKWID = {"avx512": "avx512_fma", "avx2": "avx_fma"}


def likwid(precision: str, cores: int, instruction_set: str) -> float | None:
    """Return what likwid-bench's peakflops prints, FLOP/s; None where it is not installed or has no such kernel."""
    if shutil.which("likwid-bench") is None or instruction_set not in _LIKWID:
        return None
    kernel = f"peakflops{'_sp' if precision == 'fp32' else ''}_{_LIKWID[instruction_set]}"
    ran = subprocess.run(
        ["likwid-bench", "-t", kernel, "-W", f"N:{16 * cores}kB:{cores}"], capture_output=True, text=True, check=False
    )
    found = re.search(r"MFlops/s:\s*([\d.]+)", ran.stdout)
    return float(found[1]) * 1e6 if found else None


def openblas(precision: str, cores: int, instruction_set: str, *, size: int = 2048, calls: int = 10) -> float | None:
    """Return the fastest of some matrix products by the system's OpenBLAS, FLOP/s; None where it is not installed."""
    arguments = ["libopenblas.so.0", precision, str(cores), str(size), str(calls)]
    environment = dict(os.environ)
    if instruction_set in _OPENBLAS_CORE:
        environment["OPENBLAS_CORETYPE"] = _OPENBLAS_CORE[instruction_set]
    ran = subprocess.run(
        [sys.executable, "-c", _OPENBLAS, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    return float(ran.stdout) if ran.returncode == 0 else None


def clpeak(precision: str) -> float | None:
    """Return the best of the vector widths that clpeak prints for its first device, FLOP/s; None if not installed."""
    if shutil.which("clpeak") is None:
        return None
    option = {"fp32": "--compute-sp", "fp64": "--compute-dp"}[precision]
    ran = subprocess.run(["clpeak", "-p", "0", "-d", "0", option], capture_output=True, text=True, check=False)
    rates = re.findall(r"^\s*(?:float|double)\d*\s*:\s*([\d.]+)", ran.stdout, re.MULTILINE)
    return max(map(float, rates)) * 1e9 if rates else None


def python_of_peers() -> str:
    """Return the Python that has sinstruments and PyMeasure, apart from the project's own environment; made once."""
    python = _ENVIRONMENT / "bin" / "python"
    needs = ["sinstruments==1.5.0", "pymeasure==0.16.0"]
    needs += [f"{name}=={importlib.metadata.version(name)}" for name in ("pyvisa", "pyvisa-py")]
    noted = _ENVIRONMENT / "needs.txt"
    if not noted.exists() or noted.read_text().split() != needs:
        subprocess.run([sys.executable, "-m", "venv", str(_ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *needs], check=True)
        noted.write_text("\n".join(needs))
    return str(python)
