"""The text dialect of a Xena chassis (TCP 22611 there): lines in, lines out.

`[module[/port]] COMMAND [i,j] value ...`, `?` asks. Replies end in LF and have two spaces between port, command, index
and first value. Facts: network.md sections 4.1 and 4.2; what `WAIT` and `HELP` answer is not confirmed there.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from .xena_chassis import Chassis, Session
from .xena_commands import BY_NAME, Command, Field, Refused

_LINE = re.compile(r"\s*(?:(\d+)(?:/(\d+))?\s+)?([A-Za-z]\w*)\s*(?:\[([\d\s,]*)\]|(\[))?\s*")
_VALUE = re.compile(r'(?:"[^"]*"|\d+(?=\s*,))(?:\s*,\s*(?:"[^"]*"|\d+))*|\S+')
_PART = re.compile(r'"([^"]*)"|(\d+)')
_LONGEST_WAIT = 60

_MANY = """
C_CONFIG C_NAME C_COMMENT
P_CONFIG P_SPEEDSELECTION P_COMMENT P_INTERFRAMEGAP P_MACADDRESS P_LOOPBACK P_LATENCYOFFSET P_LATENCYMODE P_TXMODE
P_INFO P_RESERVATION P_RESERVEDBY P_INTERFACE P_SPEED P_RECEIVESYNC P_TRAFFIC P_CAPABILITIES
PT_ALL PT_TOTAL PT_NOTPLD PT_STREAM
PR_ALL PR_TOTAL PR_NOTPLD PR_EXTRA PR_TPLDS PR_TPLDTRAFFIC PR_TPLDERRORS PR_TPLDLATENCY PR_TPLDJITTER
"""
MANY = {words[0]: words[1:] for line in _MANY.split("\n") if (words := line.split())}
"""Queries that many lines answer, with the commands whose replies these are."""
MANY["P_CONFIG"] += ["P_TXENABLE", "P_TXTIMELIMIT", "PS_INDICES"]
MANY["P_FULLCONFIG"] = [
    *MANY["P_CONFIG"],
    *(name for name, one in BY_NAME.items() if name[:3] == "PS_" and one.indices),
]


class _Misread(Exception):
    """The line has no meaning. column: where, from 1; what: "Syntax" or "Index"."""

    def __init__(self, column: int, what: str = "Syntax") -> None:
        super().__init__(column)
        self.lines = ["-" * (column - 1) + "^", f"#{what} error in column {column}"]


class TextSession:
    """One client of the text port. stopping: ends a `WAIT`."""

    def __init__(self, chassis: Chassis, stopping: threading.Event) -> None:
        self._chassis = chassis
        self._stopping = stopping
        self._sync = False
        self.session: Session = chassis.connect()

    def answer(self, line: str) -> list[str]:
        """Return the lines of the reply; `session.ended` tells when to hang up after them."""
        try:
            lines = self._carry_out(line)
        except _Misread as misread:
            lines = misread.lines
        except Refused as refused:
            lines = [f"<{refused.status}>"]
            self.session.ended |= refused.status == "NOTLOGGEDON"
        return [*lines, "<SYNC>"] if self._sync else lines

    def _carry_out(self, line: str) -> list[str]:
        if not line.strip():
            return [""]
        self._chassis.occasion(self.session)
        found = _LINE.match(line)
        if found is None:
            raise _Misread(len(line) - len(line.lstrip()) + 1)
        name = found[3].upper()
        rest = line[found.end() :].rstrip()
        if name in ("SYNC", "WAIT", "HELP"):
            return self._tool(name, rest, found.end() + 1)
        if not self.session.logged_on and name != "C_LOGON":
            raise Refused("NOTLOGGEDON")
        place = tuple(int(part) for part in (found[1], found[2]) if part is not None)
        many = MANY.get(name)
        command = BY_NAME.get(many[0] if many else name)
        if command is None:
            raise _Misread(found.start(3) + 1)
        if len(place) != "CMP".index(command.scope):
            raise _Misread(1, "Index")
        if found[5]:
            raise _Misread(found.start(5) + 1, "Index")
        indices = [int(part) for part in (found[4] or "").replace(" ", "").split(",") if part]
        if many:
            if rest != "?":
                raise Refused("NOTWRITABLE")
            return list(self._many(many, place))
        if len(indices) != command.indices:
            raise _Misread((found.start(4) if found[4] is not None else found.end(3)) + 1, "Index")
        if rest == "?":
            return [self._reply(command, place, indices)]
        if command.given is None:
            raise Refused("NOTWRITABLE")
        values = _read(command.given, rest, found.end())
        self._chassis.give(self.session, command, place, indices, values)
        return ["<OK>"]

    def _reply(self, command: Command, place: tuple[int, ...], indices: Sequence[int]) -> str:
        values = self._chassis.ask(self.session, command, place, indices)
        parts = ["/".join(str(part) for part in place), command.name]
        parts.append(f"[{','.join(str(index) for index in indices)}]" if indices else "")
        parts.append(" ".join(_written(command.asked or (), values)))
        return "  ".join(part for part in parts if part)

    def _many(self, names: Sequence[str], place: tuple[int, ...]) -> Iterator[str]:
        streams = self._chassis.ask(self.session, BY_NAME["PS_INDICES"], place, ()) if place else []
        seen = self._chassis.ask(self.session, BY_NAME["PR_TPLDS"], place, ()) if place else []
        for name in names:
            command = BY_NAME[name]
            if command.asked is None:
                continue
            for index in (seen if name.startswith("PR_") else streams) if command.indices else [None]:
                try:
                    yield self._reply(command, place, [] if index is None else [index])
                except Refused:
                    continue

    def _tool(self, name: str, rest: str, column: int) -> list[str]:
        if name == "SYNC":
            if not rest:
                return [] if self._sync else ["<SYNC>"]
            if rest.upper() not in ("ON", "OFF"):
                raise _Misread(column)
            self._sync = rest.upper() == "ON"
            return ["<OK>"]
        if name == "WAIT":
            if not rest.isdigit() or int(rest) > _LONGEST_WAIT:
                raise _Misread(column)
            self._stopping.wait(int(rest))
            return ["<RESUME>"]
        prefix = rest.strip('"').upper() if rest != "?" else ""
        return [known for known in (*BY_NAME, *MANY) if known.startswith(prefix)] or ["<BADVALUE>"]


def _written(fields: Sequence[Field], values: Sequence[Any]) -> Iterator[str]:
    for position, value in enumerate(values):
        field = fields[min(position, len(fields) - 1)]
        if field.kind == "S":
            yield _quoted(value)
        elif field.kind in "XM":
            yield "0x" + value.hex().upper()
        else:
            yield next((word for word, code in (field.names or {}).items() if code == value), str(value))


def _quoted(text: str) -> str:
    """Characters outside 32 to 126 and quotes stand as decimals outside the quotes."""
    parts = re.findall(r"[ !#-~]+|[^ !#-~]", text)
    return ",".join(f'"{part}"' if re.match(r"[ !#-~]", part) else str(ord(part)) for part in parts) or '""'


def _read(fields: Sequence[Field], text: str, offset: int) -> list[Any]:
    values: list[Any] = []
    for found in _VALUE.finditer(text):
        column = offset + found.start() + 1
        if len(values) >= len(fields) and not (fields and fields[-1].many):
            raise _Misread(column)
        values.append(_value(fields[min(len(values), len(fields) - 1)], found.group(), column))
    wanted = len(fields) - (bool(fields) and fields[-1].many)
    if len(values) < wanted:
        raise _Misread(offset + len(text) + 1)
    return values


def _value(field: Field, text: str, column: int) -> Any:
    if field.kind == "S":
        if not text.startswith('"') and not text.isdigit():
            raise _Misread(column)
        return "".join(quoted if number == "" else chr(int(number) & 255) for quoted, number in _PART.findall(text))
    hexadecimal = re.fullmatch(r"0[xX]([0-9A-Fa-f]*)", text)
    if field.kind in "XM":
        if hexadecimal is None or len(hexadecimal[1]) % 2:
            raise _Misread(column)
        value: Any = bytes.fromhex(hexadecimal[1])
    elif field.names is not None and text.upper() in field.names:
        return field.names[text.upper()]
    elif hexadecimal is not None and hexadecimal[1]:
        value = int(hexadecimal[1], 16)
    elif re.fullmatch(r"-?\d+", text):
        value = int(text)
    else:
        raise _Misread(column)
    if not field.fits(value) or (field.names is not None and value not in field.names.values()):
        raise Refused("BADVALUE")
    return value
