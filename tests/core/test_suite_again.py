"""The suite looks again at what failed where the hypervisor says that others had the processors meanwhile."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

MODULE = """
import itertools
import time
import pytest
from suite import conftest

ticks = itertools.count()

def told():
    now = next(ticks)
    return 100 * now, {stolen} * now

conftest._processor_time = told
tries = []

{mark}
def test_it():
    tries.append(1)
    time.sleep({lasts})
    assert len(tries) > {fails}
"""

ALONE = "@pytest.mark.alone"


def outcome(folder: Path, **what: object) -> tuple[int, list[str]]:
    """Exit status of a suite of one test, and what its summary says of running it again."""
    suite = folder / "suite"
    suite.mkdir()
    (suite / "__init__.py").touch()
    shutil.copy(TESTS / "conftest.py", suite)
    (suite / "test_it.py").write_text(MODULE.format(**{"lasts": 0.0, **what}))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  alone: as in the suite\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "suite"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, re.findall(r"^AGAIN .*$", ended.stdout, re.MULTILINE)


@pytest.mark.parametrize(("mark", "stolen"), [(ALONE, 3), ("", 10)], ids=["judges times", "any other"])
def test_a_failure_while_others_had_the_processors_is_looked_at_again_and_told(
    tmp_path: Path, mark: str, stolen: int
) -> None:
    status, again = outcome(tmp_path, mark=mark, stolen=stolen, fails=2)
    assert status == 0
    told = f"AGAIN suite/test_it.py::test_it - failed while others had {stolen}% of the processors, run again"
    assert again == [told] * 2


@pytest.mark.parametrize(
    ("mark", "stolen", "fails"),
    [(ALONE, 0, 1), (ALONE, 1, 1), ("", 3, 1), (ALONE, 10, 3)],
    ids=["nobody else", "hardly", "judges no times", "again and again"],
)
def test_every_other_failure_is_one(tmp_path: Path, mark: str, stolen: int, fails: int) -> None:
    status, _ = outcome(tmp_path, mark=mark, stolen=stolen, fails=fails)
    assert status == 1


def test_each_try_has_the_whole_time_limit(tmp_path: Path) -> None:
    limited = f"{ALONE}\n@pytest.mark.timeout(1.0)"
    status, again = outcome(tmp_path, mark=limited, stolen=10, fails=2, lasts=0.6)
    assert (status, len(again)) == (0, 2)
