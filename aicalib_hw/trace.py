"""Every byte on the wire as JSON Lines: for looking at, and for replaying as a test.

One line an exchange or event: UTC, monotonic ns, instrument, direction ("write", "read", "event"),
and the bytes as text, or as base64 where they are none. Secrets never reach a trace: what is
registered, and what follows words such as `password` or `authorization`, is replaced.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from aicalib_hw.errors import ProtocolError, RecordError

__all__ = ["REDACTED", "ReplayLink", "Trace", "read_trace", "redacted"]

REDACTED = "[redacted]"
_SECRET = re.compile(
    r"""(?ix) ( [\w-]* (?:password|passwd|token|secret|api[-_]?key|authorization) ["']? \s* [:=\s] \s* )
    (?: "[^"]*" | '[^']*' | ["']? (?:(?:bearer|basic|digest)\s+)? [^\s;,"'&}]+ )"""
)
_KEPT = 10_000
_log = logging.getLogger(__name__)


def redacted(text: str) -> str:
    """Return `text` without what follows words such as `password`: an address as it may be shown and recorded."""
    return _SECRET.sub(lambda found: found.group(1) + REDACTED, text)


class Trace:
    """Collects exchanges; writes each to `path` at once where one is given. Thread-safe; a context manager.

    failure: why the file ends before the session did (a full disk), None while it is whole. A trace
    that cannot be written any further never stands in the way of the instrument.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._recent: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._file: IO[str] | None = None
        self.failure: OSError | None = None
        if path is not None:
            try:
                self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
            except OSError as error:
                raise RecordError("the trace cannot be written", where=str(path), why=str(error)) from error

    def hide(self, secret: str) -> None:
        """Replace this text wherever it would be traced."""
        if secret:
            with self._lock:
                self._secrets.add(secret)

    def add(self, instrument: str, direction: str, data: bytes | str, **more: Any) -> None:
        """Trace `data` that went to ("write") or came from ("read") `instrument`, or an "event" in words."""
        entry: dict[str, Any] = {
            "utc": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "monotonic_ns": str(time.monotonic_ns()),
            "instrument": self._redact(instrument),
            "direction": direction,
        }
        if isinstance(data, bytes):
            try:
                text = data.decode("ascii")
            except UnicodeDecodeError:
                entry["base64"] = base64.b64encode(self._redact(data.decode("latin-1")).encode("latin-1")).decode(
                    "ascii"
                )
            else:
                entry["text"] = self._redact(text)
        else:
            entry["text"] = self._redact(data)
        entry.update(more)
        with self._lock:
            self._recent.append(entry)
            if self._file is not None:
                try:
                    self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                    self._file.flush()
                except OSError as error:
                    self._give_up(error)

    @property
    def recent(self) -> tuple[dict[str, Any], ...]:
        """The last entries, oldest first."""
        with self._lock:
            return tuple(self._recent)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _give_up(self, error: OSError) -> None:
        self.failure = error
        _log.warning("the trace ends here: %s", error)
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._file = None

    def _redact(self, text: str) -> str:
        with self._lock:
            for secret in self._secrets:
                for spelling in (secret, secret.encode().decode("latin-1")):
                    text = text.replace(spelling, REDACTED)
        return redacted(text)


def read_trace(path: str | Path) -> tuple[dict[str, Any], ...]:
    """Return the entries of a trace file; an unfinished last line is left out. Raises RecordError."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RecordError("the trace cannot be read", where=str(path), why=str(error)) from error
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise RecordError("the trace is damaged", where=f"{path}, line {number}", why=str(error)) from error
    return tuple(entries)


class ReplayLink:
    """Answers like the instrument of a trace did; raises ProtocolError when the conversation departs from it.

    Offers what `transport.visa.VisaLink` offers, so that any SCPI driver can be built upon it.
    """

    def __init__(self, entries: Iterable[dict[str, Any]], *, resource: str = "replay") -> None:
        self.resource = resource
        self.timeout = 1.0
        self.lock = threading.RLock()
        self._left = deque(entry for entry in entries if entry["direction"] in ("write", "read"))
        self._open = False

    @property
    def is_open(self) -> bool:
        """True between `open()` and `close()`."""
        return self._open

    @property
    def exhausted(self) -> bool:
        """True when everything in the trace has been said."""
        return not self._left

    def open(self) -> None:
        """Begin the conversation."""
        self._open = True

    def close(self) -> None:
        """End it."""
        self._open = False

    def write(self, message: str) -> None:
        """Expect exactly this message next."""
        expected = self._take("write")
        if _data(expected).rstrip(b"\n") != message.encode("ascii").rstrip(b"\n"):
            raise ProtocolError(
                "the conversation departs from the trace",
                where=self.resource,
                why=f"the trace has {_data(expected)!r}, sent was {message!r}",
            )

    def query_bytes(self, message: str, *, timeout: float | None = None) -> bytes:
        """Expect this message next, and return the reply that the trace has."""
        self.write(message)
        return _data(self._take("read"))

    def query(self, message: str, *, timeout: float | None = None) -> str:
        """As `query_bytes`, as text without terminator."""
        return self.query_bytes(message).decode("ascii").rstrip("\r\n")

    def receive(self, *, timeout: float | None = None) -> str:
        """Return the next message that the trace has, asked for by none."""
        return _data(self._take("read")).decode("ascii").rstrip("\r\n")

    def clear(self) -> None:
        """Nothing to clear in a replay."""

    def abort(self) -> None:
        """Nothing blocks in a replay."""

    def _take(self, direction: str) -> dict[str, Any]:
        if not self._left or self._left[0]["direction"] != direction:
            raise ProtocolError(
                "the conversation departs from the trace",
                where=self.resource,
                why=f"the trace has {'nothing more' if not self._left else self._left[0]['direction']}, "
                f"and a {direction} was due",
            )
        return self._left.popleft()


def _data(entry: dict[str, Any]) -> bytes:
    if "base64" in entry:
        return base64.b64decode(entry["base64"])
    return str(entry["text"]).encode("ascii")
