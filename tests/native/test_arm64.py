"""The arm64 kernels, cross-compiled and run in an emulator: right results, and each extension only where it is."""

from __future__ import annotations

import functools
import platform
import shutil
from typing import Any

import pytest

COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
LARGEST = "max,sve-default-vector-length=64"
"""A processor with everything, as QEMU takes it by itself: its scalable vectors have 512 bits."""

pytestmark = pytest.mark.skipif(
    platform.machine() == "aarch64" or shutil.which(COMPILER) is None or EMULATOR is None,
    reason="needs: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user",
)


@pytest.fixture(scope="module")
def on_arm64(exercise: Any) -> Any:
    """What the program prints on a processor, on which it is run once."""
    assert EMULATOR is not None
    return functools.cache(lambda cpu: exercise(COMPILER, "-static", runner=(EMULATOR, "-cpu", cpu)))


def right_gain(line: dict[str, Any]) -> int:
    m1, c1, m2, c2 = line["operands"]
    if line["form"] == 0:
        return int(line["pairs"] * line["products"] * (m1 * c1 + m2 * c2))
    return int(line["pairs"] * (c2 - c1))


def test_every_kernel_steps_every_lane_as_often_as_asked(on_arm64: Any) -> None:
    lines = [line for line in on_arm64(LARGEST) if line["what"] in {"run", "clock", "load"}]
    assert {(line["precision"], line["instruction_set"]) for line in lines if line["supported"]} >= {
        ("fp64", "neon"),
        ("fp32", "neon"),
        ("int8", "neon-dotprod"),
        ("fp32", "portable"),
        ("fp64", "sve"),
        ("fp32", "sve"),
        ("int8", "sve"),
        ("bf16", "sve-bf16"),
    }
    for line in lines:
        assert line["status"] == 0
        assert line["slices"] > 0
        assert (line["least"], line["greatest"]) == (right_gain(line),) * 2, line


def test_a_core_without_dot_products_is_not_given_them(on_arm64: Any) -> None:
    lines = on_arm64("cortex-a57")
    assert lines[0]["instruction_sets"] == "neon"
    refused = [line for line in lines if line.get("instruction_set") == "neon-dotprod"]
    assert refused
    assert all(line["supported"] == 0 and line["slices"] == 0 for line in refused)
    assert all(line["status"] == -1 for line in refused if line["what"] == "run")


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_one_kernel_of_scalable_vectors_serves_every_length(on_arm64: Any, bits: int) -> None:
    lines = on_arm64(f"max,sve-default-vector-length={bits // 8}")
    scalable = [line for line in lines if line.get("instruction_set", "").startswith("sve")]
    lanes = {(line["precision"], line["lanes"]) for line in scalable}
    assert lanes == {("fp64", bits // 64), ("fp32", bits // 32), ("bf16", bits // 32), ("int8", bits // 32)}
    for line in scalable:
        if line["what"] != "stopped":
            assert line["slices"] > 0
            assert (line["least"], line["greatest"]) == (right_gain(line),) * 2, line


def test_a_core_without_scalable_vectors_or_their_bfloat16_is_not_given_them(on_arm64: Any) -> None:
    for cpu, refused in {"cortex-a76": {"sve", "sve-bf16"}, "a64fx": {"neon-dotprod", "sve-bf16"}}.items():
        lines = [line for line in on_arm64(cpu) if line["what"] == "run"]
        assert {line["instruction_set"] for line in lines if not line["supported"]} == refused
        assert all(line["status"] == (0 if line["supported"] else -1) for line in lines)


def test_a_stopped_load_does_nothing(on_arm64: Any) -> None:
    stopped = [line for line in on_arm64(LARGEST) if line["what"] == "stopped"]
    assert stopped
    assert all(line["slices"] == 0 and line["status"] == 1 for line in stopped)
