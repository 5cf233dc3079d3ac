"""What other programs use of this host is told apart from what this one uses, in the system's own counters."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from aicalib_hw.instruments.bystanders import Bystanders


def stat(busy: list[int], *, stolen: int = 0) -> str:
    """`/proc/stat` of so many processors, each so many jiffies in user, with idle and iowait that count for nothing."""
    rows = [f"cpu{number} {user} 0 0 77777 5555 0 0 {stolen} 0 0" for number, user in enumerate(busy)]
    return "\n".join([f"cpu  {sum(busy)} 0 0 77777 5555 0 0 {stolen} 0 0", *rows, "intr 1", ""])


def test_their_share_is_of_all_processors(tmp_path: Path) -> None:
    file = tmp_path / "stat"
    file.write_text(stat([1000, 1000]))
    others = Bystanders(file)
    time.sleep(0.5)
    file.write_text(stat([1000 + 50, 1000], stolen=999))
    share = others.share()
    assert share is not None
    assert 0.25 <= share + 0.02 <= 0.55  # half a second of one of two processors, in half a second or a little more


def test_what_this_process_works_is_not_theirs(tmp_path: Path) -> None:
    file = tmp_path / "stat"
    file.write_text(stat([1000, 1000]))
    others = Bystanders(file)
    began = time.process_time()
    while time.process_time() - began < 0.3:
        pass
    file.write_text(stat([1000 + 30, 1000]))
    share = others.share()
    assert share is not None
    assert share < 0.05


@pytest.mark.parametrize("text", ["", "cpu  1 2 3\n", stat([0, 0])])
def test_what_the_system_does_not_count_is_not_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "stat"
    file.write_text(text)
    assert Bystanders(file).share() is None
    assert Bystanders(tmp_path / "none").share() is None


def test_a_processor_that_comes_or_goes_leaves_no_share(tmp_path: Path) -> None:
    file = tmp_path / "stat"
    file.write_text(stat([1000, 1000]))
    others = Bystanders(file)
    file.write_text(stat([1000]))
    assert others.share() is None


def test_what_programs_started_here_work_is_not_theirs_while_they_run_and_after(tmp_path: Path) -> None:
    file = tmp_path / "stat"
    file.write_text(stat([1000, 1000]))
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\ninput()"
    others = Bystanders(file)
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        file.write_text(stat([1000 + 50, 1000]))
        running = others.share()
        program.communicate(b"\n")
    ended = others.share()
    assert running is not None
    assert running < 0.05
    assert ended is not None
    assert ended < 0.05


def test_interrupts_are_theirs_only_where_asked(tmp_path: Path) -> None:
    file = tmp_path / "stat"
    row = "cpu0 {} 0 0 77777 0 0 {} 0 0 0\n"
    file.write_text(row.format(1000, 1000))
    with_interrupts, without = Bystanders(file), Bystanders(file, interrupts=False)
    time.sleep(0.3)
    file.write_text(row.format(1000, 1000 + 10_000))
    assert with_interrupts.share() == 1.0
    assert without.share() == 0.0
