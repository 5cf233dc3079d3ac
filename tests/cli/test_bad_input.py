"""Whatever is wrong is told on one screen: what, where, why, what to do; and the exit status says whose fault it is."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aicalib_hw.bench import simulate_bench

from .conftest import Command, Ended

METER = """
[bench]
name = "lab"

[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
"""


def bench(text: str) -> str:
    Path("lab.toml").write_text(text, encoding="utf-8")
    return "lab"


def assert_told(ended: Ended, status: int, **parts: str) -> None:
    assert ended.status == status, ended.err
    assert set(ended.screen) == {"what", "where", "why", "what to do"}, ended.err
    for label, text in parts.items():
        assert text in ended.screen[label.replace("_", " ")], ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.splitlines()) < 24


def test_an_unknown_bench(aicalib: Command) -> None:
    ended = aicalib("calibrate", "this-machin")
    assert_told(ended, 2, what="this-machin", what_to_do="this-machine")


def test_an_unknown_key(aicalib: Command) -> None:
    ended = aicalib("calibrate", bench(METER.replace("driver", "drivr")))
    assert_told(ended, 2, what="drivr", where="lab.toml: instruments.meter.drivr", what_to_do="'driver'")


def test_an_unknown_unit(aicalib: Command) -> None:
    text = '[decision]\nrule = "simple"\n[[indications]]\nquantity = "power"\nvalue = 1\nunit = "Wat"\nsource = "me"\n'
    ended = aicalib("calibrate", bench(METER + text))
    assert_told(ended, 2, what="Wat", where="indications[0].unit", what_to_do="'W'")


def test_an_unknown_driver(aicalib: Command) -> None:
    ended = aicalib("calibrate", bench(METER.replace('driver = "yokogawa-wt300"', 'driver = "yokogawa-wt30"')))
    assert_told(ended, 2, what="yokogawa-wt30", where="instruments.meter.driver", what_to_do="yokogawa-wt300")


WRONG = """
[bench]
nme = "lab"
[decision]
rule = "jjf1095"
[instruments.meter]
driver = "yokogawa-wt301"
adress = "TCPIP::1.2.3.4::INSTR"
[instruments.second]
driver = "yokogawa-wt300"
address = "192.168.1.7"
simulator = "yokogawa-wt300"
options = { modle = "WT310E" }
[instruments.third]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
options = { model = "WT310F" }
settings = { voltage_rang = 300 }
[instruments.service]
driver = "openai"
address = "http://127.0.0.1:8000"
[instruments.port]
driver = "iperf3"
address = "iperf3://127.0.0.1?parallell=2"
[load]
source = "second"
[[indications]]
quantity = "compute"
value = 1
unit = "TFLOPS"
source = "label"
[[indications]]
quantity = "power"
value = 1
unit = "V"
source = "label"
[[indications]]
quantity = "power"
load = 50
value = 1
unit = "W"
source = "label"
[permissible_errors.power]
value = 2
kind = "relative"
source = "annex"
[plan.power]
loads = [0, 25]
durations = 3
[world]
sed = 4
"""
MISTAKES = {
    "bench.nme": "did you mean 'name'?",
    "decision.rule": "did you mean 'jjf1094'?",
    "instruments.meter.driver": "did you mean 'yokogawa-wt300'?",
    "instruments.meter.adress": "did you mean 'address'?",
    "instruments.second.address": "TCPIP::192.168.1.7::INSTR",
    "instruments.second.options.modle": "did you mean 'model'?",
    "instruments.third.options.model": "one of WT310, WT310E",
    "instruments.third.settings.voltage_rang": "did you mean 'voltage_range'?",
    "instruments.service.address": "openai+http://",
    "instruments.port.address": "parallel",
    "load.source": "it is a power_meter",
    "indications[0].unit": "did you mean 'TFLOP/s'?",
    "indications[1].unit": "units of power: W",
    "indications[2].load": "0.5 for 50 %",
    "permissible_errors.power.value": "write value = 0.02",
    "plan.power.loads[1]": "0.25 for 25 %",
    "plan.power.durations": "did you mean 'duration'?",
    "world.sed": "did you mean 'seed'?",
}


def test_every_mistake_of_a_file_is_told_with_key_cause_and_what_to_do(
    aicalib: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    name = bench(WRONG)
    for verb in (("calibrate",), ("bench", "check"), ("simulate",)):
        ended = aicalib(*verb, name)
        assert ended.status == 2
        assert f"{len(MISTAKES)} mistakes" in ended.screen["what"]
        for key, text in MISTAKES.items():
            assert f"{key}  " in ended.err
            assert text in ended.err
    ended = aicalib("bench", "check", name, "--json")
    assert ended.status == 2
    told = {one["key"]: " ".join(map(str, one.values())) for one in json.loads(ended.out)["problems"]}
    assert told.keys() == MISTAKES.keys()
    assert [text for key, text in MISTAKES.items() if text not in told[key]] == []


def test_an_unreachable_address(aicalib: Command) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    address = f"TCPIP::127.0.0.1,{port}::inst0::INSTR"
    for verb in ("identify", "read"):
        assert_told(aicalib(verb, address), 3, where=address)
    text = METER.replace('simulator = "yokogawa-wt300"', f'address = "{address}"')
    assert_told(aicalib("calibrate", bench(text)), 3, where="instruments.meter")


def test_another_instrument_behind_an_address(aicalib: Command) -> None:
    with simulate_bench(bench(METER)) as simulation:
        address = simulation.addresses["meter"]
        text = METER.replace(
            'simulator = "yokogawa-wt300"', f'address = "{address}"\nidentity = {{ model = "WT9999" }}'
        )
        ended = aicalib("calibrate", bench(text))
    assert_told(ended, 3, where="instruments.meter", why="WT9999")


def test_a_range_the_meter_does_not_have(aicalib: Command) -> None:
    ended = aicalib("calibrate", bench(METER + "settings = { voltage_range = 1000 }\n"))
    assert_told(ended, 2, where="instruments.meter", what="1000")


def test_a_precision_the_processor_lacks(aicalib: Command) -> None:
    ended = aicalib("calibrate", "this-machine", "--quantity", "compute", "--precision", "fp8e4m3")
    assert_told(ended, 2, what="fp8e4m3", where="cpu://local", what_to_do="fp32")


def test_no_native_extension() -> None:
    code = (
        "import sys; sys.modules['aicalib_hw._native'] = None\n"
        "from aicalib_hw.cli import main; main(['calibrate', '--quantity', 'compute'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    ended = Ended(run.returncode, run.stdout, run.stderr)
    assert_told(ended, 2, what_to_do="compiler")


def test_a_disk_that_is_full_while_readings_are_logged(aicalib: Command) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full, which is always full")
    ended = aicalib("read", "cpu://local", "--csv", "/dev/full")
    assert_told(ended, 2, what="full", where="/dev/full")


def test_what_is_no_address(aicalib: Command) -> None:
    assert_told(aicalib("identify", "192.168.1.7"), 2, what="192.168.1.7", what_to_do="TCPIP::")


def test_a_scheme_that_no_driver_knows(aicalib: Command) -> None:
    assert aicalib("identify", "gpu://0").status == 2


def test_a_file_of_readings_is_never_overwritten(aicalib: Command) -> None:
    Path("log.csv").write_text("precious")
    ended = aicalib("read", "cpu://local", "--csv", "log.csv")
    assert_told(ended, 2, where="log.csv")
    assert Path("log.csv").read_text() == "precious"


def test_a_directory_of_results_is_never_mixed(aicalib: Command) -> None:
    Path("out").mkdir()
    Path("out/record.sqlite").write_text("precious")
    assert_told(aicalib("calibrate", "--output", "out"), 2, where="out", why="it holds record.sqlite")
    assert Path("out/record.sqlite").read_text() == "precious"


UNPLUGGED = METER.replace('simulator = "yokogawa-wt300"', 'address = "TCPIP::127.0.0.1,1::inst0::INSTR"')


def test_an_instrument_that_does_not_answer_leaves_no_directory_that_would_refuse_the_next_try(
    aicalib: Command,
) -> None:
    lab = bench(UNPLUGGED)
    for arguments in ((), ("--output", "results/first")):
        assert aicalib("calibrate", lab, *arguments).status == 3
        assert not Path("aicalib-results").exists()
        assert not Path("results").exists()
    Path("mine").mkdir()
    assert aicalib("calibrate", lab, "--output", "mine").status == 3
    assert list(Path("mine").iterdir()) == []


def test_exchanges_without_a_record_are_kept_and_named(aicalib: Command) -> None:
    with simulate_bench(bench(METER)) as simulation:
        address = simulation.addresses["meter"]
        lab = bench(METER.replace("simulator =", f'address = "{address}"\nidentity = {{ serial = "other" }}\n#'))
        ended = aicalib("calibrate", lab, "--output", "out")
        assert ended.status == 3
        assert f"trace  {Path('out/trace.jsonl')}" in ended.err
        assert Path("out/trace.jsonl").stat().st_size
        assert_told(aicalib("calibrate", lab, "--output", "out"), 2, why="it holds trace.jsonl")


def test_a_quantity_that_the_bench_cannot_measure(aicalib: Command) -> None:
    ended = aicalib("calibrate", bench(METER), "--quantity", "compute")
    assert_told(ended, 2, what="compute", why="power")


def test_energy_is_measured_with_power_and_the_refusal_says_so(aicalib: Command) -> None:
    ended = aicalib("calibrate", "--quantity", "energy")
    assert (ended.status, "energy is measured with power" in ended.err) == (2, True)
    assert "'effective_compute'" in aicalib("calibrate", "--quantity", "enegry").err


def test_a_record_that_is_not_there(aicalib: Command) -> None:
    ended = aicalib("report", "nowhere.sqlite")
    assert (ended.status, "nowhere.sqlite" in ended.screen["where"]) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("calibrat",),
        ("calibrate", "--plan", "quick"),
        ("calibrate", "--rule", "jjf1059"),
        ("read", "cpu://local", "--every", "1"),
        ("read", "cpu://local", "--for", "10 min"),
        ("identify",),
    ],
)
def test_a_command_line_that_is_wrong_ends_with_two_and_shows_the_usage(
    aicalib: Command, arguments: tuple[str, ...]
) -> None:
    ended = aicalib(*arguments)
    assert ended.status == 2
    assert "Usage" in ended.err


def test_with_debug_the_traceback_stands_above_the_screen_and_the_status_stays(aicalib: Command) -> None:
    ended = aicalib("calibrate", "this-machin", "--debug")
    assert ended.status == 2
    assert "Traceback" in ended.err
    assert "this-machine" in ended.screen["what to do"]


SURPRISE = """
from aicalib_hw.interfaces import DriverInfo

class Driver:
    DRIVER = DriverInfo("surprise", "power_meter", "nothing", "none", schemes=("surprise",))

    def __init__(self, address):
        raise ZeroDivisionError("a fault of a foreign driver")
"""


def test_an_error_that_nobody_foresaw_is_not_mistaken_for_a_verdict(
    aicalib: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "surprise.py").write_text(SURPRISE)
    info = tmp_path / "surprise-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: surprise\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[aicalib_hw.drivers]\nsurprise = surprise:Driver\n")
    monkeypatch.syspath_prepend(tmp_path)
    ended = aicalib("identify", "surprise://here")
    assert ended.status == 70
    assert "ZeroDivisionError" in ended.screen["what"]
    assert "--debug" in ended.screen["what to do"]


@pytest.mark.parametrize(
    ("address", "status", "why", "advice"),
    [
        ("TCPIP::no.such.host.invalid::INSTR", 3, "'no.such.host.invalid' is not known", "in numbers"),
        ("ASRL/dev/no-such-port::INSTR", 3, "No such file", "serial ports"),
        ("GPIB0::5::INSTR", 2, "gpib", "vendor's VISA"),
    ],
)
def test_what_keeps_an_interface_from_answering_is_told_and_not_the_network_blamed(
    aicalib: Command, address: str, status: int, why: str, advice: str
) -> None:
    assert_told(aicalib("identify", address), status, where=address, why=why, what_to_do=advice)


@pytest.mark.parametrize("verb", ["identify", "read", "serve ptdaemon", "bench new lab-3"])
def test_a_visa_library_that_is_not_there(aicalib: Command, verb: str) -> None:
    address = "USB0::0x0B21::0x0039::C2PH13047V::INSTR"
    ended = aicalib(*verb.split(), address, "--visa-library", "no-such-visa.so")
    assert_told(ended, 2, what="no-such-visa.so", where=address, what_to_do="@py")


def test_a_visa_library_to_look_with_that_is_not_there(aicalib: Command) -> None:
    ended = aicalib("discover", "--visa-library", "no-such-visa.so")
    assert_told(ended, 2, what="no-such-visa.so", where="discovery", what_to_do="@py")


def test_a_ratio_that_no_transducer_has(aicalib: Command) -> None:
    ended = aicalib("calibrate", bench(METER + "settings = { ct_ratio = 0 }\n"))
    assert_told(ended, 2, what="ct_ratio", why="0.001 to 9999", what_to_do="primary over secondary")


def test_the_driver_of_another_make(aicalib: Command) -> None:
    with simulate_bench(bench(METER)) as simulation:
        ended = aicalib("read", simulation.addresses["meter"], "--driver", "yokogawa-wt1800")
    assert_told(ended, 3, what="WT310E", why="yokogawa-wt1800", what_to_do="aicalib drivers")


def test_a_second_calibration_within_the_same_second_has_a_directory_of_its_own(aicalib: Command) -> None:
    lab = bench(METER + "settings = { ct_ratio = 0 }\n")
    for _ in range(4):
        assert "ct_ratio" in aicalib("calibrate", lab).screen["what"]
    assert len(list(Path("aicalib-results").iterdir())) == 4
