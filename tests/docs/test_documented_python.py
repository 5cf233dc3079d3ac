"""What the pages show in Python runs as it stands, against a simulated meter in place of the example's address, and
with the shipped simulated server in a world ten times as fast.

A comment before a block tells where it is otherwise: `run: pytest` for a test module, `not run: why`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benches import in_a_fast_world

from .pages import README_ZH, Block, blocks, pages

EXAMPLE_ADDRESS = "TCPIP::192.168.1.7::INSTR"

WITHOUT = [
    part
    for plugin in ("cacheprovider", "hypothesispytest", "anyio", "xdist", "timeout")
    for part in ("-p", f"no:{plugin}")
]
"""Of the plugins of others, which no example needs, as each takes its time to start."""

# The Chinese README has the same blocks as the English one, which another test sees to.
SHOWN = [block for page in pages() if page != README_ZH for block in blocks(page, "python")]


def run(block: Block, directory: Path, address: str) -> subprocess.CompletedProcess[str]:
    path = directory / "test_example.py"
    server = in_a_fast_world(directory)
    text = block.text.replace(EXAMPLE_ADDRESS, address).replace('"simulated-server"', repr(str(server)))
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", *WITHOUT, str(path)]
    if block.mark != "run: pytest":
        command = [sys.executable, "-W", "error::ResourceWarning", str(path)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "block", [block for block in SHOWN if not block.mark.startswith("not run")], ids=lambda block: block.name
)
def test_every_python_block_runs(block: Block, tmp_path: Path, simulated_power_meter: Any) -> None:
    done = run(block, tmp_path, simulated_power_meter.address)
    assert done.returncode == 0, f"{block.name}\n{done.stdout}\n{done.stderr}"


def test_what_is_not_run_says_why() -> None:
    unexplained = [block.name for block in SHOWN if block.mark and block.mark != "run: pytest"]
    assert [name for name in unexplained if not name.startswith(("instruments/", "simulators/", "native/"))] == []
