"""cuBLASLt's product: what is stored where, what is compared, and what a device has that the library does not serve."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from ctypes import byref, c_int, c_int32, c_int64, c_size_t, c_uint64, sizeof
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator, cublaslt, product
from aicalib_hw.instruments.accelerators.nvidia.cuda import Cuda
from aicalib_hw.instruments.accelerators.offload.matrices import Operands, as_fp64, decoded, e4m3

from aicalib_hw import definitions, registry
from aicalib_hw.errors import ConnectionFailed, NotSupported, UsageError

EDGE = 64


@pytest.fixture
def gpu() -> Iterator[Any]:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 0, "seed": 3})
    made = registry.simulator("nvidia")(world, "gpu")
    world.start()
    made.start()
    yield made
    world.stop()


@pytest.fixture(scope="module")
def by_the_book(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that does what cuBLASLt's documentation says, on memory that the host can read."""
    built = tmp_path_factory.mktemp("cublaslt") / "libcublasLt.so.13"
    source = Path(__file__).with_name("cublaslt_by_the_book.c")
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", built, source, "-lm"], check=True)
    return str(built)


@pytest.mark.parametrize("precision", sorted(cublaslt.MODES))
def test_a_product_as_the_documentation_defines_it_is_right_and_another_one_wrong(
    gpu: Any, by_the_book: str, precision: str
) -> None:
    cuda = Cuda(gpu.address)
    lt = cublaslt.CublasLt(gpu.address, (by_the_book,))
    assert lt.version() == "13.1.0"
    with product.prepared(cuda, lt, 0, precision, EDGE, seed=5) as made:
        made.reset()
        assert "wrong results" in made.wrong()  # nothing has been multiplied yet
        made.size = 2
        made.finish(made.launch())
        assert made.wrong() == ""
        assert made.operations == 2 * 2 * EDGE**3
        made._left, made._right = made._right, made._left  # the transposed product
        made.launch()
        assert "wrong results" in made.wrong()
    for word in ("sustained", "best-call"):
        assert f"flop/{precision}-accumulate-fp32/gemm-cublasLt/{word}" in definitions.DEFINITIONS


def test_a_device_that_multiplies_wrongly_by_one_part_in_a_hundred_is_seen(gpu: Any, by_the_book: str) -> None:
    cuda, lt = Cuda(gpu.address), cublaslt.CublasLt(gpu.address, (by_the_book,))
    with product.prepared(cuda, lt, 0, "fp16", EDGE, seed=5) as made:
        made.finish(made.launch())
        held = bytearray(made._session.read(made._out, 2 * EDGE * EDGE))
        values = np.frombuffer(held, np.float16) * np.float16(1.01)
        cuda.call("cuMemcpyHtoD_v2", made._out, values.tobytes(), c_size_t(len(held)))
        assert "wrong results" in made.wrong()


def test_without_the_library_there_is_no_path_gemm_and_the_note_says_how_to_get_it(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cublaslt, "NAMES", ("libcublasLt.so.0",))
    with NvidiaAccelerator(gpu.address) as device:
        can = device.capabilities
        assert can.supports
        assert not [one for one in can.supports if one.path == "gemm" or one.precision == "fp8e4m3"]
        assert "pip install nvidia-cublas" in can.notes["cublasLt"]
        with pytest.raises(NotSupported, match="fp8e4m3"):
            device.measure_peak("fp8e4m3", path="gemm")
    with pytest.raises(ConnectionFailed, match=r"libcublasLt.so.0"):
        cublaslt.CublasLt("nvidia://0")


def test_a_library_that_does_not_start_on_the_device_offers_nothing(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tmp_path / "libcublasLt.so.13"
    text = "int cublasLtCreate(void **out) { (void)out; return 1; }\n"
    subprocess.run(
        [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-x", "c", "-o", built, "-"], input=text, text=True, check=True
    )
    monkeypatch.setattr(cublaslt, "NAMES", (str(built),))
    with NvidiaAccelerator(gpu.address) as device:
        assert not [one for one in device.capabilities.supports if one.path == "gemm"]
        assert "cublasLtCreate returned 1" in device.capabilities.notes["cublasLt fp8e4m3"]


def test_what_the_library_has_on_the_device_is_offered_and_labelled(
    gpu: Any, by_the_book: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cublaslt, "NAMES", (by_the_book,))
    with NvidiaAccelerator(gpu.address, edge=EDGE) as device:
        offered = {one.precision for one in device.capabilities.supports if one.path == "gemm"}
        assert offered == set(cublaslt.MODES)
        peak = device.theoretical_peak("fp8e4m3", path="gemm")
        assert peak.value == pytest.approx(132 * 8192 * 1.98e9)
        assert device.configure(edge=128)["edge"].value == 128
        with pytest.raises(UsageError, match="100"):
            device.configure(edge=100)


def test_fp8_numbers_are_those_of_the_standard() -> None:
    # OCP 8-bit floating point specification, table of E4M3: largest, smallest normal, largest and smallest subnormal.
    assert [e4m3(bits) for bits in (0x7E, 0x08, 0x07, 0x01, 0x38, 0xB8)] == [448, 2**-6, 0.875 * 2**-6, 2**-9, 1, -1]
    assert e4m3(0x7F) != e4m3(0x7F)
    made = Operands(EDGE, "fp8e4m3", 1)
    values = as_fp64(made.left, "fp8e4m3")
    assert np.abs(values).min() >= 0.125
    assert len(np.unique(values)) == 64


@pytest.mark.parametrize(("kind", "letter"), [("fp32", "f"), ("fp16", "H"), ("bf16", "H")])
def test_operands_are_exact_never_zero_and_read_back_as_written(kind: str, letter: str) -> None:
    made = Operands(EDGE, kind, 1)
    values = as_fp64(made.left, kind)
    assert (values != 0).all()
    assert np.array_equal(values * 128, np.round(values * 128))
    raw = made.left[:1, :1].tobytes()
    assert decoded(raw, kind) == values[0, 0]
    assert struct.calcsize(letter) == len(raw)


@pytest.mark.hardware
def test_nvidias_own_library_reads_our_descriptions_back() -> None:
    """Needs no device: `pip install nvidia-cublas`, then `pytest -m hardware -k nvidias_own`."""
    lt = cublaslt.CublasLt("nvidia://0")
    for mode in cublaslt.MODES.values():
        with cublaslt.Made(lt) as made:
            description, operands, result, preference = cublaslt.describe(lt, mode, 4096, made)

            def told(kind: str, place: Any, attribute: int, into: Any) -> Any:
                written = c_size_t()
                lt.call(
                    f"{kind}GetAttribute", place, c_int(attribute), byref(into), c_size_t(sizeof(into)), byref(written)
                )
                assert written.value == sizeof(into)
                return into.value

            desc, layout = "cublasLtMatmulDesc", "cublasLtMatrixLayout"
            # COMPUTE_TYPE 0, SCALE_TYPE 1, TRANSA 3, TRANSB 4
            assert [told(desc, description, which, c_int32()) for which in (0, 1, 3, 4)] == [mode.compute, 0, 1, 0]
            for place, kind in ((operands, mode.operand_type), (result, mode.result_type)):
                # TYPE 0, ORDER 1 (0: by columns), ROWS 2, COLS 3, LD 4
                assert [told(layout, place, which, c_int32()) for which in (0, 1)] == [kind, 0]
                assert [told(layout, place, which, c_uint64()) for which in (2, 3)] == [4096, 4096]
                assert told(layout, place, 4, c_int64()) == 4096
            assert told("cublasLtMatmulPreference", preference, 1, c_uint64()) == cublaslt.WORKSPACE
    assert sizeof(cublaslt.HeuristicResult) == 96
