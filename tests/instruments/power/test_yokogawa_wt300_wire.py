"""The WT300 driver against the wire as the manuals show it, typed by hand: no simulator takes part."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import pytest
from aicalib_hw.instruments.power._wt300_accuracy import components
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

from aicalib_hw.errors import (
    AicalibError,
    ConnectionLost,
    IdentityMismatch,
    InstrumentReportedError,
    NotSupported,
    ProtocolError,
    UnusableReading,
)
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import ElementReading, PowerReading, PowerSettings
from aicalib_hw.readings import Instant, Reading, Status, Window, from_plain, to_plain
from aicalib_hw.scpi.session import ScpiSession
from aicalib_hw.trace import ReplayLink

GOOD = "230.00E+00,10.000E+00,2.3000E+03,2.3000E+03,0.0000E+00,1.0000E+00,50.000E+00,NAN,0"
ITEMS = ("U", "I", "P", "S", "Q", "LAMBDA", "FU", "WH", "TIME")
SETTINGS = (
    (":INPut:MODE?", "RMS"),
    (":INPut:WIRing?", "P1W2"),
    (":INPut:VOLTage:AUTO?", "0"),
    (":INPut:CURRent:AUTO?", "0"),
    (":INPut:CFACtor?", "3"),
    (":RATE?", "500.0E-03"),
    (":INPut:FILTer:LINE?", "0"),
    (":MEASure:AVERaging:STATe?", "0"),
    (":MEASure:AVERaging:COUNt?", "8"),
    (":INPut:SCALing:STATe?", "0"),
    (":INPut:SCALing:CT:ELEMent1?", "1.000"),
    (":INPut:SCALing:VT:ELEMent1?", "1.000"),
)
QUESTIONS = (
    ":STATus:EESR?",
    ":NUMeric:NORMal:VALue?",
    ":STATus:CONDition?",
    ":INPut:VOLTage:RANGe?",
    ":INPut:CURRent:RANGe?",
    *(question for question, _ in SETTINGS),
)
NO_ERROR = (":STATus:ERRor?", '0,"No error"')


def conversation(*lines: tuple[str, str | None]) -> ReplayLink:
    """A link that expects these messages in this order and answers with what the instrument would."""
    entries: list[dict[str, str]] = []
    for sent, reply in lines:
        entries.append({"direction": "write", "text": sent})
        if reply is not None:
            entries.append({"direction": "read", "text": reply + "\n"})
    return ReplayLink(entries, resource="hand-typed")


def opening(identification: str = "YOKOGAWA,WT310E,C2PH13047V,F1.03") -> tuple[tuple[str, str | None], ...]:
    messages = ":STATus:QMESsage ON;:COMMunicate:HEADer OFF;VERBose ON"
    after = [":STATus:FILTer1 FALL", f":NUMeric:FORMat ASCii;NORMal:CLEar ALL;NUMber {len(ITEMS)}"]
    after += [f":NUMeric:NORMal:ITEM{position} {name},1" for position, name in enumerate(ITEMS, 1)]
    lines: list[tuple[str, str | None]] = [("*IDN?", identification), NO_ERROR]
    lines += [(messages, None), NO_ERROR, ("*ESR?", "128"), (":COMMunicate:REMote ON", None), NO_ERROR]
    lines += [(f":STATus:FILTer{bit} NEVer", None) for bit in range(2, 17)]
    for command in after:
        lines += [(command, None), NO_ERROR]
    return tuple(lines)


def shown(
    values: str, condition: int = 0, ranges: str = "300.0E+00;20.00E+00", settings: Mapping[str, str] | None = None
) -> PowerReading:
    """What the driver makes of these values and this condition register, all in one message and one reply."""
    answers = ";".join({**dict(SETTINGS), **(settings or {})}.values())
    lines = (*opening(), (";".join(QUESTIONS), f"1;{values};{condition};{ranges};{answers}"))
    link = conversation(*lines)
    meter = YokogawaWT300("hand-typed", link=link).open()
    reading = meter.read(fresh=False)
    assert link.exhausted
    return reading


def test_the_values_of_the_manual_are_read_with_their_units() -> None:
    reading = shown(GOOD)
    assert [float(reading.voltage), float(reading.total.current), float(reading.active_power)] == [230.0, 10.0, 2300.0]
    assert reading.active_power.unit == "W"
    assert reading.total.power_factor is not None
    assert float(reading.total.power_factor) == 1.0
    assert reading.settings.update_interval == 0.5
    assert reading.active_power.range == 6000.0
    assert reading.active_power.resolution == pytest.approx(0.1)


@pytest.mark.parametrize(
    "copied",
    [
        lambda reading: pickle.loads(pickle.dumps(reading)),
        lambda reading: from_plain(PowerReading, to_plain(reading)),
        lambda reading: replace(reading, total=replace(reading.total)),
        copy.deepcopy,
    ],
    ids=["pickled", "through JSON", "replaced", "copied"],
)
def test_a_reading_is_plain_data_also_where_nobody_has_looked_at_it(
    copied: Callable[[PowerReading], PowerReading],
) -> None:
    reading = shown(GOOD)
    other = copied(reading)
    assert other == reading
    assert reading == other
    assert float(other.active_power) == 2300.0
    assert other != replace(reading, total=replace(reading.total, frequency=None))
    assert reading.voltage is reading.voltage
    assert not hasattr(reading.total, "watts")


def test_an_update_of_a_stream_is_waited_for_and_taken_in_one_message() -> None:
    """So no update can fall between the two, which would be taken in place of the one that was waited for."""
    ranges = "300.0E+00;20.00E+00"
    link = conversation(
        *opening(),
        (";".join(QUESTIONS[3:]), f"{ranges};{';'.join(dict(SETTINGS).values())}"),
        (":STATus:EESR?", "1"),
        (f":COMMunicate:WAIT? 1;{';'.join(QUESTIONS[:5])}", f"1;1;{GOOD};0;{ranges}"),
    )
    (reading,) = YokogawaWT300("hand-typed", link=link).open().stream(duration=0.5)
    assert link.exhausted
    assert float(reading.active_power) == 2300.0
    assert reading.missed == 0


@pytest.mark.parametrize(
    ("bit", "status"),
    [
        (0, Status.VALID),
        (1, Status.VALID),
        (2, Status.VALID),
        (5, Status.VALID),
        (6, Status.OVER_RANGE),
        (7, Status.PEAK_OVER),
        (8, Status.VALID),
        (9, Status.VALID),
        (12, Status.VALID),
        (13, Status.VALID),
    ],
)
def test_of_the_condition_register_only_the_overs_of_present_elements_spoil_a_value(bit: int, status: Status) -> None:
    reading = shown(GOOD, 1 << bit)
    assert reading.status == status
    if status:
        with pytest.raises(UnusableReading):
            float(reading.active_power)


@pytest.mark.parametrize(("marker", "status"), [("INF", Status.OVER_RANGE), ("NAN", Status.NO_DATA)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_marker_in_the_values_leaves_no_value(marker: str, status: Status, place: int) -> None:
    values = GOOD.split(",")
    values[place] = marker
    reading = shown(",".join(values))
    quantity = (reading.voltage, reading.total.current, reading.active_power)[place]
    assert quantity.value is None
    assert quantity.status == status
    assert status in reading.status
    assert quantity.resolution is None


def test_a_negative_rms_current_is_nonsense_and_a_negative_direct_current_is_none() -> None:
    """A WT310E was seen to show -3.199 A and -27 W while its auto range hunted at the edge of two ranges."""
    values = GOOD.replace(",10.000E+00,2.3000E+03", ",-3.1990E+00,-27.000E+00", 1)
    assert shown(values).status is Status.INVALID
    assert float(shown(values, settings={":INPut:MODE?": "DC"}).active_power) == -27.0


@pytest.mark.parametrize("reply", ["230.00E+00,10.000E+00", GOOD + ",1", "", GOOD.replace(",", ";")])
def test_another_number_of_values_than_asked_is_garbled(reply: str) -> None:
    with pytest.raises(ProtocolError):
        shown(reply)


def test_a_current_transformer_scales_the_range_of_the_reading() -> None:
    reading = shown(GOOD, settings={":INPut:SCALing:STATe?": "1", ":INPut:SCALing:CT:ELEMent1?": "100.0"})
    assert reading.settings.ct_ratio == (100.0,)
    assert reading.total.current.range == 2000.0
    assert reading.active_power.range == 600e3
    off = shown(GOOD, settings={":INPut:SCALing:CT:ELEMent1?": "100.0"})
    assert off.total.current.range == 20.0


@pytest.mark.parametrize(("events", "error"), [("0", ProtocolError), ("128", ConnectionLost)])
def test_headers_that_somebody_left_on_are_switched_off_and_a_restart_is_told(
    events: str, error: type[AicalibError]
) -> None:
    headers = ";".join(f"{question.rstrip('?').upper()} 1" for question, _ in SETTINGS)
    reply = f":STATUS:EESR 1;{GOOD};0;:INPUT:VOLTAGE:RANGE 300.0E+00;:INPUT:CURRENT:RANGE 20.00E+00;{headers}"
    repair: tuple[str, str | None] = (":COMMunicate:HEADer OFF;VERBose ON", None)
    link = conversation(*opening(), (";".join(QUESTIONS), reply), ("*ESR?", events), repair)
    with YokogawaWT300("hand-typed", link=link) as meter:
        with pytest.raises(error) as failed:
            meter.read(fresh=False)
        assert link.exhausted
    assert "WT310E" in str(failed.value) or "hand-typed" in str(failed.value)
    assert failed.value.advice


@pytest.mark.parametrize(
    "identification", ["YOKOGAWA,WT1806E-5A3-50A3,C3,F1.01", "HIOKI,PW3336,1,1", "YOKOGAWA,WT310EX,1,1"]
)
def test_another_instrument_is_told_nothing_but_asked_its_name(identification: str) -> None:
    link = conversation(("*IDN?", identification))
    with pytest.raises(IdentityMismatch):
        YokogawaWT300("hand-typed", link=link).open()
    assert link.exhausted
    assert not link.is_open


def test_an_identification_without_four_fields_is_garbled() -> None:
    with pytest.raises(ProtocolError):
        YokogawaWT300("hand-typed", link=conversation(("*IDN?", "WT310E"))).open()


def test_a_stop_of_an_integrator_at_rest_is_harmless_and_other_errors_are_not() -> None:
    queue = ":STATus:ERRor?"
    ended = conversation(*opening(), (":INTEGrate:STOP", None), (queue, '844,"..."'), NO_ERROR)
    YokogawaWT300("hand-typed", link=ended).open().stop_integration()
    assert ended.exhausted
    other = conversation(*opening(), (":INTEGrate:STOP", None), (queue, '841,"..."'), NO_ERROR)
    with pytest.raises(InstrumentReportedError) as reported:
        YokogawaWT300("hand-typed", link=other).open().stop_integration()
    assert reported.value.code == 841


def test_an_unknown_header_leaves_its_number_and_its_words_in_the_queue() -> None:
    link = conversation((":FOO", None), (":STATus:ERRor?", '113,"Undefined Header"'), NO_ERROR)
    with pytest.raises(InstrumentReportedError) as reported:
        ScpiSession(link, error_query=":STATus:ERRor?").command(":FOO")
    assert (reported.value.code, reported.value.text) == (113, "Undefined Header")


def limit(
    power: float,
    apparent: float,
    ranges: tuple[float, float] = (300.0, 20.0),
    *,
    crest: Literal["3", "6", "6A"] = "3",
    model: str = "WT310E",
    filtered: bool = False,
    statuses: Sequence[Status] = (Status.VALID,),
    elements: int = 1,
    frequency: float | None = 50.0,
    full: float | None = 20.0,
) -> float:
    """The limit of error of a reading at 200 V without the heating of the shunt, W; full: current range as told, A."""
    now = Instant.now()
    meter, window = Identity("YOKOGAWA", model, "1", "F1.03", "hand-typed"), Window(now, now, "one moment")

    def reading(value: float, unit: str, full: float | None) -> Reading:
        return Reading(value, unit, statuses[0], window, meter, range=full)

    shown = Reading(frequency, "Hz", Status.VALID if frequency is not None else Status.NO_DATA, window, meter)
    element = ElementReading(
        reading(200.0, "V", ranges[0]),
        reading(apparent / 200.0, "A", full and ranges[1]),
        reading(power, "W", ranges[0] * ranges[1]),
        frequency=shown,
    )
    ones = (1.0,) * elements
    settings = PowerSettings(
        tuple(range(1, elements + 1)),
        "1P2W",
        ranges[:1] * elements,
        ranges[1:] * elements,
        False,
        crest,
        0.5,
        ones,
        ones,
        filtered,
        1,
    )
    stated = components(PowerReading((element,) * elements, element, settings, window, statuses[0]), model, "1")
    return sum(one.half_width or 0.0 for one in stated if one.name != "self-heating")


def test_the_limits_of_error_are_those_of_the_data_sheet() -> None:
    assert limit(4000.0, 4000.0) == pytest.approx(7.0, abs=5e-4)
    assert limit(2000.0, 4000.0) == pytest.approx(6.964, abs=5e-4)
    assert limit(1000.0, 1000.0, (150.0, 10.0), crest="6") == pytest.approx(2.5, abs=5e-4)
    assert limit(4000.0, 4000.0, filtered=True) == pytest.approx(7.0 + 0.003 * 4000, abs=5e-4)
    assert limit(4000.0, 4000.0, model="WT310") == pytest.approx(4.0 + 6.0, abs=5e-4)


def test_without_a_frequency_or_a_range_no_accuracy_is_stated_instead_of_one_for_50_hertz() -> None:
    for unknown in ({"frequency": None}, {"full": None}):
        with pytest.raises(NotSupported, match="no accuracy is stated"):
            limit(4000.0, 4000.0, **unknown)  # type: ignore[arg-type]


def test_single_phase_on_a_meter_with_three_elements_is_bounded_by_the_first_element_alone() -> None:
    alone, three = limit(4000.0, 4000.0, model="WT333E"), limit(4000.0, 4000.0, model="WT333E", elements=3)
    assert alone == three == pytest.approx(0.001 * 4000 + 0.0005 * 300 * 20, abs=5e-4)


def test_a_reading_that_is_not_valid_has_no_accuracy() -> None:
    with pytest.raises(UnusableReading):
        limit(4000.0, 4000.0, statuses=(Status.OVER_RANGE,))
