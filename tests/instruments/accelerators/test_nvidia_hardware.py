"""On a real NVIDIA device: `pytest -m hardware tests/instruments/accelerators/test_nvidia_hardware.py`.

Run it as root on an idle device for the clock lock. Keep what it prints with the record of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator

pytestmark = [pytest.mark.hardware, pytest.mark.timeout(600)]


@pytest.fixture
def device() -> Iterator[NvidiaAccelerator]:
    with NvidiaAccelerator("nvidia://0") as opened:
        assert not opened.identity.simulated
        yield opened


def test_every_reading_is_there_and_plausible(device: NvidiaAccelerator) -> None:
    reading: Any = device.read()
    for name in device.capabilities.telemetry:
        assert getattr(reading, name) is not None
    assert 1 < float(reading.power) < 2000
    assert 1e8 < float(reading.clock) < 4e9
    assert 0 < float(reading.temperature) < 110


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_vector_rate_reaches_97_per_cent_of_theory_at_the_measured_clock(
    device: NvidiaAccelerator, precision: Any
) -> None:
    result = device.measure_peak(precision, duration=10.0)
    assert result.peak.validity, result.peak.validity.reasons
    assert result.efficiency_measured_clock is not None
    assert 0.97 <= result.efficiency_measured_clock <= 1.02


@pytest.mark.parametrize("precision", ["tf32", "fp16", "bf16"])
def test_a_matrix_rate_is_right_in_every_thread(device: NvidiaAccelerator, precision: Any) -> None:
    if device.capabilities.supported(precision, "matrix") is None:
        pytest.skip(f"this device has no {precision} matrix path")
    result = device.measure_peak(precision, path="matrix", duration=10.0)
    assert not [reason for reason in result.sustained.validity.reasons if "wrong results" in reason]
    assert result.sustained.validity, result.sustained.validity.reasons


@pytest.mark.parametrize("precision", ["tf32", "fp16", "bf16", "fp8e4m3"])
def test_the_librarys_product_is_right_and_no_faster_than_theory_allows(
    device: NvidiaAccelerator, precision: Any
) -> None:
    if device.capabilities.supported(precision, "gemm") is None:
        pytest.skip(f"cuBLASLt has no {precision} product here")
    result = device.measure_peak(precision, path="gemm", duration=10.0)
    assert result.sustained.validity, result.sustained.validity.reasons
    assert result.efficiency_measured_clock is None or 0.5 < result.efficiency_measured_clock <= 1.02


def test_energy_by_counter_agrees_with_integrated_power(device: NvidiaAccelerator) -> None:
    result = device.measure_peak("fp32", duration=20.0)
    assert result.energy["counter"] == pytest.approx(result.energy["integral"], rel=0.05)


def test_a_locked_clock_is_held(device: NvidiaAccelerator) -> None:
    clocks = device._here().supported_clocks()
    wanted = clocks[len(clocks) // 2] * 1e6
    with device.lock_clocks(wanted):
        result = device.measure_peak("fp32", duration=5.0)
    assert result.clock is not None
    assert float(result.clock) == pytest.approx(wanted, rel=0.01)
