"""Marks of what a program made: held while it lives, and known as a dead one's by whoever comes after."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aicalib_hw.instruments.storage import _left_behind
from aicalib_hw.instruments.storage._left_behind import Claim, remove_left_behind

LEAVE = """
import fcntl, os, sys
from pathlib import Path
from aicalib_hw.instruments.storage import _left_behind
def no_locks(*_): raise OSError(38, "Function not implemented")
if sys.argv[2] == "no locks": fcntl.flock = no_locks
name = _left_behind.Claim(Path(sys.argv[1])).name
Path(sys.argv[1], name + ".0").write_text("data")
Path(sys.argv[1], name).mkdir()
Path(sys.argv[1], name, "result.json").write_text("{}")
os.kill(os.getpid(), 9)
"""


@pytest.fixture(params=["locks", "no locks"])
def leave(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that leaves something behind as a killed process does, with and without locks of the file system."""

    def no_locks(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    if request.param == "no locks":
        monkeypatch.setattr(fcntl, "flock", no_locks)

    def die() -> None:
        command = [sys.executable, "-c", LEAVE, str(tmp_path), request.param]
        assert subprocess.run(command, check=False, timeout=60).returncode == -9

    return die


def test_what_the_dead_left_is_removed_and_what_the_living_holds_is_not(
    leave: Callable[[], None], tmp_path: Path
) -> None:
    leave()
    own = Claim(tmp_path)
    data = tmp_path / f"{own.name}.0"
    data.write_text("data")
    other = tmp_path / "aicalib-fio-notes.txt"
    other.write_text("of somebody else")
    assert len(list(tmp_path.iterdir())) == 6
    assert remove_left_behind(tmp_path) == 2
    assert set(tmp_path.iterdir()) == {tmp_path / f"{own.name}.lock", data, other}
    data.unlink()
    own.drop()
    own.drop()
    assert set(tmp_path.iterdir()) == {other}
    assert remove_left_behind(tmp_path) == 0


def test_a_mark_that_its_maker_was_killed_over_before_it_had_its_name_is_removed_once_it_is_old(tmp_path: Path) -> None:
    killed_over = """
import os, sys
from pathlib import Path
from aicalib_hw.instruments.storage import _left_behind
Path.rename = lambda *_: os.kill(os.getpid(), 9)
_left_behind.Claim(Path(sys.argv[1]))
"""
    command = [sys.executable, "-c", killed_over, str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    (left,) = tmp_path.iterdir()
    assert remove_left_behind(tmp_path) == 0
    assert left.exists()  # somebody may be about to name it
    os.utime(left, (time.time() - 120,) * 2)
    assert remove_left_behind(tmp_path) == 0  # nothing of it was ever a test file
    assert not left.exists()


def test_without_locks_the_number_of_a_process_that_is_used_again_is_no_life(
    leave: Callable[[], None], tmp_path: Path
) -> None:
    leave()
    (mark,) = tmp_path.glob("*.lock")
    how, boot, space, _, started = mark.read_text().split()
    # The number is that of this process now, which started at another time.
    mark.write_text(f"{how} {boot} {space} {os.getpid()} {started}\n")
    assert remove_left_behind(tmp_path) == 2


@pytest.mark.parametrize("changed", [1, 2], ids=["another boot or host", "another space of process numbers"])
def test_without_locks_marks_of_elsewhere_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: int
) -> None:
    words = f"{_left_behind._NAMED} {_left_behind._maker(os.getpid())}".split()
    words[changed], words[3] = "elsewhere", "999999999"
    (tmp_path / "aicalib-fio-x.lock").write_text(" ".join(words))
    (tmp_path / "aicalib-fio-x.0").write_text("data")
    assert remove_left_behind(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_marks_of_other_users_and_links_are_never_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("locked nothing")
    (tmp_path / "aicalib-fio-x.lock").symlink_to(precious)
    (tmp_path / "aicalib-fio-x.0").write_text("data")
    assert remove_left_behind(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 3
