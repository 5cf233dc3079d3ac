"""Message-based instruments over VISA: VXI-11, USBTMC, GPIB, HiSLIP, raw sockets, serial.

Any VISA library that PyVISA finds; pyvisa-py by default. Its known faults are met here: a connect
time-out of 0 leaves 100 ms (so one is always given); a reply of exactly one chunk loses its end (so
the chunk is odd and large); a socket needs its terminator set and one buffer a message; a connection that
has ended is taken for a slow one (see `_wire`). Over VXI-11 it waits 1 s longer than it is asked to.

After a time-out the link is tainted: the instrument may still answer. The next exchange first drops
the link, opens it anew and clears the device, so that a late answer is never taken for the next one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    InstrumentError,
    LockedByOther,
    MissingExtra,
    NotOpen,
    ProtocolError,
    UsageError,
)
from aicalib_hw.trace import Trace
from aicalib_hw.transport import _wire
from aicalib_hw.transport.deadline import Deadline

CHUNK = (1 << 20) + 1
"""Bytes a read asks for: odd and larger than any reply, as pyvisa-py loses the end of a reply of one chunk."""

SHORTEST_CONNECT = 2.0
"""Least connect time-out in s: with less, pyvisa-py gives a handshake 100 ms."""

_RELINK = 0.1
"""s between attempts to get back the one link of an instrument."""

_MAV = 16
_NEWLINE = "\n"


class VisaLink:
    """One VISA session: atomic exchanges, deadlines in seconds, recovery after a time-out, a trace.

    resource: a VISA resource name. visa_library: what PyVISA takes ("@py", "@ivi", a path).
    timeout: s for one exchange. connect_timeout: s for opening, at least 2.
    All methods may be called from any thread; one exchange is never mixed with another.
    """

    def __init__(
        self,
        resource: str,
        *,
        visa_library: str = "@py",
        timeout: float = 5.0,
        connect_timeout: float = 5.0,
        trace: Trace | None = None,
    ) -> None:
        if not timeout > 0:
            raise UsageError(f"a time-out of {timeout} s is none", where=resource, advice="give a positive number")
        self.resource = resource
        self.timeout = timeout
        self.lock = threading.RLock()
        self._library = visa_library
        self._connect_timeout = max(connect_timeout, SHORTEST_CONNECT)
        self._trace = trace
        self._manager: Any = None
        self._session: Any = None
        self._tainted = False
        self._aborted = threading.Event()

    @property
    def is_open(self) -> bool:
        """True between `open()` and `close()`."""
        return self._session is not None

    def open(self) -> None:
        """Connect; raises ConnectionFailed, LockedByOther, UsageError for a name that is none, MissingExtra."""
        with self.lock:
            if self._session is None:
                self._session = self._connect()
                self._tainted = False
                self._aborted.clear()

    def close(self) -> None:
        """Drop the link; idempotent, never raises."""
        with self.lock:
            session, self._session = self._session, None
            if session is not None:
                # Never its resource manager: PyVISA shares one in the process, and closing it closes every link.
                with contextlib.suppress(Exception):
                    session.close()

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
        """Send a message that has no reply; raises DeadlineExceeded, ConnectionLost, Aborted."""
        with self.lock, self._exchange(message):
            self._send(message)

    def query(self, message: str, *, timeout: float | None = None) -> str:
        """Send a message and return its reply as text without terminator.

        timeout: s for this exchange, None = the link's. Raises as `write`, and ProtocolError for a
        reply that is no ASCII text.
        """
        reply = self.query_bytes(message, timeout=timeout)
        try:
            return reply.decode("ascii").rstrip("\r\n")
        except UnicodeDecodeError as error:
            self._tainted = True
            raise ProtocolError(
                f"the reply to {message!r} is no text",
                where=self.resource,
                why=repr(reply[:80]),
                advice="check the cable and the interface settings; the next exchange reopens the link",
            ) from error

    def query_bytes(self, message: str, *, timeout: float | None = None) -> bytes:
        """Send a message and return its reply as bytes, terminator included; raises as `write`."""
        with self.lock, self._exchange(message):
            deadline = Deadline(self.timeout if timeout is None else timeout)
            self._send(message)
            began = time.monotonic()
            reply = self._receive(deadline)
            self._note("read", reply, duration_s=time.monotonic() - began)
            return reply

    def clear(self) -> None:
        """Clear the device's buffers (VXI-11 device_clear, USBTMC clear, GPIB SDC; a socket is reopened)."""
        with self.lock, self._exchange("device clear"):
            self._note("event", "device clear")
            if self._is_stream:
                self._reopen()
            else:
                self._session.clear()

    def abort(self) -> None:
        """End the exchange that blocks in another thread, now; the next one reopens the link. Never raises."""
        self._aborted.set()
        self._break_wire()

    @property
    def _is_stream(self) -> bool:
        name = self.resource.upper()
        return name.endswith("::SOCKET") or name.startswith("ASRL")

    @property
    def _is_pyvisa_py(self) -> bool:
        return self._library.endswith("@py")

    def _connect(self) -> Any:
        try:
            import pyvisa
        except ImportError as error:
            raise MissingExtra("VISA instruments need the library pyvisa", advice="pip install aicalib-hw") from error
        try:
            self._manager = pyvisa.ResourceManager(self._library)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the VISA library {self._library!r} cannot be loaded",
                where=self.resource,
                why=str(error),
                advice='install the vendor\'s VISA, or use visa_library="@py"',
            ) from error
        try:
            session = self._manager.open_resource(self.resource, open_timeout=int(self._connect_timeout * 1000))
            if self._is_pyvisa_py:
                _wire.harden(session)
        except Exception as error:
            raise self._refusal(error) from error
        session.timeout = self.timeout * 1000
        session.chunk_size = CHUNK
        session.write_termination = _NEWLINE
        session.read_termination = _NEWLINE if self._is_stream else None
        return session

    def _refusal(self, error: Exception) -> InstrumentError | UsageError:
        text = " ".join(str(error).split()) or type(error).__name__
        if "creating link: 11" in text:
            return LockedByOther(f"{self.resource} is locked by another client", where=self.resource)
        if "creating link: 9" in text:
            return LockedByOther(
                f"{self.resource} serves no further client",
                where=self.resource,
                why="out of resources: most instruments of this kind serve one connection at a time",
                advice="close the other program, or `aicalib release BENCH` if it died",
            )
        if "invalid resource" in text.lower() or "could not parse" in text.lower():
            return UsageError(
                f"{self.resource!r} is no VISA resource name", why=text, advice="for example TCPIP::192.168.1.7::INSTR"
            )
        return ConnectionFailed(
            f"nothing answers at {self.resource}",
            where=self.resource,
            why=text,
            advice="check power, cable and address; `ping` the host; is the instrument's network interface selected?",
        )

    @contextmanager
    def _exchange(self, message: str) -> Iterator[None]:
        """Recover first if the last exchange left doubt; map what goes wrong, and taint the link by it."""
        if self._session is None:
            raise NotOpen(f"the link to {self.resource} is not open", where=self.resource, advice="open() it first")
        if self._aborted.is_set():
            self._aborted.clear()
            self._tainted = True
        if self._tainted:
            self._recover()
        try:
            yield
        except InstrumentError:
            self._tainted = True
            raise
        except Exception as error:
            self._tainted = True
            raise self._mapped(error, message) from error
        except BaseException:
            self._tainted = True
            raise

    def _mapped(self, error: Exception, message: str) -> InstrumentError:
        if self._aborted.is_set():
            return Aborted(f"{message!r} was aborted", where=self.resource)
        self._note("event", f"{type(error).__name__}: {error}")
        code = getattr(error, "error_code", None)
        if isinstance(error, TimeoutError) or getattr(code, "name", "") == "error_timeout":
            return DeadlineExceeded(
                f"no answer to {message!r} in time",
                where=self.resource,
                why="the instrument is busy, does not know the command, or is gone",
                advice="the next exchange reopens and clears the link; look at the instrument's error display",
            )
        return ConnectionLost(
            f"the connection broke during {message!r}",
            where=self.resource,
            why=" ".join(str(error).split()) or type(error).__name__,
            advice="check cable and power; the next exchange connects anew",
        )

    def _recover(self) -> None:
        self._note("event", "recovering: reopen and clear, so that a late answer is not taken for the next")
        self._reopen()
        if not self._is_stream:
            try:
                self._session.clear()
            except Exception as error:
                raise self._mapped(error, "device clear") from error
        self._tainted = False

    def _reopen(self) -> None:
        session, self._session = self._session, None
        with contextlib.suppress(Exception):
            session.close()
        deadline = Deadline(self._connect_timeout)
        while True:
            try:
                self._session = self._connect()
            except LockedByOther:  # an instrument of one link gives it up when it has noticed that ours is gone
                if deadline.expired or self._aborted.wait(_RELINK):
                    self._session = session
                    raise
            except Exception:
                self._session = session
                raise
            else:
                break
        self._tainted = False

    def _send(self, message: str) -> None:
        self._note("write", message)
        self._session.write(message)

    def _receive(self, deadline: Deadline) -> bytes:
        if not (self._is_pyvisa_py or self._is_stream):
            self._await_message(deadline)
        self._session.timeout = max(1, int(deadline.left * 1000))
        try:
            return bytes(self._session.read_raw())
        except Exception as error:
            if deadline.expired:  # pyvisa-py reports an unanswered VXI-11 read as an I/O error
                raise TimeoutError from error
            raise
        finally:
            if self._session is not None:
                self._session.timeout = self.timeout * 1000

    def _await_message(self, deadline: Deadline) -> None:
        """Poll the status byte for "message available": such VISA libraries cannot be interrupted in a read."""
        nap = 0.001
        while not self._session.read_stb() & _MAV:
            if self._aborted.is_set() or deadline.expired:
                raise TimeoutError
            time.sleep(min(nap, deadline.left))
            nap = min(2 * nap, 0.05)

    def _break_wire(self) -> None:
        """Shut the socket below a pyvisa-py session, which wakes whoever blocks on it."""
        session = self._session
        if session is not None and self._is_pyvisa_py:
            _wire.break_off(session)

    def _note(self, direction: str, data: bytes | str, **more: Any) -> None:
        if self._trace is not None:
            self._trace.add(self.resource, direction, data, **more)
