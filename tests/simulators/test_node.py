"""What is physically so in a node of simulated accelerators: limits act, and energy is the integral of power."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aicalib_hw import registry
from aicalib_hw.errors import UsageError

from .conftest import Devices, send


def test_the_energy_of_a_device_is_the_integral_of_its_power(devices: Devices) -> None:
    (gpu,) = devices("nvidia")
    integral, before = 0.0, gpu.truth.energy
    for step in range(2000):
        gpu.world.node.load((step // 200 % 3) / 2)
        gpu.world.clock.advance(0.005)
        integral += 0.005 * gpu.truth.power
    assert gpu.truth.energy - before == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize(("family", "cap"), [("nvidia", 350.0), ("ascend", 250.0)])
def test_a_device_at_its_power_cap_lowers_its_clock_and_stays_at_the_cap(
    devices: Devices, family: str, cap: float
) -> None:
    (capped,) = devices(family, power_limit=cap)
    (free,) = devices(family)
    for device in (capped, free):
        device.world.run_load(0.7)
        device.world.clock.advance(5.0)
    assert "power" in capped.truth.limits
    assert "power" not in free.truth.limits
    assert 0.95 * cap < capped.truth.power <= cap < free.truth.power
    assert capped.truth.clock < 0.95 * free.truth.clock


def test_a_device_at_its_temperature_limit_lowers_its_clock_until_it_stays_there(devices: Devices) -> None:
    (gpu,) = devices("nvidia", thermal_resistance=0.11, temperature_limit=80.0)
    gpu.world.run_load(0.75)
    gpu.world.clock.advance(20.0)
    assert gpu.truth.temperature < 84.0
    gpu.world.clock.advance(200.0)
    assert "thermal-soft" in gpu.truth.limits
    assert gpu.truth.temperature == pytest.approx(80.0, abs=2.0)
    assert gpu.truth.clock < 1.9e9
    gpu.world.run_load(0.0)
    gpu.world.clock.advance(120.0)
    assert gpu.truth.limits == {"idle"}
    assert gpu.truth.temperature < 40.0


def test_a_device_without_cooling_halves_its_clock_and_then_switches_itself_off(devices: Devices) -> None:
    (gpu,) = devices("nvidia", thermal_resistance=0.9)
    gpu.world.run_load(1.0)
    seen = set()
    for _ in range(600):
        gpu.world.clock.advance(0.1)
        if "thermal-hard" in gpu.truth.limits:
            seen.add(gpu.truth.clock)
    assert seen
    assert max(seen) <= 0.5 * 1980e6
    assert gpu.truth.power == 0.0


def test_the_power_of_eight_devices_is_in_what_the_meter_on_the_mains_shows(
    devices: Devices, connect: Callable[[str], Any]
) -> None:
    npus = devices("ascend", 8)
    world = npus[0].world
    meter = registry.simulator("yokogawa-wt300")(world, "meter", model="WT310EH", noise=0.0)
    wire = connect(meter.start())
    try:
        send(wire, ":COMM:HEAD OFF;:RATE 1S;:INP:CURR:AUTO OFF;:INP:CURR:RANG 20A;:INP:VOLT:RANG 300V")
        shown, drawn = [], []
        for load in (0.0, 1.0):
            world.run_load(load)
            world.clock.advance(60.0)
            energy = sum(npu.truth.energy for npu in npus)
            world.clock.advance(1.0)
            drawn.append(sum(npu.truth.energy for npu in npus) - energy)
            shown.append(float(wire.query(":NUM:NORM:VAL? 3")))
    finally:
        wire.close()
        meter.stop()
    assert drawn[1] > drawn[0] + 8 * 250.0
    host = 100.0  # full_power - idle_power of the platform without its devices
    efficiency = (drawn[1] - drawn[0] + host) / (shown[1] - shown[0])
    assert 0.85 < efficiency < 0.97


def test_what_cannot_be_simulated_is_refused(devices: Devices) -> None:
    (gpu,) = devices("nvidia")
    with pytest.raises(ValueError, match="validation error"):
        devices("nvidia", model="h900")
    with pytest.raises(ValueError, match="validation error"):
        devices("nvidia", serial="1234")
    with pytest.raises(UsageError):
        gpu.world.node.add("cray-1", "SIM1")
    with pytest.raises(KeyError):
        gpu.world.node.set(0, "energy", 0.0)
    gpu.world.stop()
    with pytest.raises(UsageError):
        _ = gpu.truth.power


def test_the_state_page_goes_with_the_program_that_made_it(devices: Devices) -> None:
    (gpu,) = devices("nvidia")
    page = gpu.world.node.path
    assert page.exists()
    gpu.world.stop()
    assert not page.parent.exists()
    program = (
        "from aicalib_hw import registry\n"
        "world = registry.simulator('world').from_settings({'rate': 0})\n"
        "print(registry.simulator('nvidia')(world, 'gpu').world.node.path)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert not Path(done.stdout.strip()).parent.exists()
