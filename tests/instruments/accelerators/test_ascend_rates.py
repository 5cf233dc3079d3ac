"""Rates of the Ascend driver against the simulated AscendCL, which multiplies truly and counts for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.ascend import AscendAccelerator

from aicalib_hw import registry
from aicalib_hw.errors import Aborted, AicalibError, ConnectionLost, NotSupported

Npu = Callable[..., tuple[Any, AscendAccelerator]]
EDGE = 256


@pytest.fixture
def npu() -> Iterator[Npu]:
    """A function that starts a simulated NPU in real time, and returns it and the opened driver."""
    held: list[Any] = []

    def start(*, edge: int = EDGE, **options: Any) -> tuple[Any, Any]:
        world = registry.simulator(registry.WORLD).from_settings({"rate": 1.0, "seed": 3})
        made = registry.simulator("ascend")(world, "npu", **options)
        world.start()
        made.start()
        device = AscendAccelerator(made.address, edge=edge).open()
        held.extend((device.close, world.stop))
        return made, device

    yield start
    for stop in held:
        stop()


@pytest.mark.parametrize(
    ("precision", "mode", "accumulator"),
    [("fp16", 0, "by-operator"), ("bf16", 0, "by-operator"), ("fp32", 0, "fp32"), ("hf32", 3, "by-operator")],
)
def test_the_product_is_right_counted_and_named_with_its_mode(
    npu: Npu, precision: Any, mode: int, accumulator: str
) -> None:
    made, device = npu()
    result = device.measure_peak(precision, path="gemm", duration=0.3)
    name = f"flop/{precision}-accumulate-{accumulator}/gemm-aclnnMatmul-cubeMathType{mode}"
    assert result.sustained.definition == f"{name}/sustained"
    assert result.peak.definition == f"{name}/best-call"
    assert result.sustained.settings["cubeMathType"] == mode
    assert not [reason for reason in result.sustained.validity.reasons if "wrong results" in reason]
    assert "never run on hardware" in result.sustained.validity.reasons
    evidence = result.sustained.evidence
    assert evidence["operations"] % (2 * EDGE**3) == 0
    assert 0 < evidence["operations"] <= sum(made.truth.operations.values())
    assert result.energy.keys() == {"integral"}


def test_the_operations_claimed_are_those_that_the_device_counted(npu: Npu) -> None:
    made, device = npu()
    support = device.capabilities.supported("fp16", "gemm")
    assert support is not None
    with device._prepare(support, lambda: False) as work:
        before = sum(made.truth.operations.values())
        work.size = 5
        claimed = 0
        for _ in range(3):
            work.finish(work.launch())
            claimed += work.operations
        assert work.wrong() == ""
        assert claimed == sum(made.truth.operations.values()) - before == 3 * 5 * 2 * EDGE**3


def test_the_chip_of_an_atlas_900_has_no_fp32_and_none_is_made_of_fp16(npu: Npu) -> None:
    _, device = npu(model="910")
    assert [one.precision for one in device.capabilities.supports] == ["fp16"]
    for precision in ("fp32", "hf32", "bf16"):
        with pytest.raises(NotSupported, match=precision) as refused:
            device.measure_peak(precision, path="gemm", duration=0.1)
        assert refused.value.why == device.capabilities.notes[precision]
    with pytest.raises(NotSupported):
        device.run_load(0.5, duration=1.0)


def test_a_device_that_computes_wrongly_has_no_valid_rate(npu: Npu) -> None:
    made, device = npu()
    made.inject("wrong_result")
    result = device.measure_peak("fp16", path="gemm", duration=0.2)
    assert not result.sustained.validity
    assert any("wrong results" in reason for reason in result.sustained.validity.reasons)


def test_a_device_lost_in_the_middle_is_told_with_the_vendors_code(npu: Npu) -> None:
    made, device = npu()
    loses = threading.Timer(0.7, made.inject, ("lost",))
    loses.start()
    with pytest.raises(AicalibError) as lost:
        device.measure_peak("fp16", path="gemm", duration=30.0)
    assert isinstance(lost.value, ConnectionLost)
    assert lost.value.code
    made.clear()


@pytest.mark.alone
def test_abort_ends_a_measurement_within_a_second(npu: Npu) -> None:
    made, device = npu()
    ended: list[BaseException] = []

    def block() -> None:
        try:
            device.measure_peak("fp16", path="gemm", duration=600.0)
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
