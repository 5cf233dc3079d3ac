"""Bench files begun from what answers, and checked without opening anything."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw._bench_starter import starter
from aicalib_hw.bench import BenchFile, load_bench
from aicalib_hw.discovery import Finding
from aicalib_hw.errors import UnknownDriver
from aicalib_hw.identity import Identity

from .conftest import Command


def test_a_bench_is_begun_from_what_answers_and_opens(aicalib: Command, simulated_power_meter: Any) -> None:
    ended = aicalib("bench", "new", "lab-3", simulated_power_meter.address, "cpu://local")
    assert ended.status == 0, ended.err
    assert simulated_power_meter.address in ended.out
    with hw.open_bench("./lab-3.toml") as bench:
        assert bench.the("power_meter").identity.serial.startswith("SIM")
        assert bench.settings.load is not None
        assert bench.settings.load.source == "cpu"
        assert bench.settings.instruments["meter"].identity.serial == bench.the("power_meter").identity.serial


def test_a_begun_bench_keeps_the_visa_library_of_those_that_visa_reaches(
    aicalib: Command, simulated_power_meter: Any
) -> None:
    ended = aicalib("bench", "new", "lab-3", simulated_power_meter.address, "cpu://local", "--visa-library", "@py")
    assert ended.status == 0, ended.err
    begun = load_bench("./lab-3.toml").instruments
    assert (begun["meter"].driver_options, begun["cpu"].driver_options) == ({"visa_library": "@py"}, {})
    with hw.open_bench("./lab-3.toml") as bench:
        assert bench.the("power_meter").identity.simulated


def test_a_begun_bench_refuses_another_instrument(aicalib: Command, simulated_power_meter: Any) -> None:
    assert aicalib("bench", "new", "lab-3", simulated_power_meter.address).status == 0
    simulated_power_meter.inject("wrong_identity")
    assert aicalib("calibrate", "./lab-3.toml").status == 3


def test_a_file_that_is_there_is_not_overwritten(aicalib: Command) -> None:
    Path("lab-3.toml").write_text("mine")
    ended = aicalib("bench", "new", "lab-3", "cpu://local")
    assert ended.status == 2
    assert "never overwritten" in ended.screen["why"]
    assert Path("lab-3.toml").read_text() == "mine"


@pytest.mark.parametrize("name", ["../lab", "lab.toml", ""])
def test_a_name_that_cannot_be_a_file_is_refused_before_anything_is_asked(aicalib: Command, name: str) -> None:
    ended = aicalib("bench", "new", name, "TCPIP::127.0.0.1,1::inst0::INSTR")
    assert ended.status == 2
    assert "name of a bench" in ended.screen["what"]


def test_nothing_is_written_where_nobody_answers(aicalib: Command) -> None:
    assert aicalib("bench", "new", "lab-3", "TCPIP::127.0.0.1,1::inst0::INSTR", "--timeout", "500ms").status == 3
    assert not Path("lab-3.toml").exists()


def test_two_meters_get_two_names_and_awkward_texts_survive(tmp_path: Path) -> None:
    awkward = 'SIM"\\\x7f\t1'
    findings = [
        Finding(f"TCPIP::host{n}::INSTR", "address", Identity("YOKOGAWA", "WT310E", awkward, "1", ""), "yokogawa-wt300")
        for n in (1, 2)
    ]
    path = tmp_path / "two.toml"
    path.write_text(starter("two", findings), encoding="utf-8")
    instruments = load_bench(path).instruments
    assert list(instruments) == ["meter", "meter2"]
    assert instruments["meter2"].identity.serial == awkward


def test_a_new_bench_file_shows_how_to_name_what_is_calibrated() -> None:
    text = starter("lab", [Finding("cpu://local", "address", Identity("Intel", "Xeon", "", "1", ""), "cpu")])
    shown = "\n".join(line.removeprefix("#   ") for line in text.split("[decision]")[0].splitlines() if "#   " in line)
    bench = BenchFile.model_validate({**tomllib.loads(text), **tomllib.loads(shown)})
    assert bench.platform is not None
    assert bench.environment is not None
    assert bench.platform.maker == "…"
    assert bench.environment.temperature == 23.0


@pytest.mark.parametrize(
    ("driver", "model", "options"),
    [
        ("yokogawa-wt300", "WT310EH", {"model": "WT310EH"}),
        ("yokogawa-wt1800", "WT1804E-06-50-M1", {}),  # its simulator names its own elements in what it answers
    ],
)
def test_a_begun_bench_can_be_simulated(tmp_path: Path, driver: str, model: str, options: dict[str, str]) -> None:
    finding = Finding(
        "TCPIP::127.0.0.1,1::inst0::INSTR", "address", Identity("YOKOGAWA", model, "91K1", "1", ""), driver
    )
    path = tmp_path / "lab.toml"
    path.write_text(starter("lab", [finding]), encoding="utf-8")
    entry = load_bench(path).instruments["meter"]
    assert (entry.simulator, entry.options, entry.identity.serial) == (driver, options, "91K1")
    with hw.open_bench(path, simulate=True) as bench:
        assert bench.the("power_meter").identity.simulated


def test_what_has_no_simulator_is_begun_without_one(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(starter("lab", [Finding("cpu://local", "address", None, "cpu")]), encoding="utf-8")
    assert load_bench(path).instruments["cpu"].simulator is None


def test_what_sim_opens_for_real_is_named_before_it_is_opened(aicalib: Command) -> None:
    Path("lab-3.toml").write_text(
        '[bench]\nname = "lab-3"\n[instruments.meter]\ndriver = "yokogawa-wt300"\n'
        'address = "TCPIP::127.0.0.1,1::inst0::INSTR"\n'
        '[instruments.second]\ndriver = "yokogawa-wt300"\nsimulator = "yokogawa-wt300"\n'
    )
    ended = aicalib("calibrate", "lab-3", "--sim")
    assert ended.status == 3
    assert ended.err.splitlines()[0] == "opened for real, as the bench file names no simulator: meter"
    assert "opened for real" not in aicalib("calibrate", "lab-3").err


def test_a_stranger_is_refused_by_its_address() -> None:
    stranger = Finding("TCPIP::host::INSTR", "address", Identity("ACME", "X", "1", "1", ""), note="no driver")
    with pytest.raises(UnknownDriver) as caught:
        starter("lab", [stranger])
    assert caught.value.where == "TCPIP::host::INSTR"


def test_a_bench_is_checked_without_opening_anything(aicalib: Command) -> None:
    Path("lab-3.toml").write_text(
        '[bench]\nname = "lab-3"\n[instruments.meter]\ndriver = "yokogawa-wt300"\n'
        'address = "TCPIP::127.0.0.1,1::inst0::INSTR"\n'
    )
    told = json.loads(aicalib("bench", "check", "lab-3", "--json").out)
    assert told["instruments"]["meter"]["driver"] == "yokogawa-wt300"
    assert aicalib("bench", "check", "simulated-server").status == 0


def test_an_indication_that_no_permissible_error_can_judge_is_warned_of_and_is_no_mistake(aicalib: Command) -> None:
    text = (
        '[bench]\nname = "lab-3"\n[decision]\nrule = "jjf1094"\n[instruments.meter]\ndriver = "yokogawa-wt300"\n'
        'address = "TCPIP::127.0.0.1,1::inst0::INSTR"\n'
        '[[indications]]\nquantity = "energy"\nvalue = 0.0172\nunit = "kWh"\nsource = "BMC"\n'
    )
    warning = (
        "indications[0]: energy gets no verdict, as no maximum permissible error is given; "
        "add [permissible_errors.energy]"
    )
    Path("lab-3.toml").write_text(text)
    ended = aicalib("bench", "check", "lab-3")
    assert (ended.status, ended.out.splitlines()[-1]) == (0, warning)
    assert json.loads(aicalib("bench", "check", "lab-3", "--json").out)["warnings"] == [warning]
    Path("lab-3.toml").write_text(text.replace("jjf1094", "none"))
    assert json.loads(aicalib("bench", "check", "lab-3", "--json").out)["warnings"] == []


def test_every_mistake_of_a_bench_file_is_told(aicalib: Command) -> None:
    Path("lab-3.toml").write_text(
        '[bench]\nname = "lab-3"\n[decision]\nrule = "jff1094"\n[instruments.meter]\ndriver = "yokogawa-wt300"\n'
    )
    ended = aicalib("bench", "check", "lab-3")
    assert ended.status == 2
    assert "decision.rule" in ended.err
    assert "instruments.meter" in ended.err
