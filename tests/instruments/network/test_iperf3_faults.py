"""The driver of iperf3 against an independent simulated iperf3: rates that are known, and every fault it offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    IdentityMismatch,
    LockedByOther,
    ProtocolError,
)
from aicalib_hw.interfaces import Gate, Rate, Stream
from aicalib_hw.readings import Measurement, ValidityStatus

GOODPUT = 100e9 * 1448 / 1538
"""bit/s of payload that TCP with time stamps gets through a line of 100 Gbit/s in frames of 1518 bytes."""

Start = Callable[..., Any]


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a simulated iperf3 with options, on a world 20 times as fast as ours."""
    running: list[Any] = []

    def started(**options: Any) -> Any:
        world = registry.simulator(registry.WORLD).from_settings({"rate": 20})
        simulator = registry.simulator("iperf3")(world, "iperf3", **options)
        world.start()
        simulator.start()
        running.extend((simulator, world))
        return simulator

    yield started
    for one in running:
        one.stop()


def measured(
    simulator: Any, options: str = "", *, seconds: int = 4, load: Rate | float = 1.0, timeout: float = 10.0
) -> Measurement:
    address = f"{simulator.address}{options}"
    with hw.open_instrument(address, timeout=timeout) as tester:
        assert tester.identity.simulated
        with tester.reserve(("local", "remote"), owner="test") as reservation:
            reservation.configure([Stream("there", "local", "remote", 1518, load)])
            result: Measurement = reservation.measure_throughput(Gate("seconds", seconds), settle=0.0)
    assert not any(port.sending for port in simulator.network.ports.values())
    return result


def test_what_tcp_carries_is_measured_within_the_stated_uncertainty(start: Start) -> None:
    result = measured(start(), "&omit=2")
    assert result.validity, result.validity.reasons
    limit = sum(one.half_width or 0.0 for one in result.components)
    # On a world 20 times as fast, the host's delays are 20 times as long.
    assert limit < 2e-2
    assert result.value == pytest.approx(GOODPUT, rel=limit)
    assert result.definition == "rate/L4/tcp/unidirectional"


@pytest.mark.parametrize("capacity", [40.0, 80.0])
def test_what_the_platform_lets_through_is_what_arrives(start: Start, capacity: float) -> None:
    result = measured(start(path={"capacity": capacity}), "&omit=2")
    assert result.value == pytest.approx(GOODPUT * capacity / 100, rel=2e-3)


def test_datagrams_that_are_lost_are_counted(start: Start) -> None:
    simulator = start()
    simulator.inject({"kind": "loss", "amount": 0.25})
    result = measured(simulator, "&transport=udp", load=Rate(1e9, "L4"))
    assert result.validity
    assert result.value == pytest.approx(0.75e9, rel=5e-3)


def test_a_busy_server_is_somebody_elses_and_an_absent_one_a_failed_connection(start: Start) -> None:
    simulator = start()
    simulator.inject("locked")
    with pytest.raises(LockedByOther):
        measured(simulator)
    simulator.inject("refuse")
    with pytest.raises(ConnectionFailed):
        measured(simulator)
    assert measured(simulator).validity


def test_a_server_that_breaks_off_leaves_what_was_seen_and_no_value(start: Start) -> None:
    simulator = start()
    simulator.inject({"kind": "drop", "amount": 3.0})
    result = measured(simulator, seconds=10)
    assert (result.value, result.validity.status) == (None, ValidityStatus.ERROR)
    assert result.evidence["intervals"]


def test_seconds_in_which_nothing_went_make_the_result_invalid(start: Start) -> None:
    simulator = start()
    simulator.inject({"kind": "link_down", "amount": 3.0})
    result = measured(simulator, seconds=10)
    assert not result.validity
    assert any("nothing" in reason for reason in result.validity.reasons)
    assert result.value is None or result.value < 0.5 * GOODPUT


@pytest.mark.parametrize("fault", ["half_line", "chatter", "nan"])
def test_what_is_no_sound_json_is_told_and_never_a_rate(start: Start, fault: str) -> None:
    simulator = start()
    simulator.inject(fault)
    with pytest.raises(ProtocolError, match="JSON"):
        measured(simulator, "&transport=udp", load=Rate(1e9, "L4"))
    assert measured(simulator, "&omit=2").validity


def test_a_client_that_says_to_be_another_than_it_was_is_not_believed(start: Start) -> None:
    simulator = start()
    simulator.inject("wrong_identity")
    with pytest.raises(IdentityMismatch, match=r"2\.0"):
        measured(simulator)


def test_a_version_that_is_too_old_is_refused(start: Start) -> None:
    with pytest.raises(IdentityMismatch, match=r"3\.7 or later"):
        measured(start(version="SIM-iperf 3.1"))


def test_a_client_that_hangs_is_ended(start: Start) -> None:
    simulator = start()
    simulator.inject({"kind": "stuck", "amount": 1000.0})
    with hw.open_instrument(f"{simulator.address}&omit=0") as tester:
        tester.timeout = 0.5  # for the run alone: opening starts a program too, on whatever host
        with tester.reserve(("local", "remote"), owner="test") as reservation:
            reservation.configure([Stream("there", "local", "remote", 1518, 1.0)])
            with pytest.raises(DeadlineExceeded):
                reservation.measure_throughput(Gate("seconds", 1), settle=0.0)
    assert not any(port.sending for port in simulator.network.ports.values())
