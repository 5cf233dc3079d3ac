"""What every registered driver must do, whoever wrote it: one walk over the registry."""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw import registry, units
from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    InstrumentReportedError,
    NotOpen,
    NotSupported,
    OutOfRange,
    UnknownDriver,
)
from aicalib_hw.interfaces import ROLES, Instrument, ReleaseReport, Setting
from aicalib_hw.readings import Reading, Status
from aicalib_hw.trace import ReplayLink, Trace, read_trace

DRIVERS = sorted(registry.drivers())
WITH_SIMULATOR = [name for name in DRIVERS if registry.driver(name).DRIVER.simulator]
METERS = [name for name in WITH_SIMULATOR if registry.driver(name).DRIVER.role == "power_meter"]


def nowhere(kind: Any) -> str:
    """An address that this driver takes, of something that is not there."""
    schemes = kind.DRIVER.schemes
    if not schemes:
        return "TCPIP::192.0.2.1::INSTR"
    of_this_machine = {
        "ascend": "ascend://0/0",
        "cpu": "cpu://local",
        "fio": "fio:///var/tmp",
        "log": "log:///var/log/training.log?framework=megatron",
        "nvidia": "nvidia://0",
        "opencl": "opencl://0/0",
        "torch": "torch://local",
        "transformers": "transformers://local",
    }
    return of_this_machine.get(schemes[0], f"{schemes[0]}://192.0.2.1")


_watched: list[str] = []
_watching = threading.Event()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching.is_set() and event in ("socket.connect", "socket.getaddrinfo", "open", "subprocess.Popen"):
        _watched.append(f"{event} {arguments}")


sys.addaudithook(_audit)


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The running simulator of the driver that the test is parametrised with, on a fast world at half load.

    With "@quiet" behind the driver's name the platform draws next to nothing, so that no range is overloaded.
    """
    name, _, quiet = request.param.partition("@")
    platform = {"idle_power": 0.02, "full_power": 0.05} if quiet else {}
    world = registry.simulator(registry.WORLD).from_settings({"rate": 20, "platform": platform})
    instrument = registry.simulator(registry.driver(name).DRIVER.simulator)(world, name)
    world.start()
    instrument.start()
    world.run_load(0.5)
    yield instrument
    instrument.stop()
    world.stop()


def opened(name: str, simulated: Any, **options: Any) -> Any:
    return registry.driver(name)(simulated.address, **options)


quiet = pytest.mark.parametrize(("name", "simulated"), [(n, f"{n}@quiet") for n in METERS], indirect=["simulated"])
each = pytest.mark.parametrize(("name", "simulated"), [(n, n) for n in WITH_SIMULATOR], indirect=["simulated"])
both = pytest.mark.parametrize(("name", "simulated"), [(n, n) for n in METERS], indirect=["simulated"])


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_says_what_it_is(name: str) -> None:
    kind = registry.driver(name)
    info = kind.DRIVER
    assert issubclass(kind, ROLES[info.role])
    assert info.name == name
    assert info.summary
    assert info.manual
    assert info.wires
    assert info.schemes or info.models
    assert not inspect.isabstract(kind)


@pytest.mark.parametrize("name", DRIVERS)
def test_constructing_does_no_io_and_what_is_not_open_says_so(name: str) -> None:
    kind = registry.driver(name)
    _watched.clear()
    _watching.set()
    try:
        instrument = kind(nowhere(kind))
    finally:
        _watching.clear()
    assert _watched == []
    assert not instrument.is_open
    with pytest.raises(NotOpen):
        _ = instrument.identity
    assert instrument.release() == ReleaseReport()
    assert instrument.close()
    instrument.abort()


@pytest.mark.parametrize("name", DRIVERS)
def test_every_public_thing_is_documented_with_unit_errors_and_source(name: str) -> None:
    kind: type[Instrument] = registry.driver(name)
    module = inspect.getdoc(inspect.getmodule(kind)) or ""
    for manual in kind.DRIVER.manual.split(", "):
        assert manual in module, f"the module's docstring does not name {manual}"
    for member, value in inspect.getmembers(kind):
        if member.startswith("_") or member in ("DRIVER",):
            continue
        if callable(value) or isinstance(value, property):
            assert inspect.getdoc(value), f"{name}.{member} has no docstring"
    for member in ("read", "configure", "measure_power", "measure_energy", "measure_peak"):
        text = (inspect.getdoc(getattr(kind, member, None)) or "").lower()
        if hasattr(kind, member):
            assert any(word in text for word in ("w,", "j,", "v,", "flop/s", "hz", " s", "s)")), member
            assert any(word in text for word in ("raises", "invalid", "timeout")), member


@each
def test_it_opens_over_every_wire_that_its_simulator_serves(name: str, simulated: Any) -> None:
    info = registry.driver(name).DRIVER
    assert simulated.simulates == name
    assert set(simulated.wires) <= set(info.wires)
    with opened(name, simulated) as instrument:
        identity = instrument.identity
        # A program has no serial number, and a Xena's is a whole number: version or build bears the mark.
        told = [identity.extra.get(name, "") for name in ("build", "version")]
        marks = (identity.serial, identity.firmware, *told)
        assert any(mark.startswith(simulated.identity_serial) for mark in marks)
        assert identity.simulated
        assert info.matches(identity) or not info.models
        assert instrument.identify() == identity
    if info.by_name_only:
        with pytest.raises(UnknownDriver):
            hw.open_instrument(simulated.address)
        return
    with hw.open_instrument(simulated.address) as found:
        assert type(found) is registry.driver(name)


@quiet
def test_settings_come_back_as_set_or_are_refused_before_the_wire(name: str, simulated: Any) -> None:
    with opened(name, simulated) as meter:
        can = meter.capabilities
        wanted: dict[str, Any] = {
            "voltage_range": can.voltage_ranges,
            "current_range": can.current_ranges,
            "update_interval": can.update_intervals,
            "averaging": can.averaging_counts,
            "crest_factor": can.crest_factors,
            "line_filter": (True, False) if can.line_filter else None,
        }
        for setting, values in wanted.items():
            for value in values or ():
                meter.configure(crest_factor="3") if setting.endswith("_range") and can.crest_factors else None
                got = getattr(meter.configure(**{setting: value}), setting)
                assert got == value or set(got) == {value}, setting
        impossible = {"current_range": 12345.0, "update_interval": 0.123, "averaging": 7}
        for setting in [setting for setting in impossible if not wanted[setting]]:
            try:
                got = getattr(meter.configure(**{setting: impossible[setting]}), setting)
            except (NotSupported, InstrumentReportedError):
                continue
            assert got == impossible[setting] or set(got) == {impossible[setting]}, setting
        sent = len(simulated.exchanges)
        for setting in [setting for setting in impossible if wanted[setting]]:
            with pytest.raises(OutOfRange) as refused:
                meter.configure(**{setting: impossible[setting]})
            assert str(impossible[setting]).rstrip("0").rstrip(".") in str(refused.value)
        writes = [text for direction, text in simulated.exchanges[sent:] if direction == ">" and b"?" not in text]
        assert writes == []


@both
def test_every_reading_names_unit_status_window_and_source(name: str, simulated: Any) -> None:
    with opened(name, simulated) as meter:
        reading = meter.read()
        found = [
            getattr(element, field.name)
            for element in (*reading.elements, reading.total)
            for field in fields(element)
            if getattr(element, field.name) is not None
        ]
        assert found
        for one in found:
            assert isinstance(one, Reading)
            assert units.require(one.unit)
            assert one.source == meter.identity
            assert one.channel
            assert one.raw
            assert one.window.duration > 0
            assert (one.value is None) <= bool(one.status)
        # On a busy host an update may pass between two readings, again and again.
        assert any(Status.STALE in meter.read(fresh=False).active_power.status for _ in range(20))


@each
def test_the_snapshot_gives_every_setting_with_time_and_origin(name: str, simulated: Any) -> None:
    with opened(name, simulated) as instrument:
        snapshot = instrument.snapshot()
    assert snapshot
    for setting in snapshot.values():
        assert isinstance(setting, Setting)
        assert setting.origin in ("instrument", "driver", "fixed")
        assert setting.at.utc_ns > 0


@both
@pytest.mark.parametrize("call", ["read", "stream", "measure_power", "measure_energy"])
def test_abort_from_another_thread_ends_every_blocking_call_within_a_second(
    name: str, simulated: Any, call: str
) -> None:
    calls: dict[str, Callable[[Any], object]] = {
        "read": lambda meter: [meter.read() for _ in range(10_000)],
        "stream": lambda meter: list(meter.stream()),
        "measure_power": lambda meter: meter.measure_power(36_000.0),
        "measure_energy": lambda meter: meter.measure_energy(36_000.0),
    }
    with opened(name, simulated) as meter:
        if call == "measure_energy" and not meter.capabilities.energy:
            with pytest.raises(NotSupported):
                meter.measure_energy(36_000.0)
            return
        if meter.capabilities.update_intervals:
            meter.configure(update_interval=max(meter.capabilities.update_intervals))
        ended: list[tuple[float, BaseException]] = []

        def block() -> None:
            try:
                calls[call](meter)
            except BaseException as error:  # noqa: BLE001 - carried to the test
                ended.append((time.monotonic(), error))

        before = len(simulated.exchanges)
        thread = threading.Thread(target=block)
        thread.start()
        within = time.monotonic() + 30.0
        while len(simulated.exchanges) == before and time.monotonic() < within:
            time.sleep(0.01)
        assert len(simulated.exchanges) > before, "the call has sent nothing"
        time.sleep(0.1)  # past what it sets up, into its wait; an abort before that has to end it as well
        asked = time.monotonic()
        meter.abort()
        thread.join(5.0)
        ((at, error),) = ended
        assert at - asked < 1.0
        assert isinstance(error, Aborted), repr(error)
        assert meter.identify() == meter.identity


@each
def test_release_and_close_twice_are_harmless(name: str, simulated: Any) -> None:
    instrument = opened(name, simulated).open()
    assert instrument.release()
    assert instrument.release()
    assert instrument.close()
    assert instrument.close()
    assert instrument.release() == ReleaseReport()
    with instrument:
        assert instrument.identity.simulated


@both
def test_a_traced_session_replays_without_the_instrument(name: str, simulated: Any, tmp_path: Path) -> None:
    kind = registry.driver(name)
    with Trace(tmp_path / "trace.jsonl") as trace, opened(name, simulated, trace=trace) as instrument:
        ranges = {"voltage_range": 300.0, "current_range": 20.0} if instrument.capabilities.voltage_ranges else {}
        then = instrument.configure(**ranges)
        value = instrument.read().active_power.value
    link = ReplayLink(read_trace(tmp_path / "trace.jsonl"))
    with kind("replay", link=link) as again:
        assert again.configure(**ranges) == then
        assert again.read().active_power.value == value
    assert link.exhausted


@both
def test_nothing_but_this_projects_errors_comes_out_when_the_instrument_vanishes(name: str, simulated: Any) -> None:
    with opened(name, simulated, timeout=0.5) as instrument:
        simulated.stop()
        with pytest.raises(AicalibError) as failed:
            instrument.read()
        assert failed.value.where
        has_something_to_undo = hasattr(instrument, "integration_state")
        report = instrument.release()
    assert not report.actions
    assert bool(report.failures) >= has_something_to_undo
