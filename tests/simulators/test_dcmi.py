"""The simulated libdcmi.so through the Apache-2.0 binding of gpustack-runtime, whose declarations are not ours."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest
from aicalib_hw.simulators import vendor_libraries
from gpustack_runtime.detector import pydcmi

from .conftest import Devices

Started = Callable[..., list[Any]]
_LOW_POWER, _LIMITS, _RATED_POWER = 8, 9, 10
_THERMAL, _POWER_CAPPING = 1 << 2, 1 << 10


@pytest.fixture
def started(devices: Devices) -> Started:
    """A function that returns simulated NPUs after `dcmi_init`."""

    def start(count: int = 1, **options: Any) -> list[Any]:
        npus = devices("ascend", count, **options)
        for npu in npus:
            npu.start()
        pydcmi.dcmi_init()  # remembers that it was called, and the library must learn of every new node
        assert ctypes.CDLL(str(vendor_libraries.path_of("libdcmi.so"))).dcmi_init() == 0
        return npus

    return start


def limits(card: int) -> int:
    """The bits of the low-power module, by the raw function."""
    library = ctypes.CDLL(str(vendor_libraries.path_of("libdcmi.so")))
    mask, size = ctypes.c_uint64(), ctypes.c_uint(8)
    assert library.dcmi_get_device_info(card, 0, _LOW_POWER, _LIMITS, ctypes.byref(mask), ctypes.byref(size)) == 0
    assert size.value == 8
    return mask.value


def test_cards_are_listed_with_marked_identity(started: Started) -> None:
    npus = started(8)
    count, cards = pydcmi.dcmi_get_card_list()
    assert count == 8
    dies = set()
    for card in list(cards)[:8]:
        assert pydcmi.dcmi_get_device_num_in_card(card) == 1
        assert pydcmi.dcmi_get_device_logic_id(card, 0) == card
        chip = pydcmi.dcmi_get_device_chip_info_v2(card, 0)
        assert (chip.chip_type, chip.chip_name, chip.aicore_cnt) == ("Ascend", "910B3", 20)
        die = pydcmi.dcmi_get_device_die_v2(card, 0, pydcmi.DCMI_DIE_TYPE_VDIE)
        assert bytes.fromhex(die.split()[0]).startswith(b"SIM")
        dies.add(die)
        assert pydcmi.dcmi_get_device_pcie_info_v2(card, 0).venderid == 0x19E5
    assert len(dies) == 8
    library = ctypes.CDLL(str(vendor_libraries.path_of("libdcmi.so")))
    label = ctypes.create_string_buffer(1280)
    assert library.dcmi_get_device_elabel_info(3, 0, label) == 0
    assert label.raw[1024:].split(b"\0")[0].decode() == npus[3].identity_serial


def test_power_temperature_clock_and_load_move_together(started: Started) -> None:
    (npu,) = started()
    seen = []
    for load in (0.0, 0.5, 1.0):
        npu.world.run_load(load)
        npu.world.clock.advance(90.0)
        power = pydcmi.dcmi_get_device_power_info(0, 0) / 10
        assert power == pytest.approx(npu.truth.power, abs=0.2)
        temperature = pydcmi.dcmi_get_device_temperature(0, 0)
        assert temperature == pytest.approx(npu.truth.temperature, abs=0.6)
        hbm = pydcmi.dcmi_get_device_hbm_info(0, 0)
        assert hbm.memory_size == 64 << 10
        used = pydcmi.dcmi_get_device_utilization_rate(0, 0, pydcmi.DCMI_INPUT_TYPE_AICORE)
        assert used == pytest.approx(100 * load, abs=1)
        seen.append((power, temperature, used))
    for column in zip(*seen, strict=True):
        assert list(column) == sorted(set(column))


def test_bits_of_a_low_clock(started: Started) -> None:
    (npu,) = started(power_limit=250.0)
    npu.world.clock.advance(1.0)
    assert limits(0) == 1
    npu.world.run_load(1.0)
    npu.world.clock.advance(2.0)
    assert limits(0) == _POWER_CAPPING
    library = ctypes.CDLL(str(vendor_libraries.path_of("libdcmi.so")))
    current, rated = ctypes.c_uint(), ctypes.c_uint()
    for kind, out in ((7, current), (9, rated)):
        assert library.dcmi_get_device_frequency(0, 0, kind, ctypes.byref(out)) == 0
    assert current.value < rated.value == 1800
    npu.world.node.set(0, "temperature", 98.0)
    npu.world.clock.advance(0.1)
    assert limits(0) & _THERMAL


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("lost", pydcmi.DCMI_ERROR_DEVICE_NOT_EXIST),
        ("timeout", pydcmi.DCMI_ERROR_TIME_OUT),
        ("no_permission", pydcmi.DCMI_ERROR_OPER_NOT_PERMITTED),
        ("occupied", pydcmi.DCMI_ERROR_RESOURCE_OCCUPIED),
    ],
)
def test_a_faulty_device_answers_with_the_vendors_code(started: Started, fault: str, code: int) -> None:
    (npu,) = started()
    npu.inject(fault)
    with pytest.raises(pydcmi.DCMIError) as raised:
        pydcmi.dcmi_get_device_power_info(0, 0)
    assert raised.value.value == code


def test_wrong_arguments_are_refused(started: Started) -> None:
    started(2)
    with pytest.raises(pydcmi.DCMIError) as raised:
        pydcmi.dcmi_get_device_power_info(2, 0)
    assert raised.value.value == pydcmi.DCMI_ERROR_INVALID_DEVICE_ID
    library = ctypes.CDLL(str(vendor_libraries.path_of("libdcmi.so")))
    assert library.dcmi_get_device_power_info(0, 0, None) == pydcmi.DCMI_ERROR_INVALID_PARAMETER
    assert (
        library.dcmi_get_device_temperature(-1, 0, ctypes.byref(ctypes.c_int())) == pydcmi.DCMI_ERROR_INVALID_DEVICE_ID
    )
