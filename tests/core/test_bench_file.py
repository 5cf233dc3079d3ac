"""Bench files: what they may say, and the message for each way of saying it wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aicalib_hw._bench_errors import key_text, nearest, rejected
from aicalib_hw._bench_file import BenchFile
from aicalib_hw._bench_plans import ComputePlan, PowerPlan, StoragePlan
from aicalib_hw.bench import SHIPPED, find_bench, known_benches, load_bench
from aicalib_hw.errors import BenchError

LEAST: dict[str, Any] = {
    "bench": {"name": "lab"},
    "instruments": {"meter": {"driver": "yokogawa-wt300", "address": "TCPIP::192.0.2.7::INSTR"}},
}

LEAST_TOML = """
[bench]
name = "lab"

[instruments.meter]
driver = "yokogawa-wt300"
address = "TCPIP::192.0.2.7::INSTR"
"""


def refusal(**tables: Any) -> BenchError:
    """The message for the least bench file with these tables added or replaced."""
    with pytest.raises(ValidationError) as caught:
        BenchFile.model_validate({**LEAST, **tables})
    return rejected("lab.toml", caught.value, BenchFile)


def loaded(tmp_path: Path, text: str) -> BenchFile:
    path = tmp_path / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return load_bench(path)


def test_the_least_bench_file_has_the_defaults_of_the_plans() -> None:
    bench = BenchFile.model_validate(LEAST)
    assert (bench.plan.compute.duration, bench.plan.compute.runs, bench.plan.compute.precision) == (10.0, 3, "fp32")
    assert bench.plan.power.loads == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert (bench.plan.power.duration, bench.plan.power.runs) == (5.0, 3)
    assert bench.decision.rule == "none"


def test_what_is_only_read_is_measured_by_the_patterns_that_only_read() -> None:
    plan = StoragePlan(read_only=True)
    assert plan.patterns == ("sequential-read", "random-read")
    assert plan.specification().read_only
    assert StoragePlan(read_only=True, patterns=("random-read",)).patterns == ("random-read",)


@pytest.mark.parametrize("plan", [ComputePlan(), PowerPlan(), StoragePlan()])
def test_the_specification_plan_is_six_runs_of_a_minute(plan: ComputePlan | PowerPlan | StoragePlan) -> None:
    full = plan.specification()
    assert (full.duration, full.runs) == (60.0, 6)


@pytest.mark.parametrize(
    ("tables", "key", "what", "advice"),
    [
        ({"bnch": {}}, "bnch", "unknown key", "'bench'"),
        ({"plan": {"power": {"durations": 3}}}, "plan.power.durations", "unknown key", "'duration'"),
        ({"plan": {"compte": {}}}, "plan.compte", "unknown key", "'compute'"),
        ({"plan": {"compute": {"duration": "5"}}}, "plan.compute.duration", "wrong type", "without quotes"),
        ({"plan": {"compute": {"runs": 3.5}}}, "plan.compute.runs", "wrong type", "whole numbers"),
        ({"plan": {"compute": {"gemm": 1}}}, "plan.compute.gemm", "wrong type", "true or false"),
        ({"plan": {"compute": {"precision": "fp23"}}}, "plan.compute.precision", "no choice", "fp64"),
        ({"plan": {"power": {"runs": 1}}}, "plan.power.runs", "cannot be used", ""),
        ({"plan": {"power": {"loads": [0, 0.5, 0.5]}}}, "plan.power.loads", "cannot be used", "once"),
        ({"plan": {"power": {"loads": [50]}}}, "plan.power.loads[0]", "loads[0] = 50 cannot be used", "0.5 for 50 %"),
        ({"plan": {"storage": {"duration": 2.5}}}, "plan.storage.duration", "wrong type", "whole numbers"),
        ({"plan": {"storage": {"patterns": ["mixed", "mixed"]}}}, "plan.storage.patterns", "cannot be used", "once"),
        ({"plan": {"storage": {"read_only": True, "patterns": ["mixed"]}}}, "plan.storage", "cannot be used", "verify"),
        ({"plan": {"storage": {"read_only": True, "verify": True}}}, "plan.storage", "cannot be used", "verify"),
        ({"plan": {"storage": {"patterns": ["read"]}}}, "plan.storage.patterns[0]", "no choice", "sequential-read"),
        ({"decision": {"rule": "jjf1059"}}, "decision.rule", "no choice", "jjf1094"),
        ({"bench": {"name": "a/b"}}, "bench.name", "cannot be used", ""),
        ({"bench": {}}, "bench.name", "missing", "add name"),
        ({"instruments": {}}, "instruments", "cannot be used", ""),
        ({"platform": {"serial": "0042"}}, "platform.serial", "unknown key", "'serial_number'"),
        ({"platform": {"model": ""}}, "platform.model", "cannot be used", ""),
        ({"environment": {"temperature": 296, "source": "s"}}, "environment.temperature", "cannot be used", "degC"),
        ({"environment": {"temperature": float("nan"), "source": "s"}}, "environment.temperature", "used", "degC"),
        ({"environment": {"humidity": 0.45, "source": "s"}}, "environment.humidity", "cannot be used", "relative"),
        ({"environment": {"temperature": "23", "source": "s"}}, "environment.temperature", "wrong type", "quotes"),
        ({"environment": {"temperature": 23.0}}, "environment.source", "missing", "add source"),
        ({"environment": {"source": "s"}}, "environment", "cannot be used", "add temperature"),
        ({"instruments": {"m": {"driver": "x"}}}, "instruments.m", "cannot be used", "simulator = "),
        (
            {"instruments": {"m": {"driver": "x", "address": "y", "options": {"model": "z"}}}},
            "instruments.m",
            "cannot be used",
            "settings",
        ),
        (
            {"permissible_errors": {"powr": {"value": 0.05, "kind": "relative", "source": "s"}}},
            "permissible_errors.powr",
            "unknown name",
            "power",
        ),
        (
            {"permissible_errors": {"power": {"value": 2, "kind": "relative", "source": "s"}}},
            "permissible_errors.power.value",
            "value = 2 cannot be used",
            "write value = 0.02",
        ),
        (
            {"permissible_errors": {"power": {"value": 150, "kind": "relative", "unit": "%", "source": "s"}}},
            "permissible_errors.power.value",
            "value = 150 cannot be used",
            "below 100 %",
        ),
        (
            {"permissible_errors": {"power": {"value": 0.05, "kind": "relative", "unit": "W", "source": "s"}}},
            "permissible_errors.power",
            "cannot be used",
            "0.05 means 5 %",
        ),
        (
            {"permissible_errors": {"power": {"value": 5, "kind": "absolute", "unit": "V", "source": "s"}}},
            "permissible_errors.power.unit",
            'unit = "V" cannot be used',
            "kW",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_key_and_what_to_do(
    tables: dict[str, Any], key: str, what: str, advice: str
) -> None:
    error = refusal(**tables)
    assert what in error.what
    assert error.where == f"lab.toml: {key}"
    assert error.why
    assert error.advice
    assert advice in error.advice


def indication(**changed: Any) -> dict[str, Any]:
    entry = {"quantity": "power", "value": 400.0, "unit": "W", "source": "BMC", **changed}
    return {"decision": {"rule": "jjf1094"}, "indications": [entry]}


@pytest.mark.parametrize(
    ("changed", "key", "text"),
    [
        ({"unit": "Wat"}, "indications[0].unit", "unknown unit 'Wat'"),
        ({"unit": "V"}, "indications[0].unit", "V is not a unit of power"),
        ({"quantity": "compute", "unit": "TFLOPS"}, "indications[0].unit", "did you mean 'TFLOP/s'?"),
        ({"value": "400"}, "indications[0].value", 'value = "400" has the wrong type'),
        ({"value": float("nan")}, "indications[0].value", "finite"),
        ({"quantity": "speed"}, "indications[0].quantity", "compute, power"),
        ({"load": 25.0}, "indications[0].load", "25.0"),
        ({"definition": "power/active"}, "indications[0].definition", "'power/active/mean'"),
        ({"definition": "rate/storage/mixed"}, "indications[0].definition", "no definition of power"),
        (
            {"quantity": "compute", "unit": "TFLOP/s", "definition": "flop/int8-accumulate-int32/vector/sustained"},
            "indications[0].unit",
            "stated in OP/s",
        ),
        ({"concurrency": 4}, "indications[0].concurrency", "of power one may say load"),
        ({"quantity": "compute", "unit": "TFLOP/s", "load": 1.0}, "indications[0].load", "never be held against"),
        ({"driver": "nvidia"}, "indications[0].driver", "of power one may say load"),
        ({"quantity": "network", "unit": "Gbit/s"}, "indications[0]", "without definition"),
        ({"quantity": "storage", "unit": "Gbit/s"}, "indications[0]", "rate/storage/sequential-read"),
        ({"quantity": "effective_compute", "unit": "%"}, "indications[0]", "effective-compute/v1/"),
    ],
)
def test_an_indication_that_cannot_be_meant_is_refused(changed: dict[str, Any], key: str, text: str) -> None:
    error = refusal(**indication(**changed))
    assert error.where == f"lab.toml: {key}"
    assert text in str(error)


def test_verdicts_need_a_rule_that_was_agreed_before() -> None:
    error = refusal(indications=indication()["indications"])
    assert "no rule" in error.why
    assert "jjf1094" in error.advice


def test_all_that_is_wrong_in_a_file_is_told_at_once() -> None:
    error = refusal(plan={"compute": {"runs": "3"}, "power": {"settel": 1}})
    assert "plan.compute.runs" in str(error)
    assert "plan.power.settel" in str(error)


def test_a_permissible_error_in_percent_is_the_same_ratio() -> None:
    entry = {"value": 5, "kind": "relative", "unit": "%", "source": "spec"}
    bench = BenchFile.model_validate({**LEAST, "permissible_errors": {"power": entry}})
    limit = bench.permissible_errors["power"].permissible_error()
    assert (limit.value, limit.unit) == (pytest.approx(0.05), "1")


def test_a_certificate_is_taken_whole(tmp_path: Path) -> None:
    bench = loaded(
        tmp_path,
        LEAST_TOML
        + """
[instruments.meter.certificate]
number = "N-1"
issuer = "an institute"
calibrated_on = 2026-01-31
valid_until = "2027-01-30"
traceable_to = "SI"
points = [{ quantity = "power", range = 6000.0, at = 4000, correction = -0.4, expanded_uncertainty = 1.5, unit = "W" }]
""",
    )
    entry = bench.instruments["meter"].certificate
    assert entry is not None
    certificate = entry.certificate()
    assert (certificate.calibrated_on, certificate.valid_until) == ("2026-01-31", "2027-01-30")
    assert (certificate.points[0].correction, certificate.points[0].k) == (-0.4, 2.0)


def test_a_file_that_is_no_toml_is_told_with_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="line 3"):
        loaded(tmp_path, "[bench]\nname = 'lab'\n[instruments\n")


def test_an_operator_sets_one_load_at_a_time(tmp_path: Path) -> None:
    text = LEAST_TOML + '\n[load]\nsource = "operator"\n\n[plan.power]\nloads = '
    with pytest.raises(BenchError) as refused:
        loaded(tmp_path, text + "[0.0, 1.0]\n")
    assert [(problem.key, "once for each" in problem.advice) for problem in refused.value.problems] == [
        ("plan.power.loads", True)
    ]
    assert loaded(tmp_path, text + "[1.0]\n").plan.power.loads == (1.0,)


def test_a_file_in_another_encoding_is_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_bytes("[bench]\nname = 'l\xe4b'\n".encode("latin-1"))
    with pytest.raises(BenchError, match="save it again in that encoding"):
        load_bench(tmp_path / "lab.toml")


def test_the_mark_that_editors_of_windows_put_before_a_file_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_bytes(b"\xef\xbb\xbf" + LEAST_TOML.encode())
    assert load_bench(tmp_path / "lab.toml").bench.name == loaded(tmp_path, LEAST_TOML).bench.name


@pytest.mark.parametrize(
    ("line", "key", "text"),
    [
        ('driver = "yokogawa-wt30"', "instruments.meter.driver", "did you mean 'yokogawa-wt300'?"),
        (
            'driver = "yokogawa-wt300"\nsimulator = "yokogawa-wt30"',
            "instruments.meter.simulator",
            "did you mean 'yokogawa-wt300'?",
        ),
        ('driver = "yokogawa-wt300"\nsettings = { range = 3.0 }', "instruments.meter.settings.range", "auto_range"),
        (
            'driver = "yokogawa-wt300"\nsettings = { voltage_range = "300" }',
            "instruments.meter.settings.voltage_range",
            "wrong type",
        ),
        ('driver = "cpu"\nsettings = { voltage_range = 300 }', "instruments.meter.settings", "no settings"),
        (
            'driver = "generic-meter"\ndriver_options = { qery = "MEAS:POW?" }',
            "instruments.meter.driver_options.qery",
            "did you mean 'query'?",
        ),
        (
            'driver = "generic-meter"\ndriver_options = { update_interval = "1" }',
            "instruments.meter.driver_options.update_interval",
            "wrong type",
        ),
        (
            'driver = "generic-meter"\ndriver_options = { timeout = 1.0 }',
            "instruments.meter.driver_options.timeout",
            "unknown key",
        ),
        (
            'driver = "yokogawa-wt3000"\ndriver_options = { password = "open" }',
            "instruments.meter.driver_options.password",
            "kept with every record",
        ),
        ('driver = "cpu"\nsimulator = "yokogawa-wt300"', "instruments.meter.simulator", "yokogawa-wt300"),
        ('driver = "cpu"\nsimulator = "world"', "instruments.meter.simulator", "unknown simulator"),
    ],
)
def test_what_no_driver_knows_is_refused_before_anything_is_opened(
    tmp_path: Path, line: str, key: str, text: str
) -> None:
    with pytest.raises(BenchError) as caught:
        loaded(tmp_path, LEAST_TOML.replace('driver = "yokogawa-wt300"', line))
    assert caught.value.where.startswith(str(tmp_path / "lab.toml"))
    (problem,) = [one for one in caught.value.problems if one.key == key]
    assert text in str(problem)


@pytest.mark.parametrize(("source", "why"), [("meter", "power_meter"), ("cpu0", "no instrument")])
def test_only_an_accelerator_or_the_world_can_load_the_platform(tmp_path: Path, source: str, why: str) -> None:
    with pytest.raises(BenchError) as caught:
        loaded(tmp_path, LEAST_TOML + f'\n[load]\nsource = "{source}"\n')
    assert caught.value.where.endswith(": load.source")
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("driver", "text"), [("cpuu", "did you mean 'cpu'?"), ("yokogawa-wt300", "accelerators has cpu, nvidia, so")]
)
def test_what_is_said_of_a_driver_that_no_accelerator_has_is_refused(tmp_path: Path, driver: str, text: str) -> None:
    accelerators = """
        [decision]
        rule = "simple"
        [instruments.cpu]
        driver = "cpu"
        address = "cpu://local"
        [instruments.gpu]
        driver = "nvidia"
        address = "nvidia://*"
        """
    said = """
        [[indications]]
        quantity = "compute"
        value = 60.0
        unit = "TFLOP/s"
        source = "data sheet"
        driver = "{}"
        """
    assert loaded(tmp_path, LEAST_TOML + accelerators + said.format("nvidia")).indications[0].driver == "nvidia"
    with pytest.raises(BenchError) as caught:
        loaded(tmp_path, LEAST_TOML + accelerators + said.format(driver))
    (problem,) = caught.value.problems
    assert problem.key == "indications[0].driver"
    assert text in str(problem)


def test_shipped_benches_are_sound_and_known_by_name() -> None:
    assert {"this-machine", "simulated-server"} <= set(known_benches())
    for path in SHIPPED.glob("*.toml"):
        assert load_bench(path).bench.name == path.stem


def nodes_mapped() -> set[str]:
    """The state pages of simulated accelerators that this process has in its memory."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    except OSError:
        pytest.skip("this system has no /proc")
    return set(re.findall(r"\S*/aicalib-node-\S+/page", maps))


def test_checking_a_bench_with_simulated_accelerators_leaves_no_file_of_them_and_takes_memory_for_one_node() -> None:
    before = nodes_mapped()
    assert load_bench("simulated-server").instruments["npu7"].simulator == "ascend"
    left = nodes_mapped() - before
    assert len(left) <= 1
    assert [path for path in left if Path(path).exists()] == []


def test_a_bench_of_the_user_is_found_by_name_and_never_shadows_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICALIB_BENCH_PATH", str(tmp_path))
    (tmp_path / "mine.toml").write_text(LEAST_TOML)
    (tmp_path / "this-machine.toml").write_text(LEAST_TOML)
    assert find_bench("mine") == tmp_path / "mine.toml"
    assert find_bench("this-machine").parent == SHIPPED


def test_an_unknown_bench_is_answered_with_the_nearest_one_and_where_it_was_looked(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        find_bench("this-machin")
    assert "'this-machine'" in caught.value.advice
    assert str(SHIPPED) in caught.value.where


def test_a_path_that_leads_nowhere_is_told_in_full(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        find_bench(tmp_path / "none.toml")
    assert caught.value.where == str(tmp_path / "none.toml")


def test_a_slip_in_a_path_is_answered_with_the_file_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benches").mkdir()
    (tmp_path / "ab.toml").write_text(LEAST_TOML)
    for place in (tmp_path, tmp_path / "benches"):
        (place / "my-server.toml").write_text(LEAST_TOML)
    for given_path, meant in (
        ("./my-sever.toml", "./my-server.toml"),
        ("./my-server", "./my-server.toml"),
        ("benches/my-sever.toml", str(Path("benches/my-server.toml"))),
    ):
        with pytest.raises(BenchError) as caught:
            find_bench(given_path)
        assert caught.value.advice == f"did you mean {meant}?"
    with pytest.raises(BenchError) as caught:
        find_bench("./zz.toml")
    assert caught.value.advice == "check the path"


@pytest.mark.parametrize("name", ["my-server", "my-sever"])
def test_the_name_of_a_file_in_the_working_directory_is_answered_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-server.toml").write_text(LEAST_TOML)
    with pytest.raises(BenchError) as caught:
        find_bench(name)
    assert caught.value.advice.startswith("did you mean ./my-server.toml?")
    with pytest.raises(BenchError) as caught:
        find_bench("simulated-servr")
    assert caught.value.advice.startswith("did you mean 'simulated-server'?")


@given(st.text(min_size=1, max_size=20), st.lists(st.text(min_size=1, max_size=20), max_size=5))
def test_advice_names_only_words_that_are_known(word: str, known: list[str]) -> None:
    advice = nearest(word, known)
    assert any(candidate in advice or repr(candidate) in advice for candidate in known) == bool(known)


def test_a_key_is_written_as_in_the_file() -> None:
    assert key_text(("instruments", "meter", "certificate", "points", 0, "unit")) == (
        "instruments.meter.certificate.points[0].unit"
    )
