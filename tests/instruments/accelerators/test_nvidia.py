"""The NVIDIA driver without a device: what is missing is said by name, and structures are those of nvidia-ml-py."""

from __future__ import annotations

import ctypes

import pynvml
import pytest
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator, nvml, sample
from aicalib_hw.instruments.accelerators.nvidia.cuda import Cuda, pci_place

from aicalib_hw.errors import AicalibError, ConnectionFailed, NotOpen, NotSupported, UsageError


@pytest.mark.parametrize("names", [("libnowhere-cuda.so.1",), ("libnowhere.so", "libnowhere.so.1")])
def test_a_missing_cuda_library_is_named_with_the_loaders_words(names: tuple[str, ...]) -> None:
    with pytest.raises(ConnectionFailed) as refused:
        Cuda("nvidia://0", names)
    assert all(name in refused.value.why for name in names)
    assert refused.value.advice


def test_a_library_without_the_function_is_not_supported_and_says_which() -> None:
    with pytest.raises(NotSupported, match="cuInit") as refused:
        Cuda("nvidia://0", ("libm.so.6",))
    assert "libm.so.6" in refused.value.what


@pytest.mark.parametrize("address", ["nvidia://", "nvidia://first", "nvidia://-1", "nvidia://0/0"])
def test_an_address_of_nothing_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        NvidiaAccelerator(address)


def test_nothing_works_before_it_is_open() -> None:
    device = NvidiaAccelerator("nvidia://0")
    for call in (device.read, device.snapshot, device.identify, lambda: device.measure_peak("fp32")):
        with pytest.raises(NotOpen):
            call()


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        # Sizes of nvml.h on LP64, from a compiler.
        (pynvml.nvmlPciInfo_t, 68),
        (pynvml.c_nvmlUtilization_t, 8),
        (pynvml.c_nvmlMemory_t, 24),
        (pynvml.c_nvmlFieldValue_t, 40),
        (pynvml.c_nvmlProcessInfo_v2_t, 24),
    ],
)
def test_the_structures_that_the_driver_reads_have_the_size_of_the_header(structure: type, size: int) -> None:
    assert ctypes.sizeof(structure) == size


def test_every_nvml_function_that_the_driver_names_is_one_of_nvidia_ml_py() -> None:
    import ast
    import inspect

    from aicalib_hw.instruments.accelerators.nvidia import driver

    named = {
        node.attr
        for module in (nvml, driver, sample)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("api") and "nvml" in node.attr
    }
    assert len(named) > 15
    assert {name for name in named if not hasattr(pynvml, name)} == set()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (3, "NotSupported"), (4, "NotPermitted"), (6, "ConnectionFailed"), (9, "ConnectionFailed"),
        (10, "DeadlineExceeded"), (12, "ConnectionFailed"), (13, "NotSupported"), (15, "ConnectionLost"),
        (16, "ConnectionLost"), (18, "ConnectionFailed"), (19, "LockedByOther"), (999, "InstrumentReportedError"),
    ],
)  # fmt: skip
def test_every_code_of_nvml_becomes_an_error_of_its_kind_with_code_text_and_function(code: int, kind: str) -> None:
    def failing() -> None:
        raise pynvml.NVMLError(code)

    library = nvml.Nvml.__new__(nvml.Nvml)
    library.where, library.api = "nvidia://0", pynvml
    with pytest.raises(AicalibError) as raised:
        library.call(failing)
    assert type(raised.value).__name__ == kind
    assert getattr(raised.value, "code", None) == code
    assert getattr(raised.value, "command", "") == "failing"
    assert getattr(raised.value, "text", "")


@pytest.mark.parametrize(
    ("mask", "active"),
    [
        (0x0, set()), (0x1, set()), (0x2, set()), (0x4, {"power_cap"}), (0x8, {"hardware"}), (0x20, {"thermal"}),
        (0x40, {"thermal"}), (0x80, {"power_brake"}), (0x44, {"power_cap", "thermal"}), (0x200, {"power_cap"}),
    ],
)  # fmt: skip
def test_the_bits_of_the_clock_event_reasons_mean_what_the_header_says(mask: int, active: set[str]) -> None:
    state = sample.normalised(mask)
    told = {name for name in ("thermal", "power_cap", "power_brake", "hardware") if getattr(state, name)}
    assert told == active
    assert state.active is bool(active)
    assert state.current is None


def test_pci_addresses_of_both_libraries_meet_whatever_the_width_of_the_domain() -> None:
    assert pci_place("00000000:C1:00.0") == pci_place("0000:c1:00.0") == (0, 0xC1, 0)
    assert pci_place("0001:C1:00.0") != pci_place("0000:C1:00.0")
