"""One command calibrates: a table, a record, a report, and an exit status that says how it went."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aicalib_hw.bench import BenchFile, load_bench, runtime_directory
from aicalib_hw.cli._needed import with_needed
from aicalib_hw.cli.calibrate import PlanName, RuleName, _adjusted
from aicalib_hw.errors import RecordError
from aicalib_hw.leases import LeaseBook
from aicalib_hw.metrology import Verdict
from aicalib_hw.records.store import read_record
from aicalib_hw.trace import read_trace

from .conftest import Command, Ended

BENCH = """
[bench]
name = "small"
title = "A small server"

[decision]
rule = "jjf1094"

[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"

[load]
source = "world"

[world]
rate = 10.0
seed = 5

[world.platform]
idle_power = 300.0
full_power = 1200.0

[permissible_errors.power]
value = 0.1
kind = "relative"
source = "test"

[plan.power]
loads = [0.0, 1.0]
duration = 0.5
settle = 0.5
ranging_duration = 0.5
energy_duration = 0
"""


def indication(load: float, value: float) -> str:
    return f'\n[[indications]]\nquantity = "power"\nload = {load}\nvalue = {value}\nunit = "W"\nsource = "test"\n'


def calibrated(aicalib: Command, text: str, *arguments: str) -> Ended:
    Path("small.toml").write_text(text)
    return aicalib("calibrate", "small", "--output", "out", *arguments)


def test_what_agrees_passes_and_everything_is_on_disk(aicalib: Command) -> None:
    ended = calibrated(aicalib, BENCH + indication(0, 340) + indication(1, 1280))
    assert ended.status == 0, ended.err
    assert ended.out.count("pass") == 2
    assert "SIMULATED" in ended.out
    assert ended.out.splitlines()[-2:] == ["record  out/record.sqlite", "report  out/report.html"]
    record = read_record("out/record.sqlite")
    assert (record.status, record.rule, record.title, record.simulated) == (
        "complete",
        "jjf1094",
        "A small server",
        True,
    )
    assert [result.decision.verdict for result in record.results] == [Verdict.PASS, Verdict.PASS]
    (meter,) = record.equipment
    assert (meter.name, meter.identity.simulated) == ("meter", True)
    assert meter.driver["name"] == "yokogawa-wt300"
    assert meter.snapshot
    released = [event.data for event in record.events if event.kind == "released"]
    assert any("front panel" in action for action in released[0]["actions"])
    assert Path("out/report.html").stat().st_size > 10_000
    assert len(read_trace("out/trace.jsonl")) > 100
    assert LeaseBook(runtime_directory()).held() == ()


def test_what_is_far_off_fails_and_the_exit_status_says_so(aicalib: Command) -> None:
    ended = calibrated(aicalib, BENCH + indication(0, 340) + indication(1, 2000))
    assert ended.status == 1
    assert "fail" in ended.out


def test_the_table_fits_a_terminal_of_80_columns(aicalib: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    undecided = BENCH.replace("value = 0.1", "value = 0.001")
    ended = calibrated(aicalib, undecided + indication(0, 341.5) + indication(1, 1290))
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    assert "…" not in ended.out
    assert "10 times as fast as this host's clock" in " ".join(ended.out.split())
    rows = [line for line in ended.out.splitlines() if "W" in line and "±" in line]
    assert len(rows) == 2


NETWORK = """
[bench]
name = "port"
[instruments.tester]
driver = "xena"
simulator = "xena"
options = { path = { loss = 0.01 } }
[world]
rate = 50.0
[plan.network]
frame_sizes = [64, 9018]
directions = ["forward", "backward", "both"]
duration = 0.5
warm_up = 0.0
settle = 0.05
"""


def test_rates_of_a_port_fit_80_columns_and_what_holds_for_several_points_is_remarked_once(
    aicalib: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = calibrated(aicalib, NETWORK)
    assert ended.status == 0, ended.err
    assert max(len(line) for line in ended.out.partition("Not evaluated:")[0].splitlines()) <= 80
    assert "…" not in ended.out.partition("Not evaluated:")[0]
    rows = [line.split() for line in ended.out.splitlines() if "±" in line and "Gbit/s" in line]
    assert [row[-2:] for row in rows] == [["not", "evaluated"]] * 6
    assert "k = 2.00" in ended.out.splitlines()[1]
    told = " ".join(ended.out.partition("Not evaluated:")[0].split())
    assert told.count("% of the frames were lost") == 3
    assert "0/0 to 0/1, 64 B; 0/1 to 0/0, 64 B; 0/0 to 0/1, 9018 B; 0/1 to 0/0, 9018 B: up to 1.000%" in told
    assert 'definition = "rate/L2-fcs/64B/unidirectional"' in ended.out


def test_without_an_indication_there_is_no_verdict_but_the_way_to_one(aicalib: Command) -> None:
    ended = calibrated(aicalib, BENCH)
    assert ended.status == 0
    assert ended.out.count("not evaluated") == 2
    _, _, told = ended.out.partition("[[indications]]")
    assert 'quantity = "power"' in told
    entry = told.partition("record ")[0].replace("…", "340.0")
    Path("small.toml").write_text(BENCH + "[[indications]]" + entry)
    assert load_bench("small").indications[0].value == 340.0


def test_a_rule_on_the_command_line_is_the_one_in_the_record(aicalib: Command) -> None:
    ended = calibrated(aicalib, BENCH + indication(0, 340) + indication(1, 2000), "--rule", "none")
    assert ended.status == 0
    record = read_record("out/record.sqlite")
    assert record.rule == "none"
    assert record.bench["decision"]["rule"] == "none"


def test_the_specification_plan_lengthens_every_quantity_and_leaves_the_rest(aicalib: Command) -> None:
    Path("small.toml").write_text(BENCH)
    plan = _adjusted(load_bench("small"), PlanName.SPECIFICATION, RuleName.SIMPLE).plan
    assert (plan.compute.duration, plan.compute.runs, plan.power.duration, plan.power.runs) == (60.0, 6, 60.0, 6)
    assert (plan.power.loads, plan.power.settle) == ((0.0, 1.0), 0.5)


def test_results_as_json_are_those_of_the_record(aicalib: Command) -> None:
    ended = calibrated(aicalib, BENCH + indication(0, 340) + indication(1, 2000), "--json")
    told = json.loads(ended.out)
    record = read_record(told["record"])
    assert told["exit_status"] == ended.status == 1
    assert [one["verdict"] for one in told["results"]] == [r.decision.verdict.value for r in record.results]
    assert [one["value"] for one in told["results"]] == [r.evaluation.value for r in record.results if r.evaluation]
    assert all(one["simulated"] for one in told["results"])
    assert [one["indication"] for one in told["results"]] == [340.0, 2000.0]
    for one in told["results"]:
        assert one["error"] == pytest.approx(one["indication"] - one["value"])
        assert one["maximum_permissible_error"] == pytest.approx(0.1 * one["value"])
    assert [one["load_asked"] for one in told["results"]] == [0.0, 1.0]
    assert told["not_given_back"] == []
    assert "10 times as fast as this host's clock" in told["remark_on_times"]


def test_the_report_can_be_made_again_and_in_chinese(aicalib: Command) -> None:
    calibrated(aicalib, BENCH)
    told = json.loads(aicalib("report", "out", "--json").out)
    assert (told["record"], told["report"]) == ("out/record.sqlite", "out/report.html")
    ended = aicalib("report", "out/record.sqlite", "--output", "zh.html", "--language", "zh")
    assert ended.status == 0
    assert "zh.html" in ended.out
    assert "扩展不确定度" in Path("zh.html").read_text(encoding="utf-8")


LIMITED = """
import resource, signal
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
from aicalib_hw.cli import main
main(["calibrate", "small", "--output", "out"])
"""


@pytest.mark.parametrize("size", [60_000, 150_000])
def test_a_disk_that_is_full_loses_nothing_that_was_measured_before(size: int) -> None:
    Path("small.toml").write_text(BENCH)
    run = subprocess.run([sys.executable, "-c", LIMITED.format(size=size)], capture_output=True, text=True, check=False)
    ended = Ended(run.returncode, run.stdout, run.stderr)
    assert ended.status == 2, ended.err
    assert set(ended.screen) == {"what", "where", "why", "what to do"}
    assert "out/record.sqlite" in ended.screen["where"]
    assert "space" in ended.screen["what to do"]
    assert "Traceback" not in ended.err
    assert LeaseBook(runtime_directory()).held() == ()
    if Path("out/record.sqlite").exists():
        assert read_record("out/record.sqlite").status != "complete"


def test_an_instrument_that_fails_in_the_middle_ends_with_three_and_keeps_what_was_measured(aicalib: Command) -> None:
    from aicalib_hw.bench import simulate_bench

    Path("simulated.toml").write_text(BENCH)
    with simulate_bench("./simulated.toml") as simulation:
        address = simulation.addresses["meter"]
        text = BENCH.replace('simulator = "yokogawa-wt300"', f'address = "{address}"\ntimeout = 1.0')
        text = text.replace('source = "world"', 'source = "cpu"').replace("duration = 0.5", "duration = 3.0")
        text += '\n[instruments.cpu]\ndriver = "cpu"\naddress = "cpu://local"\n'
        text += "\n[plan.compute]\nduration = 0.3\nruns = 2\nwarm_up = 0.0\ngemm = false\n"
        Path("small.toml").write_text(text)
        code = "from aicalib_hw.cli import main; main(['calibrate', 'small', '--output', 'out'])"
        with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
            _wait_for_measurement(Path("out/record.sqlite"), process)
            simulation.instruments["meter"].stop()
            assert process.stderr is not None
            shown = process.stderr.read()
            assert process.wait(timeout=60) == 3, shown
            assert shown.count("not given back: meter: integration and front panel: nothing answers") == 1, shown
            assert shown.count("nothing answers") <= 3, shown  # beside that its settings and, where it is, the error
            assert "bench small" not in shown.split("rule", 1)[1], shown
    record = read_record("out/record.sqlite")
    assert record.status == "error"
    assert "compute" in {calibration.quantity for calibration in record.calibrations}
    assert Path("out/report.html").exists()
    assert {"what", "where"} <= set(Ended(3, "", shown).screen)


def _wait_for_measurement(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the power meter has delivered its first run."""
    import time

    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if any(one.quantity == "power" for one in read_record(path).measurements):
                return
        except RecordError:
            pass  # not there yet, or just being made
        time.sleep(0.2)
    raise AssertionError("no power was measured")


def test_energy_stands_beside_the_power_of_the_largest_load_and_asks_for_no_indication(aicalib: Command) -> None:
    text = BENCH.replace("energy_duration = 0", "energy_duration = 2").replace("loads = [0.0, 1.0]", "loads = [1.0]")
    ended = calibrated(aicalib, text + indication(1, 1280), "--json")
    assert ended.status == 0, ended.err
    power, energy = json.loads(ended.out)["results"]
    assert (power["verdict"], energy["verdict"]) == ("PASS", "NOT_EVALUATED")
    assert (energy["quantity"], energy["unit"], energy["point"]) == ("energy", "J", "energy")
    assert abs(energy["value"] - 2 * power["value"]) < energy["expanded_uncertainty"]
    assert Path("out/report.html").exists()


def test_a_screen_shows_what_went_wrong_besides(capfd: pytest.CaptureFixture[str]) -> None:
    from aicalib_hw.cli import _problems
    from aicalib_hw.errors import ConnectionLost

    error = ConnectionLost("the meter is gone", where="here")
    error.add_note("a setting of the meter could not be given back")
    assert _problems.show(error) == 3
    shown = capfd.readouterr().err
    assert "besides" in shown
    assert "could not be given back" in shown


GPU = """
[bench]
name = "small"

[decision]
rule = "none"

[instruments.gpu]
driver = "nvidia"
simulator = "nvidia"
options = { model = "a100" }

[load]
source = "world"

[plan.compute]
precision = "bf16"
duration = 0.3
runs = 2
warm_up = 0.1
"""


def test_a_path_is_chosen_by_bench_or_option_and_one_that_is_not_there_is_refused_before_measuring(
    aicalib: Command,
) -> None:
    refused = calibrated(aicalib, GPU)
    assert refused.status == 2
    assert "choose one of: fp64, fp32, fp16" in refused.err
    assert not Path("out/record.sqlite").exists()
    ended = aicalib("calibrate", "small", "--output", "again", "--path", "matrix")
    record = read_record("again/record.sqlite")
    definitions = {result.measurement.definition for result in record.results}
    assert definitions == {"flop/bf16-accumulate-fp32/matrix-mma.sync/sustained"}, ended.err


WITH_MORE = (
    BENCH
    + """
[instruments.tester]
driver = "xena"
address = "xena://192.0.2.1"

[instruments.processor]
driver = "cpu"
address = "cpu://local"

[plan.compute]
duration = 0.1
runs = 2
warm_up = 0
gemm = false
"""
)


def test_only_what_the_quantity_needs_is_opened(aicalib: Command) -> None:
    """Nothing answers at the tester's address, and nothing has to: no quantity that was asked for is measured by it."""
    calibrated(aicalib, WITH_MORE, "--quantity", "power")
    assert [one.name for one in read_record("out/record.sqlite").equipment] == ["meter"]
    Path("out").rename("power")
    calibrated(aicalib, WITH_MORE, "--quantity", "compute")
    assert [one.name for one in read_record("out/record.sqlite").equipment] == ["processor"]
    Path("out").rename("compute")
    by_processor = WITH_MORE.replace('source = "world"', 'source = "processor"')
    with_load = with_needed(bench_of(by_processor), ["power"], simulate=False)
    assert sorted(with_load.instruments) == ["meter", "processor"]
    assert calibrated(aicalib, WITH_MORE, "--quantity", "network").status == 3


def bench_of(text: str) -> BenchFile:
    Path("small.toml").write_text(text)
    return load_bench("small")


def test_what_draws_power_on_the_simulated_mains_is_there_whenever_it_is_measured() -> None:
    server = load_bench("simulated-server")
    kept = with_needed(server, ["power"], simulate=False).instruments
    assert {"meter", "npu0", "npu7", "training"} <= set(kept)
    assert not {"tester", "disk"} & set(kept)
