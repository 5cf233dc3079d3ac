"""Launches between two events each, timed by the device from the first launch since `reset` on."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_void_p
from dataclasses import dataclass
from typing import Protocol


class EventSession(Protocol):
    """A queue of a device with events that keep their time."""

    def event(self) -> c_void_p:
        """Return a new event."""

    def record(self, event: c_void_p) -> None:
        """Queue the event."""

    def wait(self, event: c_void_p) -> None:
        """Wait until the event has happened."""

    def seconds(self, start: c_void_p, stop: c_void_p) -> float:
        """Return the time between two events that have happened, s."""

    def forget(self, event: c_void_p) -> None:
        """Give an event back."""


@dataclass(frozen=True, slots=True)
class Token:
    """The events before and behind one launch."""

    start: c_void_p
    stop: c_void_p


class Timing:
    """Makes and reuses events; the first launch since `reset` is the origin of time."""

    def __init__(self, session: EventSession) -> None:
        self._session = session
        self._spare: list[c_void_p] = []
        self._origin: c_void_p | None = None

    def around(self, queue: Callable[[], object]) -> Token:
        """Queue an event, what `queue` queues, and another event."""
        token = Token(self._event(), self._event())
        self._session.record(token.start)
        queue()
        self._session.record(token.stop)
        if self._origin is None:
            self._origin = token.start
        return token

    def finish(self, token: Token) -> tuple[float, float]:
        """Wait for a launch; begin since the first launch, and duration, in s by the device's events."""
        self._session.wait(token.stop)
        origin = self._origin if self._origin is not None else token.start
        begin = self._session.seconds(origin, token.start) if token.start is not origin else 0.0
        lasted = self._session.seconds(token.start, token.stop)
        self._spare += [event for event in (token.start, token.stop) if event is not self._origin]
        return begin, lasted

    def reset(self) -> None:
        """Let the next launch be the origin."""
        if self._origin is not None:
            self._spare.append(self._origin)
            self._origin = None

    def close(self) -> None:
        """Give the events back."""
        self.reset()
        while self._spare:
            self._session.forget(self._spare.pop())

    def _event(self) -> c_void_p:
        return self._spare.pop() if self._spare else self._session.event()
