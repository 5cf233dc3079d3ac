"""What other programs do on this host while something of ours runs: they draw power, and take time from it.

Source: proc(5) for /proc/stat: jiffies of each processor as user, nice, system, idle, iowait, irq, softirq, steal; and
for /proc/PID/stat. Time that other guests stole is not this host's work. What this process and the programs that it
started use is not theirs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_PROC = Path("/proc")
_JIFFIES_A_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PROC_STAT = _PROC / "stat"
_WORKING = (1, 2, 3, 6, 7)
"""Columns of user, nice, system, irq and softirq; guests are counted among user."""

_PROGRAMS = (1, 2, 3)
"""The same without interrupts, which are served for our own traffic too and are nobody's in particular."""

_PARENT, _TIMES = 1, slice(11, 15)
"""Of /proc/PID/stat, from the state that follows the name on: parent; utime, stime, cutime, cstime in jiffies."""

_REMARKED = 0.1
"""Share of this host's processors that others may hold without a remark on a rate that programs of ours reach here."""

_REMARK = (
    f"busy host: other programs held more than {_REMARKED:.0%} of this host's processors meanwhile, and the rate may "
    "be lower for it: end them, and repeat"
)


def remarks(held: float | None) -> tuple[str, ...]:
    """Return the remark on a rate during which others held this share of the processors, 0…1; None = not counted."""
    return (_REMARK,) if held is not None and held > _REMARKED else ()


class Bystanders:
    """Follows what share of all processors of this host went to other programs than this one and those it started.

    stat: the file that the system counts in. interrupts: whether the time in which interrupts are served is theirs.
    """

    def __init__(self, stat: Path = _PROC_STAT, *, interrupts: bool = True) -> None:
        self._stat = stat
        self._columns = _WORKING if interrupts else _PROGRAMS
        self._mark = self._look()

    def share(self) -> float | None:
        """Return their share, 0…1, since the last call or the start; None where the system does not count it.

        The system counts in hundredths of a second: over half a second of one processor the share is good to 0.02.
        """
        before, self._mark = self._mark, self._look()
        if before is None or self._mark is None:
            return None
        busy, own, passed, processors = (now - then for now, then in zip(self._mark, before, strict=True))
        available = passed * self._mark[3]
        if processors or available <= 0:
            return None  # a processor was switched on or off, or no time has passed
        return min(1.0, max(0.0, (busy - own) / available))

    def _look(self) -> tuple[float, float, float, int] | None:
        """Seconds that all processors worked, that we used, and of the clock; number of processors."""
        try:
            rows = [line.split() for line in self._stat.read_text(encoding="ascii").splitlines()]
        except OSError:
            return None
        counted = [row for row in rows if row and row[0].startswith("cpu") and row[0] != "cpu"]
        if not counted or len(counted[0]) <= max(_WORKING):
            return None
        busy = sum(int(row[column]) for row in counted for column in self._columns) / _JIFFIES_A_SECOND
        return (busy, time.process_time() + _of_programs(), time.monotonic(), len(counted)) if busy else None


def _of_programs() -> float:
    """Seconds of the processor that programs started here have used: those that ended, and those that still run."""
    ended = os.times()
    return ended.children_user + ended.children_system + _of_the_running()


def _of_the_running() -> float:
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if not entry.name.isdigit():
            continue
        try:
            # The name stands in brackets and may hold anything: what follows the last one can be relied on.
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[_PARENT])
            used[int(entry.name)] = sum(int(jiffies) for jiffies in fields[_TIMES]) / _JIFFIES_A_SECOND
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
    ours = {os.getpid()}
    while found := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= found
    return sum(used.get(program, 0.0) for program in ours - {os.getpid()})
