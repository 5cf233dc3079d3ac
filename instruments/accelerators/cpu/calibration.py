"""Fits a kernel to this processor before it is measured: how long a slice is, which clock chain governs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .arithmetic import Kernel
from .native import Core, Plan, time_chains

SLICE_NS = 200_000
"""Aimed length of a slice: long against the 20 ns of reading the clock, short against a scheduler's time slice."""

SLICES_PER_CLOCK = 20
CLOCK_NS = 50_000
"""After every 20 slices follows a short one that carries the clock chain: two tenths of a percent of the time."""

# With the chain, a slice must last at least this much longer than without, or it is not the chain that sets the time.
_GOVERNED = 1.03
_TRIES = 24
_ATTEMPTS = 3
_FIRST_PAIRS = 64
_NO_TIME_LIMIT = 2**62


def fit(core: Core, kernel: Kernel) -> Plan:
    """Return the plan of slices for `kernel`, fitted on the processor that this thread runs on.

    clock_variant is 0 where no chain governs the time, so that no clock can be had.
    """
    plan = Plan(kernel, min(_FIRST_PAIRS, kernel.most_pairs))
    for _ in range(4):
        shortest = _shortest(core.run(plan, until_ns=_NO_TIME_LIMIT, most=_TRIES).slices)
        plan = replace(plan, pairs=max(1, min(plan.pairs * SLICE_NS // shortest, kernel.most_pairs)))
    clock_pairs = max(1, plan.pairs * CLOCK_NS // SLICE_NS)
    for variant in range(1, kernel.variants):
        tried = replace(plan, clock_variant=variant, clock_pairs=plan.pairs, slices_per_clock=1)
        if _governs(core, tried):
            return replace(tried, clock_pairs=clock_pairs, slices_per_clock=SLICES_PER_CLOCK)
    return plan


def _governs(core: Core, plan: Plan) -> bool:
    """True if the chain of this plan is longer than the work beside it; one undisturbed try is proof enough."""
    for _ in range(_ATTEMPTS):
        spans = core.run(plan, until_ns=_NO_TIME_LIMIT, most=_TRIES)
        if _shortest(spans.clocks) >= _GOVERNED * _shortest(spans.slices):
            return True
    return False


def chains_agree(*, links: int = 30_000, count: int = 20) -> float | None:
    """Return the clock by additions over the clock by multiplications, 1 where both chains are understood.

    None where this architecture has only one of them.
    """
    add_cycles, additions = time_chains(False, links, count)
    multiply_cycles, multiplications = time_chains(True, links, count)
    if not additions or not multiplications:
        return None
    return (add_cycles / min(additions)) / (multiply_cycles / min(multiplications))


def stamp_cost(core: Core, fitted: Plan) -> float:
    """Return the seconds that a slice lasts at least besides its pairs: reading the clock and starting the kernel."""
    spans = core.run(Plan(fitted.kernel, 1), until_ns=_NO_TIME_LIMIT, most=_TRIES).slices
    return max(_shortest(spans) - SLICE_NS / fitted.pairs, 1.0) / 1e9


def _durations(spans: Sequence[int]) -> list[int]:
    return [stop - start for start, stop in zip(spans[::2], spans[1::2], strict=True)]


def _shortest(spans: Sequence[int]) -> int:
    """Shortest duration in ns, at least 1; 1 also where a stop left no slice at all."""
    return max(min(_durations(spans), default=1), 1)
