"""The PW3335/PW3336/PW3337 driver against the wire as the manuals show it, typed by hand: no simulator takes part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from aicalib_hw.instruments.power._hioki_tables import marked
from aicalib_hw.instruments.power.hioki_pw3336 import HiokiPW3336
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import (
    AicalibError,
    ConnectionLost,
    DeadlineExceeded,
    IdentityMismatch,
    InstrumentReportedError,
    NotSupported,
    OutOfRange,
    ProtocolError,
    UnusableReading,
    UsageError,
)
from aicalib_hw.readings import Status

from .typed_link import TypedLink

NAMES = ("U", "I", "P", "S", "Q", "PF", "FREQU")
ONE = {"U": "+230.00E+0", "I": "+10.000E+0", "P": "+2.3000E+3", "S": "+2.3000E+3", "Q": "+0.0000E+0"}
ONE |= {"PF": "+1.0000E+0", "FREQU": "+50.000E+0"}


def asked(channels: int) -> str:
    """The question for everything that a reading holds."""
    items = [f"{name}{channel}" for channel in range(1, channels + 1) for name in NAMES]
    if channels > 1:
        items += [f"{name}0" for name in NAMES[:-1]]
    return ":MEASure? STATUS," + ",".join(items)


def shown(channels: int = 1, status: str = "00000000", **changed: str) -> str:
    """What a meter with header on shows: the manual's example values, other values by item (P1="…")."""
    found = {"STATUS": status}
    for channel in range(1, channels + 1):
        found |= {f"{name}{channel}": ONE[name] for name in NAMES}
    if channels > 1:
        found |= {f"{name}0": ONE[name] for name in NAMES[:-1]}
    return ";".join(f"{name} {text}" for name, text in {**found, **changed}.items())


def settings(channels: int = 1, *, wiring: str = "TYPE1", current: str = "20", ratio: str = "1.000") -> dict[str, str]:
    """Answers to every question about a setting, header on."""
    found = {":WIRing?": f":WIRING {wiring}"}
    for c in range(1, channels + 1):
        found |= {
            f":VOLTage{c}:RANGe?": f":VOLTAGE{c}:RANGE 300",
            f":CURRent{c}:RANGe?": f":CURRENT{c}:RANGE {current}",
            f":VOLTage{c}:AUTO?": f":VOLTAGE{c}:AUTO OFF",
            f":CURRent{c}:AUTO?": f":CURRENT{c}:AUTO OFF",
            f":CURRent{c}:TYPE?": f":CURRENT{c}:TYPE OFF",
            f":SCALe{c}:CT?": f":SCALE{c}:CT {ratio}",
            f":SCALe{c}:VT?": f":SCALE{c}:VT 1.000",
        }
    return found


def meter(
    channels: int = 2, answers: Mapping[str, Any] | None = None, **keywords: Any
) -> tuple[HiokiPW3336, TypedLink]:
    """An open driver on a typed meter of so many channels."""
    link = TypedLink(
        {
            "*IDN?": f"HIOKI,PW333{4 + channels},123456789,V1.00",
            "*ESR?": "0",
            **settings(channels),
            asked(channels): shown(channels),
            **(answers or {}),
        }
    )
    return HiokiPW3336("typed", link=link, **keywords).open(), link


def test_the_values_of_the_manual_are_read_with_their_units() -> None:
    reading = meter(1)[0].read(fresh=False)
    assert [float(reading.voltage), float(reading.current), float(reading.active_power)] == [230.0, 10.0, 2300.0]
    assert reading.frequency is not None
    assert (float(reading.frequency), reading.frequency.unit) == (50.0, "Hz")
    assert (reading.active_power.range, reading.active_power.resolution) == (6000.0, pytest.approx(0.1))
    assert reading.missed is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("+999.99E+9", Status.OVER_RANGE),
        ("-999.99E+9", Status.OVER_RANGE),
        ("+888.88E+9", Status.INVALID),
        ("+777.77E+9", Status.NO_DATA),
    ],
)
def test_a_marker_becomes_a_status_and_never_a_number(text: str, status: Status) -> None:
    reading = meter(1, {asked(1): shown(P1=text)})[0].read(fresh=False)
    assert reading.active_power.value is None
    assert reading.status == status
    with pytest.raises(UnusableReading):
        float(reading.active_power)


@pytest.mark.parametrize(
    ("word", "element", "status"),
    [
        ("00000001", 0, Status.PEAK_OVER),
        ("00000020", 1, Status.PEAK_OVER),
        ("00000400", 2, Status.OVER_RANGE),
        ("00001000", 0, Status.OVER_RANGE),
    ],
)
def test_a_bit_of_the_status_word_marks_its_channel_and_the_sum(word: str, element: int, status: Status) -> None:
    found = {**settings(3, wiring="TYPE7"), asked(3): shown(3, status=word)}
    reading = meter(3, found)[0].read(fresh=False)
    assert [one.active_power.status for one in reading.elements] == [
        status if index == element else Status.VALID for index in range(3)
    ]
    assert reading.total.active_power.status == status
    assert reading.status == status


def test_values_that_did_not_change_are_stale_and_a_change_is_the_next_update() -> None:
    quick = meter(1, {asked(1): [shown(), shown(), shown(P1="+2.3001E+3")]}, update_interval=0.01)[0]
    assert float(quick.read().active_power) == 2300.1
    stale = quick.read(timeout=0.02)
    assert stale.status == Status.STALE
    with pytest.raises(UnusableReading):
        float(stale.active_power)


def test_what_is_set_goes_to_every_channel_in_the_manuals_words() -> None:
    hioki, link = meter(2, settings(2, wiring="TYPE2", current="5", ratio="100.0"))
    del link.sent[:]
    in_force = hioki.configure(wiring="1P3W", voltage_range=300.0, current_range=5.0, ct_ratio=100.0)
    assert [text for text in link.sent if "?" not in text] == [
        ":WIRing TYPE2",
        ":VOLTage1:RANGe 300",
        ":CURRent1:RANGe 5",
        ":SCALe1:CT 100",
        ":VOLTage2:RANGe 300",
        ":CURRent2:RANGe 5",
        ":SCALe2:CT 100",
    ]
    assert in_force.wiring == "1P3W"
    assert in_force.ct_ratio == (100.0, 100.0)
    assert hioki.read(fresh=False).elements[0].current.range == 500.0


@pytest.mark.parametrize(
    ("setting", "refused"),
    [
        ({"wiring": "3P4W"}, OutOfRange),
        ({"ct_ratio": 10000.0}, OutOfRange),
        ({"ct_ratio": math.nan}, OutOfRange),
        ({"voltage_range": -1.0}, OutOfRange),
        ({"current_range": math.inf}, OutOfRange),
        ({"elements": (1,)}, OutOfRange),
        ({"crest_factor": "3"}, NotSupported),
        ({"line_filter": True}, NotSupported),
        ({"averaging": 8}, NotSupported),
        ({"update_interval": 0.5}, NotSupported),
    ],
)
def test_what_the_meter_has_not_is_refused_before_the_wire(
    setting: Mapping[str, Any], refused: type[AicalibError]
) -> None:
    hioki, link = meter(2)
    del link.sent[:]
    with pytest.raises(refused):
        hioki.configure(**setting)
    assert link.sent == []


def test_a_range_that_the_instrument_refuses_is_named_with_the_command() -> None:
    hioki, link = meter(1)
    link.answers["*ESR?"] = ["16"]
    with pytest.raises(InstrumentReportedError) as refused:
        hioki.configure(current_range=7.0)
    assert refused.value.code == 16
    assert ":CURRent1:RANGe 7" in refused.value.what


@pytest.mark.parametrize(
    "reply",
    [
        "+0;+230.00E+0;+10.000E+0",
        "",
        shown().replace("U1", "U2"),
        shown() + ";P9 +1.0000E+0",
        shown(U1="abc"),
        shown(status="0000000G"),
        shown(I1="+1_0.00E+0"),
    ],
)
def test_a_reply_that_is_no_named_set_of_values_is_refused(reply: str) -> None:
    with pytest.raises(ProtocolError):
        meter(1, {asked(1): reply})[0].read(fresh=False)


@pytest.mark.parametrize(
    ("power", "half_width"),
    # Data sheet p. 8, 45 to 66 Hz, 300 V x 20 A = 6000 W: below half 0.1 % + 0.05 % f.s., then 0.15 % of reading.
    [("+2.3000E+3", 2.3 + 3.0), ("+4.0000E+3", 6.0), ("+6.6000E+3", 9.9)],
)
def test_the_limits_of_error_are_those_of_the_data_sheet(power: str, half_width: float) -> None:
    current = f"{float(power) / 230:+.3f}"
    hioki = meter(2, {asked(2): shown(2, P1=power, S1=power, I1=current)})[0]
    components = hioki.components(hioki.read(fresh=False))
    named = {one.name: one.half_width or 0.0 for one in components}
    named.pop("power factor", None)  # 230 V times the rounded current is not exactly the power
    assert sum(named.values()) == pytest.approx(half_width)


def test_a_power_factor_below_one_adds_the_stated_share_of_the_reactive_power() -> None:
    hioki = meter(2, {asked(2): shown(2, P1="+2.2000E+3", PF1="+0.9565E+0")}, power_factor_influence=0.002)[0]
    named = {one.name: one for one in hioki.components(hioki.read(fresh=False))}
    # sqrt(2300^2 - 2200^2) = 670.82 var, of which 0.2 %
    assert named["power factor"].half_width == pytest.approx(1.34164, rel=1e-5)
    assert "assumed" in named["power factor"].source


def test_200_kilowatts_through_transducers_have_the_uncertainty_of_the_scaled_ranges() -> None:
    third = {"U": "+230.94E+0", "I": "+288.68E+0", "P": "+66.667E+3"}
    changed = {f"{name}{c}": text for c in (1, 2, 3) for name, text in third.items()} | {"P0": "+200.00E+3"}
    hioki = meter(
        3,
        {**settings(3, wiring="TYPE7", current="5", ratio="100.0"), asked(3): shown(3, **changed)},
    )[0]
    reading = hioki.read(fresh=False)
    assert float(reading.active_power) == 200e3
    assert reading.elements[0].active_power.range == 150e3
    named = {one.name: one.half_width for one in hioki.components(reading)}
    # Each element: 0.1 % of 66.667 kW + 0.05 % of 300 V x 500 A; three of one instrument add linearly.
    assert named["accuracy of reading"] == pytest.approx(200.0, rel=1e-4)
    assert named["accuracy of range"] == pytest.approx(225.0)


def test_a_current_sensor_has_no_stated_accuracy_and_says_so() -> None:
    hioki = meter(2, {":CURRent1:TYPE?": ":CURRENT1:TYPE TYPE1"})[0]
    with pytest.raises(NotSupported, match="current sensor"):
        hioki.components(hioki.read(fresh=False))


def test_the_one_channel_model_has_no_accuracy_and_its_mean_says_so() -> None:
    values = [shown(P1=f"+2.300{digit}E+3") for digit in range(9)]
    hioki = meter(1, {asked(1): values}, update_interval=0.01)[0]
    with pytest.raises(NotSupported, match="accuracy"):
        hioki.components(hioki.read(fresh=False))
    mean = hioki.measure_power(0.05)
    assert [one.name for one in mean.components] == ["resolution"]
    assert "nothing may be calibrated" in mean.evidence["accuracy"]


def test_energy_is_taken_when_the_integrators_own_clock_shows_the_time() -> None:
    states = ["RESET", "RESET", "START", "START", "START", "START", "STOP", "RESET"]
    hioki, link = meter(
        1,
        {
            asked(1): [shown(P1=f"+2.300{digit}E+3") for digit in range(9)],
            ":INTEGrate:STATe?": [f":INTEGRATE:STATE {state}" for state in states],
            ":MEASure? TIME,WP1": [
                "TIME 00000,00,09;WP1 +0.00575E+3",
                "TIME 00000,00,10;WP1 +0.00639E+3",
            ],
        },
        update_interval=0.01,
    )
    energy = hioki.measure_energy(10.0)
    # Between 5.75 Wh, the last look before 10 s, and 6.39 Wh, the first one after: the middle, give or take half.
    assert energy.value == pytest.approx(6.07 * 3600)
    assert {one.name: one.half_width for one in energy.components}["moment of the end"] == pytest.approx(0.32 * 3600)
    assert energy.validity
    assert energy.evidence["elapsed_s"] == 10.0
    sent = [text for text in link.sent if text.startswith(":INTEGrate:STATe ")]
    assert sent == [":INTEGrate:STATe START", ":INTEGrate:STATe STOP", ":INTEGrate:STATe RESET"]


def test_an_energy_whose_moment_was_missed_has_no_value() -> None:
    hioki, _ = meter(
        1,
        {
            asked(1): [shown(P1=f"+2.300{digit}E+3") for digit in range(9)],
            ":INTEGrate:STATe?": [":INTEGRATE:STATE RESET"],
            ":MEASure? TIME,WP1": "TIME 00000,00,12;WP1 +0.00639E+3",
        },
        update_interval=0.01,
    )
    energy = hioki.measure_energy(10.0)
    assert energy.value is None
    assert not energy.validity


@pytest.mark.parametrize(
    ("duration", "error"), [(0.5, OutOfRange), (36_000_060.0, OutOfRange), (0.0, UsageError), (-1.0, UsageError)]
)
def test_an_energy_over_no_whole_seconds_is_refused(duration: float, error: type[Exception]) -> None:
    with pytest.raises(error):
        meter(1)[0].measure_energy(duration)


def test_distortion_is_read_in_percent() -> None:
    hioki = meter(1, {":MEASure? UTHD1,ITHD1": "UTHD1 +1.23E+0;ITHD1 +777.77E+9"})[0]
    ((voltage, current),) = hioki.total_harmonic_distortion()
    assert (float(voltage), voltage.unit) == (1.23, "%")
    assert current.status == Status.NO_DATA


def test_zero_is_adjusted_only_by_a_command_that_somebody_vouches_for() -> None:
    hioki, _ = meter(1)
    assert hioki.capabilities.zero is None
    with pytest.raises(NotSupported, match="not confirmed"):
        hioki.zero()
    known, link = meter(1, zero_command=":DEMAg")
    known.zero()
    assert link.sent[-2] == ":DEMAg"


def test_another_makers_meter_is_refused() -> None:
    link = TypedLink({"*IDN?": "YOKOGAWA,WT310E,C2PH13047V,F1.03", "*ESR?": "0"})
    with pytest.raises(IdentityMismatch):
        HiokiPW3336("typed", link=link).open()


@given(st.floats(min_value=-1e9, max_value=1e9))
def test_no_power_that_is_possible_is_taken_for_a_marker(value: float) -> None:
    assert marked(value) == Status.VALID


@given(st.text(alphabet="0123456789+-.E;,UIPSQF \t", max_size=120))
def test_no_garbled_reply_passes_for_values_or_ends_in_a_foreign_error(reply: str) -> None:
    with pytest.raises(ProtocolError):
        meter(1, {asked(1): reply})[0].read(fresh=False)


def test_a_range_that_auto_range_changes_in_a_stream_is_the_range_of_the_readings_after_it() -> None:
    moving = {
        ":CURRent1:AUTO?": ":CURRENT1:AUTO ON",
        # asked with all settings, then once with each of three updates
        ":CURRent1:RANGe?": [":CURRENT1:RANGE 20", ":CURRENT1:RANGE 20", ":CURRENT1:RANGE 50"],
        asked(1): [shown(P1=f"+2.30{digit}0E+3") for digit in range(4)],
    }
    hioki, _ = meter(1, moving, update_interval=0.01)
    readings = list(hioki.stream(duration=0.03))
    assert [reading.active_power.range for reading in readings] == [6000.0, 15000.0, 15000.0]
    assert [reading.status for reading in readings] == [Status.VALID, Status.NOT_SETTLED, Status.VALID]


def test_what_no_accuracy_is_stated_for_keeps_its_value_and_is_invalid() -> None:
    sensed = {":CURRent1:TYPE?": ":CURRENT1:TYPE TYPE1", asked(2): [shown(2, P1=f"+2.30{n}0E+3") for n in range(9)]}
    hioki, _ = meter(2, sensed, update_interval=0.01)
    measured = hioki.measure_power(0.03)
    assert measured.value == pytest.approx(2302.0)
    assert not measured.validity
    assert "current sensor" in measured.validity.reasons[0]


def test_behind_a_current_sensor_the_range_of_the_current_is_not_known() -> None:
    reading = meter(1, {":CURRent1:TYPE?": ":CURRENT1:TYPE TYPE1"})[0].read(fresh=False)
    assert (reading.voltage.range, reading.current.range, reading.active_power.range) == (300.0, None, None)


@pytest.mark.parametrize("ratio", [1234.5, 0.33333, 10000.0])
def test_a_ratio_that_the_instrument_would_round_is_refused_before_the_wire(ratio: float) -> None:
    hioki, link = meter(1)
    del link.sent[:]
    with pytest.raises(OutOfRange):
        hioki.configure(ct_ratio=ratio)
    assert link.sent == []
    hioki.configure(ct_ratio=1234.0)
    assert ":SCALe1:CT 1234" in link.sent


@pytest.mark.parametrize("word", ["00100000", "01000000"])
def test_a_flag_against_the_calculation_or_of_unknown_meaning_leaves_no_number(word: str) -> None:
    reading = meter(1, {asked(1): shown(status=word)})[0].read(fresh=False)
    assert reading.status == Status.INVALID


def test_a_question_that_is_refused_tells_why_and_is_not_blamed_on_the_next_command() -> None:
    """There is no reply to it, and the reason stands in the standard event register (3332 manual p. 148)."""
    hioki, _ = meter(1, {"*ESR?": ["0", "0", "8", "0"]})
    with pytest.raises(DeadlineExceeded, match="device-dependent error"):
        hioki.session.query(":INTEGrate:STATe?")
    hioki.hold(False)


def test_a_meter_that_was_switched_off_and_on_is_not_believed_until_it_is_opened_again() -> None:
    events = ["0", "0", "8", "128", "0"]
    hioki, link = meter(1, {"*ESR?": events})
    del link.answers[asked(1)]
    with pytest.raises(DeadlineExceeded):
        hioki.read()
    link.answers[asked(1)] = [shown()]
    for attempt in (hioki.read, hioki.configure, lambda: next(iter(hioki.stream()))):
        with pytest.raises(ConnectionLost, match="switched off and on"):
            attempt()
    hioki.close()
    hioki.open()
    assert float(hioki.read(fresh=False).active_power) == 2300.0


def test_a_header_that_somebody_switched_off_is_on_again_for_the_next_reading() -> None:
    hioki, link = meter(1, {asked(1): ["+230.00E+0;+10.000E+0;+2.3000E+3", shown()]})
    with pytest.raises(ProtocolError, match="named values"):
        hioki.read(fresh=False)
    del link.sent[:]
    assert float(hioki.read(fresh=False).active_power) == 2300.0
    assert link.sent.index(":HEADer ON") < link.sent.index(asked(1))
