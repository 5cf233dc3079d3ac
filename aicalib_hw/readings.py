"""What every measurement returns: frozen data with unit, status, window and source.

All types here are plain data with a JSON round trip (`to_plain`, `from_plain`), integers as
decimal text. Over-range and "no data" are statuses, never numbers: a reading that is not VALID
has no value to misuse, and `float()` of it raises.
"""

from __future__ import annotations

import datetime
import enum
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aicalib_hw import definitions, units
from aicalib_hw._plain import from_plain, to_plain
from aicalib_hw.errors import UnusableReading, UsageError
from aicalib_hw.identity import Identity

__all__ = [
    "Component",
    "Instant",
    "Measurement",
    "Reading",
    "Run",
    "Series",
    "Status",
    "Validity",
    "Window",
    "from_plain",
    "to_plain",
]

HOST_CLOCK = "host"
"""Clock id of instants stamped by this process."""


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment: UTC in ns since 1970, a monotonic stamp in ns, and whose clock the latter is."""

    utc_ns: int
    monotonic_ns: int
    clock: str = HOST_CLOCK

    def __str__(self) -> str:
        """UTC in the form of ISO 8601, to the millisecond."""
        moment = datetime.datetime.fromtimestamp(self.utc_ns // 1_000_000 / 1e3, datetime.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @classmethod
    def now(cls) -> Instant:
        """Stamp this moment with the host's clocks, monotonic bracketed round UTC."""
        before = time.monotonic_ns()
        utc = time.time_ns()
        after = time.monotonic_ns()
        return cls(utc, (before + after) // 2)

    @classmethod
    def at_monotonic(cls, monotonic_ns: int) -> Instant:
        """Return the host's instant of this `time.monotonic_ns()` stamp of the near past."""
        present = cls.now()
        return cls(present.utc_ns - (present.monotonic_ns - monotonic_ns), monotonic_ns)

    @property
    def utc(self) -> str:
        """UTC as ISO 8601 text, to the microsecond: 2026-03-31T08:15:02.123456Z."""
        import datetime

        seconds, rest = divmod(self.utc_ns, 1_000_000_000)
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"

    def seconds_since(self, earlier: Instant) -> float:
        """Return the seconds from `earlier` to here; raise UsageError across clocks."""
        if self.clock != earlier.clock:
            raise UsageError(
                "two instants of different clocks have no duration between them",
                why=f"{earlier.clock} and {self.clock}",
            )
        return (self.monotonic_ns - earlier.monotonic_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `stop`, chosen by `rule` (for example "one update interval")."""

    start: Instant
    stop: Instant
    rule: str

    @property
    def duration(self) -> float:
        """Length in seconds, by the clock of the instants."""
        return self.stop.seconds_since(self.start)


class Status(enum.Flag):
    """Why a reading is not to be used as a number; VALID is none of the others."""

    VALID = 0
    OVER_RANGE = enum.auto()
    PEAK_OVER = enum.auto()
    UNDER_RANGE = enum.auto()
    NO_DATA = enum.auto()
    NOT_SETTLED = enum.auto()
    STALE = enum.auto()
    OVERFLOW = enum.auto()
    INVALID = enum.auto()

    def __str__(self) -> str:
        return "|".join(str(member.name) for member in self) or "VALID"


@dataclass(frozen=True, slots=True)
class Component:
    """One contribution to the uncertainty, as a driver states it from its source.

    kind: "A" from repeated runs, "B" from anything else.
    Either `standard_uncertainty`, or `half_width` with `distribution`; in `unit`, or in units of
        the measured value where `relative` is true (0.001 = 0.1 %; unit then "1").
    dof: degrees of freedom, None = infinite.
    source: where the number comes from (manual and page, certificate, standard and clause).
    shared: equal keys mean the same physical cause, hence full correlation; None = independent.
    """

    name: str
    kind: Literal["A", "B"]
    unit: str
    source: str
    standard_uncertainty: float | None = None
    half_width: float | None = None
    distribution: Literal["normal", "rectangular", "triangular", "arcsine"] = "rectangular"
    dof: float | None = None
    relative: bool = False
    shared: str | None = None

    def __post_init__(self) -> None:
        units.require(self.unit)
        if (self.standard_uncertainty is None) == (self.half_width is None):
            raise UsageError(f"component {self.name!r} needs either a standard uncertainty or a half-width, not both")
        given = self.standard_uncertainty if self.half_width is None else self.half_width
        if given is None or not 0 <= given < float("inf"):
            raise UsageError(f"component {self.name!r} has no usable size", why=f"got {given!r}")
        if self.relative and self.unit != "1":
            raise UsageError(f"relative component {self.name!r} must have unit '1', not {self.unit!r}")


@dataclass(frozen=True, slots=True)
class Reading:
    """One number from one instrument, with all that is needed to judge it.

    value: in `unit`; None where the status leaves none.
    range: full scale of the range in force, resolution: smallest step, both in `unit`; None = unknown.
    window: when the value was formed. raw: the text or bytes it came from.
    components: what the data sheet says of its uncertainty, where the driver can tell.
    """

    value: float | int | None
    unit: str
    status: Status
    window: Window
    source: Identity
    channel: str = ""
    range: float | None = None
    resolution: float | None = None
    raw: str = ""
    components: tuple[Component, ...] = ()

    def __post_init__(self) -> None:
        units.require(self.unit)
        if self.value is None and not self.status:
            raise UsageError("a reading without value cannot be VALID", where=self.channel)
        if isinstance(self.value, float) and not abs(self.value) < 9.89e37:
            raise UsageError(
                f"{self.value!r} is an over-range or no-data marker, not a number",
                where=f"{self.source} {self.channel}",
                advice="map the marker to a status in the driver",
            )

    def __str__(self) -> str:
        """Value and unit, or what keeps it from being one, and when it was formed."""
        return f"{self.shown}, {self.window.stop}"

    @property
    def shown(self) -> str:
        """Value and unit as text, "OVER_RANGE" and the like where it is not to be used as a number."""
        if self.status or self.value is None:
            return str(self.status)
        return f"{float(self.value):.6g} {self.unit}".removesuffix(" 1")

    def __float__(self) -> float:
        """Return the value; raise UnusableReading unless the status is VALID."""
        if self.status or self.value is None:
            raise UnusableReading(
                f"the reading of {self.channel or 'this channel'} is {self.status}, not a number",
                where=str(self.source),
                advice="choose a fitting range, wait for the next update, or look at `.status`",
            )
        return float(self.value)

    def to(self, unit: str) -> float:
        """Return the value in another unit of the same dimension; raises as `float()` does."""
        return units.convert(float(self), self.unit, unit)


@dataclass(frozen=True, slots=True)
class Series:
    """A logged run of one channel.

    header: quantity, unit, channel and whatever describes all samples, as plain data.
    times: monotonic ns of each sample (end of its interval where `sample_kind` is interval_mean).
    values: in header["unit"]; None where the status leaves none. statuses: one for each sample.
    sample_kind: "instant" or "interval_mean"; energy by integration depends on which.
    """

    header: Mapping[str, str]
    times: tuple[int, ...]
    values: tuple[float | None, ...]
    statuses: tuple[Status, ...]
    sample_kind: Literal["instant", "interval_mean"]

    def __post_init__(self) -> None:
        units.require(self.header.get("unit", ""))
        if not len(self.times) == len(self.values) == len(self.statuses):
            raise UsageError("times, values and statuses of a series must have one length")


@dataclass(frozen=True, slots=True)
class Run:
    """One repetition inside a measurement.

    value: in the measurement's unit; None if the run gave none.
    used: whether it entered the result; reasons: why not, or what was noticed.
    """

    value: float | None
    window: Window
    used: bool = True
    reasons: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)


class ValidityStatus(enum.Enum):
    """Whether a measurement may be used; not a verdict on the object."""

    VALID = "VALID"
    INVALID = "INVALID"
    ABORTED = "ABORTED"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Validity:
    """A validity status with its reasons; VALID needs none."""

    status: ValidityStatus = ValidityStatus.VALID
    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.status is ValidityStatus.VALID


@dataclass(frozen=True, slots=True)
class Measurement:
    """A quantity measured over a window and evaluated, not yet combined into an uncertainty.

    quantity: "compute", "power", "energy", "network", "storage", "inference", "training",
        "effective_compute".
    definition: an identifier of `definitions.DEFINITIONS`; value: in `unit`, None if nothing is usable.
    components: of the value, as the driver states them; combining them is `metrology`'s.
    settings: as `snapshot()` gives them. evidence: plain data that a reader can check.
    load: fraction of full load under which it was measured (0…1), None = not applicable.
    """

    quantity: str
    definition: str
    value: float | int | None
    unit: str
    window: Window
    identity: Identity
    runs: tuple[Run, ...] = ()
    components: tuple[Component, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    validity: Validity = Validity()
    load: float | None = None

    def __post_init__(self) -> None:
        stated = definitions.require(self.definition).unit
        if units.require(self.unit).dimension != units.require(stated).dimension:
            raise UsageError(
                f"a measurement of {self.definition!r} cannot be in {self.unit!r}",
                why=f"it is stated in {stated}",
            )

    def compared_with(self, other: Measurement) -> float:
        """Return value / other.value; raise DefinitionMismatch if the definitions differ."""
        definitions.require_same(self.definition, other.definition)
        if self.value is None or other.value is None:
            raise UnusableReading("a measurement without value cannot be compared", where=self.definition)
        return float(self.value) / units.convert(float(other.value), other.unit, self.unit)
