"""What the pages show in Python runs as it stands, against a simulated meter in place of the example's address, and
with the shipped simulated server in a world ten times as fast.

A comment before a block tells where it is otherwise: `run: pytest` for a test module, `not run: why`.
"""

from __future__ import annotations

import os
import re
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


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(directory)}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def write(block: Block, path: Path, address: str) -> None:
    server = in_a_fast_world(path.parent)
    text = block.text.replace(EXAMPLE_ADDRESS, address).replace('"simulated-server"', repr(str(server)))
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("block", [block for block in SHOWN if not block.mark], ids=lambda block: block.name)
def test_every_python_block_runs(block: Block, tmp_path: Path, simulated_power_meter: Any) -> None:
    write(block, tmp_path / "example.py", simulated_power_meter.address)
    done = run(["-W", "error::ResourceWarning", "example.py"], tmp_path)
    assert done.returncode == 0, f"{block.name}\n{done.stdout}\n{done.stderr}"


def test_every_test_module_that_is_shown_passes(tmp_path: Path, simulated_power_meter: Any) -> None:
    """In one run of pytest, which takes longer to start than any of them."""
    modules = {f"test_{number}.py": block for number, block in enumerate(SHOWN) if block.mark == "run: pytest"}
    for name, block in modules.items():
        write(block, tmp_path / name, simulated_power_meter.address)
    done = run(["-m", "pytest", "-q", "-rA", *WITHOUT], tmp_path)
    assert done.returncode == 0, (
        f"{ {name: block.name for name, block in modules.items()} }\n{done.stdout}\n{done.stderr}"
    )
    assert set(re.findall(r"^PASSED (\S+?)::", done.stdout, re.MULTILINE)) == set(modules)


def test_what_is_not_run_says_why() -> None:
    unexplained = [block.name for block in SHOWN if block.mark and block.mark != "run: pytest"]
    assert [name for name in unexplained if not name.startswith(("instruments/", "simulators/", "native/"))] == []
