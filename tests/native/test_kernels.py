"""The native extension on this processor: exact results, honest stamps, prompt stops, the interpreter left free."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

_native = pytest.importorskip("aicalib_hw._native", reason="needs a C compiler when installed: apt-get install gcc")
ffi, lib = _native.ffi, _native.lib

FOREVER = 2**62


def kernels() -> list[Any]:
    found = []
    for index in range(lib.aicalib_kernel_count()):
        described = ffi.new("aicalib_kernel *")
        assert lib.aicalib_kernel_describe(index, described) == 0
        if described.supported:
            found.append((index, described))
    return found


def name_of(kernel: Any) -> str:
    return "-".join(ffi.string(text).decode() for text in (kernel.precision, kernel.instruction_set))


KERNELS = kernels()
EACH_KERNEL = pytest.mark.parametrize(("index", "kernel"), KERNELS, ids=[name_of(kernel) for _, kernel in KERNELS])
SMALL = st.integers(0, 120)

pytestmark = pytest.mark.alone


def new_control() -> Any:
    return ffi.gc(lib.aicalib_control_new(), lib.aicalib_control_free)


def run(index: int, control: Any, most: int = 8, **plan: Any) -> tuple[int, Any, list[Any], list[Any]]:
    given_plan = ffi.new("aicalib_plan *", {"kernel": index, "until_ns": FOREVER, **plan})
    slices, clocks = ffi.new("aicalib_span[]", most), ffi.new("aicalib_span[]", most)
    outcome = ffi.new("aicalib_outcome *")
    status = lib.aicalib_run(given_plan, control, slices, most, clocks, most, outcome)
    return status, outcome, list(slices[0 : outcome.slices]), list(clocks[0 : outcome.clocks])


def pairs_for(index: int, operands: list[int], duration_ns: int) -> int:
    control = new_control()
    _, _, slices, _ = run(index, control, pairs=5000, operands=operands)
    return max(1, 5000 * duration_ns // min(int(span.stop_ns - span.start_ns) for span in slices))


@EACH_KERNEL
@settings(max_examples=25, deadline=None)
@given(
    operands=st.tuples(SMALL, SMALL, SMALL, st.integers(-120, 120)),
    pairs=st.integers(1, 60),
    variant=st.integers(0, 3),
)
def test_every_lane_gains_what_whole_numbers_say(
    index: int, kernel: Any, operands: tuple[int, int, int, int], pairs: int, variant: int
) -> None:
    m1, c1, m2, c2 = operands
    if ffi.string(kernel.accumulator) == b"fp32" and kernel.form == 0:
        # Beyond 2^24 fp32 does not hold every whole number, and a clock slice has twice the pairs.
        pairs = min(pairs, (2**24 - kernel.accumulators) // max(1, 2 * kernel.products * (m1 * c1 + abs(m2 * c2))))
    if kernel.form == 1:
        m1 = m2 = -1
        right = pairs * (c2 - c1)
    else:
        right = pairs * kernel.products * (m1 * c1 + m2 * c2)
    status, outcome, slices, clocks = run(
        index,
        new_control(),
        most=3,
        pairs=pairs,
        operands=[m1, c1, m2, c2],
        clock_variant=variant % kernel.variants,
        clock_pairs=2 * pairs,
        slices_per_clock=1,
    )
    assert status == 0
    assert len(slices) == 3
    assert (outcome.least, outcome.greatest) == (right, right)
    if clocks:
        assert (outcome.clock_least, outcome.clock_greatest) == (2 * right, 2 * right)


@EACH_KERNEL
def test_slices_follow_one_another_on_pythons_monotonic_clock(index: int, kernel: Any) -> None:
    before = time.monotonic_ns()
    _, outcome, slices, clocks = run(
        index,
        new_control(),
        most=8,
        pairs=2000,
        operands=[-1, 5, -1, 6] if kernel.form == 1 else [1, 1, 1, 1],
        clock_variant=kernel.variants - 1,
        clock_pairs=500,
        slices_per_clock=3,
    )
    after = time.monotonic_ns()
    assert len(clocks) == (2 if kernel.variants > 1 else 0)
    spans = sorted((span.start_ns, span.stop_ns) for span in slices + clocks)
    edges = [before, *(edge for span in spans for edge in span), after]
    assert edges == sorted(edges)
    assert outcome.stopped == 0


@EACH_KERNEL
def test_more_work_takes_longer(index: int, kernel: Any) -> None:
    operands = [-1, 5, -1, 6] if kernel.form == 1 else [1, 1, 1, 1]

    def shortest(pairs: int) -> int:
        _, _, slices, _ = run(index, new_control(), most=30, pairs=pairs, operands=operands)
        return int(min(span.stop_ns - span.start_ns for span in slices))

    assert shortest(40_000) > 4 * shortest(5_000)


def test_a_run_begins_no_earlier_and_ends_soon_after_what_it_was_told() -> None:
    index, _ = KERNELS[-1]
    begin = time.monotonic_ns() + 3_000_000
    _, outcome, slices, _ = run(
        index,
        new_control(),
        most=10_000,
        pairs=2000,
        operands=[-1, 5, -1, 6],
        not_before_ns=begin,
        until_ns=begin + 10**7,
    )
    assert slices[0].start_ns >= begin
    assert slices[-1].start_ns < begin + 10**7
    assert outcome.slices < 10_000


def test_another_thread_stops_a_run_at_once_and_sees_its_progress() -> None:
    index, _ = KERNELS[0]
    operands = [1, 1, 1, 1]
    control = new_control()
    pairs = pairs_for(index, operands, 200_000)
    ended: list[tuple[float, Any]] = []

    def work() -> None:
        _, outcome, _, _ = run(index, control, most=200_000, pairs=pairs, operands=operands)
        ended.append((time.monotonic(), outcome))

    thread = threading.Thread(target=work)
    thread.start()
    while lib.aicalib_control_progress(control) < 20 and thread.is_alive():
        time.sleep(0.001)
    asked = time.monotonic()
    lib.aicalib_control_stop(control)
    thread.join(10)
    when, outcome = ended[0]
    assert outcome.stopped == 1
    assert 20 <= outcome.slices < 200_000
    assert lib.aicalib_control_progress(control) == outcome.slices
    assert when - asked < 0.9


def test_python_runs_on_while_a_kernel_runs() -> None:
    index, _ = KERNELS[0]
    control = new_control()
    pairs = pairs_for(index, [1, 1, 1, 1], 300_000_000)
    thread = threading.Thread(target=lambda: run(index, control, most=1, pairs=pairs, operands=[1, 1, 1, 1]))
    thread.start()
    ticks = 0
    while thread.is_alive():
        time.sleep(0.005)
        ticks += 1
    assert ticks >= 3


@pytest.mark.parametrize(
    "plan",
    [
        {"kernel": -1, "pairs": 1},
        {"kernel": 10_000, "pairs": 1},
        {"kernel": 0, "pairs": 0},
        {"kernel": 0, "pairs": -5},
        {"kernel": 0, "pairs": 1, "clock_variant": 4},
        {"kernel": 0, "pairs": 1, "clock_variant": -1},
        {"kernel": 0, "pairs": 1, "clock_pairs": -1},
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(plan: dict[str, int]) -> None:
    status, outcome, slices, _ = run(plan.pop("kernel"), new_control(), **plan)
    assert status == -1
    assert slices == []
    assert outcome.least > outcome.greatest


def test_a_clock_chain_is_refused_where_a_kernel_has_none() -> None:
    for index, kernel in KERNELS:
        if kernel.variants == 1:
            assert run(index, new_control(), pairs=1, clock_variant=1)[0] == -1


def load(index: int, fraction: float, periods: list[int], debt_ns: int = 0, control: Any = None) -> tuple[int, Any]:
    plan = ffi.new("aicalib_plan *", {"kernel": index, "pairs": 2000, "operands": [-1, 5, -1, 6], "until_ns": FOREVER})
    outcome = ffi.new("aicalib_load_outcome *")
    status = lib.aicalib_load(
        plan, control or new_control(), fraction, ffi.new("int64_t[]", periods), len(periods), debt_ns, outcome
    )
    return status, outcome


@pytest.mark.alone
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.6])
def test_a_part_load_is_busy_for_its_part_of_the_time_it_took(fraction: float) -> None:
    index, _ = KERNELS[-1]
    status, done = load(index, fraction, [4_000_000] * 60)
    assert status == 0
    assert done.wall_ns >= 60 * 4_000_000
    # A busy machine can take time away, and what is still owed says how much; it can never give more.
    owed = done.debt_ns / done.wall_ns
    assert done.busy_ns / done.wall_ns <= fraction + 0.05
    assert done.busy_ns / done.wall_ns + owed >= fraction - 0.1


def test_what_a_load_owes_is_worked_off_in_the_next_call() -> None:
    index, _ = KERNELS[-1]
    _, rested = load(index, 0.2, [4_000_000] * 3, debt_ns=-4_000_000)
    _, usual = load(index, 0.2, [4_000_000] * 3)
    assert rested.busy_ns < usual.busy_ns


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    assert load(KERNELS[0][0], fraction, [1_000_000])[0] == -1


def test_additions_and_multiplications_tell_the_same_clock() -> None:
    spans = ffi.new("aicalib_span[]", 50)
    # In turn, because the clock moves with what else the processor does; more turns only where the two still differ.
    for _ in range(20):
        clocks = []
        for kind in (0, 1):
            cycles = lib.aicalib_time_chains(kind, 30_000, spans, 50)
            clocks.append(max((30_000 * cycles / (span.stop_ns - span.start_ns) for span in spans), default=0.0))
        if not all(clocks) or clocks[0] == pytest.approx(clocks[1], rel=0.03):
            break
    if all(clocks):
        assert clocks[0] == pytest.approx(clocks[1], rel=0.03)
    assert clocks[0] > 0.1 or KERNELS[0][1].variants == 1
