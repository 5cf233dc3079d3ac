"""A serial line on a pseudo-terminal: a client opens its device file as it would a real port.

The line has a speed: a client that has set another on its side sends and receives rubbish, as on a real one. Only where
there are pseudo-terminals (Linux, macOS); elsewhere `start` raises OSError.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading

from .faulty import FaultySession, FaultyWire
from .framing import Framer

_CHUNK = 4096


def available() -> bool:
    """True where there are pseudo-terminals, so that a line can be served."""
    try:
        import pty
        import tty
    except ImportError:
        return False
    return hasattr(pty, "openpty") and hasattr(tty, "setraw")


class SerialServer:
    """Serves one device to one client. baud: speed of the instrument's side, bit/s.

    terminator: ends a message of the client. reply_terminator: ends a reply.
    """

    wire = "serial"

    def __init__(
        self,
        wire: FaultyWire,
        *,
        baud: int = 9600,
        terminator: bytes = b"\n",
        reply_terminator: bytes = b"\n",
    ) -> None:
        self._wire = wire
        self._baud = baud
        self._terminator = terminator
        self._reply_terminator = reply_terminator
        self._master = self._line = -1
        self._path = ""
        self._session: FaultySession | None = None
        self._stopped = self._stop = -1
        """A pipe whose reading end is at its end once the server stops, for who waits for the line."""
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        """The VISA resource name; the device file stands in it."""
        return f"ASRL{self._path}::INSTR"

    def start(self) -> str:
        """Open the line; return its device file. Raises OSError where there are no pseudo-terminals."""
        try:
            import pty
            import tty
        except ImportError as error:
            raise OSError(
                "this system has no pseudo-terminals: a simulated serial line needs Linux or macOS"
            ) from error
        self._stopped, self._stop = os.pipe()
        self._master, self._line = pty.openpty()
        tty.setraw(self._line)
        self._set_speed()
        self._path = os.ttyname(self._line)
        self._session = session = self._wire.connect(borders=False, terminator=self._reply_terminator)
        for target in (self._hear, self._answer):
            thread = threading.Thread(target=target, args=(session,), name="serial-line", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self._path

    def stop(self) -> None:
        """Close the line; idempotent."""
        if self._stop >= 0:
            os.close(self._stop)
            self._stop = -1
        if self._session is not None:
            self._session.close()
        for thread in self._threads:
            thread.join(2.0)
        self._threads.clear()
        for descriptor in (self._master, self._line, self._stopped):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._line = self._stopped = -1

    def _hear(self, session: FaultySession) -> None:
        framer = Framer(self._terminator)
        while self._stopped not in select.select([self._master, self._stopped], [], [])[0]:
            try:
                data = os.read(self._master, _CHUNK)
            except OSError:
                return
            overruns = framer.overruns
            messages = framer.feed(self._as_heard(data))
            if framer.overruns > overruns:
                session.overrun()
            # Without connections, a refused, held or lost one is a line on which nothing is answered.
            with contextlib.suppress(ConnectionError):
                if messages and not self._wire.refuse() and not self._wire.locked():
                    session.write(*messages)

    def _answer(self, session: FaultySession) -> None:
        while (data := session.stream()) is not None:
            with contextlib.suppress(ConnectionError):
                self._wire.reply(self._send, self._as_heard(data))

    def _send(self, data: bytes) -> None:
        """Write to the line; what a client does not read in time is lost when the server stops."""
        left = memoryview(data)
        while left and not select.select([self._stopped], [self._master], [])[0]:
            left = left[os.write(self._master, left) :]

    def _as_heard(self, data: bytes) -> bytes:
        """Return what one side makes of what the other sends: itself, or rubbish if their speeds differ."""
        theirs = self._speed()
        if theirs == self._baud:
            return data
        # A slower receiver sees fewer, longer characters, a faster one more; none of them is what was sent.
        ratio = max(1, round(self._baud / theirs)) if theirs < self._baud else 1
        return bytes((byte * 37 + 0x9D) & 0xFF | 0x80 for byte in data[::ratio])

    def _set_speed(self) -> None:
        import termios

        attributes = termios.tcgetattr(self._line)
        attributes[4] = attributes[5] = getattr(termios, f"B{self._baud}")
        termios.tcsetattr(self._line, termios.TCSANOW, attributes)

    def _speed(self) -> int:
        """The speed that the client has set, bit/s; 1 for one that has no name."""
        import termios

        speed = termios.tcgetattr(self._line)[5]
        names = (name for name in dir(termios) if name[:1] == "B" and name[1:].isdigit())
        return next((int(name[1:]) for name in names if getattr(termios, name) == speed and name != "B0"), 1)
