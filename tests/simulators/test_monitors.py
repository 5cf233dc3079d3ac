"""Monitors that nobody here wrote, unmodified, on a simulated node: what they show is plausible, moves and agrees."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Devices

BIN = Path(sys.executable).parent


def shown(command: list[str], device: Any, **environment: str) -> str:
    """What a monitor prints."""
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        env={**os.environ, **device.preload, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_gpustat_and_nvitop_show_the_gpus_of_the_node(devices: Devices) -> None:
    gpus = devices("nvidia", 2)
    world = gpus[0].world
    seen = []
    for load in (0.0, 0.6):
        world.run_load(load)
        world.clock.advance(60.0)
        stat = json.loads(shown(["gpustat", "--json"], gpus[0]))["gpus"]
        assert [gpu["name"] for gpu in stat] == ["NVIDIA H100 80GB HBM3"] * 2
        top = shown(["nvitop", "-1"], gpus[0])
        rows = re.findall(r"(\d+)C\s+P0\s+(\d+)W / 700W\D+.*?/ 80\.00GiB\D+(\d+)%", top)
        assert len(rows) == 2, top
        for gpu, entry, (celsius, watt, percent) in zip(gpus, stat, rows, strict=True):
            assert entry["power.draw"] == pytest.approx(gpu.truth.power, abs=2)
            assert int(watt) == pytest.approx(gpu.truth.power, abs=2)
            assert int(celsius) == entry["temperature.gpu"] == pytest.approx(gpu.truth.temperature, abs=1)
            assert int(percent) == entry["utilization.gpu"] == pytest.approx(100 * load, abs=1)
        seen.append(stat[0]["power.draw"])
    assert seen[1] > seen[0] + 300


def test_gpustack_runtime_detects_the_npus_of_the_node(devices: Devices) -> None:
    npus = devices("ascend", 8)
    world = npus[0].world
    seen = []
    for load in (0.0, 1.0):
        world.run_load(load)
        world.clock.advance(60.0)
        printed = shown(
            ["gpustack-runtime", "detect", "--format", "json"],
            npus[0],
            GPUSTACK_RUNTIME_DETECT="ascend",
            GPUSTACK_RUNTIME_DETECT_NO_PCI_CHECK="1",
        )
        found = json.loads(printed[printed.index("[\n") :])
        assert [entry["name"] for entry in found] == ["910B3"] * 8
        assert all(entry["uuid"].startswith("53494D") for entry in found)
        for npu, entry in zip(npus, found, strict=True):
            assert entry["power_used"] == pytest.approx(npu.truth.power, abs=0.5)
            assert entry["temperature"] == pytest.approx(npu.truth.temperature, abs=1)
            assert entry["cores_utilization"] == pytest.approx(100 * load, abs=1)
            assert entry["memory"] == 64 << 10
        seen.append(found[0]["power_used"])
    assert seen[1] > seen[0] + 250


BENCH = """
[bench]
name = "two-gpus"
[instruments.first]
driver = "nvidia"
simulator = "nvidia"
options = { model = "a100" }
[instruments.second]
driver = "nvidia"
simulator = "nvidia"
options = { model = "h200" }
[world]
rate = 10.0
"""


def test_a_simulated_bench_prints_what_a_monitor_must_be_started_with(tmp_path: Path) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(BENCH)
    command = [str(BIN / "aicalib"), "simulate", str(bench), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulation:
        try:
            assert simulation.stdout is not None
            printed = json.loads(simulation.stdout.readline())
            assert printed["instruments"]["second"]["address"] == "nvidia://1"
            done = subprocess.run(
                [str(BIN / "gpustat"), "--json"],
                env={**os.environ, **printed["environment"]},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        finally:
            simulation.terminate()
    names = [gpu["name"] for gpu in json.loads(done.stdout)["gpus"]]
    assert names == ["NVIDIA A100-SXM4-80GB", "NVIDIA H200"]
