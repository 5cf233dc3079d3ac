"""Rates of the NVIDIA driver against the simulated CUDA driver, which counts the arithmetic of the PTX it is given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator, ptx
from aicalib_hw.instruments.accelerators.nvidia.kernel import prepared

from aicalib_hw import registry
from aicalib_hw.errors import Aborted, AicalibError, ConnectionLost, NotSupported
from aicalib_hw.interfaces import PeakMeasurement

Gpu = Callable[..., tuple[Any, NvidiaAccelerator]]


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    """A function that starts a simulated GPU in real time, and returns it and the opened driver."""
    held: list[Any] = []

    def start(*, implementation: str | None = "mma.sync", rate: float = 1.0, **options: Any) -> tuple[Any, Any]:
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate, "seed": 3})
        made = registry.simulator("nvidia")(world, "gpu", **options)
        world.start()
        made.start()
        device = NvidiaAccelerator(made.address, implementation=implementation).open()
        held.extend((device.close, world.stop))
        return made, device

    yield start
    for stop in held:
        stop()


def counted(gpu: Any) -> float:
    """Floating-point operations that the simulator has counted itself, on whatever unit."""
    return float(sum(value for unit, value in gpu.truth.operations.items() if unit != "integer"))


def claimed_and_counted(made: Any, device: NvidiaAccelerator, kernel: ptx.Kernel) -> tuple[int, float]:
    """What the driver claims for three launches of a kernel, and what the simulated CUDA driver counted."""
    rates = device._computes()
    assert rates._cuda is not None
    assert rates.multiprocessors is not None
    before = counted(made)
    with prepared(rates._cuda, rates._number, kernel, rates.multiprocessors, seed=5) as work:
        work.size = 2
        claimed = 0
        for _ in range(3):
            work.finish(work.launch())
            claimed += work.operations
        assert work.wrong() == ""
    return claimed, counted(made) - before


def measured(device: NvidiaAccelerator, precision: Any, **how: Any) -> PeakMeasurement:
    """A measurement in which the host kept the device busy: on a busy host not every one is."""
    for _ in range(20):
        result = device.measure_peak(precision, **how)
        late = [reason for reason in result.sustained.validity.reasons if "the device's clock says" in reason]
        if result.share is not None and result.share > 0.9 and not late:
            break
    return result


SIMULATED = [kernel for kernel in ptx.kernels() if kernel.implementation != "wgmma"]


@pytest.mark.parametrize("kernel", SIMULATED, ids=lambda kernel: str(kernel.name))
@pytest.mark.parametrize("model", ["h100", "a100"])
def test_the_operations_claimed_are_those_that_the_device_counted(gpu: Gpu, kernel: ptx.Kernel, model: str) -> None:
    claimed, found = claimed_and_counted(*gpu(model=model), kernel)
    assert claimed == found


def test_a_driver_that_claims_twice_the_operations_of_its_kernel_is_caught(gpu: Gpu) -> None:
    made, device = gpu()
    honest = next(kernel for kernel in SIMULATED if kernel.name == "multiply_add_fp32")
    claimed, found = claimed_and_counted(made, device, replace(honest, flop=2 * honest.flop))
    assert claimed == 2 * found


@pytest.mark.parametrize("precision", ["fp64", "fp32"])
def test_a_vector_rate_is_that_of_the_device_at_its_clock(gpu: Gpu, precision: Any) -> None:
    made, device = gpu()
    result = measured(device, precision, duration=1.0)
    theory = device.theoretical_peak(precision, clock="measured").value
    assert theory is not None
    assert result.peak.value is not None
    assert 0.95 * theory < result.peak.value <= 1.02 * theory
    assert result.efficiency_measured_clock == pytest.approx(result.peak.value / theory)
    assert result.sustained.definition == f"flop/{precision}-accumulate-{precision}/vector/sustained"
    assert result.sustained.evidence["operations"] <= counted(made)
    assert result.energy["integral"] > 0
    assert result.energy["counter"] > 0
    assert not [reason for reason in result.sustained.validity.reasons if "never run" in reason]


def test_a_matrix_rate_names_its_instruction_and_stays_below_the_device(gpu: Gpu) -> None:
    _, device = gpu(power_limit=700.0)
    result = measured(device, "bf16", path="matrix", duration=0.5)
    assert result.peak.definition == "flop/bf16-accumulate-fp32/matrix-mma.sync/peak"
    assert result.peak.settings["accumulator"] == "fp32"
    assert result.efficiency_measured_clock is not None
    assert 0.3 < result.efficiency_measured_clock < 1.02
    assert not [reason for reason in result.peak.validity.reasons if "wrong results" in reason]


def test_a_kernel_that_the_driver_refuses_is_not_supported_with_code_218(gpu: Gpu) -> None:
    _, device = gpu(implementation=None)
    support = device.capabilities.supported("bf16", "matrix")
    assert support is not None
    assert support.implementation == "wgmma"
    with pytest.raises(NotSupported) as refused:
        device.measure_peak("bf16", path="matrix", duration=0.1)
    assert refused.value.code == 218
    assert refused.value.command == "cuModuleLoadDataEx"


def test_a_device_that_computes_wrongly_has_no_valid_rate(gpu: Gpu) -> None:
    made, device = gpu()
    made.inject("wrong_result")
    result = device.measure_peak("fp16", path="matrix", duration=0.2)
    assert not result.sustained.validity
    assert any("wrong results" in reason for reason in result.sustained.validity.reasons)


def test_an_energy_counter_that_stands_still_is_said(gpu: Gpu) -> None:
    made, device = gpu()
    made.inject("energy_frozen")
    result = device.measure_peak("fp32", duration=1.6)
    assert any("energy counter did not advance" in reason for reason in result.sustained.validity.reasons)


def test_a_partitioned_device_is_not_measured_as_a_whole(gpu: Gpu) -> None:
    made, device = gpu()
    made.inject("mig")
    with pytest.raises(NotSupported, match="MIG"):
        device.measure_peak("fp32", duration=0.1)


def test_a_device_lost_in_the_middle_is_told_with_the_vendors_code(gpu: Gpu) -> None:
    made, device = gpu()
    loses = threading.Timer(1.0, made.inject, ("lost",))
    loses.start()
    with pytest.raises(AicalibError) as lost:
        device.measure_peak("fp32", duration=30.0)
    assert isinstance(lost.value, ConnectionLost)
    assert lost.value.code
    made.clear()


@pytest.mark.alone
def test_abort_leaves_no_kernel_running(gpu: Gpu) -> None:
    made, device = gpu()
    ended: list[BaseException] = []

    def block() -> None:
        try:
            device.measure_peak("fp32", duration=600.0)
        except AicalibError as error:
            ended.append(error)

    thread = threading.Thread(target=block)
    thread.start()
    time.sleep(1.5)
    asked = time.monotonic()
    device.abort()
    thread.join(10.0)
    assert time.monotonic() - asked < 1.0
    assert isinstance(ended[0], Aborted)
    busy = made.truth.busy
    time.sleep(0.2)
    assert made.truth.busy == busy


def test_a_part_load_keeps_the_device_busy_for_its_share(gpu: Gpu) -> None:
    made, device = gpu()
    with device.run_load(0.5, duration=None) as load:
        time.sleep(0.5)
        # A busy host may serve it late in one second, and not in every one of twenty.
        for _ in range(20):
            load.achieved()
            busy, begin = made.truth.busy, time.monotonic()
            time.sleep(1.0)
            share, achieved = (made.truth.busy - busy) / (time.monotonic() - begin), load.achieved()
            if 0.25 < achieved < 0.75 and 0.25 < share < 0.75:
                break
        assert 0.25 < achieved < 0.75
        assert 0.25 < share < 0.75
