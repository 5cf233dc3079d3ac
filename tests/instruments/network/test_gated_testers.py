"""The drivers for Xena, OTG and TRex against independent simulators: rates, layers, ownership, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aicalib_hw.instruments.network.otg import OpenTrafficGenerator
from aicalib_hw.instruments.network.trex import Trex
from aicalib_hw.instruments.network.xena import Xena

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import (
    AicalibError,
    ConnectionFailed,
    LinkDown,
    LockedByOther,
    NotSupported,
    OutOfRange,
    UsageError,
)
from aicalib_hw.interfaces import Gate, NetworkTester, Rate, Stream
from aicalib_hw.procedures import rfc2544

from .families import FAMILIES, Family

# Full line rate at 800 Gbit/s, layer 2 with FCS, in Gbit/s: 800 L / (L + 20).
GOLDEN = {64: 609.5238095, 512: 769.9248120, 1518: 789.5968791, 9018: 798.2296968}


@dataclass(frozen=True)
class Simulated:
    """A running simulator of one family."""

    family: Family
    simulator: Any
    world: Any

    @property
    def ports(self) -> tuple[str, str]:
        """The names of its two ports as the driver knows them."""
        return self.family.ports

    @property
    def address(self) -> str:
        return self.family.address(self.simulator)


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> Iterator[Simulated]:
    """The simulator of a family on a world 100 times as fast; parametrised with (family, ppm, path)."""
    family, ppm, path = request.param
    world = registry.simulator(registry.WORLD).from_settings({"rate": 100})
    simulator = registry.simulator(family.name)(world, family.name, **family.options(port={"ppm": ppm}, path=path))
    world.start()
    simulator.start()
    yield Simulated(family, simulator, world)
    simulator.stop()
    world.stop()


def each(ppm: float = 0.0, **path: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "simulated",
        [(family, ppm, path) for family in FAMILIES],
        indirect=True,
        ids=[family.name for family in FAMILIES],
    )


def stream(ports: tuple[str, str], size: int, load: Rate | float = 1.0) -> Stream:
    return Stream("there", ports[0], ports[1], size, load)


@each(ppm=37.5)
def test_800_gbit_is_measured_within_the_stated_uncertainty_at_every_frame_size(simulated: Simulated) -> None:
    with hw.open_instrument(simulated.address) as tester:
        assert tester.identity.simulated
        assert [port.speed for port in tester.ports()] == [800e9, 800e9]
        with tester.reserve(simulated.ports, owner="test") as reservation:
            for size, golden in GOLDEN.items():
                assert reservation.configure([stream(simulated.ports, size)]).differences == ()
                result = reservation.measure_throughput(Gate("seconds", 2.0), settle=0.0)
                assert result.validity, result.validity.reasons
                assert result.definition == f"rate/L2-fcs/{size}B/unidirectional"
                assert result.value is not None
                # The time base of the tester is 37.5 ppm fast: what it shows is the line rate by its own clock.
                frame = 1 / result.evidence["streams"]["there"]["received"]
                assert result.value / 1e9 == pytest.approx(golden, rel=frame + 1e-9)
                limit = sum(component.half_width or 0.0 for component in result.components)
                true = golden * 1e9 * (1 + 37.5e-6)
                # A generator in software keeps its gate to ±1 ms, which the budget has.
                assert 1e-6 < limit < (7e-4 if simulated.family.name == "trex" else 2e-4)
                assert abs(result.value - true) <= limit * true


@each(loss=0.02)
def test_lost_frames_lower_the_rate_received_and_are_told_apart_from_the_generator(simulated: Simulated) -> None:
    with (
        hw.open_instrument(simulated.address) as tester,
        tester.reserve(simulated.ports, owner="test") as reservation,
    ):
        reservation.configure([stream(simulated.ports, 1518)])
        result = reservation.measure_throughput(Gate("seconds", 2.0), settle=0.0)
        assert result.validity
        assert result.evidence["streams"]["there"]["loss_ratio"] == pytest.approx(0.02, abs=1e-6)
        assert result.value / 1e9 == pytest.approx(GOLDEN[1518] * 0.98, rel=1e-6)


@each(capacity=600.0)
def test_the_throughput_of_rfc_2544_is_what_the_platform_forwards(simulated: Simulated) -> None:
    with (
        hw.open_instrument(simulated.address) as tester,
        tester.reserve(simulated.ports, owner="test") as reservation,
    ):
        found = rfc2544.search_throughput(
            reservation, stream(simulated.ports, 1518), gate=Gate("seconds", 1.0), settle=0.0, resolution=0.01
        )
        assert found.load is not None
        assert found.load == pytest.approx(600 / 800, abs=0.011)
        assert found.load <= 600 / 800
        assert found.measurement is not None
        assert found.measurement.definition == "throughput/L2-fcs/1518B/unidirectional"
        losses = rfc2544.frame_loss(reservation, stream(simulated.ports, 1518), gate=Gate("seconds", 1.0), settle=0.0)
        assert [trial.load for trial in losses] == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6])
        for trial in losses:
            assert trial.loss == pytest.approx(max(0.0, 1 - 0.75 / float(trial.load)), abs=1e-3)  # type: ignore[arg-type]


@each()
def test_what_a_client_that_died_left_is_stopped_and_released_by_the_next(simulated: Simulated) -> None:
    dead: NetworkTester = hw.open_instrument(simulated.address)
    reservation = dead.reserve(simulated.ports, owner="test")
    reservation.configure([stream(simulated.ports, 512)])
    reservation.start()
    assert reservation.running
    links = [getattr(dead, name) for name in ("session", "link") if hasattr(dead, name)]
    links[0].close()
    again = hw.open_instrument(simulated.address)
    assert again.release()
    assert [port.owner for port in again.ports()] == [None, None]
    with again.reserve(simulated.ports, owner="test") as mine:
        assert not mine.running
    assert again.close()


@each()
def test_what_the_tester_lacks_is_refused_before_traffic(simulated: Simulated) -> None:
    with hw.open_instrument(simulated.address) as tester:
        with pytest.raises(OutOfRange):
            tester.reserve(["9/9"], owner="test")
        with tester.reserve(simulated.ports, owner="test") as reservation:
            with pytest.raises(UsageError):
                reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
            for bad in (
                stream(simulated.ports, 63),
                stream(simulated.ports, 20_000),
                stream(simulated.ports, 64, 0.0),
                stream(simulated.ports, 64, 1.5),
                stream(simulated.ports, 64, Rate(700e9, "L2-fcs")),
                stream(simulated.ports, 64, Rate(0.0, "L1")),
                stream(simulated.ports, 64, Rate(float("nan"), "L1")),
                stream((simulated.ports[0], "elsewhere"), 64),
            ):
                with pytest.raises(OutOfRange):
                    reservation.configure([bad])
            reservation.configure([stream(simulated.ports, 64, Rate(100e9, "L1"))])
            with pytest.raises(NotSupported):
                reservation.measure_throughput(Gate("last-second", 1.0), settle=0.0)


@each()
def test_a_link_that_is_down_is_told_and_nothing_is_sent(simulated: Simulated) -> None:
    with (
        hw.open_instrument(simulated.address) as tester,
        tester.reserve(simulated.ports, owner="test") as reservation,
    ):
        reservation.configure([stream(simulated.ports, 64)])
        next(iter(simulated.family.network(simulated.simulator).ports.values())).set_link(False)
        with pytest.raises(LinkDown):
            reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
        assert not reservation.running


@pytest.mark.parametrize("simulated", [(FAMILIES[0], 0.0, {})], indirect=True)
def test_a_port_of_somebody_else_is_theirs_unless_force_is_used(simulated: Simulated) -> None:
    with hw.open_instrument(simulated.address) as theirs, hw.open_instrument(simulated.address) as ours:
        theirs.session.command('C_OWNER "other"')
        theirs.session.command("0/0 P_RESERVATION RESERVE")
        with pytest.raises(LockedByOther, match="other"):
            ours.reserve(["0/0", "0/1"], owner="test")
        with ours.reserve(["0/0", "0/1"], owner="test", force=True) as reservation:
            assert reservation.evicted == {"0/0": "other"}


@pytest.mark.parametrize("simulated", [(FAMILIES[1], 0.0, {})], indirect=True)
def test_a_configuration_by_which_somebody_else_took_the_ports_is_left_to_them(simulated: Simulated) -> None:
    with hw.open_instrument(simulated.address) as ours, hw.open_instrument(simulated.address) as theirs:
        ours.reserve(simulated.ports, owner="test")
        ports = [{"name": name, "location": place} for name, place in theirs.place.ports.items()]
        theirs.push({"ports": ports, "layer1": [{"name": "theirs", "port_names": [port["name"] for port in ports]}]})
        assert ours.release()
        assert [port.owner for port in theirs.ports()] == ["somebody (theirs)"] * 2


@pytest.mark.parametrize("simulated", [(FAMILIES[0], 0.0, {})], indirect=True)
def test_a_port_that_was_given_back_sends_without_end_for_whoever_has_it_next(simulated: Simulated) -> None:
    with hw.open_instrument(simulated.address) as ours, hw.open_instrument(simulated.address) as next_one:
        with ours.reserve(simulated.ports, owner="test") as reservation:
            reservation.configure([stream(simulated.ports, 512)])
            reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
        assert next_one.session.ask("0/0 P_TXTIMELIMIT ?")[0].numbers == [0]


@pytest.mark.parametrize(
    "address",
    [
        "xena://",
        "xena://host:port",
        "xena://host?ports=0-1",
        "xena://host?clock_ppm=-1",
        "xena://host?colour=red",
        "otg+https://",
        "otg+https://host?speed=7",
        "otg+https://host?fcs=maybe",
        "otg+https://host?port=p1",
        "otg+https://host?colour=red",
        "trex://",
        "trex://host?ports=a",
        "trex://host?clock_ppm=-1",
        "trex://host?fcs=maybe",
        "trex://host?jitter_us=1e9",
        "trex://host?colour=red",
    ],
)
def test_an_address_that_asks_for_nonsense_is_refused_at_once(address: str) -> None:
    kind: Any = {"xena": Xena, "trex": Trex}.get(address.partition(":")[0], OpenTrafficGenerator)
    with pytest.raises(UsageError) as refused:
        kind(address)
    assert address in str(refused.value)


def test_nobody_at_the_address_is_a_failed_connection() -> None:
    for kind, address in (
        (Xena, "xena://127.0.0.1:1"),
        (OpenTrafficGenerator, "otg+http://127.0.0.1:1?port=p1@x"),
        (Trex, "trex://127.0.0.1:1"),
    ):
        with pytest.raises(ConnectionFailed):
            kind(address, timeout=1.0).open()


@each()
def test_a_tester_that_vanishes_is_an_error_of_this_project_and_release_says_what_it_could_not_do(
    simulated: Simulated,
) -> None:
    tester = hw.open_instrument(simulated.address, timeout=1.0)
    reservation = tester.reserve(simulated.ports, owner="test")
    reservation.configure([stream(simulated.ports, 64)])
    simulated.simulator.stop()
    with pytest.raises(AicalibError):
        reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
    report = tester.close()
    assert report.failures
    assert "traffic may still" in report.failures[0] or "cannot be told" in report.failures[0]
