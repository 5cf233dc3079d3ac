"""Data of program messages: numbers with units and multipliers, words, strings, blocks (IEEE 488.2 clause 7.7, SCPI 7).

Each function takes the data elements of a command as its handler got them, wants exactly one unless it says otherwise,
and raises CommandError with the number that the standard wants.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

MISSING, NOT_ALLOWED, TYPE = 109, 108, 104
BAD_NUMBER, BAD_CHARACTER, EXPONENT_TOO_LARGE, TOO_MANY_DIGITS = 120, 121, 123, 124
BAD_SUFFIX, NO_SUFFIX, BAD_STRING, BAD_BLOCK, BAD_EXPRESSION = 131, 138, 151, 161, 171
OUT_OF_RANGE, ILLEGAL = 222, 224

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(?:[ \t]*[eE][ \t]*([+-]?\d+))?")
_RADIX = {"#H": 16, "#Q": 8, "#B": 2}
MULTIPLIERS = {
    "EX": 1e18, "PE": 1e15, "T": 1e12, "G": 1e9, "MA": 1e6, "K": 1e3, "": 1.0, "M": 1e-3, "U": 1e-6, "N": 1e-9,
    "P": 1e-12, "F": 1e-15, "A": 1e-18,
}  # fmt: skip
"""Suffix multipliers of IEEE 488.2 table 7-2. With HZ and OHM, M is mega."""


class CommandError(Exception):
    """A command that fails: error number as a magnitude; own: the maker's own number, whose sign is kept."""

    def __init__(self, number: int, *, own: bool = False) -> None:
        super().__init__(number)
        self.number = number
        self.own = own


def one(data: Sequence[bytes]) -> str:
    """Return the one element as text; other bytes than ASCII become "?"."""
    if not data:
        raise CommandError(MISSING)
    if len(data) > 1:
        raise CommandError(NOT_ALLOWED)
    return data[0].decode("ascii", "replace").replace("\ufffd", "?")


def number(
    data: Sequence[bytes],
    unit: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    default: float | None = None,
) -> float:
    """Return a number (NRf, or #H, #Q, #B) with an optional multiplier and unit; "20 MA" with unit "A" is 20 mA.

    minimum, maximum: what MIN and MAX stand for, and the limits. default: what DEF stands for.
    """
    text = one(data).upper()
    words = {"MIN": minimum, "MINIMUM": minimum, "MAX": maximum, "MAXIMUM": maximum, "DEF": default, "DEFAULT": default}
    if words.get(text) is not None:
        return float(words[text] or 0.0)
    value = _literal(text, unit)
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        raise CommandError(OUT_OF_RANGE)
    return value


def integer(data: Sequence[bytes]) -> int:
    """Return the nearest integer of a number without unit."""
    return math.floor(_literal(one(data).upper(), "") + 0.5)


def boolean(data: Sequence[bytes]) -> bool:
    """Return ON, OFF, or a number that is not 0 when rounded."""
    text = one(data).upper()
    if text in ("ON", "OFF"):
        return text == "ON"
    if text[:1].isalpha():
        raise CommandError(ILLEGAL)
    return integer(data) != 0


def word(data: Sequence[bytes], words: Sequence[str], *, between: bool = False) -> str:
    """Return which of `words` ("NORMal") was given, in capitals. between: lengths between short and long form too."""
    text = one(data).upper()
    for candidate in words:
        short, full = "".join(c for c in candidate if not c.islower()), candidate.upper()
        if text in (short, full) or (between and text.startswith(short) and full.startswith(text)):
            return full
    raise CommandError(ILLEGAL if re.fullmatch(r"[A-Z][A-Z0-9_]*", text) else TYPE)


def string(data: Sequence[bytes]) -> str:
    """Return the text of a string in either kind of quotes; doubled quotes inside stand for one."""
    text = one(data)
    quote = text[:1]
    if quote not in ("'", '"'):
        raise CommandError(TYPE)
    inside = text[1:-1]
    if len(text) < 2 or text[-1] != quote or quote in inside.replace(2 * quote, ""):
        raise CommandError(BAD_STRING)
    return inside.replace(2 * quote, quote)


def block(data: Sequence[bytes]) -> bytes:
    """Return the bytes of a definite or indefinite block."""
    one(data)
    raw = data[0]
    if raw[:1] != b"#":
        raise CommandError(TYPE)
    if raw[1:2] == b"0":
        return raw[2:]
    digits = int(raw[1:2]) if raw[1:2].isdigit() else 0
    count = raw[2 : 2 + digits]
    if not digits or not count.isdigit() or len(raw) != 2 + digits + int(count):
        raise CommandError(BAD_BLOCK)
    return raw[2 + digits :]


def channels(data: Sequence[bytes]) -> list[int]:
    """Return the numbers of a channel list `(@1,3:5)`."""
    match = re.fullmatch(r"\(\s*@([\d\s,:]*)\)", one(data))
    if match is None:
        raise CommandError(TYPE)
    found: list[int] = []
    for part in filter(str.strip, match.group(1).split(",")):
        ends = [int(end) for end in part.split(":") if end.strip().isdigit() and len(end.strip()) < 6]
        if len(ends) not in (1, 2) or len(ends) != part.count(":") + 1:
            raise CommandError(BAD_EXPRESSION)
        low, high = ends[0], ends[-1]
        if abs(high - low) > 9999:
            raise CommandError(OUT_OF_RANGE)
        found.extend(range(low, high + 1) if low <= high else range(low, high - 1, -1))
    return found


def definite_block(payload: bytes) -> bytes:
    """Return `payload` as a definite block: "#", number of digits, count, bytes."""
    count = b"%d" % len(payload)
    return b"#%d%s%s" % (len(count), count, payload)


def _literal(text: str, unit: str) -> float:
    radix = _RADIX.get(text[:2])
    if radix is not None:
        if not text[2:].isalnum() or len(text) > 130:
            raise CommandError(BAD_NUMBER)
        try:
            return float(int(text[2:], radix))
        except ValueError:
            raise CommandError(BAD_NUMBER) from None
    match = _NUMBER.match(text)
    if match is None:
        raise CommandError(TYPE if not text[:1] or text[0] not in "+-.0123456789" else BAD_CHARACTER)
    if len(match.group(1)) > 255:
        raise CommandError(TOO_MANY_DIGITS)
    if match.group(2) and (len(match.group(2)) > 6 or abs(int(match.group(2))) > 32000):
        raise CommandError(EXPONENT_TOO_LARGE)
    value = float(match.group().replace(" ", "").replace("\t", ""))
    if not math.isfinite(value):
        raise CommandError(OUT_OF_RANGE)
    suffix = text[match.end() :].strip()
    if not suffix:
        return value
    if not suffix[0].isalpha():
        raise CommandError(BAD_CHARACTER)
    if not unit:
        raise CommandError(NO_SUFFIX)
    return value * _factor(suffix, unit.upper())


def _factor(suffix: str, unit: str) -> float:
    """Return what a multiplier and unit multiply with."""
    stems: Mapping[str, float] = {**MULTIPLIERS, "M": 1e6} if unit in ("HZ", "OHM") else MULTIPLIERS
    if not suffix.endswith(unit) or suffix[: -len(unit)] not in stems:
        raise CommandError(BAD_SUFFIX)
    return stems[suffix[: -len(unit)]]
