"""What other programs do on this host while a load runs: they draw power too, most of all when it should be idle.

Source: proc(5) for /proc/stat: jiffies of each processor as user, nice, system, idle, iowait, irq, softirq, steal. Time
that other guests stole is not this host's work. What this process itself uses, its load included, is not theirs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_PROC_STAT = Path("/proc/stat")
_WORKING = (1, 2, 3, 6, 7)
"""Columns of user, nice, system, irq and softirq; guests are counted among user."""


class Bystanders:
    """Follows what share of all processors of this host went to other programs than this one.

    stat: the file that the system counts in.
    """

    def __init__(self, stat: Path = _PROC_STAT) -> None:
        self._stat = stat
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
        """Seconds that all processors worked, that this process used, and of the clock; number of processors."""
        try:
            rows = [line.split() for line in self._stat.read_text(encoding="ascii").splitlines()]
        except OSError:
            return None
        counted = [row for row in rows if row and row[0].startswith("cpu") and row[0] != "cpu"]
        if not counted or len(counted[0]) <= max(_WORKING) or not hasattr(os, "sysconf"):
            return None
        busy = sum(int(row[column]) for row in counted for column in _WORKING) / os.sysconf("SC_CLK_TCK")
        return (busy, time.process_time(), time.monotonic(), len(counted)) if busy else None
