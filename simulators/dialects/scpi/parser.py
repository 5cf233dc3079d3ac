"""Program messages into units: headers with path memory, numeric suffixes, and data (IEEE 488.2 clause 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass

WHITE = bytes(range(0x21))
"""White space of IEEE 488.2 and the newline: all that may stand where a space may."""

_HEADER = re.compile(rb"(\*[A-Za-z][A-Za-z0-9_]*|:?[A-Za-z][A-Za-z0-9_]*(?::[A-Za-z][A-Za-z0-9_]*)*)(\?)?")
_MNEMONIC = re.compile(r"([A-Z_]+(?:\d+[A-Z_]+)*)(\d{0,9})")
_MARKS = re.compile(rb"[;,'\"#()]")

INVALID_CHARACTER, SYNTAX, INVALID_SEPARATOR, STRING, BLOCK = 101, 102, 103, 151, 161


@dataclass(frozen=True, slots=True)
class Mnemonic:
    """One word of a header: letters in upper case, numeric suffix, None if left out."""

    word: str
    suffix: int | None


@dataclass(frozen=True, slots=True)
class Unit:
    """One program message unit. path: absolute. common: begins with "*". error: number of a command error, 0 = none."""

    path: tuple[Mnemonic, ...]
    query: bool
    common: bool
    data: tuple[bytes, ...]
    end: int
    error: int = 0


def units(message: bytes) -> list[Unit]:
    """Split a program message into its units; empty ones vanish, the first malformed one is the last.

    `end` of a unit is where it ends in the message, bytes.
    """
    found: list[Unit] = []
    branch: tuple[Mnemonic, ...] = ()
    for elements, end, error in _split(message):
        if len(elements) == 1 and not elements[0]:
            continue
        unit = _unit(elements, branch, end) if not error else Unit((), False, False, (), end, error)
        found.append(unit)
        if unit.error:
            break
        if not unit.common:
            branch = unit.path[:-1]
    return found


def _unit(elements: list[bytes], branch: tuple[Mnemonic, ...], end: int) -> Unit:
    first = elements[0]
    match = _HEADER.match(first)
    after = first[match.end() : match.end() + 1] if match is not None else first[:1]
    if match is None or (after and after not in WHITE):
        return Unit((), False, False, (), end, _header_error(after, match is not None))
    data = [first[match.end() :].lstrip(WHITE), *elements[1:]]
    if len(data) == 1 and not data[0]:
        data = []
    if not after and len(data) > 1:
        return Unit((), False, False, (), end, INVALID_SEPARATOR)
    query = match.group(2) is not None
    if not all(data):
        return Unit((), query, False, (), end, SYNTAX)
    header = match.group(1).decode("ascii").upper()
    if header.startswith("*"):
        return Unit((Mnemonic(header, None),), query, True, tuple(data), end)
    words = tuple(_mnemonic(word) for word in header.lstrip(":").split(":"))
    return Unit(words if header.startswith(":") else branch + words, query, False, tuple(data), end)


def _header_error(byte: bytes, in_header: bool) -> int:
    if in_header and byte in b",'\"#(+-.":
        return INVALID_SEPARATOR
    return SYNTAX if byte in b"0123456789_:*?,;" else INVALID_CHARACTER


def _mnemonic(text: str) -> Mnemonic:
    match = _MNEMONIC.fullmatch(text)
    if match is None:
        return Mnemonic(text, None)
    return Mnemonic(match.group(1), int(match.group(2)) if match.group(2) else None)


def _split(message: bytes) -> list[tuple[list[bytes], int, int]]:
    """Split at ";" and "," outside strings, blocks and expressions; for each unit its elements, its end, its error."""
    found: list[tuple[list[bytes], int, int]] = []
    elements: list[bytes] = []
    begin = at = kept = depth = error = 0
    while (mark := _MARKS.search(message, at)) is not None:
        byte, at = mark.group(), mark.end()
        if byte == b"(":
            depth += 1
        elif byte == b")":
            depth -= 1
        elif byte == b"#":
            at, error = _block_end(message, mark.start(), error)
            kept = at
        elif byte in b"'\"":
            close = message.find(byte, at)
            at, error = (close + 1, error) if close >= 0 else (len(message), error or STRING)
        elif byte == b";" or depth <= 0:
            elements.append(_element(message, begin, mark.start(), kept))
            begin = at
            if byte == b";":
                found.append((elements, mark.start(), error))
                elements, depth, error = [], 0, 0
    elements.append(_element(message, begin, len(message), kept))
    found.append((elements, len(message), error))
    return found


def _element(message: bytes, begin: int, stop: int, kept: int) -> bytes:
    """Return message[begin:stop] without white space around it; up to `kept` it is a block, which keeps all bytes."""
    solid = max(begin, kept)
    return (
        (message[begin:solid] + message[solid:stop].rstrip(WHITE)).lstrip(WHITE)
        if kept > begin
        else (message[begin:stop].strip(WHITE))
    )


def _block_end(message: bytes, mark: int, error: int) -> tuple[int, int]:
    """Return where the block at `mark` ends, and the error if it is cut short; other "#" end after themselves."""
    head = message[mark + 1 : mark + 2]
    if head == b"0":
        return len(message), error
    if not head.isdigit():
        return mark + 1, error
    begin = mark + 2 + int(head)
    count = message[mark + 2 : begin]
    if not count.isdigit() or len(count) < int(head) or begin + int(count) > len(message):
        return len(message), error or BLOCK
    return begin + int(count), error
