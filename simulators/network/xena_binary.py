"""The binary dialect of a Xena chassis (TCP 22606 there): packets with a header of 16 bytes, big-endian.

`XENA`, u16 indices, u16 bytes of values, u16 type and code, u8 module, u8 port, u32 request; then the indices,
each u32, and the values, padded to four bytes. Facts: network.md section 4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .xena_chassis import Chassis, Session
from .xena_commands import BY_CODE, BY_NAME, STATUS, Command, Field, Refused

HEADER = struct.Struct(">4sHHHBBI")
_MAGIC = b"XENA"
_QUERY, _VALUE, _STATUS = 2, 3, 4
_NOTHING = 255
_SIZES = {"B": 1, "I": 4, "L": 8}
_PUSHED = (
    ("C", ("C_RESERVATION", "C_RESERVEDBY")),
    ("M", ("M_RESERVATION", "M_RESERVEDBY")),
    ("P", ("P_RESERVATION", "P_RESERVEDBY", "P_TRAFFIC", "P_RECEIVESYNC", "P_INTERFACE")),
)
"""What a client is told unasked when it changes."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A header. values: bytes of values without padding."""

    indices: int
    values: int
    kind: int
    code: int
    module: int
    port: int
    request: int

    @classmethod
    def read(cls, data: bytes) -> Packet | None:
        """Return the header in these 16 bytes, None if it is none."""
        magic, indices, values, parameter, module, port, request = HEADER.unpack(data)
        if magic != _MAGIC:
            return None
        code = (parameter & 0xFF) | (parameter & 0xF000) >> 4
        return cls(indices, values, (parameter & 0xF00) >> 8, code, module, port, request)

    @property
    def size(self) -> int:
        """Bytes that follow it, padding included."""
        return (4 * self.indices + self.values + 3) // 4 * 4

    @property
    def place(self) -> tuple[int, ...]:
        """(), (module,) or (module, port)."""
        return tuple(part for part in (self.module, self.port) if part != _NOTHING)


class BinarySession:
    """One client of the binary port."""

    def __init__(self, chassis: Chassis) -> None:
        self._chassis = chassis
        self.session: Session = chassis.connect()
        self._told: dict[tuple[str, tuple[int, ...]], list[Any]] = {}

    def answer(self, head: Packet, body: bytes) -> bytes:
        """Return the packet of the reply; `session.ended` tells when to hang up after it."""
        self._chassis.occasion(self.session)
        try:
            values = self._carry_out(head, body)
        except Refused as refused:
            return _packet(_STATUS, STATUS[refused.status], head.place, (), b"", head.request)
        if values is None:
            return _packet(_STATUS, STATUS["OK"], head.place, (), b"", head.request)
        indices = struct.unpack_from(f">{head.indices}I", body)
        return _packet(_VALUE, head.code, head.place, indices, values, head.request)

    def news(self) -> Iterator[bytes]:
        """Return a packet for each thing that has changed since it was last looked at: first when it logged on."""
        if not self.session.logged_on:
            return
        known = bool(self._told)
        places: dict[str, list[tuple[int, ...]]] = {"C": [()], "M": [], "P": list(self._chassis.ports)}
        places["M"] = sorted({place[:1] for place in self._chassis.ports})
        for scope, names in _PUSHED:
            for name in names:
                for place in places[scope]:
                    values = self._chassis.ask(self.session, BY_NAME[name], place, ())
                    if self._told.get((name, place)) != values:
                        self._told[name, place] = values
                        if known:
                            command = BY_NAME[name]
                            yield _packet(_VALUE, command.code, place, (), _packed(command.asked or (), values), 0)

    def _carry_out(self, head: Packet, body: bytes) -> bytes | None:
        if head.kind not in (_QUERY, _VALUE):
            raise Refused("BADCOMMAND")
        command = BY_CODE.get(head.code)
        if command is None:
            raise Refused("BADPARAMETER" if self.session.logged_on else "NOTLOGGEDON")
        indices = struct.unpack_from(f">{head.indices}I", body)
        self._check(command, head, indices)
        if head.kind == _QUERY:
            values = self._chassis.ask(self.session, command, head.place, indices)
            return _packed(command.asked or (), values)
        at = 4 * head.indices
        given = _unpacked(command.given, body[at : at + head.values])
        self._chassis.give(self.session, command, head.place, indices, given)
        if not self._told:
            list(self.news())
        return None

    @staticmethod
    def _check(command: Command, head: Packet, indices: Sequence[int]) -> None:
        if len(head.place) != "CMP".index(command.scope):
            raise Refused("BADMODULE" if not head.place else "BADPORT")
        if len(indices) != command.indices:
            raise Refused("BADINDEX")


def _packet(kind: int, code: int, place: tuple[int, ...], indices: Sequence[int], values: bytes, request: int) -> bytes:
    module, port = (*place, _NOTHING, _NOTHING)[:2]
    parameter = kind << 8 | code & 0xFF | (code & 0xF00) << 4
    head = HEADER.pack(_MAGIC, len(indices), len(values), parameter, module, port, request)
    body = struct.pack(f">{len(indices)}I", *indices) + values
    return head + body + bytes(-len(body) % 4)


def _packed(fields: Sequence[Field], values: Sequence[Any]) -> bytes:
    data = bytearray()
    for position, value in enumerate(values):
        kind = fields[min(position, len(fields) - 1)].kind
        if kind == "S":
            data += value.encode("latin-1", "replace") + b"\0"
        elif kind in "XM":
            data += value
        else:
            size = _SIZES[kind]
            data += (value & ((1 << 8 * size) - 1)).to_bytes(size, "big")
    return bytes(data)


def _unpacked(fields: Sequence[Field] | None, data: bytes) -> list[Any]:
    """Return the values in `data`; raises Refused for what does not fit the fields."""
    if fields is None:
        raise Refused("NOTWRITABLE")
    values: list[Any] = []
    at = 0
    while len(values) < len(fields) or (fields and fields[-1].many and at < len(data)):
        field = fields[min(len(values), len(fields) - 1)]
        if field.many and at >= len(data):
            break
        if field.kind == "S":
            values.append(data[at:].partition(b"\0")[0].decode("latin-1"))
            at = len(data)
        elif field.kind in "XM":
            values.append(data[at:])
            at = len(data)
        else:
            size = _SIZES[field.kind]
            if at + size > len(data):
                raise Refused("BADSIZE")
            values.append(int.from_bytes(data[at : at + size], "big", signed=field.kind != "B"))
            at += size
        if not field.fits(values[-1]) or (field.names is not None and values[-1] not in field.names.values()):
            raise Refused("BADVALUE")
    if at != len(data):
        raise Refused("BADSIZE")
    return values
