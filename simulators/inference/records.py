"""What was really sent: for each request its tokens, when they were due and when they went; standard library alone."""

from __future__ import annotations

import base64
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

MOST_STAMPS = 4_000_000
"""Stamps kept; beyond them those of the oldest requests that have ended are forgotten."""


class Record:
    """One request for tokens. due, sent (handed to the system): ns of `time.monotonic_ns`; counts: tokens an event."""

    def __init__(self, number: int, path: str, *, prompt_tokens: int, asked: int, streamed: bool) -> None:
        self.number, self.path, self.streamed = number, path, streamed
        self.prompt_tokens, self.asked = prompt_tokens, asked
        self.received = time.monotonic_ns()
        self.outcome = ""
        self.first: int | None = None
        self.last: int | None = None
        self.tokens = self.events = 0
        self.due, self.sent, self.counts = array("q"), array("q"), array("q")

    def stamp(self, tokens: int, due: int) -> None:
        """Note that an event with so many tokens was sent just now."""
        self.last = time.monotonic_ns()
        if self.first is None:
            self.first = self.last
        self.tokens += tokens
        self.events += 1
        self.sent.append(self.last)
        self.due.append(due)
        self.counts.append(tokens)

    def summary(self) -> dict[str, Any]:
        """Return everything but the stamps."""
        return {
            "number": self.number,
            "path": self.path,
            "streamed": self.streamed,
            "prompt_tokens": self.prompt_tokens,
            "asked": self.asked,
            "tokens": self.tokens,
            "events": self.events,
            "received": self.received,
            "first": self.first,
            "last": self.last,
            "outcome": self.outcome,
        }


class Records:
    """All requests since the start."""

    def __init__(self) -> None:
        self._all: list[Record] = []
        self._forgotten = 0

    def new(self, path: str, **facts: Any) -> Record:
        """Begin the record of one more request."""
        self._forget()
        record = Record(len(self._all), path, **facts)
        self._all.append(record)
        return record

    def told(self) -> list[dict[str, Any]]:
        """Return the summaries of all requests, in the order in which they came."""
        return [record.summary() for record in self._all]

    def stamps(self, which: Callable[[Record], bool]) -> list[dict[str, Any]]:
        """Return the stamps of requests, as base64 of 64-bit integers in this machine's order."""
        coded = {"due": "due", "sent": "sent", "counts": "counts"}
        return [
            {"number": record.number}
            | {key: base64.b64encode(getattr(record, name).tobytes()).decode() for key, name in coded.items()}
            for record in self._all
            if which(record)
        ]

    def between(self, start: int, stop: int) -> int | None:
        """Return the tokens sent from `start` on and before `stop`, ns; None where stamps of then are forgotten."""
        if any(record.last is not None and record.last >= start for record in self._all[: self._forgotten]):
            return None
        return sum(
            sum(record.counts[bisect_left(record.sent, start) : bisect_left(record.sent, stop)])
            for record in self._all[self._forgotten :]
        )

    def _forget(self) -> None:
        kept = sum(len(record.sent) for record in self._all[self._forgotten :]) if len(self._all) % 64 == 63 else 0
        while kept > MOST_STAMPS and self._all[self._forgotten].outcome:
            oldest = self._all[self._forgotten]
            kept -= len(oldest.sent)
            oldest.due, oldest.sent, oldest.counts = array("q"), array("q"), array("q")
            self._forgotten += 1
