"""Simulated inference service: an OpenAI-compatible server whose every token has a known time, over HTTP or HTTPS.

From software_standards.md sections B.2 to B.6. `engine` chooses the family of servers that it behaves like on the wire
(`families.py`): "vllm", "tgi", "llama.cpp", "llama-cpp-python" or "transformers".

The mark: the family has no serial number. `version` of `/version` begins with SIM, as do `version` of `/info` (tgi)
and `build_info` of `/props` (llama.cpp), and with every family `owned_by` of the model in `/v1/models`,
`system_fingerprint` of every answer and the header `Server`. Of the real ones vLLM alone has `/version`: the others
have it here so that the mark is found whatever the family.

Serving loads the world's platform: a token takes 1/`capacity` s of full load, a prompt token 1/`prompt_rate` s, so
that the integral of the load, and with it the energy at the mains, follows the tokens exactly. The platform paces the
service: above `throttle_above` degC everything slows down with the clock, and other load leaves less of the capacity,
half of it at least. `follows_platform = false` leaves the pace alone whatever happens.

All rates are of world time: in a world ten times as fast a client counts ten times as many tokens a second. In a
stepped world tokens come when the clock is advanced.

Assumed, as no source tells it: that the time to the first token is a constant and the prompt's length over a rate, that
prompts do not slow down other streams, and that the text ends by itself within 50 % of `natural_length`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..world import World
from ..world.faults import Fault, checked
from .link import Link
from .truth import InferenceTruth, SentEvents

_EVERY = 0.02
"""How often the platform hears of the work done and the service of the platform's state, real s."""
_CREATED = 1_700_000_000


class Options(BaseModel):
    """`options` of the simulated service. Rates in token a world second, times in world s, lengths in tokens.

    engine: family of servers; model: its id; version: begins with SIM. capacity: of the platform, all streams together;
    stream_rate: of one stream at most; tokens_per_event: generated in one step, as with speculative decoding.
    first_token: from a request to its first token, beside the prompt's length over prompt_rate. slots: requests at
    once. context: prompt and answer together. natural_length: about where a text ends by itself. prompt_cache: a prompt
    that comes again is not processed again. api_key: None = none asked for. metrics: whether there are any; engines:
    of how many (vllm). certificate, key: PEM files, HTTPS then. listen_port: 0 = the system chooses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["vllm", "tgi", "llama.cpp", "llama-cpp-python", "transformers"] = "vllm"
    model: str = "simulated-8b"
    version: str = Field(default="SIM0.11.0", pattern="^SIM")
    capacity: float = Field(default=20_000.0, gt=0)
    stream_rate: float = Field(default=100.0, gt=0)
    tokens_per_event: int = Field(default=1, ge=1)
    first_token: float = Field(default=0.02, ge=0)
    prompt_rate: float = Field(default=200_000.0, gt=0)
    slots: int = Field(default=256, ge=1)
    context: int = Field(default=32_768, ge=2)
    natural_length: int = Field(default=400, ge=2)
    prompt_cache: bool = False
    follows_platform: bool = True
    api_key: str | None = None
    metrics: bool = True
    engines: int = Field(default=1, ge=1)
    certificate: Path | None = None
    key: Path | None = None
    listen_port: int = Field(default=0, ge=0, le=65535)


class SimulatedInferenceService:
    """The served model, in the shape that the registry expects. The server is a process of its own."""

    simulates: ClassVar[str] = "openai"
    wires: ClassVar[tuple[str, ...]] = ("HTTP",)
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name = name
        self.world = world
        self.options = Options.model_validate(options)
        self.address = ""
        self.addresses: dict[str, str] = {}
        self.truth = InferenceTruth(self._ask, world.truth, self._pace)
        self._source = f"inference service {name}"
        self._link: Link | None = None
        self._kept: dict[str, Any] = {}
        self._ended = threading.Event()
        self._follower: threading.Thread | None = None
        self._guard = threading.Lock()
        self._last = 0.0
        self._done = self._owed = self._demand = 0.0
        if world.clock.rate == 0:
            world.clock.when_advanced(self._exchange)

    @property
    def identity_serial(self) -> str:
        """What bears the mark: this family has no serial number, its version begins with SIM."""
        return self.options.version

    @property
    def exchanges(self) -> list[tuple[str, bytes]]:
        """What passed on the wire, without keys: the beginnings of requests and what was refused."""
        return [(direction, text.encode()) for direction, text in self._ask("log")] if self.address else []

    def start(self) -> str:
        """Start the process and listen; return the address for a driver. Idempotent; raises UsageError."""
        if self._link is None:
            clock = self.world.clock
            settings = {
                "options": self.options.model_dump(mode="json") | self._fixed(),
                "seed": self.world.seed,
                "rate": clock.rate,
                "origin": clock.origin,
                "now": clock.now(),
            }
            self._link = Link(settings)
            self._done = self._owed = self._demand = 0.0
            self._last = clock.now()
            scheme = "http" if self.options.certificate is None else "https"
            self.address = f"openai+{scheme}://127.0.0.1:{self._link.port}/v1"
            self.addresses = {"HTTP": self.address}
            if clock.rate:
                self._ended.clear()
                self._follower = threading.Thread(target=self._follow, name="simulated-inference", daemon=True)
                self._follower.start()
        return self.address

    def stop(self) -> None:
        """End the process and take its load off the platform; idempotent. The truth stays as it was."""
        self._ended.set()
        if self._follower is not None:
            self._follower.join(5.0)
            self._follower = None
        if self._link is not None:
            try:
                self._kept = {what: self._link.ask(what) for what in ("totals", "requests", "log", "stamps")}
            except OSError:
                self._kept = {}
            self._link.close()
            self._link = None
        self.world.platform.demand(self._source, 0.0)

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `harm.py`. Raises UsageError for what is none."""
        self._ask("inject", fault=checked(fault).model_dump())

    def _fixed(self) -> dict[str, Any]:
        return {"created": _CREATED, "server_header": f"{self.options.version} uvicorn"}

    def _pace(self, streams: int) -> float:
        options = self.options
        running = min(streams, options.slots)
        return min(running * options.stream_rate, options.capacity)

    def _ask(self, what: str, **details: Any) -> Any:
        if self._link is not None:
            return self._link.ask(what, **details)
        if what == "between" and "stamps" in self._kept:
            return sum(
                count
                for events in map(SentEvents.from_data, self._kept["stamps"])
                for sent, count in zip(events.sent, events.counts, strict=True)
                if details["start"] <= sent < details["stop"]
            )
        if what not in self._kept:
            raise RuntimeError(f"the simulated service {self.name} does not run")
        if what == "stamps" and details["number"] is not None:
            return [one for one in self._kept[what] if one["number"] == details["number"]]
        return self._kept[what]

    def _follow(self) -> None:
        while not self._ended.wait(_EVERY):
            self._exchange()

    def _exchange(self) -> None:
        """Let the platform have the work done since, and the service the platform's state.

        What of the work did not fit into the load until now is owed, so that the energy follows the tokens.
        """
        with self._guard:
            link, platform = self._link, self.world.platform
            if link is None:
                return
            others = platform.load_beside(self._source) if self.options.follows_platform else 0.0
            limit = platform.clock_limit / platform.settings.clock_full if self.options.follows_platform else 1.0
            now = self.world.clock.now()
            try:
                done = link.ask("sync", now=now, clock=limit, share=max(0.5, 1 - others))["work"]
            except OSError:
                return
            passed = now - self._last
            self._owed += done - self._done - self._demand * passed
            self._done, self._last = done, now
            self._demand = min(1.0, max(0.0, self._owed / max(passed, _EVERY * (self.world.clock.rate or 1.0))))
            platform.demand(self._source, self._demand)
