"""One way to write data down, so that equal data has equal bytes and an equal digest.

Canonical JSON: keys sorted, no spaces, UTF-8, no NaN; integers as `to_plain` writes them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from aicalib_hw._plain import from_plain, to_plain
from aicalib_hw.errors import RecordError
from aicalib_hw.readings import Instant


@dataclass(frozen=True, slots=True)
class _Anything:
    value: Any


def canonical_json(data: Any) -> str:
    """Return plain JSON data as canonical text."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: object) -> str:
    """Return any plain value as canonical text from which `decode` makes an equal value; raises RecordError."""
    return canonical_json(plain(_Anything(value))["value"])


def decode(text: str) -> Any:
    """Return what `encode` was given, tuples as lists."""
    return from_plain(_Anything, {"value": json.loads(text)}).value


def plain(value: object) -> Any:
    """Return a data class as JSON data; raises RecordError for what has no place in a record, such as NaN."""
    try:
        return to_plain(value)
    except TypeError as error:
        raise RecordError(
            "something was to be recorded that has no place in a record",
            why=str(error),
            advice="record finite numbers, text, booleans, mappings, sequences and the data classes of this package",
        ) from error


def digest(content: str | bytes) -> str:
    """Return the SHA-256 of text (as UTF-8) or bytes, in hexadecimal."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def iso_utc(utc_ns: int) -> str:
    """Return ns since 1970 as ISO 8601 in UTC, to the microsecond: 2026-03-31T08:15:02.123456Z."""
    return Instant(utc_ns, 0).utc
