"""A connection to Ostinato's drone: one call at a time, notifications skipped, errors told in its words."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    IdentityMismatch,
    InstrumentReportedError,
    NotOpen,
    ProtocolError,
)
from aicalib_hw.trace import Trace
from aicalib_hw.transport._sockets import PromptSocket
from aicalib_hw.transport.deadline import Deadline

from . import _drone_messages as messages

PORT = 7878
VERSION = "1.2.0"
"""Version of the protocol that is spoken; drone says whether it is compatible with its own."""

_HEAD = struct.Struct(">HHI")
_COMPATIBLE = 1
_LONGEST = 1 << 24


class DroneSession:
    """Calls to the drone at HOST:PORT. After a time-out or an abort the next call connects anew."""

    def __init__(self, host: str, port: int, *, timeout: float, trace: Trace | None = None) -> None:
        self.where = f"{host}:{port}"
        self.timeout = timeout
        self.lock = threading.RLock()
        self._place = (host, port)
        self._trace = trace
        self._opened = False
        self._socket: PromptSocket | None = None
        self._aborted = threading.Event()

    def open(self) -> None:
        """Connect and compare versions; raises ConnectionFailed, IdentityMismatch, MissingExtra."""
        with self.lock:
            if not self._opened:
                self._aborted.clear()
                self._connect()
                self._opened = True

    def close(self) -> None:
        """Drop the connection; idempotent, never raises."""
        with self.lock:
            self._opened = False
            self._drop()

    def abort(self) -> None:
        """End the call that blocks in another thread; never raises."""
        self._aborted.set()
        wire = self._socket
        if wire is not None:
            wire.shut()

    def call(self, method: str, **fields: Any) -> Any:
        """Call a method with the fields of its message, and return the message that answers.

        Raises DeadlineExceeded, ConnectionLost, InstrumentReportedError for what drone refuses, ProtocolError, Aborted.
        """
        with self.lock:
            if not self._opened:
                raise NotOpen(f"the link to {self.where} is not open", where=self.where, advice="open() it first")
            if self._socket is None:
                self._connect()
            self._aborted.clear()
            return self._exchange(method, fields)

    def _connect(self) -> None:
        _, takes, _ = messages.METHODS["checkVersion"]
        messages.message_class(takes)
        try:
            self._socket = PromptSocket.replacing(socket.create_connection(self._place, timeout=self.timeout))
        except OSError as error:
            raise ConnectionFailed(
                f"no drone answers at {self.where}",
                where=self.where,
                why=str(error),
                advice="start it there, as root: drone",
            ) from error
        said = self._exchange("checkVersion", {"version": VERSION, "client_name": "aicalib-hw"})
        if said.result != _COMPATIBLE:
            self._drop()
            raise IdentityMismatch(
                f"this drone does not speak version {VERSION}", where=self.where, why=said.notes, advice="use drone 1.x"
            )

    def _exchange(self, method: str, fields: dict[str, Any]) -> Any:
        number, takes, gives = messages.METHODS[method]
        request = messages.message_class(takes)(**fields)
        wire = self._socket
        if wire is None:
            raise ConnectionLost(f"the connection to {self.where} is gone", where=self.where)
        self._note("write", f"{method} {messages.text_of(request)}")
        deadline = Deadline(self.timeout)
        try:
            body = request.SerializeToString()
            wire.settimeout(max(0.001, deadline.left))
            wire.sendall(_HEAD.pack(messages.REQUEST, number, len(body)) + body)
            kind, reply = self._reply(wire, number, deadline)
        except BaseException as error:
            self._drop()
            if not isinstance(error, OSError):
                raise
            if self._aborted.is_set():
                raise Aborted(f"{method} was aborted", where=self.where) from error
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(f"no answer to {method} in time", where=self.where) from error
            raise ConnectionLost(f"the connection broke during {method}", where=self.where, why=str(error)) from error
        if kind == messages.ERROR:
            raise InstrumentReportedError(kind, reply.decode("utf-8", "replace"), method, where=self.where)
        answer = messages.message_class(gives)()
        try:
            answer.ParseFromString(reply)
        except Exception as error:
            self._drop()
            raise ProtocolError(f"the answer to {method} is no {gives}", where=self.where, why=str(error)) from error
        self._note("read", messages.text_of(answer))
        if gives == "Ack" and answer.status:
            raise InstrumentReportedError(answer.status, answer.notes, method, where=self.where)
        return answer

    def _reply(self, wire: PromptSocket, number: int, deadline: Deadline) -> tuple[int, bytes]:
        """The next response or error to this method; notifications come unasked and are passed over."""
        wire.deadline = deadline
        try:
            while True:
                kind, method, length = _HEAD.unpack(_exactly(wire, _HEAD.size))
                if length > _LONGEST:
                    raise ProtocolError(f"a message of {length} bytes was announced", where=self.where)
                body = _exactly(wire, length)
                if kind == messages.NOTIFICATION:
                    continue
                if method != number or kind not in (messages.RESPONSE, messages.ERROR):
                    raise ProtocolError(f"a message of type {kind} to method {method} came unasked", where=self.where)
                return kind, body
        finally:
            wire.deadline = None

    def _drop(self) -> None:
        wire, self._socket = self._socket, None
        if wire is not None:
            wire.shut()
            wire.close()

    def _note(self, direction: str, data: str) -> None:
        if self._trace is not None:
            self._trace.add(self.where, direction, data)


def _exactly(wire: PromptSocket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        found += wire.recv(size - len(found))
    return bytes(found)


def numbered(ports: Sequence[int]) -> dict[str, Any]:
    """Return the argument by which a call names ports."""
    return {"port_id": [{"id": number} for number in ports]}
