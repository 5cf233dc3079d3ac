"""The PTDaemon client against the texts that the MLPerf harness's sources and logs show, typed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from aicalib_hw.instruments.power._ptdaemon_lines import (
    identification,
    parse_last,
    parse_ranges,
    parse_sample,
    parse_time,
    parse_uncertainty,
)
from aicalib_hw.instruments.power.ptdaemon import PTDaemonMeter
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import (
    AicalibError,
    DeadlineExceeded,
    IdentityMismatch,
    InstrumentReportedError,
    NotSupported,
    OutOfRange,
    ProtocolError,
    UsageError,
)
from aicalib_hw.readings import Status

from .typed_link import TypedLink

LINE = "Time,12-28-2020 15:21:{second:02d}.682,Watts,{watts},Volts,228.570000,Amps,0.206430,PF,0.486400,Mark,aicalib"
STARTED = "Starting untimed measurement, maximum 500000 samples at 1000ms with 0 rampup samples"


def line(second: int, watts: str = "22.950000") -> str:
    return LINE.format(second=second, watts=watts)


def listed(*samples: str) -> str:
    """An answer to RL."""
    return "\n".join((f"Last {len(samples)} samples", *samples))


def daemon(**answers: Any) -> tuple[PTDaemonMeter, TypedLink]:
    """An open client on a typed daemon of a single channel; answers by command, `RL` for one that lists samples."""
    link = TypedLink(
        {
            "Hello": "Hello, PTDaemon here!",
            "Identify": "YokogawaWT310,0000,version=1.11.1-abcd",
            "RR": "Ranges,1,-1.0,0,300.0",
            "Go,1000,0,aicalib": STARTED,
            "RL,*,*": "Invalid number of parameters",
            "Stop": "Stopping untimed measurement",
            "Uncertainty": "Uncertainty,0.001000,0.000900,0.001100,692,0,692,0",
            **answers,
        }
    )
    return PTDaemonMeter("ptdaemon://typed", link=link).open(), link


def test_a_sample_line_of_the_log_is_read_with_its_time_and_units() -> None:
    meter, _ = daemon(RL=[listed(), listed(line(14))])
    reading = meter.read()
    assert float(reading.active_power) == 22.95
    assert (float(reading.voltage), float(reading.current)) == (228.57, 0.20643)
    assert reading.power_factor is not None
    assert float(reading.power_factor) == 0.4864
    assert datetime.fromtimestamp(reading.window.stop.utc_ns / 1e9, UTC) == datetime(
        2020, 12, 28, 15, 21, 14, 682000, UTC
    )
    assert reading.window.duration == 1.0
    assert reading.settings.voltage_range == (300.0,)
    assert reading.settings.current_range == ()


def test_a_negative_power_keeps_its_sign_and_a_bad_value_is_no_data() -> None:
    meter, _ = daemon(RL=[listed(), listed(line(14, "-22.950000"), line(15, "-1.000000"), line(16, "-1.500000"))])
    stream = meter.stream()
    first, bad, last = next(stream), next(stream), next(stream)
    assert float(first.active_power) == -22.95
    assert bad.active_power.value is None
    assert bad.status == Status.NO_DATA
    assert float(last.active_power) == -1.5


def test_samples_come_once_each_whether_the_daemon_lists_all_or_the_new_ones_and_a_gap_is_counted() -> None:
    all_of_them = [listed(line(1)), listed(line(1), line(2)), listed(line(1), line(2), line(3), line(6))]
    meter, _ = daemon(RL=all_of_them)
    stream = meter.stream()
    seconds, missed = [], []
    for _ in range(3):
        reading = next(stream)
        seconds.append(reading.window.stop.utc_ns // 10**9 % 60)
        missed.append(reading.missed)
    assert seconds == [2, 3, 6]
    assert missed == [0, 0, 2]


def test_a_sample_that_was_returned_before_is_stale() -> None:
    meter, _ = daemon(RL=[listed(), listed(line(1)), listed()])
    assert meter.read().status == Status.VALID
    assert meter.read(fresh=False).status == Status.STALE


def test_several_channels_are_elements_and_the_line_is_their_sum() -> None:
    text = (
        "Time,12-28-2020 15:21:14.682,Watts,30.000000,Volts,-1.000000,Amps,-1.000000,PF,-1.000000,Mark,m,"
        "Ch1,Watts,50.000000,Volts,230.000000,Amps,0.250000,PF,0.870000,"
        "Ch2,Watts,-20.000000,Volts,230.000000,Amps,0.100000,PF,-0.870000"
    )
    meter, link = daemon(**{"RL,*,*": [listed(), listed(text)]})
    reading = meter.read()
    assert [float(one.active_power) for one in reading.elements] == [50.0, -20.0]
    assert float(reading.active_power) == 30.0
    assert reading.status == Status.VALID  # a sum has no voltage of its own
    assert meter.capabilities.elements == 2
    assert "RL" not in link.sent


def test_a_meter_for_direct_current_is_asked_in_its_own_words() -> None:
    meter, link = daemon(**{"RL,*,*": "Unknown command", "DC-RL": [listed(), listed(line(3))]})
    assert float(meter.read().active_power) == 22.95
    assert link.sent.count("RL,*,*") == 1


def test_the_uncertainty_is_the_largest_that_the_daemon_states() -> None:
    meter, _ = daemon(RL=[listed(), listed(line(1)), listed(line(2)), listed(line(3))])
    measured = meter.measure_power(1.0)
    (stated,) = (one for one in measured.components if one.name != "resolution")
    # 0.11 % of 22.95 W
    assert (stated.half_width, stated.unit) == (pytest.approx(0.025245), "W")
    assert measured.value == 22.95


def test_without_uncertainty_of_the_daemon_a_result_keeps_its_value_and_is_invalid() -> None:
    for measure in ("measure_power", "measure_energy"):
        meter, _ = daemon(
            RL=[listed(), listed(line(1)), listed(line(2))],
            Uncertainty="Uncertainty,-1.000000,-1.000000,-1.000000,1,1,0,0",
        )
        measured = getattr(meter, measure)(1.0)
        assert measured.value == 22.95
        assert not measured.validity
        assert "states no uncertainty" in " ".join(measured.validity.reasons)


def test_a_negative_rms_current_is_nonsense_and_a_negative_direct_current_is_none() -> None:
    """Analyzers were seen to show -3.199 A and -27 W while auto range hunted at the edge of two ranges."""
    negative = line(1, "-27.000000").replace("Amps,", "Amps,-")
    assert "Amps,-0" in negative
    meter, _ = daemon(RL=[listed(), listed(negative)])
    assert meter.read().status == Status.INVALID
    direct, _ = daemon(**{"RL,*,*": "Unknown command", "DC-RL": [listed(), listed(negative)]})
    assert float(direct.read().active_power) == -27.0


def test_energy_is_the_sum_of_samples_and_a_gap_leaves_none() -> None:
    samples = [listed(), listed(line(1), line(2, "23.050000"), line(3, "23.000000"))]
    meter, _ = daemon(RL=samples)
    energy = meter.measure_energy(3.0)
    assert energy.value == pytest.approx(22.95 + 23.05 + 23.0)
    assert (energy.unit, energy.definition) == ("J", "energy/active/summed-intervals")
    widths = {one.name: one.half_width for one in energy.components}
    assert widths["as PTDaemon states it"] == pytest.approx(0.0011)
    assert widths["start and stop"] == pytest.approx(1.0 / 3.0)
    gap, _ = daemon(RL=[listed(), listed(line(1), line(2), line(4))])
    broken = gap.measure_energy(3.0)
    assert broken.value is None
    assert "missed" in " ".join(broken.validity.reasons)


@pytest.mark.parametrize(
    ("setting", "sent"),
    [
        ({"current_range": 20.0}, ["SR,A,20"]),
        ({"voltage_range": 300.0}, ["SR,V,300"]),
        ({"auto_range": True}, ["SR,V,Auto", "SR,A,Auto"]),
    ],
)
def test_ranges_are_set_in_the_daemons_words(setting: Mapping[str, Any], sent: list[str]) -> None:
    meter, link = daemon(
        **{
            "SR,A,20": "Range A changed",
            "SR,V,300": "Range V changed",
            "SR,V,Auto": "Range V changed",
            "SR,A,Auto": "Range A changed",
        }
    )
    meter.configure(**setting)
    assert [text for text in link.sent if text.startswith("SR")] == sent


@pytest.mark.parametrize(
    ("setting", "refused"),
    [
        ({"wiring": "3P4W"}, NotSupported),
        ({"ct_ratio": 100.0}, NotSupported),
        ({"update_interval": 0.5}, OutOfRange),
        ({"current_range": float("nan")}, OutOfRange),
        ({"auto_range": True, "current_range": 20.0}, UsageError),
    ],
)
def test_what_the_daemon_cannot_set_is_refused_before_the_wire(
    setting: Mapping[str, Any], refused: type[AicalibError]
) -> None:
    meter, link = daemon()
    del link.sent[:]
    with pytest.raises(refused):
        meter.configure(**setting)
    assert link.sent == []


def test_auto_range_is_not_ended_where_the_range_in_force_is_unknown() -> None:
    with pytest.raises(UsageError, match="without a range"):
        daemon()[0].configure(auto_range=False)


def test_a_range_that_the_daemon_refuses_is_reported_in_its_words() -> None:
    meter, _ = daemon(**{"SR,A,7": "Error: no such range"})
    with pytest.raises(InstrumentReportedError, match="no such range"):
        meter.configure(current_range=7.0)


def test_a_measurement_of_somebody_else_is_not_disturbed() -> None:
    meter, link = daemon(**{"Go,1000,0,aicalib": "Error: already measuring"})
    with pytest.raises(InstrumentReportedError, match="already measuring"):
        meter.read()
    assert meter.release()
    assert "Stop" not in link.sent


def test_what_was_started_here_is_stopped_at_the_end() -> None:
    meter, link = daemon(RL=[listed(), listed(line(1))])
    meter.read()
    assert meter.close().actions == ("the daemon's measurement was stopped",)
    assert link.sent[-1] == "Stop"
    assert not meter.is_open


def test_a_daemon_that_stops_sampling_is_a_typed_error_and_not_an_old_sample() -> None:
    meter, _ = daemon(RL=listed())
    with pytest.raises(DeadlineExceeded, match="no sample"):
        meter.read(timeout=0.05)


@pytest.mark.parametrize("greeting", ["Hello", "Hello from server!", ""])
def test_another_service_on_the_port_is_no_daemon(greeting: str) -> None:
    link = TypedLink({"Hello": greeting})
    with pytest.raises(IdentityMismatch, match="no PTDaemon"):
        PTDaemonMeter("ptdaemon://typed", link=link).open()


def test_the_identity_holds_the_daemons_version_and_the_mark_of_a_simulation() -> None:
    assert daemon()[0].identity.firmware == "1.11.1-abcd"
    assert not daemon()[0].identity.simulated
    assert daemon(Identify="YokogawaWT310,version=SIM-1")[0].identity.simulated
    assert identification("YokogawaWT310,a,b=c=d") == {"model": "YokogawaWT310", "b": "c=d"}


@pytest.mark.parametrize(
    "address",
    ["ptdaemon://", "ptdaemon://host:port", "ptdaemon://host/path", "ptdaemon://[::1]:8888", "TCPIP::host::INSTR"],
)
def test_what_is_no_address_of_a_daemon_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="PTDaemon"):
        PTDaemonMeter(address)


@pytest.mark.parametrize("interval", [0.0, -1.0, 0.0005, 1.00005])
def test_an_interval_is_whole_milliseconds(interval: float) -> None:
    with pytest.raises(UsageError, match="milliseconds"):
        PTDaemonMeter("ptdaemon://typed", update_interval=interval)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Time",
        "Watts,1,Volts,1,Amps,1",
        "Time,28-12-2020 15:21:14.682,Watts,1,Volts,1,Amps,1",
        "Time,12-28-2020 15:21:14.682,Watts,1,Volts,1",
        "Time,12-28-2020 15:21:14.682,Watts,1,Watts,2,Volts,1,Amps,1",
        "Time,12-28-2020 15:21:14.682,Watts,1,Volts,1,Amps,1,Ch1,Watts,1",
        "Notice,12-28-2020 15:21:14.682,Bad watts reading nan from WT310",
    ],
)
def test_a_line_that_is_no_sample_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_sample(text)


def test_ranges_and_statistics_are_read_as_the_sources_show_them() -> None:
    ranges = parse_ranges("Ranges,1,-1.0,0,300.0")
    assert (ranges.current_auto, ranges.current) == (True, None)
    assert (ranges.voltage_auto, ranges.voltage) == (False, 300.0)
    assert parse_ranges("Ranges,-1,20,-1,-1.0").current_auto is None
    assert parse_last("Last 3 samples") == 3
    assert parse_last("Last three samples") is None
    assert parse_uncertainty("Uncertainty,0.001,0.0009,0.0011,692,0,692,0") == 0.0011
    assert parse_uncertainty("Uncertainty,-1,-1,-1,692,692,0,0") is None
    for wrong in ("Ranges", "Ranges,2,1,1,1", "Ranges,1,a,1,1"):
        with pytest.raises(ProtocolError):
            parse_ranges(wrong)


@given(
    st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)),
    st.integers(0, 999),
)
def test_a_time_of_the_daemon_is_utc_to_the_millisecond(moment: datetime, millisecond: int) -> None:
    whole = moment.replace(microsecond=millisecond * 1000, tzinfo=UTC)
    text = f"{whole:%m-%d-%Y %H:%M:%S}.{millisecond:03d}"
    assert parse_time(text) == round(whole.timestamp() * 1000) * 10**6


@given(st.text(alphabet="TimeWatsVolAmpPFMrkCh123,.:- ", max_size=80))
def test_no_garbled_line_ends_in_a_foreign_error(text: str) -> None:
    for parse in (parse_sample, parse_ranges, parse_uncertainty):
        try:
            parse(text)
        except ProtocolError:
            continue
