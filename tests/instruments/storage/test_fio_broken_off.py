"""Runs of fio that somebody or something ends: nothing that was measured is lost, nothing of it is called a result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aicalib_hw.instruments.storage.fio import Fio

from aicalib_hw.errors import Aborted, ConnectionFailed, DeadlineExceeded, InstrumentReportedError
from aicalib_hw.readings import Measurement, ValidityStatus
from tests.disks import Disk

from .real_fio import MIB, READ, during, fio_of, job, left_in, program


def assert_kept(partial: object, status: ValidityStatus, disk: Disk) -> Measurement:
    """What broke off is kept as evidence with a rate that is not used, and leaves nothing behind."""
    assert isinstance(partial, Measurement)
    assert partial.value is None
    assert partial.validity.status is status
    assert partial.validity.reasons
    (run,) = partial.runs
    assert run.value is not None
    assert not run.used
    assert 0 < partial.evidence["running_s"] < 59
    moved = partial.evidence["bytes_read"]
    assert run.value == pytest.approx(8 * moved / partial.evidence["running_s"])
    # The device goes on counting until fio is gone, after the last account.
    assert 0 < moved <= partial.evidence["device_counted"]["read"] * 1.005
    assert fio_of(disk.directory) == []
    assert left_in(disk) == []
    return partial


@pytest.mark.parametrize(
    ("number", "named"), [(signal.SIGINT, "status 128"), (signal.SIGKILL, "signal 9")], ids=["SIGINT", "SIGKILL"]
)
def test_a_fio_that_somebody_ends_gives_no_value_says_so_and_what_it_had_done_is_kept(
    disk: Disk, number: signal.Signals, named: str
) -> None:
    with Fio(disk.address) as tester:
        thread = during(disk, lambda process: os.kill(process, number))
        result = tester.measure_throughput(job(duration=80.0))
        thread.join()
    assert_kept(result, ValidityStatus.ERROR, disk)
    assert any(named in reason for reason in result.validity.reasons)
    assert ("terminating on signal 2" in result.evidence["fio_remarks"]) is (number is signal.SIGINT)


@pytest.mark.alone
def test_abort_from_another_thread_ends_fio_and_its_workers_within_a_second_and_keeps_what_was_measured(
    disk: Disk,
) -> None:
    with Fio(disk.address) as tester:
        took: list[float] = []

        def act(_: int) -> None:
            took.append(time.monotonic())
            tester.abort()

        # Once is enough: what makes it wait for the window, or for fio to obey, does so each time.
        while not took or (took[-1] >= 1.0 and len(took) < 4):
            thread = during(disk, act)
            with pytest.raises(Aborted) as aborted:
                tester.measure_throughput(job(duration=80.0, jobs=2))
            took[-1] = time.monotonic() - took[-1]
            thread.join()
            assert_kept(aborted.value.partial, ValidityStatus.ABORTED, disk)
        assert took[-1] < 1.0, took
        assert tester.measure_throughput(READ).validity


def test_a_fio_that_does_not_end_in_time_is_ended_and_what_it_had_done_is_kept(disk: Disk, tmp_path: Path) -> None:
    endless = program(tmp_path, 'case "$*" in *time_based*) exec fio "$@" --runtime=60;; esac\nexec fio "$@"')
    with (
        Fio(f"{disk.address}&program={endless}", timeout=4.0) as tester,
        pytest.raises(DeadlineExceeded) as late,
    ):
        tester.measure_throughput(READ)
    partial = assert_kept(late.value.partial, ValidityStatus.ERROR, disk)
    assert "did not end" in partial.validity.reasons[0]


def killed(disk: Disk, temporary: Path, act: Callable[[subprocess.Popen[bytes], int], object]) -> None:
    """Measure in a process of its own, and do something to it in the measured window, given it and its fio."""
    code = (
        "from tests.instruments.storage.real_fio import job\n"
        "from aicalib_hw.instruments.storage.fio import Fio\n"
        f"with Fio({disk.address!r}) as tester: tester.measure_throughput(job(duration=80.0))\n"
    )
    place = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3], env=place) as measuring:
        thread = during(disk, lambda fio: act(measuring, fio))
        measuring.wait(90)
        thread.join()


def wait_until_no_fio_runs(disk: Disk) -> None:
    end = time.monotonic() + 30
    while fio_of(disk.directory) and time.monotonic() < end:
        time.sleep(0.05)
    assert fio_of(disk.directory) == []


def test_a_program_that_is_killed_takes_fio_with_it_and_the_next_one_removes_what_it_left(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(disk, tmp_path, lambda measuring, _: measuring.kill())
    wait_until_no_fio_runs(disk)
    left = left_in(disk)
    assert len(left) == 2
    assert len(list(tmp_path.glob("aicalib-fio-*"))) == 2
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Fio(disk.address) as first:
        assert left_in(disk) == []
        assert list(tmp_path.iterdir()) == []
        assert first.measure_throughput(READ).validity
        own = left_in(disk)
        assert len(own) == 2
        assert not set(own) & set(left)
        with Fio(disk.address) as second:
            # What a living program made is left alone.
            assert left_in(disk) == own
            assert second.release().actions == ()
        actions = first.release().actions
    assert "1 test files of programs that have died removed" in actions
    assert left_in(disk) == []


def test_fio_ends_even_where_both_the_program_and_the_guard_of_fio_are_killed(disk: Disk, tmp_path: Path) -> None:
    def kill_both(measuring: subprocess.Popen[bytes], fio: int) -> None:
        guard = int(Path(f"/proc/{fio}/stat").read_text().rpartition(")")[2].split()[1])
        assert guard not in (1, measuring.pid)
        os.kill(guard, signal.SIGSTOP)
        measuring.kill()
        os.kill(guard, signal.SIGKILL)

    killed(disk, tmp_path, kill_both)
    wait_until_no_fio_runs(disk)
    with Fio(disk.address):
        assert left_in(disk) == []


def test_whoever_is_told_of_the_progress_can_stop_the_measurement_by_raising(disk: Disk) -> None:
    def stop(done: float, note: str) -> None:
        if done > 0.41:
            raise Aborted("enough of it")

    quiet = threading.excepthook
    heard: list[object] = []
    threading.excepthook = heard.append
    try:
        with Fio(disk.address) as tester, pytest.raises(Aborted, match="enough"):
            tester.measure_throughput(job(duration=60.0), progress=stop)
    finally:
        threading.excepthook = quiet
    assert heard == []
    assert fio_of(disk.directory) == []
    assert left_in(disk) == []


def test_a_disk_that_fills_up_meanwhile_is_named_and_what_was_written_is_kept(small_disk: Disk, tmp_path: Path) -> None:
    other = small_disk.directory / "other"
    greedy = program(
        tmp_path,
        f'case "$*" in *checkpoint*) dd if=/dev/zero of={other} bs=1M count=12 2>/dev/null;; esac\nexec fio "$@"',
    )
    with Fio(f"{small_disk.address}&program={greedy}") as tester:
        result = tester.measure_throughput(job("checkpoint-write", size=12 * MIB, disturbance=1.0))
    assert result.validity.status is ValidityStatus.ERROR
    assert result.value is None
    assert "error 28 of fio: the disk is full" in result.validity.reasons
    assert 0 < result.evidence["bytes_written"] < 12 * MIB
    assert left_in(small_disk) == ["other"]


def test_a_disk_that_goes_away_while_the_file_is_filled_is_told(disk: Disk, tmp_path: Path) -> None:
    small = program(tmp_path, 'case "$1" in --version|--enghelp) exec fio "$1";; esac\nulimit -f 8192\nexec fio "$@"')
    with Fio(f"{disk.address}&program={small}") as tester, pytest.raises(InstrumentReportedError) as failed:
        tester.measure_throughput(READ)
    assert "filling the file" in str(failed.value)
    assert left_in(disk) == []


def test_a_directory_that_goes_away_is_told_by_name(disk: Disk) -> None:
    below = disk.directory / "below"
    below.mkdir()
    with Fio(f"fio://{below}?loop=yes") as tester:
        below.rmdir()
        with pytest.raises(ConnectionFailed, match="nothing at") as gone:
            tester.measure_throughput(READ)
    assert str(below) in str(gone.value)
