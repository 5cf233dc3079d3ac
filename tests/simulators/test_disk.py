"""The simulated disk by itself: what moves depends on time and load, and on nobody who looks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aicalib_hw.simulators.storage.disk import GRID, Disk, DiskOptions, Transfer
from aicalib_hw.simulators.storage.fio_statistics import bin_of, latencies
from aicalib_hw.simulators.world.faults import FaultPlan
from hypothesis import given, settings
from hypothesis import strategies as st

from aicalib_hw import registry

MIB = 1 << 20
Worlds = Callable[..., Disk]


def make(**options: Any) -> Disk:
    """A disk in a world whose time moves by hand."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 0, "seed": 4})
    disk = Disk(world, FaultPlan(4), DiskOptions(**options))
    disk.plug(True)
    return disk


@pytest.fixture
def disk() -> Iterator[Worlds]:
    """A function that makes a disk and gives its world up in the end."""
    made: list[Disk] = []

    def start(**options: Any) -> Disk:
        made.append(make(**options))
        return made[-1]

    yield start
    for one in made:
        one.world.stop()


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=20), depth=st.integers(1, 32))
def test_who_looks_and_how_often_changes_nothing(steps: list[float], depth: int) -> None:
    moved = []
    for looks in (True, False):
        one = make()
        if looks:
            one.world.clock.advance(0.05)
            one.advance()
            one.world.clock.advance(0.05)
        else:
            one.world.clock.advance(0.1)
        transfer = Transfer(MIB, depth)
        one.begin(transfer)
        with one.world.run_load(0.5):
            for step in steps:
                one.world.clock.advance(step)
                if looks:
                    one.advance()
            one.advance()
        moved.append(transfer.size_now)
        one.world.stop()
    assert moved[0] == pytest.approx(moved[1], rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    asked=st.lists(
        st.tuples(st.integers(12, 22), st.integers(1, 64), st.floats(0, 1), st.floats(1e6, 1e10)),
        min_size=1,
        max_size=6,
    )
)
def test_transfers_never_move_more_than_there_is_room_for_and_all_is_counted(
    asked: list[tuple[int, int, float, float]],
) -> None:
    one = make(noise=0.0, saturation=0.0)
    transfers = [Transfer(1 << size, depth, reads, limit=limit) for size, depth, reads, limit in asked]
    one.begin(*transfers)
    one.world.clock.advance(5.0)
    one.advance()
    busy = 0.0
    for transfer in transfers:
        size = transfer.size_now
        busy += size * (transfer.reads / 2.8e9 + (1 - transfer.reads) / 2e9 + 1.2e-6 / transfer.block)
        assert size <= 5.0 * (transfer.limit or math.inf) * (1 + 1e-9)
    assert busy <= 5.0 * (1 + 1e-9)
    total = sum(one.truth.moved(direction) for direction in ("read", "write"))
    assert total == pytest.approx(sum(transfer.size_now for transfer in transfers), rel=1e-9)
    one.world.stop()


def test_a_transfer_ends_on_its_size_and_what_is_under_way_when_its_time_is_over_still_moves(disk: Worlds) -> None:
    one = disk(noise=0.0, saturation=0.0)
    sized, timed = Transfer(MIB, 4, size=100.0 * MIB), Transfer(MIB, 16, seconds=10.0)
    one.begin(sized, timed)
    one.world.clock.advance(20.0)
    one.advance()
    assert sized.size_now == 100 * MIB
    assert timed.ended is not None
    assert timed.size_now % MIB == 0
    assert timed.ended - 10.0 == pytest.approx(16 * MIB / 2.8e9, rel=0.1)
    assert timed.total(timed.ended) == timed.size_now


def test_what_follows_begins_the_moment_the_first_has_ended(disk: Worlds) -> None:
    one = disk()
    second = Transfer(MIB, 8, size=10.0 * MIB)
    first = Transfer(MIB, 8, size=10.0 * MIB, then=lambda _: second)
    one.begin(first)
    one.world.clock.advance(1.0)
    one.advance()
    assert second.began == first.ended
    assert second.size_now == 10 * MIB


def test_energy_on_the_mains_is_that_of_the_busy_disk(disk: Worlds) -> None:
    one = disk(idle_power=10.0, busy_power=510.0)
    world = one.world
    world.clock.advance(10.0)
    before = world.truth.mean_power(1.0, 9.0)
    transfer = Transfer(MIB, 32)
    one.begin(transfer)
    for _ in range(100):
        world.clock.advance(GRID)
        one.advance()
    one.end(transfer)
    assert (world.truth.mean_power(11.0, 19.0) - before) * 0.9 == pytest.approx(500, rel=0.1)
    one.plug(False)
    world.clock.advance(5.0)
    assert world.truth.active_power < before


@given(st.floats(0, 1e12))
def test_a_bin_is_within_a_hundredth_of_what_lies_in_it(nanoseconds: float) -> None:
    assert abs(bin_of(nanoseconds) - nanoseconds) <= max(1.0, nanoseconds / 128 + 1)


@given(count=st.integers(1, 10**9), mean=st.floats(100, 1e9), spread=st.floats(0, 1))
def test_latencies_keep_their_number_and_their_mean(count: int, mean: float, spread: float) -> None:
    made = latencies(count, mean, spread)
    assert sum(made.bins.values()) == made.count == count
    assert made.least <= made.mean * (1 + 1e-9)
    assert made.mean <= made.most * (1 + 1e-9)
    if count >= 48 and count % 48 == 0:
        assert made.mean == pytest.approx(mean, rel=1e-6)
    assert made.percentile(100.0) == max(made.bins)
