"""The wires that PyVISA opens, each as whole messages, with the faults of pyvisa-py 0.8 met where they lie."""

from __future__ import annotations

import abc
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from aicalib_hw.errors import LockedByOther
from aicalib_hw.transport._in_step import come_into_step
from aicalib_hw.transport._sockets import PromptSocket, message_end
from aicalib_hw.transport._vxi11 import Vxi11Wire
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.link import Wire

_MAV = 16
_PIECE = 65536
_FIRST_MESSAGE = 0xFFFFFF00
"""Number of the first HiSLIP message after a device clear."""
_SLICE = 0.1
"""s that a wait on a serial port lasts at most before it looks whether it was cut."""
_NAP = 0.005
"""s between two questions for the status byte: as late a reply, and so the stamp of an update, may be noticed."""

CHUNK = (1 << 20) + 1
"""Bytes a read of a library session asks for: odd and larger than any reply."""


def wire_of(session: Any, resource: str, *, own: bool, read_termination: bytes, write_termination: bytes) -> Wire:
    """Return the wire of a session that PyVISA has just opened; own: by pyvisa-py, whose insides are known here."""
    name = resource.upper()
    if own:
        inner = session.visalib.sessions[session.session]
        if name.startswith("ASRL"):
            return SerialWire(session, inner.interface, read_termination, write_termination)
        if name.endswith("::SOCKET"):
            return SocketWire(session, inner, read_termination, write_termination)
        if hasattr(inner.interface, "create_link"):
            return Vxi11Wire(session)
        if hasattr(inner.interface, "_sync"):
            return HislipWire(session, inner.interface)
    stream = name.startswith("ASRL") or name.endswith("::SOCKET")
    return LibraryWire(
        session,
        polled=not own and not stream,
        reopens=stream,
        read_termination=read_termination.decode("ascii") if stream else "",
        write_termination=write_termination.decode("ascii") if stream else "\n",
    )


class LibraryWire:
    """A session as the VISA library gives it: USBTMC and GPIB of pyvisa-py, everything of a maker's VISA.

    polled: the status byte is asked for "message available" before a read, as such a read cannot be cut short.
    """

    remedy = ""

    def __init__(
        self, session: Any, *, polled: bool, reopens: bool, read_termination: str, write_termination: str
    ) -> None:
        self.reopens_to_clear = reopens
        self._session = session
        self._polled = polled
        self._cut = threading.Event()
        self._terminator = read_termination.encode("ascii")
        session.chunk_size = CHUNK
        session.read_termination = read_termination or None
        session.write_termination = write_termination

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        """Send by viWrite."""
        self._session.timeout = _milliseconds(deadline)
        with _as_builtin_errors():
            self._session.write_raw(message + self._session.write_termination.encode("ascii"))
        return b""

    def receive(self, deadline: Deadline) -> bytes:
        """Wait for a message and read it by viRead."""
        nap = 0.001
        with _as_builtin_errors():
            while self._polled and not self._session.read_stb() & _MAV:
                if self._cut.is_set() or deadline.expired:
                    raise TimeoutError
                time.sleep(min(nap, deadline.left))
                nap = min(2 * nap, _NAP)
            self._session.timeout = _milliseconds(deadline)
            reply = bytes(self._session.read_raw())
            # On a stream the library ends at the first terminator, which may lie within a block.
            while self._terminator and message_end(reply, self._terminator) is None:
                self._session.timeout = _milliseconds(deadline)
                reply += bytes(self._session.read_raw())
            return reply

    def clear(self, deadline: Deadline) -> None:
        """Send the device clear of this interface by viClear; a stream has none, and was reopened."""
        if not self.reopens_to_clear:
            self._session.timeout = _milliseconds(deadline)
            with _as_builtin_errors():
                self._session.clear()

    def interrupt(self) -> bool:
        """Make the polling wait end; what the instrument does meanwhile, its device clear ends."""
        self._cut.set()
        return self._polled

    def cut(self) -> None:
        """Make the polling wait end."""
        self._cut.set()

    def close(self) -> None:
        """Close the session, and never its resource manager: PyVISA shares one in the process."""
        self._session.close()


class HislipWire:
    """HiSLIP over the client of pyvisa-py.

    A device clear leaves that client's idea of the message exchange behind: it is cleared on a connection of its
    own. A service request would break its next question on the asynchronous channel: it is passed over here.
    """

    reopens_to_clear = True
    remedy = ""

    def __init__(self, session: Any, client: Any) -> None:
        self._session = session
        self._client = client
        self._sockets = tuple(PromptSocket.replacing(found) for found in (client._sync, client._async))
        client._sync, client._async = self._sockets

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        """Send one message; its number tells replies to earlier ones apart."""
        self._arm(deadline)
        self._client.send(message + b"\n")
        return b""

    def receive(self, deadline: Deadline) -> bytes:
        """Read to the end of the message."""
        self._arm(deadline)
        reply = bytearray()
        while not deadline.expired:
            reply += self._client.receive(_PIECE)
            if self._client._rmt:
                return bytes(reply)
        raise TimeoutError

    def clear(self, deadline: Deadline) -> None:
        """Send the device clear of HiSLIP."""
        from pyvisa_py.protocols import hislip  # type: ignore[import-untyped]

        self._arm(deadline)
        hislip.send_msg(self._client._async, "AsyncDeviceClear", 0, 0)
        while (header := hislip.RxHeader(self._client._async)).msg_type != "AsyncDeviceClearAcknowledge":
            hislip.receive_exact(self._client._async, header.payload_length)
        self._client.device_clear_complete(header.control_code)
        self._client._message_id = _FIRST_MESSAGE

    def interrupt(self) -> bool:
        """HiSLIP knows a device clear, and no abort."""
        return False

    def cut(self) -> None:
        """End both connections."""
        for each in self._sockets:
            each.shut()

    def close(self) -> None:
        """End both connections and close the session."""
        self.cut()
        self._session.close()

    def _arm(self, deadline: Deadline) -> None:
        for each in self._sockets:
            each.settimeout(max(0.001, deadline.left))
            each.deadline = deadline


class StreamWire(abc.ABC):
    """Messages on a wire that knows bytes only: the terminator is all that tells where a message ends."""

    reopens_to_clear = True
    remedy = ""

    def __init__(self, session: Any, read_termination: bytes, write_termination: bytes) -> None:
        self._session = session
        self._read_termination = read_termination
        self._write_termination = write_termination
        self._buffer = bytearray()

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        """Send `message` and its terminator as one buffer; what was not asked for can be no answer to it."""
        dropped = bytes(self._buffer) + self._arrived()
        self._buffer.clear()
        self._put(message + self._write_termination, deadline)
        return dropped

    def receive(self, deadline: Deadline) -> bytes:
        """Read up to the terminator, or by its stated length where a block comes."""
        while (end := message_end(self._buffer, self._read_termination)) is None:
            try:
                self._buffer += self._more(deadline)
            except TimeoutError:
                raise TimeoutError(self._unended()) from None
        reply = bytes(self._buffer[:end])
        del self._buffer[:end]
        return reply

    @abc.abstractmethod
    def clear(self, deadline: Deadline) -> None:
        """Bring what is still on its way to nothing."""

    def interrupt(self) -> bool:
        """Such a wire has no second channel."""
        return False

    @abc.abstractmethod
    def cut(self) -> None:
        """Wake whoever waits."""

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _unended(self) -> str:
        """Say what came of a message that did not end: a wrong terminator or a wrong speed shows itself there."""
        if not self._buffer:
            return ""
        shown = bytes(self._buffer[-60:])
        return f"{len(self._buffer)} bytes came without the terminator {self._read_termination!r}: …{shown!r}"

    @abc.abstractmethod
    def _put(self, data: bytes, deadline: Deadline) -> None:
        """Send bytes."""

    @abc.abstractmethod
    def _more(self, deadline: Deadline) -> bytes:
        """Wait for some bytes; raises TimeoutError."""

    @abc.abstractmethod
    def _arrived(self) -> bytes:
        """Return what has come by now, without waiting."""


class SocketWire(StreamWire):
    """A plain TCP connection; there is no device clear, so a doubtful one is made anew."""

    remedy = "; is the terminator right, and does another program hold its one connection?"

    def __init__(self, session: Any, inner: Any, read_termination: bytes, write_termination: bytes) -> None:
        super().__init__(session, read_termination, write_termination)
        self._socket = PromptSocket.replacing(inner.interface)
        inner.interface = self._socket

    def clear(self, deadline: Deadline) -> None:
        """Nothing: a connection of its own has nothing on its way."""

    def cut(self) -> None:
        """End the connection."""
        self._socket.shut()

    def close(self) -> None:
        """End the connection so that the instrument notices, and close the session."""
        self._socket.shut()
        super().close()

    def _put(self, data: bytes, deadline: Deadline) -> None:
        self._socket.settimeout(max(0.001, deadline.left))
        self._socket.sendall(data)

    def _more(self, deadline: Deadline) -> bytes:
        self._socket.deadline = deadline
        try:
            return self._socket.recv(_PIECE)
        finally:
            self._socket.deadline = None

    def _arrived(self) -> bytes:
        return self._socket.arrived()


class SerialWire(StreamWire):
    """A serial port, where a late answer outlives every reopening: the instrument is asked until it is in step."""

    reopens_to_clear = False

    def __init__(self, session: Any, port: Any, read_termination: bytes, write_termination: bytes) -> None:
        super().__init__(session, read_termination, write_termination)
        self.remedy = f"; does it speak {port.baudrate} baud, 8 bits, no parity, and this terminator?"
        self._port = port
        self._cut = threading.Event()
        try:
            port.exclusive = True
        except OSError as error:
            raise LockedByOther(
                "another program holds the serial port", why=str(error), advice="close the other program"
            ) from error

    def clear(self, deadline: Deadline) -> None:
        """Come into step; raises TimeoutError if the instrument does not answer, or cannot be understood."""
        self._arrived()
        self._buffer.clear()
        self._put(self._write_termination, deadline)  # ends what may have arrived by half
        come_into_step(
            lambda message: self._put(message + self._write_termination, deadline), lambda: self.receive(deadline)
        )

    def cut(self) -> None:
        """Make the wait end."""
        self._cut.set()

    def _put(self, data: bytes, deadline: Deadline) -> None:
        self._port.write_timeout = max(0.001, deadline.left)
        try:
            self._port.write(data)
        except TimeoutError:
            raise
        except OSError as error:  # pyserial's errors are OSErrors, that of a time-out among them
            if "timeout" in str(error).lower():
                raise TimeoutError("the port does not take the message: is flow control on?") from error
            raise

    def _more(self, deadline: Deadline) -> bytes:
        while not deadline.expired:
            if self._cut.is_set():
                raise ConnectionResetError("the wait was ended")
            self._port.timeout = min(_SLICE, max(0.001, deadline.left))
            found = bytes(self._port.read(max(1, self._port.in_waiting)))
            if found:
                return found
        raise TimeoutError

    def _arrived(self) -> bytes:
        waiting = self._port.in_waiting
        return bytes(self._port.read(waiting)) if waiting else b""


@contextlib.contextmanager
def _as_builtin_errors() -> Iterator[None]:
    """Turn PyVISA's time-outs, locks and lost connections into what every wire raises."""
    from pyvisa.errors import VisaIOError

    try:
        yield
    except VisaIOError as error:
        name = getattr(error.error_code, "name", "")
        if name == "error_timeout":
            raise TimeoutError from error
        if name == "error_resource_locked":
            raise LockedByOther("another program has locked the instrument", advice="close it there") from error
        raise OSError(str(error)) from error


def _milliseconds(deadline: Deadline) -> int:
    return max(1, int(deadline.left * 1000))
