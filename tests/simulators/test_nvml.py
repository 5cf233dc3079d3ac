"""The simulated libnvidia-ml.so.1 through nvidia-ml-py, whose declarations of structs and functions are not ours."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pynvml
import pytest
from aicalib_hw.simulators import vendor_libraries

from .conftest import Devices

Started = Callable[..., tuple[list[Any], list[Any]]]


@pytest.fixture
def started(devices: Devices) -> Iterator[Started]:
    """A function that returns simulated GPUs and the handles by which nvidia-ml-py knows them."""
    initialized = []

    def start(count: int = 1, **options: Any) -> tuple[list[Any], list[Any]]:
        gpus = devices("nvidia", count, **options)
        for gpu in gpus:
            gpu.start()
        pynvml.nvmlInit()
        initialized.append(True)
        return gpus, [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]

    yield start
    for _ in initialized:
        pynvml.nvmlShutdown()


def test_identity_is_marked_and_joins_by_uuid_and_pci_address(started: Started) -> None:
    gpus, handles = started(3, model="h200")
    assert pynvml.nvmlDeviceGetCount() == 3
    for number, handle in enumerate(handles):
        assert pynvml.nvmlDeviceGetSerial(handle) == gpus[number].identity_serial
        assert pynvml.nvmlDeviceGetSerial(handle).startswith("SIM")
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        assert bytes.fromhex(uuid.removeprefix("GPU-").replace("-", "")).startswith(b"SIM")
        pci = pynvml.nvmlDeviceGetPciInfo(handle)
        for found in (
            pynvml.nvmlDeviceGetHandleByUUID(uuid),
            pynvml.nvmlDeviceGetHandleByPciBusId(pci.busId),
            pynvml.nvmlDeviceGetHandleByPciBusId(pci.busIdLegacy),
        ):
            assert pynvml.nvmlDeviceGetIndex(found) == number
        assert pynvml.nvmlDeviceGetCudaComputeCapability(handle) == (9, 0)
        assert pynvml.nvmlDeviceGetNumGpuCores(handle) == 132 * 128
        assert pynvml.nvmlDeviceGetMemoryInfo(handle).total == 141 << 30
    assert len({pynvml.nvmlDeviceGetUUID(handle) for handle in handles}) == 3


def test_power_is_a_one_second_mean_on_hopper_and_instantaneous_on_a100(started: Started) -> None:
    """NVML's own text: average over one second on Ampere (except GA100) and newer; A100 is a GA100."""
    for model, mean in (("h100", True), ("a100", False)):
        (gpu,), (handle,) = started(model=model)
        gpu.world.clock.advance(5.0)
        idle = pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3
        gpu.world.node.load(0.6)
        gpu.world.clock.advance(0.5)
        full = gpu.truth.power
        shown = pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3
        expected = idle + 0.5 * (full - idle) if mean else full
        assert shown == pytest.approx(expected, rel=0.1)
        gpu.world.clock.advance(1.0)
        assert pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3 == pytest.approx(gpu.truth.power, rel=0.02)
        (average,) = pynvml.nvmlDeviceGetFieldValues(handle, [185])
        assert average.nvmlReturn == (0 if mean else pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_the_energy_counter_agrees_with_polled_power_under_load(started: Started) -> None:
    (gpu,), (handle,) = started()
    gpu.world.run_load(0.7)
    gpu.world.clock.advance(3.0)
    begin, integral = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), 0.0
    for _ in range(100):
        gpu.world.clock.advance(0.1)
        integral += 0.1 * pynvml.nvmlDeviceGetPowerUsage(handle)
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - begin == pytest.approx(integral, rel=0.01)


def test_one_call_for_many_fields_gives_what_the_single_calls_give(started: Started) -> None:
    (gpu,), (handle,) = started()
    gpu.world.run_load(1.0)
    gpu.world.clock.advance(10.0)
    fields = {
        field.fieldId: field for field in pynvml.nvmlDeviceGetFieldValues(handle, [74, 75, 82, 83, 186, 190, 9999])
    }
    assert fields[83].value.ullVal == pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    assert fields[74].value.ullVal == pynvml.nvmlDeviceGetViolationStatus(handle, 0).violationTime > 0
    assert fields[75].value.ullVal == 0
    assert fields[186].value.uiVal / 1e3 == pytest.approx(gpu.truth.power, rel=0.02)
    assert fields[190].value.uiVal == pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) == 700_000
    assert fields[9999].nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_reasons_of_a_low_clock(started: Started) -> None:
    (gpu,), (handle,) = started(thermal_resistance=0.11)
    gpu.world.clock.advance(1.0)
    reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons
    assert reasons(handle) == pynvml.nvmlClocksEventReasonGpuIdle
    gpu.world.run_load(1.0)
    gpu.world.clock.advance(1.0)
    assert reasons(handle) == pynvml.nvmlClocksEventReasonSwPowerCap
    assert pynvml.nvmlDeviceGetClockInfo(handle, 1) < 1980
    gpu.world.clock.advance(120.0)
    assert reasons(handle) & pynvml.nvmlClocksEventReasonSwThermalSlowdown
    gpu.world.node.set(0, "temperature", 90.0)
    gpu.world.clock.advance(0.01)
    assert reasons(handle) & pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    assert reasons(handle) & pynvml.nvmlClocksThrottleReasonHwSlowdown
    gpu.inject("power_brake")
    gpu.world.clock.advance(0.1)
    assert reasons(handle) & pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown


def test_locked_clocks_hold_until_they_are_given_back(started: Started) -> None:
    (gpu,), (handle,) = started()
    pynvml.nvmlDeviceSetGpuLockedClocks(handle, 1200, 1200)
    gpu.world.run_load(0.8)
    gpu.world.clock.advance(1.0)
    assert pynvml.nvmlDeviceGetClockInfo(handle, 1) == 1200
    pynvml.nvmlDeviceResetGpuLockedClocks(handle)
    gpu.world.clock.advance(1.0)
    assert pynvml.nvmlDeviceGetClockInfo(handle, 1) > 1200
    supported = pynvml.nvmlDeviceGetSupportedGraphicsClocks(
        handle, pynvml.nvmlDeviceGetSupportedMemoryClocks(handle)[0]
    )
    assert supported[0] == 1980
    assert {a - b for a, b in itertools.pairwise(supported)} == {15}


@pytest.mark.parametrize(
    ("fault", "call", "error"),
    [
        ("lost", lambda h: pynvml.nvmlDeviceGetPowerUsage(h), pynvml.NVML_ERROR_GPU_IS_LOST),
        ("timeout", lambda h: pynvml.nvmlDeviceGetPowerUsage(h), pynvml.NVML_ERROR_TIMEOUT),
        (
            "no_permission",
            lambda h: pynvml.nvmlDeviceSetPowerManagementLimit(h, 400_000),
            pynvml.NVML_ERROR_NO_PERMISSION,
        ),
        ("mig", lambda h: pynvml.nvmlDeviceGetUtilizationRates(h), pynvml.NVML_ERROR_NOT_SUPPORTED),
    ],
)
def test_a_faulty_device_answers_with_the_vendors_code(started: Started, fault: str, call: Any, error: int) -> None:
    (gpu,), (handle,) = started()
    gpu.inject(fault)
    with pytest.raises(pynvml.NVMLError) as raised:
        call(handle)
    assert raised.value.value == error
    gpu.clear()
    assert pynvml.nvmlDeviceGetPowerUsage(handle) > 0


def test_sensors_that_lie(started: Started) -> None:
    (gpu,), (handle,) = started()
    gpu.inject({"kind": "power_gain", "amount": 1.05})
    gpu.inject({"kind": "ecc_uncorrected", "amount": 2})
    gpu.world.clock.advance(5.0)
    assert pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3 == pytest.approx(1.05 * gpu.truth.power, rel=0.01)
    assert pynvml.nvmlDeviceGetTotalEccErrors(handle, 1, 0) == 2
    gpu.inject("energy_frozen")
    before = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    gpu.world.clock.advance(5.0)
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == before


def run(program: str, folder: Path = vendor_libraries.FOLDER, **environment: str) -> str:
    """What a program prints that has nvidia-ml-py and the simulated libraries on its path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AICALIB_SIMULATED")}
    done = subprocess.run(
        [sys.executable, "-c", "import pynvml, os\n" + program],
        env={**clean, "LD_LIBRARY_PATH": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_TRY = "try:\n    pynvml.nvmlInit()\nexcept pynvml.NVMLError as error:\n    print(error.value)\n"


def test_without_being_asked_for_there_is_no_driver() -> None:
    assert run(_TRY).strip() == str(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    assert run(_TRY, AICALIB_SIMULATED_NODE="/nonexistent").strip() == str(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    assert run(_TRY, AICALIB_SIMULATED_PROFILE="nonsense").strip() == str(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    assert run(_TRY, AICALIB_SIMULATED_PROFILE="ascend-910b*1").strip() == str(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)


def test_a_profile_makes_a_node_for_all_programs_of_a_user() -> None:
    program = (
        "pynvml.nvmlInit()\n"
        "print(pynvml.nvmlDeviceGetCount(), pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(1)))"
    )
    first, second = (run(program, AICALIB_SIMULATED_PROFILE="nvidia-a100*3") for _ in range(2))
    assert first == second
    assert first.startswith("3 GPU-53494d01")


def test_a_driver_and_a_library_that_do_not_match(devices: Devices) -> None:
    (gpu,) = devices("nvidia", rate=1.0)
    gpu.inject("mismatch")
    assert run(_TRY, **gpu.preload).strip() == str(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)


def test_an_older_library_lacks_a_function(devices: Devices, tmp_path: Path) -> None:
    (gpu,) = devices("nvidia", rate=1.0)
    copy = vendor_libraries.without_symbol("libnvidia-ml.so.1", "nvmlDeviceGetTotalEnergyConsumption", tmp_path)
    program = (
        "pynvml.nvmlInit(); handle = pynvml.nvmlDeviceGetHandleByIndex(0)\n"
        "print(pynvml.nvmlDeviceGetPowerUsage(handle) > 0)\n"
        "try:\n    pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)\n"
        "except pynvml.NVMLError as error:\n    print(error.value)\n"
    )
    printed = run(program, copy.parent, AICALIB_SIMULATED_NODE=str(gpu.world.node.path)).split()
    assert printed == ["True", str(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)]
    with pytest.raises(ValueError, match="no function"):
        vendor_libraries.without_symbol("libnvidia-ml.so.1", "nvmlMakeCoffee", tmp_path)


def test_threads_and_forked_children_read_the_same_device(devices: Devices) -> None:
    (gpu,) = devices("nvidia", rate=1.0)
    program = (
        "pynvml.nvmlInit(); handle = pynvml.nvmlDeviceGetHandleByIndex(0)\n"
        "pynvml.nvmlDeviceGetPowerUsage(handle)  # looks the function up, under a lock that a fork would copy\n"
        "import threading\n"
        "def poll():\n"
        "    for _ in range(3000): pynvml.nvmlDeviceGetPowerUsage(handle)\n"
        "threads = [threading.Thread(target=poll) for _ in range(4)]\n"
        "[t.start() for t in threads]\n"
        "children = []\n"
        "for _ in range(4):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os._exit(0 if pynvml.nvmlDeviceGetPowerUsage(handle) > 0 else 1)\n"
        "    children.append(child)\n"
        "print([os.waitpid(child, 0)[1] for child in children])\n"
        "[t.join() for t in threads]\n"
    )
    assert run(program, **gpu.preload).strip() == "[0, 0, 0, 0]"


def test_a_program_killed_while_it_reads_does_not_stop_the_others(devices: Devices) -> None:
    (gpu,) = devices("nvidia", rate=1.0)
    program = (
        "pynvml.nvmlInit(); handle = pynvml.nvmlDeviceGetHandleByIndex(0)\n"
        "print('reading', flush=True)\n"
        "while True: pynvml.nvmlDeviceGetPowerUsage(handle)\n"
    )
    for _ in range(3):
        victim = subprocess.Popen(
            [sys.executable, "-c", "import pynvml\n" + program],
            env={**os.environ, **gpu.preload},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert victim.stdout is not None
        assert victim.stdout.readline() == "reading\n"
        victim.kill()
        victim.wait(10)
        victim.stdout.close()
        assert gpu.truth.power > 0
    with ThreadPoolExecutor(4) as pool:
        assert all(power > 0 for power in pool.map(lambda _: gpu.truth.power, range(100)))
