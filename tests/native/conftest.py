"""Builds and runs the C program that exercises the whole native interface."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

Exercise = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def exercise(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    """Compile with this compiler (once a module), run with this runner, and return the lines it prints."""
    folder = tmp_path_factory.mktemp("exercise")
    built: dict[tuple[str, ...], Path] = {}

    def run(compiler: str, *flags: str, runner: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        program = built.get((compiler, *flags))
        if program is None:
            program = folder / f"exercise-{len(built)}"
            sources = [ROOT / "tests/native/exercise.c", *sorted((ROOT / "native/cpu").glob("*.c"))]
            include = f"-I{ROOT / 'native/include'}"
            command = [
                compiler,
                "-std=gnu11",
                "-O2",
                "-Wall",
                "-Wextra",
                "-Werror",
                *flags,
                include,
                *map(str, sources),
            ]
            subprocess.run([*command, "-o", str(program)], check=True)
            built[(compiler, *flags)] = program
        ran = subprocess.run([*runner, str(program)], check=True, capture_output=True, text=True, timeout=60)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    return run
