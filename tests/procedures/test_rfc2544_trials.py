"""Trials of RFC 2544 that may not be believed: no load is claimed of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import MeasurementInvalid
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import Gate, Reservation, Stream
from aicalib_hw.procedures.rfc2544 import Trial, back_to_back, latency
from aicalib_hw.readings import Instant, Measurement, Validity, ValidityStatus, Window


@pytest.mark.parametrize(
    ("loss", "value", "status", "lossless"),
    [
        (0.0, 1e9, ValidityStatus.VALID, True),
        (1e-9, 1e9, ValidityStatus.VALID, False),
        # The generator fell short: every frame it sent arrived, which says nothing of the load that was asked for.
        (0.0, 6e8, ValidityStatus.INVALID, False),
        (0.0, None, ValidityStatus.ERROR, False),
    ],
)
def test_a_load_is_without_loss_only_by_a_trial_that_may_be_believed(
    loss: float, value: float | None, status: ValidityStatus, lossless: bool
) -> None:
    reasons = () if status is ValidityStatus.VALID else ("the generator is limited",)
    measured = Measurement(
        quantity="network",
        definition="rate/L2-fcs/64B/unidirectional",
        value=value,
        unit="bit/s",
        window=Window(Instant(0, 0), Instant(1, 1), "gate"),
        identity=Identity("maker", "tester", "1", "1", "address"),
        validity=Validity(status, reasons),
    )
    assert Trial(1.0, loss, measured).lossless is lossless


@pytest.fixture
def reserved(request: pytest.FixtureRequest) -> Iterator[Reservation]:
    """Two simulated ports of 800 Gbit/s with a cable of 3 us; parametrised with the least gap between frames, B."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 100})
    port, path = {"name": "any", "gap": request.param}, {"latency": 3e-6}
    tester = registry.simulator("otg")(world, "otg", port=port, path=path)
    world.start()
    tester.start()
    try:
        # How well the gate is kept is known, so that a generator that falls short is told in a short burst too.
        with (
            hw.open_instrument(f"{tester.address}&jitter_us=0.1") as opened,
            opened.reserve(("p1", "p2"), owner="test") as reservation,
        ):
            yield reservation
    finally:
        tester.stop()
        world.stop()


STREAM = Stream("there", "p1", "p2", 64, 1.0, latency_mode="cut_through")


@pytest.mark.parametrize("reserved", [20], indirect=True)
def test_a_cable_loses_nothing_of_the_longest_burst_however_short_and_has_its_own_latency(
    reserved: Reservation,
) -> None:
    for longest in (2, 100_000):
        mean, each = back_to_back(reserved, STREAM, longest=longest, settle=0.0, repetitions=2)
        assert (mean, each) == (longest, (longest, longest))
    whole, trials = latency(reserved, STREAM, gate=Gate("seconds", 0.5), settle=0.0, repetitions=2)
    assert len(trials) == 2
    assert whole.mean == pytest.approx(3e-6, rel=0.1)


@pytest.mark.parametrize("reserved", [60], indirect=True)
def test_neither_a_burst_nor_a_latency_is_claimed_of_a_generator_that_falls_short_of_the_line(
    reserved: Reservation,
) -> None:
    with pytest.raises(MeasurementInvalid, match="burst of 100000000 frames"):
        back_to_back(reserved, STREAM, longest=100_000_000, settle=0.0, repetitions=1)
    with pytest.raises(MeasurementInvalid, match="trial 1 of 2") as refused:
        latency(reserved, STREAM, gate=Gate("seconds", 0.5), settle=0.0, repetitions=2)
    assert "generator is limited" in refused.value.why
