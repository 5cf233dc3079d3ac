"""What took processor time away while a measurement ran: other guests, a quota, other programs.

Sources: proc(5) for /proc/stat (jiffies, eighth value = steal), cgroup-v2.rst and sched-bwc.rst for
cpu.stat. What the system does not count is None, never 0.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .cores import ROOT, read_text

_STEAL = 8


@dataclass(frozen=True, slots=True)
class HostCounters:
    """Counters at one moment: seconds stolen from the processors by other guests, times throttled by a quota."""

    stolen_s: float | None
    throttled: int | None


def count(processors: tuple[int, ...], *, quota_file: str = "", root: Path = ROOT) -> HostCounters:
    """Read the counters that concern `processors`, and the control group that sets the quota."""
    return HostCounters(_stolen(processors, root), _throttled(quota_file, root))


def difference(before: HostCounters, after: HostCounters) -> HostCounters:
    """Return what happened between two readings."""
    stolen, throttled = None, None
    if before.stolen_s is not None and after.stolen_s is not None:
        stolen = max(0.0, after.stolen_s - before.stolen_s)
    if before.throttled is not None and after.throttled is not None:
        throttled = after.throttled - before.throttled
    return HostCounters(stolen, throttled)


def _stolen(processors: tuple[int, ...], root: Path) -> float | None:
    wanted = {f"cpu{number}" for number in processors}
    rows = [line.split() for line in read_text(root / "proc/stat").splitlines()]
    jiffies = [int(row[_STEAL]) for row in rows if row and row[0] in wanted and len(row) > _STEAL]
    if not jiffies or not hasattr(os, "sysconf"):
        return None
    return sum(jiffies) / os.sysconf("SC_CLK_TCK")


def _throttled(quota_file: str, root: Path) -> int | None:
    if not quota_file:
        return None
    told = read_text((root / quota_file.lstrip("/")).with_name("cpu.stat"))
    rows = dict(line.split(maxsplit=1) for line in told.splitlines() if " " in line)
    return int(rows["nr_throttled"]) if "nr_throttled" in rows else None
