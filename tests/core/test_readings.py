"""Readings, measurements and their JSON round trip."""

from __future__ import annotations

import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import DefinitionMismatch, InstrumentReportedError, UnusableReading, UsageError
from aicalib_hw.identity import Certificate, CertificatePoint, Identity
from aicalib_hw.interfaces import Setting
from aicalib_hw.readings import (
    Component,
    Instant,
    Measurement,
    Reading,
    Run,
    Series,
    Status,
    Window,
    from_plain,
    to_plain,
)

METER = Identity("YOKOGAWA", "WT310E", "C2PH13047V", "F1.03", "TCPIP::192.0.2.1::INSTR")
WINDOW = Window(Instant(1_700_000_000_000_000_000, 5), Instant(1_700_000_000_500_000_000, 500_000_005), "one update")


def reading(value: float | int | None, status: Status = Status.VALID) -> Reading:
    return Reading(value, "W", status, WINDOW, METER, "P1")


def measurement(definition: str = "power/active/mean", **changes: object) -> Measurement:
    values: dict[str, object] = {"quantity": "power", "value": 3.0, "unit": "W", "window": WINDOW, "identity": METER}
    return Measurement(definition=definition, **(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [status for status in Status if status])
def test_only_a_valid_reading_is_a_number(status: Status) -> None:
    assert float(reading(12.5)) == 12.5
    with pytest.raises(UnusableReading, match=str(status.name)):
        float(reading(12.5, status))
    with pytest.raises(UnusableReading):
        reading(None, status).to("kW")


@pytest.mark.parametrize("marker", [9.91e37, 9.9e37, -9.9e37, math.inf, -math.inf, math.nan])
def test_a_marker_can_never_become_a_value(marker: float) -> None:
    with pytest.raises(UsageError, match="marker"):
        reading(marker, Status.OVER_RANGE)


def test_a_reading_without_value_cannot_claim_to_be_valid() -> None:
    with pytest.raises(UsageError):
        reading(None)


def test_a_reading_converts_only_within_its_dimension() -> None:
    assert reading(1500.0).to("kW") == 1.5
    with pytest.raises(UsageError):
        reading(1500.0).to("J")


def test_measurements_of_different_definition_are_never_compared() -> None:
    sustained = measurement("flop/fp32-accumulate-fp32/vector/sustained", unit="FLOP/s", quantity="compute")
    peak = measurement("flop/fp32-accumulate-fp32/vector/peak", unit="FLOP/s", quantity="compute")
    with pytest.raises(DefinitionMismatch):
        sustained.compared_with(peak)
    assert sustained.compared_with(measurement(sustained.definition, unit="kFLOP/s")) == pytest.approx(1e-3)


def test_a_measurement_must_be_in_a_unit_of_its_definition() -> None:
    with pytest.raises(UsageError, match="stated in W"):
        measurement(unit="J")
    with pytest.raises(UsageError, match="unknown definition"):
        measurement("power/whatever")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"half_width": 1.0, "standard_uncertainty": 1.0},
        {"half_width": -1.0},
        {"half_width": math.nan},
        {"half_width": math.inf},
        {"half_width": 1.0, "relative": True},
    ],
)
def test_a_component_without_a_usable_size_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Component("range", "B", "W", "manual", **wrong)  # type: ignore[arg-type]


def test_instants_of_different_clocks_have_no_duration() -> None:
    with pytest.raises(UsageError, match="different clocks"):
        Instant(0, 1, "meter").seconds_since(Instant(0, 0))


@pytest.mark.parametrize("mark", [{"serial": "SIM0001"}, {"extra": {"uuid": "SIM-1"}}, {"extra": {"version": "SIM 1"}}])
def test_the_mark_on_the_wire_makes_an_identity_simulated(mark: dict[str, object]) -> None:
    values: dict[str, object] = {"maker": "m", "model": "x", "serial": "", "firmware": "", "address": "a"}
    assert Identity(**(values | mark)).simulated  # type: ignore[arg-type]
    assert not Identity(**values).simulated  # type: ignore[arg-type]
    assert not METER.simulated


def round_trip(value: object) -> object:
    return from_plain(type(value), json.loads(json.dumps(to_plain(value), allow_nan=False)))


def test_every_kind_of_data_survives_json() -> None:
    component = Component("range", "B", "W", "manual p. 7", half_width=3.0, shared="meter")
    whole = measurement(
        value=2**70,
        runs=(Run(1.5, WINDOW, evidence={"n": 7}), Run(None, WINDOW, used=False, reasons=("peak over",))),
        components=(component,),
        evidence={"count": 2**80, "text": "12", "nested": [1, 2.5, None, True, {"a": "b"}]},
        settings={"voltage_range": 300.0},
        load=0.25,
    )
    certificate = Certificate(
        "C-1",
        "institute",
        "2026-01-01",
        "2027-01-01",
        "SI",
        (CertificatePoint("power", 600.0, 300.0, -0.1, 0.2, 2, "W"),),
    )
    series = Series(
        {"unit": "W"}, (1, 2**62), (1.5, None), (Status.VALID, Status.STALE | Status.PEAK_OVER), "interval_mean"
    )
    setting = Setting(True, "1", Instant.now(), "instrument")
    for value in (whole, certificate, series, setting, reading(3.5), reading(None, Status.NO_DATA), reading(2**60)):
        assert round_trip(value) == value


def test_counts_travel_as_decimal_text() -> None:
    assert to_plain(measurement(value=2**70))["value"] == str(2**70)


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_evidence_keeps_the_type_of_every_value(count: int, number: float, text: str) -> None:
    evidence = {"count": count, "number": number, "text": text}
    back = round_trip(measurement(evidence=evidence))
    assert isinstance(back, Measurement)
    assert {key: (type(item), item) for key, item in back.evidence.items()} == {
        key: (type(item), item) for key, item in evidence.items()
    }


def test_a_series_must_name_its_unit_and_be_of_one_length() -> None:
    with pytest.raises(UsageError):
        Series({}, (), (), (), "instant")
    with pytest.raises(UsageError):
        Series({"unit": "W"}, (1,), (), (), "instant")


def test_errors_say_all_four_things_and_survive_pickling() -> None:
    error = InstrumentReportedError(813, "Invalid operation", ":INP:VOLT:RANG 150", where="meter", advice="reset first")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.code, again.command) == (813, ":INP:VOLT:RANG 150")
    for part in ("813", "Invalid operation", "meter", "reset first"):
        assert part in str(error)


def test_what_is_printed_is_short_and_has_unit_status_and_time() -> None:
    moment = Instant(1_700_000_000_123_456_789, 0)
    window = Window(moment, moment, "one update")
    meter = Identity("Yokogawa", "WT310E", "C3", "F1", "TCPIP::192.0.2.7::INSTR")
    assert str(Reading(412.3456789, "W", Status.VALID, window, meter)) == "412.346 W, 2023-11-14T22:13:20.123Z"
    assert str(Reading(None, "W", Status.OVER_RANGE, window, meter)) == "OVER_RANGE, 2023-11-14T22:13:20.123Z"
    assert str(Reading(0.98, "1", Status.VALID, window, meter)) == "0.98, 2023-11-14T22:13:20.123Z"


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (Identity("fio", "fio", "", "3.33", "fio:///tmp"), "fio"),
        (Identity("", "Megatron-LM", "", "", "log:///a"), "Megatron-LM"),
        (Identity("SIM0.11.0", "OpenAI-compatible service", "", "SIM0.11.0", "o"), "OpenAI-compatible service"),
        (Identity("Yokogawa", "WT310E", "C3", "F1", "t"), "Yokogawa WT310E C3"),
    ],
)
def test_who_it_is_is_said_once(identity: Identity, said: str) -> None:
    assert str(identity) == said
