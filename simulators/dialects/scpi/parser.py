"""Program messages into units: headers with path memory, numeric suffixes, and data (IEEE 488.2 clause 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADER = re.compile(
    rb"\s*(\*[A-Za-z]+|:?[A-Za-z][A-Za-z0-9_]*(?::[A-Za-z][A-Za-z0-9_]*)*)(\?)?(?:[\s]+|(?=$)|(?=[,#'\"]))"
)
_MNEMONIC = re.compile(r"([A-Za-z_]+)(\d*)")


@dataclass(frozen=True, slots=True)
class Mnemonic:
    """One word of a header: letters in upper case, numeric suffix (1 if left out)."""

    word: str
    suffix: int | None


@dataclass(frozen=True, slots=True)
class Unit:
    """One program message unit. path: absolute. common: begins with "*". malformed: a command error instead."""

    path: tuple[Mnemonic, ...]
    query: bool
    common: bool
    data: tuple[bytes, ...]
    malformed: bool = False


def units(message: bytes) -> list[Unit]:
    """Split a program message into its units; empty ones vanish, malformed ones are marked."""
    found: list[Unit] = []
    branch: tuple[Mnemonic, ...] = ()
    for raw in _split(message, b";"):
        if not raw.strip():
            continue
        match = _HEADER.match(raw)
        if match is None:
            found.append(Unit((), False, False, (), malformed=True))
            continue
        header = match.group(1).decode("ascii")
        rest = raw[match.end() :].strip()
        data = tuple(part.strip() for part in _split(rest, b",")) if rest else ()
        query = match.group(2) is not None
        if header.startswith("*"):
            found.append(Unit((Mnemonic(header.upper(), None),), query, True, data))
            continue
        words = tuple(_mnemonic(word) for word in header.lstrip(":").split(":"))
        path = words if header.startswith(":") else branch + words
        branch = path[:-1]
        found.append(Unit(path, query, False, data))
    return found


def _mnemonic(text: str) -> Mnemonic:
    match = _MNEMONIC.fullmatch(text)
    if match is None:
        return Mnemonic(text.upper(), None)
    return Mnemonic(match.group(1).upper(), int(match.group(2)) if match.group(2) else None)


def _split(text: bytes, separator: bytes) -> list[bytes]:
    """Split outside strings and definite blocks."""
    parts, begin, index, quote = [], 0, 0, b""
    while index < len(text):
        char = text[index : index + 1]
        if quote:
            if char == quote:
                quote = b""
        elif char in (b"'", b'"'):
            quote = char
        elif char == b"#" and text[index + 1 : index + 2].isdigit() and text[index + 1 : index + 2] != b"0":
            digits = int(text[index + 1 : index + 2])
            count = text[index + 2 : index + 2 + digits]
            if count.isdigit():
                index += 1 + digits + int(count)
        elif char == separator:
            parts.append(text[begin:index])
            begin = index + 1
        index += 1
    parts.append(text[begin:])
    return parts
