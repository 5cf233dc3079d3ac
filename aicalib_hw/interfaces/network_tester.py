"""NetworkTester: traffic between ports, owned by a reservation, counted by the instrument."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from aicalib_hw.interfaces.instrument import Capabilities, Instrument, ReleaseReport
from aicalib_hw.readings import Instant, Measurement

Layer = Literal["L1", "L2-fcs", "L2-nofcs", "L4"]
GateKind = Literal["packets", "seconds", "last-second", "host"]


@dataclass(frozen=True, slots=True)
class NetworkTesterCapabilities(Capabilities):
    """Rates in bit/s, frame sizes in bytes with FCS; None = not provided."""

    native_layer: Layer = "L2-fcs"
    max_rate: float | None = None
    min_frame_size: int | None = None
    max_frame_size: int | None = None
    counters_include_fcs: bool | None = None
    hardware_timestamps: bool | None = None
    timestamp_resolution: float | None = None
    latency_modes: tuple[str, ...] | None = None
    gates: tuple[GateKind, ...] = ()
    ownership: bool | None = None
    force_ownership: bool | None = None
    per_stream_counters: bool | None = None
    loss: bool | None = None


@dataclass(frozen=True, slots=True)
class PortInfo:
    """One port: speed in bit/s, link state, forward error correction, and who owns it."""

    port: str
    speed: float | None
    link_up: bool | None
    fec: str | None = None
    owner: str | None = None
    owned_by_us: bool = False
    clock_tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate in bit/s at a stated layer."""

    value: float
    layer: Layer


@dataclass(frozen=True, slots=True)
class Stream:
    """Frames from one port to another: size in bytes with FCS, and the load.

    load: a Rate, or a fraction of line rate 0…1. headers: raw bytes of the first headers as hex text.
    """

    name: str
    tx: str
    rx: str
    frame_size: int
    load: Rate | float
    headers: str = ""
    latency_mode: str | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """What bounds a measurement: `kind`, and its amount in packets or seconds."""

    kind: GateKind
    amount: float


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """What the tester accepted, read back; `differences` names what it changed."""

    streams: tuple[Stream, ...]
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency in s: least, mean, greatest."""

    minimum: float
    mean: float
    maximum: float


@dataclass(frozen=True, slots=True)
class PortCounters:
    """Counts of one port or stream since `clear()`; None = not provided, 0 = measured."""

    tx_frames: int | None
    tx_bytes: int | None
    rx_frames: int | None
    rx_bytes: int | None
    fcs_errors: int | None = None
    out_of_order: int | None = None
    lost: int | None = None
    latency: Latency | None = None
    tx_rate: Rate | None = None
    rx_rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """All ports and streams, read between `before` and `after`: the skew window of the budget."""

    before: Instant
    after: Instant
    ports: Mapping[str, PortCounters]
    streams: Mapping[str, PortCounters]
    instrument_time_ns: int | None = None


class Reservation(abc.ABC):
    """Ports that are ours until `release()`; a context manager that leaves nothing transmitting."""

    evicted: Mapping[str, str]
    """Port → owner who was evicted by force, for the audit."""

    @abc.abstractmethod
    def configure(self, streams: Sequence[Stream]) -> EffectiveConfig:
        """Set up the streams and return what the tester accepted."""

    @abc.abstractmethod
    def clear(self) -> None:
        """Set all counters to zero."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start transmitting on all streams."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop transmitting; idempotent."""

    @property
    @abc.abstractmethod
    def running(self) -> bool:
        """True while anything transmits, as the tester says."""

    @abc.abstractmethod
    def read(self) -> Counters:
        """Read all counters in one skew window."""

    @abc.abstractmethod
    def measure_throughput(self, gate: Gate, *, settle: float) -> Measurement:
        """Transmit through `gate`, wait `settle` s for stable counters, return bit/s at a stated layer."""

    @abc.abstractmethod
    def release(self) -> ReleaseReport:
        """Stop traffic, delete our streams, give back our ports; idempotent, never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class NetworkTester(Instrument):
    """A tester of data networks."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> NetworkTesterCapabilities:
        """What this very tester can do."""

    @abc.abstractmethod
    def ports(self) -> tuple[PortInfo, ...]:
        """List the ports with speed, link and owner, as of now."""

    @abc.abstractmethod
    def reserve(self, ports: Sequence[str], *, owner: str, force: bool = False) -> Reservation:
        """Take ports; raises LockedByOther naming the owner unless `force`, which is audited."""
