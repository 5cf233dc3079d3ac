"""The counters of inference engines alone: what a cluster or a compute network generates that nobody can stream.

Source: Prometheus text exposition format 0.0.4, and the metrics that the engines document (`_counters`). Nothing is
sent to the service: it works for whom it works, and its own counters are read at two changes of them. Several pages
(engines, nodes) are summed. Not covered: the query language of a Prometheus server; a page of /federate is a page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from aicalib_hw.errors import (
    Aborted,
    AicalibError,
    IdentityMismatch,
    InstrumentError,
    InstrumentReportedError,
    NotPermitted,
    OutOfRange,
    ProtocolError,
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
from aicalib_hw.readings import Component, Instant, Measurement, Run, Validity, ValidityStatus, Window
from aicalib_hw.trace import Trace

from . import _counters as counters_of
from ._address import counted_at, key_in
from ._page import Page

_BETWEEN = 1.0
"""s between two looks away from the edges of the window."""

_SLEW = 5e-4
_TIME_BASE = "time base"
_CLOCK = "host clock"
_UNDER_WAY = "tokens of requests under way"
_NONE_LONGER = (
    "assumed: no answer under way at the edges is longer than those that ended in the window; state the most tokens of "
    "one in the address: longest=TOKENS"
)


@dataclass(frozen=True, slots=True)
class _Look:
    """The sum of all pages, counted at some moment between two, monotonic ns.

    running: requests under way, None = some page does not tell. at_end: whether some engine counts a request when it
    ends.
    """

    before: int
    after: int
    tokens: int
    series: frozenset[object]
    running: int | None
    at_end: bool


@dataclass(frozen=True, slots=True)
class _Edge:
    """A change of the counter: the middle of the time in which it changed, half of that time, both ns, and the step.

    running: most requests under way before or after it, None = not told.
    """

    at: int
    half_width: float
    tokens: int
    step: int
    running: int | None


class EngineCounters(InferenceService):
    """Pages of engine counters.

    address:
    prometheus+http://HOST/metrics?generated=METRIC&prompt=METRIC&running=METRIC&counts=token&longest=TOKENS&every=0.1
    &also=URL&key_file=PATH&certificate=PATH: `generated`, `prompt` and `running` (requests under way) name the metrics
    of an engine that is not known here, `counts` says whether it counts each token when it is generated (token) or all
    of a request when that ends (request, which is assumed), and `longest` how many tokens one answer has at most.
    `every` (s, 0.01…3600) is how often a page is read at the edges of a window, and all the time where requests count
    when they end; `also` (any number of times) is a further page. timeout: s for one look, and for the counters to
    change at all.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="prometheus",
        role="inference_service",
        summary="token counters of vLLM, SGLang, llama.cpp, TGI, or any engine whose metrics are named",
        manual="Prometheus text exposition format 0.0.4",
        schemes=("prometheus+https", "prometheus+http"),
        wires=("HTTPS", "HTTP"),
    )

    def __init__(self, address: str, *, timeout: float = 60.0, trace: Trace | None = None) -> None:
        super().__init__(address)
        self.timeout = timeout
        self._trace = trace
        self._place = counted_at(address)
        self._pages: list[Page] = []
        self._models: tuple[str, ...] = ()
        self._aborted = threading.Event()

    def _connect(self) -> None:
        place = self._place
        key = key_in(place.key_file)
        if self._trace is not None:
            self._trace.hide(key)
        self._pages = [
            Page(
                url,
                place.generated,
                place.prompt,
                place.running,
                timeout=self.timeout,
                certificate=place.certificate,
                headers={"Authorization": f"Bearer {key}"} if key else None,
                trace=self._trace,
            )
            for url in place.pages
        ]
        for page in self._pages:
            page.open()

    def _disconnect(self) -> None:
        for page in self._pages:
            page.close()
        self._pages = []

    def identify(self) -> Identity:
        """Look at every page for the counters; raises IdentityMismatch where one has none that are known or named."""
        engines, builds, models = [], [], []
        for page in self._pages:
            try:
                samples = page.samples()
                found = page.generated_in(samples, "")
            except ProtocolError as error:
                raise IdentityMismatch("no page of counters is there", where=page.url, why=error.why) from None
            except InstrumentReportedError as error:
                raise _permission(error, page.url) from None
            if found is None:
                raise IdentityMismatch(
                    "this page counts no generated tokens",
                    where=page.url,
                    why=f"none of {', '.join(counters_of.GENERATED)}",
                    advice="name the counter of this engine in the address: ?generated=METRIC",
                )
            names = {str(one[0]) for one in found.series if isinstance(one, tuple) and len(one) == 2}
            engines += [name.partition(":")[0].partition("_")[0] for name in sorted(names)]
            told = (one.labels.get("version") for one in samples if one.name.endswith("_build_info"))
            builds += [version for version in (*told, page.server) if version]
            models += [
                one.labels[label]
                for one in samples
                if one.name in names
                for label in counters_of.MODEL_LABELS
                if label in one.labels
            ]
        self._models = tuple(dict.fromkeys(models))
        engine, build = ", ".join(dict.fromkeys(engines)), ", ".join(dict.fromkeys(builds))
        return Identity(
            engine,
            f"counters of {len(self._pages)} engine(s)",
            "",
            build,
            self.address,
            {"build": build, "engine": engine},
        )

    @property
    def capabilities(self) -> InferenceServiceCapabilities:
        """Counters, and the models they name; nothing can be sent."""
        return InferenceServiceCapabilities(
            models=self._models,
            counters=True,
            takes_load=False,
            notes={"load": "nothing is sent: the service works for others"},
        )

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> ServiceCounters:
        """Return the engine's counters, tokens and requests since its start, summed over all pages.

        timeout: s for one look. Raises ProtocolError for a page that is none, ConnectionFailed, DeadlineExceeded.
        """
        with self._lock:
            source = self.identity
            each = [page.counters("", source, timeout) for page in self._pages]
        first, last = each[0], each[-1]
        if len(each) == 1:
            return first
        window = Window(first.window.start, last.window.stop, f"one look at each of {len(each)} pages")

        def summed(name: str) -> Any:
            parts = [getattr(one, name) for one in each]
            if any(part is None for part in parts):
                return None
            if isinstance(parts[0], int):
                return sum(parts)
            return replace(parts[0], value=sum(part.value for part in parts), window=window, raw="")

        names = ("prompt_tokens", "generated_tokens", "requests_running", "requests_waiting")
        raw = {
            f"{page.url} {name}": value
            for page, one in zip(self._pages, each, strict=True)
            for name, value in one.raw.items()
        }
        return ServiceCounters(window, **{name: summed(name) for name in names}, raw=raw)

    def measure_tokens(self, load: InferenceLoad, *, progress: Progress | None = None) -> Measurement:
        """Return output token/s by the counters, from a change after `load.warm_up` s to one after `load.duration` s
        more.

        Of `load` only model (label, "" = all), warm_up, duration and parameters count. A counter that fell, or of which
        a series came or went, makes the measurement INVALID; a page that is gone keeps what was read and makes it an
        ERROR. Raises OutOfRange for a model that no page names, Aborted.
        """
        if not 0 < load.duration <= 86_400 or not 0 <= load.warm_up <= 86_400:
            raise OutOfRange(f"a window of {load.duration:g} s after {load.warm_up:g} s cannot be measured")
        report = progress or (lambda done, note: None)
        with self._lock:
            _ = self.identity
            self._aborted.clear()
            if load.model and self._models and load.model not in self._models:
                raise OutOfRange(
                    f"no model {load.model!r} is counted", where=self.address, why=f"counted: {', '.join(self._models)}"
                )
            report(0.0, "waiting")
            self._pause(load.warm_up)
            looks: list[_Look] = []
            try:
                first = self._next_change(looks, load.model)
                self._watch(looks, load, first, report)
                last = self._next_change(looks, load.model) if first is not None else None
            except Aborted:
                raise
            except InstrumentError as error:
                return self._broken(load, looks, error)
            report(1.0, "done")
            return self._evaluated(load, looks, first, last)

    def snapshot(self) -> Mapping[str, Setting]:
        """Return what the address sets."""
        now = Instant.now()
        place = {**asdict(self._place), "key_file": str(self._place.key_file or "")}
        return {name: Setting(value, "s" if name == "every" else "", now, "driver") for name, value in place.items()}

    def abort(self) -> None:
        """End a measurement now; from any thread; never raises."""
        self._aborted.set()
        for page in tuple(self._pages):
            with suppress(Exception):
                page.abort()

    def release(self) -> ReleaseReport:
        """Nothing is held: nothing was sent to the service."""
        return ReleaseReport()

    def _look(self, model: str) -> _Look:
        before = time.monotonic_ns()
        tokens, series, at_end = 0, frozenset[object](), False
        running: int | None = 0
        for page in self._pages:
            found = page.generated(model)
            if found is None:
                raise ProtocolError("the counter of generated tokens is gone", where=page.url)
            tokens += found.tokens
            series |= {(page.url, one) for one in found.series}
            running = None if running is None or found.running is None else running + found.running
            at_end |= self._counts_at_end(found.metric)
        return _Look(before, time.monotonic_ns(), tokens, series, running, at_end)

    def _counts_at_end(self, metric: str) -> bool:
        stated = self._place.counts
        return stated == "request" if stated else not metric.startswith(counters_of.AS_THEY_COME)

    def _next_change(self, looks: list[_Look], model: str) -> _Edge | None:
        """Look often until the sum has changed; None if it has not within the driver's timeout."""
        looks.append(self._look(model))
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            self._pause(self._place.every)
            looks.append(self._look(model))
            earlier, later = looks[-2:]
            if later.tokens != earlier.tokens:
                return _Edge(
                    (earlier.before + later.after) // 2,
                    (later.after - earlier.before) / 2,
                    later.tokens,
                    later.tokens - earlier.tokens,
                    None if None in (earlier.running, later.running) else max(earlier.running or 0, later.running or 0),
                )
        return None

    def _watch(self, looks: list[_Look], load: InferenceLoad, first: _Edge | None, report: Progress) -> None:
        if first is None:
            return
        stop = first.at + round(load.duration * 1e9)
        while (left := (stop - time.monotonic_ns()) / 1e9) > 0:
            report(max(0.0, 1 - left / load.duration) * 0.95, "reading the counters")
            self._pause(min(left, self._place.every if looks[-1].at_end else _BETWEEN))
            looks.append(self._look(load.model))

    def _pause(self, seconds: float) -> None:
        if self._aborted.wait(seconds):
            raise Aborted("the measurement was aborted", where=self.address)

    def _evaluated(
        self, load: InferenceLoad, looks: list[_Look], first: _Edge | None, last: _Edge | None
    ) -> Measurement:
        objections = []
        if first is None or last is None:
            objections.append(f"the counters did not change for {self.timeout:g} s: nothing was generated")
        if any(later.tokens < earlier.tokens for earlier, later in pairwise(looks)):
            objections.append("a counter fell: an engine was started anew")
        if len({one.series for one in looks}) > 1:
            objections.append("an engine or its counter came, went or was started anew in the window")
        rate, components, last_look = None, tuple[Component, ...](), looks[-1]
        start, stop = looks[0].before, looks[-1].after
        evidence = self._evidence(looks)
        if first is not None and last is not None:
            start, stop = first.at, last.at
            tokens, seconds = last.tokens - first.tokens, (stop - start) / 1e9
            evidence |= {
                "tokens_in_window": tokens,
                "seconds": seconds,
                "largest_step_token": max(later.tokens - earlier.tokens for earlier, later in pairwise(looks)),
                "counted_at_end_of_requests": last_look.at_end,
                "requests_under_way_at_edges": [first.running, last.running],
            }
            if last_look.at_end and None in (first.running, last.running):
                objections.append(
                    "this engine may count tokens when a request ends, and does not tell how many are under way: name "
                    "running=METRIC in the address, or counts=token if it counts each token"
                )
            if tokens > 0:
                rate = tokens / seconds
                components = _components(first, last, tokens, seconds)
                if last_look.at_end:
                    components += _under_way(first, last, evidence["largest_step_token"], self._place.longest, tokens)
                    if any(one.name == _UNDER_WAY for one in components) and not self._place.longest:
                        evidence["remarks"].append(_NONE_LONGER)
                if load.parameters:
                    evidence["parameter_normalised_rate"] = rate * load.parameters
                    evidence["parameters"] = load.parameters
        status = ValidityStatus.INVALID if objections else ValidityStatus.VALID
        return self._measurement(load, rate, start, stop, Validity(status, tuple(objections)), components, evidence)

    def _broken(self, load: InferenceLoad, looks: list[_Look], error: AicalibError) -> Measurement:
        now = time.monotonic_ns()
        start, stop = (looks[0].before, looks[-1].after) if looks else (now, now)
        reason = f"the counters could not be read any more: {error.what}"
        evidence = self._evidence(looks)
        if len(looks) > 1 and stop > start:
            evidence["partial_token_rate"] = (looks[-1].tokens - looks[0].tokens) / ((stop - start) / 1e9)
        return self._measurement(load, None, start, stop, Validity(ValidityStatus.ERROR, (reason,)), (), evidence)

    def _evidence(self, looks: list[_Look]) -> dict[str, Any]:
        origin = looks[0].before if looks else 0
        return {
            "pages": list(self._place.pages),
            "looks": [{"at_s": ((one.before + one.after) / 2 - origin) / 1e9, "tokens": one.tokens} for one in looks],
            "remarks": ["the engine's own counters, whoever had asked for the tokens; no client saw them arrive"],
        }

    def _measurement(
        self,
        load: InferenceLoad,
        rate: float | None,
        start: int,
        stop: int,
        validity: Validity,
        components: tuple[Component, ...],
        evidence: dict[str, Any],
    ) -> Measurement:
        window = Window(
            Instant.at_monotonic(start), Instant.at_monotonic(stop), "from one change of the counters to another"
        )
        return Measurement(
            quantity="inference",
            definition="token/output/engine-counter/window",
            value=rate,
            unit="token/s",
            window=window,
            identity=self.identity,
            runs=(Run(rate, window, used=bool(validity), reasons=validity.reasons),),
            components=components,
            settings={
                "model": load.model,
                "warm_up": load.warm_up,
                "duration": load.duration,
                "every": self._place.every,
            },
            evidence=evidence,
            validity=validity,
        )


def _components(first: _Edge, last: _Edge, tokens: int, seconds: float) -> tuple[Component, ...]:
    edge: Callable[[_Edge], float] = lambda one: one.half_width / 1e9 / seconds  # noqa: E731
    stated = [
        (_TIME_BASE, _SLEW, "a host's clock of which nothing is known: slewed by at most 500 ppm (adjtimex(2))"),
        ("moment of the first change", edge(first), "half the time between the looks before and after it"),
        ("moment of the last change", edge(last), "half the time between the looks before and after it"),
        ("steps of the counter", max(first.step, last.step) / tokens, "the larger of the steps at the edges"),
    ]
    return tuple(
        Component(name, "B", "1", source, half_width=size, relative=True, shared=_CLOCK if name == _TIME_BASE else None)
        for name, size, source in stated
    )


def _under_way(first: _Edge, last: _Edge, step: int, longest: int, tokens: int) -> tuple[Component, ...]:
    """State what was generated and not counted yet, of requests that count when they end.

    At either edge these are between none and all tokens of the n requests under way: n · L, with L the most tokens of
    one. The rate lacks those at its end and has those at its begin, so half the width of their difference is n · L, and
    it is triangular. L is `longest`; where that is not stated (0) the largest step between two looks, in which the
    whole of each request lies that ended meanwhile, but nothing of one that goes on through the window.
    """
    most = max(first.running or 0, last.running or 0)
    if not most:
        return ()
    return (
        Component(
            _UNDER_WAY,
            "B",
            "1",
            "requests under way at the edges count when they end, none longer than "
            + (f"{longest} tokens, as stated" if longest else "the largest step of the counter, which is assumed"),
            half_width=most * (longest or step) / tokens,
            distribution="triangular",
            relative=True,
        ),
    )


def _permission(error: InstrumentReportedError, url: str) -> InstrumentError:
    if error.code in (401, 403):
        return NotPermitted(
            "the page of counters wants another key, or one at all",
            where=url,
            why=f"status {error.code}",
            advice="put the key alone into a file and name it in the address: ?key_file=/path/to/file",
        )
    return IdentityMismatch("no page of counters is there", where=url, why=f"status {error.code}: {error.text[:80]}")
