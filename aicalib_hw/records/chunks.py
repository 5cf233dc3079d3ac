"""Series of samples to little-endian blobs and back; no numpy is needed to read them."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from aicalib_hw.readings import Series, Status
from aicalib_hw.records.canonical import digest

SAMPLES_A_CHUNK = 1000

N = TypeVar("N", int, float)

_STATUS_TYPE: Literal["I", "L"] = "I" if array("I").itemsize == 4 else "L"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive samples as blobs, with the SHA-256 of all three."""

    samples: int
    monotonic_ns: bytes
    value: bytes
    status: bytes

    @property
    def sha256(self) -> str:
        """Digest of the three blobs, one after the other."""
        return digest(self.monotonic_ns + self.value + self.status)


def cut(series: Series, size: int = SAMPLES_A_CHUNK) -> Iterator[Chunk]:
    """Yield the samples of `series` in chunks of at most `size`."""
    for begin in range(0, len(series.times), size):
        part = slice(begin, begin + size)
        yield Chunk(
            samples=len(series.times[part]),
            monotonic_ns=_bytes("q", series.times[part]),
            value=_bytes("d", [math.nan if value is None else value for value in series.values[part]]),
            status=_bytes(_STATUS_TYPE, [status.value for status in series.statuses[part]]),
        )


def status_bits() -> dict[str, str]:
    """Return what each bit of a stored status means."""
    return {str(member.value): str(member.name) for member in Status if member.value}


def joined(
    chunks: Sequence[Chunk], bits: Mapping[str, str]
) -> tuple[tuple[int, ...], tuple[float | None, ...], tuple[Status, ...]]:
    """Return times, values and statuses of consecutive chunks; `bits` as `status_bits` gave them when they were cut."""
    meanings = {int(bit): Status[name] for bit, name in bits.items()}
    times = _read(array("q"), [chunk.monotonic_ns for chunk in chunks])
    values = _read(array("d"), [chunk.value for chunk in chunks])
    statuses = _read(array(_STATUS_TYPE), [chunk.status for chunk in chunks])
    return (
        tuple(times),
        tuple(None if math.isnan(value) else value for value in values),
        tuple(_status(status, meanings) for status in statuses),
    )


def _status(stored: int, meanings: Mapping[int, Status]) -> Status:
    status = Status.VALID
    for bit, meaning in meanings.items() if stored else ():
        if stored & bit:
            status |= meaning
    return status


def _bytes(code: str, numbers: Sequence[int] | Sequence[float]) -> bytes:
    packed = array(code, numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _read(numbers: array[N], blobs: Sequence[bytes]) -> array[N]:
    for blob in blobs:
        numbers.frombytes(blob)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
