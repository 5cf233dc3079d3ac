"""InferenceService: tokens per second of a served model."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aicalib_hw.interfaces.instrument import Capabilities, Instrument, Progress
from aicalib_hw.readings import Measurement, Reading, Window

Arrival = Literal["closed", "poisson", "constant"]


@dataclass(frozen=True, slots=True)
class InferenceServiceCapabilities(Capabilities):
    """models served; takes_load: whether requests can be sent; the rest is what it provides, None = not provided."""

    models: tuple[str, ...] = ()
    streaming: bool | None = None
    usage_counts: bool | None = None
    fixed_output_length: bool | None = None
    counters: bool | None = None
    takes_load: bool = True


@dataclass(frozen=True, slots=True)
class InferenceLoad:
    """What is asked of the service: lengths in tokens, times in s, rate in requests a second.

    model: "" = the only one that is served. arrival "closed": `concurrency` requests at all times; otherwise
    `request_rate` with that spacing, however many are under way. streaming: False = each answer comes whole.
    processes: over which the client is spread. headroom: how many times the expected rate the client must have been
    proven for. failure_rate: share of requests that may fail (0…1). ttft_limit, tpot_limit, latency_limit: s, what a
    request must keep to count as goodput, None = no limit. parameters: of the model, for the parameter-normalised rate.
    """

    model: str
    input_tokens: int
    output_tokens: int
    arrival: Arrival = "closed"
    concurrency: int = 1
    request_rate: float | None = None
    warm_up: float = 10.0
    duration: float = 60.0
    seed: int = 0
    processes: int = 1
    streaming: bool = True
    headroom: float = 2.0
    failure_rate: float = 0.0
    ttft_limit: float | None = None
    tpot_limit: float | None = None
    latency_limit: float | None = None
    parameters: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceCounters:
    """The engine's own counters, tokens and requests since its start; None = not served."""

    window: Window
    prompt_tokens: Reading | None = None
    generated_tokens: Reading | None = None
    requests_running: int | None = None
    requests_waiting: int | None = None
    raw: Mapping[str, float] = field(default_factory=dict)


class InferenceService(Instrument):
    """A service that generates tokens."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> InferenceServiceCapabilities:
        """What this service provides, from asking it."""

    @abc.abstractmethod
    def read(self, *, fresh: bool = True, timeout: float | None = None) -> ServiceCounters:
        """Return the engine's counters; raises NotSupported where none are served."""

    @abc.abstractmethod
    def measure_tokens(self, load: InferenceLoad, *, progress: Progress | None = None) -> Measurement:
        """Apply `load` and return token/s; TTFT, TPOT and goodput stand in the evidence.

        `client_on_same_host` in the evidence is True where the client shares the service's processors: such a value
        gets no verdict.
        """
