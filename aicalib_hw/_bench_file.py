"""What a bench file may say: the tables and keys of the TOML, with types, units and limits.

`docs/reference/bench-file.md` explains every key; a test compares the two.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from aicalib_hw import definitions, units
from aicalib_hw._bench_errors import nearest
from aicalib_hw.identity import Certificate, CertificatePoint
from aicalib_hw.interfaces import accelerator
from aicalib_hw.interfaces.accelerator import Precision
from aicalib_hw.interfaces.network_tester import Layer
from aicalib_hw.interfaces.storage_tester import StoragePattern
from aicalib_hw.metrology.indications import CONDITIONS, FAMILIES
from aicalib_hw.metrology.result import OF_ONE_DEFINITION, Indication, PermissibleError, Rule
from aicalib_hw.metrology.transducers import ARC_MINUTE, Transducer

Quantity = Literal["compute", "power", "energy", "network", "storage", "inference", "training", "effective_compute"]

_DIMENSIONS: dict[str, tuple[str, ...]] = {
    "compute": ("operation rate", "integer operation rate"),
    "power": ("power",),
    "energy": ("energy",),
    "network": ("bit rate",),
    "storage": ("bit rate",),
    "inference": ("token rate",),
    "training": ("token rate",),
    "effective_compute": ("ratio",),
}

ONLY_READ: tuple[StoragePattern, ...] = ("sequential-read", "random-read")
"""Patterns that write nothing to what they measure."""

WORLD_LOAD = "world"
OPERATOR_LOAD = "operator"
"""Sources of a load that are no instrument: the simulated world, and somebody who sets it by hand."""

SPECIFICATION_DURATION = 60.0
SPECIFICATION_RUNS = 6


def _one_of(table: Mapping[str, object], noun: str, advise: Callable[[str], str]) -> AfterValidator:
    """Accept the keys of a closed table; the message names the nearest one."""

    def check(symbol: str) -> str:
        if symbol not in table:
            message = f"unknown {noun} {symbol!r}"
            raise PydanticCustomError("closed_table", "{what}", {"what": message, "advice": advise(symbol)})
        return symbol

    return AfterValidator(check)


Unit = Annotated[str, _one_of(units.UNITS, "unit", units.advice_for)]
DefinitionId = Annotated[
    str,
    _one_of(definitions.DEFINITIONS, "definition", lambda symbol: nearest(symbol, definitions.DEFINITIONS)),
]
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


class BenchEntry(Table):
    """`[bench]`: what the bench is called."""

    name: Name
    title: str = ""
    description: str = ""


class DecisionEntry(Table):
    """`[decision]`: the rule by which verdicts are given, agreed before anything is measured."""

    rule: Rule


class ExpectedIdentity(Table):
    """`identity`: who must answer at the address; what is left out may be anything. Compared without case."""

    maker: str | None = None
    model: str | None = None
    serial: str | None = None


def _iso_date(value: object) -> object:
    """Take a TOML date, or the same as ISO 8601 text."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    if isinstance(value, str):
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            pass
    raise PydanticCustomError("date", "not a date", {"advice": "write it as 2026-03-31"})


class CertificatePointEntry(Table):
    """One line of a certificate; range, at, correction and expanded_uncertainty are in `unit`.

    layer: of a rate of a network tester, what it counts; every other quantity has none.
    """

    quantity: Text
    at: float
    correction: float
    expanded_uncertainty: Positive
    unit: Unit
    k: Positive = 2.0
    range: Positive | None = None
    layer: Layer | None = None

    @model_validator(mode="after")
    def _named_layer(self) -> Self:
        if (self.quantity == "network") != (self.layer is not None):
            raise PydanticCustomError(
                "layer",
                "a point of a network tester names the layer of its rate, and no other point has one",
                {"advice": 'add layer = "L2-fcs" as the certificate says ("L1", "L2-nofcs", "L4"), or leave it out'},
            )
        return self


class CertificateEntry(Table):
    """`certificate`: the calibration certificate of this reference standard.

    drift: limit of the relative change since then, None = not known.
    """

    number: Text
    issuer: Text
    calibrated_on: datetime.date
    valid_until: datetime.date
    traceable_to: str = ""
    points: Annotated[tuple[CertificatePointEntry, ...], Field(strict=False)] = ()
    drift: NotNegative | None = None

    _dates = field_validator("calibrated_on", "valid_until", mode="before")(_iso_date)

    def certificate(self) -> Certificate:
        """Return it as the data that records and budgets use."""
        points = tuple(CertificatePoint(**point.model_dump()) for point in self.points)
        return Certificate(
            self.number,
            self.issuer,
            self.calibrated_on.isoformat(),
            self.valid_until.isoformat(),
            self.traceable_to,
            points,
            self.drift,
        )


class TransducerEntry(Table):
    """`current_transducer`, `voltage_transducer`: what stands between mains and meter, and how well it is known.

    ratio_error: limit of the relative error of its ratio. phase_error_arcmin: limit of its phase error, minutes of arc.
    """

    model: Text
    serial: str = ""
    ratio_error: Positive
    phase_error_arcmin: NotNegative = 0.0
    source: Text

    def transducer(self, kind: Literal["current", "voltage"]) -> Transducer:
        """Return it as the data that budgets use."""
        phase = self.phase_error_arcmin * ARC_MINUTE
        return Transducer(kind, self.model, self.serial, self.ratio_error, phase, self.source)


class InstrumentEntry(Table):
    """`[instruments.NAME]`: one instrument: its driver, and the address of the real one or its simulator.

    timeout: s for one exchange, None = the driver's own. driver_options: further keywords of the driver's constructor.
    settings: what `configure()` takes. options: what the simulator takes. optional: where its program, library or
    device is missing, go on without it.
    """

    driver: Text
    optional: bool = False
    address: Text | None = None
    simulator: Text | None = None
    timeout: Positive | None = None
    identity: ExpectedIdentity = ExpectedIdentity()
    driver_options: dict[str, Any] = {}
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    certificate: CertificateEntry | None = None
    current_transducer: TransducerEntry | None = None
    voltage_transducer: TransducerEntry | None = None

    def is_simulated(self, *, simulate: bool) -> bool:
        """True if its simulator is opened: where it has one, and `simulate` asks for it or there is no address."""
        return self.simulator is not None and (simulate or self.address is None)

    @property
    def transducers(self) -> tuple[Transducer, ...]:
        """The transducers in front of this instrument."""
        found = (
            None if self.current_transducer is None else self.current_transducer.transducer("current"),
            None if self.voltage_transducer is None else self.voltage_transducer.transducer("voltage"),
        )
        return tuple(one for one in found if one is not None)

    @model_validator(mode="after")
    def _reachable(self) -> InstrumentEntry:
        if self.address is None and self.simulator is None:
            raise PydanticCustomError(
                "unreachable",
                "neither an address nor a simulator is given",
                {"advice": 'add address = "TCPIP::192.168.1.7::INSTR" or simulator = "…"'},
            )
        if self.options and self.simulator is None:
            raise PydanticCustomError(
                "options_without_simulator",
                "options are for a simulator, and none is named",
                {"advice": "add simulator = …, or move the options to settings or driver_options"},
            )
        return self


class LoadEntry(Table):
    """`[load]`: who loads the platform: the name of an accelerator, "world" for the simulated one, or "operator"."""

    source: Text

    @property
    def is_of_an_instrument(self) -> bool:
        """True if an instrument of the bench is to load the platform."""
        return self.source not in (WORLD_LOAD, OPERATOR_LOAD)


class IndicationEntry(Table):
    """`[[indications]]`: what the platform says of itself, under `load` (0…1, left out = any).

    concurrency, request_rate: of an inference service, requests under way and requests/s that it is said of. direction:
    of a port, as the plan calls it.
    """

    quantity: Quantity
    value: Annotated[float, Field(allow_inf_nan=False)]
    unit: Unit
    source: Text
    load: Fraction | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    request_rate: Positive | None = None
    direction: Direction | None = None
    definition: DefinitionId | None = None

    @property
    def conditions(self) -> Mapping[str, Any]:
        """The conditions that it is said of, by name; one left out may be anything."""
        names = dict.fromkeys(name for of in CONDITIONS.values() for name in of)
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @model_validator(mode="after")
    def _unit_of_the_quantity(self) -> IndicationEntry:
        _require_dimension(self.quantity, self.unit)
        if self.quantity in OF_ONE_DEFINITION and self.definition is None:
            example = {
                "network": "rate/L2-fcs/1518B/unidirectional",
                "storage": "rate/storage/sequential-read",
                "effective_compute": "effective-compute/v1/palm-6n-12lhqt-no-embed-no-causal/calibrated",
            }
            raise PydanticCustomError(
                "definition_missing",
                "an indication of {quantity} without definition would be held against rates that it does not speak of",
                {"quantity": self.quantity, "advice": f'add definition = "{example[self.quantity]}", for example'},
            )
        return self

    @model_validator(mode="after")
    def _definition_of_the_quantity(self) -> IndicationEntry:
        if self.definition is None:
            return self
        if not self.definition.startswith(FAMILIES[self.quantity]):
            raise PydanticCustomError(
                "definition_of_another",
                "{definition} is no definition of {quantity}",
                {"key": "definition", "definition": self.definition, "quantity": self.quantity,
                 "advice": f"those of {self.quantity} begin with {' or '.join(FAMILIES[self.quantity])}"},
            )  # fmt: skip
        stated = definitions.require(self.definition).unit
        if units.require(stated).dimension != units.require(self.unit).dimension:
            raise PydanticCustomError(
                "unit_of_definition",
                "what {definition} counts is stated in {stated}",
                {"key": "unit", "definition": self.definition, "stated": stated,
                 "advice": f"give it in {stated}, or name another definition"},
            )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _conditions_of_the_quantity(self) -> IndicationEntry:
        known = CONDITIONS.get(self.quantity, ())
        for name in self.conditions:
            if name not in known:
                raise PydanticCustomError(
                    "condition_of_another",
                    "points of {quantity} are not told apart by {name}, so it would never be held against one",
                    {"key": name, "name": name, "quantity": self.quantity,
                     "advice": f"leave it out; of {self.quantity} one may say {' or '.join(known) or 'nothing more'}"},
                )  # fmt: skip
        return self

    def indication(self) -> Indication:
        """Return it as the data that decisions use."""
        return Indication(self.value, self.unit, self.source, self.load)


class PermissibleErrorEntry(Table):
    """`[permissible_errors.QUANTITY]`: ± value, a ratio below 1 if relative (0.05 = 5 %), else in `unit`."""

    value: Positive
    kind: Literal["relative", "absolute"]
    source: Text
    unit: Unit = "1"

    @model_validator(mode="after")
    def _unit_of_the_kind(self) -> PermissibleErrorEntry:
        if self.kind == "relative" and units.require(self.unit).dimension != "ratio":
            raise PydanticCustomError(
                "unit_of_kind", "a relative error is a ratio", {"advice": "leave unit out: value = 0.05 means 5 %"}
            )
        return self

    @model_validator(mode="after")
    def _below_all_of_the_value(self) -> PermissibleErrorEntry:
        """± 100 % and more passes whatever is indicated: what was meant is a percentage."""
        ratio = units.convert(self.value, self.unit, "1") if self.kind == "relative" else 0.0
        if ratio >= 1:
            percent = f'value = {self.value / 100:g}, or unit = "%"' if self.unit == "1" else "a value below 100 %"
            raise PydanticCustomError(
                "error_of_everything",
                "a relative error is a ratio, and {percent} % of the value would pass whatever is indicated",
                {"key": "value", "percent": f"{100 * ratio:g}", "advice": f"write {percent}"},
            )
        return self

    def permissible_error(self) -> PermissibleError:
        """Return it as the data that decisions use."""
        value = units.convert(self.value, self.unit, "1") if self.kind == "relative" else self.value
        return PermissibleError(value, self.kind, self.source, "1" if self.kind == "relative" else self.unit)


class BenchFile(Table):
    """A whole bench file."""

    bench: BenchEntry
    decision: DecisionEntry = DecisionEntry(rule="none")
    instruments: Annotated[dict[Name, InstrumentEntry], Field(min_length=1)]
    load: LoadEntry | None = None
    world: dict[str, Any] = {}
    indications: Annotated[tuple[IndicationEntry, ...], Field(strict=False)] = ()
    permissible_errors: dict[Quantity, PermissibleErrorEntry] = {}
    plan: Plans = Plans()

    _path: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _agreed_before_measuring(self) -> BenchFile:
        if self.indications and "decision" not in self.model_fields_set:
            raise PydanticCustomError(
                "rule_missing",
                "indications are declared, and no rule by which to decide",
                {"advice": 'add [decision] with rule = "jjf1094", "nonbinary_u", "simple" or "none"'},
            )
        return self

    @field_validator("permissible_errors")
    @classmethod
    def _units_of_the_quantities(
        cls, limits: dict[Quantity, PermissibleErrorEntry]
    ) -> dict[Quantity, PermissibleErrorEntry]:
        for quantity, limit in limits.items():
            if limit.kind == "absolute":
                _require_dimension(quantity, limit.unit, key=f"{quantity}.unit")
        return limits

    @property
    def time_remark(self) -> str:
        """What has to be said of all times of what is simulated here, "" where its world runs in real time."""
        rate = self.world.get("rate", 1)
        if rate == 1:
            return ""
        return (
            f"the simulated world runs {rate:g} times as fast as this host's clock, which stamps readings and windows: "
            "durations and rates of the two do not agree"
            if rate
            else "the simulated world stands still until it is moved: durations by this host's clock mean nothing there"
        )

    @property
    def path(self) -> Path | None:
        """The file it was read from."""
        return self._path

    @property
    def origin(self) -> str:
        """The file, or the bench's name where there is none, for messages."""
        return str(self._path) if self._path is not None else f"bench {self.bench.name}"


def _require_dimension(quantity: str, unit: str, *, key: str = "unit") -> None:
    allowed = _DIMENSIONS[quantity]
    if units.require(unit).dimension not in allowed:
        fitting = ", ".join(entry.symbol for entry in units.UNITS.values() if entry.dimension in allowed)
        raise PydanticCustomError(
            "unit_of_quantity",
            "{value} is not a unit of {quantity}",
            {"key": key, "value": unit, "quantity": quantity, "advice": f"units of {quantity}: {fitting}"},
        )
