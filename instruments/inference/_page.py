"""One page of an engine's counters, over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aicalib_hw.errors import ProtocolError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import ServiceCounters
from aicalib_hw.readings import Instant, Reading, Status, Window
from aicalib_hw.trace import Trace
from aicalib_hw.transport.http import JsonLink

from . import _counters as counters_of
from ._counters import Sample


@dataclass(frozen=True, slots=True)
class Generated:
    """Tokens generated since the start, by which metric, and how many requests are under way, None = not served.

    series: what two looks must have in common to be one count: the series summed, and when process and counters were
    made, as far as the page tells.
    """

    tokens: int
    series: frozenset[object]
    metric: str
    running: int | None


class Page:
    """Where an engine serves its counters. generated, prompt, running: metrics to read instead of those that are
    known."""

    def __init__(
        self,
        url: str,
        generated: str = "",
        prompt: str = "",
        running: str = "",
        *,
        timeout: float,
        certificate: str | Path | None = None,
        extra: str = "inference",
        headers: dict[str, str] | None = None,
        trace: Trace | None = None,
    ) -> None:
        parts = urlsplit(url)
        self.url = url
        self.server = ""
        """The server's software as it named itself at the last look."""
        self._path = parts.path or "/metrics"
        if parts.query:
            self._path += f"?{parts.query}"
        self._generated = (generated,) if generated else counters_of.GENERATED
        self._prompt = (prompt,) if prompt else counters_of.PROMPT
        self._running = (running,) if running else counters_of.RUNNING
        self._link = JsonLink(
            f"{parts.scheme}://{parts.netloc}",
            timeout=timeout,
            certificate=certificate,
            extra=extra,
            headers=headers,
            trace=trace,
        )

    def open(self) -> None:
        """Make ready; the first look connects."""
        self._link.open()

    def close(self) -> None:
        """Drop the connection; idempotent, never raises."""
        self._link.close()

    def abort(self) -> None:
        """End a look that blocks in another thread; never raises."""
        self._link.abort()

    def samples(self, timeout: float | None = None) -> tuple[Sample, ...]:
        """Return all samples of the page; raises ProtocolError for what is no such page, and as the link does."""
        text, headers = self._link.text("GET", self._path, timeout=timeout)
        self.server = headers.get("server", "")
        try:
            return counters_of.parse(text)
        except ValueError as error:
            raise ProtocolError("what came is no page of counters", where=self.url, why=str(error)) from error

    def generated(self, model: str, timeout: float | None = None) -> Generated | None:
        """Return what has been generated since the start, None = not served."""
        return self.generated_in(self.samples(timeout), model)

    def generated_in(self, samples: tuple[Sample, ...], model: str) -> Generated | None:
        """Return what had been generated when the page was as `samples` say, None = not served."""
        found = self._whole(samples, self._generated, model)
        if found is None:
            return None
        made = ("process_start_time_seconds", f"{found[2].removesuffix('_total').removesuffix('_sum')}_created")
        series = found[1] | {(*one.series, one.value) for one in samples if one.name in made}
        running = self._summed(samples, self._running, model)
        return Generated(found[0], series, found[2], None if running is None else int(running[0]))

    def total(self, model: str) -> tuple[int, int | None] | None:
        """Return tokens generated, and prompt tokens, since the engine's start; None where none are served."""
        samples = self.samples()
        generated = self._whole(samples, self._generated, model)
        prompt = self._whole(samples, self._prompt, model)
        return None if generated is None else (generated[0], None if prompt is None else prompt[0])

    def counters(self, model: str, source: Identity, timeout: float | None) -> ServiceCounters:
        """Return what the engine counts, read in one window."""
        began = Instant.now()
        samples = self.samples(timeout)
        window = Window(began, Instant.now(), "one look at the page")

        def reading(names: tuple[str, ...]) -> Reading | None:
            found = self._whole(samples, names, model)
            if found is None:
                return None
            return Reading(found[0], "token", Status.VALID, window, source, found[2], resolution=1.0, raw=str(found[0]))

        def number(names: tuple[str, ...]) -> int | None:
            found = self._summed(samples, names, model)
            return None if found is None else int(found[0])

        raw: dict[str, Any] = {}
        for one in samples:
            if one.value is not None and not one.name.endswith("_bucket"):
                labels = ",".join(f'{name}="{value}"' for name, value in one.labels.items())
                raw[f"{one.name}{{{labels}}}" if labels else one.name] = float(one.value)
        return ServiceCounters(
            window,
            prompt_tokens=reading(self._prompt),
            generated_tokens=reading(self._generated),
            requests_running=number(self._running),
            requests_waiting=number(counters_of.WAITING),
            raw=raw,
        )

    def _whole(
        self, samples: tuple[Sample, ...], names: tuple[str, ...], model: str
    ) -> tuple[int, frozenset[object], str] | None:
        found = self._summed(samples, names, model)
        if found is None:
            return None
        value, series, name = found
        if value.denominator != 1 or value < 0:
            raise ProtocolError("a counter of tokens is no count", where=self.url, why=f"{name} is {float(value):g}")
        return int(value), series, name

    def _summed(
        self, samples: tuple[Sample, ...], names: tuple[str, ...], model: str
    ) -> tuple[Fraction, frozenset[object], str] | None:
        try:
            return counters_of.total(samples, names, model)
        except ValueError as error:
            raise ProtocolError("a counter of the engine is no number", where=self.url, why=str(error)) from error
