"""Windows and overlaps of time slices, against the same arithmetic done nanosecond by nanosecond."""

from __future__ import annotations

from itertools import pairwise

import pytest
from aicalib_hw.instruments.accelerators.cpu.slices import (
    CoreSlices,
    best_moment,
    common_window,
    operations_inside,
    operations_shared,
    parts_of,
)
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import MeasurementInvalid


@st.composite
def core_slices(draw: st.DrawFn) -> CoreSlices:
    time = draw(st.integers(0, 30))
    spans = []
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 12)), min_size=1, max_size=8)):
        spans += [time + gap, time + gap + length]
        time += gap + length
    return CoreSlices.from_pairs(spans, draw(st.integers(1, 1000)))


CORES = st.lists(core_slices(), min_size=1, max_size=4)


def rate_at(core: CoreSlices, time: int) -> float | None:
    """Rate of the slice that holds the nanosecond after `time`, by looking at each."""
    for start, stop in zip(core.starts, core.stops, strict=True):
        if start <= time < stop:
            return core.operations * 1e9 / int(stop - start)
    return None


@given(CORES)
def test_the_best_moment_is_the_best_of_all_nanoseconds(cores: list[CoreSlices]) -> None:
    totals = []
    for time in range(max(int(core.stops[-1]) for core in cores)):
        rates = [rate_at(core, time) for core in cores]
        if None not in rates:
            totals.append(sum(rate for rate in rates if rate is not None))
    found = best_moment(cores)
    if not totals:
        assert found is None
    else:
        assert found is not None
        assert found.rate == pytest.approx(max(totals), rel=1e-12)
        inside = [rate_at(core, found.begin) for core in cores]
        assert sum(rate for rate in inside if rate is not None) == pytest.approx(found.rate, rel=1e-12)
        assert all(rate_at(core, found.end - 1) == now for core, now in zip(cores, inside, strict=True))


@given(CORES)
def test_the_best_moment_never_exceeds_the_sum_of_each_cores_own_best(cores: list[CoreSlices]) -> None:
    found = best_moment(cores)
    if found is not None:
        own_bests = sum(core.operations * 1e9 / int(core.durations.min()) for core in cores)
        assert found.rate <= own_bests * (1 + 1e-12)


def test_cores_that_were_fast_at_different_times_do_not_add_up() -> None:
    first = CoreSlices.from_pairs([0, 10, 10, 30], 100)
    second = CoreSlices.from_pairs([0, 20, 20, 30], 100)
    moment = best_moment([first, second])
    assert moment is not None
    assert moment.rate == pytest.approx((100 / 10 + 100 / 20) * 1e9)
    assert moment.rate < (100 / 10 + 100 / 10) * 1e9


def test_slices_that_only_touch_do_not_overlap() -> None:
    assert best_moment([CoreSlices.from_pairs([0, 10], 1), CoreSlices.from_pairs([10, 20], 1)]) is None


@given(CORES)
def test_the_common_window_is_covered_by_the_work_of_every_core(cores: list[CoreSlices]) -> None:
    extents = [(int(core.starts[0]), int(core.stops[-1])) for core in cores]
    begin, end = max(first for first, _ in extents), min(last for _, last in extents)
    if begin >= end:
        with pytest.raises(MeasurementInvalid):
            common_window(extents)
    else:
        assert common_window(extents) == (begin, end)


@given(CORES, st.integers(0, 60), st.integers(1, 60))
def test_operations_inside_are_whole_slices_counted_exactly(cores: list[CoreSlices], begin: int, length: int) -> None:
    end = begin + length
    counted = 0
    for core in cores:
        for start, stop in zip(core.starts, core.stops, strict=True):
            if begin <= start and stop <= end:
                counted += core.operations
    assert operations_inside(cores, begin, end) == counted
    assert counted <= sum(operations_shared(core, begin, end) for core in cores) + 1e-6


def test_exact_counts_do_not_end_at_64_bits() -> None:
    huge = CoreSlices.from_pairs([0, 1, 1, 2, 2, 3], 10**19)
    assert operations_inside([huge], 0, 3) == 3 * 10**19


@given(core_slices(), st.integers(1, 7))
def test_parts_share_out_all_operations_and_no_more(core: CoreSlices, count: int) -> None:
    begin, end = int(core.starts[0]), int(core.stops[-1])
    shared = sum(operations_shared(core, *part) for part in parts_of(begin, end, count))
    assert shared == pytest.approx(len(core.starts) * core.operations)


@given(st.integers(0, 10**18), st.integers(1, 10**12), st.integers(1, 500))
def test_parts_cover_the_window_without_gap(begin: int, length: int, count: int) -> None:
    parts = parts_of(begin, begin + length, count)
    assert len(parts) == count
    assert parts[0][0] == begin
    assert parts[-1][1] == begin + length
    assert all(earlier[1] == later[0] for earlier, later in pairwise(parts))
    lengths = [stop - start for start, stop in parts]
    assert max(lengths) - min(lengths) <= 1
