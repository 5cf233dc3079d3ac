"""A simulated meter through the command line: identified, read, logged, and made safe after a program that died."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aicalib_hw.bench import Simulation, runtime_directory, simulate_bench
from aicalib_hw.leases import LeaseBook

from .conftest import Command

BENCH = """
[bench]
name = "lab"

[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
options = { model = "WT310E" }

[world]
seed = 3

[world.platform]
idle_power = 100.0
full_power = 400.0
"""

LEAVES_AN_INTEGRATION_BEHIND = """
import sys, time
from aicalib_hw.bench import open_bench
bench = open_bench(sys.argv[1])
bench.the("power_meter").start_integration(duration=3600)
print("integrating", flush=True)
time.sleep(60)
"""


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """A simulated meter that runs on its own, as a real one would."""
    Path("simulated.toml").write_text(BENCH)
    with simulate_bench("./simulated.toml") as running:
        yield running


@pytest.fixture
def address(simulation: Simulation) -> str:
    return simulation.addresses["meter"]


@pytest.fixture
def lab(address: str) -> str:
    """A bench file that names the meter by its address, as if it were a real one."""
    text = BENCH.replace('simulator = "yokogawa-wt300"', f'address = "{address}"')
    Path("lab.toml").write_text(text.replace('options = { model = "WT310E" }', ""))
    return "lab"


def test_who_is_there_is_told_with_driver_and_mark(aicalib: Command, address: str) -> None:
    told = json.loads(aicalib("identify", address, "--json").out)
    assert (told["maker"], told["model"], told["driver"]) == ("YOKOGAWA", "WT310E", "yokogawa-wt300")
    assert told["simulated"] is True
    assert told["serial"].startswith("SIM")
    assert "simulated" in aicalib("identify", address).out


def test_one_reading_shows_every_quantity_with_its_unit(aicalib: Command, address: str, simulation: Simulation) -> None:
    ended = aicalib("read", address)
    assert ended.status == 0
    assert "(simulated)" in ended.out
    for quantity, unit in (("voltage", " V"), ("current", "A"), ("active power", " W"), ("frequency", " Hz")):
        line = next(line for line in ended.out.splitlines() if line.startswith(quantity))
        assert unit in line


def test_a_reading_as_json_agrees_with_the_truth(aicalib: Command, address: str, simulation: Simulation) -> None:
    told = json.loads(aicalib("read", address, "--json").out)
    power = told["readings"]["active_power"]
    assert (power["unit"], power["status"], told["simulated"]) == ("W", "VALID", True)
    assert power["value"] == pytest.approx(simulation.instruments["meter"].truth.active_power, rel=0.05)


def test_a_log_at_the_meters_own_pace_has_a_row_for_every_update(aicalib: Command, address: str) -> None:
    ended = aicalib("read", address, "--for", "1.5s", "--csv", "log.csv", "--json")
    with Path("log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 == len(ended.out.splitlines())
    assert all((row["active_power_W"] == "") == (row["active_power_status"] != "VALID") for row in rows)
    assert float(rows[-1]["active_power_W"]) > 50
    assert [json.loads(line)["time"] for line in ended.out.splitlines()] == [row["time_utc"] for row in rows]


@pytest.mark.alone
def test_readings_on_a_grid_stay_on_it(aicalib: Command, address: str) -> None:
    began = time.monotonic()
    ended = aicalib("read", address, "--every", "500ms", "--for", "1.5s", "--json")
    assert len(ended.out.splitlines()) == 3
    assert 1.0 < time.monotonic() - began < 2.5


def test_what_another_program_reads_is_not_disturbed(aicalib: Command, address: str, lab: str) -> None:
    from aicalib_hw.bench import open_bench

    with open_bench(lab):
        ended = aicalib("read", address)
    assert ended.status == 3
    assert str(os.getpid()) in ended.screen["why"]


@pytest.fixture
def left_behind(lab: str, simulation: Simulation) -> int:
    """A program has started an integration and died of SIGKILL; its process number."""
    with subprocess.Popen(
        [sys.executable, "-c", LEAVES_AN_INTEGRATION_BEHIND, lab], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "integrating\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return process.pid


def integration(address: str) -> str:
    from aicalib_hw.transport.visa import VisaLink

    with VisaLink(address) as link:
        return link.query(":INTEGRATE:STATE?").split()[-1].upper()


def test_release_stops_what_a_dead_program_left_running_and_says_so(
    aicalib: Command, left_behind: int, lab: str, address: str
) -> None:
    assert integration(address).startswith("STAR")
    ended = aicalib("release", lab, "--json")
    (actions,) = [told["actions"] for told in json.loads(ended.out)["instruments"].values()]
    assert ended.status == 0
    assert any(str(left_behind) in action for action in actions)
    assert any("integration" in action for action in actions)
    assert integration(address).startswith("RES")
    assert LeaseBook(runtime_directory()).held() == ()


def test_release_says_each_action_once(aicalib: Command, lab: str) -> None:
    ended = aicalib("release", lab)
    assert ended.out.splitlines() == ["✓ meter: front panel back to local"]


def test_the_next_program_makes_the_meter_safe_before_it_uses_it(
    aicalib: Command, left_behind: int, lab: str, address: str
) -> None:
    ended = aicalib("read", address)
    assert ended.status == 0
    assert integration(address).startswith("RES")


def test_release_refuses_while_a_living_program_holds_the_meter(aicalib: Command, lab: str) -> None:
    from aicalib_hw.bench import open_bench

    with open_bench(lab):
        ended = aicalib("release", lab)
        assert (ended.status, str(os.getpid()) in ended.screen["why"]) == (3, True)


def test_release_of_what_cannot_be_reached_is_a_failure_that_stays_noted(
    aicalib: Command, left_behind: int, lab: str, simulation: Simulation, address: str
) -> None:
    simulation.stop()
    ended = aicalib("release", lab)
    assert ended.status == 3
    assert "could not be opened" in ended.out
    assert [(lease.instrument, lease.pid) for lease in LeaseBook(runtime_directory()).held()] == [
        ("meter", left_behind)
    ]


def test_release_says_one_thing_of_each_instrument_and_leaves_no_lease_of_its_own(
    aicalib: Command, lab: str, simulation: Simulation
) -> None:
    Path("lab.toml").write_text(
        Path("lab.toml").read_text()
        + """
[instruments.disk]
driver = "fio"
address = "fio:///var/tmp?program=no-such-fio"
optional = true
"""
    )
    ended = aicalib("release", lab)
    assert ended.status == 0, ended.out
    assert [line.split(":")[0] for line in ended.out.splitlines()] == ["✓ meter", "✓ disk"]
    assert "optional" in ended.out.splitlines()[1]
    simulation.stop()
    ended = aicalib("release", lab)
    assert ended.status == 3
    assert [line.split(":")[0] for line in ended.out.splitlines()] == ["✗ meter", "✓ disk"]
    assert LeaseBook(runtime_directory()).held() == ()


def test_release_of_what_was_not_left_behind_is_harmless(aicalib: Command, lab: str) -> None:
    assert aicalib("release", lab).status == 0
    assert aicalib("release", lab).status == 0


def test_simulated_instruments_of_a_bench_need_no_release(aicalib: Command) -> None:
    Path("own.toml").write_text(BENCH)
    told: dict[str, Any] = json.loads(aicalib("release", "own", "--json").out)
    assert "simulated" in told["instruments"]["meter"]["actions"][0]
