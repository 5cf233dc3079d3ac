"""Which cores there are to measure: affinity mask, hyper-threads, unlike classes of cores, CPU quota.

Sources: Linux kernel documentation, Documentation/ABI/stable/sysfs-devices-system-cpu (topology,
cpu_capacity), Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst
(cpu.cfs_quota_us). Where the system does not tell, every processor counts as a core of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
_CPUS = Path("sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class CoreOfHost:
    """One physical core. processor: the logical processor to compute on; siblings: all that share the core.

    kind: "" where all cores are alike, else what tells this class from the others.
    """

    processor: int
    siblings: tuple[int, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit that the control group sets on processor time: `processors` worth of it, from file `source`."""

    processors: float
    source: str


def allowed_processors() -> tuple[int, ...]:
    """Return the logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def can_pin() -> bool:
    """True where a thread can be bound to a processor."""
    return hasattr(os, "sched_setaffinity")


def find_cores(processors: tuple[int, ...], *, root: Path = ROOT) -> tuple[CoreOfHost, ...]:
    """Return the physical cores behind `processors`, one entry for each, in the order of their first processor."""
    kinds = _kinds(processors, root)
    cores, seen = [], set[int]()
    for processor in processors:
        if processor in seen:
            continue
        siblings = _siblings(processor, root)
        seen.update(siblings)
        cores.append(CoreOfHost(processor, siblings, kinds.get(processor, "")))
    return tuple(cores)


def find_quota(*, root: Path = ROOT) -> Quota | None:
    """Return the tightest limit on processor time that a control group of this process sets, None if none does."""
    found = [*_quotas_v2(root), *_quotas_v1(root)]
    return min(found, key=lambda quota: quota.processors, default=None)


def parse_list(text: str) -> tuple[int, ...]:
    """Return the numbers of a kernel list: "0-2,7" → (0, 1, 2, 7)."""
    numbers: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


def read_text(path: Path) -> str:
    """Return what a file of the system says, "" if it is not there or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _siblings(processor: int, root: Path) -> tuple[int, ...]:
    topology = root / _CPUS / f"cpu{processor}" / "topology"
    listed = read_text(topology / "core_cpus_list") or read_text(topology / "thread_siblings_list")
    return parse_list(listed) if listed else (processor,)


def _kinds(processors: tuple[int, ...], root: Path) -> dict[int, str]:
    """What tells the classes of unlike cores apart; empty where all are alike."""
    for kinds in (_intel_kinds(processors, root), _kinds_by_number(processors, root)):
        if len(set(kinds.values())) > 1:
            return kinds
    return {}


def _intel_kinds(processors: tuple[int, ...], root: Path) -> dict[int, str]:
    kinds = dict.fromkeys(processors, "")
    for name in ("cpu_core", "cpu_atom", "cpu_lowpower"):
        for processor in parse_list(read_text(root / "sys/devices" / name / "cpus")):
            if processor in kinds:
                kinds[processor] = name.removeprefix("cpu_")
    return kinds


def _kinds_by_number(processors: tuple[int, ...], root: Path) -> dict[int, str]:
    kinds = {}
    for processor in processors:
        capacity = read_text(root / _CPUS / f"cpu{processor}" / "cpu_capacity")
        kinds[processor] = f"capacity {capacity}" if capacity else ""
    return kinds


def _own_groups(root: Path) -> dict[str, str]:
    """Controllers of this process's control groups and their paths; "" is the unified hierarchy."""
    groups = {}
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def _up_from(mount: Path, path: str) -> list[Path]:
    """The folders of a control group and of all above it; the mount itself where a container hides the path."""
    folder = mount / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent == mount or mount in parent.parents)]


def _quotas_v2(root: Path) -> list[Quota]:
    path, found = _own_groups(root).get(""), []
    if path is None:
        return []
    for mount in (root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"):
        for folder in _up_from(mount, path):
            words = read_text(folder / "cpu.max").split()
            if len(words) == 2 and words[0] != "max":
                found.append(Quota(int(words[0]) / int(words[1]), f"/{(folder / 'cpu.max').relative_to(root)}"))
    return found


def _quotas_v1(root: Path) -> list[Quota]:
    path, found = _own_groups(root).get("cpu"), []
    if path is None:
        return []
    for mount in (root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup/cpu,cpuacct"):
        for folder in _up_from(mount, path):
            quota, period = read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")
            if quota and period and int(quota) > 0:
                file = f"/{(folder / 'cpu.cfs_quota_us').relative_to(root)}"
                found.append(Quota(int(quota) / int(period), file))
    return found
