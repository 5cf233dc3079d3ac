"""Bad devices and bad libraries: a typed error with the vendor's code and words, or a capability less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.simulators import vendor_libraries

from aicalib_hw import registry
from aicalib_hw.errors import (
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentError,
    LockedByOther,
    NotPermitted,
    NotSupported,
)

ADDRESSES = {"nvidia": "nvidia://0", "ascend": "ascend://0/0"}
KERNELS: dict[str, tuple[Any, Any]] = {"nvidia": ("fp32", "vector"), "ascend": ("fp16", "gemm")}


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Iterator[Any]:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1, "seed": 2})
    simulated = registry.simulator(request.param)(world, request.param)
    world.start()
    yield simulated
    simulated.stop()
    world.stop()


def driver_of(made: Any) -> Any:
    driver = registry.driver(made.simulates)(made.address)
    if made.simulates == "ascend":
        driver = registry.driver("ascend")(made.address, edge=1024)
    return driver


@pytest.mark.parametrize(
    ("made", "fault", "kind", "code"),
    [
        ("nvidia", "no_driver", ConnectionFailed, 9),
        ("nvidia", "mismatch", ConnectionFailed, 18),
        ("nvidia", "timeout", DeadlineExceeded, 10),
        ("nvidia", "lost", ConnectionLost, 15),
        ("ascend", "no_driver", ConnectionFailed, -8005),
        ("ascend", "mismatch", ConnectionFailed, -8005),
        ("ascend", "timeout", DeadlineExceeded, -8006),
        ("ascend", "lost", ConnectionLost, -8008),
        ("ascend", "no_permission", NotPermitted, -8002),
        ("ascend", "occupied", ConnectionFailed, -8020),
    ],
    indirect=["made"],
)
def test_a_device_that_cannot_be_opened_says_why_with_the_vendors_code_and_words(
    made: Any, fault: str, kind: type[InstrumentError], code: int
) -> None:
    made.start()
    made.inject(fault)
    device = driver_of(made)
    with pytest.raises(kind) as refused:
        device.open()
    assert (refused.value.code, bool(refused.value.text), bool(refused.value.command)) == (code, True, True)
    assert str(code) in refused.value.why
    assert not device.is_open
    made.clear()
    with device:
        assert device.identity.simulated


@pytest.mark.parametrize(
    ("made", "fault", "kind", "codes"),
    [
        # Telemetry and computing library watch at the same time: whichever notices first.
        ("nvidia", "lost", ConnectionLost, {999, 15}),
        ("nvidia", "ecc_uncorrected", ConnectionLost, {214}),
        ("ascend", "lost", ConnectionLost, {507010, -8008}),
        ("ascend", "ecc_uncorrected", ConnectionLost, {507054}),
        ("ascend", "timeout", (ConnectionLost, DeadlineExceeded), {507014, -8006}),
        ("ascend", "occupied", (ConnectionLost, LockedByOther), {507899, -8020}),
    ],
    indirect=["made"],
)
def test_a_device_that_fails_in_the_middle_ends_the_run_and_leaves_nothing_running(
    made: Any, fault: str, kind: Any, codes: set[int]
) -> None:
    made.start()
    precision, path = KERNELS[made.simulates]
    with driver_of(made) as device:
        fails = threading.Timer(0.6, made.inject, (fault,))
        fails.start()
        with pytest.raises(kind) as failed:
            device.measure_peak(precision, path=path, duration=60.0)
        fails.join()
        assert failed.value.code in codes
        assert failed.value.text or failed.value.command
        made.clear()
        if fault == "ecc_uncorrected":
            return
        busy = made.truth.busy
        assert not device.release().failures
        assert made.truth.busy == pytest.approx(busy, abs=0.05)


@pytest.mark.parametrize("amount", [0.6, 1.4])
@pytest.mark.parametrize("made", ["nvidia"], indirect=True)
def test_an_energy_counter_that_lies_is_told_beside_the_integral_and_neither_is_preferred(
    made: Any, amount: float
) -> None:
    made.start()
    made.inject({"kind": "energy_gain", "amount": amount})
    with driver_of(made) as device:
        result = device.measure_peak("fp32", duration=1.5)
    assert result.energy["counter"] / result.energy["integral"] == pytest.approx(amount, rel=0.15)
    assert any("neither is preferred" in reason for reason in result.sustained.validity.reasons)
    assert result.sustained.evidence["energy_J"] == result.energy


PROGRAM = """
import json, sys
import aicalib_hw as hw
address, precision, path = sys.argv[1:]
told = {}
try:
    with hw.open_instrument(address) as device:
        told["telemetry"] = device.capabilities.telemetry
        told["supports"] = len(device.capabilities.supports)
        reading = device.read()
        told["read"] = [name for name in device.capabilities.telemetry if getattr(reading, name) is not None]
        device.configure(edge=512)
        device.measure_peak(precision, path=path, duration=0.2)
except hw.AicalibError as error:
    told |= {"error": type(error).__name__, "said": f"{error.what}; {error.why}", "advice": error.advice}
print(json.dumps(told))
"""


def told_with(made: Any, library: str, symbol: str | None, folder: Path) -> dict[str, Any]:
    """What a program says that finds one library broken (symbol None) or without one function, and the others whole."""
    for name in (*vendor_libraries.NVIDIA, *vendor_libraries.ASCEND):
        if name != library:
            (folder / name).symlink_to(vendor_libraries.path_of(name))
    if symbol is None:
        (folder / library).write_bytes(b"")
    else:
        vendor_libraries.without_symbol(library, symbol, folder)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ADDRESSES[made.simulates], *KERNELS[made.simulates]],
        env={**os.environ, **made.preload, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("made", "library", "symbol", "lacks"),
    [
        ("nvidia", "libnvidia-ml.so.1", "nvmlDeviceGetTotalEnergyConsumption", "energy"),
        ("ascend", "libdcmi.so", "dcmi_get_device_utilization_rate", "utilisation"),
    ],
    indirect=["made"],
)
def test_a_function_that_an_older_library_lacks_is_a_quantity_less_and_all_else_works(
    made: Any, library: str, symbol: str, lacks: str, tmp_path: Path
) -> None:
    told = told_with(made, library, symbol, tmp_path)
    assert "error" not in told, told
    assert told["telemetry"] == told["read"]
    assert lacks not in told["telemetry"]
    assert "power" in told["telemetry"]


@pytest.mark.parametrize(
    ("made", "library", "symbol", "error"),
    [
        ("nvidia", "libnvidia-ml.so.1", None, "ConnectionFailed"),
        ("nvidia", "libcuda.so.1", None, "NotSupported"),
        ("nvidia", "libcuda.so.1", "cuInit", "NotSupported"),
        ("nvidia", "libcuda.so.1", "cuLaunchKernel", "NotSupported"),
        ("ascend", "libdcmi.so", None, "ConnectionFailed"),
        ("ascend", "libascendcl.so", None, "NotSupported"),
        ("ascend", "libopapi.so", "aclnnMatmul", "NotSupported"),
    ],
    indirect=["made"],
)
def test_a_library_that_is_not_there_or_lacks_what_a_rate_needs_is_named(
    made: Any, library: str, symbol: str | None, error: str, tmp_path: Path
) -> None:
    told = told_with(made, library, symbol, tmp_path)
    assert told["error"] == error, told
    assert (symbol or library) in told["said"] or "Shared Library Not Found" in told["said"]
    assert told["advice"]
    if error == "NotSupported":
        assert "power" in told["read"]


@pytest.mark.parametrize("made", ["nvidia"], indirect=True)
def test_a_divided_gpu_is_refused_before_anything_runs(made: Any) -> None:
    made.start()
    made.inject("mig")
    with driver_of(made) as device:
        with pytest.raises(NotSupported, match="MIG"):
            device.measure_peak("fp32", duration=1.0)
        assert not made.truth.operations
