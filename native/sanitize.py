"""Runs the native code under the address and undefined-behaviour sanitizers: `make sanitize`.

A C program that calls everything in the header; the extension itself, built with the sanitizers and loaded in place
of the installed one, under the tests in tests/native; and the simulated vendor libraries likewise. Needs gcc.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from native import vendor_libraries  # noqa: E402
from native.build_ext import HEADER, STABLE_ABI, sources, write_glue  # noqa: E402

BUILD = ROOT / "build" / "sanitized"
COMPILER = os.environ.get("CC", "gcc")
FLAGS = [
    "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{HEADER.parent}",
]  # fmt: skip

# Puts the sanitized extension where `import aicalib_hw._native` finds it, then runs the tests.
_UNDER_TEST = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("aicalib_hw._native", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import aicalib_hw
sys.modules["aicalib_hw._native"] = aicalib_hw._native = module
import pytest
raise SystemExit(pytest.main(sys.argv[2:]))
"""

# Has the simulators load the sanitized vendor libraries, then runs the tests.
_WITH_LIBRARIES = """
import pathlib, sys
from aicalib_hw.simulators import vendor_libraries
vendor_libraries.FOLDER = pathlib.Path(sys.argv[1])
import pytest
raise SystemExit(pytest.main(sys.argv[2:]))
"""
_LIBRARY_TESTS = ("node", "nvml", "dcmi", "cuda", "mma", "ascendcl", "visa")


def run(command: list[str], **environment: str) -> None:
    """Print and run a command; end with its status if it fails."""
    print("+", *(f"{name}={value}" for name, value in environment.items()), shlex.join(command), flush=True)
    status = subprocess.run(command, env={**os.environ, **environment}, cwd=ROOT, check=False).returncode
    if status:
        raise SystemExit(status)


def main() -> None:
    """Build and run all three."""
    BUILD.mkdir(parents=True, exist_ok=True)
    kernels = [str(path) for path in sources()]
    exercise = BUILD / "exercise"
    run([COMPILER, *FLAGS, str(ROOT / "tests/native/exercise.c"), *kernels, "-o", str(exercise)])
    run([str(exercise)], ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1")

    glue = write_glue(BUILD / "_native.c")
    extension = BUILD / "_native.abi3.so"
    python = [f"-I{sysconfig.get_path('include')}", f"-DPy_LIMITED_API={STABLE_ABI}"]
    run([COMPILER, "-shared", "-fPIC", *FLAGS, *python, str(glue), *kernels, "-o", str(extension)])
    library = subprocess.run(
        [COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    tests = ["-q", "-p", "no:cacheprovider", "-p", "no:aicalib_hw", "tests/native/test_kernels.py"]
    run(
        [sys.executable, "-c", _UNDER_TEST, str(extension), *tests],
        LD_PRELOAD=library,
        ASAN_OPTIONS="detect_leaks=0",  # the interpreter's own
        UBSAN_OPTIONS="print_stacktrace=1",
    )

    folder = BUILD / "vendor_libraries"
    folder.mkdir(exist_ok=True)
    strict = [flag for flag in vendor_libraries.COMPILE_FLAGS if flag not in ("-O2", "-g0")] + ["-Werror"]
    sanitizers = [flag for flag in FLAGS if "sanitize" in flag or flag in ("-O1", "-g", "-fno-omit-frame-pointer")]
    for made in vendor_libraries.LIBRARIES:
        names = [str(path) for path in made.paths()]
        output = ["-o", str(folder / made.soname), *made.link_flags(folder)]
        output.remove("-Wl,-z,defs")  # the sanitizers' own symbols come with the preloaded run-time
        run([COMPILER, "-shared", *strict, *sanitizers, *names, *output])
    tests = ["-q", "-p", "no:cacheprovider", *(f"tests/simulators/test_{name}.py" for name in _LIBRARY_TESTS)]
    run(
        [sys.executable, "-c", _WITH_LIBRARIES, str(folder), *tests],
        LD_PRELOAD=library,
        ASAN_OPTIONS="detect_leaks=0",
        UBSAN_OPTIONS="print_stacktrace=1",
    )


if __name__ == "__main__":
    main()
