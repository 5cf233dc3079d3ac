"""The socket below a pyvisa-py session, reached where pyvisa-py mistakes a dead connection for a slow one.

pyvisa-py 0.8 takes a refused connection to a socket for an open one, and reads on, without a pause and
until the time-out, from a connection that has ended. Neither can be set, so the socket itself is replaced.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any


class EndingSocket(socket.socket):
    """A socket whose end of stream is an error, and not no data for ever."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return what is there, at most `size` bytes; raises ConnectionResetError at the end of the stream."""
        data = super().recv(size, flags)
        if not data:
            raise ConnectionResetError("the connection has ended")
        return data


def harden(session: Any) -> None:
    """Replace the socket below `session`, where there is one; raises OSError if it never connected."""
    owner, name = _place_of(session)
    found = getattr(owner, name, None)
    if not isinstance(found, socket.socket):
        return
    error = found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    wait = found.gettimeout()
    wire = EndingSocket(fileno=found.detach())
    wire.settimeout(wait)
    setattr(owner, name, wire)


def break_off(session: Any) -> None:
    """End the connection below `session` now, which wakes whoever blocks on it; never raises."""
    with contextlib.suppress(Exception):
        owner, name = _place_of(session)
        wire = getattr(owner, name, None)
        if isinstance(wire, socket.socket):
            wire.shutdown(socket.SHUT_RDWR)


def _place_of(session: Any) -> tuple[Any, str]:
    """The object that holds the socket and the attribute's name: of a socket session, or of its VXI-11 client."""
    inner = session.visalib.sessions[session.session]
    return (inner.interface, "sock") if hasattr(inner.interface, "sock") else (inner, "interface")
