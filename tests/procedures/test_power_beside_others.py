"""What other programs do to the host is load of a platform that is this host, and of no other."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aicalib_hw as hw
from aicalib_hw.metrology import Result
from aicalib_hw.procedures import calibrate_power

BENCH = """
[bench]
name = "beside-others"
[decision]
rule = "none"
[instruments.cpu]
driver = "cpu"
address = "cpu://local"
[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
settings = { voltage_range = 300.0, current_range = 20.0, update_interval = 0.1 }
[load]
source = "cpu"
[world.platform]
load_source = "host"
[plan.power]
loads = [0.0]
runs = 3
duration = 0.5
settle = 0.0
ranging_duration = 0.3
energy_duration = 0
load_tolerance = 0.1
"""


FOLLOWS = 'load_source = "host"'
CORES = '[instruments.cpu]\ndriver = "cpu"\naddress = "cpu://local"'
GPU = '[instruments.gpu]\ndriver = "nvidia"\nsimulator = "nvidia"'
BESIDE_A_GPU = BENCH.replace(CORES, GPU).replace('source = "cpu"', 'source = "gpu"')
BESIDE_A_GPU = BESIDE_A_GPU.replace(FOLLOWS, f"{FOLLOWS}\nidle_power = 500.0\nfull_power = 2000.0")


@contextlib.contextmanager
def neighbours() -> Iterator[None]:
    """One program for each processor that does nothing but compute, and that no program of ours has for a child."""
    work = "import os, time; print(os.getpid(), flush=True); ends = time.monotonic() + 60"
    busy = f"{work}\nwhile time.monotonic() < ends: pass"
    programs = []
    try:
        for _ in range(os.cpu_count() or 1):
            shell = ["sh", "-c", '"$0" -c "$1" &', sys.executable, busy]
            with subprocess.Popen(shell, stdout=subprocess.PIPE, text=True) as started:
                assert started.stdout is not None
                programs.append(int(started.stdout.readline()))
        yield
    finally:
        for program in programs:
            os.kill(program, signal.SIGKILL)


def idle_beside_others(tmp_path: Path, text: str) -> Result:
    """The point "idle" of a bench, measured while other programs hold every processor."""
    path = tmp_path / "busy.toml"
    path.write_text(text, encoding="utf-8")
    with hw.open_bench(path) as bench, neighbours():
        (idle,) = calibrate_power(bench).results
    return idle


@pytest.mark.alone
def test_the_load_of_others_is_stated_and_makes_idle_invalid(tmp_path: Path) -> None:
    idle = idle_beside_others(tmp_path, BENCH)
    assert not idle.validity
    assert any("other programs held" in reason for reason in idle.validity.reasons)
    assert idle.load is not None
    assert idle.load > 0.3
    assert min(idle.measurement.evidence["load_of_others"]) > 0.3
    assert all(run.value is not None for run in idle.measurement.runs)  # what was measured is kept


@pytest.mark.alone
def test_others_move_the_power_that_is_read_beside_a_gpu_and_are_not_of_its_load(tmp_path: Path) -> None:
    idle = idle_beside_others(tmp_path, BESIDE_A_GPU)
    assert not idle.validity
    assert any("other programs held" in reason for reason in idle.validity.reasons)
    assert min(idle.measurement.evidence["load_of_others"]) > 0.3
    assert idle.load == 0.0


@pytest.mark.alone
def test_others_do_nothing_to_a_simulated_platform_that_does_not_follow_this_host(tmp_path: Path) -> None:
    idle = idle_beside_others(tmp_path, BESIDE_A_GPU.replace(FOLLOWS, ""))
    assert not [reason for run in idle.measurement.runs for reason in run.reasons if "other programs" in reason]
    assert not any("other programs" in reason for reason in idle.validity.reasons)
    assert "load_of_others" not in idle.measurement.evidence
    assert idle.load == 0.0
