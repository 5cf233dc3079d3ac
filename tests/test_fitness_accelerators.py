"""What every registered accelerator must do besides: those that are here for real, and the others simulated."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest

from aicalib_hw import definitions, registry, units
from aicalib_hw.errors import Aborted, AicalibError, ConnectionLost, LockedByOther, NotSupported, UsageError
from aicalib_hw.interfaces import PeakMeasurement, TelemetryReading
from aicalib_hw.readings import Reading

ACCELERATORS = [name for name in sorted(registry.drivers()) if registry.driver(name).DRIVER.role == "accelerator"]
SIMULATED = [name for name in ACCELERATORS if registry.driver(name).DRIVER.simulator]
PRECISIONS = ("fp64", "fp32", "tf32", "hf32", "fp16", "bf16", "fp8e4m3", "int8")
PATHS = ("vector", "matrix", "gemm")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What stands behind the address of a driver: its simulator in real time, None for the real thing."""
    simulator = registry.driver(request.param).DRIVER.simulator
    if not simulator:
        yield None
        return
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1, "seed": 2})
    made = registry.simulator(simulator)(world, request.param)
    world.start()
    made.start()
    yield made
    made.stop()
    world.stop()


@pytest.fixture
def device(place: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    name = request.node.callspec.params["place"]
    address = place.address if place is not None else registry.driver(name).local_addresses()[0]
    with registry.driver(name)(address) as opened:
        if hasattr(opened, "configure"):
            opened.configure(edge=1024)
        yield opened


each = pytest.mark.parametrize("place", ACCELERATORS, indirect=True)
simulated = pytest.mark.parametrize("place", SIMULATED, indirect=True)


def some_support(device: Any) -> Any:
    """The first thing that it can compute and that its simulator, if it has one, carries out."""
    return next(one for one in device.capabilities.supports if one.implementation != "wgmma")


@each
def test_capabilities_agree_with_behaviour(device: Any) -> None:
    can = device.capabilities
    assert can.supports
    for precision in PRECISIONS:
        for path in PATHS:
            if can.supported(precision, path) is not None:
                peak = device.theoretical_peak(precision, path=path)
                assert units.require(peak.unit)
                assert peak.source
                assert peak.value is None or peak.value > 0
            else:
                for refused in (device.theoretical_peak, device.measure_peak):
                    with pytest.raises(NotSupported) as error:
                        refused(precision, path=path)
                    assert error.value.where


@each
def test_every_reading_names_unit_status_window_and_source(device: Any) -> None:
    provided = device.capabilities.telemetry
    if not provided:
        with pytest.raises(NotSupported):
            device.read()
        return
    for reading in (device.read(), *device.stream(interval=0.02, duration=0.04)):
        assert isinstance(reading, TelemetryReading)
        for name in (one.name for one in fields(reading)):
            found = getattr(reading, name)
            if isinstance(found, Reading):
                assert name in provided
                assert units.require(found.unit)
                assert found.source == device.identity
                assert found.channel
                assert (found.value is None) <= bool(found.status)


@each
def test_a_rate_says_what_was_counted_and_how_well_it_is_known(device: Any) -> None:
    support = some_support(device)
    result = device.measure_peak(support.precision, path=support.path, duration=0.4)
    assert isinstance(result, PeakMeasurement)
    for measured in (result.sustained, result.peak):
        assert measured.definition in definitions.DEFINITIONS
        assert measured.unit == definitions.DEFINITIONS[measured.definition].unit
        assert support.precision in measured.definition
        assert support.accumulator in measured.definition
        assert measured.settings["precision"] == support.precision
        assert measured.components
        assert measured.identity == device.identity
        assert measured.runs
    assert result.sustained.definition != result.peak.definition
    assert isinstance(result.sustained.evidence["operations"], int)


@each
def test_settings_come_back_as_set_or_are_refused(device: Any) -> None:
    if not hasattr(device, "configure"):
        return
    for edge in (16, 2048):
        assert device.configure(edge=edge)["edge"].value == edge
    for impossible in (0, 8, 1000.5, -16):
        with pytest.raises(UsageError):
            device.configure(edge=impossible)
    assert device.snapshot()["edge"].value == 2048


@each
@pytest.mark.parametrize("call", ["stream", "measure_peak", "prepare", "wait"])
def test_abort_from_another_thread_ends_every_blocking_call_within_a_second_and_nothing_runs(
    device: Any, place: Any, call: str
) -> None:
    support = some_support(device)
    measure = {"precision": support.precision, "path": support.path, "duration": 600.0}
    if call == "stream" and not device.capabilities.telemetry:
        return
    if call == "prepare" and hasattr(device, "configure"):
        device.configure(edge=16_384)
    calls: dict[str, Callable[[], object]] = {
        "stream": lambda: list(device.stream(interval=0.05)),
        "measure_peak": lambda: device.measure_peak(**measure),
        "prepare": lambda: device.measure_peak(**measure),
        "wait": lambda: device.measure_peak(**measure, ready=lambda seconds: threading.Event().wait(seconds)),
    }
    ended: list[tuple[float, BaseException | None]] = []

    def block() -> None:
        try:
            calls[call]()
        except BaseException as error:  # noqa: BLE001 - carried to the test
            ended.append((time.monotonic(), error))
        else:
            ended.append((time.monotonic(), None))

    thread = threading.Thread(target=block)
    thread.start()
    time.sleep(0.1 if call == "prepare" else 0.6)
    asked = time.monotonic()
    device.abort()
    thread.join(10.0)
    ((at, error),) = ended
    assert at - asked < 1.0
    assert isinstance(error, Aborted) or call == "stream", repr(error)
    assert device.identify() == device.identity
    if place is not None:
        busy = place.truth.busy
        time.sleep(0.1)
        assert place.truth.busy == busy


@each
def test_it_works_on_until_the_others_are_warm_and_only_then_begins_what_counts(device: Any, place: Any) -> None:
    support = some_support(device)
    asked, worked, told_at = [], [], 0

    def ready(seconds: float) -> bool:
        nonlocal told_at
        asked.append(time.monotonic_ns())
        worked.append(place.truth.busy if place is not None else time.process_time())
        if asked[-1] - asked[0] < 400_000_000:
            return threading.Event().wait(seconds)
        told_at = time.monotonic_ns()
        return True

    result = device.measure_peak(support.precision, path=support.path, duration=0.8, ready=ready)
    assert len(asked) > 1
    assert worked[-1] > worked[0]
    assert result.sustained.window.start.monotonic_ns >= told_at > 0


@each
def test_a_load_ends_with_release_and_only_one_thing_computes_at_a_time(device: Any) -> None:
    if not device.capabilities.load:
        return
    support = some_support(device)
    with device.run_load(0.5, duration=None, precision=support.precision) as load:
        assert load.running
        with pytest.raises(LockedByOther):
            device.measure_peak(support.precision, path=support.path)
        assert device.release().actions
        assert not load.running
    assert not device.release().actions


@simulated
def test_nothing_but_this_projects_errors_comes_out_when_the_device_is_lost(device: Any, place: Any) -> None:
    support = some_support(device)
    failed: list[BaseException] = []

    def measure() -> None:
        try:
            device.measure_peak(support.precision, path=support.path, duration=600.0)
        except BaseException as error:  # noqa: BLE001 - carried to the test
            failed.append(error)

    thread = threading.Thread(target=measure)
    thread.start()
    time.sleep(0.8)
    place.inject("lost")
    thread.join(10.0)
    (error,) = failed
    assert isinstance(error, ConnectionLost), repr(error)
    assert error.code is not None
    assert error.where
    for again in (device.read, device.identify, lambda: device.measure_peak(support.precision, path=support.path)):
        with pytest.raises(AicalibError) as refused:
            again()
        assert refused.value.where
    assert not device.release().actions
