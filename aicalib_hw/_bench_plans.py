"""The plans of a bench file: how each quantity is measured. `_bench_file` has the other tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from aicalib_hw.interfaces import accelerator
from aicalib_hw.interfaces.accelerator import Precision
from aicalib_hw.interfaces.storage_tester import StoragePattern

ONLY_READ: tuple[StoragePattern, ...] = ("sequential-read", "random-read")
"""Patterns that write nothing to what they measure."""

SPECIFICATION_DURATION = 60.0
SPECIFICATION_RUNS = 6

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[\w.-]+$")]
Text = Annotated[str, Field(min_length=1)]
Direction = Literal["forward", "backward", "both"]


class Table(BaseModel):
    """Base of every table: unknown keys are errors, types are not converted, nothing changes later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ComputePlan(Table):
    """How the floating-point rate is measured: `runs` runs of `duration` s after `warm_up` s, on one path."""

    precision: Precision = "fp32"
    path: accelerator.Path = "vector"
    duration: Positive = 10.0
    runs: Annotated[int, Field(ge=2)] = 3
    warm_up: NotNegative = 1.0
    gemm: bool = True

    def specification(self) -> ComputePlan:
        """Return this plan with the durations and runs of a full calibration."""
        return self.model_copy(update={"duration": SPECIFICATION_DURATION, "runs": SPECIFICATION_RUNS})


class PowerPlan(Table):
    """How power is measured: at each of `loads` (0…1), `runs` settled runs of `duration` s.

    settle, ranging_duration: s of the meter's time. settle_tolerance: relative. update_interval: s, None = as it is.
    load_tolerance: how far the load achieved may be from the load asked, and how much of the host others may hold, 0…1.
    energy_duration: whole s that the meter's own integrator runs at the largest load, 0 = not at all.
    """

    loads: Annotated[tuple[Fraction, ...], Field(strict=False, min_length=1)] = (0.0, 0.25, 0.5, 0.75, 1.0)
    duration: Positive = 5.0
    runs: Annotated[int, Field(ge=3)] = 3
    settle: NotNegative = 3.0
    settle_tolerance: Positive = 0.01
    ranging_duration: Positive = 5.0
    update_interval: Positive | None = None
    load_tolerance: Positive = 0.05
    energy_duration: Annotated[int, Field(ge=0)] = 10

    @field_validator("loads")
    @classmethod
    def _each_once(cls, loads: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(loads)) != len(loads):
            raise PydanticCustomError("repeated_load", "a load stands twice", {"advice": "name each load once"})
        return loads

    def specification(self) -> PowerPlan:
        """Return this plan with the durations and runs of a full calibration."""
        update = {
            "duration": SPECIFICATION_DURATION,
            "runs": SPECIFICATION_RUNS,
            "energy_duration": int(SPECIFICATION_DURATION),
        }
        return self.model_copy(update=update)


class NetworkPlan(Table):
    """How the rate of a port is measured: at each of `frame_sizes` (bytes with FCS), `runs` gates of `duration` s.

    layer: of the value that is stated. directions: one after the other, and both at a time. load: share of the line.
    ports: the two to measure between, empty = the tester's first two. settle: s without change after each gate.
    """

    frame_sizes: Annotated[tuple[Annotated[int, Field(ge=64, le=16_000)], ...], Field(strict=False, min_length=1)] = (
        64,
        512,
        1518,
        9018,
    )
    layer: Literal["L1", "L2-fcs", "L2-nofcs"] = "L2-fcs"
    directions: Annotated[tuple[Direction, ...], Field(strict=False, min_length=1)] = (
        "forward",
        "backward",
    )
    load: Annotated[float, Field(gt=0, le=1)] = 1.0
    ports: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    duration: Positive = 5.0
    runs: Annotated[int, Field(ge=3)] = 3
    warm_up: NotNegative = 1.0
    settle: NotNegative = 0.5

    def specification(self) -> NetworkPlan:
        """Return this plan with the durations and runs of a full calibration."""
        return self.model_copy(update={"duration": SPECIFICATION_DURATION, "runs": SPECIFICATION_RUNS})


class StoragePlan(Table):
    """How the rate of storage is measured: at each of `patterns`, `runs` windows of `duration` whole s after a warm-up.

    size: bytes of all files together. block_size, random_block_size: bytes of a transfer in order, and at random
    places. queue_depth: transfers under way at a time, of each of `jobs`. read_share: bytes read of those of "mixed".
    disturbance: the most that the device may carry for others in a run, as a share. steady_range, steady_trend: how far
    the rates of the fifths of a window may range, and how much the rate may rise or fall over it, as shares. path:
    below the tester's own. verify: write and read back the whole size at each point, compared, in a pass of its own.
    read_only: what `path` names is there already, a file or a block device, and nothing is written to it: the patterns
    that only read.
    """

    patterns: Annotated[tuple[StoragePattern, ...], Field(strict=False, min_length=1)] = (
        "sequential-read",
        "sequential-write",
        "random-read",
        "mixed",
        "checkpoint-write",
    )
    path: str = ""
    size: Annotated[int, Field(gt=0)] = 4 << 30
    block_size: Annotated[int, Field(gt=0)] = 1 << 20
    random_block_size: Annotated[int, Field(gt=0)] = 4096
    queue_depth: Annotated[int, Field(ge=1)] = 32
    jobs: Annotated[int, Field(ge=1)] = 1
    engine: Text = "libaio"
    read_share: Annotated[float, Field(gt=0, lt=1)] = 0.7
    duration: Annotated[int, Field(ge=1)] = 10
    runs: Annotated[int, Field(ge=3)] = 3
    warm_up: Annotated[int, Field(ge=0)] = 5
    disturbance: Fraction = 0.005
    steady_range: Annotated[float, Field(gt=0)] = 0.20
    steady_trend: Annotated[float, Field(gt=0)] = 0.10
    verify: bool = False
    read_only: bool = False

    @field_validator("patterns")
    @classmethod
    def _each_once(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(patterns)) != len(patterns):
            raise PydanticCustomError(
                "repeated_pattern", "a pattern stands twice", {"advice": "name each pattern once"}
            )
        return patterns

    @model_validator(mode="before")
    @classmethod
    def _reading(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("read_only") is True and "patterns" not in given:
            return {**given, "patterns": list(ONLY_READ)}
        return given

    @model_validator(mode="after")
    def _never_writes(self) -> StoragePlan:
        writing = [one for one in self.patterns if one not in ONLY_READ]
        if self.read_only and (writing or self.verify):
            what = f"the patterns {', '.join(writing)} write" if writing else "verify writes"
            raise PydanticCustomError(
                "read_only_writes",
                "read_only = true, and {what}",
                {"what": what, "advice": f"patterns of {', '.join(ONLY_READ)}, and no verify; or read_only = false"},
            )
        return self

    def specification(self) -> StoragePlan:
        """Return this plan with the durations and runs of a full calibration."""
        return self.model_copy(update={"duration": int(SPECIFICATION_DURATION), "runs": SPECIFICATION_RUNS})


class EffectiveComputePlan(Table):
    """How normalised effective compute is measured: `runs` of a workload, each between two references of `duration` s.

    parameters, layers, width: of the model, see `ModelShape`; without them it is not measured. workloads: empty = what
    the bench has. devices: the accelerators that the workload runs on, empty = all. precisions: share of the operations
    at each. path: of the reference, None = matrix units, else vector units, else a library. drift: how far the two
    references may be apart, as a share.
    """

    parameters: Annotated[int, Field(ge=1)] | None = None
    layers: Annotated[int, Field(ge=1)] | None = None
    width: Annotated[int, Field(ge=1)] | None = None
    workloads: Annotated[tuple[Literal["training", "inference"], ...], Field(strict=False)] = ()
    devices: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    precisions: Annotated[dict[Precision, Positive], Field(min_length=1)] = {"fp32": 1.0}
    path: accelerator.Path | None = None
    duration: Positive = 5.0
    runs: Annotated[int, Field(ge=3)] = 3
    drift: Positive = 0.02

    @model_validator(mode="after")
    def _whole(self) -> EffectiveComputePlan:
        shape = (self.parameters, self.layers, self.width)
        if None in shape and any(shape):
            raise PydanticCustomError(
                "half_a_shape", "the shape of the model is not whole", {"advice": "give parameters, layers and width"}
            )
        if abs(sum(self.precisions.values()) - 1) > 1e-9:
            raise PydanticCustomError(
                "shares",
                "the shares of the precisions do not add up to 1",
                {"advice": "as in { bf16 = 0.9, fp32 = 0.1 }"},
            )
        return self

    def specification(self) -> EffectiveComputePlan:
        """Return this plan with the durations and runs of a full calibration."""
        return self.model_copy(update={"duration": SPECIFICATION_DURATION, "runs": SPECIFICATION_RUNS})


class InferencePlan(Table):
    """How a rate of tokens is measured: at each of `concurrency` and `request_rates`, `runs` windows of `duration` s.

    model: "" = the only one that is served. input_tokens, output_tokens: of every prompt and every answer. arrival: of
    the requests at the rates, requests/s. processes: over which the client is spread. headroom: how many times the rate
    the client is proven for. failure_rate: share of requests that may fail. parameters: of the model. Limits in s.
    """

    model: str = ""
    input_tokens: Annotated[int, Field(ge=1)] = 128
    output_tokens: Annotated[int, Field(ge=1)] = 128
    concurrency: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (1, 16)
    request_rates: Annotated[tuple[Positive, ...], Field(strict=False)] = ()
    arrival: Literal["poisson", "constant"] = "poisson"
    streaming: bool = True
    duration: Positive = 10.0
    runs: Annotated[int, Field(ge=3)] = 3
    warm_up: NotNegative = 2.0
    processes: Annotated[int, Field(ge=1)] = 1
    headroom: Annotated[float, Field(ge=1, le=100)] = 2.0
    failure_rate: Fraction = 0.0
    ttft_limit: Positive | None = None
    tpot_limit: Positive | None = None
    latency_limit: Positive | None = None
    parameters: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _some_point(self) -> InferencePlan:
        if not self.concurrency and not self.request_rates:
            raise PydanticCustomError(
                "no_point", "neither a concurrency nor a rate is named", {"advice": "name one: concurrency = [1, 16]"}
            )
        return self

    def specification(self) -> InferencePlan:
        """Return this plan with the durations and runs of a full calibration."""
        return self.model_copy(update={"duration": 10 * SPECIFICATION_DURATION, "runs": SPECIFICATION_RUNS})


class TrainingPlan(Table):
    """How the rate of a training job is measured: `runs` windows of `steps` whole steps after `warm_up_steps`.

    global_batch: sequences in a step of all devices; sequence_length: tokens of each. duration: s that a window lasts
    at least, 0 = as long as its steps take. precision: fp32 if it is the driver's own and none is said. parameters: of
    the model. command: starts the job, empty = it runs already or is the driver's own. processors: devices that share
    the work. step_timeout: s without a step. outside: share of a window that may pass outside the job's step times.
    peak: FLOP/s of all devices, for the model FLOP utilisation.
    """

    global_batch: Annotated[int, Field(ge=1)] | None = None
    sequence_length: Annotated[int, Field(ge=1)] | None = None
    warm_up_steps: Annotated[int, Field(ge=0)] = 10
    steps: Annotated[int, Field(ge=1)] = 50
    runs: Annotated[int, Field(ge=3)] = 3
    duration: NotNegative = 0.0
    precision: Precision | None = None
    parameters: Annotated[int, Field(ge=1)] | None = None
    command: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    processors: Annotated[int, Field(ge=1)] = 1
    step_timeout: Positive = 300.0
    outside: Annotated[float, Field(ge=0, lt=1)] = 0.01
    peak: Positive | None = None
    seed: int = 0

    def specification(self) -> TrainingPlan:
        """Return this plan with the durations and runs of a full calibration."""
        return self.model_copy(update={"duration": 10 * SPECIFICATION_DURATION, "runs": SPECIFICATION_RUNS})


class Plans(Table):
    """`[plan.QUANTITY]`: one plan for each quantity."""

    compute: ComputePlan = ComputePlan()
    power: PowerPlan = PowerPlan()
    network: NetworkPlan = NetworkPlan()
    storage: StoragePlan = StoragePlan()
    training: TrainingPlan = TrainingPlan()
    effective_compute: EffectiveComputePlan = EffectiveComputePlan()
    inference: InferencePlan = InferencePlan()
