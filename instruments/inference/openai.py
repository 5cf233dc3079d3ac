"""Any service that speaks the OpenAI API: vLLM, MindIE, TGI, llama.cpp, transformers and the like, streaming or not.

Source: OpenAI API reference (completions, chat completions, models). The client runs in processes of its own, proves
itself against a paced source before each measurement, stamps every network read, and decodes after the window. Tokens
are those of the service's usage, held against text events, the length asked for, and the engine's own counters where it
serves them. Not covered: endpoints other than completions and chat, several choices for one prompt, batches.
"""

from __future__ import annotations

import importlib.util
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    IdentityMismatch,
    InstrumentError,
    InstrumentReportedError,
    MissingExtra,
    NotSupported,
    OutOfRange,
)
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
from aicalib_hw.transport.hosts import is_this_host
from aicalib_hw.transport.http import JsonLink

from . import _evaluation as evaluation
from ._address import key_in, served_at
from ._crew import Crew
from ._cross_check import CrossCheck
from ._job import Job
from ._load import require_measurable, split
from ._manner import Manner, manner_of
from ._page import Page
from ._prompts import OPENING
from ._proof import Proof, Prover
from ._refusals import Refusals
from ._result import Told

_SLOWEST = 0.5
"""token/s: an answer that grows more slowly than this is taken for one that hangs."""

_BYTES_OF_A_TOKEN = 8192
_SOUNDING = 3.0
_SOUNDED = 0.5
"""s for which the rate is sounded once every slot is warm: the first answers of an engine are its slowest."""

_MARGIN = 1.25
"""What a sounding, or a load like this one before, may miss of the rate of a load that has settled."""

_PROVEN = 1.02
_WARM_REQUESTS = 2
"""Answers of each slot, in an open loop of each process, that are not in the window: the first ones compile and
allocate."""


class OpenAIService(InferenceService):
    """A service at an OpenAI-compatible endpoint.

    address: openai+https://HOST/v1?endpoint=completions&model=NAME&key_file=PATH&certificate=PATH&metrics=URL, where
    endpoint is "completions" or "chat", key_file holds nothing but the key, certificate verifies an https server, and
    metrics is where its Prometheus counters are ("no" = nowhere; http(s)://HOST/metrics if not named), of which
    `generated` and `prompt` name the counters of an engine that is not known here. timeout: s without a byte after
    which a request has failed. api_key: the key itself, for scripts; it is never traced, shown or recorded.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="openai",
        role="inference_service",
        summary="OpenAI-compatible inference services (vLLM, MindIE, TGI, llama.cpp, transformers)",
        manual="OpenAI API reference",
        schemes=("openai+https", "openai+http"),
        wires=("HTTPS", "HTTP"),
        simulator="openai",
        verified="transformers serve 5.24 with a model made for the test",
    )

    def __init__(self, address: str, *, timeout: float = 60.0, api_key: str = "", trace: Trace | None = None) -> None:
        super().__init__(address)
        self.timeout = timeout
        self._trace = trace
        self._place = served_at(address)
        self._key = api_key
        self._refusals = Refusals(self._place, api_key, lambda: self._models)
        self._link: JsonLink | None = None
        self._page: Page | None = None
        self._models: tuple[str, ...] = ()
        self._notes: dict[str, str] = {}
        self._manners: dict[tuple[object, ...], Manner] = {}
        self._expected: dict[tuple[object, ...], float] = {}
        self._crew: Crew | None = None
        self._loads = 0
        self._aborted = threading.Event()

    def _connect(self) -> None:
        if importlib.util.find_spec("aiohttp") is None:
            raise MissingExtra.for_library("aiohttp", "inference", "measuring an inference service")
        place = self._place
        self._key = self._key or key_in(place.key_file)
        self._refusals = Refusals(place, self._key, lambda: self._models)
        if self._trace is not None:
            self._trace.hide(self._key)
        how: dict[str, Any] = {"timeout": self.timeout, "certificate": place.certificate, "extra": "inference"}
        self._link = JsonLink(place.base, trace=self._trace, headers=self._authorization(), **how)
        self._link.open()
        self._page = None
        if place.metrics:
            ours = urlsplit(place.metrics)[:2] == urlsplit(place.base)[:2]  # a key goes to its own service alone
            headers = self._authorization() if ours else {}
            self._page = Page(place.metrics, place.generated, place.prompt, trace=self._trace, headers=headers, **how)
            self._page.open()

    def _disconnect(self) -> None:
        for link in (self._link, self._page):
            if link is not None:
                link.close()
        self._link = self._page = None
        self._manners.clear()
        self._expected.clear()

    def identify(self) -> Identity:
        """Ask the service for models and version; raises IdentityMismatch for what is no such service, NotPermitted."""
        owner, server = self._ask_models()
        version = self._ask_version()
        extra = {"version": version, "build": server, "models": ", ".join(self._models)}
        return Identity(owner, "OpenAI-compatible service", "", version, self.address, extra)

    @property
    def capabilities(self) -> InferenceServiceCapabilities:
        """The models served, and whether counters are; the rest as far as a measurement has asked, None before."""
        known = list(self._manners.values())
        return InferenceServiceCapabilities(
            models=self._models or ((self._place.model,) if self._place.model else ()),
            streaming=True if known else None,
            usage_counts=known[-1].usage if known else None,
            fixed_output_length=known[-1].fixed if known else None,
            counters=self._counters_served(),
            notes=dict(self._notes),
        )

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> ServiceCounters:
        """Return the engine's counters, tokens and requests since its start; raises NotSupported where none are served.

        timeout: s, None = the driver's. A counter that is not served is None.
        """
        with self._lock:
            _ = self.identity
            if self._page is None:
                raise NotSupported("no counters are read of this service", where=self.address, why="metrics=no")
            return self._page.counters(self._place.model, self.identity, timeout)

    def measure_tokens(self, load: InferenceLoad, *, progress: Progress | None = None) -> Measurement:
        """Apply `load` and return output token/s in a window from one arrival to another; the rest is in the evidence.

        A load that broke off gives a Measurement that is not valid, says why, and keeps what was seen. Raises
        OutOfRange for what cannot be asked, NotPermitted for a key that is missing or refused, ConnectionFailed,
        ConnectionLost, InstrumentReportedError where the service refuses before anything was measured,
        DeadlineExceeded, Aborted; what had come until then is the error's `partial`, if anything had.
        """
        with self._lock:
            self.forget_abort()
            return self.measure_unless_aborted(load, progress=progress)

    def forget_abort(self) -> None:
        """Let what is measured from now on begin, whatever was aborted before."""
        self._aborted.clear()

    def measure_unless_aborted(self, load: InferenceLoad, *, progress: Progress | None = None) -> Measurement:
        """As `measure_tokens`, but an `abort()` since `forget_abort()` ends it: for who starts a service before."""
        require_measurable(load)
        report = progress or (lambda done, note: None)
        with self._lock:
            _ = self.identity
            self._pause(0.0)
            try:
                model = self._model_of(load)
                with self._clients(load) as (crew, prover):
                    manner = self._manner(model, load, report)
                    rate = self._expected_rate(crew, manner, load, report)
                    proof = self._prove(prover, rate, load, report)
                    found = self._measure(crew, prover, manner, load, proof, report)
            except AicalibError as error:
                raise self._refusals.cleaned(error) from None
            report(1.0, "done")
            return found

    def snapshot(self) -> Mapping[str, Setting]:
        """Return what the address sets, and whether a key is sent."""
        now = Instant.now()
        place = asdict(self._place)
        place["key_file"] = str(place["key_file"] or "")
        settings = {**place, "key": "sent" if self._key else "none"}
        return {name: Setting(value, "", now, "driver") for name, value in settings.items()}

    def abort(self) -> None:
        """Drop all requests now; from any thread; never raises."""
        self._aborted.set()
        for one in (self._crew, self._link, self._page):
            if one is not None:
                with suppress(Exception):
                    one.abort()

    def release(self) -> ReleaseReport:
        """Drop requests that are under way; idempotent; never raises."""
        crew = self._crew
        if crew is None:
            return ReleaseReport()
        crew.abort()
        return ReleaseReport(("requests dropped",))

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _opened_link(self) -> JsonLink:
        _ = self.identity if self._link is None else None
        assert self._link is not None
        return self._link

    def _ask_models(self) -> tuple[str, str]:
        """Learn which models are served; return who is said to own them, and what the server calls itself."""
        try:
            text, headers = self._opened_link().text("GET", "/models")
            said = json.loads(text)
        except InstrumentReportedError as error:
            if error.code in (401, 403):
                raise self._refusals.permission(error) from None
            if not self._place.model and error.code in (404, 405, 501):
                raise IdentityMismatch(
                    "no OpenAI-compatible service answers there",
                    where=self._place.base,
                    why=self._refusals.clean(str(error)),
                    advice="the address ends in /v1 as a rule; or name the model in it: ?model=NAME",
                ) from None
            self._notes["models"] = f"the service does not list its models: {self._refusals.clean(error.text)[:120]}"
            return "", ""
        except ValueError as error:
            raise IdentityMismatch(
                "no OpenAI-compatible service answers there",
                where=self._place.base,
                why=f"its models are no JSON: {error}",
            ) from None
        entries = said.get("data") if isinstance(said, dict) else None
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise IdentityMismatch("what answers lists no models", where=self._place.base, why=str(said)[:120])
        self._models = tuple(str(one["id"]) for one in entries if "id" in one)
        owner = next((str(one["owned_by"]) for one in entries if one.get("owned_by")), "")
        return owner, headers.get("server", "")

    def _ask_version(self) -> str:
        """Return the version as the service tells it, "" where it does not."""
        base = urlsplit(self._place.base)
        try:
            said, _ = self._opened_link().text("GET", f"{base.scheme}://{base.netloc}/version")
            told = json.loads(said)
        except (InstrumentReportedError, ValueError):
            return ""
        return str(told.get("version", "")) if isinstance(told, dict) else ""

    def _counters_served(self) -> bool | None:
        if self._page is None:
            return None
        try:
            return self._page.total(self._place.model) is not None or None
        except InstrumentError:
            return None

    def _model_of(self, load: InferenceLoad) -> str:
        model = load.model or self._place.model
        if not model and len(self._models) == 1:
            return self._models[0]
        if not model or (self._models and model not in self._models):
            known = ", ".join(self._models) or "none that it lists"
            raise OutOfRange(
                f"no model {model!r} is served" if model else "which model is meant is not said",
                where=self.address,
                why=f"served: {known}",
                advice="name one of them",
            )
        return model

    def _manner(self, model: str, load: InferenceLoad, report: Progress) -> Manner:
        key = (model, load.input_tokens, load.output_tokens, load.streaming)
        if key not in self._manners:
            try:
                self._manners[key] = manner_of(
                    self._opened_link(), self._place, model, load, lambda note: report(0.02, note)
                )
            except InstrumentReportedError as error:
                raise self._refusals.of(error, model) from None
        return self._manners[key]

    @contextmanager
    def _clients(self, load: InferenceLoad) -> Iterator[tuple[Crew, Prover]]:
        """Start the client processes of one measurement, and what proves them; end them all."""
        streams = load.concurrency if load.arrival == "closed" else max(load.processes, 64)
        with (
            Crew(load.processes, trace=self._trace, aborted=self._aborted) as crew,
            Prover(crew, split(streams, load.processes), trace=self._trace) as prover,
        ):
            self._crew = crew
            try:
                yield crew, prover
            finally:
                self._crew = None

    def _take(
        self, crew: Crew, manner: Manner, load: InferenceLoad, *, closed: bool, warm: int = _WARM_REQUESTS
    ) -> None:
        """Have the client processes take up `load`, in a closed loop or as it says, warm after so many answers."""
        place = self._place
        prompts = manner.prompts
        slots = split(load.concurrency if closed else 0, load.processes)
        longest = self.timeout + load.output_tokens / _SLOWEST
        self._loads += 1  # no load of a session sends the prompts of another, which a cache might know
        order = self._loads

        def job(number: int, directory: str, signals: str) -> Job:
            return Job(
                directory,
                signals,
                f"{place.base}{place.path}",
                {"Content-Type": "application/json", **self._authorization()},
                manner.body(load.output_tokens, streaming=load.streaming),
                chat=place.chat,
                streaming=load.streaming,
                slots=slots[number],
                certificate=place.certificate,
                opening=OPENING,
                words=prompts.words,
                count=prompts.count,
                closing=prompts.closing,
                rate=load.request_rate or 0.0,
                constant=load.arrival == "constant",
                number=number,
                processes=load.processes,
                seed=load.seed,
                prompt_seed=f"{load.seed} load {order}",
                warm_requests=warm,
                silence=self.timeout,
                longest=longest,
                most_bytes=(load.output_tokens + 64) * _BYTES_OF_A_TOKEN,
            )

        crew.take(job)

    def _expected_rate(self, crew: Crew, manner: Manner, load: InferenceLoad, report: Progress) -> float:
        """Events/s to prove the client for: those of a load like this one before, or of a sounding."""
        if load.arrival != "closed":
            return (load.request_rate or 0.0) * (load.output_tokens if load.streaming else 1)
        key = _shape(load)
        if key in self._expected:
            return _MARGIN * self._expected[key]
        if not load.streaming:
            return 0.0
        report(0.06, "sounding the rate")
        self._take(crew, manner, load, closed=True, warm=1)
        crew.go()
        crew.wait_for_first(self.timeout)
        warm = crew.wait_until_warm(_SOUNDING)
        if warm is not None:
            crew.wait(_SOUNDED)
        crew.cut()
        seen = crew.collect(self.timeout)
        if seen.gone:
            raise self._refusals.of_load(seen, manner.model)
        rate, _, _ = evaluation.partial_rate(seen, warm or 0)
        return _MARGIN * (rate or 0.0)

    def _prove(self, prover: Prover, rate: float, load: InferenceLoad, report: Progress) -> Proof:
        report(0.1, "proving that the client is not the bottleneck")
        seconds = min(3.0, max(0.5, load.duration / 4))
        return prover.prove_twice(lambda note: report(0.12, note), load.headroom * rate, seconds)

    def _measure(
        self, crew: Crew, prover: Prover, manner: Manner, load: InferenceLoad, proof: Proof, report: Progress
    ) -> Measurement:
        counted = CrossCheck.begun(self._page, manner.model, self._pause)
        longest = self.timeout + load.output_tokens / _SLOWEST
        notes = (*self._notes.values(), counted.remark)
        same_host = is_this_host(urlsplit(self._place.base).hostname or "")
        told = Told(self.identity, self._place, manner, load, proof, self._refusals.clean, notes, same_host)
        report(0.15, "warming up")
        begin = start = 0
        self._take(crew, manner, load, closed=load.arrival == "closed")
        try:
            start = begin = crew.go()
            warm = crew.wait_until_warm(load.warm_up + _WARM_REQUESTS * longest)
            if warm is not None:
                crew.wait(max(0.0, (begin + load.warm_up * 1e9 - time.monotonic_ns()) / 1e9))
            start = time.monotonic_ns()
            stop = start + round(load.duration * 1e9)
            while warm is not None and (left := (stop - time.monotonic_ns()) / 1e9) > 0:
                report(0.2 + 0.75 * (1 - min(1.0, left / load.duration)), "measuring")
                if not crew.wait(min(0.5, left)):
                    break
            crew.stop()
            if warm is None:
                crew.cut()
            report(0.95, "waiting for the last answers")
            seen = crew.collect(longest)
        except InstrumentError as error:
            if begin and (left_over := crew.salvage()) is not None:
                error.with_partial(told.given_up(left_over, begin, start, error))
            raise
        if seen.gone and not len(seen.times):
            raise self._refusals.of_load(seen, manner.model)
        if seen.gone or warm is None:
            why = seen.gone or f"too few answers were complete within {load.warm_up + _WARM_REQUESTS * longest:g} s"
            return told.broken(seen, begin, start, why)
        usage = manner.streamed_usage if load.streaming else manner.usage
        found = evaluation.evaluate(seen, load, start, stop, usage=usage, fixed=manner.fixed)
        try:
            disagreeing, counters = counted.after(seen)
            unproven, later = self._unproven(prover, load, found, proof, report)
        except InstrumentError as error:  # the load had ended by then
            whole = replace(seen, gone="the load had ended")
            raise error.with_partial(told.given_up(whole, begin, start, error)) from None
        return replace(told, later=later).measurement(seen, found, [*disagreeing, *unproven], counters)

    def _unproven(
        self, prover: Prover, load: InferenceLoad, found: evaluation.Evaluated, proof: Proof, report: Progress
    ) -> tuple[list[str], Proof | None]:
        """Say why the client is not proven for what came; for more than was expected it proves itself once more."""
        if proof.objections:
            return [f"the client did not prove itself: {one}" for one in proof.objections], None
        events = found.evidence.get("events_in_window", 0) / max(1e-9, (found.stop - found.start) / 1e9)
        self._expected[_shape(load)] = events
        if events * load.headroom <= proof.rate * _PROVEN:
            return [], None
        later = self._prove(prover, events, load, report)
        if not later.objections and events * load.headroom <= later.rate * _PROVEN:
            return [], later
        return [
            f"the client was proven for {proof.rate:.0f} events/s, and {load.headroom:g} times {events:.0f} were "
            "needed: measure again"
        ], later

    def _pause(self, seconds: float) -> None:
        if self._aborted.wait(seconds):
            raise Aborted("the measurement was aborted", where=self.address)


def _shape(load: InferenceLoad) -> tuple[object, ...]:
    """What makes two loads alike for the rate that is to be expected."""
    plain = replace(load, duration=0.0, warm_up=0.0, headroom=1.0, seed=0)
    return tuple(
        value if not isinstance(value, float) or math.isfinite(value) else None for value in asdict(plain).values()
    )
