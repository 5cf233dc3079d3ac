"""A real NVIDIA device: our kernels beside theory at the measured clock, and beside PyTorch's on the same card.

`python -m tests.benchmarks.nvidia [ADDRESS]`, on an idle device, prints Markdown tables with their conditions; needs
PyTorch for CUDA beside what the tests need. Bars: vector fp64 and fp32 at least 0.97 of theory at the measured clock; a
matrix rate not below that of PyTorch's product of the same numbers, in turn; `read()` at most 1.05 times bare calls of
nvidia-ml-py for the same numbers.
"""

from __future__ import annotations

import datetime
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import pynvml
from aicalib_hw.instruments.accelerators.nvidia import NvidiaAccelerator
from aicalib_hw.instruments.accelerators.offload import Observation, Watch
from aicalib_hw.instruments.accelerators.offload.matrices import Operands, operands

from aicalib_hw.interfaces.accelerator import PeakMeasurement, PrecisionSupport

from .nvml import bare_calls, in_turn

OF_THEORY = 0.97
MOST_OF_BARE = 1.05
TURNS = 3
RATE_S = 5.0
PRODUCT_S = 2.0
EDGE = 8192


@dataclass(frozen=True)
class Product:
    """What PyTorch's product reached, FLOP/s, and what the device told meanwhile."""

    rate: float
    seen: Observation


@cache
def drawn(kind: str) -> Operands:
    """The matrices of our gemm path, kept, because drawing them takes longer than multiplying them."""
    return operands(EDGE, kind, 1)


def torch_product(device: NvidiaAccelerator, precision: str, seconds: float) -> Product:
    """Multiply square matrices of the same random numbers that our gemm path multiplies, timed by events."""
    import torch

    kind = {"tf32": "fp32"}.get(precision, precision)
    as_stored = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[kind]
    torch.backends.cuda.matmul.allow_tf32 = True
    made = drawn(kind)
    bits: Any = [one.view("int16") if kind == "bf16" else one for one in (made.left, made.right)]
    left, right = (torch.from_numpy(one).cuda().view(as_stored) for one in bits)
    out = torch.empty((EDGE, EDGE), dtype=as_stored, device="cuda")

    def multiply(lasting: float) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        count, until = 0, time.monotonic() + lasting
        begin.record()
        while time.monotonic() < until:
            for _ in range(20):
                torch.matmul(left, right.T, out=out)
            count += 20
            if count % 100 == 0:
                torch.cuda.synchronize()
        end.record()
        torch.cuda.synchronize()
        return 2 * EDGE**3 * count / (float(begin.elapsed_time(end)) / 1e3)

    multiply(1.0)
    watch = Watch(device.read)
    watch.start()
    rate = multiply(seconds)
    return Product(rate, watch.stop())


def row(cells: Sequence[object]) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*names: str) -> None:
    print()
    row(names)
    row(["---"] * len(names))


def tera(rate: float | None) -> str:
    return "–" if rate is None else f"{rate / 1e12:.2f}"


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def middle(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def megahertz(clock: float | None) -> str:
    return "–" if clock is None else f"{clock / 1e6:.0f}"


def watts(power: Sequence[float]) -> str:
    return f"{statistics.mean(power[1:-1] or power):.0f}" if power else "–"


def verdict(result: PeakMeasurement) -> str:
    """Return what the result says of itself: of the sustained rate, then of the peak."""
    told = [*result.sustained.validity.reasons, *result.peak.validity.reasons]
    kept = [one for one in dict.fromkeys(told) if "hardware" not in one]
    return "; ".join((result.sustained.validity.status.value, result.peak.validity.status.value, *kept))


def chosen(supports: Sequence[PrecisionSupport]) -> list[PrecisionSupport]:
    """Return what `measure_peak` takes: the first of each precision and path."""
    return list({(one.precision, one.path): one for one in reversed(supports)}.values())[::-1]


def every_rate(device: NvidiaAccelerator, supports: Sequence[PrecisionSupport]) -> bool:
    """Print what each path reaches; True if vector fp64 and fp32 reach what they must."""
    head("path", "operands", "by", "sustained TFLOP/s", "peak TFLOP/s", "of theory at the measured clock", "clock MHz",
         "power W", "energy, counter over integral", "it says")  # fmt: skip
    met = True
    for one in supports:
        result = device.measure_peak(one.precision, path=one.path, duration=RATE_S)
        energy, evidence = result.energy, result.sustained.evidence
        of_energy = energy["counter"] / energy["integral"] if len(energy) == 2 and energy["integral"] else None
        row([one.path, one.precision, one.implementation, tera(result.sustained.value), tera(result.peak.value),
             ratio(result.efficiency_measured_clock), megahertz(None if result.clock is None else result.clock.value),
             watts(evidence["power_W"]), ratio(of_energy), verdict(result)])  # fmt: skip
        if one.path == "vector" and one.precision in ("fp64", "fp32"):
            met = met and (result.efficiency_measured_clock or 0.0) >= OF_THEORY
    return met


def beside_torch(device: NvidiaAccelerator, supports: Sequence[PrecisionSupport]) -> bool:
    """Print our matrix rates and PyTorch's, in turn; True if the matrix path is not below PyTorch in any precision."""
    head("path", "operands", "by", "sustained TFLOP/s", "clock MHz", "power W", "PyTorch TFLOP/s", "clock MHz",
         "power W", "ours over PyTorch", "bar 1")  # fmt: skip
    met = True
    for one in supports:
        ours, theirs, ratios = [], [], []
        for _ in range(TURNS):
            theirs.append(torch_product(device, one.precision, PRODUCT_S))
            ours.append(device.measure_peak(one.precision, path=one.path, duration=PRODUCT_S))
            ratios.append(cast(float, ours[-1].sustained.value) / theirs[-1].rate)
        last, other = ours[-1], theirs[-1]
        reached = statistics.median(ratios) >= 1
        met = met and (reached or one.path == "gemm")
        row([one.path, one.precision, one.implementation,
             tera(statistics.median(cast(float, each.sustained.value) for each in ours)),
             megahertz(None if last.clock is None else last.clock.value), watts(last.sustained.evidence["power_W"]),
             tera(statistics.median(each.rate for each in theirs)), megahertz(middle(other.seen.clocks)),
             watts(other.seen.summary()["power_W"]),
             f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
             "for comparison" if one.path == "gemm" else "met" if reached else "NOT MET"])  # fmt: skip
    return met


def reading(device: NvidiaAccelerator) -> bool:
    """Print what `read()` costs beside bare calls; True if within the bar."""
    handle = pynvml.nvmlDeviceGetHandleByUUID(device.identity.extra["uuid"])
    ours, bare, times = in_turn(device.read, lambda: bare_calls(handle))
    met = times <= MOST_OF_BARE
    print(
        f"\nread() {ours * 1e6:.0f} µs, bare nvidia-ml-py for the same numbers {bare * 1e6:.0f} µs: {times:.3f} times  "
        f"{'met' if met else 'NOT MET'}",
        flush=True,
    )
    return met


def main(address: str = "nvidia://0") -> int:
    """Measure and print everything; exit status 0 if every bar is met."""
    import torch

    with NvidiaAccelerator(address) as device, NvidiaAccelerator(address, implementation="mma.sync") as older:
        identity, capabilities = device.identity, device.capabilities
        settings = ", ".join(f"{name} {one.value} {one.unit}" for name, one in device.snapshot().items())
        print(
            f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}: {identity.model}, driver {identity.extra['driver']}, "
            f"firmware {identity.firmware}, {capabilities.units} multiprocessors; PyTorch {torch.__version__}; "
            f"{settings}; before: {device.read()}"
        )
        for name, note in capabilities.notes.items():
            print(f"{name}: {note}")
        best = chosen(capabilities.supports)
        met = [every_rate(device, best)]
        met.append(every_rate(older, [one for one in chosen(older.capabilities.supports) if one not in best]))
        products = [one for one in best if one.path != "vector" and one.precision in ("tf32", "fp16", "bf16")]
        met.append(beside_torch(device, products))
        met.append(reading(device))
    print(f"\n{'every bar met' if all(met) else 'NOT every bar met'}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
