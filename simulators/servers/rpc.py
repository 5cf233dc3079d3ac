"""ONC RPC (RFC 5531) and XDR (RFC 4506), as much of them as VXI-11 and the portmapper need on the server's side."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping

from .connections import exactly

Procedure = Callable[["Reader"], bytes]

_CALL, _REPLY, _RPC_VERSION = 0, 1, 2
_DENIED, _PROGRAM_UNAVAILABLE, _PROGRAM_MISMATCH, _PROCEDURE_UNAVAILABLE, _GARBAGE = 1, 1, 2, 3, 4
_LAST = 0x80000000


class Reader:
    """XDR out of a record; raises struct.error or ValueError for what is not there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integer(self) -> int:
        """Return a signed integer."""
        (value,) = struct.unpack_from(">i", self._data, self._at)
        self._at += 4
        return int(value)

    def unsigned(self) -> int:
        """Return an unsigned integer."""
        return self.integer() & 0xFFFFFFFF

    def opaque(self) -> bytes:
        """Return bytes of variable length."""
        length = self.integer()
        if length < 0 or self._at + length > len(self._data):
            raise ValueError("an opaque is longer than its record")
        value = self._data[self._at : self._at + length]
        self._at += length + (-length % 4)
        return value


def opaque(data: bytes) -> bytes:
    """Return bytes of variable length as XDR."""
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def integers(*values: int) -> bytes:
    """Return integers as XDR."""
    return struct.pack(f">{len(values)}I", *(value & 0xFFFFFFFF for value in values))


def framed(record: bytes) -> bytes:
    """Return a record as the one fragment of a TCP stream."""
    return struct.pack(">I", _LAST | len(record)) + record


def call(transaction: int, program: int, version: int, procedure: int, arguments: bytes) -> bytes:
    """Return a call record without credentials."""
    return integers(transaction, _CALL, _RPC_VERSION, program, version, procedure, 0, 0, 0, 0) + arguments


def read_record(connection: socket.socket, longest: int) -> bytes | None:
    """Return one record, put together from its fragments; None when the client has gone, ValueError if too long."""
    data = b""
    while True:
        head = exactly(connection, 4)
        if head is None:
            return None
        (mark,) = struct.unpack(">I", head)
        length = mark & ~_LAST
        if length + len(data) > longest:
            raise ValueError("a record is too long")
        part = exactly(connection, length)
        if part is None:
            return None
        data += part
        if mark & _LAST:
            return data


def answer(record: bytes, program: int, version: int, procedures: Mapping[int, Procedure]) -> bytes:
    """Return the reply to a call; procedure 0 does nothing. Raises ValueError or struct.error for what is no call."""
    reader = Reader(record)
    transaction, kind, rpc = reader.unsigned(), reader.integer(), reader.integer()
    asked, asked_version, procedure = reader.unsigned(), reader.integer(), reader.integer()
    if kind != _CALL:
        raise ValueError("not a call")
    for _ in range(2):
        reader.integer()
        reader.opaque()
    if rpc != _RPC_VERSION:
        return integers(transaction, _REPLY, _DENIED, 0, _RPC_VERSION, _RPC_VERSION)
    accepted = integers(transaction, _REPLY, 0, 0, 0)
    if asked != program:
        return accepted + integers(_PROGRAM_UNAVAILABLE)
    if asked_version != version:
        return accepted + integers(_PROGRAM_MISMATCH, version, version)
    if procedure == 0:
        return accepted + integers(0)
    run = procedures.get(procedure)
    if run is None:
        return accepted + integers(_PROCEDURE_UNAVAILABLE)
    try:
        return accepted + integers(0) + run(reader)
    except (struct.error, ValueError):
        return accepted + integers(_GARBAGE)
