"""Operations a cycle and core of every kernel that this processor runs: what a row of the table of processors rests on.

Slices with and without the clock chain follow one another; only turns count in which the three fastest of both
kinds agree to 0.05 %, so that neighbours on a shared host cost time and no truth. Bar: the median on each core within
0.1 % of the table's number, or of a whole number where the processor is not in the table. By itself:
`python -m tests.benchmarks.operations_per_cycle`.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from aicalib_hw.instruments.accelerators.cpu import CpuAccelerator, native, operations_per_cycle
from aicalib_hw.instruments.accelerators.cpu.arithmetic import Kernel
from aicalib_hw.instruments.accelerators.cpu.calibration import chains_agree, fit, stamp_cost
from aicalib_hw.instruments.accelerators.cpu.cores import CoreOfHost, allowed_processors, find_cores
from aicalib_hw.instruments.accelerators.cpu.crew import pin
from aicalib_hw.instruments.accelerators.cpu.native import Control, Core, Plan, Spans

BAR = 0.001
AGREEING, AGREE_TO = 3, 0.0005
LEAST_TURNS = 5
TURN_NS = 40_000_000
FIT_TRIES = 20
SECONDS = 4.0


def measure(kernel: Kernel, core: CoreOfHost, seconds: float) -> list[float]:
    """Return the operations a cycle in each undisturbed turn, on a thread of its own that is pinned to the core."""
    found: list[float] = []
    thread = threading.Thread(target=_measure_here, args=(kernel, core, seconds, found))
    thread.start()
    thread.join()
    return found


def _measure_here(kernel: Kernel, place: CoreOfHost, seconds: float, found: list[float]) -> None:
    pin(place)
    core = Core(Control())
    plan = fit(core, kernel)
    for _ in range(FIT_TRIES):
        if plan.clock_variant:
            break
        plan = fit(core, kernel)
    if not plan.clock_variant:
        return
    plan = replace(plan, clock_pairs=plan.pairs, slices_per_clock=1)
    stamp_ns = stamp_cost(core, plan) * 1e9
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = _of_turn(core.run(plan, until_ns=time.monotonic_ns() + TURN_NS), plan, stamp_ns)
        if value is not None:
            found.append(value)


def _of_turn(spans: Spans, plan: Plan, stamp_ns: float) -> float | None:
    plain, clocked = _undisturbed(spans.slices), _undisturbed(spans.clocks)
    if plain is None or clocked is None:
        return None
    cycles = plan.kernel.cycles_of_chain(plan.clock_variant, plan.clock_pairs) / (clocked - stamp_ns)
    return plan.pairs * plan.kernel.operations_per_pair / (plain - stamp_ns) / cycles


def _undisturbed(spans: Sequence[int]) -> int | None:
    """The shortest duration, ns, None unless others confirm it."""
    durations = sorted(stop - start for start, stop in zip(spans[::2], spans[1::2], strict=True))
    if len(durations) < AGREEING or durations[AGREEING - 1] > durations[0] * (1 + AGREE_TO):
        return None
    return durations[0]


def report(kernel: Kernel, core: CoreOfHost, seconds: float) -> bool:
    """Print one line; True if the bar is met."""
    table = operations_per_cycle.of_kernel(native.processor(), kernel.precision, kernel.instruction_set)
    found = measure(kernel, core, seconds)
    name = f"{kernel.precision:4} {kernel.instruction_set:12} core {core.processor}"
    if len(found) < LEAST_TURNS:
        print(f"{name}  {len(found)} undisturbed turns are too few  NOT MET", flush=True)
        return False
    median, low, high = statistics.median(found), *_inner(found)
    wanted = table or round(median)
    met = abs(median / wanted - 1) <= BAR
    print(
        f"{name}  {median:9.4f} ({low:.4f} to {high:.4f}, {len(found)} turns)  {'table' if table else 'whole number'} "
        f"{wanted}  {'met' if met else 'NOT MET'}",
        flush=True,
    )
    return met


def _inner(found: list[float]) -> tuple[float, float]:
    quarters = statistics.quantiles(found, n=4)
    return quarters[0], quarters[2]


def main(seconds: float = SECONDS) -> int:
    """Measure every kernel on every core; exit status 0 if the bar is met throughout."""
    with CpuAccelerator() as cpu:
        print(f"\noperations a cycle and core: {cpu.identity}; {cpu.identity.extra}")
    agreement = statistics.median(value for _ in range(9) if (value := chains_agree()) is not None)
    print(f"clock by additions over clock by multiplications {agreement:.4f}; quartiles in brackets")
    cores = find_cores(allowed_processors())
    clocked = [kernel for kernel in native.kernels() if kernel.supported and kernel.chain_cycles]
    met = [report(kernel, core, seconds) for kernel in clocked for core in cores]
    return 0 if met and all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
