"""The Ascend driver against the simulated vendor libraries, judged by what is true in the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.ascend import AscendAccelerator, acl, dcmi

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import ConnectionFailed, ConnectionLost, DeadlineExceeded, NotSupported

Npus = Callable[..., list[Any]]


@pytest.fixture
def npus() -> Iterator[Npus]:
    """A function that starts simulated NPUs in a world of their own: `npus(2, rate=0)`."""
    worlds = []

    def start(count: int = 1, *, rate: float = 0.0, seed: int = 3, **options: Any) -> list[Any]:
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate, "seed": seed})
        made = [registry.simulator("ascend")(world, f"npu{number}", **options) for number in range(count)]
        world.start()
        worlds.append(world)
        for one in made:
            one.start()
        return made

    yield start
    for world in worlds:
        world.stop()


def test_the_identity_is_that_of_the_wire_and_simulated(npus: Npus) -> None:
    for npu in npus(2):
        with hw.open_instrument(npu.address) as device:
            assert device.identity.serial == npu.identity_serial
            assert device.identity.simulated
            assert device.identity.maker == "Huawei"
            assert device.identity.extra["pci"]
    with pytest.raises(ConnectionFailed) as absent:
        AscendAccelerator("ascend://40/0").open()
    assert npu.address in absent.value.advice


def test_every_reading_is_what_is_true_in_the_world(npus: Npus) -> None:
    (npu,) = npus()
    with AscendAccelerator(npu.address) as device:
        npu.world.run_load(0.7)
        npu.world.clock.advance(30.0)
        reading: Any = device.read()
        assert float(reading.power) == pytest.approx(npu.truth.power, rel=0.05)
        assert float(reading.clock) == pytest.approx(npu.truth.clock, rel=0.02)
        assert float(reading.temperature) == pytest.approx(npu.truth.temperature, abs=1.5)
        assert reading.energy is None
        assert 0.5 < float(reading.utilisation) <= 1.0
        for name in device.capabilities.telemetry:
            assert getattr(reading, name) is not None


@pytest.mark.parametrize("precision", ["fp32", "hf32"])
def test_a_peak_that_no_confirmed_source_gives_is_unknown_and_says_why(npus: Npus, precision: Any) -> None:
    (npu,) = npus()
    with AscendAccelerator(npu.address) as device:
        peak = device.theoretical_peak(precision, path="gemm")
        assert peak.value is None
        assert f"not certain for {precision}: no confirmed source" in peak.source
        known = device.theoretical_peak("fp16", path="gemm")
        assert known.value is not None
        assert "16 x 16 x 16" in known.source


def test_memory_is_told_in_units_of_which_64_gib_hold_65536(npus: Npus) -> None:
    (npu,) = npus(model="910b")
    with AscendAccelerator(npu.address) as device:
        told = device._here()._fill("get_device_hbm_info", dcmi.HbmInfo())
        assert told.size == 65536
        assert told.used > 0
        assert device.read().memory_used.value == told.used * 2**20  # type: ignore[union-attr]


def test_a_device_without_uuid_is_not_joined_by_a_number_that_the_runtime_counts_anew(
    npus: Npus, monkeypatch: pytest.MonkeyPatch
) -> None:
    npus(2)
    runtime = acl.Acl("ascend://1/0")
    assert acl.find(runtime, None, 1) == (1, "logic id")
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1,0")
    with pytest.raises(ConnectionFailed, match="logic id 1"):
        acl.find(runtime, None, 1)


def test_a_capped_device_shows_a_reason_and_its_lower_clock(npus: Npus) -> None:
    (npu,) = npus(power_limit=200.0)
    with AscendAccelerator(npu.address) as device:
        npu.world.run_load(1.0)
        npu.world.clock.advance(30.0)
        reading: Any = device.read()
        assert "power" in npu.truth.limits
        assert reading.throttle.power_cap
        assert float(reading.clock) < (device._here().clock(9) or 0.0)


def test_bad_devices_are_told_apart_by_type_with_the_vendors_code(npus: Npus) -> None:
    (npu,) = npus()
    with AscendAccelerator(npu.address) as device:
        npu.inject("timeout")
        with pytest.raises(DeadlineExceeded) as late:
            device.read()
        assert late.value.code == -8006
        npu.clear()
        npu.inject("lost")
        with pytest.raises(ConnectionLost) as lost:
            device.read()
        assert lost.value.code == -8008
        npu.clear()
        with pytest.raises(NotSupported):
            device.measure_peak("fp32", path="vector")
        with pytest.raises(NotSupported), device.lock_clocks(1e9):
            pass
    npu.inject("no_driver")
    with pytest.raises(ConnectionFailed, match="Ascend driver"):
        AscendAccelerator(npu.address).open()
