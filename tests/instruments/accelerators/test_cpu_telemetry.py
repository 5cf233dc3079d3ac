"""Telemetry from files such as Linux shows them: means between two looks, and nothing where nothing is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from aicalib_hw.instruments.accelerators.cpu.cores import CoreOfHost
from aicalib_hw.instruments.accelerators.cpu.telemetry import Telemetry

from aicalib_hw.identity import Identity

IDENTITY = Identity("maker", "model", "", "", "cpu://local")
CORES = (CoreOfHost(0, (0, 2)), CoreOfHost(1, (1, 3)))
RAPL = "sys/class/powercap/intel-rapl:0"


def show(root: Path, idle: int, busy: int, microjoules: int) -> None:
    rows = "".join(f"cpu{n} {busy} 0 0 {idle} 0 0 0 0 0 0\n" for n in range(4)) + "cpu9 999999 0 0 0 0 0 0 0 0 0\n"
    files = {
        "proc/stat": "cpu 0 0 0 0 0 0 0 0 0 0\n" + rows,
        "proc/meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\n",
        f"{RAPL}/name": "package-0\n",
        f"{RAPL}/energy_uj": f"{microjoules}\n",
        "sys/class/hwmon/hwmon0/name": "nvme\n",
        "sys/class/hwmon/hwmon0/temp1_input": "99000\n",
        "sys/class/hwmon/hwmon1/name": "coretemp\n",
        "sys/class/hwmon/hwmon1/temp1_input": "51000\n",
        "sys/class/hwmon/hwmon1/temp2_input": "54500\n",
        **{f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq": f"{2_000_000 + n * 1000}" for n in range(4)},
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_between_two_looks_utilisation_and_power_are_means(tmp_path: Path) -> None:
    show(tmp_path, idle=100, busy=100, microjoules=1_000_000)
    reading = Telemetry(CORES, IDENTITY, root=tmp_path).read(lambda: show(tmp_path, 130, 190, 3_000_000))
    assert reading.utilisation is not None
    assert reading.power is not None
    assert reading.energy is not None
    assert float(reading.utilisation) == pytest.approx(90 / 120)
    assert float(reading.power) == pytest.approx(2.0 / reading.window.duration)
    assert float(reading.energy) == 3.0
    assert reading.clock is not None
    assert float(reading.clock) == pytest.approx(2.0015e9)
    assert reading.temperature is not None
    assert float(reading.temperature) == 54.5
    assert reading.memory_used is not None
    assert float(reading.memory_used) == 600 * 1024


def test_one_look_gives_no_mean(tmp_path: Path) -> None:
    show(tmp_path, 1, 1, 1)
    reading = Telemetry(CORES, IDENTITY, root=tmp_path).read(None)
    assert reading.utilisation is None
    assert reading.power is None
    assert reading.energy is not None


def test_an_energy_counter_that_wraps_gives_no_power(tmp_path: Path) -> None:
    show(tmp_path, 1, 1, 5_000_000)
    reading = Telemetry(CORES, IDENTITY, root=tmp_path).read(lambda: show(tmp_path, 2, 2, 7))
    assert reading.power is None


def test_a_host_that_tells_nothing_provides_nothing(tmp_path: Path) -> None:
    assert Telemetry(CORES, IDENTITY, root=tmp_path).provided == ()
