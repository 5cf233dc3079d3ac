"""The inference procedure: a simulated service measured, recorded and judged, and the counters of one alone."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import aicalib_hw as hw
from aicalib_hw.bench import InferencePlan, load_bench
from aicalib_hw.cli import main
from aicalib_hw.cli._results import how_to_declare
from aicalib_hw.errors import BenchError, NotPermitted, OutOfRange
from aicalib_hw.metrology import Verdict
from aicalib_hw.procedures import calibrate_inference
from aicalib_hw.readings import ValidityStatus
from aicalib_hw.records import RecordContents, read_record
from aicalib_hw.reports import write_report
from tests.benches import certificate
from tests.instruments.inference.service import Habits, Service

BENCH = """
[bench]
name = "served"

[decision]
rule = "simple"

[world]
rate = 1.0

[instruments.service]
driver = "openai"
simulator = "openai"
options = {{ stream_rate = 50.0, first_token = 0.02, follows_platform = false{options} }}
{certificate}

[permissible_errors.inference]
value = 0.25
kind = "relative"
source = "this test"

[[indications]]
quantity = "inference"
definition = "token/output/usage-counted/steady-window"
value = {indication}
unit = "token/s"
concurrency = 4
source = "this test"

[plan.inference]
input_tokens = 16
output_tokens = 10
concurrency = [4]
duration = 0.8
warm_up = 0
headroom = 1.0
"""
CERTIFICATE = certificate(
    "service", "inference", correction=20.0, unit="token/s", number="I-1", valid=("2026-01-01", "2036-01-01")
)
"""What is true of the framework, which is off by 20 token/s by its certificate."""


PARAMETERS = 7_000_000_000
NORMALISED = f"""
[[indications]]
quantity = "inference"
definition = "token/output/usage-counted/steady-window/parameter-normalised"
value = {210.0 * PARAMETERS}
unit = "token/s"
concurrency = 4
source = "this test"
"""


def written(folder: Path, *, options: str = "", certificate: str = "", indication: float = 200.0) -> Path:
    path = folder / "served.toml"
    path.write_text(BENCH.format(options=options, certificate=certificate, indication=indication))
    return path


@pytest.fixture
def bench_file(tmp_path: Path) -> Callable[..., Path]:
    return partial(written, tmp_path)


@dataclass(frozen=True)
class Calibrated:
    """What one command has said, its exit status, and where its files lie."""

    said: dict[str, Any]
    status: Any
    folder: Path
    record: RecordContents


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """A service that boasts, and whose framework has a certificate."""
    folder = tmp_path_factory.mktemp("served")
    bench = written(folder, certificate=CERTIFICATE, indication=400.0)
    bench.write_text(bench.read_text() + f"parameters = {PARAMETERS}\n" + NORMALISED)
    with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit) as ended:
        main(["calibrate", str(bench), "--quantity", "inference", "--output", str(folder / "out"), "--json"])
    record = read_record(folder / "out" / "record.sqlite")
    return Calibrated(json.loads(shown.getvalue()), ended.value.code, folder / "out", record)


def test_a_served_model_is_calibrated_recorded_and_reported(calibrated: Calibrated, tmp_path: Path) -> None:
    raw, normalised = calibrated.record.results
    assert raw.title == "4 at a time, 16 + 10 tokens"
    assert raw.definition == "token/output/usage-counted/steady-window"
    assert raw.validity, raw.validity
    assert raw.evaluation is not None
    # 10 tokens of a stream take 0.02 + 9 x 0.02 s and what a request takes besides; 20 token/s are of the certificate
    assert 160 < raw.evaluation.value <= 221
    assert raw.simulated
    assert normalised.definition == "token/output/usage-counted/steady-window/parameter-normalised"
    assert normalised.evaluation is not None
    assert normalised.evaluation.value == pytest.approx(PARAMETERS * raw.evaluation.value)
    assert normalised.evaluation.expanded_uncertainty == pytest.approx(PARAMETERS * raw.evaluation.expanded_uncertainty)
    assert normalised.decision.verdict is Verdict.PASS
    evidence = raw.measurement.evidence
    assert all(count["generated_tokens"] == count["generated_tokens_by_usage"] for count in evidence["engine_counters"])
    assert len(evidence["ttft_p50_s"]) == len(evidence["total_token_rate"]) >= 3
    assert all(not proof["objections"] for proof in evidence["proof"])
    names = {one.name for one in raw.measurement.components}
    assert {"time base", "streams cut by the window", "arrival stamps"} <= names
    assert any("share this host's processors" in note for note in calibrated.said["notes"])
    for language in ("en", "zh"):
        page = write_report(calibrated.folder / "record.sqlite", tmp_path / f"{language}.html", language=language)
        assert "token/output/usage-counted/steady-window/parameter-normalised" in page.read_text(encoding="utf-8")


def test_a_certificate_of_the_framework_corrects_the_rate_and_enters_the_budget(calibrated: Calibrated) -> None:
    result = calibrated.record.results[0]
    kept = [one for one in calibrated.record.measurements if one.definition == result.definition]
    used = [one.value for one in kept[: len(result.measurement.runs)] if one.validity and one.value is not None]
    assert result.measurement.value == pytest.approx(sum(used) / len(used) + 20.0)
    assert "certificate" in {one.name for one in result.measurement.components}


def test_the_command_calibrates_inference_and_fails_a_service_that_boasts(calibrated: Calibrated) -> None:
    said = calibrated.said
    boasted, normalised = said["results"]
    assert (calibrated.status, boasted["verdict"]) == (1, "FAIL"), said
    assert normalised["verdict"] == "PASS"
    assert (boasted["quantity"], boasted["unit"]) == ("inference", "token/s")
    assert boasted["value"] == calibrated.record.results[0].measurement.value
    assert Path(said["report"]).is_file()
    trace = (calibrated.folder / "trace.jsonl").read_text(encoding="utf-8")
    assert "/models" in trace
    assert len(calibrated.record.measurements) >= 3


def test_each_concurrency_and_each_rate_is_a_point_of_its_own(bench_file: Callable[..., Path]) -> None:
    plan = InferencePlan(
        input_tokens=16,
        output_tokens=10,
        concurrency=(2,),
        request_rates=(20.0,),
        arrival="constant",
        duration=0.5,
        warm_up=0.0,
        headroom=1.0,
        latency_limit=5.0,
    ).model_copy(update={"runs": 1})  # no plan may ask for so few, but runs are repeated by the other tests
    with hw.open_bench(bench_file()) as bench:
        closed, offered = calibrate_inference(bench, plan=plan).results
    assert [closed.title, offered.title] == ["2 at a time, 16 + 10 tokens", "20 requests/s, 16 + 10 tokens"]
    assert (closed.conditions, offered.conditions) == ({"concurrency": 2}, {"request_rate": 20.0})
    assert closed.definition == "token/output/usage-counted/steady-window"
    assert offered.definition == "token/output/usage-counted/offered-window"
    # two streams of 10 tokens in 0.02 + 9 x 0.02 s and what a request takes besides; 20 requests/s of 10 tokens
    rate, rate_offered = closed.measurement.runs[0].value, offered.measurement.runs[0].value
    assert rate is not None
    assert 70 < rate < 111
    assert rate_offered == pytest.approx(200, rel=0.3)
    assert len(offered.measurement.evidence["goodput"]) == len(offered.measurement.runs)


def test_a_service_that_dies_gives_an_invalid_point_that_keeps_its_runs(bench_file: Callable[..., Path]) -> None:
    settings = load_bench(bench_file())
    with hw.open_bench(settings) as bench:
        service = bench.simulated["service"]
        struck: list[str] = []

        def note(_: float, what: str) -> None:
            if "run 2" in what and what.endswith("measuring") and not struck:
                struck.append(what)
                service.inject({"kind": "dies"})

        (result,) = calibrate_inference(bench, progress=note).results
    assert not result.validity
    assert result.evaluation is None
    assert [run.used for run in result.measurement.runs] == [True, False]
    assert any("broke off" in reason for reason in result.validity.reasons)


def test_what_the_service_refuses_ends_the_calibration_by_name(bench_file: Callable[..., Path]) -> None:
    with hw.open_bench(bench_file()) as bench, pytest.raises(OutOfRange, match="simulated-8b"):
        calibrate_inference(bench, plan=InferencePlan(model="another"))
    with pytest.raises(NotPermitted, match="key"):
        hw.open_bench(bench_file(options=', api_key = "word"'))


def test_a_service_on_the_host_of_its_client_is_measured_and_gets_no_verdict(tmp_path: Path) -> None:
    with Service(Habits(gap=0.01)) as service:
        path = tmp_path / "here.toml"
        text = BENCH.format(options="", certificate="", indication=300.0).replace("[world]\nrate = 1.0\n", "")
        where = text.index('simulator = "openai"')
        line = text.index("\n", text.index("options", where))
        path.write_text(f'{text[:where]}address = "{service.address}"{text[line:]}')
        with hw.open_bench(path) as bench:
            plan = bench.settings.plan.inference.model_copy(update={"parameters": 1000})
            calibration = calibrate_inference(bench, plan=plan)
    for result in calibration.results:
        assert not result.simulated
        assert result.validity, result.validity
        assert result.evaluation is not None
        assert result.decision.verdict is Verdict.NOT_EVALUATED
        assert "one host's processors" in result.decision.reason
        assert result.measurement.evidence["client_on_same_host"] is True
    assert calibration.results[0].decision.error is not None
    # The other one has no indication, and none would bring it a verdict: nobody is sent to declare one.
    assert calibration.results[1].indication is None
    assert how_to_declare([calibration], "here.toml") == ""
    assert any("share this host's processors" in note for note in calibration.notes)


def test_a_plan_without_a_point_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no-point.toml"
    path.write_text(BENCH.format(options="", certificate="", indication=1.0).replace("[4]", "[]"))
    with pytest.raises(BenchError, match="concurrency"):
        load_bench(path)


def test_counters_alone_are_one_point_to_which_nothing_is_sent(bench_file: Callable[..., Path], tmp_path: Path) -> None:
    over = threading.Event()
    with hw.open_bench(bench_file()) as served:
        base = served.simulated["service"].address.removeprefix("openai+")
        body = {"model": "simulated-8b", "prompt": "a", "max_tokens": 20, "ignore_eos": True}

        def ask() -> None:
            while not over.is_set():
                httpx.post(f"{base}/completions", json=body, timeout=10)

        others = [threading.Thread(target=ask) for _ in range(3)]
        for other in others:
            other.start()
        time.sleep(0.3)
        path = tmp_path / "counted.toml"
        path.write_text(
            '[bench]\nname = "counted"\n[instruments.counters]\ndriver = "prometheus"\n'
            f'address = "prometheus+{base.removesuffix("/v1")}/metrics?every=0.02"\n'
        )
        try:
            with hw.open_bench(path) as bench:
                (result,) = calibrate_inference(
                    bench, plan=InferencePlan(duration=1.0, warm_up=0.0, parameters=None)
                ).results
        finally:
            over.set()
            for other in others:
                other.join()
    assert result.title == "engine counters"
    assert result.definition == "token/output/engine-counter/window"
    assert result.validity.status is ValidityStatus.VALID, result.validity
    assert result.evaluation is not None
    # three at a time, of 20 tokens in some 0.4 s each, without a stream
    assert 60 < result.evaluation.value < 200
