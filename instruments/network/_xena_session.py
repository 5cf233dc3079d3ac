"""The command line of a Xena chassis: batches of commands, answered line by line up to `<SYNC>`.

Source: XOA CLI documentation (command syntax, status messages, concurrent sessions). A syntax error is a reply of two
lines, and answers of the chassis end in LF; fields are separated by one space or two.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from aicalib_hw.errors import (
    AicalibError,
    ConnectionFailed,
    InstrumentReportedError,
    LicenceMissing,
    LockedByOther,
    NotSupported,
    ProtocolError,
)
from aicalib_hw.trace import Trace
from aicalib_hw.transport._sockets import PromptSocket
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.link import MessageLink, Wire

PORT = 22611
_SYNC = "<SYNC>"
_STATUS = re.compile(r"<([A-Z_]+)>")
_POINTER = re.compile(r"[-\s]*\^\s*")
_KEEP = "C_TIMEOUT 99999"
"""A chassis ends a silent session after about 60 s, and with it its reservations."""

STATUSES = (
    "OK",
    "NOCONNECTIONS",
    "NOTLOGGEDON",
    "NOTRESERVED",
    "NOTWRITABLE",
    "NOTREADABLE",
    "NOTVALID",
    "BADHEADER",
    "BADCOMMAND",
    "BADPARAMETER",
    "BADMODULE",
    "BADPORT",
    "BADINDEX",
    "BADSIZE",
    "BADVALUE",
    "FAILED",
    "MEMORYFAILURE",
    "NOLICPE",
    "NOLICPORT",
    "NOTSUPPORTED",
    "PENDING",
)
"""Status words in the order of their numbers in the binary protocol."""


@dataclass(frozen=True)
class Answer:
    """The answer to one command: what stands behind the command's name, as words."""

    command: str
    line: str

    @cached_property
    def values(self) -> list[str]:
        """The values of a query, without port, name and index; raises ProtocolError for an answer to something else."""
        asked = self.command.split()
        place = 0 if asked[0][0].isalpha() else 1
        words = self.line.split()
        if len(words) <= place or words[place].upper() != asked[place].upper():
            raise ProtocolError(f"{self.line!r} is no answer to {self.command!r}")
        rest = words[place + 1 :]
        return rest[1:] if rest and rest[0].startswith("[") else rest

    @property
    def numbers(self) -> list[int]:
        """The values as whole numbers; raises ProtocolError."""
        try:
            return [int(word) for word in self.values]
        except ValueError:
            raise ProtocolError(f"{self.line!r} does not hold whole numbers") from None


class XenaSession(MessageLink):
    """A session with the chassis at HOST:PORT, logged on with `password` and known as `owner` (at most 8 letters)."""

    def __init__(
        self, host: str, port: int, *, password: str, owner: str, timeout: float, trace: Trace | None = None
    ) -> None:
        super().__init__(f"xena://{host}:{port}", timeout=timeout, connect_timeout=timeout, trace=trace)
        self._host = host
        self._port = port
        self._password = password
        self.owner = owner

    def ask(self, *queries: str) -> list[Answer]:
        """Send queries in one batch and return their answers in order; raises as `command`."""
        with self.lock:
            answers = self._batch(queries)
            for answer in answers:
                # Looked at in here: an answer to something else puts the session in doubt.
                _ = answer.values
            return answers

    def command(self, *commands: str) -> None:
        """Send commands in one batch; raises InstrumentReportedError, LockedByOther, NotSupported, LicenceMissing."""
        with self.lock:
            for answer in self._batch(commands):
                if answer.line.strip() != "<OK>":
                    raise ProtocolError(f"{answer.line!r} answers {answer.command!r}, not <OK>", where=self.resource)

    def _batch(self, commands: Sequence[str]) -> list[Answer]:
        """Exchange a batch in the critical section of the caller, which a ProtocolError leaves in doubt."""
        reply = self.query("\n".join(commands))
        lines = [line for line in reply.splitlines() if line.strip()]
        answers: list[Answer] = []
        rest = iter(lines)
        for command in commands:
            line = next(rest, None)
            if line is None:
                raise ProtocolError(f"{command!r} was not answered", where=self.resource, why=repr(reply)[:200])
            if "^" in line and _POINTER.fullmatch(line):
                line = next(rest, line)
            if line.startswith("#") or ("<" in line and _STATUS.fullmatch(line.strip()) and line.strip() != "<OK>"):
                raise _refusal(line.strip(), command, self.resource)
            answers.append(Answer(command, line))
        if (further := next(rest, None)) is not None:
            raise ProtocolError(f"{further!r} came unasked", where=self.resource, why=repr(reply)[:200])
        return answers

    def _connect(self) -> Wire:
        deadline = Deadline(self._connect_timeout)
        try:
            wire = _XenaWire(socket.create_connection((self._host, self._port), timeout=deadline.left))
        except OSError as error:
            raise ConnectionFailed(
                f"nothing answers at {self.resource}", where=self.resource, why=str(error), advice="check host and port"
            ) from error
        try:
            wire.send(f'C_LOGON "{self._password}"\nC_OWNER "{self.owner}"\n{_KEEP}'.encode("ascii"), deadline)
            said = wire.receive(deadline).decode("ascii", "replace").split()
        except OSError as error:
            wire.close()
            raise ConnectionFailed(
                f"{self.resource} does not let us in",
                where=self.resource,
                why=f"{error}, as it does after a wrong password" if isinstance(error, ConnectionError) else str(error),
                advice="check the password, and whether the chassis takes another session",
            ) from error
        if said != ["<OK>"] * 3:
            wire.close()
            raise ConnectionFailed(
                f"{self.resource} does not let us in",
                where=self.resource,
                why=" ".join(said),
                advice="check the password",
            )
        return wire


class _XenaWire:
    """One connection, batch by batch; every batch ends with SYNC."""

    reopens_to_clear = True
    remedy = ", and whether its session was ended"

    def __init__(self, connected: socket.socket) -> None:
        self._socket = PromptSocket.replacing(connected)

    def send(self, message: bytes, deadline: Deadline) -> bytes:
        dropped = self._socket.arrived()
        self._socket.settimeout(max(0.001, deadline.left))
        self._socket.sendall(message.replace(b"\n", b"\r\n") + b"\r\nSYNC\r\n")
        return dropped

    def receive(self, deadline: Deadline) -> bytes:
        end = _SYNC.encode("ascii")
        found = bytearray()
        self._socket.deadline = deadline
        try:
            while True:
                found += self._socket.recv(65536)
                if end not in found:
                    continue
                lines = found.split(b"\n")
                if any(line.strip() == end for line in lines[:-1]):
                    return bytes(b"\n".join(line.rstrip(b"\r") for line in lines if line.strip() != end))
        finally:
            self._socket.deadline = None

    def clear(self, deadline: Deadline) -> None:
        """Nothing: a connection of its own has nothing on its way."""

    def interrupt(self) -> bool:
        return False

    def cut(self) -> None:
        self._socket.shut()

    def close(self) -> None:
        self._socket.shut()
        self._socket.close()


def _refusal(word: str, command: str, where: str) -> AicalibError:
    """The error for a status word, or for the second line of a syntax error."""
    status = word.strip("<>")
    if status in ("NOLICPE", "NOLICPORT", "XLSDENIED", "XLSFAILED", "XLSINVALID"):
        return LicenceMissing(f"the chassis lacks a licence for {command!r}", where=where, why=word)
    if status == "NOTRESERVED":
        return LockedByOther(
            f"{command!r} needs the port to be reserved by us",
            where=where,
            why="it is not: its reservation was lost, or taken by somebody else",
            advice="look who holds it: ports() names the owner",
        )
    if status == "NOTSUPPORTED":
        return NotSupported(f"this chassis does not support {command!r}", where=where, why=word)
    code = STATUSES.index(status) if status in STATUSES else len(STATUSES)
    return InstrumentReportedError(code, word, command, where=where)
