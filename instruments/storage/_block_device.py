"""A raw block device, or a file, that is to be overwritten: who uses it, and how a device is held meanwhile.

Source: open(2) (O_EXCL on a block device fails while the kernel uses it: mounted, swap, part of a volume, and while
another holds it so), proc_pid_mountinfo(5), /proc/swaps, Documentation/ABI/testing/sysfs-block (`holders`, `ro`,
`loop/backing_file`). A program that has opened a device without O_EXCL (a virtual machine, a database) is found by
its open files only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from aicalib_hw.errors import NotPermitted

from ._target import mounts, whole

_SWAPS = Path("/proc/swaps")
_PROCESSES = Path("/proc")
_BLOCK = Path("/sys/class/block")

_SETTLES_WITHIN = 2.0
"""s for which a user is waited for to go away, as udev looks at every device that was written to."""


@contextlib.contextmanager
def held_for_writing(path: Path, node: Path, *, where: str) -> Iterator[None]:
    """Hold the block device at `path` so that nobody can mount or take it, for as long as it is overwritten.

    node: its directory in /sys. Raises NotPermitted where anybody uses it, a part of it or the disk that it is part of.
    """
    if (node / "ro").read_text().strip() != "0":
        raise NotPermitted(f"{path} is read-only", where=where, why=f"{node / 'ro'} says so", advice="only read it")
    until = time.monotonic() + _SETTLES_WITHIN
    while True:
        held, why = _hold(path)
        used = users(node)
        if held is not None and not used:
            break
        if held is not None:
            os.close(held)
        if time.monotonic() > until:
            raise NotPermitted(
                f"{path} is in use, and would be overwritten",
                where=where,
                why="; ".join(used) or why,
                advice="name a device that nobody uses; or only read it",
            )
        time.sleep(0.1)
    try:
        yield
    finally:
        os.close(held)


def _hold(path: Path) -> tuple[int | None, str]:
    try:
        return os.open(path, os.O_RDWR | os.O_EXCL), ""
    except PermissionError as error:
        raise NotPermitted(
            f"{path} may not be written", where=str(path), why=str(error), advice="measure as root, or only read it"
        ) from error
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise NotPermitted(f"{path} cannot be written", where=str(path), why=str(error)) from error
        return None, "the kernel holds it (O_EXCL)"


def users(node: Path) -> tuple[str, ...]:
    """Say who uses a block device, one of its partitions, or the disk that it is a partition of; node: in /sys."""
    nodes = {node, whole(node), *(one.parent for one in node.glob("*/partition"))}
    numbers = {(one / "dev").read_text().strip(): one.name for one in nodes}
    found = [*_mounts(numbers), *_swaps(numbers)]
    for one in sorted(nodes):
        found += [f"{one.name} is part of {holder.name}" for holder in (one / "holders").glob("*")]
    found += _loops(lambda name: _number(name) in numbers)
    # Nothing but names of devices is looked at: a file on a server that is gone would hold this up.
    return (*found, *_openers(lambda name: name.startswith("/dev/") and _number(name) in numbers))


def users_of_file(path: Path) -> tuple[str, ...]:
    """Say which loop devices lie on a file, and which processes have it open, as far as this user may see."""
    name = str(path.resolve())
    return (*_loops(lambda file: file == name), *_openers(lambda file: file == name))


def _mounts(numbers: Iterable[str]) -> Iterator[str]:
    for mount in mounts():
        # A file system of several devices has a number of its own, and names one of them.
        if {mount.number, _number(mount.source)} & set(numbers):
            yield f"it is mounted on {mount.point}"


def _swaps(numbers: Iterable[str]) -> Iterator[str]:
    for line in _SWAPS.read_text().splitlines()[1:]:
        if _number(line.split()[0]) in numbers:
            yield "it is swapped to"


def _loops(is_it: Callable[[str], bool]) -> Iterator[str]:
    """Loop devices that lie on what bears such a name."""
    for backing in _BLOCK.glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if is_it(backing.read_text().strip()):
                yield f"{backing.parents[1].name} lies on it"


def _openers(is_it: Callable[[str], bool]) -> Iterator[str]:
    """Processes that have open what bears such a name, as far as this user may see."""
    for process in _PROCESSES.glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            names = [os.readlink(file) for file in (process / "fd").iterdir()]
            if any(is_it(name) for name in names):
                yield f"{(process / 'comm').read_text().strip()} (process {process.name}) has it open"


def _number(path: str) -> str:
    """Return major:minor of a block device, "" of anything else."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if stat.S_ISBLK(found.st_mode) else ""
