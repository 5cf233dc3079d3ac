"""The LMG600 driver against lines as public programs and a log of a real LMG670 show them: no simulator takes part."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from aicalib_hw.instruments.power._zes_cycles import moment
from aicalib_hw.instruments.power.zes_lmg600 import ZesLMG600
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import (
    IdentityMismatch,
    InstrumentReportedError,
    NotSupported,
    OutOfRange,
    ProtocolError,
    UsageError,
)
from aicalib_hw.readings import Status

from .typed_link import TypedLink

STAMP = "2015:01:21D17:20:55.437817000+0000"
ITEMS = "tsnorm1?;durnorm1?;utrms1?;itrms1?;p1?;s1?;q1?;pf1?;fcyc1?"
# The log's line, without the columns that this driver does not ask, and with S and Q of an idle output.
IDLE = f"{STAMP};0.500101824;2.316219E+02;0.000000E+00;0.000000E+00;0.000000E+00;0.000000E+00;9.910000E+37;4.998982E+01"
LOADED = (
    f"{STAMP};0.500101824;2.316219E+02;1.000000E+01;2.316219E+03;2.316219E+03;0.000000E+00;1.000000E+00;4.998982E+01"
)


def later(line: str, second: int) -> str:
    return line.replace("17:20:55", f"17:20:{second}")


def link_of(*stream: str, **more: str) -> TypedLink:
    answers = {
        "*IDN?": "ZES ZIMMER Electronic Systems GmbH,LMG670,01234567,4.022",
        ":SENS:SWE:TIME?": "0.5",
        "URNG1?": "2.500000E+02",
        "IRNG1?": "1.000000E+01",
        "cont off;*opc?": "1",
        ITEMS: LOADED,
    }
    link = TypedLink({**answers, **more})
    link._lines = list(stream)
    return link


def opened(link: TypedLink) -> ZesLMG600:
    return ZesLMG600("typed", link=link).open()


class Streaming(TypedLink):
    """Sends lines by itself from `cont on` to `cont off`."""

    def __init__(self, base: TypedLink, lines: list[str]) -> None:
        super().__init__({question: answer[0] for question, answer in base.answers.items()})
        self._cycles = lines

    def write(self, message: str) -> None:
        super().write(message)
        if message == "cont on":
            self._lines = list(self._cycles)


def test_a_cycle_of_the_log_is_read_with_its_units_and_its_own_length() -> None:
    reading = opened(link_of()).read(fresh=False)
    assert float(reading.voltage) == 231.6219
    assert float(reading.active_power) == 2316.219
    assert reading.window.duration == pytest.approx(0.500101824)
    assert STAMP in reading.window.rule
    assert reading.voltage.range == 250.0
    assert reading.missed is None


def test_the_power_factor_of_no_current_is_no_data_and_the_power_is_still_a_number() -> None:
    reading = opened(link_of(**{ITEMS: IDLE})).read(fresh=False)
    assert reading.total.power_factor is not None
    assert reading.total.power_factor.status is Status.NO_DATA
    assert reading.total.power_factor.value is None
    assert float(reading.active_power) == 0.0
    assert reading.status is Status.VALID


@pytest.mark.parametrize(("marker", "status"), [("9.9E+37", Status.OVER_RANGE), ("-9.9E+37", Status.OVER_RANGE)])
def test_infinity_is_over_range_and_spoils_the_reading(marker: str, status: Status) -> None:
    reading = opened(link_of(**{ITEMS: LOADED.replace("1.000000E+01", marker)})).read(fresh=False)
    assert reading.total.current.value is None
    assert status in reading.status


def test_a_negative_rms_value_is_nonsense() -> None:
    reading = opened(link_of(**{ITEMS: LOADED.replace("1.000000E+01", "-3.199000E+00")})).read(fresh=False)
    assert Status.INVALID in reading.active_power.status


def test_the_same_cycle_looked_at_twice_is_stale() -> None:
    meter = opened(link_of())
    assert meter.read(fresh=False).status is Status.VALID
    assert meter.read(fresh=False).status is Status.STALE


def test_every_cycle_of_a_stream_comes_once_and_a_missing_one_is_counted() -> None:
    lines = [LOADED, LOADED.replace("55.437817", "55.937918"), LOADED.replace("55.437817", "57.438325")]
    link = Streaming(link_of(), lines)
    meter = opened(link)
    readings = list(meter.stream(duration=1.5))
    assert [reading.missed for reading in readings] == [0, 0, 2]
    assert link.sent[-1] == "cont off;*opc?"
    assert meter.read(fresh=False).status is Status.VALID


def test_the_energy_is_power_times_the_length_of_each_cycle_and_a_gap_leaves_none() -> None:
    two = [LOADED, LOADED.replace("55.437817", "55.937918").replace("2.316219E+03", "1.000000E+03")]
    measurement = opened(Streaming(link_of(), two)).measure_energy(1.0)
    assert measurement.value == pytest.approx(0.500101824 * (2316.219 + 1000.0))
    assert measurement.definition == "energy/active/summed-intervals"
    assert measurement.validity
    gap = [LOADED, LOADED.replace("55.437817", "57.438325")]
    spoiled = opened(Streaming(link_of(), gap)).measure_energy(1.0)
    assert spoiled.value is None
    assert not spoiled.validity


def test_settings_are_sent_in_the_shortest_form_and_checked_in_the_language_that_reports_errors() -> None:
    good = {
        f"{command};:SYST:ERR:ALL?": '0,"No error"'
        for command in (
            ":SENS:VOLT:RANG:AUTO1 0",
            ":SENS:VOLT:RANG1 250",
            ":SENS:SWE:TIME 0.05",
        )
    }
    link = link_of(**good)
    meter = opened(link)
    before = len(link.sent)
    meter.configure(voltage_range=250.0, update_interval=0.05)
    assert link.sent[before : before + 5] == ["*zlang scpi", *good, "*zlang short"]
    refused = link_of(**{**good, ":SENS:SWE:TIME 0.05;:SYST:ERR:ALL?": '-222,"Data out of range"'})
    with pytest.raises(InstrumentReportedError) as reported:
        opened(refused).configure(update_interval=0.05)
    assert reported.value.code == -222
    assert refused.sent[-1] == "*zlang short"


@pytest.mark.parametrize("setting", ["wiring", "crest_factor", "ct_ratio", "vt_ratio", "line_filter", "averaging"])
def test_what_no_fact_tells_how_to_set_is_not_supported_and_nothing_is_sent(setting: str) -> None:
    link = link_of()
    meter = opened(link)
    before = len(link.sent)
    with pytest.raises(NotSupported):
        meter.configure(**{setting: 1})  # type: ignore[arg-type]
    for act in (meter.start_integration, meter.stop_integration, meter.reset_integration):
        with pytest.raises(NotSupported):
            act()
    assert link.sent[before:] == []


def test_several_channels_add_up_with_their_sign() -> None:
    items = ITEMS + ";utrms2?;itrms2?;p2?;s2?;q2?;pf2?;fcyc2?"
    reversed_channel = "2.300000E+02;1.000000E+01;-3.000000E+02;2.300000E+03;0.000000E+00;1.000000E+00;5.0E+01"
    link = link_of(**{items: f"{LOADED};{reversed_channel}", "URNG1?;URNG2?": "250;250", "IRNG1?;IRNG2?": "10;10"})
    reading = ZesLMG600("typed", link=link, channels=(1, 2)).open().read(fresh=False)
    assert float(reading.active_power) == pytest.approx(2316.219 - 300.0)
    assert float(reading.total.voltage) == pytest.approx((231.6219 + 230.0) / 2)
    assert reading.total.power_factor is None


def test_nothing_else_can_be_asked_while_a_stream_runs() -> None:
    meter = opened(Streaming(link_of(), [LOADED, later(LOADED, 56)]))
    stream = meter.stream()
    next(stream)
    with pytest.raises(UsageError):
        meter.read()
    assert meter.release()


def test_a_line_of_another_number_of_values_is_no_cycle() -> None:
    with pytest.raises(ProtocolError):
        opened(link_of(**{ITEMS: LOADED + ";1"})).read(fresh=False)


def test_another_instrument_is_not_configured() -> None:
    link = link_of(**{"*IDN?": "YOKOGAWA,WT310E,C3,F1.03"})
    with pytest.raises(IdentityMismatch):
        opened(link)


@pytest.mark.parametrize("channels", [(), (0,), (8,), (1, 1)])
def test_channels_that_do_not_exist_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        ZesLMG600("typed", channels=channels)


def test_a_range_that_is_no_number_is_refused_before_the_wire() -> None:
    link = link_of()
    meter = opened(link)
    before = len(link.sent)
    with pytest.raises(OutOfRange):
        meter.configure(voltage_range=float("nan"))
    assert link.sent[before:] == []


def test_break_goes_to_its_own_port_and_wants_a_zero_in_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer() -> bytes:
            wire, _ = server.accept()
            with wire:
                heard = wire.recv(64)
                wire.sendall(b"0 ok\n")
                return heard

        heard = pool.submit(answer)
        address = "TCPIP::127.0.0.1::5025::SOCKET"
        ZesLMG600(address, link=link_of(), break_port=server.getsockname()[1]).open()
        assert heard.result(5) == b"break\n"


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1)))
def test_the_instruments_time_stamp_is_read_to_the_microsecond(at: datetime) -> None:
    text = at.strftime("%Y:%m:%dD%H:%M:%S.%f") + "123+0000"
    assert moment(text) == at.replace(tzinfo=UTC)
