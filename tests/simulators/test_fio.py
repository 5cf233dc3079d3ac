"""Simulated fio as a program that anybody starts: by command line, files, signals and status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aicalib_hw import registry

READ = ("--name=job", "--rw=read", "--bs=1m", "--direct=1", "--ioengine=libaio", "--iodepth=16", "--size=8m")
TIMED = (*READ, "--time_based=1", "--runtime=30")
GOOD = 2.8e9
"""What the simulated disk reads, byte/s."""


class Fio:
    """A simulated fio and how one starts it."""

    def __init__(self, rate: float, options: dict[str, Any], platform: dict[str, Any] | None) -> None:
        settings = {"rate": rate, "seed": 3, "platform": platform or {}}
        self.world = registry.simulator(registry.WORLD).from_settings(settings)
        self.simulator = registry.simulator("fio")(self.world, "fio", **options)
        self.world.start()
        self.simulator.start()
        self.output = self.simulator.directory / "result.json"

    def command(self, *arguments: str) -> list[str]:
        form = [] if any("output-format" in one for one in arguments) else ["--output-format=json+"]
        where = [f"--directory={self.simulator.directory}", f"--output={self.output}", *form]
        return [str(self.simulator.program), *where, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=30, check=False)

    def job(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        done = self.run(*arguments)
        assert done.returncode == status, done.stderr
        text = self.output.read_text()
        found: dict[str, Any] = json.loads(text[text.index("{") :])["jobs"][0]
        return found

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def wait_busy(self) -> None:
        deadline = time.monotonic() + 10
        before = self.simulator.truth.moved("read")
        while self.simulator.truth.moved("read") <= before:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        self.simulator.stop()
        self.world.stop()


@pytest.fixture
def fio() -> Iterator[Callable[..., Fio]]:
    """A function that starts a simulated fio in a world 100 times as fast as real time."""
    running: list[Fio] = []

    def start(rate: float = 100.0, platform: dict[str, Any] | None = None, **options: Any) -> Fio:
        running.append(Fio(rate, options, platform))
        return running[-1]

    yield start
    for one in running:
        one.close()


def gigabits(job: dict[str, Any], direction: str = "read") -> float:
    return float(8 * job[direction]["io_bytes"] / (job[direction]["runtime"] / 1000) / 1e9)


def test_the_version_is_marked_on_the_command_line_and_in_the_results(fio: Callable[..., Fio]) -> None:
    program = fio()
    assert program.run("--version").stdout == "SIM-fio-3.33\n"
    program.run(*READ)
    assert json.loads(program.output.read_text())["fio version"] == "SIM-fio-3.33"


@pytest.mark.alone
def test_a_program_is_ready_within_a_tenth_of_a_second(fio: Callable[..., Fio]) -> None:
    program = fio()
    began = time.monotonic()
    for _ in range(10):
        program.run("--version")
    bare = time.monotonic()
    for _ in range(10):
        subprocess.run([sys.executable, "-IS", "-c", "pass"], check=True)
    done = time.monotonic()
    assert (bare - began) - (done - bare) < 10 * 0.06


def test_a_job_of_30_seconds_takes_a_hundredth_of_it_and_says_what_truly_moved(fio: Callable[..., Fio]) -> None:
    program = fio()
    began = time.monotonic()
    job = program.job(*TIMED)
    assert time.monotonic() - began < 10
    assert 30_000 <= job["read"]["runtime"] < 30_100
    assert job["read"]["io_bytes"] == pytest.approx(program.simulator.truth.moved("read"), rel=1e-4)
    assert job["read"]["bw_bytes"] == 1000 * job["read"]["io_bytes"] // job["read"]["runtime"]
    assert job["read"]["bw"] == job["read"]["bw_bytes"] // 1024
    assert gigabits(job) == pytest.approx(8 * GOOD / 1e9, rel=0.02)


def test_the_disk_counts_the_sectors_that_its_kernel_would(fio: Callable[..., Fio]) -> None:
    program = fio()
    before = [int(field) for field in program.simulator.witness.read_text().split()]
    job = program.job(*TIMED)
    after = [int(field) for field in program.simulator.witness.read_text().split()]
    assert len(after) == 11
    assert 512 * (after[2] - before[2]) == pytest.approx(job["read"]["io_bytes"], rel=1e-4)
    assert after[6] == before[6]


def test_a_loaded_platform_reads_more_slowly_and_a_hot_disk_too(fio: Callable[..., Fio]) -> None:
    rates = []
    for load, options in ((0.0, {}), (1.0, {"saturation": 0.3}), (0.0, {"heating": 90, "time_constant": 1})):
        program = fio(disk={"noise": 0.0, **options})
        with program.world.run_load(load):
            program.world.clock.wait_until(program.world.clock.now() + 20)
            rates.append(gigabits(program.job(*TIMED)))
    assert rates[0] == pytest.approx(8 * 2.8, rel=0.005)
    assert rates[1] == pytest.approx(0.7 * rates[0], rel=0.02)
    assert 0.5 * rates[0] <= rates[2] < 0.9 * rates[0]


def test_a_disk_at_work_draws_its_power_from_the_mains(fio: Callable[..., Fio]) -> None:
    program = fio(disk={"idle_power": 0.0, "busy_power": 500.0})
    truth, clock = program.world.truth, program.world.clock
    start = clock.now()
    program.run(*TIMED)
    stop = clock.now()
    idle = 900 / 0.8873
    assert truth.mean_power(start + 5, stop - 5) > idle + 450
    assert truth.active_power == pytest.approx(idle, rel=0.02)


def test_what_is_asked_for_at_most_is_not_exceeded(fio: Callable[..., Fio]) -> None:
    program = fio()
    job = program.job(*TIMED, "--rate=50m")
    assert job["read"]["bw_bytes"] == pytest.approx(50 * 2**20, rel=1e-3)


def test_jobs_share_the_disk_and_a_group_counts_them_together(fio: Callable[..., Fio]) -> None:
    program = fio()
    job = program.job(*TIMED, "--numjobs=3", "--group_reporting=1")
    assert gigabits(job) == pytest.approx(8 * GOOD / 1e9, rel=0.02)
    assert job["job_runtime"] == pytest.approx(3 * job["read"]["runtime"], rel=0.01)
    text = program.run(*TIMED, "--numjobs=3")
    assert text.returncode == 0
    alone = json.loads(program.output.read_text())["jobs"]
    assert [one["jobname"] for one in alone] == ["job"] * 3
    assert sum(one["read"]["io_bytes"] for one in alone) == pytest.approx(job["read"]["io_bytes"], rel=0.01)


def test_a_shallow_queue_leaves_the_disk_idle_and_latency_is_what_the_queue_waits(fio: Callable[..., Fio]) -> None:
    program = fio()
    small = ("--bs=4k", "--rw=randread")
    one = program.job(*TIMED, *small, "--iodepth=1")["read"]
    many = program.job(*TIMED, *small, "--iodepth=32")["read"]
    assert one["lat_ns"]["mean"] == pytest.approx(81.5e3, rel=0.02)
    assert many["iops"] > 20 * one["iops"]
    for read, depth in ((one, 1), (many, 32)):
        assert read["lat_ns"]["mean"] * read["iops"] / 1e9 == pytest.approx(depth, rel=0.01)
        assert sum(read["clat_ns"]["bins"].values()) == read["total_ios"] == read["clat_ns"]["N"]


def test_a_mix_of_reads_and_writes_is_counted_in_both_directions(fio: Callable[..., Fio]) -> None:
    job = fio().job(*TIMED, "--rw=randrw", "--rwmixread=70")
    assert job["read"]["io_bytes"] / job["write"]["io_bytes"] == pytest.approx(7 / 3, rel=0.01)


def test_a_ramp_is_not_counted_but_where_the_job_ends_before_it_is_over(fio: Callable[..., Fio]) -> None:
    program = fio()
    job = program.job(*TIMED, "--ramp_time=10")
    assert 30_000 <= job["read"]["runtime"] < 30_100
    assert program.simulator.truth.moved("read") == pytest.approx(job["read"]["io_bytes"] * 4 / 3, rel=0.02)
    short = program.job(*READ, "--ramp_time=10")
    assert short["read"]["io_bytes"] == 8 << 20
    assert short["read"]["runtime"] < 100


def test_files_in_memory_are_read_without_the_disk_and_look_faster_than_it_is(fio: Callable[..., Fio]) -> None:
    program = fio(filled=False)
    before = program.simulator.truth.moved("read")
    job = program.job(*TIMED)
    assert gigabits(job) == pytest.approx(224, rel=0.02)
    assert program.simulator.truth.moved("read") == before


@pytest.mark.parametrize("options", [("--direct=0", "--invalidate=0"), ("--ioengine=mmap",)])
def test_the_page_cache_is_read_without_the_disk(fio: Callable[..., Fio], options: tuple[str, ...]) -> None:
    program = fio()
    assert gigabits(program.job(*TIMED, *options)) > 200
    assert program.simulator.truth.moved("read") == 0


def test_buffered_writes_are_fast_until_memory_is_full_and_a_flush_at_the_end_is_paid_for(
    fio: Callable[..., Fio],
) -> None:
    program = fio(page_cache=4e9)
    write = (*READ, "--rw=write", "--direct=0", "--io_size=3g")
    cached = program.job(*write)
    assert gigabits(cached, "write") > 200
    flushed = program.job(*write, "--end_fsync=1")
    assert gigabits(flushed, "write") == pytest.approx(16, rel=0.15)
    assert flushed["sync"]["total_ios"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_job_with_what_it_has_and_a_line_before_the_results(
    fio: Callable[..., Fio], number: int
) -> None:
    program = fio(rate=1.0)
    running = program.start(*TIMED)
    program.wait_busy()
    running.send_signal(number)
    _, errors = running.communicate(timeout=10)
    assert (running.returncode, errors) == (128, "")
    text = program.output.read_text()
    assert text.startswith(f"\nfio: terminating on signal {number}\n{{")
    job = json.loads(text[text.index("{") :])["jobs"][0]
    assert job["error"] == 0
    assert 0 < job["read"]["runtime"] < 10_000


def test_killing_the_program_leaves_an_empty_file_and_a_worker_that_goes_on_until_its_group_is_killed(
    fio: Callable[..., Fio],
) -> None:
    program = fio(rate=1.0)
    running = program.start(*TIMED)
    program.wait_busy()
    running.kill()
    assert running.wait(timeout=10) == -signal.SIGKILL
    assert program.output.read_bytes() == b""
    program.wait_busy()
    os.killpg(running.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    before = -1.0
    while (now := program.simulator.truth.moved("read")) != before:
        before = now
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_killed_worker_leaves_status_0_and_zeros(fio: Callable[..., Fio]) -> None:
    program = fio(rate=1.0)
    running = program.start(*TIMED)
    program.wait_busy()
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    running.communicate(timeout=10)
    assert running.returncode == 0
    text = program.output.read_text()
    assert "got signal=9" in text
    job = json.loads(text[text.index("{") :])["jobs"][0]
    assert (job["error"], job["read"]["io_bytes"]) == (0, 0)


def test_status_interval_writes_one_document_after_the_other(fio: Callable[..., Fio]) -> None:
    program = fio(rate=20.0)
    assert program.run(*TIMED, "--status-interval=10").returncode == 0
    text, found = program.output.read_text(), []
    while text.strip():
        document, end = json.JSONDecoder().raw_decode(text.lstrip())
        found.append(document["jobs"][0]["read"])
        text = text.lstrip()[end:]
    assert len(found) >= 3
    assert [one["runtime"] for one in found] == sorted(one["runtime"] for one in found)
    assert 9_000 < found[0]["runtime"] < 20_000


def test_progress_is_told_in_one_line_that_is_written_over(fio: Callable[..., Fio]) -> None:
    command = fio(rate=20.0).command(*TIMED, "--runtime=10", "--eta=always")
    lines = subprocess.run(command, capture_output=True, timeout=20, check=True).stdout.decode().split("\r")
    assert lines[0] == "Jobs: 1 (f=1)"
    assert any("[R(1)]" in line and "MiB/s]" in line and "[eta 00m:" in line for line in lines)


def test_logs_of_rates_hold_the_mean_of_each_interval(fio: Callable[..., Fio], tmp_path: Path) -> None:
    program = fio()
    command = program.command(*TIMED, "--write_bw_log=bw", "--log_avg_msec=1000")
    subprocess.run(command, cwd=tmp_path, check=True, timeout=20)
    rows = [line.split(", ") for line in (tmp_path / "bw_bw.1.log").read_text().splitlines()]
    assert len(rows) == 30
    for _, kibibytes, direction, *_ in rows:
        assert int(kibibytes) * 1024 == pytest.approx(GOOD, rel=0.02)
        assert direction == "0"


def test_a_job_file_is_read_with_its_variables_and_its_sections_follow_each_other(
    fio: Callable[..., Fio], tmp_path: Path
) -> None:
    program = fio()
    file = tmp_path / "jobs.fio"
    file.write_text(
        "; two jobs\n[global]\ndirectory=${TARGET}\nsize=8m\ndirect=1\nioengine=libaio\nbs=1m\niodepth=8\n"
        "time_based=1\nruntime=10\nnumjobs=2\ngroup_reporting=1\n[first]\nrw=read\n[second]\nstonewall\nrw=write\n"
    )
    environment = {**os.environ, "TARGET": str(program.simulator.directory)}
    command = [str(program.simulator.program), f"--output={program.output}", "--output-format=json", str(file)]
    subprocess.run(command, env=environment, check=True, timeout=20)
    whole = json.loads(program.output.read_text())
    assert whole["global options"]["directory"] == str(program.simulator.directory)
    first, second = whole["jobs"]
    assert (first["groupid"], second["groupid"]) == (0, 1)
    assert gigabits(first) == pytest.approx(22.4, rel=0.02)
    assert gigabits(second, "write") == pytest.approx(16, rel=0.02)


FAILURES = [
    ("full", ("--rw=write",), 1, 28, "No space left on device"),
    ("io_error", (), 1, 5, "Input/output error"),
    ("no_direct", (), 1, 22, "destination does not support O_DIRECT"),
]


@pytest.mark.parametrize(("kind", "options", "status", "error", "said"), FAILURES)
def test_what_fails_is_told_with_what_was_counted_until_then(
    fio: Callable[..., Fio], kind: str, options: tuple[str, ...], status: int, error: int, said: str
) -> None:
    program = fio()
    program.simulator.inject({"kind": kind, "amount": float(4 << 20)})
    done = program.run(*READ, *options)
    assert done.returncode == status
    assert said in done.stderr
    text = program.output.read_text()
    job = json.loads(text[text.index("{") :])["jobs"][0]
    assert job["error"] == error
    assert job["write" if options else "read"]["io_bytes"] == (0 if kind == "no_direct" else 4 << 20)


def test_wrong_contents_are_told_and_forgiven_only_where_asked(fio: Callable[..., Fio]) -> None:
    program = fio()
    verify = (*READ, "--verify=crc32c")
    for options, status, size in ((("--verify_fatal=1",), 1, 3 << 20), ((), 1, 8 << 20)):
        program.simulator.inject({"kind": "corrupt", "amount": float(2 << 20)})
        done = program.run(*verify, *options)
        assert done.returncode == status
        assert "crc32c: verify failed at file" in done.stderr
        assert f"offset {2 << 20}, length {1 << 20}" in done.stderr
        job = json.loads(program.output.read_text())["jobs"][0]
        assert (job["error"], job["read"]["io_bytes"]) == (84, size)
        assert "total_err" not in job
    program.simulator.inject({"kind": "corrupt", "amount": float(2 << 20)})
    job = program.job(*verify, "--continue_on_error=verify")
    assert (job["error"], job["total_err"], job["first_error"]) == (84, 1, 84)
    assert job["read"]["bw_bytes"] > 1e9


def test_a_timed_verification_shares_the_time_of_the_job_and_says_so_before_the_results(
    fio: Callable[..., Fio],
) -> None:
    program = fio()
    job = program.job(*TIMED, "--rw=write", "--verify=crc32c")
    assert program.output.read_text().startswith("fio: verification read phase will never start")
    assert job["write"]["runtime"] < 20_000
    assert job["read"]["io_bytes"] > 0


def test_faults_of_the_disk_and_of_the_program_show_where_they_strike(fio: Callable[..., Fio]) -> None:
    program = fio()
    strike = program.simulator.inject
    strike({"kind": "short_io", "amount": 7})
    assert program.job(*READ)["read"]["short_ios"] == 7
    strike("shallow")
    assert program.job(*READ)["iodepth_level"]["1"] == 100.0
    strike({"kind": "overrun", "amount": 5})
    assert program.job(*TIMED)["read"]["runtime"] >= 35_000
    strike("wrong_identity")
    assert program.run("--version").stdout != "SIM-fio-3.33\n"
    strike("chatter")
    assert not program.run(*READ).stderr
    assert not program.output.read_text().startswith("{")
    strike("half_line")
    program.run(*READ)
    with pytest.raises(json.JSONDecodeError):
        json.loads(program.output.read_text())
    strike("drop")
    assert program.run(*READ).returncode == -signal.SIGKILL
    assert program.output.read_bytes() == b""
    strike("refuse")
    assert program.run("--version").returncode == 127
    strike({"kind": "neighbour", "amount": 0.5})
    before = program.simulator.truth.moved("read")
    job = program.job(*TIMED)
    assert program.simulator.truth.moved("read") - before == pytest.approx(1.5 * job["read"]["io_bytes"], rel=0.01)


def test_a_disk_that_is_too_small_is_full_while_files_are_laid_out(fio: Callable[..., Fio]) -> None:
    program = fio(disk={"capacity": 4 << 20})
    done = program.run(*READ)
    assert done.returncode == 1
    assert "err=28" in done.stderr
    assert program.output.read_text().startswith("fio: ENOSPC on laying out file, stopping\n")


def test_nothing_is_left_when_the_simulator_stops(fio: Callable[..., Fio]) -> None:
    program = fio(rate=1.0)
    running = program.start(*TIMED)
    program.wait_busy()
    made = (program.simulator.program, program.simulator.directory)
    program.close()
    running.communicate(timeout=10)
    assert running.returncode == 125
    assert not any(path.exists() for path in made)


def test_an_option_that_is_not_simulated_is_refused_by_name(fio: Callable[..., Fio]) -> None:
    program = fio()
    for option in ("thinktime=5", "trigger-timeout=5", "merge-blktrace-only"):
        done = program.run(*READ, f"--{option}")
        assert done.returncode == 1
        assert f"{option.partition('=')[0]} is an option of fio that is not simulated" in done.stderr


@pytest.mark.parametrize("simulated_storage_tester", [{"disk": {"read": 1e9, "noise": 0.0}}], indirect=True)
def test_the_fixture_gives_a_disk_of_the_asked_rate(simulated_storage_tester: Any) -> None:
    tester = simulated_storage_tester
    where = (f"--directory={tester.directory}", "--output-format=json")
    done = subprocess.run(
        [str(tester.program), *where, *TIMED, "--runtime=10"], capture_output=True, check=True, timeout=20
    )
    assert json.loads(done.stdout)["jobs"][0]["read"]["bw_bytes"] == pytest.approx(1e9, rel=0.005)


def test_what_is_told_in_between_is_true_as_well(fio: Callable[..., Fio]) -> None:
    program = fio(rate=20.0, disk={"noise": 0.0, "service": 0.0})
    assert program.run(*TIMED, "--status-interval=1").returncode == 0
    text, told = program.output.read_text(), []
    while text.strip():
        document, end = json.JSONDecoder().raw_decode(text.lstrip())
        told.append(document["jobs"][0])
        text = text.lstrip()[end:]
    assert len(told) > 10
    for one in told:
        # A block more or less, and a thousandth of a second, of however long it had run by then.
        ran = one["read"]["runtime"] / 1e3
        assert gigabits(one) == pytest.approx(8 * GOOD / 1e9, rel=((1 << 20) / GOOD + 1e-3) / ran + 1e-4)
