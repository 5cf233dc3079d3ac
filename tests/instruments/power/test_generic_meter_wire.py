"""The reader of unknown IEEE 488.2 instruments: what it is told, and that it claims nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from aicalib_hw.instruments.power.generic_meter import GenericMeter

from aicalib_hw import registry
from aicalib_hw.errors import NotSupported, ProtocolError, UnitError, UnknownDriver, UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.readings import Status

from .typed_link import TypedLink


def meter(reply: Any = "+1.234500E+00", **keywords: Any) -> GenericMeter:
    link = TypedLink({"*IDN?": "ACME,P1,17,2.0", "*ESR?": "0", "MEASure:POWer?": reply})
    return GenericMeter("typed", link=link, **{"query": "MEASure:POWer?", **keywords}).open()


@pytest.mark.parametrize(("unit", "watts"), [("W", 1.2345), ("kW", 1234.5), ("mW", 0.0012345)])
def test_the_answer_is_the_power_in_the_unit_that_was_said(unit: str, watts: float) -> None:
    reading = meter(unit=unit).read(fresh=False)
    assert float(reading.active_power) == pytest.approx(watts)
    assert reading.active_power.unit == "W"
    assert reading.active_power.resolution == pytest.approx(1e-6 * watts / 1.2345)


def test_what_it_cannot_know_has_no_value_and_is_not_provided() -> None:
    generic = meter()
    reading = generic.read(fresh=False)
    assert (reading.voltage.status, reading.current.status) == (Status.NO_DATA, Status.NO_DATA)
    assert reading.status == Status.VALID
    can = generic.capabilities
    assert (can.energy, can.uncertainty, can.voltage_ranges, can.auto_range, can.scaling) == (None,) * 5
    assert set(can.notes) >= {"ranges", "energy", "uncertainty", "missed"}
    for call in (
        lambda: generic.components(reading),
        lambda: generic.measure_energy(1.0),
        lambda: generic.configure(voltage_range=300.0),
    ):
        with pytest.raises(NotSupported):
            call()


def test_a_value_that_does_not_change_cannot_be_told_from_an_old_one() -> None:
    assert meter(update_interval=0.005).read().status == Status.STALE


@pytest.mark.parametrize(("reply", "status"), [("9.91E37", Status.NO_DATA), ("-9.9E37", Status.OVER_RANGE)])
def test_the_markers_of_scpi_are_statuses(reply: str, status: Status) -> None:
    assert meter(reply).read(fresh=False).status == status


@pytest.mark.parametrize("reply", ["1.0,2.0", "1.0;2.0", "about 3", ""])
def test_an_answer_that_is_not_one_number_is_refused(reply: str) -> None:
    with pytest.raises(ProtocolError):
        meter(reply).read(fresh=False)


def test_a_question_is_one_and_a_unit_is_one_of_power() -> None:
    with pytest.raises(UsageError, match="no question"):
        GenericMeter("typed", query="INITiate")
    with pytest.raises(UsageError, match="no unit of power"):
        GenericMeter("typed", query="P?", unit="J")
    with pytest.raises(UnitError):
        GenericMeter("typed", query="P?", unit="horse")


def test_it_is_never_chosen_for_an_instrument_that_nobody_knows() -> None:
    with pytest.raises(UnknownDriver):
        registry.driver_for_identity(Identity("ACME", "P1", "17", "2.0", "TCPIP::192.0.2.1::INSTR"))
