"""What a bench file may say: tables and keys of the TOML, with types, units and limits; plans are in `_bench_plans`.

`docs/reference/bench-file.md` explains every key; a test compares the two.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from aicalib_hw import definitions, units
from aicalib_hw._bench_errors import nearest
from aicalib_hw._bench_plans import Direction, Fraction, Name, NotNegative, Plans, Positive, Table, Text
from aicalib_hw.identity import Certificate, CertificatePoint
from aicalib_hw.interfaces.network_tester import Layer
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

WORLD_LOAD = "world"
OPERATOR_LOAD = "operator"
"""Sources of a load that are no instrument: the simulated world, and somebody who sets it by hand."""


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


def _between(least: float, most: float, advice: str) -> AfterValidator:
    """Accept a number from `least` to `most`; one of another unit lies outside, and `advice` says which is meant."""

    def check(value: float) -> float:
        if not least <= value <= most:
            message = f"not from {least:g} to {most:g}"
            raise PydanticCustomError("implausible", "{what}", {"what": message, "advice": advice})
        return value

    return AfterValidator(check)


class BenchEntry(Table):
    """`[bench]`: what the bench is called."""

    name: Name
    title: str = ""
    description: str = ""


class PlatformEntry(Table):
    """`[platform]`: what is calibrated, and where it stands."""

    maker: Text | None = None
    model: Text | None = None
    serial_number: Text | None = None
    location: Text | None = None


class EnvironmentEntry(Table):
    """`[environment]`: ambient conditions: temperature, degC; humidity, % relative; source: who or what read them."""

    temperature: Annotated[float, _between(-20, 60, "write it in degC: 23.0")] | None = None
    humidity: Annotated[float, _between(1, 100, "write it in % relative: 45.0")] | None = None
    source: Text

    @model_validator(mode="after")
    def _something_read(self) -> Self:
        if self.temperature is None and self.humidity is None:
            raise PydanticCustomError(
                "nothing_read",
                "neither temperature nor humidity is given",
                {"advice": "add temperature = … or humidity = …, or leave the table out"},
            )
        return self


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
    driver_options: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
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
    of a port, as the plan calls it. driver: of the accelerators whose rate it is.
    """

    quantity: Quantity
    value: Annotated[float, Field(allow_inf_nan=False)]
    unit: Unit
    source: Text
    load: Fraction | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    request_rate: Positive | None = None
    direction: Direction | None = None
    driver: Text | None = None
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
    platform: PlatformEntry | None = None
    environment: EnvironmentEntry | None = None
    decision: DecisionEntry = DecisionEntry(rule="none")
    instruments: Annotated[dict[Name, InstrumentEntry], Field(min_length=1)]
    load: LoadEntry | None = None
    world: dict[str, Any] = Field(default_factory=dict)
    indications: Annotated[tuple[IndicationEntry, ...], Field(strict=False)] = ()
    permissible_errors: dict[Quantity, PermissibleErrorEntry] = Field(default_factory=dict)
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
