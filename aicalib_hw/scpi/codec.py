"""Between what stands on the wire and what Python holds: numbers, booleans, words, registers, blocks.

Sources: IEEE 488.2 clauses 7 and 8, SCPI-99 volume 1 sections 7.2 and 8. Markers for over-range and
"no data" (9.9E37, 9.91E37, INF, NAN) never become numbers: `measured` gives them back as a status.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from aicalib_hw.errors import OutOfRange, ProtocolError
from aicalib_hw.readings import Status

T = TypeVar("T")

MARKER = 9.89e37
"""From this magnitude on a number is a marker; single precision moves its last digits."""

_NO_DATA = 9.905e37


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How one type of value is written and read. encode refuses what has no wire form (OutOfRange)."""

    name: str
    encode: Callable[[T], str]
    decode: Callable[[str], T]


def _reject(text: str, what: str) -> ProtocolError:
    return ProtocolError(f"{text!r} is not {what}", why="the reply is garbled or belongs to another question")


def _float(text: str) -> float:
    """As `float`, but without Python's underscores between digits, which no instrument writes."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


def number_text(value: float) -> str:
    """Return a number as the shortest NR form; raises OutOfRange for what is not finite."""
    if not math.isfinite(value):
        raise OutOfRange(f"{value!r} cannot be set", advice="give a finite number")
    return f"{value:.10g}"


def parse_number(text: str) -> float:
    """Return NR1, NR2 or NR3 as a float; raises ProtocolError for text, and for markers, which are no settings."""
    try:
        value = _float(text)
    except ValueError:
        raise _reject(text, "a number") from None
    if not abs(value) < MARKER:
        raise _reject(text, "a finite number")
    return value


def parse_integer(text: str) -> int:
    """Return NR1, or a register written #H, #Q or #B, as an int; raises ProtocolError."""
    if text.isdecimal() and text.isascii():
        return int(text)
    stripped = text.strip().upper()
    for prefix, base in (("#H", 16), ("#Q", 8), ("#B", 2)):
        if stripped.startswith(prefix):
            try:
                return int(stripped[2:].replace("_", "?"), base)
            except ValueError:
                raise _reject(text, "a register") from None
    value = parse_number(stripped)
    if value != int(value):
        raise _reject(text, "a whole number")
    return int(value)


def _parse_boolean(text: str) -> bool:
    word = text.strip().upper()
    if word in ("1", "ON"):
        return True
    if word in ("0", "OFF"):
        return False
    raise _reject(text, "a boolean")


def _parse_string(text: str) -> str:
    stripped = text.strip()
    if len(stripped) >= 2 and stripped[0] == stripped[-1] and stripped[0] in "\"'":
        quote = stripped[0]
        return stripped[1:-1].replace(quote * 2, quote)
    raise _reject(text, "a quoted string")


NUMBER = Codec("number", number_text, parse_number)
INTEGER = Codec("integer", str, parse_integer)
BOOLEAN = Codec("boolean", lambda on: "ON" if on else "OFF", _parse_boolean)
STRING = Codec("string", lambda text: '"' + text.replace('"', '""') + '"', _parse_string)


def choice(words: Mapping[T, str]) -> Codec[T]:
    """Return the codec of a closed list: value → word as the manual prints it, capitals being the short form.

    A reply may be any length from the short form to the whole word.
    """

    def encode(value: T) -> str:
        if value not in words:
            raise OutOfRange(f"{value!r} is not among {', '.join(repr(known) for known in words)}")
        return words[value].upper()

    def decode(text: str) -> T:
        given = text.strip().upper()
        for value, word in words.items():
            short = "".join(letter for letter in word if not letter.islower())
            if given.startswith(short) and word.upper().startswith(given):
                return value
        raise _reject(text, f"one of {', '.join(words.values())}")

    return Codec("choice", encode, decode)


def measured(text: str) -> tuple[float | None, Status]:
    """Return a measured value and its status: markers for over-range and no data have no value.

    INF, ±9.9E37 → OVER_RANGE; NAN, 9.91E37 → NO_DATA. Raises ProtocolError for anything else that is no number.
    """
    try:
        value = _float(text)
    except ValueError:
        raise _reject(text, "a measured value") from None
    if abs(value) < MARKER:
        return value, Status.VALID
    if value != value or (value >= _NO_DATA and value != math.inf):
        return None, Status.NO_DATA
    return None, Status.OVER_RANGE


def block(reply: bytes) -> bytes:
    """Return the payload of an IEEE 488.2 block by its stated length; a block may hold terminators.

    Definite: `#`, one digit n, n digits of length, the bytes. Indefinite: `#0`, the bytes, NL.
    Raises ProtocolError for a truncated block or one with more than a terminator behind it.
    """
    if len(reply) < 2 or reply[:1] != b"#" or not reply[1:2].isdigit():
        raise ProtocolError(f"{reply[:20]!r} is not a block")
    digits = int(reply[1:2])
    if digits == 0:
        if not reply.endswith(b"\n"):
            raise ProtocolError("an indefinite block must end with a terminator")
        return reply[2:-1]
    length = reply[2 : 2 + digits]
    if len(length) != digits or not length.isdigit():
        raise ProtocolError(f"{reply[:20]!r} has no valid block length")
    begin = 2 + digits
    payload = reply[begin : begin + int(length)]
    rest = reply[begin + int(length) :]
    if len(payload) != int(length) or rest.strip(b"\r\n"):
        raise ProtocolError(
            f"a block of {int(length)} bytes was announced, {len(reply) - begin - len(rest.strip())} came"
        )
    return payload
