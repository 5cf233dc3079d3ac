"""A link whose far end answers by a table that a test has typed from a manual: no simulator takes part."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from aicalib_hw.errors import DeadlineExceeded


class TypedLink:
    """Answers each question by the table; of several answers each once, the last for ever. Keeps what was sent.

    A question that the table does not have is never answered, as most instruments do with what they do not know.
    """

    def __init__(self, answers: Mapping[str, str | Iterable[str]]) -> None:
        self.resource = "typed"
        self.timeout = 1.0
        self.lock = threading.RLock()
        self.sent: list[str] = []
        self.answers = {question: [a] if isinstance(a, str) else list(a) for question, a in answers.items()}
        self._lines: list[str] = []
        self._open = False

    @property
    def is_open(self) -> bool:
        return self._open

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        self._open = False

    def write(self, message: str) -> None:
        self.sent.append(message)

    def query(self, message: str, *, timeout: float | None = None) -> str:
        return self.query_bytes(message, timeout=timeout).decode("ascii").rstrip("\r\n")

    def query_bytes(self, message: str, *, timeout: float | None = None) -> bytes:
        self.write(message)
        try:
            found = self.answers[message]
        except KeyError:
            raise DeadlineExceeded(f"no answer to {message!r} in time", where=self.resource) from None
        answer = found.pop(0) if len(found) > 1 else found[0]
        first, *self._lines = answer.split("\n")
        return first.encode("ascii") + b"\r\n"

    def receive(self, *, timeout: float | None = None) -> str:
        if not self._lines:
            raise DeadlineExceeded("no answer to 'the next message' in time", where=self.resource)
        return self._lines.pop(0)

    def clear(self) -> None:
        self._lines = []

    def abort(self) -> None:
        pass
