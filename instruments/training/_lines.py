"""Where the lines of a log come from: a file that grows, is cut off or is replaced; or a program's output.

A line counts once its end is there. It bears the time at which it came, unless it was there before anyone looked.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from aicalib_hw.errors import ConnectionFailed, NotPermitted
from aicalib_hw.readings import Instant

_HEAD = 1 << 18
"""Bytes at the beginning of a log in which the job introduces itself."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end, and when it came; None if it stood there before."""

    text: str
    here: Instant | None


class Lines(Protocol):
    """A source of lines. events: what happened to it, in words."""

    events: list[str]

    def resume(self) -> None:
        """Be looked at again after a while in which nobody looked."""

    def poll(self) -> Iterator[Line]:
        """Yield the lines that have come since the last call."""

    def close(self) -> None:
        """Let go of it."""


class FileLines:
    """The lines of a file: those that come from now on, or with `history` those that stand there too.

    Raises ConnectionFailed, NotPermitted at `resume()` if it cannot be read; with `expected` it may come later.
    """

    def __init__(self, path: Path, *, history: bool, expected: bool = False) -> None:
        self.events: list[str] = []
        self._path = path
        self._history = history
        self._expected = expected
        self._live = False
        self._file: IO[bytes] | None = None
        self._rest = b""
        self._broken = False

    def resume(self) -> None:
        """Take what has come meanwhile for what stood there before."""
        self._live = False
        if self._file is None and not self._open():
            # What is not there yet begins before our eyes.
            self._history = self._live = True

    def poll(self) -> Iterator[Line]:
        """Yield the lines that have come since the last call, also over a change of the file."""
        if self._file is None and not self._open():
            return
        yield from self._read()
        if self._replaced():
            yield from self._read()
            self.close()
            self._history = True
            self._expected = True
            if self._open():
                yield from self._read()
        self._live = True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rest = b""

    def _open(self) -> bool:
        try:
            self._file = open(self._path, "rb")  # noqa: SIM115 - closed by close()
        except FileNotFoundError as error:
            if self._expected:
                return False
            raise _absent(self._path, error) from error
        except PermissionError as error:
            raise NotPermitted(f"{self._path} may not be read", where=str(self._path), why=str(error)) from error
        except OSError as error:
            raise _absent(self._path, error) from error
        if not self._history:
            end = self._file.seek(0, os.SEEK_END)
            # What is being written just now began before we looked.
            if end:
                self._file.seek(end - 1)
                self._broken = self._file.read(1) != b"\n"
        return True

    def _read(self) -> Iterator[Line]:
        if self._file is None:
            return
        while block := self._file.read(1 << 16):
            here = Instant.now() if self._live else None
            *whole, self._rest = (self._rest + block).split(b"\n")
            for one in whole:
                if self._broken:
                    self._broken = False
                    continue
                yield Line(one.decode("utf-8", errors="replace"), here)

    def _replaced(self) -> bool:
        """True if the path now leads to another file, or this one was cut off."""
        if self._file is None:
            return False
        mine = os.fstat(self._file.fileno())
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        if (there.st_ino, there.st_dev) != (mine.st_ino, mine.st_dev):
            self.events.append("the log was replaced by a new file")
            return True
        if mine.st_size < self._file.tell():
            self.events.append("the log was cut off; lines may be lost")
            return True
        return False


class OutputLines:
    """The lines of a program's output, each handed over by `put` as it comes."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._queue: queue.SimpleQueue[Line] = queue.SimpleQueue()

    def resume(self) -> None:
        """Nothing changes: each line bears its own time."""

    def put(self, text: str) -> None:
        """Take a line that has come now."""
        self._queue.put(Line(text, Instant.now()))

    def poll(self) -> Iterator[Line]:
        """Yield the lines that have come since the last call."""
        with suppress(queue.Empty):
            while True:
                yield self._queue.get_nowait()

    def close(self) -> None:
        """Nothing is held."""


def head_of(path: Path) -> str:
    """Return how a log begins; raises ConnectionFailed, NotPermitted."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD).decode("utf-8", errors="replace")
    except PermissionError as error:
        raise NotPermitted(f"{path} may not be read", where=str(path), why=str(error)) from error
    except OSError as error:
        raise _absent(path, error) from error


def _absent(path: Path, error: OSError) -> ConnectionFailed:
    return ConnectionFailed(
        f"there is no log at {path}", where=str(path), why=str(error), advice="start the job, or name its log"
    )
