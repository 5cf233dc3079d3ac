"""What faults do to a stream of events on its way; standard library alone.

At a stream: "coalesced" (`amount` events in one piece, 8 where it is 1), "split_events" and "split_characters" (each
event comes in two pieces, cut in the middle or inside a character; its end comes with the next event), "pieces" (each
byte alone), "crlf" (lines end by CRLF, no space after the colon), "comments" (comments and other fields between),
"garble" (an event that is no JSON), "drop" (the connection ends in mid-stream), "truncated" (the stream ends cleanly
in the middle, with no reason), "error_event" (an error of status `amount` in mid-stream), "dies" (the process ends in
mid-stream), "wrong_content_type".
At a request: "http_error" (status `amount`, 503 where it is 1), "unauthorised", "bundled" (`amount` steps' tokens in
one event, 4 where it is 1), "no_usage", "false_usage" (usage is `amount` times as many, 1.1 where it is 1),
"early_stop" (the text ends by itself at half), "overrun" (more tokens than asked for, by 1.8 or `amount` times),
"slow_first" and "stall" (the first token, or one in the middle, comes `amount` world s late), "stuck" and "delay"
(no or a late answer, real s). At a connection: "refuse". "reboot": the service restarts with its counters at zero.
At a look at the metrics: "counters_frozen" (they are as at the last look).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

STREAM = (
    "coalesced",
    "split_events",
    "split_characters",
    "pieces",
    "crlf",
    "comments",
    "garble",
    "drop",
    "truncated",
    "error_event",
    "dies",
    "wrong_content_type",
)
REQUEST = ("bundled", "no_usage", "false_usage", "early_stop", "overrun", "slow_first", "stall")
DEFAULTS = {"coalesced": 8, "bundled": 4, "false_usage": 1.1, "overrun": 1.8, "http_error": 503, "error_event": 500}
"""Amounts that stand for an amount of 1, which is what a fault has that does not tell one."""


@dataclass(frozen=True)
class ArmedFault:
    """A fault as told by the simulator's own process."""

    kind: str
    after: int
    count: int | None
    probability: float
    amount: float

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> ArmedFault:
        """Make it of its data."""
        amount = float(data["amount"])
        return cls(
            data["kind"],
            data["after"],
            data["count"],
            data["probability"],
            float(DEFAULTS.get(data["kind"], amount)) if amount == 1 else amount,
        )


class EventWriter:
    """Sends events, harmed as `faults` say. send: of one piece; stamp(tokens, due): an event has gone wholly."""

    def __init__(
        self, send: Callable[[bytes], None], stamp: Callable[[int, int], None], faults: dict[str, ArmedFault]
    ) -> None:
        self._send, self._stamp, self._faults = send, stamp, faults
        self._together = int(faults["coalesced"].amount) if "coalesced" in faults else 1
        self._cutting = "split_events" in faults or "split_characters" in faults
        self._plain = not faults
        self._held = bytearray()
        self._unstamped: list[tuple[int, int]] = []
        self._events = 0
        self._tail = b""

    def event(self, data: bytes, tokens: int = 0, due: int = 0) -> None:
        """Send one event, `data: …` and an empty line, that was due at `due` ns."""
        if self._plain:
            self._send(data)
            if tokens:
                self._stamp(tokens, due)
            return
        self._events += 1
        data = self._altered(data, tokens)
        if self._cutting:
            cut = self._cut(data)
            self._out(self._tail + data[:cut])
            self._stamped()
            self._tail = data[cut:]
            self._unstamped.append((tokens, due))
            return
        self._held += data
        self._unstamped.append((tokens, due))
        if self._events % self._together == 0:
            self.flush()

    def flush(self) -> None:
        """Send all that is held back."""
        self._out(bytes(self._held) + self._tail)
        self._held.clear()
        self._tail = b""
        self._stamped()

    @property
    def cut(self) -> bool:
        """True while the end of an event is held back."""
        return bool(self._tail)

    def _stamped(self) -> None:
        for tokens, due in self._unstamped:
            if tokens:
                self._stamp(tokens, due)
        self._unstamped.clear()

    def _altered(self, data: bytes, tokens: int) -> bytes:
        if "garble" in self._faults and tokens and self._events == 3:
            data = data.replace(b'"', b"'")
        if "comments" in self._faults:
            data = b": keep-alive\n\nevent: message\n" + data
        if "crlf" in self._faults:
            data = data.replace(b"data: ", b"data:").replace(b"\n", b"\r\n")
        return data

    def _cut(self, data: bytes) -> int:
        if "split_characters" in self._faults:
            inside = [index for index, byte in enumerate(data) if byte & 0xC0 == 0x80]
            if inside:
                return inside[0]
        return len(data) // 2

    def _out(self, data: bytes) -> None:
        if not data:
            return
        if "pieces" in self._faults:
            for index in range(len(data)):
                self._send(data[index : index + 1])
            return
        self._send(data)
