"""Normalised effective compute, measured: against devices and workloads whose truth is known, and on this processor."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import aicalib_hw as hw
from aicalib_hw import bench as bench_plans
from aicalib_hw._bench_file import IndicationEntry, PermissibleErrorEntry
from aicalib_hw.bench import EffectiveComputePlan
from aicalib_hw.cli._results import table_of
from aicalib_hw.errors import NotSupported, UsageError
from aicalib_hw.identity import Certificate, CertificatePoint
from aicalib_hw.interfaces import (
    AcceleratorCapabilities,
    DriverInfo,
    InferenceLoad,
    InferenceServiceCapabilities,
    LoadRun,
    Peak,
    PeakMeasurement,
    PrecisionSupport,
    ReleaseReport,
    TelemetryReading,
    TrainingJobCapabilities,
    TrainingPlan,
)
from aicalib_hw.metrology.effective import ModelShape, Reference, inference_operations
from aicalib_hw.procedures import calibrate_effective_compute
from aicalib_hw.procedures._effective_run import between, measure_effective_compute, nominal_references, path_of
from aicalib_hw.readings import Component, Instant, Measurement, Run, Validity, ValidityStatus, Window
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record

VECTOR = "flop/fp32-accumulate-fp32/vector/sustained"
TRAINING = "token/training/applied-steps/timed-here"


class Device(hw.Accelerator):
    """A device that computes at known rates, one after the other."""

    DRIVER = DriverInfo("device", "accelerator", "a device of known rate", "none")

    def __init__(self, rates: Iterator[float], *, nominal: float | None = 2e12, path: Any = "vector") -> None:
        super().__init__("device://0")
        self._rates = rates
        self._nominal = nominal
        self._path = path
        self.open()

    def _connect(self) -> None: ...

    def _disconnect(self) -> None: ...

    def identify(self) -> hw.Identity:
        return hw.Identity("maker", "device", "1", "1", self.address)

    @property
    def capabilities(self) -> AcceleratorCapabilities:
        return AcceleratorCapabilities(supports=(PrecisionSupport("fp32", "fp32", self._path, "known"),))

    def snapshot(self) -> dict[str, Any]:
        return {}

    def abort(self) -> None: ...

    def release(self) -> ReleaseReport:
        return ReleaseReport()

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> TelemetryReading:
        raise NotSupported("no telemetry")

    def stream(self, *, interval: float = 1.0, duration: float | None = None) -> Iterator[TelemetryReading]:
        raise NotSupported("no telemetry")

    def theoretical_peak(self, precision: Any, *, path: Any = "vector", clock: Any = "maximum") -> Peak:
        return Peak(self._nominal, "FLOP/s", "known", "this test")

    def lock_clocks(self, frequency: float) -> AbstractContextManager[None]:
        return nullcontext()

    def run_load(self, fraction: float, *, duration: float | None, precision: Any = "fp32") -> LoadRun:
        raise NotSupported("no load")

    def measure_peak(self, precision: Any = "fp32", **settings: Any) -> PeakMeasurement:
        now = Instant.now()
        window = Window(now, now, "known")
        rate = next(self._rates)
        components = (Component("operations", "B", "FLOP/s", "known", half_width=1e-3 * rate),)
        validity = Validity() if rate < 5e12 else Validity(ValidityStatus.INVALID, ("throttled",))
        sustained = Measurement(
            "compute",
            VECTOR,
            rate,
            "FLOP/s",
            window,
            self.identity,
            (Run(rate, window),),
            components,
            validity=validity,
        )
        return PeakMeasurement(sustained, sustained, None, None, None, None, None, 0)


def workload(rate: float, seconds: float = 1.0) -> Measurement:
    now = Instant.now()
    then = Instant(now.utc_ns + round(1e9 * seconds), now.monotonic_ns + round(1e9 * seconds))
    identity = hw.Identity("maker", "job", "1", "1", "torch://local")
    return Measurement("training", TRAINING, rate, "token/s", Window(now, then, "steps"), identity)


def measured(*rates: float, tokens: float = 1000.0, operations: float = 5e8, **more: Any) -> Measurement:
    return measure_effective_compute(
        [Device(iter(rates))],
        lambda: workload(tokens),
        workload="training",
        operations_per_token=operations,
        shares={"fp32": 1.0},
        **more,
    )


@given(st.floats(1e9, 4e12), st.floats(-0.019, 0.019), st.floats(0.01, 0.9))
def test_a_known_share_is_found_within_its_uncertainty_though_the_reference_wanders(
    rate: float, wander: float, share: float
) -> None:
    # The device is at `rate` while the workload runs, half of the way between the two references or at either of them.
    for begin, end in ((-wander / 2, wander / 2), (0.0, wander), (-wander, 0.0)):
        found = measured(rate * (1 + begin), rate * (1 + end), tokens=share * rate / 5e8)
        assert found.validity, found.validity.reasons
        assert found.value is not None
        allowed = sum(one.half_width or 0.0 for one in found.components) * float(found.value)
        assert abs(float(found.value) - 100 * share) <= allowed * (1 + 1e-9)


def test_references_that_differ_by_more_than_two_per_cent_make_the_run_unusable_and_say_it_was_disturbed() -> None:
    found = measured(1e12, 1.03e12)
    assert found.validity.status is ValidityStatus.INVALID
    assert "disturbed" in found.validity.reasons[0]
    assert found.value == pytest.approx(100 * 5e11 / 1.015e12)
    assert found.evidence["references_before_after"] == {"fp32": [1e12, 1.03e12]}
    assert measured(1e12, 1.03e12, drift=0.05).validity


def test_a_reference_that_is_not_valid_makes_no_valid_share() -> None:
    found = measured(6e12, 6e12)
    assert any("throttled" in reason for reason in found.validity.reasons)
    assert not found.validity


def test_a_share_above_everything_keeps_its_value_and_is_called_a_fault() -> None:
    found = measured(1e12, 1e12, operations=1.2e9)
    assert found.value == pytest.approx(120.0)
    assert any("more than 100 %" in reason for reason in found.validity.reasons)


def test_several_devices_count_together() -> None:
    pair = [Device(itertools.repeat(1e12)), Device(itertools.repeat(1e12))]
    references = nominal_references(pair, {"fp32": 1.0})
    assert references is not None
    assert references["fp32"] == Reference(4e12, "FLOP/s", "nominal", "known (this test)", pair[0].identity)
    assert nominal_references([pair[0], Device(iter(()), nominal=None)], {"fp32": 1.0}) is None


def test_the_reference_is_of_the_path_that_all_devices_have_and_of_none_else() -> None:
    vector, matrix = Device(iter(()), path="vector"), Device(iter(()), path="matrix")
    assert path_of([vector], "fp32") == "vector"
    assert path_of([matrix], "fp32") == "matrix"
    with pytest.raises(NotSupported, match="not all accelerators"):
        path_of([vector, matrix], "fp32")
    with pytest.raises(NotSupported, match="by the path 'gemm'"):
        path_of([vector], "fp32", "gemm")


def test_a_reference_without_a_value_gives_no_share_and_says_so() -> None:
    token_rate = workload(1.0)
    unknown = Measurement("compute", VECTOR, None, "FLOP/s", token_rate.window, token_rate.identity)
    found = between(
        token_rate,
        {"fp32": unknown},
        {"fp32": replace(unknown, value=1e12)},
        workload="training",
        operations_per_token=1.0,
        shares={"fp32": 1.0},
    )
    assert found.value is None
    assert found.validity.reasons == ("the reference at fp32 has no value",)


def test_a_workload_that_does_half_of_what_this_processor_can_is_found_to_do_half() -> None:
    with hw.open_instrument("cpu://local") as processor:
        reference = processor.measure_peak("fp32", duration=0.3).sustained
        assert reference.value is not None
        half = float(reference.value) / 2
        found = measure_effective_compute(
            [processor],
            lambda: workload(half / 1e9),
            workload="training",
            operations_per_token=1e9,
            shares={"fp32": 1.0},
            duration=0.3,
            drift=1.0,
        )
    assert found.value is not None
    # Other programs take their part of a shared processor; what they took before and after is in the evidence.
    pair = found.evidence["references_before_after"]["fp32"]
    assert found.value == pytest.approx(100 * half / (sum(pair) / 2))
    assert found.evidence["reference_sources"]["fp32"].startswith("flop/fp32-accumulate-fp32/")
    names = {component.name for component in found.components}
    assert {"time base", "reference fp32: change from before to after the run"} <= names


TRAINING_PLAN = bench_plans.TrainingPlan(global_batch=4, sequence_length=256)
INFERENCE_PLAN = bench_plans.InferencePlan(
    model="model", input_tokens=100, output_tokens=50, concurrency=(1, 8), processes=4, seed=7
)


class Job(hw.TrainingJob):
    """A training job of known rate, which tells of its model what the test gives it."""

    DRIVER = DriverInfo("job", "training_job", "a job of known rate", "none")

    def __init__(self, rate: float, *, own: bool = True, **evidence: Any) -> None:
        super().__init__("job://0")
        self._rate, self._evidence, self._own = rate, evidence, own
        self.running = False
        self.steps: list[int] = []
        self.open()

    def _connect(self) -> None: ...

    def _disconnect(self) -> None: ...

    def identify(self) -> hw.Identity:
        return hw.Identity("maker", "job", "1", "1", self.address)

    @property
    def capabilities(self) -> TrainingJobCapabilities:
        return TrainingJobCapabilities(own=self._own)

    def snapshot(self) -> dict[str, Any]:
        return {}

    def abort(self) -> None: ...

    def release(self) -> ReleaseReport:
        self.running = False
        return ReleaseReport()

    def stream(self, *, duration: float | None = None) -> Iterator[Any]:
        raise NotSupported("no steps")

    def measure_tokens(self, plan: TrainingPlan, *, progress: Any = None) -> Measurement:
        self.running = True
        self.steps.append(plan.steps)
        evidence = {"remarks": ["a job of this test"], **self._evidence}
        return replace(workload(self._rate), evidence=evidence, settings={"precision": plan.precision})


class Service(hw.InferenceService):
    """A service of known rate, which keeps what it was asked."""

    DRIVER = DriverInfo("service", "inference_service", "a service of known rate", "none")

    def __init__(
        self, rate: float, definition: str = "token/output/usage-counted/steady-window", **evidence: Any
    ) -> None:
        super().__init__("service://0")
        self._rate, self._definition, self._evidence = rate, definition, evidence
        self.asked: list[InferenceLoad] = []
        self.open()

    def _connect(self) -> None: ...

    def _disconnect(self) -> None: ...

    def identify(self) -> hw.Identity:
        return hw.Identity("maker", "service", "1", "1", self.address)

    @property
    def capabilities(self) -> InferenceServiceCapabilities:
        return InferenceServiceCapabilities()

    def snapshot(self) -> dict[str, Any]:
        return {}

    def abort(self) -> None: ...

    def release(self) -> ReleaseReport:
        return ReleaseReport()

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> Any:
        raise NotSupported("no counters")

    def measure_tokens(self, load: InferenceLoad, *, progress: Any = None) -> Measurement:
        self.asked.append(load)
        found = replace(workload(self._rate, 3.0), quantity="inference", definition=self._definition)
        return replace(found, evidence=self._evidence)


def bench_of(*instruments: Any, **plans: Any) -> Any:
    """A bench with these instruments, as a procedure sees it."""
    held = {f"{one.DRIVER.name}{number}": one for number, one in enumerate(instruments)}

    def of_role(role: str) -> list[Any]:
        return [one for one in held.values() if one.DRIVER.role == role]

    settings = SimpleNamespace(
        plan=SimpleNamespace(
            **{"compute": bench_plans.ComputePlan(), "training": TRAINING_PLAN, "inference": INFERENCE_PLAN, **plans}
        ),
        origin="this test",
        indications=(),
        permissible_errors={},
        decision=SimpleNamespace(rule="none"),
    )
    return SimpleNamespace(
        name="bench",
        instruments=held,
        certificates={},
        of_role=of_role,
        the=lambda role: of_role(role)[0],
        settings=settings,
    )


class Watched(Device):
    """A device of 1 TFLOP/s that no workload may keep busy while it is measured as the reference."""

    def __init__(self, job: Job | None = None) -> None:
        super().__init__(itertools.repeat(1e12))
        self._job = job
        self.measured = 0

    def measure_peak(self, precision: Any = "fp32", **settings: Any) -> PeakMeasurement:
        assert self._job is None or not self._job.running
        self.measured += 1
        return super().measure_peak(precision, **settings)


SHAPE: dict[str, Any] = {"parameters": 3_426_560, "layers": 4, "width": 256}
PER_TOKEN = 23_705_088
"""6 N + 12 L H Q T of this shape and 256 tokens."""


def test_a_training_job_is_measured_between_references_and_its_share_is_the_true_one(tmp_path: Path) -> None:
    job = Job(rate=0.25e12 / PER_TOKEN)
    device = Watched(job)
    bench = bench_of(device, job)
    with Record.create(tmp_path / "record.sqlite", title="bench", bench={}, rule="none", plan={}) as record:
        calibration = calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE), record=record)
    (result,) = calibration.results
    assert result.validity, result.validity.reasons
    assert result.evaluation is not None
    assert abs(result.evaluation.value - 25.0) <= result.evaluation.expanded_uncertainty < 0.1
    assert (result.quantity, result.title) == ("effective_compute", "training, batch of 4 × 256")
    assert result.measurement.evidence["operations"] == {"fp32": [pytest.approx(0.25e12)] * 3}
    assert device.measured == 4
    assert calibration.further[0].definition.endswith("/nominal")
    assert calibration.further[0].value == pytest.approx(12.5)
    assert calibration.notes == ("training, batch of 4 × 256: a job of this test",)
    kept = [one.quantity for one in read_record(tmp_path / "record.sqlite").measurements]
    assert (kept.count("compute"), kept.count("training"), kept.count("effective_compute") >= 3) == (4, 3, True)


def test_a_job_that_tells_its_model_needs_no_shape_and_one_that_contradicts_the_plan_is_not_believed() -> None:
    told: dict[str, Any] = {"flop_model": "palm-6n-12lhqt/no-embed/no-causal", "flop_per_token": float(PER_TOKEN)}
    own = calibrate_effective_compute(bench_of(Watched(), Job(1e4, **told)), plan=EffectiveComputePlan())
    assert own.results[0].measurement.value == pytest.approx(100 * 1e4 * PER_TOKEN / 1e12)
    counted = bench_of(Watched(), Job(1e4, **told, flop_per_token_counted=0.867 * PER_TOKEN))
    (doubted,) = calibrate_effective_compute(counted, plan=EffectiveComputePlan()).results
    assert any("and it counted" in reason for reason in doubted.validity.reasons)
    other = calibrate_effective_compute(
        bench_of(Watched(), Job(1e4, **{**told, "flop_per_token": 1.2 * PER_TOKEN})), plan=EffectiveComputePlan(**SHAPE)
    )
    assert any("by the job's own" in reason for reason in other.results[0].validity.reasons)
    sixth: dict[str, Any] = {"flop_model": "6n/no-attention", "flop_per_token": 6.0 * SHAPE["parameters"]}
    with pytest.raises(UsageError, match="not known"):
        calibrate_effective_compute(bench_of(Watched(), Job(1e4, **sixth)), plan=EffectiveComputePlan())


@pytest.mark.parametrize(
    ("definition", "tokens"),
    [("token/output/usage-counted/steady-window", 50), ("token/total/usage-counted/steady-window", 150)],
)
def test_a_service_is_charged_whole_requests_whichever_tokens_its_rate_counts(definition: str, tokens: int) -> None:
    a_request = inference_operations(ModelShape(**SHAPE), 100, 50)
    service = Service(0.02e12 / a_request * tokens, definition)
    calibration = calibrate_effective_compute(bench_of(Watched(), service), plan=EffectiveComputePlan(**SHAPE))
    assert calibration.results[0].measurement.value == pytest.approx(2.0)
    assert calibration.results[0].title == "inference, 8 at a time, 100 + 50 tokens"
    # The heaviest load of the service's own plan, with prompts that no run before has sent.
    assert [load.concurrency for load in service.asked] == [8, 8, 8]
    assert [load.seed for load in service.asked] == [7, 8, 9]


def test_a_job_is_run_for_as_long_as_its_own_plan_asks() -> None:
    job = Job(1e4, steps=50, seconds=2.0)
    training = TRAINING_PLAN.model_copy(update={"duration": 10.0})
    calibrate_effective_compute(bench_of(Watched(job), job, training=training), plan=EffectiveComputePlan(**SHAPE))
    # Once to see how long a step takes, then three runs of ten seconds.
    assert job.steps == [50, 250, 250, 250]


@pytest.mark.parametrize("reach", [1e5, 10.0])
def test_a_certificate_of_the_workload_corrects_its_share_as_it_does_its_rate_or_refuses_it(reach: float) -> None:
    points = tuple(
        CertificatePoint(
            quantity="training", range=None, at=at, correction=100.0, expanded_uncertainty=2.0, k=2.0, unit="token/s"
        )
        for at in (0.0, reach)
    )
    bench = bench_of(Watched(), Job(1e4))
    bench.certificates["job1"] = Certificate("T-1", "this test", "2026-01-01", "2036-01-01", "nobody", points)
    (result,) = calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE)).results
    if reach > 1e4:
        assert result.measurement.value == pytest.approx(100 * (1e4 + 100) * PER_TOKEN / 1e12)
        assert "token rate: certificate" in {one.name for one in result.measurement.components}
    else:
        assert any("does not reach" in reason for reason in result.validity.reasons), result.validity


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ({"output_tokens": {"least": 20, "most": 50}}, "answers had 20 to 50 tokens"),
        ({"cached_tokens": 500, "requests": {"complete": 10}}, "500 prompt tokens came from a cache"),
        ({"output_tokens": {"least": 50, "most": 50}, "cached_tokens": 10, "requests": {"complete": 10}}, ""),
    ],
)
def test_requests_that_took_other_work_than_was_asked_for_give_no_share(evidence: dict[str, Any], reason: str) -> None:
    service = Service(1.0, **evidence)
    found = calibrate_effective_compute(bench_of(Watched(), service), plan=EffectiveComputePlan(**SHAPE)).results[0]
    assert bool(found.validity) is (not reason)
    assert not reason or any(reason in one for one in found.validity.reasons), found.validity


def test_tokens_whose_requests_nobody_knows_have_no_operations() -> None:
    for definition in (
        "token/output/engine-counter/window",
        "token/output/usage-counted/steady-window/parameter-normalised",
    ):
        bench = bench_of(Watched(), Service(1.0, definition))
        with pytest.raises(UsageError, match="not known"):
            calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE))


def test_a_service_that_is_offered_rates_is_asked_for_the_highest() -> None:
    service = Service(1.0)
    rates = INFERENCE_PLAN.model_copy(update={"concurrency": (), "request_rates": (0.5, 2.0)})
    bench = bench_of(Watched(), service, inference=rates)
    (result,) = calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE)).results
    assert result.title == "inference, 2 requests/s, 100 + 50 tokens"
    assert {(load.arrival, load.request_rate) for load in service.asked} == {("poisson", 2.0)}


def test_training_and_inference_are_two_points_and_a_third_over_the_time_of_both_and_one_can_be_chosen(
    tmp_path: Path,
) -> None:
    a_request = inference_operations(ModelShape(**SHAPE), 100, 50)
    job, service = Job(0.24e12 / PER_TOKEN), Service(0.04e12 / (a_request / 50))
    bench = bench_of(Watched(), job, service)
    with Record.create(tmp_path / "record.sqlite", title="bench", bench={}, rule="none", plan={}) as record:
        both = calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE), record=record)
    assert [result.title.split(",")[0] for result in both.results] == [
        "training",
        "inference",
        "training and inference together",
    ]
    whole = both.results[-1]
    assert whole.validity, whole.validity.reasons
    assert whole.evaluation is not None
    # 1 s of 24 % and 3 s of 4 %.
    assert abs(whole.evaluation.value - 9.0) <= whole.evaluation.expanded_uncertainty < 0.1
    assert whole.measurement.evidence["workload_seconds"] == {"training": [1.0] * 3, "inference": [3.0] * 3}
    assert whole.definition == "effective-compute/v1/all-workloads/calibrated"
    nominal = [one.definition for one in both.further]
    assert nominal[-1] == "effective-compute/v1/all-workloads/nominal"
    assert both.further[-1].value == pytest.approx(4.5)
    assert [one.definition for one in read_record(tmp_path / "record.sqlite").results] == [
        one.definition for one in both.results
    ]
    one = calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE, workloads=("inference",)))
    assert [result.title.split(",")[0] for result in one.results] == ["inference"]


@pytest.mark.parametrize(
    ("instruments", "plan", "named"),
    [
        ((Job(1.0),), {}, "no accelerator"),
        ((Watched(),), {}, "no workload"),
        ((Watched(), Job(1.0)), {"workloads": ("inference",)}, "no workload: inference"),
        ((Watched(), Job(1.0)), {"devices": ("gpu",)}, "no accelerator gpu"),
        ((Watched(), Job(1.0, own=False)), SHAPE, "runs already"),
        ((Watched(), Service(1.0)), {}, "operations of a token of inference are not known"),
    ],
)
def test_a_bench_that_cannot_be_measured_so_is_told_what_it_lacks(
    instruments: tuple[Any, ...], plan: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        calibrate_effective_compute(bench_of(*instruments), plan=EffectiveComputePlan(**plan))


def test_operations_at_another_precision_than_the_job_trains_in_are_not_charged_to_it() -> None:
    for precision, valid in ((None, True), ("fp32", True), ("bf16", False)):
        training = TRAINING_PLAN.model_copy(update={"precision": precision})
        bench = bench_of(Watched(), Job(1e4), training=training)
        (result,) = calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE)).results
        assert bool(result.validity) is valid, result.validity.reasons
    assert "the job trains in bf16, and its operations are charged at fp32" in result.validity.reasons


def test_a_plan_of_training_without_a_batch_is_refused_before_anything_is_measured() -> None:
    device = Watched()
    bench = bench_of(device, Job(1.0), training=bench_plans.TrainingPlan(sequence_length=256))
    with pytest.raises(UsageError, match="global_batch"):
        calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE))
    assert device.measured == 0


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        ({"value": 1.0, "kind": "absolute", "unit": "%"}, r"\+0\.80\d* % .*pass"),
        ({"value": 0.01, "kind": "relative"}, r"rel\. \+3\.20 % .*fail"),
    ],
)
def test_an_error_stands_on_the_screen_in_the_terms_of_its_limit(limit: dict[str, Any], shown: str) -> None:
    bench = bench_of(Watched(), Job(0.25e12 / PER_TOKEN))
    settings = bench.settings
    settings.permissible_errors = {
        "effective_compute": PermissibleErrorEntry.model_validate({"source": "this test", **limit})
    }
    entry = {"quantity": "effective_compute", "value": 25.8, "unit": "%", "source": "this test"}
    definition = "effective-compute/v1/palm-6n-12lhqt-no-embed-no-causal/calibrated"
    settings.indications = (IndicationEntry.model_validate({**entry, "definition": definition}),)
    settings.decision = SimpleNamespace(rule="jjf1094")
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table_of(calibrate_effective_compute(bench, plan=EffectiveComputePlan(**SHAPE))))
    assert re.search(rf"batch of 4 × 256 .* {shown}", console.export_text())


def test_a_share_above_everything_has_no_verdict_whoever_asked_for_it() -> None:
    calibration = calibrate_effective_compute(
        bench_of(Watched(), Job(2e12 / PER_TOKEN)), plan=EffectiveComputePlan(**SHAPE)
    )
    (result,) = calibration.results
    assert result.validity.status is ValidityStatus.INVALID
    assert any("more than 100 %" in reason for reason in result.validity.reasons)
    assert result.measurement.runs[0].value == pytest.approx(200.0)
    assert result.evaluation is None


BENCH = """
[bench]
name = "effective"

[decision]
rule = "jjf1094"

[instruments.gpu]
driver = "nvidia"
simulator = "nvidia"
options = { model = "a100" }

[instruments.service]
driver = "openai"
simulator = "openai"
options = { stream_rate = 200.0, first_token = 0.05 }

[load]
source = "world"

[world]
seed = 3

[plan.inference]
duration = 1.0
warm_up = 0.2
concurrency = [1, 4]
input_tokens = 64
output_tokens = 32

[plan.effective_compute]
parameters = 6_500_000_000
layers = 32
width = 4096
precisions = { fp16 = 1.0 }
duration = 0.3
drift = 0.5
"""


def test_on_a_simulated_node_the_tokens_that_were_truly_made_give_the_share_within_its_uncertainty(
    tmp_path: Path,
) -> None:
    path = tmp_path / "effective.toml"
    path.write_text(BENCH)
    with hw.open_bench(path) as bench:
        service = bench.simulated["service"]
        (result,) = calibrate_effective_compute(bench).results
        measured = result.measurement
        made = [
            service.truth.tokens_between(run.window.start.monotonic_ns, run.window.stop.monotonic_ns)
            / run.window.duration
            for run in measured.runs
        ]
    assert result.validity, result.validity.reasons
    assert result.simulated
    assert result.title == "inference, 4 at a time, 64 + 32 tokens"
    a_token = inference_operations(ModelShape(6_500_000_000, 32, 4096), 64, 32) / 32
    rates = measured.evidence["reference_rates"]["fp16"]
    true = [100 * rate * a_token / reference for rate, reference in zip(made, rates, strict=True)]
    assert result.evaluation is not None
    assert abs(result.evaluation.value - sum(true) / len(true)) <= result.evaluation.expanded_uncertainty
    assert measured.evidence["reference_sources"]["fp16"].startswith("flop/fp16-accumulate-fp32/matrix-")
