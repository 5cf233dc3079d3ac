"""The PTDaemon server on simulated meters, asked as the MLPerf harness asks: expected texts are that harness's."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.power.yokogawa_wt300 import YokogawaWT300

from aicalib_hw import registry
from aicalib_hw.errors import ConnectionFailed, RecordError, UsageError
from aicalib_hw.serve._common_samples import Channel, Sample
from aicalib_hw.serve.ptdaemon import PTDaemonServer, _number, _uncertainty_of

from .harness import SAMPLE, Harness


@pytest.fixture
def meter(simulated_power_meter: Any) -> Iterator[YokogawaWT300]:
    with YokogawaWT300(simulated_power_meter.address) as opened:
        opened.configure(voltage_range=300.0, current_range=20.0, update_interval=0.5)
        yield opened


@pytest.fixture
def daemon(meter: YokogawaWT300, tmp_path: Path) -> Iterator[PTDaemonServer]:
    server = PTDaemonServer([meter], port=0, log=tmp_path / "ptd.log")
    yield server
    server.stop()


def when(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def marked(log: Path, mark: str) -> list[re.Match[str]]:
    """The samples of this mark, as the harness finds them."""
    found = [SAMPLE.fullmatch(line) for line in log.read_text().splitlines()]
    return [one for one in found if one is not None and one["mark"] == mark]


def test_the_exchange_of_the_mlperf_harness_gives_it_what_it_expects(
    daemon: PTDaemonServer, meter: YokogawaWT300, simulated_power_meter: Any, tmp_path: Path
) -> None:
    log = tmp_path / "ptd.log"
    with Harness(*daemon.start()) as harness:
        assert harness.cmd("Hello") == "Hello, PTDaemon here!"
        assert "version=" in harness.cmd("Identify")
        assert harness.cmd("RR") == "Ranges,0,20,0,300"
        assert harness.cmd("SR,V,Auto") == "Range V changed"
        assert harness.cmd("SR,A,Auto") == "Range A changed"
        ranging = harness.cmd("Go,100,0,run1_ranging")
        assert ranging == "Starting untimed measurement, maximum 500000 samples at 100ms with 0 rampup samples"
        when(lambda: len([one for one in marked(log, "run1_ranging") if one["watts"] != "-1.000000"]) >= 3)
        assert harness.cmd("Stop") == "Stopping untimed measurement"
        volts = str(max(Decimal(one["volts"]) for one in marked(log, "run1_ranging")))
        amps = str(max(Decimal(one["amps"]) for one in marked(log, "run1_ranging")))
        assert harness.cmd(f"SR,V,{volts}") == "Range V changed"
        assert harness.cmd(f"SR,A,{amps}") == "Range A changed"
        in_force = meter.configure()
        assert in_force.voltage_range[0] == 300.0  # the smallest that holds some 230 V
        assert in_force.auto_range is False
        harness.cmd("Go,100,0,run1_testing")
        when(lambda: len(marked(log, "run1_testing")) >= 5)
        assert harness.cmd("Stop") == "Stopping untimed measurement"
        assert harness.cmd("Stop") == "Error: no measurement to stop"
        statistic = harness.cmd("Watts").split(",")
        uncertainty = harness.cmd("Uncertainty").split(",")
        assert harness.cmd("SR,V,300.0") == "Range V changed"
        assert harness.cmd("SR,A,Auto") == "Range A changed"
    watts = [float(one["watts"]) for one in marked(log, "run1_testing")]
    total, bad, good = (int(word) for word in statistic[4:])
    assert (total, bad, good) == (len(watts), 0, len(watts))
    assert float(statistic[1]) == pytest.approx(math.fsum(watts) / len(watts), abs=1e-6)
    assert (float(statistic[2]), float(statistic[3])) == (min(watts), max(watts))
    assert float(statistic[1]) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.02)
    assert len(uncertainty) == 8
    assert 0 < float(uncertainty[2]) <= float(uncertainty[1]) <= float(uncertainty[3]) < 0.05


def test_each_client_gets_every_sample_once_and_their_times_are_one_interval_apart(daemon: PTDaemonServer) -> None:
    host, port = daemon.start()
    with Harness(host, port) as one, Harness(host, port) as other:
        assert one.cmd("RL,*,*") == "Invalid number of parameters"
        assert one.cmd("Go,100,0,steady").startswith("Starting")
        seen: list[str] = []
        while len(seen) < 6:
            seen += one.last()
            time.sleep(0.02)
        one.cmd("Stop")
        seen += one.last()
        assert other.last() == seen
        assert one.last() == []
    times = [line.split(",")[1] for line in seen]
    seconds = [float(text[-6:]) for text in times]
    assert all(re.fullmatch(r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d\.\d{3}", text) for text in times)
    steps = [(later - earlier) % 60 for earlier, later in pairwise(seconds)]
    assert steps == pytest.approx([0.1] * len(steps), abs=1e-6)


def test_an_update_that_is_no_number_makes_its_sample_bad_and_the_log_says_why(
    daemon: PTDaemonServer, simulated_power_meter: Any, tmp_path: Path
) -> None:
    simulated_power_meter.inject({"kind": "over_range", "after": 30, "count": 40})
    with Harness(*daemon.start()) as harness:
        harness.cmd("Go,100,0,over")
        log = tmp_path / "ptd.log"
        when(lambda: any(one["watts"] == "-1.000000" for one in marked(log, "over")))
        when(lambda: marked(log, "over")[-1]["watts"] != "-1.000000")
        harness.cmd("Stop")
        _, average, least, _, total, bad, good = harness.cmd("Watts").split(",")
    assert int(total) == int(bad) + int(good)
    assert int(bad) >= 1
    assert float(least) > 0
    assert "Bad watts reading nan from WT310E: OVER_RANGE" in log.read_text()
    assert float(average) == pytest.approx(simulated_power_meter.truth.active_power, rel=0.02)


def test_while_it_measures_ranges_stay_and_a_second_measurement_is_refused(daemon: PTDaemonServer) -> None:
    with Harness(*daemon.start()) as harness:
        harness.cmd("Go,100,0,first")
        assert harness.cmd("SR,A,Auto").startswith("Error")
        assert harness.cmd("Go,100,0,second").startswith("Error")
        assert harness.cmd("RR") == "Ranges,0,20,0,300"
        harness.cmd("Stop")


@pytest.mark.parametrize(
    "command",
    [
        "SR,A,1000000",
        "SR,A,nan",
        "SR,A,-1",
        "SR,A",
        "SR,W,300",
        "Go",
        "Go,0,0,x",
        "Go,fast,0,x",
        "Go,1000,5,x",
        "Go,10,0,x",
    ],
)
def test_what_cannot_be_done_is_an_error_and_changes_nothing(
    daemon: PTDaemonServer, meter: YokogawaWT300, command: str
) -> None:
    before = meter.configure()
    with Harness(*daemon.start()) as harness:
        assert harness.cmd(command).startswith("Error")
        assert harness.cmd("Hello") == "Hello, PTDaemon here!"
    assert meter.configure() == before


@pytest.mark.parametrize("command", ["", "Time", "hello", "DC-RL", "\x00\xff", "x" * 3000])
def test_what_is_not_known_is_answered_so(daemon: PTDaemonServer, command: str) -> None:
    with Harness(*daemon.start()) as harness:
        assert harness.cmd(command) == "Unknown command"
        assert harness.cmd("Hello") == "Hello, PTDaemon here!"


def test_what_it_measures_on_keeps_its_update_interval_after_the_measurement(
    daemon: PTDaemonServer, meter: YokogawaWT300
) -> None:
    with Harness(*daemon.start()) as harness:
        harness.cmd("Go,250,0,x")
        harness.cmd("Stop")
    assert meter.configure().update_interval == 0.5


def test_a_simulated_meter_cannot_pass_for_a_real_one_through_the_daemon(daemon: PTDaemonServer) -> None:
    with Harness(*daemon.start()) as harness:
        told = harness.cmd("Identify")
    assert "WT310E" in told
    assert re.search(r"serial=SIM[^,]+,version=SIM", told)


def test_a_server_without_meters_a_taken_port_and_an_unwritable_log_say_so(
    meter: YokogawaWT300, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no meter"):
        PTDaemonServer([])
    with pytest.raises(RecordError, match="log"):
        PTDaemonServer([meter], port=0, log=tmp_path / "missing" / "ptd.log").start()
    first = PTDaemonServer([meter], port=0)
    _, port = first.start()
    try:
        with pytest.raises(ConnectionFailed, match="listen"):
            PTDaemonServer([meter], port=port).start()
    finally:
        first.stop()
        first.stop()


def test_a_link_that_breaks_makes_bad_samples_and_the_measurement_goes_on(
    daemon: PTDaemonServer, simulated_power_meter: Any, tmp_path: Path
) -> None:
    log = tmp_path / "ptd.log"
    with Harness(*daemon.start()) as harness:
        harness.cmd("Go,100,0,broken")
        when(lambda: len(marked(log, "broken")) >= 2)
        simulated_power_meter.inject({"kind": "drop", "count": 1})
        when(lambda: any(one["watts"] == "-1.000000" for one in marked(log, "broken")))
        when(lambda: marked(log, "broken")[-1]["watts"] != "-1.000000")
        assert harness.cmd("Stop") == "Stopping untimed measurement"
    assert "the connection broke" in log.read_text()


def test_two_meters_are_summed_with_their_sign_and_a_missing_one_makes_the_sum_bad() -> None:
    def channel(watts: float, uncertainty: float | None = 0.001) -> Channel:
        return Channel(watts, 230.0, abs(watts) / 230, 1.0, uncertainty)

    fed_back = Sample(0, (channel(500.0), channel(-120.0)), ())
    assert fed_back.watts == 380.0
    # limits of 0.5 W and 0.12 W, of one direction, on 380 W
    assert _uncertainty_of(fed_back) == pytest.approx(0.62 / 380)
    assert Sample(0, (channel(500.0), None), ("gone",)).watts is None
    assert _uncertainty_of(Sample(0, (channel(500.0), channel(1.0, None)), ())) is None


def test_a_power_of_minus_one_watt_is_not_written_as_a_bad_sample() -> None:
    assert _number(-1.0) == "-1.000001"
    assert _number(None) == "-1.000000"
    assert _number(-1.0000004) == "-1.000001"
    assert _number(-2.5) == "-2.500000"


def test_two_simulated_meters_are_served_as_channels_of_one_daemon() -> None:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 20})
    simulated = [registry.simulator("yokogawa-wt300")(world, name) for name in ("first", "second")]
    world.start()
    for one in simulated:
        one.start()
    world.run_load(0.5)
    try:
        with YokogawaWT300(simulated[0].address) as first, YokogawaWT300(simulated[1].address) as second:
            for one in (first, second):
                one.configure(voltage_range=300.0, current_range=20.0, update_interval=0.1)
            server = PTDaemonServer([first, second], port=0)
            with Harness(*server.start()) as harness:
                harness.cmd("Go,200,0,both")
                lines: list[str] = []
                while len(lines) < 3:
                    lines += harness.last("RL,*,*")
                    time.sleep(0.02)
                harness.cmd("Stop")
            server.stop()
    finally:
        for one in simulated:
            one.stop()
        world.stop()
    for line in lines:
        whole, one, two = (float(text) for text in re.findall(r"Watts,(-?[\d.]+)", line))
        assert whole == pytest.approx(one + two, abs=2e-6)
        assert one == pytest.approx(two, rel=0.05)
