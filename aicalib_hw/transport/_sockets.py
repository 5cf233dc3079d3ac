"""A socket that ends its waits, and the framing of messages on wires that know no end of message."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import Any

from aicalib_hw.transport.deadline import Deadline

_PIECE = 65536


class PromptSocket(socket.socket):
    """A socket whose end of stream is an error, and not no data for ever, and which keeps to a deadline.

    pyvisa-py 0.8 takes a refused connection to a socket for an open one, and reads on, without a pause, from
    a connection that has ended. Neither can be set, so the socket below it is replaced by one of these.
    """

    deadline: Deadline | None = None

    @classmethod
    def replacing(cls, found: socket.socket) -> PromptSocket:
        """Take over the connection of `found`, without delay of small packets; raises OSError if it never connected."""
        error = found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        wait = found.gettimeout()
        taken = cls(fileno=found.detach())
        taken.settimeout(wait)
        with contextlib.suppress(OSError):  # not a TCP socket
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return taken

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return what is there, at most `size` bytes; raises ConnectionResetError, TimeoutError."""
        self._keep_to_deadline()
        data = super().recv(size, flags)
        if not data:
            raise ConnectionResetError("the connection has ended")
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As `recv`, into `buffer`."""
        self._keep_to_deadline()
        size = super().recv_into(buffer, nbytes, flags)
        if not size:
            raise ConnectionResetError("the connection has ended")
        return size

    def arrived(self) -> bytes:
        """Return what has come by now, without waiting."""
        found = bytearray()
        while select.select([self], [], [], 0)[0]:
            found += self.recv(_PIECE)
        return bytes(found)

    def shut(self) -> None:
        """End the connection now, which wakes whoever blocks on it."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def _keep_to_deadline(self) -> None:
        if self.deadline is not None:
            if self.deadline.expired:
                raise TimeoutError
            self.settimeout(self.deadline.left)


def message_end(buffer: bytes | bytearray, terminator: bytes) -> int | None:
    """Return where the first message of `buffer` ends, terminator included; None while it is not whole.

    A definite block (`#`, one digit n, n digits of length, the bytes) may hold terminators, so its length counts.
    """
    begin = 0
    if buffer[:1] == b"#" and buffer[1:2].isdigit() and buffer[1:2] != b"0":
        digits = 2 + int(buffer[1:2])
        length = bytes(buffer[2:digits])
        if len(buffer) < digits:
            return None
        begin = digits + int(length) if length.isdigit() else 0
    found = buffer.find(terminator, begin)
    return None if found < 0 else found + len(terminator)
