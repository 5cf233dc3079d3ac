"""The simulated PTDaemon against the exchange that MLPerf Power's harness and checker have with the program."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from aicalib_hw.simulators.power.ptdaemon import SimulatedPTDaemon

from .wired import STEADY, Line

Bench = Callable[..., tuple[Any, Line]]

SAMPLE = re.compile(
    r"Time,(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d\.\d{3}),Watts,(-?\d+\.\d{6}),Volts,(-?\d+\.\d{6}),Amps,(-?\d+\.\d{6}),"
    r"PF,(-?\d+\.\d{6}),Mark,([^,]*)(.*)"
)


@pytest.fixture
def bench(run: Callable[..., Any], plug: Callable[..., Line]) -> Bench:
    def start(**options: Any) -> tuple[Any, Line]:
        meter = run(SimulatedPTDaemon, **options)
        return meter, plug(meter.address)

    return start


def listed(line: Line, command: str = "RL") -> list[re.Match[str]]:
    line.send(command)
    count = re.fullmatch(r"Last (\d+) samples", line.line())
    assert count is not None
    found = [SAMPLE.fullmatch(line.line()) for _ in range(int(count.group(1)))]
    return [match for match in found if match is not None]


def test_the_transcript_of_an_acceptance(bench: Bench) -> None:
    meter, line = bench()
    assert line.ask("Hello") == "Hello, PTDaemon here!"
    assert line.ask("SR,V,300") == "Range V changed"
    assert line.ask("RR") == "Ranges,1,-1.0,0,300.0"
    assert line.ask("SR,A,20") == "Range A changed"
    started = "Starting untimed measurement, maximum 500000 samples at 1000ms with 0 rampup samples"
    assert line.ask("Go,1000,0,run1_testing") == started
    meter.world.clock.advance(3.0)
    samples = listed(line)
    assert [sample.group(6) for sample in samples] == ["run1_testing"] * 3
    assert line.ask("Stop") == "Stopping untimed measurement"
    assert line.ask("Stop") == "Error: no measurement to stop"


def test_a_session_as_the_mlperf_harness_has_it(bench: Bench) -> None:
    """Ranging with automatic ranges, then testing on 1.1 times the largest current seen (power.md section 7.3)."""
    meter, line = bench()
    meter.world.run_load(0.8)
    assert line.ask("Hello") == "Hello, PTDaemon here!"
    assert re.search(r"version=SIM", line.ask("Identify"))
    _, auto_a, _, auto_v, _ = line.ask("RR").split(",")
    assert (auto_a, auto_v) == ("1", "1")
    for letter in "AV":
        assert line.ask(f"SR,{letter},Auto") == f"Range {letter} changed"
    assert line.ask("Go,1000,0,x_ranging").startswith("Starting")
    meter.world.clock.advance(10.0)
    assert line.ask("Stop").startswith("Stopping")
    assert line.ask("RL,*,*") == "Invalid number of parameters"
    seen = [sample for sample in listed(line) if float(sample.group(2)) > 0]
    amperes = max(float(sample.group(4)) for sample in seen) * 1.1
    volts = max(float(sample.group(3)) for sample in seen)
    assert line.ask(f"SR,V,{volts}") == "Range V changed"
    assert line.ask(f"SR,A,{amperes}").startswith(("Range A changed", "Error"))
    assert line.ask("Go,1000,0,x_testing").startswith("Starting")
    begin = meter.world.clock.now()
    meter.world.clock.advance(20.0)
    name, mean, least, most, total, bad, good = line.ask("Watts").split(",")
    assert (name, total, bad, good) == ("Watts", "20", "0", "20")
    assert float(least) <= float(mean) <= float(most)
    true = meter.truth.energy_between(begin, begin + 20.0) / 20.0
    name, uncertainty, _, _, total, bad, good, _ = line.ask("Uncertainty").split(",")
    assert (name, total, bad, good) == ("Uncertainty", "20", "0", "20")
    assert abs(float(mean) - true) <= float(uncertainty) * true
    assert float(uncertainty) < 0.01


def test_time_stamps_are_utc_and_an_interval_apart(bench: Bench) -> None:
    meter, line = bench()
    line.ask("Go,500,0,m")
    meter.world.clock.advance(2.0)
    stamps = [datetime.datetime.strptime(one.group(1), "%m-%d-%Y %H:%M:%S.%f") for one in listed(line)]
    assert len(stamps) == 4
    assert {(b - a).total_seconds() for a, b in pairwise(stamps)} <= {0.499, 0.5, 0.501}
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert abs((stamps[0] - now).total_seconds()) < 60.0


def test_ramp_up_samples_are_left_out(bench: Bench) -> None:
    meter, line = bench()
    assert line.ask("Go,1000,2,m").endswith("with 2 rampup samples")
    meter.world.clock.advance(5.0)
    assert len(listed(line)) == 3


def test_several_channels_are_listed_behind_their_sum(bench: Bench) -> None:
    meter, line = bench(channels=3, platform={**STEADY, "phases": 3})
    line.ask("Go,1000,0,m")
    meter.world.clock.advance(1.0)
    for command in ("RL", "RL,*,*"):
        (sample,) = listed(line, command)
        channels = re.findall(r",Ch(\d),Watts,([\d.]+),Volts,[\d.]+,Amps,[\d.]+,PF,[\d.]+", sample.group(7))
        assert [number for number, _ in channels] == ["1", "2", "3"]
        assert float(sample.group(2)) == pytest.approx(sum(float(watts) for _, watts in channels), rel=1e-6)
        assert sample.group(3) == "-1.000000"


def test_a_dc_meter_knows_only_its_own_list_command(bench: Bench) -> None:
    meter, line = bench(dc=True)
    line.ask("Go,1000,0,m")
    meter.world.clock.advance(1.0)
    assert line.ask("RL") == "Unknown command"
    assert len(listed(line, "DC-RL")) == 1


def test_a_bad_sample_is_minus_one_and_is_counted_as_bad(bench: Bench) -> None:
    meter, line = bench()
    line.ask("Go,1000,0,m")
    meter.inject({"kind": "no_data", "after": 1})
    meter.world.clock.advance(3.0)
    assert [sample.group(2) for sample in listed(line)].count("-1.000000") == 1
    assert line.ask("Watts").endswith(",3,1,2")


@pytest.mark.parametrize("wrong", ["SR,A,1000", "SR,A,many", "SR,X,3", "SR,A", "Go,fast,0,m", "Go"])
def test_what_cannot_be_done_begins_with_error(bench: Bench, wrong: str) -> None:
    _, line = bench()
    assert line.ask(wrong).startswith("Error")
    assert line.ask("Hello") == "Hello, PTDaemon here!"


def test_an_unknown_command_is_said_to_be_one(bench: Bench) -> None:
    _, line = bench()
    assert line.ask("Nonsense,1") == "Unknown command"


def test_nobody_gets_in_while_the_program_looks_for_its_analyzer(
    run: Callable[..., Any], plug: Callable[..., Line]
) -> None:
    meter = run(SimulatedPTDaemon, start_delay=0.3)
    refused = 0
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        try:
            assert plug(meter.address).ask("Hello") == "Hello, PTDaemon here!"
            break
        except (ConnectionError, OSError):
            refused += 1
            time.sleep(0.05)
    assert refused > 0
