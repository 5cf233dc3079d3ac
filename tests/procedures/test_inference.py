"""The inference procedure: a simulated service measured, recorded and judged, and the counters of one alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
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
from aicalib_hw.readings import Measurement, ValidityStatus
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record
from aicalib_hw.reports import write_report
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
source = "this test"

[plan.inference]
input_tokens = 16
output_tokens = 10
concurrency = [4]
duration = 0.8
warm_up = 0
headroom = 1.0
"""
CERTIFICATE = """
[instruments.service.certificate]
number = "I-1"
issuer = "this test"
calibrated_on = 2026-01-01
valid_until = 2036-01-01

[[instruments.service.certificate.points]]
quantity = "inference"
at = 0.0
correction = 20.0
expanded_uncertainty = 2.0
unit = "token/s"

[[instruments.service.certificate.points]]
quantity = "inference"
at = 1000.0
correction = 20.0
expanded_uncertainty = 2.0
unit = "token/s"
"""


@pytest.fixture
def bench_file(tmp_path: Path) -> Callable[..., Path]:
    def write(*, options: str = "", certificate: str = "", indication: float = 200.0) -> Path:
        path = tmp_path / "served.toml"
        path.write_text(BENCH.format(options=options, certificate=certificate, indication=indication))
        return path

    return write


def test_a_served_model_is_calibrated_recorded_and_reported(bench_file: Callable[..., Path], tmp_path: Path) -> None:
    settings = load_bench(bench_file())
    plan = settings.plan.inference.model_copy(update={"parameters": 7_000_000_000})
    path = tmp_path / "record.sqlite"
    with (
        hw.open_bench(settings) as bench,
        Record.create(path, title="served", bench={}, rule="simple", plan={}) as record,
    ):
        calibration = calibrate_inference(bench, plan=plan, record=record)
    raw, normalised = calibration.results
    assert raw.title == "4 at a time, 16 + 10 tokens"
    assert raw.definition == "token/output/usage-counted/steady-window"
    assert raw.validity, raw.validity
    assert raw.evaluation is not None
    # 10 tokens of a stream take 0.02 + 9 x 0.02 s and what a request takes besides
    assert 140 < raw.evaluation.value <= 201
    assert raw.decision.verdict is Verdict.PASS
    assert raw.simulated
    assert normalised.definition == "token/output/usage-counted/steady-window/parameter-normalised"
    assert normalised.evaluation is not None
    assert normalised.evaluation.value == pytest.approx(7e9 * raw.evaluation.value)
    assert normalised.evaluation.expanded_uncertainty == pytest.approx(7e9 * raw.evaluation.expanded_uncertainty)
    assert normalised.decision.verdict is Verdict.NOT_EVALUATED
    evidence = raw.measurement.evidence
    assert all(count["generated_tokens"] == count["generated_tokens_by_usage"] for count in evidence["engine_counters"])
    assert len(evidence["ttft_p50_s"]) == len(evidence["total_token_rate"]) >= 3
    assert all(not proof["objections"] for proof in evidence["proof"])
    names = {one.name for one in raw.measurement.components}
    assert {"time base", "streams cut by the window", "arrival stamps"} <= names
    assert any("share this host's processors" in note for note in calibration.notes)
    contents = read_record(path)
    assert len(contents.results) == 2
    for language in ("en", "zh"):
        page = write_report(path, tmp_path / f"{language}.html", language=language).read_text(encoding="utf-8")
        assert "token/output/usage-counted/steady-window/parameter-normalised" in page


def test_each_concurrency_and_each_rate_is_a_point_of_its_own(bench_file: Callable[..., Path]) -> None:
    plan = InferencePlan(
        input_tokens=16,
        output_tokens=10,
        concurrency=(2,),
        request_rates=(20.0,),
        arrival="constant",
        duration=0.8,
        warm_up=0.0,
        headroom=1.0,
        latency_limit=5.0,
    )
    with hw.open_bench(bench_file()) as bench:
        closed, offered = calibrate_inference(bench, plan=plan).results
    assert closed.title == "2 at a time, 16 + 10 tokens"
    assert offered.title == "20 requests/s, 16 + 10 tokens"
    assert offered.definition == "token/output/usage-counted/offered-window"
    assert offered.measurement.value is None or offered.measurement.value == pytest.approx(200, rel=0.3)
    assert len(offered.measurement.evidence["goodput"]) >= 3


def test_a_certificate_of_the_framework_corrects_the_rate_and_enters_the_budget(
    bench_file: Callable[..., Path],
) -> None:
    seen: list[Measurement] = []

    class Kept:
        """Keeps what a record would."""

        def measurement(self, run: Measurement) -> None:
            seen.append(run)

        def result(self, _: Any) -> None:
            """Nothing to keep."""

        calibration = result

    with hw.open_bench(bench_file(certificate=CERTIFICATE)) as bench:
        (result,) = calibrate_inference(bench, record=Kept()).results
    used = [run.value for run in seen if run.validity and run.value is not None]
    assert result.measurement.value == pytest.approx(sum(used) / len(used) + 20.0)
    assert "certificate" in {one.name for one in result.measurement.components}


def test_a_service_that_dies_gives_an_invalid_point_that_keeps_its_runs(bench_file: Callable[..., Path]) -> None:
    settings = load_bench(bench_file())
    with hw.open_bench(settings) as bench:
        service = bench.simulated["service"]
        struck: list[str] = []

        def note(_: float, what: str) -> None:
            if "run 2" in what and what.endswith("measuring") and not struck:
                struck.append(what)
                service.inject({"kind": "dies"})

        plan = settings.plan.inference.model_copy(update={"duration": 1.5})
        (result,) = calibrate_inference(bench, plan=plan, progress=note).results
    assert not result.validity
    assert result.evaluation is None
    assert [run.used for run in result.measurement.runs] == [True, False]
    assert any("broke off" in reason for reason in result.validity.reasons)


def test_what_the_service_refuses_ends_the_calibration_by_name(bench_file: Callable[..., Path]) -> None:
    with hw.open_bench(bench_file()) as bench, pytest.raises(OutOfRange, match="simulated-8b"):
        calibrate_inference(bench, plan=InferencePlan(model="another"))
    with pytest.raises(NotPermitted, match="key"):
        hw.open_bench(bench_file(options=', api_key = "word"'))


def test_the_command_calibrates_inference_and_fails_a_service_that_boasts(
    bench_file: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = str(bench_file(indication=400.0))
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", bench, "--quantity", "inference", "--output", str(tmp_path / "out"), "--json"])
    said = json.loads(capfd.readouterr().out)
    (result,) = said["results"]
    assert (ended.value.code, result["verdict"]) == (1, "FAIL"), said
    assert (result["quantity"], result["unit"]) == ("inference", "token/s")
    assert 140 < result["value"] <= 201
    assert Path(said["report"]).is_file()
    trace = (tmp_path / "out" / "trace.jsonl").read_text(encoding="utf-8")
    assert "/models" in trace
    assert len(read_record(tmp_path / "out" / "record.sqlite").measurements) >= 3


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
