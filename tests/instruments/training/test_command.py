"""A command that is started and followed: measured, and gone with everything it started, whatever happens."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.training.log import TrainingLog

from aicalib_hw.errors import Aborted, ConnectionLost, DeadlineExceeded, MissingProgram, UsageError
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.readings import ValidityStatus
from tests.core.test_transport_process import gone

from .jobs import BATCH, LENGTH, PLAN, command, kept

OUTPUT = "log://command?framework=nanogpt"
WORKERS = """
import subprocess, sys, time
for own_session in (False, True):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=own_session)
    print("worker", child.pid, file={told})
"""


def planned(*program: str, **changed: Any) -> TrainingPlan:
    return dataclasses.replace(PLAN, command=program or command(), **changed)


def with_workers(told: str = "sys.stdout", **changed: Any) -> tuple[str, ...]:
    """A command that trains, and has started a process in its own session and one in another, as it tells."""
    python, option, script = command(**changed)
    return python, option, WORKERS.format(told=told) + script


def workers_of(log: TrainingLog, within: float = 10.0) -> list[int]:
    until = time.monotonic() + within
    while time.monotonic() < until:
        following = log._following
        said = following.facts()["last_lines"] if following is not None else []
        found = [int(line.split()[1]) for line in said if line.startswith("worker")]
        if len(found) == 2:
            return found
        time.sleep(0.01)
    raise AssertionError("the workers did not start")


def test_a_command_is_measured_by_its_output_and_runs_on_for_the_next_measurement() -> None:
    with TrainingLog(OUTPUT) as log:
        first = log.measure_tokens(planned())
        second = log.measure_tokens(planned())
        assert second.runs[0].evidence["step"] == first.runs[-1].evidence["step"] + 1
        assert log.release().actions == ("the job was stopped",)
        assert log.release().actions == ()
    for result in (first, second):
        assert result.validity, result.validity.reasons
        assert result.evidence["tokens"] == 10 * BATCH * LENGTH
        assert result.value == pytest.approx(10 * BATCH * LENGTH / result.window.duration, rel=0.05)
        assert set(result.evidence["clocks"]) == {"arrival of the lines"}


def test_a_command_that_logs_to_its_error_stream_is_heard_too() -> None:
    with TrainingLog(OUTPUT) as log:
        assert log.measure_tokens(planned(*command(to="sys.stderr"))).validity


def test_a_command_that_writes_its_own_log_is_followed_there(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    program = command(to=f"open({str(path)!r}, 'a')")
    with TrainingLog(f"log://{path}?framework=nanogpt&from=command") as log:
        result = log.measure_tokens(planned(*program))
    assert result.validity, result.validity.reasons
    assert result.evidence["log"]["path"] == str(path)
    assert result.evidence["clocks"]


def test_a_command_that_ends_too_early_keeps_its_steps_and_is_marked() -> None:
    with TrainingLog(OUTPUT) as log:
        result = kept(lambda: log.measure_tokens(planned(*command(steps=6))), ConnectionLost)
        assert result.validity.status is ValidityStatus.ERROR
        assert "ended with status 0 after 5 steps" in result.validity.reasons[0]
        assert result.evidence["steps"] == 3
        failing = command(steps=6, then="print('out of memory'); sys.exit(7)")
        result = kept(lambda: log.measure_tokens(planned(*failing)), ConnectionLost)
    assert "with status 7" in result.validity.reasons[0]
    assert "out of memory" in result.validity.reasons[0]


def test_a_command_that_is_killed_in_the_middle_says_by_what() -> None:
    killing = command(steps=8, then="import os; os.kill(os.getpid(), 9)")
    with TrainingLog(OUTPUT) as log:
        result = kept(lambda: log.measure_tokens(planned(*killing)), ConnectionLost)
    assert "by signal 9" in result.validity.reasons[0]
    assert result.runs


def test_a_command_that_never_logs_a_step_is_ended_and_an_error() -> None:
    silent = (sys.executable, "-c", "print('loading'); import time; time.sleep(600)")
    with TrainingLog(OUTPUT) as log:
        with pytest.raises(DeadlineExceeded, match="no step") as caught:
            log.measure_tokens(planned(*silent, step_timeout=1.0))
        assert "loading" in caught.value.why
        assert log.release().actions == ()
        with pytest.raises(ConnectionLost, match="after 0 steps"):
            log.measure_tokens(planned(sys.executable, "-c", "pass"))


def test_a_full_disk_is_named_and_what_was_measured_before_is_kept(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a small disk needs root and mount: sudo apt-get install mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)], check=True)
    try:
        path = disk / "train.log"
        python, option, script = command(to=f"open({str(path)!r}, 'a')")
        filling = script.replace("    before = now", f"    before = now\n    if step == 8: fill({str(disk)!r})")
        fill = """
def fill(disk):
    with open(disk + "/checkpoint", "wb", buffering=0) as file:
        try:
            while file.write(bytes(512)): pass
        except OSError as error:
            print(error, file=sys.stderr)
"""
        with TrainingLog(f"log://{path}?framework=nanogpt&from=command") as log:
            plan = planned(python, option, fill + filling, warm_up_steps=2, steps=300, step_timeout=1.0)
            result = kept(lambda: log.measure_tokens(plan), DeadlineExceeded)
        assert result.validity.status is ValidityStatus.ERROR
        assert "disk of the log is full" in result.validity.reasons[0]
        assert result.runs
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_everything_that_a_command_has_started_is_gone_after_release_in_other_sessions_too() -> None:
    with TrainingLog(OUTPUT) as log:
        thread = threading.Thread(target=lambda: log.measure_tokens(planned(*with_workers())))
        thread.start()
        workers = workers_of(log)
        thread.join(30)
        assert log.release()
        assert all(gone(worker) for worker in workers)


@pytest.mark.alone
def test_an_abort_ends_command_and_workers_within_a_second() -> None:
    with TrainingLog(OUTPUT) as log:
        caught: list[BaseException] = []

        def measure() -> None:
            try:
                log.measure_tokens(planned(*with_workers(pace=5.0)))
            except Aborted as error:
                caught.append(error)

        thread = threading.Thread(target=measure)
        thread.start()
        workers = workers_of(log)
        began = time.monotonic()
        log.abort()
        thread.join(10)
        assert time.monotonic() - began < 1.0
        assert caught
        assert all(gone(worker, within=1.0) for worker in workers)


@pytest.mark.skipif(sys.platform != "linux", reason="what loses its parent is adopted under Linux only")
def test_a_follower_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    told = tmp_path / "workers"
    program = f"""
import dataclasses, sys
sys.path[:0] = {[str(Path(__file__).parents[3])]!r}
from aicalib_hw.instruments.training.log import TrainingLog
from tests.instruments.training.test_command import OUTPUT, planned, with_workers
with TrainingLog(OUTPUT) as log:
    log.measure_tokens(planned(*with_workers('open("{told}", "a")', pace=1.0)))
"""
    follower = subprocess.Popen([sys.executable, "-c", program])
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and (not told.exists() or told.read_text().count("\n") < 2):
            time.sleep(0.02)
        workers = [int(one) for one in told.read_text().split() if one.isdigit()]
        assert len(workers) == 2
        follower.send_signal(signal.SIGKILL)
    finally:
        follower.kill()
        follower.wait()
    assert all(gone(worker, within=3.0) for worker in workers)


def test_what_cannot_be_started_is_told_before_anything_is_measured() -> None:
    with TrainingLog(OUTPUT) as log:
        with pytest.raises(MissingProgram, match="no-such-trainer"):
            log.measure_tokens(planned("no-such-trainer"))
        with pytest.raises(UsageError, match="names no command"):
            log.measure_tokens(PLAN)
