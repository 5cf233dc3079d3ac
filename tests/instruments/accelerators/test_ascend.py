"""The Ascend driver without a device: layouts, meanings, what each chip has, and how the libraries are joined."""

from __future__ import annotations

import ctypes

import pytest
from aicalib_hw.instruments.accelerators.ascend import AscendAccelerator, dcmi, theory

from aicalib_hw.errors import AicalibError, ConnectionFailed, NotOpen, UsageError


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (dcmi.ChipInfo, 100), (dcmi.ChipInfo2, 132), (dcmi.PciInfo, 64), (dcmi.Label, 1280), (dcmi.Die, 20),
        (dcmi.HbmInfo, 32), (dcmi.ProcessMemory, 16),
    ],
)  # fmt: skip
def test_the_structures_have_the_size_that_the_library_writes(structure: type[ctypes.Structure], size: int) -> None:
    assert ctypes.sizeof(structure) == size


@pytest.mark.parametrize(
    ("structure", "member", "offset"),
    [
        (dcmi.ChipInfo2, "npu_name", 100), (dcmi.PciInfo, "domain", 16), (dcmi.PciInfo, "bus", 20),
        (dcmi.HbmInfo, "used", 16), (dcmi.HbmInfo, "temperature", 24), (dcmi.HbmInfo, "bandwidth", 28),
        (dcmi.Label, "serial", 1024), (dcmi.ProcessMemory, "memory", 8),
    ],
)  # fmt: skip
def test_the_members_stand_where_the_library_writes_them(
    structure: type[ctypes.Structure], member: str, offset: int
) -> None:
    assert getattr(structure, member).offset == offset


@pytest.mark.parametrize(
    ("mask", "active"),
    [
        (0, set()), (1 << 0, set()), (1 << 2, {"thermal"}), (1 << 3, {"current"}), (1 << 4, {"current"}),
        (1 << 5, {"power_brake"}), (1 << 8, {"hardware"}), (1 << 10, {"power_cap"}), (0x404, {"power_cap", "thermal"}),
    ],
)  # fmt: skip
def test_the_bits_of_a_lowered_clock_mean_what_the_interface_says(mask: int, active: set[str]) -> None:
    state = dcmi.normalised(mask)
    names = ("thermal", "power_cap", "power_brake", "current", "hardware")
    assert {name for name in names if getattr(state, name)} == active


@pytest.mark.parametrize(
    ("chip", "precisions"),
    [
        ("910B3", {"fp16", "bf16", "fp32", "hf32"}),
        ("Ascend910B1", {"fp16", "bf16", "fp32", "hf32"}),
        ("Ascend910_9392", {"fp16", "bf16", "fp32", "hf32"}),
        # The chip of an Atlas 900, and the older chip that is called 910B without a digit.
        ("910A", {"fp16"}), ("910", {"fp16"}), ("910ProB", {"fp16"}), ("Ascend910B", {"fp16"}), ("310P3", {"fp16"}),
    ],
)  # fmt: skip
def test_a_chip_has_the_precisions_that_its_matrix_product_has_and_no_other(chip: str, precisions: set[str]) -> None:
    assert set(theory.precisions(chip)) == precisions


@pytest.mark.parametrize(
    ("cores", "clock", "published"), [(24, 1.8e9, 353.9e12), (20, 1.8e9, 294.9e12), (32, 1.0e9, 262.1e12)]
)
def test_theory_is_what_the_maker_prints_for_the_cube_units(cores: int, clock: float, published: float) -> None:
    per_cycle = theory.flop_per_cycle("fp16", cores)
    assert per_cycle is not None
    assert per_cycle * clock == pytest.approx(published, rel=1e-3)
    assert theory.flop_per_cycle("fp32", cores) is None


def test_a_missing_library_is_named_with_all_the_places_that_were_tried() -> None:
    with pytest.raises(ConnectionFailed) as refused:
        dcmi.Dcmi("ascend://0/0", ("libnowhere-dcmi.so", "/nowhere/libdcmi.so"))
    assert "libnowhere-dcmi.so" in refused.value.why
    assert "/nowhere/libdcmi.so" in refused.value.why
    assert "/dev/davinci_manager" in refused.value.advice


@pytest.mark.parametrize("address", ["ascend://0", "ascend://", "ascend://a/0", "ascend://0/0/0"])
def test_an_address_of_nothing_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        AscendAccelerator(address)


def test_a_matrix_that_does_not_fit_the_cube_is_refused() -> None:
    with pytest.raises(UsageError, match="16"):
        AscendAccelerator("ascend://0/0", edge=1000)


def test_nothing_works_before_it_is_open() -> None:
    device = AscendAccelerator("ascend://0/0")
    for call in (device.read, device.snapshot, device.identify, lambda: device.measure_peak("fp16", path="gemm")):
        with pytest.raises(NotOpen):
            call()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-8001, "InstrumentReportedError"), (-8002, "NotPermitted"), (-8006, "DeadlineExceeded"),
        (-8008, "ConnectionLost"), (-8012, "ConnectionLost"), (-8013, "NotSupported"), (-8020, "LockedByOther"),
        (-8255, "NotSupported"), (-12345, "InstrumentReportedError"),
    ],
)  # fmt: skip
def test_every_code_becomes_an_error_of_its_kind_with_code_text_and_function(code: int, kind: str) -> None:
    library = dcmi.Dcmi.__new__(dcmi.Dcmi)
    library.where = "ascend://0/0"
    library._functions = {"dcmi_get_something": lambda *_: code}
    with pytest.raises(AicalibError) as raised:
        library.call("dcmi_get_something")
    assert type(raised.value).__name__ == kind
    assert (getattr(raised.value, "code", None), getattr(raised.value, "command", "")) == (code, "dcmi_get_something")
    assert getattr(raised.value, "text", "")
