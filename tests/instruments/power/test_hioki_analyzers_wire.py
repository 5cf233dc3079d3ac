"""The readers of Hioki PW3390 and PW8001 against the wire as the manuals show it, typed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aicalib_hw.instruments.power.hioki_pw3390 import HiokiPW3390
from aicalib_hw.instruments.power.hioki_pw8001 import HiokiPW8001

from aicalib_hw.errors import AicalibError, InstrumentReportedError, NotSupported, OutOfRange, ProtocolError
from aicalib_hw.readings import Status

from .typed_link import TypedLink

ONE = "U1 +230.00E+0;I1 +10.000E+0;P1 +2.3000E+3;S1 +2.3000E+3;Q1 +0.0000E+0;PF1 +1.0000E+0;FREQ1 +50.000E+0"
SUM = "U123 +230.00E+0;I123 +10.000E+0;P123 +6.9000E+3;S123 +6.9000E+3;Q123 +0.0000E+0;PF123 +1.0000E+0"
THREE = ";".join((*(ONE.replace("1 ", f"{channel} ") for channel in (1, 2, 3)), SUM))
SHORT = "U1 +230.00E+0;I1 +10.000E+0;P1 +2.3000E+3"


def pw3390(shown: Any = ONE, **answers: Any) -> tuple[HiokiPW3390, TypedLink]:
    link = TypedLink(
        {"*IDN?": "HIOKI,PW3390-01,123456789,V1.00", "*ESR?": "0", ":MEASure?": shown, **answers},
    )
    return HiokiPW3390("typed", link=link).open(), link


def pw8001(shown: Any = SHORT, **keywords: Any) -> HiokiPW8001:
    link = TypedLink(
        {
            "*IDN?": "HIOKI,PW8001-01,123456789,V1.00",
            "*ESR?": "0",
            ":VOLTAGE1:RANGE?": ":VOLTAGE1:RANGE 300",
            ":MEASURE? U1,I1,P1": shown,
        }
    )
    return HiokiPW8001("typed", link=link, **keywords).open()


def test_channels_are_chosen_by_the_masks_of_the_manual() -> None:
    hioki, link = pw3390(THREE)
    del link.sent[:]
    hioki.configure(elements=(1, 2, 3))
    # mask 7 = channels 1 to 3 of U, I, P, S, Q, PF, DEG, FREQ; 4 = SUM123 (p. 37, p. 79)
    assert [text for text in link.sent if "?" not in text] == [
        ":MEASure:ITEM:NORMal 7,7,7,7,7,7,0,7",
        ":MEASure:ITEM:SUM 4,4,4,4,4,4,0",
    ]
    reading = hioki.read(fresh=False)
    assert float(reading.active_power) == 6900.0
    assert [float(one.active_power) for one in reading.elements] == [2300.0] * 3
    assert reading.active_power.channel == "P123"
    assert reading.missed is None


@pytest.mark.parametrize("channels", [(1, 4), (2, 1), (5,), (), (1, 2, 3, 4)])
def test_channels_that_the_meter_does_not_add_up_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(OutOfRange):
        pw3390()[0].configure(elements=channels)


def test_a_sum_that_the_wiring_does_not_have_is_refused_by_the_meter_and_named() -> None:
    hioki, link = pw3390()
    link.answers["*ESR?"] = ["0", "16", "0"]
    with pytest.raises(InstrumentReportedError, match="ITEM:SUM 1"):
        hioki.configure(elements=(1, 2))
    assert hioki.configure().elements == (1,)


def test_a_marker_is_a_status_and_a_name_that_is_not_known_is_refused() -> None:
    reading = pw3390(ONE.replace("+2.3000E+3", "+999.99E+9", 1))[0].read(fresh=False)
    assert reading.active_power.value is None
    assert reading.status == Status.OVER_RANGE
    for wrong in ("", SHORT, ONE.replace("P1", "X1"), ONE + ";U1 +1.0000E+0", ONE.replace("U1 ", ""), "1;2;3"):
        with pytest.raises(ProtocolError):
            pw3390(wrong)[0].read(fresh=False)


def test_root_mean_square_names_of_the_analyzers_are_known() -> None:
    shown = ONE.replace("U1", "Urms1").replace("I1", "Irms1")
    assert float(pw3390(shown)[0].read(fresh=False).voltage) == 230.0


def test_hold_is_in_the_manuals_words() -> None:
    hioki, link = pw3390()
    hioki.hold(True)
    assert link.sent[-2] == ":HOLD ON"


@pytest.mark.parametrize(
    "setting", [{"voltage_range": 300.0}, {"ct_ratio": 10.0}, {"auto_range": True}, {"wiring": "3P4W"}]
)
def test_what_is_not_confirmed_is_not_offered(setting: Mapping[str, Any]) -> None:
    hioki, _ = pw3390()
    with pytest.raises(NotSupported):
        hioki.configure(**setting)
    assert (hioki.capabilities.energy, hioki.capabilities.uncertainty) == (None, None)
    for call in (lambda: hioki.measure_energy(60.0), lambda: hioki.components(hioki.read(fresh=False))):
        with pytest.raises(NotSupported):
            call()


def test_a_pw8001_reads_one_channel_and_sets_its_voltage_range() -> None:
    hioki = pw8001()
    assert hioki.configure(voltage_range=300.0).voltage_range == (300.0,)
    reading = hioki.read(fresh=False)
    assert (float(reading.active_power), reading.voltage.range) == (2300.0, 300.0)
    assert reading.active_power.range is None


@pytest.mark.parametrize(
    ("setting", "refused"),
    [({"current_range": 5.0}, NotSupported), ({"elements": (1,)}, NotSupported), ({"voltage_range": 0.0}, OutOfRange)],
)
def test_a_pw8001_refuses_what_is_not_confirmed(setting: Mapping[str, Any], refused: type[AicalibError]) -> None:
    with pytest.raises(refused):
        pw8001().configure(**setting)


def test_the_accuracy_of_a_pw8001_is_that_of_meter_and_sensor() -> None:
    hioki = pw8001(
        "U1 +230.00E+0;I1 +500.00E+0;P1 +110.00E+3",
        current_range=1000.0,
        frequency=50.0,
        sensor_error=0.0005,
        sensor_phase_error=0.1,
    )
    named = {one.name: one.half_width for one in hioki.components(hioki.read(fresh=False))}
    # 45 to 440 Hz: 0.01 % of 110 kW, 0.02 % of 300 V x 1000 A, 0.05 degree of sqrt(115^2 - 110^2) = 33.541 kvar
    assert named["accuracy of reading"] == pytest.approx(11.0)
    assert named["accuracy of range"] == pytest.approx(60.0)
    assert named["phase"] == pytest.approx(33541.02 * 0.000872665, rel=1e-5)
    assert named["sensor ratio"] == pytest.approx(55.0)
    assert named["sensor phase"] == pytest.approx(33541.02 * 0.00174533, rel=1e-5)


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"current_range": 1000.0, "frequency": 50.0},
        {"sensor_error": 0.001, "sensor_phase_error": 0.1},
        {"current_range": 1000.0, "sensor_error": 0.001, "sensor_phase_error": 0.1},
    ],
)
def test_without_its_sensors_limits_a_pw8001_has_no_accuracy(known: Mapping[str, float]) -> None:
    hioki = pw8001(**known)
    assert hioki.capabilities.uncertainty is None
    with pytest.raises(NotSupported, match="sensor"):
        hioki.components(hioki.read(fresh=False))


@pytest.mark.parametrize("reply", ["", "+230.00E+0;+10.000E+0;+2.3000E+3", SHORT.replace("P1", "P2"), SHORT + ";"])
def test_a_reply_of_a_pw8001_that_is_no_named_set_is_refused(reply: str) -> None:
    with pytest.raises(ProtocolError):
        pw8001(reply).read(fresh=False)
