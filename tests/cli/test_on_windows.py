"""A session as of a lab engineer on a Windows laptop, as nearly as Linux allows; nobody has run it on Windows."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aicalib_hw.metrology import Verdict
from aicalib_hw.records.store import read_record
from aicalib_hw.trace import read_trace
from tests import on_windows

IN_ANOTHER_PROCESS = """
[bench]
name = "elsewhere"

[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
options = { model = "WT310E" }

[instruments.by_socket]
driver = "zes-lmg600"
simulator = "zes-lmg600"

[world]
seed = 3

[world.platform]
idle_power = 100.0
full_power = 400.0
"""

LAB = """\ufeff
[bench]
name = "lab"
title = "服务器 42 ✓"

[decision]
rule = "jjf1094"

[instruments.meter]
driver = "yokogawa-wt300"
address = "{address}"

[load]
source = "operator"

[[indications]]
quantity = "power"
load = 1.0
value = 110.0
unit = "W"
source = "test"

[permissible_errors.power]
value = 0.1
kind = "relative"
source = "test"

[plan.power]
loads = [1.0]
duration = 0.25
settle = 0.25
ranging_duration = 0.25
energy_duration = 1
"""

SESSION = """
import json, sys
import aicalib_hw as hw
from aicalib_hw.cli import main

vxi11, socket = sys.argv[1:]
for line in (
    "drivers --json",
    f"identify {vxi11} --json",
    f"read {vxi11}",
    f"read {vxi11} --for 1s --csv vxi11.csv",
    f"read {socket} --driver zes-lmg600 --every 250ms --for 1s --csv socket.csv",
    f"bench new begun {vxi11}",
    "bench check lab",
    "bench check lab --json",
    "calibrate lab --output results",
    "report results --output 报告.html",
    "verify results",
    "export results --format csv",
    "release lab",
    "read cpu://local",
):
    try:
        main(line.split())
    except SystemExit as ended:
        print("\\nended", ended.code or 0, line, sep="\\t", flush=True)
with hw.open_instrument(vxi11) as meter:
    meter.configure(voltage_range=300.0, current_range=5.0)
    powers = [float(reading.active_power) for reading in meter.stream(duration=1.0)]
    energy = meter.measure_energy(1.0)
print("scripted", json.dumps([powers, energy.value, energy.window.duration, bool(energy.validity)]), sep="\\t")
"""


@dataclass(frozen=True)
class Session:
    """What was shown by each command line, its exit status, and where its files lie."""

    place: Path
    shown: Mapping[str, str]
    status: Mapping[str, int]
    scripted: Any
    errors: str


def run_on_windows(code: str, *arguments: str, place: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a program so, on a system whose standard output is in an encoding of Chinese from before UTF-8."""
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "gbk",
        "LC_ALL": "C.UTF-8",  # names of files are not in the encoding of texts there
        "LOCALAPPDATA": str(place / "Local"),
        "APPDATA": str(place / "Roaming"),
    }
    command = [sys.executable, "-X", "warn_default_encoding", on_windows.__file__, code, *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A WT310E over VXI-11 and an LMG600 over a socket that another process simulates, on Linux as it is."""
    file = tmp_path_factory.mktemp("elsewhere") / "elsewhere.toml"
    file.write_text(IN_ANOTHER_PROCESS, encoding="utf-8")
    command = [sys.executable, "-c", "from aicalib_hw.cli import main; main()", "simulate", str(file), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            started = json.loads(process.stdout.readline())["instruments"]
            yield started["meter"]["address"], started["by_socket"]["address"]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def session(addresses: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Session:
    place = tmp_path_factory.mktemp("实验室")
    benches = place / "Roaming" / "aicalib" / "benches"
    benches.mkdir(parents=True)
    (benches / "lab.toml").write_text(LAB.format(address=addresses[0]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AICALIB_BENCH_PATH", raising=False)
        done = run_on_windows(SESSION, *addresses, place=place)
    shown, status, since = {}, {}, ""
    for text in done.stdout.decode("gbk").splitlines(keepends=True):
        if text.startswith("ended\t"):
            _, number, line = text.strip().split("\t")
            shown[line], status[line], since = since, int(number), ""
        else:
            since += text
    errors = done.stderr.decode("gbk", errors="replace")
    assert done.returncode == 0, errors
    return Session(place, shown, status, json.loads(since.partition("scripted\t")[2]), errors)


def test_every_command_ends_as_it_does_elsewhere(session: Session) -> None:
    assert {line: status for line, status in session.status.items() if status} == {"read cpu://local": 2}, (
        session.errors
    )
    assert len(session.status) == 14


def test_every_driver_is_there(session: Session) -> None:
    drivers = json.loads(session.shown["drivers --json"])["drivers"]
    assert not [name for name, said in drivers.items() if "error" in said]
    assert {"yokogawa-wt300", "hioki-pw3336", "ptdaemon", "cpu"} <= set(drivers)


def test_what_needs_a_kernel_says_that_windows_has_none(session: Session) -> None:
    said = " ".join(session.errors.replace("|", " ").split())
    assert "measured on Windows" in said
    assert "compiler" not in said


def test_a_meter_is_identified_read_and_logged_over_each_wire(session: Session, addresses: tuple[str, str]) -> None:
    who = json.loads(session.shown[f"identify {addresses[0]} --json"])
    assert (who["model"], who["driver"], who["simulated"]) == ("WT310E", "yokogawa-wt300", True)
    assert "active power" in session.shown[f"read {addresses[0]}"]
    for name, least in (("vxi11", 2), ("socket", 1)):
        with (session.place / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) >= least
        assert len({row["time_utc"] for row in rows}) == len(rows)
        assert [row["active_power_status"] for row in rows] == ["VALID"] * len(rows)
        assert all(abs(float(row["active_power_W"]) - 110) < 5 for row in rows)


def test_a_script_streams_and_takes_energy_by_a_clock_of_coarse_steps(session: Session) -> None:
    powers, energy, duration, valid = session.scripted
    assert len(powers) >= 2
    assert valid
    assert duration == 1.0
    assert energy == pytest.approx(sum(powers) / len(powers), rel=0.05)


def test_a_calibration_passes_and_leaves_a_whole_record_report_and_trace(session: Session) -> None:
    record = read_record(session.place / "results" / "record.sqlite")
    assert (record.status, record.title, record.simulated) == ("complete", "服务器 42 ✓", True)
    (power, *_) = record.results
    assert power.decision.verdict is Verdict.PASS
    assert power.measurement.value == pytest.approx(110, rel=0.05)
    assert (power.load, power.asked_load) == (None, 1.0)
    assert any("as the operator stated it" in note for note in record.calibrations[0].notes)
    assert record.environment["clock"]["resolution_s"] > 0
    assert "every sample is as it was written" in session.shown["verify results"]
    for report in (session.place / "报告.html", session.place / "results" / "report.html"):
        assert "服务器 42 ✓" in report.read_text(encoding="utf-8")
    assert len(read_trace(session.place / "results" / "trace.jsonl")) > 20
    with (session.place / "results" / "record.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["verdict"] == "PASS"


def test_leases_and_begun_benches_lie_where_windows_has_such_things(session: Session) -> None:
    assert (session.place / "Local" / "aicalib" / "runtime" / "leases.sqlite").is_file()
    assert 'driver = "yokogawa-wt300"' in (session.place / "begun.toml").read_text(encoding="utf-8")


def test_programs_read_utf_8_and_people_every_mark_or_its_number(session: Session) -> None:
    assert "实验室" in json.loads(session.shown["bench check lab --json"])["file"]
    assert session.shown["bench check lab"].startswith("\\u2713 ")
    assert "实验室" in session.shown["bench check lab"].splitlines()[0]


REFUSED = {
    "import fcntl": "ModuleNotFoundError",
    "from os import killpg": "ImportError",
    "import os; os.sched_getaffinity(0)": "AttributeError",
    "import signal; signal.SIGKILL": "AttributeError",
    "import select; select.poll": "AttributeError",
    "open('/proc/self/stat', encoding='ascii')": "FileNotFoundError",
    "open('2026-03-31T08:15', 'x', encoding='ascii')": "OSError",
    "open('text', 'x')": "EncodingWarning",
    "import os; file = open('there', 'xb'); os.remove('there')": "PermissionError",
    "import os; open('new', 'xb').close(); file = open('old', 'xb'); os.replace('new', 'old')": "PermissionError",
    "import os; open('by', 'xb').close(); os.remove('by')": "",
}

TRIED = """
import json, sys
told = {}
for code in json.loads(sys.argv[1]):
    told[code] = ""
    try:
        exec(code, {"__name__": "aicalib_hw.somewhere"})
    except Exception as error:
        told[code] = type(error).__name__
print(json.dumps(told))
"""


def test_what_windows_lacks_or_refuses_is_refused_here(tmp_path: Path) -> None:
    done = run_on_windows(TRIED, json.dumps(list(REFUSED)), place=tmp_path)
    assert json.loads(done.stdout) == REFUSED, done.stderr
