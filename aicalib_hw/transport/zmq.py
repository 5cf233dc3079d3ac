"""Requests and replies over ZeroMQ: one REQ socket, whole messages, a deadline, and a peer that is known to be there.

ZeroMQ connects in the background and says nothing when nobody is there or when the peer has gone; what its monitor
tells is awaited here, so that both are errors at once and not a wait. A REQ socket that lost a reply is of no further
use: after every doubt the link makes a new one.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from aicalib_hw.errors import ConnectionFailed, MissingExtra
from aicalib_hw.transport.deadline import Deadline

if TYPE_CHECKING:
    import zmq

LARGEST = 64 * 2**20
"""Bytes that a reply may have, unless asked otherwise."""

_SLICE = 0.1
"""s after which a wait looks whether it was cut: a socket of ZeroMQ may not be touched by another thread."""


class RequestWire:
    """A connection to the REP or ROUTER socket at `endpoint` ("tcp://HOST:PORT"), made within `timeout` s.

    largest: bytes that a reply may have, after which the connection is ended. extra: the extra of this distribution
    that brings pyzmq. Raises MissingExtra, ConnectionFailed where nothing answers
    as ZeroMQ does.
    """

    reopens_to_clear = True
    remedy = ""

    def __init__(self, endpoint: str, *, timeout: float, largest: int = LARGEST, extra: str = "network") -> None:
        try:
            import zmq
        except ImportError as error:
            raise MissingExtra.for_library("pyzmq", extra, "this instrument") from error
        self._zmq = zmq
        self._cut = threading.Event()
        self._gone = ""
        self._context = zmq.Context()
        try:
            self._socket: zmq.Socket[bytes] = self._context.socket(zmq.REQ)
            self._socket.linger = 0
            self._largest = largest
            self._socket.maxmsgsize = largest
            self._socket.rcvtimeo = round(1000 * _SLICE)
            self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket()
            self._socket.connect(endpoint)
            self._await_peer(endpoint, Deadline(timeout))
        except BaseException as error:
            self.close()
            if isinstance(error, zmq.ZMQError):
                raise ConnectionFailed(f"{endpoint} cannot be connected to", where=endpoint, why=str(error)) from error
            raise

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        """Send one request; raises ConnectionResetError when there is nobody to send to. Nothing can come unasked."""
        try:
            self._socket.send(message, self._zmq.NOBLOCK)
        except self._zmq.Again:
            raise ConnectionResetError("the server has ended the connection") from None
        return b""

    def receive(self, deadline: Deadline) -> bytes:
        """Return the reply; raises TimeoutError, ConnectionResetError when the peer has gone."""
        zmq = self._zmq
        while True:
            if deadline.left < _SLICE:
                self._socket.rcvtimeo = max(1, round(1000 * deadline.left))
            try:
                return self._socket.recv()
            except zmq.Again:
                pass
            while self._monitor.poll(0):
                if self._event() in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED):
                    raise ConnectionResetError(
                        f"the server has ended the connection, or its reply was larger than {self._largest} bytes"
                    )
            if self._cut.is_set():
                raise ConnectionAbortedError("the wait was ended")
            if deadline.expired:
                raise TimeoutError

    def clear(self, deadline: Deadline) -> None:
        """Nothing: a socket of its own has nothing on its way."""

    def interrupt(self) -> bool:
        return False

    def cut(self) -> None:
        """End the wait that goes on in another thread."""
        self._cut.set()

    def close(self) -> None:
        """Drop the connection and whatever it still holds."""
        with contextlib.suppress(Exception):
            self._socket.disable_monitor()
        with contextlib.suppress(Exception):
            self._context.destroy(linger=0)

    def _await_peer(self, endpoint: str, deadline: Deadline) -> None:
        zmq = self._zmq
        refused = (zmq.EVENT_CLOSED, zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_DISCONNECTED)
        while not deadline.expired and not self._cut.is_set():
            event = self._next_event(deadline)
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event in refused:
                raise ConnectionFailed(
                    f"nothing answers at {endpoint}",
                    where=endpoint,
                    why="the connection is refused, or what answers does not speak ZeroMQ",
                    advice="check host and port, and that the server runs",
                )
        raise ConnectionFailed(
            f"nothing answers at {endpoint} within {deadline.seconds:g} s", where=endpoint, advice="check host and port"
        )

    def _next_event(self, deadline: Deadline) -> int | None:
        """The next event of the connection, None if none came within a slice of the time left."""
        if not self._monitor.poll(_milliseconds(deadline)):
            return None
        return self._event()

    def _event(self) -> int:
        from zmq.utils.monitor import recv_monitor_message

        told: Any = recv_monitor_message(self._monitor, self._zmq.NOBLOCK)
        return int(told["event"])


def _milliseconds(deadline: Deadline) -> int:
    return max(1, round(1000 * min(_SLICE, deadline.left)))
