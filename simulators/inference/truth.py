"""The truth channel of a simulated inference service: what was really sent, and when. No client sees it."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..world import Truth


@dataclass(frozen=True, slots=True)
class SentEvents:
    """The events of one request that bear tokens. due, sent: ns of `time.monotonic_ns`; counts: tokens of each."""

    number: int
    due: tuple[int, ...]
    sent: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def from_data(cls, told: dict[str, Any]) -> SentEvents:
        """Make it of what the serving process tells."""

        def numbers(name: str) -> tuple[int, ...]:
            made = array("q")
            made.frombytes(base64.b64decode(told[name]))
            return tuple(made)

        return cls(told["number"], numbers("due"), numbers("sent"), numbers("counts"))


@dataclass(frozen=True, slots=True)
class RequestTruth:
    """One request. asked: most tokens; tokens, events: sent; received, first, last: ns of `time.monotonic_ns`.

    outcome: "length", "stop", "abort" (the client has gone) or what a fault did to it; "" while it runs.
    """

    number: int
    path: str
    streamed: bool
    prompt_tokens: int
    asked: int
    tokens: int
    events: int
    received: int
    first: int | None
    last: int | None
    outcome: str


class InferenceTruth:
    """Exact counts and times, and those of the world beneath. ask: gives an order to the serving process.

    Tokens are counted when they are handed to the operating system, on the monotonic clock that this host's programs
    share; `due` is when the schedule wanted them there.
    """

    def __init__(self, ask: Callable[..., Any], world: Truth, pace: Callable[[int], float]) -> None:
        self._ask, self.world, self._pace = ask, world, pace

    @property
    def tokens(self) -> int:
        """Tokens generated since the start, sent or not."""
        return int(self._ask("totals")["tokens"])

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens processed since the start."""
        return int(self._ask("totals")["prompt_tokens"])

    @property
    def work(self) -> float:
        """How long all that was done would take at full load of the platform, world s."""
        return float(self._ask("totals")["work"])

    @property
    def requests(self) -> tuple[RequestTruth, ...]:
        """All requests for tokens that were not refused, in the order in which they came."""
        return tuple(RequestTruth(**told) for told in self._ask("requests"))

    def events(self, number: int | None = None) -> tuple[SentEvents, ...]:
        """Return the events of one request, or of all; the oldest of very many are forgotten (4 million stamps)."""
        return tuple(SentEvents.from_data(told) for told in self._ask("stamps", number=number))

    def tokens_between(self, start: int, stop: int) -> int:
        """Return the tokens sent from `start` on and before `stop`, ns of `time.monotonic_ns`.

        Raises LookupError where stamps of that time have been forgotten.
        """
        tokens = self._ask("between", start=start, stop=stop)
        if tokens is None:
            raise LookupError("the stamps of that time are forgotten")
        return int(tokens)

    def rate_between(self, start: int, stop: int) -> float:
        """Return the mean rate at which tokens were sent, token a real second."""
        return self.tokens_between(start, stop) / ((stop - start) / 1e9)

    def pace(self, streams: int) -> float:
        """Return the nominal rate of so many streams together in steady state, token a world second."""
        return self._pace(streams)
