"""The file that a job's output goes to, and what happens to lines on their way.

Faults, at each line: "half_line" (only half of it comes, the rest with the next), "interleaved" (another rank's line
stands in the middle of it), "repeated" (every rank prints it), "garble" (it is no text), "buffered" (`amount` lines
come at once, 8 where it is 1). At each line too, before it: "rotated" (the file gets the name NAME.1 and a new one
begins), "truncated" (its content is copied to NAME.1 and it begins anew under the same inode). At each step: "skipped"
(its update is not applied), "nan" (its loss is not finite), "stall" (it takes `amount` s longer), "restart" (after it
the job is down for `amount` s and goes on from the last checkpoint), "clock_step" (the host's wall clock is stepped by
`amount` real s), "gain" (times and rates are logged wrongly by that factor from then on), "dies" (no line comes any
more). Where no unit is told it is world s. Logs of torchtitan, nanoGPT and the Trainer do not tell that a step was
skipped: only the truth knows.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_NO_NEWLINE = "\r"
"""Ends a text that stays on its line."""
_DEFAULT_TOGETHER = 8


class LogFile:
    """Appends lines to a file. head: what every new file begins with; ranks: of the job."""

    def __init__(self, path: Path, head: str, ranks: int, strikes: Callable[[str], Any]) -> None:
        self.path, self._head, self._ranks, self._strikes = path, head, ranks, strikes
        self._rest = b""
        self._held: list[bytes] = []
        self._together = 1
        self.lines = 0
        self.written_ns = time.monotonic_ns()
        self._file = path.open("ab", buffering=0)
        self._write(f"{head}\n".encode())

    def write(self, lines: Iterable[str]) -> None:
        """Write the lines of one event."""
        for line in lines:
            if self._strikes("rotated") is not None:
                self._rotate()
            if self._strikes("truncated") is not None:
                self._truncate()
            buffered = self._strikes("buffered")
            if buffered is not None:
                self._together = int(buffered.amount) if buffered.amount != 1 else _DEFAULT_TOGETHER
            self._held.append(self._harmed(line))
            self.lines += 1
            if len(self._held) >= self._together:
                self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        self._write(b"".join(self._held))
        self._held.clear()

    def close(self) -> None:
        """Close the file; what is half written stays so."""
        self._file.close()

    def _harmed(self, line: str) -> bytes:
        whole = line.removesuffix(_NO_NEWLINE).encode() if line.endswith(_NO_NEWLINE) else f"{line}\n".encode()
        rest, self._rest = self._rest, b""
        if self._strikes("garble") is not None:
            whole = bytes(byte ^ 0x80 if byte > 32 else byte for byte in whole)
        if self._strikes("repeated") is not None:
            whole *= self._ranks
        if self._strikes("interleaved") is not None:
            cut = len(whole) // 2
            whole = whole[:cut] + b"[rank1] NCCL INFO comm 0x7f00 rank 1 done\n" + whole[cut:]
        if self._strikes("half_line") is not None:
            whole, self._rest = whole[: len(whole) // 2], whole[len(whole) // 2 :]
        return rest + whole

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) or 0 :]
        self.written_ns = time.monotonic_ns()

    def _aside(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def _rotate(self) -> None:
        self.flush()
        self._file.close()
        os.replace(self.path, self._aside())
        self._file = self.path.open("ab", buffering=0)
        self._write(f"{self._head}\n".encode())

    def _truncate(self) -> None:
        self.flush()
        shutil.copyfile(self.path, self._aside())
        self._file.truncate(0)
        self._write(f"{self._head}\n".encode())
