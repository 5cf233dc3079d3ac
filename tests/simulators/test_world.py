"""The simulated world: its clock, its platform, its energy."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicalib_hw import registry


def world(**settings: Any) -> Any:
    return registry.simulator(registry.WORLD).from_settings({"rate": 0, "seed": 3, **settings})


def test_more_load_makes_more_power_heat_and_clock() -> None:
    one = world(platform={"ripple": 0.0})
    seen = []
    for load in (0.0, 0.25, 0.5, 0.75, 1.0):
        one.platform.set_load(load)
        one.clock.advance(60.0)
        seen.append((one.truth.active_power, one.truth.temperature, one.platform.clock_frequency))
    for column in zip(*seen, strict=True):
        assert list(column) == sorted(set(column))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 5.0), st.floats(0.0, 1.0)), min_size=1, max_size=8))
def test_energy_is_additive_and_equals_the_integral_of_power(steps: list[tuple[float, float]]) -> None:
    one = world()
    integral, stamps = 0.0, [0.0]
    for seconds, load in steps:
        one.platform.set_load(load)
        for _ in range(round(seconds / 0.01)):
            before = one.truth.active_power
            one.clock.advance(0.01)
            integral += 0.5 * (before + one.truth.active_power) * 0.01
        stamps.append(one.clock.now())
    parts = sum(one.truth.energy_between(a, b) for a, b in pairwise(stamps))
    whole = one.truth.energy_between(0.0, stamps[-1])
    assert parts == pytest.approx(whole, rel=1e-9)
    assert whole == pytest.approx(integral, rel=0.02, abs=200.0)


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    def trail(seed: int) -> list[float]:
        one = world(seed=seed)
        one.platform.set_load(0.8)
        powers = []
        for _ in range(20):
            one.clock.advance(0.1)
            powers.append(one.truth.active_power)
        return powers

    assert trail(1) == trail(1) != trail(2)


def test_a_stepped_clock_moves_only_when_advanced_and_wakes_who_waits() -> None:
    one = world()
    woken = threading.Event()

    def wait() -> None:
        if one.clock.wait_until(10.0):
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    assert one.clock.now() == 0.0
    one.clock.advance(9.9)
    assert not woken.wait(0.1)
    one.clock.advance(0.1)
    assert woken.wait(1.0)
    thread.join()


def test_a_waiter_can_be_cancelled() -> None:
    one = world()
    cancel = threading.Event()
    timer = threading.Timer(0.05, cancel.set)
    timer.start()
    assert one.clock.wait_until(10.0, cancel=cancel) is False
    timer.join()


@pytest.mark.alone
def test_a_fast_clock_runs_as_many_times_faster() -> None:
    one = world(rate=50)
    begin, real = one.clock.now(), time.monotonic()
    time.sleep(0.1)
    assert (one.clock.now() - begin) / (time.monotonic() - real) == pytest.approx(50, rel=0.05)


def test_a_load_ends_after_its_duration_and_says_what_it_achieved() -> None:
    one = world()
    one.start()
    try:
        with one.run_load(0.6, duration=2.0) as load:
            one.clock.advance(1.0)
            assert load.running
            assert load.achieved() == pytest.approx(0.6, abs=0.02)
            one.clock.advance(1.5)
            assert not load.running
        one.clock.advance(0.1)
        assert one.platform.load == 0.0
        load.stop()
    finally:
        one.stop()
        one.stop()


def test_load_can_follow_this_host_or_a_schedule() -> None:
    host = world(rate=1, platform={"load_source": "host"})
    assert 0.0 <= host.platform.load <= 1.0
    planned = world(platform={"load_source": "schedule", "schedule": [[0.0, 0.2], [5.0, 0.9]]})
    planned.clock.advance(4.0)
    assert planned.platform.load == pytest.approx(0.2)
    planned.clock.advance(2.0)
    assert planned.platform.load == pytest.approx(0.9)


@pytest.mark.parametrize(
    "wrong", [{"speed": 2}, {"platform": {"idle": 3}}, {"rate": -1}, {"platform": {"idle_power": 0}}]
)
def test_a_world_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        registry.simulator(registry.WORLD).from_settings(wrong)
