"""OpenCL on PoCL beside the processor's theoretical peak at its measured clock, and beside clpeak on the same PoCL.

Bar: the median of the turns at least 0.95 of theory, and at least four times what clpeak prints. Clock and PoCL are
measured in turn, because the clock of a shared processor changes.
"""

from __future__ import annotations

import statistics
from typing import Literal

from aicalib_hw.instruments.accelerators.cpu import CpuAccelerator
from aicalib_hw.instruments.accelerators.opencl import OpenCLAccelerator

from . import peers

RATIO = 0.95
AHEAD = 4.0


def measure(cpu: CpuAccelerator, device: OpenCLAccelerator, precision: Literal["fp32", "fp64"], turns: int) -> bool:
    """Print one line; True if the bar is met."""
    rates, ratios = [], []
    for _ in range(turns):
        cpu.measure_peak(precision, duration=0.5)
        theory = cpu.theoretical_peak(precision, clock="measured").value
        result = device.measure_peak(precision, duration=0.5)
        if result.peak.value is not None:
            rates.append(float(result.peak.value))
            if theory is not None:
                ratios.append(rates[-1] / theory)
    other = peers.clpeak(precision)
    rate = statistics.median(rates)
    ahead = rate / other if other else None
    met = bool(ratios) and statistics.median(ratios) >= RATIO and (ahead is None or ahead >= AHEAD)
    shown = f"{statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f})" if ratios else "unknown"
    beside = f"{other / 1e9:.1f} GFLOP/s, {ahead:.1f} times" if other and ahead else "not installed"
    print(
        f"{precision} opencl://0/0 peak {rate / 1e9:9.3f} GFLOP/s  ratio {shown}  clpeak {beside}  "
        f"{'met' if met else 'NOT MET'}",
        flush=True,
    )
    return met


def main(turns: int = 10) -> int:
    """Measure both precisions; exit status 0 if the bars are met."""
    with CpuAccelerator() as cpu, OpenCLAccelerator("opencl://0/0") as device:
        print(f"\nOpenCL: {device.identity}, {device.identity.firmware}; {turns} turns of 0.5 s")
        precisions: tuple[Literal["fp32", "fp64"], ...] = ("fp32", "fp64")
        met = [measure(cpu, device, precision, turns) for precision in precisions]
    return 0 if all(met) else 1
