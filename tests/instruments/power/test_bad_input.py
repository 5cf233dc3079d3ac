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
PATIENT, HURRIED = 5.0, 0.1
"""s for one exchange: of a link that must work, and of one whose time-out is the point or what ends a fault."""
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


_FAST = {"update_interval": 0.01}
OPTIONS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("chroma-66204", "hioki-pw3336", "hioki-pw3390", "hioki-pw8001", "generic-meter"), _FAST),
    "tektronix-pa1000": {**_FAST, "selection_time": 0.05},
    "ptdaemon": {"update_interval": 0.25},
}
"""Of drivers that pace themselves by this host's clock, which here is slower than the world's."""
RANGES = {"zes-lmg600": (250.0, 400.0)}
"""V: two ranges of a family that has neither 300 V nor 600 V."""
SHOWS_POWER_ALONE = {"generic-meter"}
"""Families of which power alone is read: a wrong sign is not to be told from power given back."""
HAS_NO_RANGES = {"chroma-66204", "hioki-pw3390", "generic-meter", "tektronix-pa1000"}
"""Families of which no setting of ranges is confirmed."""
HAS_HEADERS = {name for name, _ in METERS if name.startswith(("yokogawa", "hioki", "chroma"))}
"""Families whose replies can carry headers."""

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

    @property
    def family(self) -> str:
        return str(self.kind.DRIVER.name)

    def open(self, *, timeout: float = PATIENT, **options: Any) -> Any:
        return self.kind(self.address, timeout=timeout, **OPTIONS.get(self.family, {}), **options)

    @contextlib.contextmanager
    def harmed(self, meter: Any, kind: str, *, after: int = 0, **fault: Any) -> Iterator[None]:
        """Let a fault strike, on a link that gives up soon; hold it to having struck; then be patient again."""
        self.meter.inject({"kind": kind, "after": after, **fault})
        meter._link.timeout = HURRIED
        yield
        meter._link.timeout = PATIENT
        assert all(self.meter.faults.strikes(kind) is None for _ in range(after + 1)), f"{kind} never struck"

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


WRONG_REPLIES: dict[str, dict[str, Any]] = {
    **{
        kind: {"after": 1}
        for kind in ("wrong_terminator", "double_terminator", "garble", "drop", "pieces", "header_on")
    },
    "delay": {"after": 2, "amount": 2 * HURRIED},
}


@pytest.mark.parametrize("fault", WRONG_REPLIES)
def test_a_harmed_or_late_reply_is_an_error_that_helps_or_the_truth(bench: Bench, fault: str) -> None:
    if fault == "header_on" and bench.family not in HAS_HEADERS:
        return
    with bench.open() as meter:
        settled(meter)
        with bench.harmed(meter, fault, **WRONG_REPLIES[fault]):
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
        bench.open(timeout=HURRIED).open()
    bench.helps(failed.value, opening=True)
    bench.meter.faults.clear()
    with bench.open() as meter:
        works_again(bench, meter)


@pytest.mark.parametrize("name", [name for name, wire in METERS if wire == "serial"])
def test_a_serial_port_of_another_speed_is_an_error_that_names_the_speed(name: str) -> None:
    bench = Bench(name, "serial")
    with contextlib.closing(bench):
        with pytest.raises(AicalibError) as failed:
            bench.open(timeout=HURRIED, baud_rate=bench.kind.BAUD_RATE // 2).open()
        bench.helps(failed.value, opening=True)
        assert f"{bench.kind.BAUD_RATE // 2} baud" in failed.value.advice
        with bench.open() as meter:
            works_again(bench, meter)


def test_a_meter_that_reboots_in_mid_run_is_noticed(bench: Bench) -> None:
    with bench.open() as meter:
        settled(meter)
        with bench.harmed(meter, "reboot", after=1, amount=0.05), pytest.raises(AicalibError) as failed:
            list(itertools.islice(iter(meter.read, None), 5))
        bench.helps(failed.value)
    with opened_again(bench) as again:
        works_again(bench, again)


def test_a_link_that_is_cut_and_restored_ends_safely(bench: Bench) -> None:
    with bench.open() as meter:
        settled(meter)
        bench.meter.inject({"kind": "refuse", "count": 2})
        with bench.harmed(meter, "drop"):
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
        for _ in range(4):
            reading = meter.read()
        assert NO_DATA.get(bench.family, Status.NO_DATA) in reading.active_power.status
        assert reading.active_power.value is None
        with pytest.raises(UnusableReading):
            float(reading.active_power)
        measurement = meter.measure_power(8 * updates(reading))
        assert measurement.value is None
        assert not measurement.validity
        assert measurement.validity.reasons
        bench.meter.faults.clear()
        meter.read()
        works_again(bench, meter)


OTHER_SETTINGS: dict[str, dict[str, Any]] = {
    "hioki-pw3390": {"elements": (1, 2)},
    "tektronix-pa1000": {"ct_ratio": 2.0},
}
"""What can be set on families without ranges."""


@pytest.mark.parametrize("fault", ["range_refused", "panel_locked"])
def test_a_setting_that_is_refused_is_an_error_that_helps_and_the_session_goes_on(bench: Bench, fault: str) -> None:
    with bench.open() as meter:
        if bench.family in HAS_NO_RANGES:
            with pytest.raises(NotSupported, match="voltage_range"):
                meter.configure(voltage_range=300.0)
            if fault == "panel_locked" and bench.family in OTHER_SETTINGS:
                bench.meter.inject({"kind": fault, "count": None})
                with pytest.raises(AicalibError) as failed:
                    meter.configure(**OTHER_SETTINGS[bench.family])
                bench.helps(failed.value)
                bench.meter.faults.clear()
            works_again(bench, meter)
            return
        one, other = RANGES.get(bench.family, (300.0, 600.0))
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
    "range_edge": lambda bench: bench.family not in SHOWS_POWER_ALONE,
    "peak_over": lambda bench: bench.family not in SHOWS_NO_PEAKS,
    "spike": lambda bench: bench.family not in SHOWS_NO_PEAKS,
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
        measurement = meter.measure_power(4 * updates(reading))
        assert not (FAULTS[fault](bench) and measurement.validity)
        bench.meter.faults.clear()
        assert settled(meter) == pytest.approx(bench.meter.truth.active_power, rel=0.02)
