"""JSON-RPC 2.0 as TRex 3.08 speaks it: compressed or not, single or in a batch, and what it says of a mistake.

A compressed message is the 8 bytes of magic and length, then zlib; who asks compressed is answered so. A batch of one
is answered like a single request. Errors carry code, message, and where there is more to say, specific_err. Where TRex
tells at which offset of the text a field of the wrong type stands, 0 stands here.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAGIC = 0xABE85CEA
HEADER = struct.Struct(">II")
LONGEST = 999_999
"""Longest request that is looked at, bytes, uncompressed."""

PARSE, INVALID, UNKNOWN, PARAMETERS, INTERNAL = -32700, -32600, -32601, -32602, -32603
EXECUTE, TRY_AGAIN, IN_PROGRESS, NO_RESULTS = -32000, -32001, -32002, -32003
_MESSAGES = {
    PARAMETERS: "Bad parameters for method",
    EXECUTE: "Failed To Execute Method",
    INTERNAL: "Internal Server Error",
    TRY_AGAIN: "Try again later",
    IN_PROGRESS: "Work in progress",
    NO_RESULTS: "No results for request",
}
_LIMITS = {"byte": ("uint8", 0xFF), "uint16": ("uint16", 0xFFFF), "uint32": ("uint32", 0xFFFFFFFF)}


class Refused(Exception):
    """What a method refuses. code: one of the constants; detail: specific_err."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def refused(detail: str) -> Refused:
    """Return the error of a method that cannot be carried out as things are."""
    return Refused(EXECUTE, detail)


def packed(text: bytes) -> bytes:
    """Return a message compressed."""
    return HEADER.pack(MAGIC, len(text)) + zlib.compress(text)


def unpacked(message: bytes) -> bytes | None:
    """Return what was compressed, None where it was not or is damaged."""
    if len(message) < HEADER.size or HEADER.unpack_from(message)[0] != MAGIC:
        return None
    length = HEADER.unpack_from(message)[1]
    try:
        text = zlib.decompress(message[HEADER.size :])
    except zlib.error:
        return None
    return text if len(text) <= length else None


class Params:
    """The parameters of a method, read field by field with TRex's words for what is wrong."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def string(self, name: str, default: str | None = None) -> str:
        """Return a text."""
        return str(self._typed(name, "string", default, lambda one: isinstance(one, str)))

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Return a boolean."""
        return bool(self._typed(name, "bool", default, lambda one: isinstance(one, bool)))

    def unsigned(self, name: str, kind: str = "uint32", default: int | None = None) -> int:
        """Return a count of a kind: "byte", "uint16", "uint32" or "uint64"."""
        value = self._typed(name, kind, default, lambda one: _whole(one) and one >= 0)
        width, most = _LIMITS.get(kind, ("uint64", (1 << 64) - 1))
        if value > most:
            raise _wrong(name, f"has size bigger than {width}.")
        return int(value)

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer."""
        return int(self._typed(name, "int", default, lambda one: _whole(one) and -(1 << 31) <= one < 1 << 31))

    def number(self, name: str, default: float | None = None, *, positive: bool = False) -> float:
        """Return a number. positive: refuse what is below 0."""
        kind = "unsigned double" if positive else "double"
        value = self._typed(name, kind, default, lambda one: isinstance(one, int | float) and not isinstance(one, bool))
        if positive and value < 0:
            raise _wrong(name, "has negative value.")
        return float(value)

    def object(self, name: str) -> Params:
        """Return an object."""
        return Params(self._typed(name, "object", None, lambda one: isinstance(one, dict)))

    def array(self, name: str) -> list[Any]:
        """Return an array."""
        found: list[Any] = self._typed(name, "array", None, lambda one: isinstance(one, list))
        return found

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return one of some words."""
        value = self.value.get(name) if isinstance(self.value, dict) else None
        if value is None:
            raise Refused(PARAMETERS, f"field '{name}' is missing")
        if value not in choices:
            listed = " ,".join(f"'{one}'" for one in choices)
            raise Refused(PARAMETERS, f"field '{name}' can only be one of [{listed}]")
        return str(value)

    def given(self, name: str) -> bool:
        """Whether a field is there, and not null."""
        return isinstance(self.value, dict) and self.value.get(name) is not None

    def _typed(self, name: str, kind: str, default: Any, fits: Callable[[Any], bool]) -> Any:
        if self.value is None:
            raise Refused(PARAMETERS, f"field '{name}' is missing")
        if not isinstance(self.value, dict):
            raise Refused(PARAMETERS, f"parent field '{name}' is missing")
        value = self.value.get(name)
        if value is None:
            if default is not None:
                return default
            raise Refused(PARAMETERS, f"field '{name}' value is null")
        if not fits(value):
            raise _wrong(name, f"is '{_kind(value)}', expecting '{kind}'")
        return value


def answer(message: bytes, call: Callable[[str, Any], Any]) -> bytes:
    """Return the reply to a message. call: carries out a method by its name and params; raises Refused, KeyError."""
    text = unpacked(message)
    body = message if text is None else text
    if len(body) > LONGEST:
        detail = f"Request is too large ({len(body)} bytes). Consider splitting to smaller chunks."
        reply: Any = _failed(None, {"code": INTERNAL, "message": detail})
    else:
        reply = _answered(body, call)
    encoded = json.dumps(reply, separators=(",", ":")).encode() + b"\n"
    return encoded if text is None else packed(encoded)


def _answered(body: bytes, call: Callable[[str, Any], Any]) -> Any:
    try:
        asked = json.loads(body)
    except ValueError:
        return _failed(None, {"code": PARSE, "message": "Bad JSON Format"})
    if not isinstance(asked, list):
        return _single(asked, call)
    replies = [_single(one, call) for one in asked]
    return replies[0] if len(replies) == 1 else replies or None


def _single(asked: Any, call: Callable[[str, Any], Any]) -> Any:
    number = asked.get("id") if isinstance(asked, Mapping) else None
    if number is None:
        return _failed(None, {"code": INVALID, "message": "Missing 'id' field"})
    if asked.get("jsonrpc") != "2.0":
        return _failed(number, {"code": INVALID, "message": "Invalid JSONRPC Version"})
    method = asked.get("method") or ""
    if not isinstance(method, str) or not method:
        return _failed(number, {"code": INVALID, "message": "Missing Method Name"})
    try:
        result = call(method, asked.get("params"))
    except KeyError:
        return _failed(number, {"code": UNKNOWN, "message": f"Method {method} not registered"})
    except Refused as error:
        told: dict[str, Any] = {"code": error.code, "message": _MESSAGES[error.code]}
        if error.detail or error.code not in (TRY_AGAIN, NO_RESULTS):
            told["specific_err"] = error.detail
        return _failed(number, told)
    return {"id": number, "jsonrpc": "2.0", "result": result}


def _failed(number: Any, error: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": dict(error), "id": number, "jsonrpc": "2.0"}


def _whole(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _wrong(name: str, what: str) -> Refused:
    return Refused(PARAMETERS, f"error at offset: 0 - '{name}' {what}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names: tuple[tuple[type, str], ...] = ((int, "int"), (float, "double"), (str, "string"), (list, "array"))
    return next((name for kind, name in names if isinstance(value, kind)), "object")
