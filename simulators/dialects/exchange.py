"""A message-based device: messages in, responses out, one session a client, one parser for all (IEEE 488.2 clause 6).

One thread executes messages in the order in which they came, so that a command which waits blocks the
parser, as in the instrument, and not the wire. What a message means is the business of a subclass.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from .scpi.status import Status

OVERRUN, INTERRUPTED, UNTERMINATED = 363, 410, 420
_MAV = 16
"""Message available, in the status byte."""


class Session:
    """What one client and a device have said to each other; made by `Exchange.connect`.

    borders: the wire marks where messages end (VXI-11, HiSLIP, USBTMC, GPIB), so that a response which nobody read is
    INTERRUPTED by the next message and a read with nothing asked is UNTERMINATED; on a raw socket or a serial line
    replies queue instead. terminator: ends every response.
    """

    def __init__(self, device: Exchange, lock: threading.Lock, *, borders: bool, terminator: bytes) -> None:
        self.borders = borders
        self.terminator = terminator
        self.on_service: Callable[[], None] | None = None
        """Called, from any thread, whenever the device newly requests service of this client."""
        self.wants_service = False
        """Set once this client has enabled service requests itself."""
        self._device = device
        self._lock = lock
        self._readable = threading.Condition(lock)
        self._settled = threading.Condition(lock)
        self._output: deque[bytes] = deque()
        self._pending = 0
        self._summary = 0
        self._requesting = False
        self._finished = False
        self._closed = False

    def write(self, *messages: bytes) -> None:
        """Take complete program messages, without their terminators."""
        with self._lock:
            if self._closed or not messages:
                return
            if self.borders and self._output:
                self._output.clear()
                self._device.status.error(INTERRUPTED)
            self._pending += len(messages)
            self._device.enqueue(self, messages)

    def read(
        self,
        limit: int,
        timeout: float,
        cancel: Callable[[], bool] = lambda: False,
        *,
        stop: bytes = b"",
    ) -> tuple[bytes, bool] | None:
        """Return up to `limit` bytes of one response and whether it ends there; None after `timeout` real s.

        Also None as soon as `cancel` is true; `wake` makes it looked at. stop: a byte after which to stop too.
        """
        with self._lock:
            if self.borders and not self._output and not self._pending:
                self._device.status.error(UNTERMINATED)
            self._readable.wait_for(lambda: bool(self._output) or cancel() or self._closed, timeout)
            if not self._output:
                return None
            data = self._output.popleft()
            at = data.find(stop, 0, limit) if stop else -1
            count = limit if at < 0 else at + 1
            if len(data) <= count:
                if not self._output:
                    self._summary &= ~_MAV
                return data, True
            self._output.appendleft(data[count:])
            return data[:count], False

    def take(self) -> list[bytes]:
        """Return all responses that are queued, waiting for the first; empty when there will be no more."""
        with self._lock:
            self._readable.wait_for(
                lambda: bool(self._output) or self._closed or (self._finished and not self._pending)
            )
            taken = list(self._output)
            self._output.clear()
            return taken

    def finish(self) -> None:
        """Tell that nothing more will be written; what was asked is still answered."""
        with self._lock:
            self._finished = True
            self._readable.notify_all()

    def interrupt(self) -> None:
        """Tell that a response is interrupted that a client has not read, on a wire that sends before it is asked."""
        with self._lock:
            self._output.clear()
        self._device.status.error(INTERRUPTED)

    def overrun(self) -> None:
        """Tell that a message was longer than the input buffer, and is lost."""
        self._device.status.error(OVERRUN)

    def push(self, data: bytes) -> None:
        """Send what nobody asked for just now, with the terminator: instruments that stream do so."""
        with self._lock:
            self._deliver(data + self.terminator)

    def clear(self) -> None:
        """Device clear: forget input and output of this client, and end what is executed on its behalf."""
        with self._lock:
            self._device.forget(self)
            self._output.clear()

    def settle(self, timeout: float) -> bool:
        """Wait until all that was written is executed; False after `timeout` real s."""
        with self._lock:
            return self._settled.wait_for(lambda: not self._pending or self._closed, timeout)

    @property
    def available(self) -> bool:
        """True while output waits to be read (message available)."""
        return bool(self._output)

    @property
    def backlog(self) -> int:
        """Messages written and not yet executed."""
        return self._pending

    def status_byte(self, *, poll: bool = True) -> int:
        """Return the status byte as a serial poll does: RQS in bit 6, which the poll clears (IEEE 488.1).

        poll: False for a request for service that tells the status byte by itself, and is no poll.
        """
        byte = self._device.status_byte(self)
        with self._lock:
            byte = byte & ~64 | 64 * self._requesting
            if poll:
                self._requesting = False
        return byte

    def trigger(self) -> None:
        """Group execute trigger."""
        self._device.trigger(self)

    def wake(self) -> None:
        """Let a blocked `read` look at its cancel condition."""
        with self._lock:
            self._readable.notify_all()

    def close(self) -> None:
        """End the session: what it has not read is lost, what the parser does for it is cancelled. Idempotent."""
        with self._lock:
            self._closed = True
            self._device.forget(self, wait=False)
            self._output.clear()
            self._readable.notify_all()
            self._settled.notify_all()

    def _deliver(self, data: bytes) -> None:
        if self._closed:
            return
        self._output.append(data)
        if len(self._output) == 1:
            self._readable.notify_all()

    def _executed(self, response: bytes | None) -> None:
        """A message of this client is done; called under the lock."""
        self._pending -= 1
        if response is not None:
            if self.borders and self._pending:
                self._device.status.error(INTERRUPTED)
            else:
                self._deliver(response + self.terminator)
        if not self._pending:
            self._settled.notify_all()
            if self._finished:
                self._readable.notify_all()

    def _service(self, byte: int) -> bool:
        """Note the status byte masked by the service request enable; True if a reason for service is new."""
        new = bool(byte & ~self._summary & 0xBF)
        self._summary = byte
        self._requesting = bool(byte) and (self._requesting or new)
        return new


class Exchange(ABC):
    """The one parser behind all sessions of a device. Subclasses say what a message does: `execute`."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.cancelled = threading.Event()
        """Set when what is being executed must end: device clear, or the client has gone."""
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._queue: deque[tuple[Session, bytes]] = deque()
        self._sessions: list[Session] = []
        self._executing: Session | None = None
        self.ended = threading.Event()
        """Set when the device stops."""
        self._thread = threading.Thread(target=self._work, name="simulated-device", daemon=True)
        self._thread.start()

    @abstractmethod
    def execute(self, session: Session, message: bytes) -> bytes | None:
        """Execute one program message; return the response without terminator, None if there is none."""

    def trigger(self, session: Session) -> None:
        """Group execute trigger: the same as *TRG."""
        session.write(b"*TRG")

    def connect(self, *, borders: bool, terminator: bytes = b"\n") -> Session:
        """Return a session for one more client."""
        session = Session(self, self._lock, borders=borders, terminator=terminator)
        with self._lock:
            self._sessions.append(session)
        return session

    def status_byte(self, session: Session | None = None) -> int:
        """Return the status byte with MSS in bit 6; message available is that of `session`."""
        return self.status.byte(available=session is not None and session.available)

    def clear(self) -> None:
        """Clear every session."""
        for session in tuple(self._sessions):
            session.clear()

    def power_up(self) -> None:
        """Return to the state after power-up; models add their settings."""
        self.clear()
        self.status.power_up()

    def notify(self) -> None:
        """Look whether the status asks for service; models call it when time alone changed something."""
        for session in tuple(self._sessions):
            byte = self.status_byte(session) & self.status.service_enable
            if session._service(byte) and session.on_service is not None:
                session.on_service()

    def stop(self) -> None:
        """End the executing thread and every session."""
        with self._lock:
            self.ended.set()
            self.cancelled.set()
            self._arrived.notify_all()
            sessions = tuple(self._sessions)
        for session in sessions:
            session.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(2.0)

    def enqueue(self, session: Session, messages: tuple[bytes, ...]) -> None:
        """Queue messages of a session; called by it under the lock."""
        self._queue.extend((session, message) for message in messages)
        self._arrived.notify()

    def forget(self, session: Session, *, wait: bool = True) -> None:
        """Drop what a session has queued and cancel what is executed for it; called by it under the lock."""
        kept = [entry for entry in self._queue if entry[0] is not session]
        session._pending -= len(self._queue) - len(kept)
        self._queue.clear()
        self._queue.extend(kept)
        if self._executing is session:
            self.cancelled.set()
            if wait and threading.current_thread() is not self._thread:
                self._idle.wait_for(lambda: self._executing is not session or not self.cancelled.is_set(), 2.0)
        if not wait and session in self._sessions:
            self._sessions.remove(session)

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self.ended.is_set():
                    self._arrived.wait()
                if self.ended.is_set():
                    return
                session, message = self._queue.popleft()
                self._executing = session
                self.cancelled.clear()
            response = self.execute(session, message)
            with self._lock:
                if self.cancelled.is_set():
                    response = None
                session._executed(response)
                self._executing = None
                self._idle.notify_all()
            if self.status.service_enable:
                self.notify()
