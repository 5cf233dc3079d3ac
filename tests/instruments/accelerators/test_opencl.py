"""The OpenCL driver on PoCL, which makes of this processor a real OpenCL device."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from ctypes import c_double, c_float, c_int
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.opencl import OpenCLAccelerator
from aicalib_hw.instruments.accelerators.opencl import kernel as kernels
from aicalib_hw.instruments.accelerators.opencl.library import OpenCL, Session

import aicalib_hw as hw
from aicalib_hw.discovery import discover
from aicalib_hw.errors import Aborted, ConnectionFailed, LockedByOther, NotOpen, NotSupported, UsageError


@pytest.fixture
def device() -> Iterator[OpenCLAccelerator]:
    with hw.open_instrument("opencl://0/0") as opened:
        assert isinstance(opened, OpenCLAccelerator)
        yield opened


def test_the_device_says_who_it_is_and_passes_for_nothing_simulated(device: OpenCLAccelerator) -> None:
    assert device.identity.extra["platform"] == "Portable Computing Language"
    assert device.identity.extra["type"] == "cpu"
    assert not device.identity.simulated
    assert device.identify() == device.identity


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_both_rates_are_right_in_every_work_item_and_name_what_they_count(
    device: OpenCLAccelerator, precision: Any
) -> None:
    result = device.measure_peak(precision, duration=0.3)
    assert result.peak.definition == f"flop/{precision}-accumulate-{precision}/vector/peak"
    assert result.sustained.definition == f"flop/{precision}-accumulate-{precision}/vector/sustained"
    assert not [reason for reason in result.peak.validity.reasons if "wrong results" in reason]
    assert result.peak.settings["implementation"] == "opencl-fma"
    assert result.peak.settings["accumulator"] == precision
    evidence = result.sustained.evidence
    assert evidence["operations"] == evidence["launches"] * evidence["operations_a_launch"]
    assert result.sustained.value == pytest.approx(evidence["operations"] / evidence["device_s"])
    assert result.peak.value is not None
    assert result.sustained.value is not None
    assert 1e8 < result.sustained.value <= result.peak.value


@pytest.mark.parametrize(("precision", "number"), [("fp32", c_float), ("fp64", c_double)])
def test_the_kernel_does_what_exact_arithmetic_says(precision: str, number: Any) -> None:
    opencl = OpenCL("opencl://0/0")
    (device, *_) = opencl.devices()
    a, m, c, pairs = 7, -5, 3, 29
    with Session(opencl, device) as session:
        program = session.program(kernels.source(), kernels.options(precision, 4))
        kernel = session.kernel(program, "multiply_add")
        out = session.buffer(4 * 2)
        session.arguments(kernel, out, c_int(pairs), number(a), number(m), number(c))
        for _ in range(3):
            session.times(session.launch(kernel, 2, 1))
        sums = list(memoryview(session.read(out, 8)).cast("I"))
    by_hand = 0
    for accumulator in range(16):
        value = accumulator
        for _ in range(pairs):
            value = value + a * a
            value = value + m * c
        by_hand += 4 * value
    assert sums == [3 * by_hand, 3 * by_hand]


@pytest.mark.parametrize("skipped", ["pair < pairs - 1", "pair < pairs / 2"])
def test_a_kernel_that_leaves_out_work_is_found_out(skipped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = kernels.source().replace("pair < pairs", skipped)
    monkeypatch.setattr(kernels, "source", lambda: lazy)
    with hw.open_instrument("opencl://0/0") as device:
        result = device.measure_peak("fp32", duration=0.2)
    assert not result.peak.validity
    assert not result.sustained.validity
    assert "wrong results" in result.sustained.validity.reasons[0]


def test_what_opencl_does_not_have_is_refused_and_never_made_up(device: OpenCLAccelerator) -> None:
    with pytest.raises(NotSupported, match="bf16"):
        device.measure_peak("bf16")
    with pytest.raises(NotSupported, match="matrix"):
        device.measure_peak("fp32", path="matrix")
    with pytest.raises(NotSupported, match="telemetry"):
        device.read()
    with pytest.raises(NotSupported), device.lock_clocks(1e9):
        pass
    peak = device.theoretical_peak("fp32")
    assert peak.value is None
    assert "operations a cycle" in peak.source


def test_a_missing_library_and_a_missing_device_say_what_there_is() -> None:
    with pytest.raises(ConnectionFailed, match=r"libnowhere\.so\.1") as refused:
        OpenCL("opencl://0/0", names=("libnowhere.so.1",))
    assert "No such file" in refused.value.why
    with pytest.raises(ConnectionFailed) as absent:
        OpenCLAccelerator("opencl://0/77").open()
    assert "opencl://0/0" in absent.value.advice
    with pytest.raises(UsageError):
        OpenCLAccelerator("opencl://first")
    with pytest.raises(NotOpen):
        OpenCLAccelerator().measure_peak()


def test_a_program_that_the_device_cannot_load_is_refused_with_the_makers_code(tmp_path: Path) -> None:
    file = tmp_path / "board.aocx"
    file.write_bytes(b"no program at all")
    with OpenCLAccelerator(binary=str(file)) as device:
        with pytest.raises(hw.AicalibError) as refused:
            device.measure_peak("fp32", duration=0.1)
        assert getattr(refused.value, "code", None) is not None
        assert getattr(refused.value, "command", "").startswith("cl")


def test_abort_ends_a_measurement_within_a_second_and_the_device_serves_on(device: OpenCLAccelerator) -> None:
    ended: list[tuple[float, BaseException]] = []

    def block() -> None:
        try:
            device.measure_peak("fp32", duration=600.0)
        except Aborted as error:
            ended.append((time.monotonic(), error))

    thread = threading.Thread(target=block)
    thread.start()
    time.sleep(1.5)
    with pytest.raises(LockedByOther):
        device.measure_peak("fp32", duration=0.1)
    asked = time.monotonic()
    device.abort()
    thread.join(10)
    ((at, _),) = ended
    assert at - asked < 1.0
    assert device.measure_peak("fp32", duration=0.1).peak.value


def test_a_part_load_keeps_the_device_busy_for_its_share_and_release_ends_it(device: OpenCLAccelerator) -> None:
    load = device.run_load(0.3, duration=None)
    time.sleep(1.0)
    load.achieved()
    time.sleep(1.0)
    assert 0.05 < load.achieved() < 0.9
    assert device.release().actions == ("stopped a load of 30%",)
    assert not load.running


def test_discovery_lists_it_beside_the_processor() -> None:
    found = {finding.address: finding.driver for finding in discover(timeout=0.5).findings}
    assert found["opencl://0/0"] == "opencl"
    assert found["cpu://local"] == "cpu"
