"""Commands and queries with the instrument's own error queue read in the same critical section."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import Protocol

from aicalib_hw.errors import AicalibError, DeadlineExceeded, InstrumentReportedError, ProtocolError

_MOST_ERRORS = 64

REFUSED = (
    "the instrument keeps what it had: look whether it has this value, integrates, holds or has its panel locked; "
    "then set it again"
)
"""What to do about an error in the instrument's queue."""


class Link(Protocol):
    """What a session needs of a link; `VisaLink`, `YokogawaLegacyLink` and `ReplayLink` are such."""

    resource: str
    timeout: float

    @property
    def lock(self) -> AbstractContextManager[object]: ...
    @property
    def is_open(self) -> bool: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def write(self, message: str) -> None: ...
    def query(self, message: str, *, timeout: float | None = None) -> str: ...
    def query_bytes(self, message: str, *, timeout: float | None = None) -> bytes: ...
    def receive(self, *, timeout: float | None = None) -> str: ...
    def clear(self) -> None: ...
    def abort(self) -> None: ...


class ScpiSession:
    """One instrument's language over one link.

    error_query: what takes one entry from the error queue: `:SYSTem:ERRor?` of SCPI-99 with its
    negative numbers, or a maker's own such as Yokogawa's `:STATus:ERRor?` with positive ones. Both
    answer `number,"text"`, and 0 when the queue is empty. "" = it has none that could be asked at any time.
    """

    def __init__(self, link: Link, *, error_query: str = ":SYSTem:ERRor?") -> None:
        self.link = link
        self.lock = link.lock
        self._error_query = error_query

    def command(self, message: str) -> None:
        """Send a command, then read the error queue; raises InstrumentReportedError for what it holds."""
        with self.lock:
            self.link.write(message)
            self.check(message)

    def query(self, message: str, *, timeout: float | None = None) -> str:
        """Return the reply to a query as text; a query that is refused shows as a time-out with its cause.

        An instrument that does not understand a question stays silent, and puts the reason among its errors: they are
        asked for once, so that it is known and is not taken for an error of the next command.
        """
        with self.lock:
            try:
                return self.link.query(message, timeout=timeout)
            except DeadlineExceeded as error:
                self._explain(error)
                raise

    def _explain(self, error: DeadlineExceeded) -> None:
        if not self._error_query:
            return
        with suppress(AicalibError):  # one that stays silent has no more to say
            told = "; ".join(f"{code}, {text}" for code, text in self.errors())
            if told:
                error.why = f"the instrument reports: {told}"

    def checked_query(self, message: str, *, timeout: float | None = None) -> str:
        """Return the reply to a query, then read the error queue; raises InstrumentReportedError."""
        with self.lock:
            reply = self.query(message, timeout=timeout)
            self.check(message)
            return reply

    def check(self, message: str) -> None:
        """Read the error queue until it is empty; raise InstrumentReportedError with the first entry."""
        with self.lock:
            errors = self.errors()
        if errors:
            (code, text), rest = errors[0], errors[1:]
            raise InstrumentReportedError(
                code,
                text,
                message,
                where=self.link.resource,
                why=f"further errors: {rest}" if rest else "",
                advice=REFUSED,
            )

    def errors(self) -> list[tuple[int, str]]:
        """Take every entry out of the error queue, oldest first."""
        found: list[tuple[int, str]] = []
        with self.lock:
            while len(found) < _MOST_ERRORS:
                code, text = parse_error(self.link.query(self._error_query))
                if code == 0:
                    return found
                found.append((code, text))
        raise ProtocolError(
            f"the error queue does not become empty after {_MOST_ERRORS} entries", where=self.link.resource
        )


def parse_error(reply: str) -> tuple[int, str]:
    """Return number and text of `113,"Undefined Header"` or of a bare number; raises ProtocolError."""
    number, _, text = reply.partition(",")
    try:
        return int(number), text.strip().strip('"')
    except ValueError:
        raise ProtocolError(f"{reply!r} is not an entry of an error queue") from None
