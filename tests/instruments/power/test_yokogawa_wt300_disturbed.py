"""The WT300 driver against the simulated meter, when something goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    IdentityMismatch,
    InstrumentReportedError,
    UnusableReading,
)
from aicalib_hw.readings import Status
from aicalib_hw.trace import Trace

from ...pacing import Pace

REAL_TIME = {"world": {"rate": 1}}


@pytest.mark.parametrize(("fault", "status"), [("over_range", Status.OVER_RANGE), ("no_data", Status.NO_DATA)])
def test_a_spoiled_update_is_a_status_and_never_a_number(
    simulated_power_meter: Any, meter: YokogawaWT300, fault: str, status: Status
) -> None:
    simulated_power_meter.inject({"kind": fault, "count": None})
    reading = meter.read()
    assert status in reading.status
    assert reading.active_power.value is None
    with pytest.raises(UnusableReading):
        float(reading.active_power)
    measurement = meter.measure_power(2.0)
    assert measurement.value is None
    assert not measurement.validity


def test_one_update_beyond_the_range_makes_the_whole_mean_unusable(
    simulated_power_meter: Any, meter: YokogawaWT300
) -> None:
    simulated_power_meter.inject({"kind": "over_range", "after": 3})
    assert not meter.measure_power(5.0).validity


@pytest.mark.parametrize("simulated_power_meter", [{"world": {"rate": 0}}], indirect=True)
def test_two_hours_without_data_are_no_number_and_no_harm_to_what_follows(simulated_power_meter: Any) -> None:
    pace = Pace("WAIT?", 20.0)
    with YokogawaWT300(simulated_power_meter.address, trace=pace) as meter:
        meter.configure(voltage_range=300.0, current_range=20.0, update_interval=20.0)
        simulated_power_meter.inject({"kind": "no_data", "count": None})
        pace.begin(simulated_power_meter.world)
        measurement = meter.measure_power(7200.0)
        assert measurement.value is None
        assert measurement.evidence["power_W"] == [None] * 360
        assert "NO_DATA" in measurement.validity.reasons[0]
        simulated_power_meter.faults.clear()
        assert float(meter.read().active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.02)


WAYS: dict[str, Callable[[YokogawaWT300], object]] = {
    "read": lambda meter: meter.read(),
    "stream": lambda meter: list(meter.stream(duration=60.0)),
    "measure_power": lambda meter: meter.measure_power(60.0),
    "measure_energy": lambda meter: meter.measure_energy(60.0),
}


@pytest.mark.alone
@pytest.mark.parametrize("simulated_power_meter", [REAL_TIME], indirect=True)
@pytest.mark.parametrize("way", WAYS)
def test_abort_ends_what_waits_in_another_thread_within_a_second(meter: YokogawaWT300, way: str) -> None:
    meter.configure(update_interval=2.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(WAYS[way], meter)
        time.sleep(0.4)
        began = time.monotonic()
        meter.abort()
        assert isinstance(waiting.exception(10), Aborted)
        assert time.monotonic() - began < 1.0
    assert meter.release()
    assert meter.integration_state() == "RESET"


def test_release_may_come_twice_and_after_close(meter: YokogawaWT300) -> None:
    meter.start_integration()
    first = meter.release()
    assert any("integration" in action for action in first.actions)
    assert meter.release()
    assert meter.close()
    assert meter.close()
    assert meter.release().actions == ()


def test_an_integration_left_running_is_stopped_by_close(simulated_power_meter: Any) -> None:
    with YokogawaWT300(simulated_power_meter.address) as meter:
        meter.start_integration()
        assert meter.integration_state() == "START"
    with YokogawaWT300(simulated_power_meter.address) as meter:
        assert meter.integration_state() == "RESET"


def test_a_range_cannot_be_changed_while_the_integrator_runs(meter: YokogawaWT300) -> None:
    meter.start_integration()
    with pytest.raises(InstrumentReportedError) as refused:
        meter.configure(voltage_range=600.0)
    assert refused.value.code == 813
    meter.reset_integration()
    assert meter.configure(voltage_range=600.0).voltage_range == (600.0,)


def test_another_instrument_behind_the_address_is_not_configured(simulated_power_meter: Any) -> None:
    simulated_power_meter.inject({"kind": "wrong_identity", "count": None})
    with pytest.raises(IdentityMismatch):
        YokogawaWT300(simulated_power_meter.address).open()
    sent = [data.strip() for direction, data in simulated_power_meter.exchanges if direction == ">"]
    assert sent == [b"*IDN?"]


@pytest.mark.parametrize("kind", ["drop", "garble", "pieces", "double_terminator"])
def test_a_harmed_wire_gives_an_error_or_the_truth_and_then_works_again(
    simulated_power_meter: Any, meter: YokogawaWT300, kind: str
) -> None:
    simulated_power_meter.inject({"kind": kind, "after": 2})
    true = simulated_power_meter.truth.active_power
    for _ in range(3):
        try:
            assert float(meter.read().active_power) == pytest.approx(true, rel=0.02)
        except AicalibError:
            continue
    assert float(meter.read().active_power) == pytest.approx(true, rel=0.02)


def test_everything_on_the_wire_can_be_traced(simulated_power_meter: Any) -> None:
    trace = Trace()
    with YokogawaWT300(simulated_power_meter.address, trace=trace) as meter:
        meter.read()
    sent = [entry["text"].encode() for entry in trace.recent if entry["direction"] == "write"]
    heard = [data.strip() for direction, data in simulated_power_meter.exchanges if direction == ">"]
    assert sent == heard


@pytest.mark.parametrize("simulated_power_meter", [REAL_TIME], indirect=True)
def test_after_abort_in_a_long_update_the_meters_one_link_is_free_at_once(
    simulated_power_meter: Any, meter: YokogawaWT300
) -> None:
    """An update of 20 s holds the parser in :COMM:WAIT?; only the abort channel ends that wait in the instrument."""
    meter.configure(update_interval=20.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meter.read)
        time.sleep(0.5)
        began = time.monotonic()
        meter.abort()
        assert isinstance(waiting.exception(10), Aborted)
        assert meter.configure(update_interval=0.5).update_interval == 0.5
        assert time.monotonic() - began < 4.0
    assert float(meter.read().active_power) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.02)
