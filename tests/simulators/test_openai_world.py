"""Invariants between what a service serves and the world beneath it: tokens, load, energy, clock, time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import pyvisa

from aicalib_hw import registry

from .serving import asked, reads, served
from .wired import STEADY

FULL = {"capacity": 1000.0, "stream_rate": 100.0, "first_token": 0.0, "prompt_rate": 1e9}
"""A platform that ten streams load fully."""


class Clients:
    """So many clients that ask without a pause, each in a thread, until the `with` ends."""

    def __init__(self, service: Any, streams: int) -> None:
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(service,)) for _ in range(streams)]

    def _ask(self, service: Any) -> None:
        while not self._ended.is_set():
            reads(service, asked(40))

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def settled(condition: Callable[[], bool], within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_the_load_of_the_platform_is_the_share_of_its_capacity_that_is_served() -> None:
    with served(platform=STEADY, **FULL) as service:
        assert service.world.truth.load == 0
        with Clients(service, 5):
            time.sleep(0.3)
            begun = service.world.clock.now()
            time.sleep(1.0)
            load = service.world.platform.mean_load(begun, service.world.clock.now())
        assert load == pytest.approx(0.5, abs=0.1)
        assert settled(lambda: service.world.truth.load == 0)


def test_energy_beyond_idle_follows_the_tokens() -> None:
    """With a load that costs power in proportion, full load for one second costs the span of power once."""
    linear = {**STEADY, "efficiency": [1.0, 1.0, 1.0], "idle_power": 1000.0, "full_power": 3000.0}
    with served(platform=linear, **FULL) as service:
        world = service.world
        for streams in (2, 6):
            begun, work, tokens = world.clock.now(), service.truth.work, service.truth.tokens
            with Clients(service, streams):
                time.sleep(0.6)
            made = service.truth.tokens - tokens
            assert settled(lambda: world.truth.load == 0)
            ended = world.clock.now()
            dynamic = world.truth.energy_between(begun, ended) - 1000.0 * (ended - begun)
            assert service.truth.work - work == pytest.approx(made / 1000.0, rel=1e-3)
            assert dynamic == pytest.approx(2000.0 * made / 1000.0, rel=0.05)


def test_energy_on_a_simulated_meter_at_the_mains_rises_with_the_tokens() -> None:
    linear = {**STEADY, "efficiency": [1.0, 1.0, 1.0], "idle_power": 1000.0, "full_power": 3000.0}
    with served(platform=linear, **FULL) as service:
        meter = registry.simulator("yokogawa-wt300")(service.world, "meter")
        meter.start()
        try:
            wire: Any = pyvisa.ResourceManager("@py").open_resource(meter.address, open_timeout=3000)
            with wire:
                wire.write(":INP:VOLT:RANG 300V;:INP:CURR:RANG 20A;:RATE 100MS")
                wire.write(":NUM:FORM ASC;NORM:CLE ALL;NUMB 1;ITEM1 WH,1")
                found = []
                for streams in (0, 4, 8):
                    tokens, begun = service.truth.tokens, service.world.clock.now()
                    wire.write(":INTEG:RES;:INTEG:STAR")
                    with Clients(service, streams):
                        time.sleep(0.8)
                    time.sleep(0.2)
                    wire.write(":INTEG:STOP")
                    lasted = service.world.clock.now() - begun
                    energy = float(wire.query(":NUM:VAL?")) * 3600
                    found.append((energy, 1000.0 * lasted + 2.0 * (service.truth.tokens - tokens)))
        finally:
            meter.stop()
    assert found[0][0] < found[1][0] < found[2][0]
    for energy, expected in found:
        assert energy == pytest.approx(expected, abs=250.0 + 0.05 * expected)  # begins and ends with an update, 100 ms


def test_other_work_on_the_platform_takes_its_share_of_the_tokens() -> None:
    with served(platform=STEADY, **FULL) as service:
        rates = {}
        for other in (0.0, 0.5):
            with service.world.run_load(other), Clients(service, 10):
                time.sleep(0.3)
                begun, tokens = time.monotonic(), service.truth.tokens
                time.sleep(1.0)
                rates[other] = (service.truth.tokens - tokens) / (time.monotonic() - begun)
        assert rates[0.5] / rates[0.0] == pytest.approx(0.5, rel=0.15)


def test_heat_lowers_the_clock_and_the_clock_the_tokens_unless_the_pace_is_fixed() -> None:
    hot = {**STEADY, "ambient": 100.0, "heating": 0.0}
    paces = []
    for follows in (True, False):
        with served(platform=hot, follows_platform=follows, stream_rate=100.0) as service:
            assert service.world.platform.clock_limit == pytest.approx(0.8 * 1.85e9)
            time.sleep(0.1)
            reads(service, asked(50))
            due = service.truth.events(0)[0].due
            paces.append((len(due) - 1) / ((due[-1] - due[0]) / 1e9))
    assert paces[0] == pytest.approx(80.0, rel=0.001)
    assert paces[1] == pytest.approx(100.0, rel=0.001)


def test_in_a_world_ten_times_as_fast_a_client_sees_ten_times_the_rate() -> None:
    with served(rate=10.0, stream_rate=50.0) as service:
        reads(service, asked(100))
        due = service.truth.events(0)[0].due
    assert (len(due) - 1) / ((due[-1] - due[0]) / 1e9) == pytest.approx(500.0, rel=0.001)


def test_in_a_stepped_world_tokens_come_when_the_clock_is_advanced() -> None:
    with served(rate=0.0, stream_rate=10.0, first_token=0.5) as service:
        got: list[Any] = []
        client = threading.Thread(target=lambda: got.extend(reads(service, asked(21))))
        client.start()
        assert settled(lambda: len(service.truth.requests) == 1)
        assert service.truth.tokens == 0
        for expected in (1, 6, 11, 16):
            service.world.clock.advance(0.5 if expected > 1 else 0.5001)
            assert service.truth.tokens == expected
        service.world.clock.advance(0.5)
        client.join(5)
        assert service.truth.tokens == 21
        assert b"[DONE]" in b"".join(data for _, data in got)


def test_the_fixture_gives_a_service_with_truth_faults_and_world(simulated_inference_service: Any) -> None:
    service = simulated_inference_service
    service.inject("early_stop")
    begun = time.monotonic_ns()
    reads(service, asked(20))
    ended = time.monotonic_ns()
    assert service.truth.tokens_between(begun, ended) == 10
    assert service.truth.requests[0].outcome == "stop"
    assert service.world.truth.active_power > 0
    assert service.exchanges
