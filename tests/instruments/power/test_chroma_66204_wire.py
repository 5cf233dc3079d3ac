"""The Chroma 66203/66204 driver against the wire as the manual shows it, typed by hand: no simulator takes part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aicalib_hw.instruments.power.chroma_66204 import Chroma66204

from aicalib_hw.errors import (
    AicalibError,
    IdentityMismatch,
    InstrumentReportedError,
    NotSupported,
    OutOfRange,
    ProtocolError,
    UnusableReading,
)
from aicalib_hw.readings import Status

from .typed_link import TypedLink

ITEMS = "V,I,W,VA,VAR,PF,FREQ"
GOOD = "230.00,10.000,2300.0,2300.0,0.0,1.0000,50.00"
INVALID = "-3,-3,-3,-3,-3,-3,-3"


def meter(answers: Mapping[str, Any] | None = None, **keywords: Any) -> tuple[Chroma66204, TypedLink]:
    """An open driver on a typed 66204 with header off and commas, as the driver asks for."""
    link = TypedLink(
        {
            "*IDN?": "Chroma ATE,66204,66204M000066,1.00,1.00,1.00",
            "*ESR?": "0",
            "PROTection?": "0,0,0,0",
            "CHANnel?": "1",
            "STATus:CHANnel:CONDition?": "0",
            f"MEASure? {ITEMS}": GOOD,
            f"FETCh? {ITEMS}": GOOD,
            **(answers or {}),
        }
    )
    return Chroma66204("typed", link=link, **keywords).open(), link


def test_the_identity_of_the_manual_has_its_firmware_and_the_rest_as_extras() -> None:
    chroma, link = meter()
    identity = chroma.identity
    assert (identity.maker, identity.model, identity.serial) == ("Chroma ATE", "66204", "66204M000066")
    assert dict(identity.extra) == {"fpga": "1.00", "pcb": "1.00"}
    assert chroma.capabilities.elements == 4
    assert "SYSTem:HEADer OFF" in link.sent
    assert "SYSTem:TRANsmit:SEParator 0" in link.sent


def test_values_are_acquired_and_have_their_units() -> None:
    chroma, link = meter()
    reading = chroma.read()
    assert f"MEASure? {ITEMS}" in link.sent
    assert float(reading.active_power) == 2300.0
    assert reading.apparent_power is not None
    assert reading.apparent_power.unit == "VA"
    assert reading.missed is None
    assert reading.active_power.resolution == pytest.approx(0.1)
    assert chroma.read(fresh=False).status == Status.STALE


@pytest.mark.parametrize(("marker", "status"), [("-1", Status.NOT_SETTLED), ("-2", Status.NOT_SETTLED)])
def test_a_result_that_is_not_complete_is_a_status(marker: str, status: Status) -> None:
    chroma, _ = meter({f"MEASure? {ITEMS}": ",".join([marker] * 7)})
    reading = chroma.read()
    assert reading.active_power.value is None
    assert reading.status == status


def test_an_over_range_is_a_status_and_stays_until_the_alarm_is_cleared() -> None:
    chroma, link = meter(
        {f"MEASure? {ITEMS}": [INVALID, GOOD, GOOD], "PROTection?": ["0,0,0,0", "2,0,0,0", "2,0,0,0", "0,0,0,0"]}
    )
    assert chroma.read().status == Status.OVER_RANGE
    assert chroma.read().status == Status.OVER_RANGE
    chroma.clear_protection()
    assert link.sent[-2] == "PROTection:CLEar"
    assert chroma.read().status == Status.VALID


@pytest.mark.parametrize("power", ["-1.0000", "-2.0000", "-3.0000"])
def test_a_real_small_negative_power_is_a_number_where_nothing_speaks_against_it(power: str) -> None:
    chroma, _ = meter({f"MEASure? {ITEMS}": f"230.00,0.1000,{power},23.000,22.900,-0.0435,50.00"})
    reading = chroma.read()
    assert float(reading.active_power) == float(power)
    assert reading.status == Status.VALID


@pytest.mark.parametrize(
    ("values", "alarm"),
    [
        ("230.00,0.1000,-3,23.000,22.900,-0.0435,50.00", "0,0,0,0"),
        ("230.00,0.1000,-3.0000,23.000,22.900,-0.0435,50.00", "1,0,0,0"),
        ("-3.00,-3.0000,-3.0000,-3.000,-3.000,-3.0000,-3.00", "0,0,0,0"),
    ],
)
def test_the_same_digits_are_a_marker_where_something_does(values: str, alarm: str) -> None:
    chroma, _ = meter({f"MEASure? {ITEMS}": values, "PROTection?": alarm})
    reading = chroma.read()
    assert reading.active_power.value is None
    assert Status.OVER_RANGE in reading.active_power.status


def test_an_over_current_relay_is_told_from_an_over_range() -> None:
    chroma, _ = meter({"STATus:CHANnel:CONDition?": "4"})
    assert chroma.read().status == Status.OVER_RANGE | Status.INVALID


def test_chosen_channels_are_read_one_after_another_and_summed_with_their_sign() -> None:
    back = "230.00,2.000,-460.0,460.0,0.0,-1.0000,50.00"
    chroma, link = meter({"CHANnel?": ["2", "4"], f"MEASure? {ITEMS}": [GOOD, back]})
    assert chroma.configure(elements=(2, 4)).elements == (2, 4)
    reading = chroma.read()
    assert [text for text in link.sent if text.startswith("CHANnel ")] == ["CHANnel 2", "CHANnel 4"]
    assert float(reading.active_power) == 1840.0
    assert float(reading.total.current) == 6.0
    assert reading.elements[1].active_power.channel == "W, channel 4"


def test_values_of_a_channel_that_another_program_selected_are_refused() -> None:
    chroma, _ = meter({"CHANnel?": "3"})
    with pytest.raises(ProtocolError, match="channel 3"):
        chroma.read()


def test_the_alarm_of_another_channel_does_not_touch_a_reading() -> None:
    assert meter({"PROTection?": "0,2,0,0"})[0].read().status == Status.VALID


@pytest.mark.parametrize("reply", ["", "230.00;10.000;2300.0", GOOD + ",1", GOOD.replace("2300.0", "x", 1), "nan" * 7])
def test_a_reply_that_is_no_set_of_values_is_refused(reply: str) -> None:
    with pytest.raises(ProtocolError):
        meter({f"MEASure? {ITEMS}": reply})[0].read()


def test_a_negative_rms_value_is_shown_by_a_meter_that_has_lost_its_range_and_is_no_number() -> None:
    reading = meter({f"MEASure? {ITEMS}": "230.00,-15.173,-3422.2,3422.2,0.0,-1.0000,50.00"})[0].read()
    assert reading.status == Status.INVALID
    with pytest.raises(UnusableReading):
        float(reading.active_power)


@pytest.mark.parametrize(
    ("setting", "refused"),
    [
        ({"voltage_range": 300.0}, NotSupported),
        ({"current_range": 2.0}, NotSupported),
        ({"ct_ratio": 100.0}, NotSupported),
        ({"auto_range": True}, NotSupported),
        ({"wiring": "3P4W"}, NotSupported),
        ({"elements": (5,)}, OutOfRange),
        ({"elements": ()}, OutOfRange),
        ({"elements": (1, 1)}, OutOfRange),
    ],
)
def test_what_is_not_confirmed_is_refused_before_the_wire(
    setting: Mapping[str, Any], refused: type[AicalibError]
) -> None:
    chroma, link = meter()
    del link.sent[:]
    with pytest.raises(refused):
        chroma.configure(**setting)
    assert link.sent == []


def test_energy_and_accuracy_are_not_offered_and_capabilities_say_why() -> None:
    chroma, _ = meter()
    assert (chroma.capabilities.energy, chroma.capabilities.uncertainty) == (None, None)
    assert chroma.capabilities.notes["energy"].startswith("no facts")
    for call in (
        chroma.start_integration,
        lambda: chroma.measure_energy(10.0),
        lambda: chroma.components(chroma.read()),
    ):
        with pytest.raises(NotSupported):
            call()


def test_a_mean_without_known_accuracy_says_so() -> None:
    values = [GOOD.replace("2300.0", f"{power:.1f}", 1) for power in range(2300, 2309)]
    chroma, _ = meter({f"FETCh? {ITEMS}": values}, update_interval=0.01)
    mean = chroma.measure_power(0.03)
    assert mean.value == pytest.approx(2302.0)
    assert "nothing may be calibrated" in mean.evidence["accuracy"]


def test_distortion_has_the_unit_that_was_said() -> None:
    chroma, _ = meter({"FETCh? THDV,THDI": "1.23,-3"}, distortion_unit="%")
    ((voltage, current),) = chroma.total_harmonic_distortion()
    assert (float(voltage), voltage.unit) == (1.23, "%")
    with pytest.raises(UnusableReading):
        float(current)


def test_a_command_that_the_instrument_does_not_know_is_named() -> None:
    chroma, link = meter()
    link.answers["*ESR?"] = ["32"]
    with pytest.raises(InstrumentReportedError, match="PROTection:CLEar"):
        chroma.clear_protection()


def test_another_makers_meter_is_refused() -> None:
    link = TypedLink({"*IDN?": "HIOKI,PW3336,123456789,V1.00", "*ESR?": "0"})
    with pytest.raises(IdentityMismatch):
        Chroma66204("typed", link=link).open()


def test_channels_that_are_chosen_while_a_stream_runs_are_read_from_the_next_update_on() -> None:
    shown = [GOOD.replace("2300.0", f"230{n}.0", 1) for n in range(9)]
    chroma, _ = meter({f"FETCh? {ITEMS}": shown, "CHANnel?": ["1", "1", "1", "2", "1", "2"]}, update_interval=0.01)
    stream = chroma.stream()
    assert len(next(stream).elements) == 1
    chroma.configure(elements=(1, 2))
    reading = next(stream)
    assert reading.settings.elements == (1, 2)
    assert len(reading.elements) == 2


def test_a_fan_that_has_failed_leaves_no_number() -> None:
    chroma, _ = meter({"PROTection?": "32768,0,0,0"})
    assert Status.INVALID in chroma.read().status


def test_the_last_digit_of_a_sum_is_that_of_its_parts_together() -> None:
    chroma, _ = meter({"CHANnel?": ["1", "2"]})
    chroma.configure(elements=(1, 2))
    reading = chroma.read()
    assert float(reading.active_power) == 4600.0
    assert reading.active_power.resolution == pytest.approx(0.2)


def test_a_separator_that_somebody_changed_is_set_again_for_the_next_reading() -> None:
    chroma, link = meter({f"MEASure? {ITEMS}": [GOOD.replace(",", ";"), GOOD]})
    with pytest.raises(ProtocolError):
        chroma.read()
    del link.sent[:]
    assert float(chroma.read().active_power) == 2300.0
    assert "SYSTem:TRANsmit:SEParator 0" in link.sent
