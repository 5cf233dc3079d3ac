"""The Tektronix PA1000/PA3000 reader against the wire as its sources show it, typed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aicalib_hw.instruments.power.tektronix_pa1000 import TektronixPA1000

from aicalib_hw.errors import AicalibError, ConnectionLost, DeadlineExceeded, NotSupported, OutOfRange, ProtocolError
from aicalib_hw.readings import Status

from .typed_link import TypedLink

GOOD = "2.3000E+02,1.0000E+01,2.3000E+03,2.3000E+03,0.0000E+00,1.0000E+00,5.0000E+01"
NEXT = GOOD.replace("2.3000E+03", "2.3100E+03", 1)
NAMES = "VLT,AMP,WAT,VAS,VAR,PWF,FRQ"


def meter(answers: Mapping[str, Any] | None = None, **keywords: Any) -> tuple[TektronixPA1000, TypedLink]:
    """An open reader on a typed PA3000 of which one input is used."""
    link = TypedLink(
        {
            "*IDN?": "Tektronix,PA3000,B010105,1.003.016",
            "*ESR?": "0",
            ":FRF?": NAMES,
            ":FRD?": GOOD,
            ":DSR?": "2",
            ":RNG:AMP:AUT?": "1",
            **(answers or {}),
        }
    )
    return TektronixPA1000("typed", link=link, selection_time=0.0, **keywords).open(), link


def test_results_are_selected_in_the_order_in_which_they_are_read() -> None:
    tektronix, link = meter()
    selected = [text for text in link.sent if text.startswith(":SEL")]
    assert selected == [":SEL:CLR", *(f":SEL:{name}" for name in NAMES.split(","))]
    reading = tektronix.read(fresh=False)
    assert [float(reading.voltage), float(reading.current), float(reading.active_power)] == [230.0, 10.0, 2300.0]
    assert reading.frequency is not None
    assert (float(reading.frequency), reading.frequency.unit) == (50.0, "Hz")
    assert reading.missed is None


def test_a_reading_waits_for_the_event_of_new_data() -> None:
    tektronix, link = meter({":DSR?": ["0", "0", "2"], ":FRD?": [GOOD, NEXT]}, update_interval=0.01)
    assert float(tektronix.read().active_power) == 2310.0
    assert link.sent.count(":DSR?") == 3


def test_an_event_without_a_change_is_no_update_and_ends_as_stale() -> None:
    tektronix, _ = meter(update_interval=0.01)
    assert tektronix.read(timeout=0.05).status == Status.STALE


@pytest.mark.parametrize(("text", "status"), [("9.91E+37", Status.NO_DATA), ("9.9E37", Status.OVER_RANGE)])
def test_a_marker_of_scpi_is_a_status(text: str, status: Status) -> None:
    reading = meter({":FRD?": GOOD.replace("2.3000E+03", text, 1)})[0].read(fresh=False)
    assert reading.active_power.value is None
    assert reading.status == status


def test_results_of_several_inputs_are_not_guessed_at() -> None:
    with pytest.raises(ProtocolError, match="one input"):
        meter({":FRF?": f"{NAMES},{NAMES}"})


@pytest.mark.parametrize("reply", ["", "1,2", GOOD + ",1", GOOD.replace("2.3000E+02", "x")])
def test_a_reply_that_is_no_set_of_results_is_refused(reply: str) -> None:
    with pytest.raises(ProtocolError):
        meter({":FRD?": reply})[0].read(fresh=False)


def test_ratios_and_auto_range_are_set_in_the_manuals_words() -> None:
    tektronix, link = meter()
    del link.sent[:]
    in_force = tektronix.configure(auto_range=True, ct_ratio=100.0, vt_ratio=1.0, line_filter=True)
    assert [text for text in link.sent if "?" not in text] == [
        ":RNG:VLT:AUT",
        ":RNG:AMP:AUT",
        ":SCL:AMP 100",
        ":SCL:VLT 1",
        ":INP:FILT:LPAS 1",
    ]
    assert (in_force.ct_ratio, in_force.line_filter, in_force.auto_range) == ((100.0,), True, True)
    assert tektronix.snapshot()["ct_ratio"].origin == "driver"


@pytest.mark.parametrize(
    ("setting", "refused"),
    [
        ({"voltage_range": 300.0}, NotSupported),
        ({"auto_range": False}, NotSupported),
        ({"averaging": 4}, NotSupported),
        ({"crest_factor": "3"}, NotSupported),
        ({"ct_ratio": 0.0}, OutOfRange),
        ({"vt_ratio": 100001.0}, OutOfRange),
        ({"elements": (1, 2)}, OutOfRange),
    ],
)
def test_what_is_not_confirmed_is_refused_before_the_wire(
    setting: Mapping[str, Any], refused: type[AicalibError]
) -> None:
    tektronix, link = meter()
    del link.sent[:]
    with pytest.raises(refused):
        tektronix.configure(**setting)
    assert link.sent == []


def test_energy_and_accuracy_are_not_offered_and_capabilities_say_why() -> None:
    tektronix, _ = meter()
    assert tektronix.capabilities.notes["uncertainty"].startswith("no facts")
    for call in (tektronix.start_integration, lambda: tektronix.measure_energy(10.0)):
        with pytest.raises(NotSupported):
            call()


def test_an_instrument_that_does_not_answer_is_a_deadline_with_the_question() -> None:
    tektronix, link = meter()
    del link.answers[":FRD?"]
    with pytest.raises(DeadlineExceeded, match="FRD"):
        tektronix.read()


def test_after_an_exchange_that_failed_the_event_of_new_data_is_asked_for_anew() -> None:
    tektronix, link = meter({":FRD?": [GOOD, "garbage", GOOD, NEXT]}, update_interval=0.01)
    tektronix.read(fresh=False)
    with pytest.raises(ProtocolError):
        tektronix.read(fresh=False)
    del link.sent[:]
    assert float(tektronix.read().active_power) == 2310.0
    assert link.sent.index(":DSE 2") < link.sent.index(":DSR?")


def test_a_restart_that_lost_its_ratios_is_not_read_as_if_it_had_them() -> None:
    tektronix, link = meter({":FRD?": [GOOD, "garbage", GOOD]})
    tektronix.configure(ct_ratio=100.0)
    link.answers["*ESR?"] = ["128", "0"]
    tektronix.read(fresh=False)
    with pytest.raises(ProtocolError):
        tektronix.read(fresh=False)
    with pytest.raises(ConnectionLost, match="switched off and on"):
        tektronix.read(fresh=False)
