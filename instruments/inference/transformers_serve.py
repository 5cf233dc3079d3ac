"""An engine of our own: `transformers serve` on this host, with a tiny model made for it or one that is named.

Source: documentation of transformers, "Serving" (5.24). The engine is started at the first measurement and ended by
`release()`, with all its files; it listens on loopback alone. The client is that of `openai`. It shares the processors
with the engine, so the value speaks of both: it shows that a platform can serve, and is no calibration point. "npu",
"bfloat16" and "float16" have not run yet. Not covered: continuous batching.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import ClassVar
from urllib.parse import quote

from aicalib_hw.errors import Aborted, InstrumentError, MissingExtra, NotSupported, OutOfRange
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    InferenceLoad,
    InferenceService,
    InferenceServiceCapabilities,
    Progress,
    ReleaseReport,
    ServiceCounters,
    Setting,
)
from aicalib_hw.readings import Instant, Measurement
from aicalib_hw.trace import Trace

from ._engine import MADE, Engine, launched_by, versions_of
from .openai import OpenAIService

_STARTING = 180.0
"""s in which the engine must serve: it imports torch, and may load a large model."""

_MADE_HERE = "a tiny model of random weights, made for this measurement: its rate is that of no other model"


class TransformersService(InferenceService):
    """`transformers serve`, started on this host.

    address: transformers://local?model=PATH&endpoint=completions&threads=1&device=cpu&dtype=float32&python=PATH. model:
    a folder, "" = a tiny one is made and removed again. threads: of the processor. python: the interpreter whose
    transformers is used. timeout: s without a byte after which a request has failed.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="transformers",
        role="inference_service",
        summary="transformers serve, started on this host with a tiny model made for it or one of yours",
        manual="transformers serve",
        schemes=("transformers",),
        wires=("process", "HTTP"),
        verified="transformers 5.24 and PyTorch 2.13.0 on a processor under Linux; 5.17 and 2.11.0 on an H200",
    )

    def __init__(self, address: str, *, timeout: float = 60.0, trace: Trace | None = None) -> None:
        super().__init__(address)
        self.timeout = timeout
        self._trace = trace
        self._how = launched_by(address)
        self._engine: Engine | None = None
        self._service: OpenAIService | None = None
        self._aborted = threading.Event()

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return the address of an engine on this host; raises MissingExtra without torch or transformers."""
        versions_of(launched_by("transformers://local"), 60.0, None)
        return ("transformers://local",)

    def _connect(self) -> None:
        """Nothing runs between measurements that are released."""
        if importlib.util.find_spec("aiohttp") is None:
            raise MissingExtra.for_library("aiohttp", "inference", "measuring an inference service")

    def _disconnect(self) -> None:
        self._let_go()

    def identify(self) -> Identity:
        """Ask the interpreter for transformers and torch; raises MissingExtra without them, ConnectionFailed."""
        found = versions_of(self._how, self.timeout, self._trace)
        model = self._how.model or MADE
        extra = {"version": found["transformers"], "torch": found["torch"], "models": model}
        return Identity("Hugging Face", "transformers serve", "", found["transformers"], self.address, extra)

    @property
    def capabilities(self) -> InferenceServiceCapabilities:
        """One model, streaming, usage; the length of an answer is as its model ends it: the tiny one never does."""
        return InferenceServiceCapabilities(
            models=(self._how.model or MADE,),
            streaming=True,
            usage_counts=True,
            notes={"model": "named in the address" if self._how.model else _MADE_HERE},
        )

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> ServiceCounters:
        """Serve no counters of tokens, since no time s: raises NotSupported always. timeout: s, of no meaning here."""
        raise NotSupported("transformers serve has no counters of tokens", where=self.address)

    def measure_tokens(self, load: InferenceLoad, *, progress: Progress | None = None) -> Measurement:
        """Start the engine if it does not run, apply `load`, and return output token/s as the `openai` driver does.

        Raises what that driver raises, OutOfRange for another model than the address names; ConnectionFailed,
        ConnectionLost, DeadlineExceeded where the engine does not come to serve, Aborted.
        """
        report = progress or (lambda done, note: None)
        with self._lock:
            _ = self.identity
            self._aborted.clear()
            if self._service is not None:
                self._service.forget_abort()
            if load.model not in ("", self._how.model or MADE):
                raise OutOfRange(f"no model {load.model!r} is served", where=self.address, advice="name none")
            service = self._started(report)
            if self._aborted.is_set():  # perhaps before there was a service to be told
                raise Aborted("the measurement was aborted", where=self.address)
            try:
                found = service.measure_unless_aborted(replace(load, model=""), progress=progress)
            except InstrumentError as error:
                if isinstance(error.partial, Measurement):
                    error.with_partial(self._told(error.partial))
                raise
            return self._told(found)

    def snapshot(self) -> Mapping[str, Setting]:
        """Return what the address sets."""
        now = Instant.now()
        return {name: Setting(value, "", now, "driver") for name, value in asdict(self._how).items()}

    def abort(self) -> None:
        """Drop all requests, or a start, now; from any thread; never raises."""
        self._aborted.set()
        service = self._service
        if service is not None:
            service.abort()

    def release(self) -> ReleaseReport:
        """End the engine and remove its files; idempotent; never raises."""
        return ReleaseReport(("the engine was stopped",) if self._let_go() else ())

    def _let_go(self) -> bool:
        service, self._service = self._service, None
        engine, self._engine = self._engine, None
        with suppress(Exception):
            if service is not None:
                service.close()
        return engine.stop() if engine is not None else False

    def _started(self, report: Progress) -> OpenAIService:
        if self._engine is not None and self._engine.running and self._service is not None:
            return self._service
        self._let_go()
        report(0.0, "starting the engine")
        self._engine = engine = Engine(self._how, self._trace)
        engine.start(_STARTING, self._aborted)
        where = f"{engine.base.replace('http', 'openai+http', 1)}/v1"
        options = f"?endpoint={self._how.endpoint}&metrics=no&model={quote(engine.model)}"
        service = OpenAIService(where + options, timeout=self.timeout, trace=self._trace)
        try:
            self._service = service.open()
        except BaseException:
            self._let_go()
            raise
        return service

    def _told(self, found: Measurement) -> Measurement:
        made = () if self._how.model else (_MADE_HERE,)
        evidence = {**found.evidence, "remarks": [*found.evidence.get("remarks", ()), *made]}
        settings = {**found.settings, "model": self._how.model or MADE, "engine": asdict(self._how)}
        return replace(found, identity=self.identity, settings=settings, evidence=evidence)
