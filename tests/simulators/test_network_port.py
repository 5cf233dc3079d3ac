"""Simulated ports of a traffic tester: exact counts that follow the clock, and the rates of network textbooks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from aicalib_hw.simulators.network.port import Count, Network, PathOptions, Port, PortOptions, Stream
from aicalib_hw.simulators.world import World
from aicalib_hw.simulators.world.faults import FaultPlan
from hypothesis import given, settings
from hypothesis import strategies as st


def network(path: dict[str, Any] | None = None, **options: Any) -> Network:
    """Two ports wired to each other on a stepped world."""
    world = World.from_settings({"rate": 0, "seed": 3})
    ports = [PortOptions(name=name, **options) for name in ("a", "b")]
    return Network(world, FaultPlan(world.seed), ports, PathOptions(**{"latency": 0.0, **(path or {})}))


def run(net: Network, *, sizes: tuple[int, ...] = (1518,), share: float = 1.0, **limits: Any) -> Stream:
    port = net.ports["a"]
    stream = net.add(Stream(port, sizes=sizes, rate=port.frame_rate(sizes, fraction=share), **limits))
    net.start([stream])
    return stream


# Frames/s at 100, 400 and 800 Gbit/s, rounded to 0.1, and bit/s on layer 2 with FCS at 800 Gbit/s in Gbit/s (RFC 2544).
@pytest.mark.parametrize(
    ("size", "at_100", "at_400", "at_800", "layer_2"),
    [
        (64, 148809523.8, 595238095.2, 1190476190.5, 609.5238),
        (512, 23496240.6, 93984962.4, 187969924.8, 769.9248),
        (1518, 8127438.2, 32509752.9, 65019505.9, 789.5969),
        (9018, 1383049.3, 5532197.4, 11064394.8, 798.2297),
    ],
)
def test_the_largest_frame_rates_are_those_of_the_standard(
    size: int, at_100: float, at_400: float, at_800: float, layer_2: float
) -> None:
    for speed, frames in ((100, at_100), (400, at_400), (800, at_800)):
        port = network(speed=speed).ports["a"]
        assert round(float(port.frame_rate((size,), fraction=1)), 1) == frames
    net = network()
    run(net, sizes=(size,), seconds=1.0)
    net.world.clock.advance(2.0)
    assert net.truth.rate("b", "L1") == pytest.approx(800e9, rel=1e-12)
    assert net.truth.rate("b", "L2") == pytest.approx(layer_2 * 1e9, rel=1e-7)


@pytest.mark.parametrize(("layer", "more"), [("L1", 20), ("L2", 0), ("L2-no-fcs", -4)])
def test_a_bit_rate_is_that_of_its_layer(layer: Any, more: int) -> None:
    port = network(speed=100).ports["a"]
    assert port.frame_rate((512,), bits=10e9, layer=layer) == Fraction(10**10, 8 * (512 + more))


def test_a_gate_in_packets_and_one_in_seconds_give_exact_counts() -> None:
    net = network(ppm=100)
    counted = run(net, packets=1_000_003)
    net.world.clock.advance(5.0)
    assert (counted.sent, net.ports["b"].received) == (Count(1_000_003, 1_000_003 * 1518),) * 2
    assert not counted.sending
    timed = run(net, seconds=2.0)
    net.world.clock.advance(1.9997)
    assert timed.sending
    net.world.clock.advance(0.001)
    assert not timed.sending
    assert timed.sent.frames == 2 * 800_000_000_000 // (8 * 1538)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(min_value=1e-7, max_value=0.3), min_size=1, max_size=20))
def test_counters_depend_on_the_clock_and_not_on_who_looked_when(steps: list[float]) -> None:
    looked, alone = (network({"capacity": 300.0, "saturation": 0.5, "loss": 0.01}, speed=400) for _ in range(2))
    streams = [run(net, seconds=0.7) for net in (looked, alone)]
    for step in steps:
        for net in (looked, alone):
            net.world.clock.advance(step)
        assert looked.ports["b"].received.frames <= looked.ports["a"].sent.frames
    assert streams[0].sent == streams[1].sent
    assert streams[0].received == streams[1].received


def test_a_fast_time_base_sends_more_in_true_time_and_ends_its_gate_early() -> None:
    net = network(ppm=50)
    stream = run(net, seconds=10.0)
    net.world.clock.advance(20.0)
    assert net.truth.rate("b", "L1") == pytest.approx(800e9 * (1 + 50e-6), rel=1e-12)
    stop = stream.runs[-1].stopped
    assert stop is not None
    assert float(stop) == pytest.approx(10.0 / (1 + 50e-6), rel=1e-12)


def test_frames_under_way_arrive_after_the_stop() -> None:
    net = network({"latency": 0.25}, speed=10)
    stream = run(net, sizes=(64,))
    net.world.clock.advance(1.0)
    net.stop([stream])
    sent = stream.sent
    assert sent.frames == 10_000_000_000 // (8 * 84)
    assert stream.received.frames == 7_500_000_000 // (8 * 84)
    net.world.clock.advance(0.25)
    assert (stream.received, stream.sent) == (sent, sent)


def test_what_is_lost_or_out_of_order_is_neither_more_nor_less_than_asked() -> None:
    net = network({"loss": 0.02, "reordered": 0.1})
    stream = run(net, packets=1_000_000)
    net.world.clock.advance(1.0)
    assert (stream.sent.frames, stream.received.frames, stream.reordered) == (1_000_000, 980_000, 98_000)


def test_a_platform_below_line_rate_lets_its_capacity_through() -> None:
    net = network({"capacity": 600.0})
    run(net, seconds=1.0)
    net.world.clock.advance(2.0)
    assert net.truth.rate("b", "L1") == pytest.approx(600e9, rel=1e-12)
    assert net.ports["b"].received.frames == 600_000_000_000 // (8 * 1538)


def test_a_tester_faster_than_the_platform_loses_the_difference_of_their_clocks() -> None:
    net = network({"capacity": 800.0}, ppm=100)
    stream = run(net, packets=100_000_000)
    net.world.clock.advance(10.0)
    assert stream.sent.frames - stream.received.frames == pytest.approx(10_000, abs=2)


def test_a_loaded_platform_forwards_less() -> None:
    net = network({"saturation": 0.4})
    stream = run(net, seconds=4.0)
    net.world.clock.advance(2.0)
    net.world.platform.set_load(1.0)
    net.world.clock.advance(3.0)
    half = stream.sent.frames // 2
    assert stream.received.frames == pytest.approx(half + 0.6 * half, rel=0.01)


def test_no_frame_leaves_while_the_link_is_down() -> None:
    net = network(speed=100)
    stream = run(net, packets=8_000_000)
    net.world.clock.advance(0.5)
    net.ports["b"].set_link(False)
    assert not net.ports["a"].link
    then = stream.sent
    net.world.clock.advance(5.0)
    assert (stream.sent, stream.sending) == (then, True)
    net.ports["b"].set_link(True)
    net.world.clock.advance(1.0)
    assert stream.received.frames == 8_000_000


def test_a_link_goes_down_at_the_moment_its_fault_says() -> None:
    net = network(speed=100)
    net.faults.inject({"kind": "link_down", "amount": 0.25})
    stream = run(net, sizes=(64,), seconds=1.0)
    net.world.clock.advance(2.0)
    assert stream.received.frames == 25_000_000_000 // (8 * 84)
    assert not net.ports["b"].link


def test_frames_of_mixed_sizes_are_counted_to_the_byte() -> None:
    net = network(speed=100)
    stream = run(net, sizes=(64,) * 7 + (570,) * 4 + (1518,), packets=25)
    net.world.clock.advance(1.0)
    assert stream.sent == Count(25, 2 * (7 * 64 + 4 * 570 + 1518) + 64)


def test_the_last_second_is_a_whole_second_of_the_testers_clock() -> None:
    net = network(speed=10)
    net.world.clock.advance(0.5)
    stream = run(net, sizes=(64,))
    net.world.clock.advance(0.7)
    assert stream.last_second("sent").frames == pytest.approx(0.5e10 / (8 * 84), abs=1)
    net.world.clock.advance(1.0)
    assert stream.last_second("received").frames == pytest.approx(1e10 / (8 * 84), abs=1)


def test_counters_are_cleared_and_wrap_at_64_bits() -> None:
    net = network()
    run(net, packets=100)
    net.world.clock.advance(1.0)
    port: Port = net.ports["b"]
    port.clear_received()
    assert port.received == Count()
    port.preset(60)
    run(net, packets=100)
    net.world.clock.advance(1.0)
    assert port.received == Count(40, 100 * 1518 - 60)


def test_latency_knows_which_bits_it_is_between() -> None:
    net = network({"latency": 2e-6, "jitter": 5e-7}, speed=100)
    stream = run(net, sizes=(1250,), packets=10)
    assert stream.latency("last2last") is None
    net.world.clock.advance(1.0)
    assert stream.latency("last2last") == pytest.approx((1.5e-6, 2.0e-6, 2.5e-6))
    assert stream.latency("first2last") == pytest.approx((1.6e-6, 2.1e-6, 2.6e-6))
    first, last = stream.arrivals() or (0.0, 0.0)
    assert last - first == pytest.approx(9 * 8 * 1270 / 100e9)
