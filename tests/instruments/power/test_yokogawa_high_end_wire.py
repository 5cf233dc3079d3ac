"""The WT3000, WT1800 and WT5000 drivers against the wire as the manuals show it: no simulator takes part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aicalib_hw.instruments.power._wt_high_end import HighEndMeter
from aicalib_hw.instruments.power.yokogawa_wt1800 import YokogawaWT1800
from aicalib_hw.instruments.power.yokogawa_wt3000 import YokogawaWT3000
from aicalib_hw.instruments.power.yokogawa_wt5000 import YokogawaWT5000

from aicalib_hw import registry
from aicalib_hw.errors import IdentityMismatch, NotSupported, OutOfRange, ProtocolError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import PowerReading
from aicalib_hw.readings import Status

from .typed_link import TypedLink

WT3000 = "YOKOGAWA,WT3004E-2A0-30A4,0,F6.01"
WT1800 = "YOKOGAWA,WT1806E-5A3-50A3,91N123456,F1.01"

ELEMENT = ("230.00E+00", "10.000E+00", "2.3000E+03", "2.3000E+03", "0.0000E+00", "1.0000E+00", "50.000E+00")
SUM = ("230.00E+00", "10.000E+00", "6.9000E+03", "6.9000E+03", "0.0000E+00", "1.0000E+00")


def each(header: str, count: int) -> str:
    return ";".join([f"{header}:ELEMent1?", *(f"ELEMent{number}?" for number in range(2, count + 1))])


def answers(count: int, idn: str, changed: Mapping[str, str]) -> dict[str, str]:
    """What the instrument answers: one table of settings, put together as the driver asks for them."""
    asked = {
        each(":INPut:VOLTage:RANGe", count): ["300.0E+00"] * count,
        each(":INPut:CURRent:RANGe", count): ["20.0E+00"] * count,
        ":INPut:WIRing?": ["P3W4" + ",P1W2" * (count - 3)],
        ":INPut:CFACtor?": ["3"],
        ":RATE?": ["500.0E-03"],
        ":MEASure:AVERaging:STATe?": ["0"],
        ":MEASure:AVERaging:COUNt?": ["8"],
        each(":INPut:VOLTage:AUTO", count): ["0"] * count,
        each(":INPut:CURRent:AUTO", count): ["0"] * count,
        each(":INPut:SCALing:STATe", count): ["0"] * count,
        each(":INPut:SCALing:VT", count): ["1.0000"] * count,
        each(":INPut:SCALing:CT", count): ["1.0000"] * count,
        each(":INPut:FILTer:LINE", count): ["OFF"] * count,
    }
    if "WT300" in idn:
        asked[each(":INPut:CURRent:MODE", count)] = ["RMS"] * count
    of_settings = {question: changed.get(question, ";".join(values)) for question, values in asked.items()}
    ranges, rest = dict(list(of_settings.items())[:2]), dict(list(of_settings.items())[2:])
    energies = ("6.9000E+03", "2.3000E+03")
    status = {
        ":STATus:EESR?": "1",
        ":NUMeric:NORMal:VALue?": changed.get("values", ",".join((*ELEMENT * count, *SUM, *energies, "3600"))),
        ":STATus:CONDition?": changed.get("condition", "0"),
        ":INPut:POVer?": changed.get("peaks", "0"),
    }

    def joined(parts: Mapping[str, str]) -> tuple[str, str]:
        return ";".join(parts), ";".join(parts.values())

    whole = joined({**status, **ranges, **rest})
    found = {
        "*IDN?": idn,
        "*ESR?": "0",
        ":STATus:ERRor?": '0,"No error"',
        ":INPut:MODUle?": ",".join(["30"] * count),
        ":INPut:CFACtor?": "3",
        "*OPT?": "G6,B5,FQ,DA,V1,C2,C7,C5,FL,MTR",
        ":STATus:EESR?": "0",
        ":COMMunicate:WAIT? 1": "1",
        ":INTEGrate:STATe?": "RESET",
    }
    found.update([joined({**ranges, **rest}), whole, joined({**status, **ranges}), joined(rest)])
    return {**found, **{key: value for key, value in changed.items() if "?" in key}}


def opened(kind: type[HighEndMeter] = YokogawaWT3000, count: int = 4, idn: str = WT3000, **options: Any) -> Any:
    changed = options.pop("changed", {})
    return kind("typed", link=TypedLink(answers(count, idn, changed)), **options).open()


def shown(**changed: str) -> PowerReading:
    reading: PowerReading = opened(changed=changed).read(fresh=False)
    return reading


def test_the_elements_and_their_sum_are_read_with_ranges_and_units() -> None:
    reading = shown()
    assert len(reading.elements) == 4
    assert float(reading.active_power) == 6900.0
    assert reading.settings.wiring == "3P4W"
    assert reading.settings.voltage_range == (300.0,) * 4
    assert reading.elements[0].active_power.range == 6000.0
    assert reading.total.active_power.channel == "P,SIGMA"
    assert reading.status is Status.VALID


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"condition": str(1 << 8)}, Status.OVER_RANGE),
        ({"condition": str(1 << 10)}, Status.OVER_RANGE),
        ({"peaks": str(1 << 1)}, Status.PEAK_OVER),
        ({"peaks": str(1 << 4)}, Status.PEAK_OVER),
        ({"condition": str(1 << 11)}, Status.VALID),
        ({"peaks": str(1 << 6)}, Status.VALID),
        ({"condition": str(1 << 0 | 1 << 1 | 1 << 4)}, Status.VALID),
    ],
)
def test_only_the_elements_of_the_sum_spoil_it(changed: dict[str, str], status: Status) -> None:
    assert shown(**changed).status == status


@pytest.mark.parametrize(("marker", "status"), [("INF", Status.OVER_RANGE), ("NAN", Status.NO_DATA)])
def test_a_marker_in_the_sum_leaves_no_value(marker: str, status: Status) -> None:
    values = [*ELEMENT * 4, *SUM, "NAN", "NAN", "0"]
    values[4 * len(ELEMENT) + 2] = marker
    reading = shown(values=",".join(values))
    assert reading.active_power.value is None
    assert status in reading.status


def test_200_kilowatts_through_transformers_have_the_range_and_the_limits_of_the_primary_side() -> None:
    """66.7 kW a phase at 230 V on 300 V x 500 A (a CT of 100 on 5 A): 0.02 % of 66.7 kW and 0.04 % of 150 kW."""
    count = 4
    element = ("230.00E+00", "290.00E+00", "66.700E+03", "66.700E+03", "0.0000E+00", "1.0000E+00", "50.000E+00")
    total = ("230.00E+00", "290.00E+00", "200.10E+03", "200.10E+03", "0.0000E+00", "1.0000E+00")
    changed = {
        "values": ",".join((*element * count, *total, "NAN", "NAN", "0")),
        each(":INPut:CURRent:RANGe", count): ";".join(["5.00E+00"] * count),
        each(":INPut:SCALing:STATe", count): ";".join(["1"] * count),
        each(":INPut:SCALing:CT", count): ";".join(["100.0000"] * count),
    }
    meter = opened(changed=changed)
    reading = meter.read(fresh=False)
    assert reading.settings.ct_ratio == (100.0,) * 4
    assert reading.elements[0].active_power.range == 150e3
    stated = {one.name: one.half_width for one in meter.components(reading)}
    assert stated["accuracy of reading"] == pytest.approx(3 * 0.0002 * 66700)
    assert stated["accuracy of range"] == pytest.approx(3 * 0.0004 * 150e3)
    assert stated["self-heating"] == pytest.approx(3 * 66700 * 0.00002e-2 * 2.9**2)
    assert len({one.shared for one in meter.components(reading)}) == len(stated)


def test_the_limits_of_error_double_their_range_part_at_crest_factor_6() -> None:
    plain, doubled = opened(), opened(changed={":INPut:CFACtor?": "6"})
    ranges = [
        {one.name: one.half_width for one in meter.components(meter.read(fresh=False))}["accuracy of range"]
        for meter in (plain, doubled)
    ]
    assert ranges == [pytest.approx(3 * 0.0004 * 6000), pytest.approx(2 * 3 * 0.0004 * 6000)]


def test_an_external_sensor_has_the_range_of_its_ratio() -> None:
    changed = {
        each(":INPut:CURRent:RANGe", 4): ";".join(["EXTERNAL,5.000E+00"] * 4),
        **{f":INPut:CURRent:SRATio:ELEMent{number}?": "10.0000" for number in range(1, 5)},
    }
    settings = shown(**changed).settings
    assert settings.current_range == (500.0,) * 4
    assert settings.sensor_ratio == (10.0,) * 4


def test_ranges_go_to_the_chosen_element_alone_and_the_external_range_is_a_bare_number() -> None:
    meter = opened()
    link = meter._link
    before = len(link.sent)
    meter.configure(elements=(2,), voltage_range=600.0)
    writes = [text for text in link.sent[before:] if "?" not in text]
    assert writes == [":INPut:VOLTage:AUTO:ELEMent2 OFF", ":INPut:VOLTage:RANGe:ELEMent2 600"]
    before = len(link.sent)
    meter.select_sensor(0.5, 10.0, elements=(1,))
    assert ":INPut:CURRent:RANGe:ELEMent1 EXTERNAL,0.5" in link.sent[before:]


def test_a_wiring_joins_the_first_elements_and_leaves_the_others_single() -> None:
    meter = opened()
    for wiring, wanted in (
        ("3P4W", "P3W4,P1W2"),
        ("3P3W", "P3W3,P1W2,P1W2"),
        ("1P2W", "P1W2,P1W2,P1W2,P1W2"),
    ):
        meter.configure(wiring=wiring)
        assert f":INPut:WIRing {wanted}" in meter._link.sent


def test_a_range_that_an_element_does_not_have_is_refused_before_the_wire() -> None:
    meter = opened(changed={":INPut:MODUle?": "30,30,2,2"})
    assert meter.capabilities.current_ranges == (0.5, 1.0, 2.0)
    before = len(meter._link.sent)
    for setting in ({"current_range": 30.0}, {"elements": (3,), "current_range": 5.0}, {"elements": (5,)}):
        with pytest.raises(OutOfRange):
            meter.configure(**setting)
    assert all(text.endswith("?") for text in meter._link.sent[before:])


def test_harmonics_need_their_option() -> None:
    meter = opened(changed={"*OPT?": "FQ,C7"})
    with pytest.raises(NotSupported) as lacking:
        meter.total_harmonic_distortion()
    assert "G6" in lacking.value.why
    count = len(ELEMENT) * 4 + len(SUM) + 3
    questions = ":NUMeric:NORMal:" + ";".join(f"VALue? {place}" for place in range(count + 1, count + 9))
    distortions = opened(changed={questions: "1.23E+00;45.6E+00;1.24E+00;45.7E+00;NAN;NAN;1.26E+00;45.9E+00"})
    found = distortions.total_harmonic_distortion()
    assert (float(found[0][0]), float(found[0][1])) == (1.23, 45.6)
    assert found[2][0].status is Status.NO_DATA


def test_a_wt1800_asks_for_true_rms_by_its_own_words_and_reads_its_elements_from_its_name() -> None:
    idn = "YOKOGAWA,WT1803-5A0-50A3,91N1,F1.01"
    meter = opened(YokogawaWT1800, 3, idn)
    assert ":NUMeric:NORMal:ITEM1 URMS,1" in meter._link.sent
    assert ":NUMeric:NORMal:ITEM2 IRMS,1" in meter._link.sent
    assert ":INPut:MODUle?" not in meter._link.sent
    assert meter.capabilities.current_ranges == (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    stated = {one.name: one.half_width for one in meter.components(meter.read(fresh=False))}
    assert stated["accuracy of reading"] == pytest.approx(3 * 0.001 * 2300)
    assert stated["accuracy of range"] == pytest.approx(3 * 0.0005 * 6000)


def test_a_wt1800_uses_no_condition_bit_but_that_of_the_update() -> None:
    idn = "YOKOGAWA,WT1803-5A0-50A3,91N1,F1.01"
    assert opened(YokogawaWT1800, 3, idn, changed={"condition": "65534"}).read(fresh=False).status is Status.VALID


def test_the_brochures_limits_of_a_wt1800e_are_used_only_when_asked_for() -> None:
    plain = opened(YokogawaWT1800, 6, WT1800, changed={":INPut:MODUle?": "5,5,5,50,50,50"})
    assert plain.capabilities.uncertainty is None
    with pytest.raises(NotSupported):
        plain.components(plain.read(fresh=False))
    trusted = opened(YokogawaWT1800, 6, WT1800, changed={":INPut:MODUle?": "5,5,5,50,50,50"}, unconfirmed_accuracy=True)
    stated = {one.name: one for one in trusted.components(trusted.read(fresh=False))}
    assert stated["accuracy of reading"].half_width == pytest.approx(3 * 0.0005 * 2300)
    assert "unconfirmed" in stated["accuracy of reading"].source


def test_a_wt5000_states_that_it_is_unverified() -> None:
    meter = opened(YokogawaWT5000, 4, "YOKOGAWA,WT5000,91N1,F1.01")
    assert "unconfirmed" in YokogawaWT5000.DRIVER.verified
    assert meter.capabilities.voltage_ranges is None
    assert meter.capabilities.uncertainty is None
    assert float(meter.read(fresh=False).active_power) == 6900.0


@pytest.mark.parametrize(
    ("answer", "driver"),
    [
        (WT3000, "yokogawa-wt3000"),
        (WT1800, "yokogawa-wt1800"),
        ("YOKOGAWA,WT1806EM-5A3-50A3,9,F1.01", "yokogawa-wt1800"),
        ("YOKOGAWA,WT310E,C2,F1.03", "yokogawa-wt300"),
        ("YOKOGAWA,WT5000,C2,F1.03", "yokogawa-wt5000"),
    ],
)
def test_the_driver_is_found_from_the_identification(answer: str, driver: str) -> None:
    maker, model, serial, firmware = answer.split(",")
    assert registry.driver_for_identity(Identity(maker, model, serial, firmware, "typed")).DRIVER.name == driver


def test_a_meter_of_another_family_is_told_nothing() -> None:
    link = TypedLink({"*IDN?": WT1800})
    with pytest.raises(IdentityMismatch):
        YokogawaWT3000("typed", link=link).open()
    assert link.sent == ["*IDN?"]


def test_an_unknown_current_input_is_reported() -> None:
    for modules in ("30,30,7,0", "0,0,0,0", "30,0,30,30"):
        with pytest.raises((OutOfRange, ProtocolError)):
            opened(changed={":INPut:MODUle?": modules})
