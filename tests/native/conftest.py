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


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    """Compile with this compiler, run with this runner, and return the lines it prints."""

    def run(compiler: str, *flags: str, runner: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        program = tmp_path / "exercise"
        sources = [ROOT / "tests/native/exercise.c", *sorted((ROOT / "native/cpu").glob("*.c"))]
        include = f"-I{ROOT / 'native/include'}"
        command = [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", *flags, include, *map(str, sources)]
        subprocess.run([*command, "-o", str(program)], check=True)
        ran = subprocess.run([*runner, str(program)], check=True, capture_output=True, text=True, timeout=60)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    return run
