"""Whole messages to an instrument and whole replies back, whatever carries them.

After a time-out, a broken connection or an abort the link is tainted: the instrument may still answer.
The next exchange first drops the connection, makes it anew and clears the device, so that a late answer
is never taken for the next one.
"""

from __future__ import annotations

import abc
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from aicalib_hw.errors import (
    Aborted,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentError,
    LockedByOther,
    NotOpen,
    ProtocolError,
    UsageError,
)
from aicalib_hw.trace import Trace
from aicalib_hw.transport.deadline import Deadline

_RELINK = 0.1
"""s between attempts to get back the one link of an instrument."""

_QUOTED = 120
"""Characters of a message that an error quotes."""

_ORDERLY = 0.4
"""s in which an instrument that was asked to abort may end the exchange by itself, before the wire is cut."""


class Wire(Protocol):
    """One open connection. It raises TimeoutError, OSError or an InstrumentError, and is used by one thread.

    reopens_to_clear: a device clear needs a connection of its own. remedy: what to look at when nothing comes.
    """

    reopens_to_clear: bool
    remedy: str

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        """Send one message without its terminator; return what had come unasked before, and was dropped."""
        ...

    def receive(self, deadline: Deadline) -> bytes:
        """Return one whole reply, terminator included."""
        ...

    def clear(self, deadline: Deadline) -> None:
        """Bring the device's buffers, and what is still on its way, to nothing."""
        ...

    def interrupt(self) -> bool:
        """Ask the instrument, from another thread, to end the exchange under way; False where that cannot be asked."""
        ...

    def cut(self) -> None:
        """Wake, from another thread, whoever waits on this wire; it is of no use afterwards."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class Section:
    """The critical section of a link, re-entrant: a reply that makes no sense in it puts the link in doubt.

    What could not be read as an answer may be the answer to something else, so the error that leaves the
    section gets address, exchange and advice where it lacks them, and the next exchange recovers first.
    """

    def __init__(self, doubt: Callable[[ProtocolError], None]) -> None:
        self._lock = threading.RLock()
        self._doubt = doubt

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, ProtocolError):
                self._doubt(error)
        finally:
            self._lock.release()


class MessageLink(abc.ABC):
    """A link to one instrument: atomic exchanges, deadlines in seconds, recovery after a time-out, a trace.

    resource: the address, for people. timeout: s for one exchange. connect_timeout: s for opening.
    All methods may be called from any thread; one exchange is never mixed with another.
    """

    _begins_in_doubt = False
    """Whether what an earlier program left on the wire is still there after opening it."""

    def __init__(
        self, resource: str, *, timeout: float = 5.0, connect_timeout: float = 5.0, trace: Trace | None = None
    ) -> None:
        if not timeout > 0:
            raise UsageError(f"a time-out of {timeout} s is none", where=resource, advice="give a positive number")
        self.resource = resource
        self.timeout = timeout
        self.lock = Section(self._doubted)
        self._asked = ""
        self._connect_timeout = connect_timeout
        self._trace = trace
        self._wire: Wire | None = None
        self._opened = False
        self._tainted = False
        self._aborted = threading.Event()
        self._idle = threading.Event()
        self._idle.set()

    @abc.abstractmethod
    def _connect(self) -> Wire:
        """Open a wire; raises ConnectionFailed, LockedByOther, UsageError, MissingExtra."""

    @property
    def is_open(self) -> bool:
        """True between `open()` and `close()`."""
        return self._opened

    def open(self) -> None:
        """Connect; raises ConnectionFailed, LockedByOther, UsageError for a name that is none, MissingExtra."""
        with self.lock:
            if not self._opened:
                self._wire = self._connect()
                self._opened = True
                self._tainted = self._begins_in_doubt
                self._aborted.clear()

    def close(self) -> None:
        """Drop the link; idempotent, never raises."""
        with self.lock:
            self._opened = False
            self._drop()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def exclusive(self) -> Iterator[Self]:
        """Keep other threads out for several exchanges."""
        with self.lock:
            yield self

    def write(self, message: str) -> None:
        """Send a message that has no reply; raises DeadlineExceeded, ConnectionLost, LockedByOther, Aborted."""
        with self.lock, self._exchange(message) as wire:
            self._send(wire, message, Deadline(self.timeout))

    def query(self, message: str, *, timeout: float | None = None) -> str:
        """Send a message and return its reply as text without terminator.

        timeout: s for this exchange, None = the link's. Raises as `write`, and ProtocolError for a
        reply that is no ASCII text.
        """
        return self._text(self.query_bytes(message, timeout=timeout), message)

    def query_bytes(self, message: str, *, timeout: float | None = None) -> bytes:
        """Send a message and return its reply as bytes, terminator included; raises as `write`."""
        with self.lock, self._exchange(message) as wire:
            deadline = Deadline(self.timeout if timeout is None else timeout)
            self._send(wire, message, deadline)
            return self._receive(wire, deadline)

    def receive(self, *, timeout: float | None = None) -> str:
        """Return the next message of an instrument that sends by itself; raises as `query`."""
        what = "the next message"
        with self.lock, self._exchange(what) as wire:
            reply = self._receive(wire, Deadline(self.timeout if timeout is None else timeout))
        return self._text(reply, what)

    def clear(self) -> None:
        """Clear the device's buffers, and forget every answer that is still to come; raises as `write`."""
        with self.lock, self._exchange("device clear") as wire:
            self._note("event", "device clear")
            if wire.reopens_to_clear:
                wire = self._reopen()
            wire.clear(Deadline(self.timeout))

    def abort(self) -> None:
        """End the exchange that blocks in another thread, now; the next one reopens the link. Never raises."""
        self._aborted.set()
        wire = self._wire
        if wire is None:
            return
        if not self._idle.is_set():
            with contextlib.suppress(Exception):
                if wire.interrupt():
                    self._idle.wait(_ORDERLY)
        if not self._idle.is_set():
            with contextlib.suppress(Exception):
                wire.cut()

    @contextmanager
    def _exchange(self, message: str) -> Iterator[Wire]:
        """Recover first if the last exchange left doubt; map what goes wrong, and taint the link by it."""
        if not self._opened:
            raise NotOpen(f"the link to {self.resource} is not open", where=self.resource, advice="open() it first")
        if self._aborted.is_set():
            self._aborted.clear()
            self._tainted = True
        self._idle.clear()
        self._asked = message
        try:
            yield self._recovered() if self._tainted or self._wire is None else self._wire
            if self._aborted.is_set():
                raise Aborted(f"{_short(message)} was aborted", where=self.resource)
        except InstrumentError as error:
            self._tainted = True
            error.where = error.where or self.resource
            raise
        except Exception as error:
            self._tainted = True
            raise self._mapped(error, message) from error
        except BaseException:
            self._tainted = True
            raise
        finally:
            self._idle.set()

    def _doubted(self, error: ProtocolError) -> None:
        self._tainted = True
        error.where = error.where or self.resource
        if self._asked and self._asked not in str(error):
            error.why = "; ".join(filter(None, (error.why, f"it came in answer to {_short(self._asked)}")))
        error.advice = error.advice or (
            "let nobody else use the instrument meanwhile, and open it anew if its settings were changed; "
            "the next exchange takes the link anew"
        )

    def _mapped(self, error: Exception, message: str) -> InstrumentError:
        if self._aborted.is_set():
            return Aborted(f"{_short(message)} was aborted", where=self.resource)
        text = " ".join(str(error).split())
        self._note("event", f"{type(error).__name__}: {text}")
        remedy = self._wire.remedy if self._wire is not None else ""
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(
                f"no answer to {_short(message)} in time",
                where=self.resource,
                why=text or "the instrument is busy, does not know the command, serves another client, or is gone",
                advice=f"look at the instrument's error display{remedy}; the next exchange takes the link anew",
            )
        return ConnectionLost(
            f"the connection broke during {_short(message)}",
            where=self.resource,
            why=text or type(error).__name__,
            advice="check cable and power; the next exchange connects anew",
        )

    def _recovered(self) -> Wire:
        self._note("event", "recovering: reopen and clear, so that a late answer is not taken for the next")
        wire = self._reopen()
        if self._aborted.is_set():
            raise Aborted("taking the link anew was aborted", where=self.resource)
        wire.clear(Deadline(self.timeout))
        self._tainted = False
        return wire

    def _reopen(self) -> Wire:
        self._drop()
        deadline = Deadline(self._connect_timeout)
        while True:
            try:
                self._wire = self._connect()
            except LockedByOther:  # an instrument of one link gives it up when it has noticed that ours is gone
                if deadline.expired or self._aborted.wait(_RELINK):
                    raise
            else:
                return self._wire

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            with contextlib.suppress(Exception):
                wire.close()

    def _send(self, wire: Wire, message: str, deadline: Deadline) -> None:
        self._note("write", message)
        dropped = wire.send(message.encode("ascii"), deadline)
        if dropped:
            self._note("event", f"had come unasked and was dropped: {dropped[:200]!r}")

    def _receive(self, wire: Wire, deadline: Deadline) -> bytes:
        began = time.monotonic()
        reply = wire.receive(deadline)
        self._note("read", reply, duration_s=time.monotonic() - began)
        return reply

    def _text(self, reply: bytes, message: str) -> str:
        try:
            return reply.decode("ascii").rstrip("\r\n")
        except UnicodeDecodeError as error:
            self._tainted = True
            remedy = self._wire.remedy if self._wire is not None else ""
            raise ProtocolError(
                f"the reply to {_short(message)} is no text",
                where=self.resource,
                why=repr(reply[:80]),
                advice=f"check the cable and the interface settings{remedy}; the next exchange reopens the link",
            ) from error

    def _note(self, direction: str, data: bytes | str, **more: object) -> None:
        if self._trace is not None:
            self._trace.add(self.resource, direction, data, **more)


def _short(message: str) -> str:
    """A message as errors quote it: whole, or its beginning; the trace has all of it."""
    return repr(message) if len(message) <= _QUOTED else f"{message[:_QUOTED]!r} …"
