"""What a tester's gate and counters are worth: jitter is in the uncertainty, and counters that go back are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.errors import UsageError
from aicalib_hw.interfaces import Gate, NetworkTester, Stream
from aicalib_hw.metrology.budget import evaluate
from aicalib_hw.readings import ValidityStatus

from .families import FAMILIES, Family

SIZES = (64, 9018)
PPM = 20.0
OTG, TREX = (next(one for one in FAMILIES if one.name == name) for name in ("otg", "trex"))

Opened = Callable[..., tuple[NetworkTester, Any]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """A function that starts a simulated tester and opens its driver; gives both."""
    running: list[Any] = []

    def start(family: Family, *, rate: float = 100.0, also: str = "", **port: Any) -> tuple[NetworkTester, Any]:
        world = registry.simulator(registry.WORLD).from_settings({"rate": rate})
        simulator = registry.simulator(family.name)(world, family.name, **family.options(port={"ppm": PPM, **port}))
        world.start()
        running.append(world.stop)
        simulator.start()
        running.append(simulator.stop)
        tester: Any = hw.open_instrument(family.address(simulator) + also)
        running.append(tester.close)
        return tester, simulator

    yield start
    for stop in reversed(running):
        stop()


def there(family: Family, size: int = 1518) -> Stream:
    return Stream("there", *family.ports, size, 1.0)


@pytest.mark.parametrize(
    ("family", "jitter"),
    [(OTG, 0.0), (OTG, 1e-3), (OTG, 9e-3), (TREX, 1e-3)],
    ids=lambda one: one.name if isinstance(one, Family) else f"{one:g} s",
)
def test_a_gate_that_is_kept_badly_is_within_the_stated_uncertainty_of_every_run(
    opened: Opened, family: Family, jitter: float
) -> None:
    tester, _ = opened(family, gate_jitter=jitter)
    with tester.reserve(family.ports, owner="test") as reservation:
        for size in SIZES:
            reservation.configure([there(family, size)])
            true = 800e9 * size / (size + 20) * (1 + PPM * 1e-6)
            for _ in range(3):
                run = reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
                assert run.validity, run.validity.reasons
                assert run.value is not None
                expanded = evaluate(run.value, run.unit, run.components).expanded_uncertainty
                assert abs(run.value - true) <= expanded
                # Not by a budget that would cover anything: the clock's 100 ppm, and the gate.
                assert expanded < (1.2e-4 + 1.3 * max(jitter, 1e-3 if family is TREX else 0.0)) * true


def test_a_gate_is_as_well_known_as_the_bench_states_unless_its_time_stamps_say_otherwise(opened: Opened) -> None:
    believed, _ = opened(OTG, also="&jitter_us=250")
    with believed.reserve(OTG.ports, owner="test") as reservation:
        reservation.configure([there(OTG)])
        run = reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0)
        assert run.evidence["gate_jitter_s"] == 250e-6
        of_packets = reservation.measure_throughput(Gate("packets", 10_000_000), settle=0.0)
        assert of_packets.evidence["gate_jitter_s"] == pytest.approx(250e-6, rel=1e-3)
    refuted, _ = opened(OTG, also="&jitter_us=250", gate_jitter=9e-3)
    with refuted.reserve(OTG.ports, owner="test") as reservation:
        reservation.configure([there(OTG)])
        runs = [reservation.measure_throughput(Gate("seconds", 1.0), settle=0.0) for _ in range(3)]
        assert max(run.evidence["gate_jitter_s"] for run in runs) > 250e-6


@pytest.mark.parametrize("said", ["-1", "2000000", "much"])
def test_a_jitter_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(UsageError):
        hw.open_instrument(f"otg+http://127.0.0.1:1?port=p1@x&jitter_us={said}")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_counters_that_somebody_resets_in_the_gate_are_named_and_what_was_counted_is_kept(
    opened: Opened, family: Family
) -> None:
    tester, simulator = opened(family, rate=1.0)
    ports = family.network(simulator).ports
    over = threading.Event()

    def keep_clearing() -> None:
        deadline = time.monotonic() + 20
        while not any(port.sending for port in ports.values()) and time.monotonic() < deadline:
            time.sleep(0.005)
        # Again and again, so that counters that were seen are never reached anew however late the next look is.
        over.wait(0.4)
        while not over.wait(0.02):
            for port in ports.values():
                port.clear_sent()
                port.clear_received()

    with tester.reserve(family.ports, owner="test") as reservation:
        reservation.configure([there(family)])
        somebody = threading.Thread(target=keep_clearing)
        somebody.start()
        try:
            run = reservation.measure_throughput(Gate("seconds", 1.2), settle=0.0)
        finally:
            over.set()
            somebody.join()
        assert (run.value, run.validity.status) == (None, ValidityStatus.ERROR)
        assert run.evidence["error"] == "CountersWentBack"
        assert any("went back from" in reason for reason in run.validity.reasons)
        assert int(run.evidence["last_seen"]["ports"][family.ports[0]]["tx_frames"]) > 0
        assert not reservation.running
        again = reservation.measure_throughput(Gate("seconds", 0.5), settle=0.0)
        assert again.validity, again.validity.reasons
