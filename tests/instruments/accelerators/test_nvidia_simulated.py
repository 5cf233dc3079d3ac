"""The NVIDIA driver against the simulated vendor libraries, judged by what is true in the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import ConnectionFailed, ConnectionLost, NotPermitted, NotSupported, OutOfRange

Gpus = Callable[..., list[Any]]


@pytest.fixture
def gpus() -> Iterator[Gpus]:
    """A function that starts simulated GPUs in a world of their own: `gpus(2, model="a100", rate=0)`."""
    worlds = []

    def start(count: int = 1, *, rate: float = 0.0, seed: int = 3, **options: Any) -> list[Any]:
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate, "seed": seed})
        made = [registry.simulator("nvidia")(world, f"gpu{number}", **options) for number in range(count)]
        world.start()
        worlds.append(world)
        for one in made:
            one.start()
        return made

    yield start
    for world in worlds:
        world.stop()


def clock_of(device: NvidiaAccelerator) -> float:
    reading = device.read()
    assert reading.clock is not None
    return float(reading.clock)


def test_the_identity_is_that_of_the_wire_and_simulated(gpus: Gpus) -> None:
    one, two = gpus(2)
    for gpu in (one, two):
        with hw.open_instrument(gpu.address) as device:
            assert device.identity.serial == gpu.identity_serial
            assert device.identity.simulated
            assert device.identity.maker == "NVIDIA"
            assert "H100" in device.identity.model
            with hw.open_instrument(f"nvidia://{device.identity.extra['uuid']}") as by_uuid:
                assert by_uuid.identity.serial == gpu.identity_serial
    assert {"nvidia://0", "nvidia://1"} <= set(NvidiaAccelerator.local_addresses())


@pytest.mark.parametrize("model", ["h100", "a100"])
def test_every_reading_is_what_is_true_in_the_world(gpus: Gpus, model: str) -> None:
    (gpu,) = gpus(model=model)
    with NvidiaAccelerator(gpu.address) as device:
        gpu.world.run_load(0.7)
        gpu.world.clock.advance(30.0)
        reading: Any = device.read()
        assert float(reading.power) == pytest.approx(gpu.truth.power, rel=0.1)
        assert float(reading.clock) == pytest.approx(gpu.truth.clock, rel=0.02)
        assert float(reading.temperature) == pytest.approx(gpu.truth.temperature, abs=1.5)
        before, true_before = float(reading.energy), gpu.truth.energy
        gpu.world.clock.advance(20.0)
        after: Any = device.read()
        assert float(after.energy) - before == pytest.approx(gpu.truth.energy - true_before, rel=0.02)
        for name in device.capabilities.telemetry:
            assert getattr(after, name) is not None
        for name in ("power", "energy", "clock", "temperature", "utilisation", "memory_used"):
            one = getattr(after, name)
            assert one.channel
            assert one.source == device.identity
            assert one.resolution


def test_a_field_that_fails_inside_a_call_that_succeeds_is_no_reading(gpus: Gpus) -> None:
    (gpu,) = gpus()
    with NvidiaAccelerator(gpu.address) as device:
        assert device.read().power is not None
        assert device._round is not None
        (power,) = (call for call in device._round._calls if call.name == "power")
        power.place[0].fieldId = 9999
        with pytest.raises(NotSupported, match="nvmlDeviceGetFieldValues returned 3"):
            device.read()


def test_a_capped_device_shows_the_cap_as_reason_and_its_lower_clock(gpus: Gpus) -> None:
    (gpu,) = gpus(power_limit=300.0)
    with NvidiaAccelerator(gpu.address) as device:
        gpu.world.run_load(1.0)
        gpu.world.clock.advance(30.0)
        reading: Any = device.read()
        assert "power" in gpu.truth.limits
        assert reading.throttle.power_cap
        assert reading.throttle.active
        assert not reading.throttle.thermal
        assert float(reading.clock) < 0.99 * (device._here().maximum_clock() or 0.0)


def test_a_locked_clock_holds_and_is_let_go_on_every_way_out(gpus: Gpus) -> None:
    (gpu,) = gpus()
    with NvidiaAccelerator(gpu.address) as device:
        gpu.world.run_load(0.5)
        gpu.world.clock.advance(5.0)
        clocks = device._here().supported_clocks()
        assert device._here().clock_step() == 15e6
        wanted = clocks[len(clocks) // 2] * 1e6
        with device.lock_clocks(wanted):
            gpu.world.clock.advance(1.0)
            assert clock_of(device) == pytest.approx(wanted, rel=0.01)
            assert device.snapshot()["locked clock"].value == wanted
        gpu.world.clock.advance(1.0)
        assert clock_of(device) > wanted
        with pytest.raises(RuntimeError), device.lock_clocks(wanted):
            raise RuntimeError
        gpu.world.clock.advance(1.0)
        assert clock_of(device) > wanted
        lock = device.lock_clocks(wanted)
        lock.__enter__()
        assert "let go of the clock" in device.release().actions[0]
        with pytest.raises(OutOfRange, match="7 MHz"), device.lock_clocks(7e6):
            pass


def test_bad_devices_are_told_apart_by_type_with_the_vendors_code(gpus: Gpus) -> None:
    (gpu,) = gpus()
    with NvidiaAccelerator(gpu.address) as device:
        gpu.inject("no_permission")
        with pytest.raises(NotPermitted) as refused, device.lock_clocks(device._here().supported_clocks()[0] * 1e6):
            pass
        assert refused.value.code == 4
        gpu.clear()
        gpu.inject("timeout")
        with pytest.raises(hw.AicalibError) as late:
            device.read()
        assert getattr(late.value, "code", None) == 10
        gpu.clear()
        gpu.inject("mig")
        assert "MIG" in device.capabilities.notes
        with pytest.raises(NotSupported, match="MIG"):
            device._require_whole_device()
        gpu.clear()
        gpu.inject("lost")
        with pytest.raises(ConnectionLost) as lost:
            device.read()
        assert lost.value.code == 15
        gpu.clear()
    gpu.inject("mismatch")
    with pytest.raises(ConnectionFailed, match="driver") as mismatched:
        NvidiaAccelerator(gpu.address).open()
    assert mismatched.value.code == 18
    assert "different versions" in mismatched.value.why


def test_an_index_past_the_last_device_is_a_device_that_is_not_there(gpus: Gpus) -> None:
    gpus(2)
    with pytest.raises(ConnectionFailed, match="no such NVIDIA device") as missing:
        NvidiaAccelerator("nvidia://2").open()
    assert missing.value.why == "NVML counts 2"


def test_what_no_device_of_this_kind_has_ever_carried_out_says_so(gpus: Gpus) -> None:
    for model, told in (("a100", "never run on a device of compute capability 8.0"), ("h200", None)):
        with NvidiaAccelerator(gpus(model=model)[0].address) as device:
            assert device.capabilities.notes.get("kernels") == told


def test_without_the_cuda_library_there_is_telemetry_and_no_rate(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    from aicalib_hw.instruments.accelerators.nvidia import cuda

    monkeypatch.setattr(cuda.Cuda.__init__, "__defaults__", (("libnowhere.so",),))
    (gpu,) = gpus()
    with NvidiaAccelerator(gpu.address) as device:
        assert device.capabilities.supports == ()
        assert "libnowhere.so" in device.capabilities.notes["cuda"]
        assert device.read().power is not None
        with pytest.raises(NotSupported):
            device.measure_peak("fp32")
