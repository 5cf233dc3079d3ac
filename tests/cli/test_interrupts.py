"""Ctrl-C and SIGTERM: everything stops at once, is given back, and what was measured before is there."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aicalib_hw.bench import runtime_directory
from aicalib_hw.errors import RecordError
from aicalib_hw.leases import LeaseBook
from aicalib_hw.records.store import read_record

AT_ONCE = 1.0
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command line in a process of its own, killed in the end if it still runs."""
    code = "from aicalib_hw.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, float, str]:
    """Send the signal and return exit status, seconds it took to end, and standard error.

    Seconds in which it was ready to go on and other programs held the processors are no seconds that it took.
    """
    sent = time.monotonic() - held_up(process.pid)
    os.kill(process.pid, number)
    wait_until(lambda: bool(os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)))
    seconds = time.monotonic() - held_up(process.pid) - sent
    assert process.stderr is not None
    return process.wait(), seconds, process.stderr.read()


def held_up(pid: int) -> float:
    """How long the main thread of a process has waited for a processor, s (Linux, scheduler/sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def wait_for(path: Path, size: int = 1) -> None:
    deadline = time.monotonic() + 15
    while not (path.exists() and path.stat().st_size >= size):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def equipment(path: Path) -> list[str]:
    """Names of what the record says was used; none as long as the record is only being made."""
    try:
        return [item.name for item in read_record(path).equipment]
    except RecordError:
        return []


@pytest.mark.parametrize("number", SIGNALS)
def test_simulators_run_until_they_are_told_to_stop(number: signal.Signals) -> None:
    with started("simulate", "this-machine", "--json") as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        meter = told["instruments"]["meter"]
        assert meter["driver"] == "yokogawa-wt300"
        port = int(meter["address"].split("::")[1].split(",")[1])
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        status, seconds, _ = end(process, number)
    assert (status, seconds < AT_ONCE) == (0, True)
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_reading_until_ctrl_c_ends_well_with_every_row_on_disk() -> None:
    with started("read", "cpu://local", "--every", "100ms", "--csv", "log.csv") as process:
        wait_for(Path("log.csv"), 300)
        status, seconds, _ = end(process, signal.SIGINT)
    assert (status, seconds < AT_ONCE) == (0, True)
    with Path("log.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) > 2
    assert len({len(row) for row in rows}) == 1
    assert LeaseBook(runtime_directory()).held() == ()


@pytest.mark.parametrize("number", SIGNALS)
def test_reading_cut_short_says_so_in_its_exit_status(number: signal.Signals) -> None:
    with started("read", "cpu://local", "--every", "100ms", "--for", "1h", "--csv", "log.csv") as process:
        wait_for(Path("log.csv"), 100)
        status, seconds, _ = end(process, number)
    assert (status, seconds < AT_ONCE) == (128 + number, True)


@pytest.mark.parametrize(("number", "quantity"), [(signal.SIGINT, "compute"), (signal.SIGTERM, "power")])
def test_a_calibration_stops_at_once_and_leaves_a_record_marked_aborted(number: signal.Signals, quantity: str) -> None:
    with started("calibrate", "--quantity", quantity, "--output", "out") as process:
        wait_for(Path("out/record.sqlite"))
        time.sleep(1.5)
        status, seconds, shown = end(process, number)
    assert (status, seconds < AT_ONCE + 0.5) == (128 + number, True), shown
    record = read_record(Path("out/record.sqlite"))
    assert record.status == "aborted"
    assert LeaseBook(runtime_directory()).held() == ()
    assert "Traceback" not in shown


def test_ctrl_c_before_anything_answered_leaves_no_directory() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and says nothing
        Path("lab.toml").write_text(
            '[bench]\nname = "lab"\n[instruments.meter]\ndriver = "yokogawa-wt300"\n'
            f'address = "TCPIP::127.0.0.1,{silent.getsockname()[1]}::inst0::INSTR"\n'
        )
        with started("calibrate", "lab", "--output", "out") as process:
            wait_until(Path("out/trace.jsonl").exists)
            status, _, shown = end(process, signal.SIGINT)
    assert status == 130, shown
    assert not Path("out").exists()


def test_a_killed_calibration_leaves_a_record_that_can_be_read_and_a_lease_that_can_be_taken_over() -> None:
    with started("calibrate", "--quantity", "compute", "--output", "out") as process:
        wait_for(Path("out/record.sqlite"))
        wait_until(lambda: bool(equipment(Path("out/record.sqlite"))))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert "cpu://local" in [left.address for left in LeaseBook(runtime_directory()).held()]
    assert equipment(Path("out/record.sqlite")) != []
    with started("calibrate", "--quantity", "compute", "--output", "next") as process:
        wait_for(Path("next/record.sqlite"))
        end(process, signal.SIGINT)
    assert LeaseBook(runtime_directory()).held() == ()
