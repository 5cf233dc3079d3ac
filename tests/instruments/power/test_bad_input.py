"""What goes wrong on benches, for every power meter over every wire that it has: an error that helps, or the truth.

Walks the registry, so that a new family is held to it by being registered. The clock of the world runs fast.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aicalib_hw import registry
from aicalib_hw.errors import AicalibError, NotSupported, UnusableReading
from aicalib_hw.readings import Status

RATE = 40.0
QUOTED = 100
"""Characters by which an exchange is known again in an error."""
METERS = [
    (name, wire)
    for name, kind in sorted(registry.drivers().items())
    if kind.DRIVER.role == "power_meter" and kind.DRIVER.simulator
    for wire in registry.simulator(kind.DRIVER.simulator).wires
]
SHOWS_NO_PEAKS = {"ptdaemon", "hioki-pw3390", "hioki-pw8001", "tektronix-pa1000"}
"""Families whose protocol, as far as it is confirmed, does not tell that a peak was cut off."""


_FAST = {"update_interval": 0.02}
OPTIONS: dict[str, dict[str, Any]] = dict.fromkeys(
    ("chroma-66204", "hioki-pw3336", "hioki-pw3390", "hioki-pw8001", "generic-meter", "tektronix-pa1000"), _FAST
)
"""Of drivers that pace themselves by this host's clock, which here is slower than the world's."""
RANGES = {"zes-lmg600": (250.0, 400.0)}
"""V: two ranges of a family that has neither 300 V nor 600 V."""
SHOWS_POWER_ALONE = {"generic-meter"}
"""Families of which power alone is read: a wrong sign is not to be told from power given back."""
HAS_NO_RANGES = {"chroma-66204", "hioki-pw3390", "generic-meter", "tektronix-pa1000"}
"""Families of which no setting of ranges is confirmed."""

NO_DATA = {"chroma-66204": Status.NOT_SETTLED}
"""How a family says that there is no value, where it has no other word than "not complete" for it."""


class Bench:
    """One simulated meter on one wire, and its driver."""

    def __init__(self, name: str, wire: str, rate: float = RATE) -> None:
        self.kind = registry.driver(name)
        self.world = registry.simulator(registry.WORLD).from_settings({"rate": rate})
        self.meter = registry.simulator(self.kind.DRIVER.simulator)(self.world, name)
        self.world.start()
        self.meter.start()
        self.world.run_load(0.5)
        self.address = self.meter.addresses[wire]

    def open(self, **options: Any) -> Any:
        return self.kind(self.address, timeout=1.0, **OPTIONS.get(self.kind.DRIVER.name, {}), **options)

    def close(self) -> None:
        self.meter.stop()
        self.world.stop()

    def helps(self, error: AicalibError, *, opening: bool = False) -> None:
        """Hold an error to what an error must say: where, in which exchange (none on opening), and what to do."""
        port = re.search(r"127\.0\.0\.1\D+(\d+)", self.address)
        assert (port[1] if port is not None else self.address) in error.where, error
        assert error.advice, error
        sent = {data.strip().decode("ascii", "replace") for way, data in self.meter.exchanges if way == ">"}
        said = f"{error} {getattr(error, 'command', '')}"
        # A long message is quoted by its beginning.
        assert opening or any(message[:QUOTED] in said for message in {*sent, "the next message"} if message), error


@pytest.fixture(params=METERS, ids=[f"{name}-{wire}" for name, wire in METERS])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    one = Bench(*request.param)
    yield one
    one.close()


class Unsettled(Exception):
    """Every reading says that it is none: safe, and the session has to be opened anew."""


def settled(meter: Any) -> float:
    """Let auto range come to rest; return the active power then, W."""
    valid = 0
    for _ in range(30):
        reading = meter.read()
        valid = 0 if reading.active_power.status else valid + 1
        if not valid and hasattr(meter, "clear_protection"):
            meter.clear_protection()  # its alarms stay until somebody has looked and clears them
        if valid == 3:
            return float(reading.active_power)
    raise Unsettled("no three valid readings in succession among thirty")


def updates(reading: Any) -> float:
    """The update interval in force, s."""
    return float(reading.settings.update_interval or 0.25)


def opened_again(bench: Bench) -> Any:
    """The driver on the same address as soon as somebody answers there."""
    deadline = time.monotonic() + 10.0
    while True:
        try:
            return bench.open().open()
        except AicalibError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def works_again(bench: Bench, meter: Any) -> None:
    """The session goes on, or has ended and can be opened anew."""
    with contextlib.suppress(AicalibError, Unsettled):
        assert settled(meter) == pytest.approx(bench.meter.truth.active_power, rel=0.02)
        return
    meter.close()
    with opened_again(bench) as again:
        assert settled(again) == pytest.approx(bench.meter.truth.active_power, rel=0.02)


@pytest.mark.parametrize("fault", ["wrong_terminator", "double_terminator", "garble", "drop", "pieces", "header_on"])
def test_a_harmed_reply_is_an_error_that_helps_or_the_truth(bench: Bench, fault: str) -> None:
    with bench.open() as meter:
        settled(meter)
        bench.meter.inject({"kind": fault, "after": 1})
        for _ in range(3):
            try:
                reading = meter.read()
            except AicalibError as error:
                bench.helps(error)
                continue
            if not reading.active_power.status:
                assert float(reading.active_power) == pytest.approx(bench.meter.truth.active_power, rel=0.02)
        works_again(bench, meter)


@pytest.mark.parametrize("fault", ["locked", "refuse"])
def test_an_instrument_that_another_client_holds_says_so_and_is_free_later(bench: Bench, fault: str) -> None:
    bench.meter.inject({"kind": fault, "count": None})
    with pytest.raises(AicalibError) as failed:
        bench.open().open()
    bench.helps(failed.value, opening=True)
    bench.meter.faults.clear()
    with bench.open() as meter:
        works_again(bench, meter)


@pytest.mark.parametrize("name", [name for name, wire in METERS if wire == "serial"])
def test_a_serial_port_of_another_speed_is_an_error_that_names_the_speed(name: str) -> None:
    bench = Bench(name, "serial")
    with contextlib.closing(bench):
        with pytest.raises(AicalibError) as failed:
            bench.open(baud_rate=bench.kind.BAUD_RATE // 2).open()
        bench.helps(failed.value, opening=True)
        assert f"{bench.kind.BAUD_RATE // 2} baud" in failed.value.advice
        with bench.open() as meter:
            works_again(bench, meter)


def test_a_meter_that_reboots_in_mid_run_is_noticed(bench: Bench) -> None:
    with bench.open() as meter:
        settled(meter)
        bench.meter.inject({"kind": "reboot", "after": 1, "amount": 0.05})
        with pytest.raises(AicalibError) as failed:
            list(itertools.islice(iter(meter.read, None), 5))
        bench.helps(failed.value)
    with opened_again(bench) as again:
        works_again(bench, again)


def test_a_link_that_is_cut_and_restored_ends_safely(bench: Bench) -> None:
    with bench.open() as meter:
        settled(meter)
        bench.meter.inject("drop")
        bench.meter.inject({"kind": "refuse", "count": 2})
        for _ in range(4):
            with contextlib.suppress(AicalibError):
                reading = meter.read()
                if not reading.active_power.status:
                    assert float(reading.active_power) == pytest.approx(bench.meter.truth.active_power, rel=0.02)
        assert meter.release() is not None
        bench.meter.faults.clear()
        works_again(bench, meter)


def test_no_data_for_long_is_a_status_and_an_invalid_measurement_and_never_a_number(bench: Bench) -> None:
    with bench.open() as meter:
        settled(meter)
        bench.meter.inject({"kind": "no_data", "count": None})
        for _ in range(10):
            reading = meter.read()
        assert NO_DATA.get(bench.kind.DRIVER.name, Status.NO_DATA) in reading.active_power.status
        assert reading.active_power.value is None
        with pytest.raises(UnusableReading):
            float(reading.active_power)
        measurement = meter.measure_power(20 * updates(reading))
        assert measurement.value is None
        assert not measurement.validity
        assert measurement.validity.reasons
        bench.meter.faults.clear()
        meter.read()
        works_again(bench, meter)


@pytest.mark.parametrize("fault", ["range_refused", "panel_locked"])
def test_a_setting_that_is_refused_is_an_error_that_helps_and_the_session_goes_on(bench: Bench, fault: str) -> None:
    with bench.open() as meter:
        if bench.kind.DRIVER.name in HAS_NO_RANGES:
            with pytest.raises(NotSupported, match="voltage_range"):
                meter.configure(voltage_range=300.0)
            return
        one, other = RANGES.get(bench.kind.DRIVER.name, (300.0, 600.0))
        meter.configure(voltage_range=one)
        bench.meter.inject({"kind": fault, "count": None})
        with pytest.raises(AicalibError) as failed:
            meter.configure(voltage_range=other)
        bench.helps(failed.value)
        bench.meter.faults.clear()
        assert set(meter.configure(voltage_range=one).voltage_range) == {one}
        works_again(bench, meter)


FAULTS: dict[str, Callable[[Bench], bool]] = {
    "over_range": lambda bench: True,
    "range_edge": lambda bench: bench.kind.DRIVER.name not in SHOWS_POWER_ALONE,
    "peak_over": lambda bench: bench.kind.DRIVER.name not in SHOWS_NO_PEAKS,
    "spike": lambda bench: bench.kind.DRIVER.name not in SHOWS_NO_PEAKS,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_measurement_is_reported_instead_of_a_number(bench: Bench, fault: str) -> None:
    with bench.open() as meter:
        if meter.capabilities.auto_range:
            meter.configure(auto_range=True)
        settled(meter)
        bench.meter.inject({"kind": fault, "count": None})
        meter.read()
        reading = meter.read()
        if FAULTS[fault](bench):
            with pytest.raises(UnusableReading):
                float(reading.active_power)
        measurement = meter.measure_power(8 * updates(reading))
        assert not (FAULTS[fault](bench) and measurement.validity)
        bench.meter.faults.clear()
        settled(meter)
        works_again(bench, meter)
