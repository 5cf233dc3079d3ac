"""Peak fp64 and fp32 of one core and of all: ratio to theory and spread over 20 runs, alone and with a busy neighbour.

Theory is operations a cycle of the known processor times the clock measured in the same run. Prints
the conditions and whether the bar is met: ratio 0.998 to 1.003, its spread (standard deviation over mean)
below 0.2 %, not below likwid-bench and OpenBLAS run in turn. Results that say they are invalid are counted
and claim nothing: a row is measured until 20 are valid, and fails if ten times as many tries do not give them.
The spread of the peak itself is shown beside it: it contains what the clock of the processor really did.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from aicalib_hw.instruments.accelerators.cpu import CpuAccelerator

from aicalib_hw.interfaces.accelerator import PeakMeasurement

from . import peers

RATIO = (0.998, 1.003)
SPREAD = 0.002
TRIES = 10
PEERS_EVERY = 5

# Ends with whoever started it, however that ends: its input is then closed.
_NEIGHBOUR = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""

Precision = Literal["fp64", "fp32"]


@dataclass
class Row:
    """What was measured for one precision on some cores."""

    precision: Precision
    cpu: CpuAccelerator
    results: list[PeakMeasurement] = field(default_factory=list)
    likwid: list[float] = field(default_factory=list)
    openblas: list[float] = field(default_factory=list)

    @property
    def cores(self) -> int:
        return self.cpu.capabilities.units or 1

    @property
    def instruction_set(self) -> str:
        support = self.cpu.capabilities.supported(self.precision, "vector")
        return support.implementation if support is not None else ""

    @property
    def valid(self) -> list[PeakMeasurement]:
        return [result for result in self.results if result.peak.validity]

    def measure(self, duration: float) -> None:
        self.results.append(self.cpu.measure_peak(self.precision, duration=duration))

    def measure_peers(self) -> None:
        for found, value in (
            (self.likwid, peers.likwid(self.precision, self.cores, self.instruction_set)),
            (self.openblas, peers.openblas(self.precision, self.cores, self.instruction_set)),
        ):
            if value is not None:
                found.append(value)

    def report(self, runs: int) -> bool:
        """Print one line; True if the bar is met by `runs` valid results."""
        valid = self.valid
        peaks = [float(r.peak.value) for r in valid if r.peak.value is not None]
        ratios = [r.efficiency_measured_clock for r in valid if r.efficiency_measured_clock is not None]
        shares = [r.share for r in self.results if r.share is not None]
        clocks = [float(r.clock) / 1e9 for r in self.results if r.clock is not None]
        sustained = [float(r.sustained.value) for r in self.results if r.sustained.value is not None]
        invalid = len(self.results) - len(valid)
        rejected, slices = sum(r.rejected for r in self.results), sum(r.peak.evidence["runs"] for r in self.results)
        spread = statistics.stdev(ratios) / statistics.mean(ratios) if len(ratios) > 1 else 0.0
        of_peaks = statistics.stdev(peaks) / statistics.mean(peaks) if len(peaks) > 1 else 0.0
        best_peer = max([*self.likwid, *self.openblas], default=0.0)
        met = (
            len(ratios) == len(valid) >= runs
            and all(RATIO[0] <= ratio <= RATIO[1] for ratio in ratios)
            and spread < SPREAD
            and max(peaks, default=0.0) >= best_peer
        )
        shown_ratios = (
            f"{statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f})" if ratios else "unknown"
        )
        clock = f"{statistics.median(clocks):.4f}" if clocks else "-"
        print(
            f"{self.precision} {self.instruction_set:9} {self.cores} core{'s' if self.cores > 1 else ' '} "
            f"peak {statistics.median(peaks or [0.0]) / 1e9:9.3f} GFLOP/s  ratio {shown_ratios}  "
            f"spread {spread:.4%} (of the peak {of_peaks:.2%})  clock {clock} GHz  "
            f"sustained {statistics.median(sustained) / 1e9:9.3f}  "
            f"share {statistics.median(shares):.3f}  runs not used {rejected}/{slices}, "
            f"invalid {invalid}/{len(self.results)}  "
            f"likwid {_best(self.likwid)}  OpenBLAS {_best(self.openblas)}  {'met' if met else 'NOT MET'}",
            flush=True,
        )
        return met


def _best(rates: list[float]) -> str:
    return f"{max(rates) / 1e9:.1f}" if rates else "not installed"


@contextlib.contextmanager
def busy_neighbour(wanted: bool) -> Iterator[None]:
    """A process that computes without end, free to run on any core."""
    if not wanted:
        yield
        return
    neighbour = subprocess.Popen([sys.executable, "-c", _NEIGHBOUR], stdin=subprocess.PIPE)
    try:
        time.sleep(0.5)
        yield
    finally:
        neighbour.kill()
        neighbour.wait()


def series(runs: int, duration: float, with_peers: bool) -> bool:
    """Measure rows in turn, each until `runs` are valid, the peers among them; True if all bars are met."""
    with contextlib.ExitStack() as stack:
        one, every = (stack.enter_context(CpuAccelerator(cores=cores)) for cores in (1, None))
        precisions: tuple[Precision, ...] = ("fp64", "fp32")
        rows = [Row(precision, cpu) for precision in precisions for cpu in (one, every)]
        for turn in range(TRIES * runs):
            for row in (row for row in rows if len(row.valid) < runs):
                row.measure(duration)
                if with_peers and turn % PEERS_EVERY == 0:
                    row.measure_peers()
        met = [row.report(runs) for row in rows]
        return all(met)


def main() -> int:
    """Run both series; exit status 0 if all bars are met."""
    parser = argparse.ArgumentParser(prog="make benchmark", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--duration", type=float, default=1.0, help="s of one run")
    options = parser.parse_args()
    with CpuAccelerator() as cpu:
        print(f"{cpu.identity}; {cpu.identity.extra}")
        print(f"{options.runs} valid runs of {options.duration} s each, rows and peers in turn")
    met = []
    for busy in (False, True):
        load = f"load average {os.getloadavg()[0]:.2f} before"
        print(f"\n{'with one busy neighbour process' if busy else 'as the host is'}; {load}", flush=True)
        with busy_neighbour(busy):
            met.append(series(options.runs, options.duration, with_peers=True))
    return 0 if all(met) else 1
