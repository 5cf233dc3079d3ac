"""`import aicalib_hw` is cheap: a lab script pays for what it uses."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("pyvisa", "pydantic", "matplotlib", "numpy", "scipy", "typer", "rich", "GTC", "cffi")


def seconds(code: str) -> float:
    """CPU time of a fresh interpreter that runs `code`, user and system."""
    measure = f"{code}\nimport time; print(time.process_time())"
    run = subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True)
    return float(run.stdout.splitlines()[-1])


def takes_below(limit: float, code: str) -> bool:
    """Whether one of five runs takes less: what else the host does only adds to what the code needs."""
    return any(seconds(code) < limit for _ in range(5))


def test_importing_the_package_takes_no_quarter_of_a_second() -> None:
    bare = min(seconds("") for _ in range(5))
    assert takes_below(bare + 0.25, "import aicalib_hw")


def test_importing_the_package_pulls_in_no_heavy_library() -> None:
    code = f"import aicalib_hw, sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_the_data_and_the_roles_need_no_heavy_library_either() -> None:
    code = (
        "import aicalib_hw as hw, sys; hw.PowerMeter; hw.Reading; hw.Identity; hw.AicalibError\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_help_appears_within_a_second_of_work() -> None:
    assert takes_below(1.0, "from aicalib_hw.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass")
