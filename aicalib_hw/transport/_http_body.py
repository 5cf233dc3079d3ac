"""The body of a reply over HTTP, read up to a size; a module of its own, as httpx is imported late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from aicalib_hw.errors import ProtocolError


class Bounded(httpx.SyncByteStream):
    """What `stream` brings, and ProtocolError once that is more than `largest` bytes. where: for the message."""

    def __init__(self, stream: Any, largest: int, where: str) -> None:
        self._stream = stream
        self._largest = largest
        self._where = where

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        for piece in self._stream:
            count += len(piece)
            if count > self._largest:
                raise ProtocolError(f"a reply of more than {self._largest} bytes is none", where=self._where)
            yield piece

    def close(self) -> None:
        self._stream.close()
