"""What lies under a path: its file system, its block device, and what the kernel counts of the traffic to it.

Source: proc_pid_mountinfo(5); Documentation/block/stat.rst and Documentation/ABI/stable/sysfs-block of Linux
(sectors in `stat` are always of 512 bytes); getrusage(2) for `ru_inblock` and `ru_oublock`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aicalib_hw.errors import ConnectionFailed, NotPermitted, NotSupported, OutOfRange

from ._left_behind import Claim

SECTOR = 512
"""Bytes of a sector in the kernel's counters, whatever the device's own sectors are."""

IN_MEMORY = ("tmpfs", "ramfs", "rootfs", "devtmpfs", "hugetlbfs")
"""Types of file systems that have no device: some take O_DIRECT, and deliver the rate of memory."""

_MEMORY_DEVICES = ("ram", "zram")
_MOUNTS = Path("/proc/self/mountinfo")
_BY_NUMBER = Path("/sys/dev/block")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo: major:minor of the file system, where it is, its type, what was mounted, and its options."""

    number: str
    point: str
    file_system: str
    source: str
    options: str


@dataclass(frozen=True, slots=True)
class Count:
    """Bytes read and written up to a moment."""

    read: int
    written: int

    def since(self, earlier: Count) -> Count:
        """Return what was added after `earlier`."""
        return Count(self.read - earlier.read, self.written - earlier.written)


@dataclass(frozen=True, slots=True)
class Target:
    """Where is measured: the path, type and options of its file system, the block device under it ("" if none).

    counters: the directory of the device, for a partition of its whole disk, whose `stat` counts; None = there is none.
    named: whether it was named, and not found by the path. facts: what the kernel tells of the device (model,
    scheduler, write cache, logical block size). node: the directory of the block device that the path itself is, a
    partition's own; None = the path is a file or a directory.
    """

    path: Path
    file_system: str
    options: str
    device: str
    counters: Path | None
    facts: Mapping[str, str]
    named: bool = False
    node: Path | None = None

    @property
    def alignment(self) -> int:
        """Bytes of which every transfer must be a multiple."""
        return int(self.facts.get("logical_block_size", SECTOR))

    @property
    def size(self) -> int:
        """Bytes that an existing file or block device holds."""
        if self.node is not None:
            return int((self.node / "size").read_text()) * SECTOR
        return self.path.stat().st_size

    def count(self) -> Count | None:
        """Return what the block device has read and written so far, in bytes; None where there is none (any more)."""
        if self.counters is None:
            return None
        try:
            fields = (self.counters / "stat").read_text().split()
        except OSError:
            return None
        return Count(int(fields[2]) * SECTOR, int(fields[6]) * SECTOR)


def counted_for_children() -> Count:
    """Return what the kernel has counted, as transfers to and from storage, for the programs that have ended here."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Count(used.ru_inblock * SECTOR, used.ru_oublock * SECTOR)


def target_at(path: Path, *, loop: bool, device: Path | None = None) -> Target:
    """Look at what lies under `path`; loop: whether a loop device may be measured. device: named, not to be found.

    Raises ConnectionFailed where nothing lies there, NotPermitted, NotSupported for what is no storage.
    """
    try:
        number = os.stat(path)
    except PermissionError as error:
        raise NotPermitted(f"{path} may not be looked at", where=str(path), why=str(error)) from error
    except OSError as error:
        raise ConnectionFailed(
            f"there is nothing at {path}", where=str(path), why=str(error), advice="make the directory, or name another"
        ) from error
    kind = stat.S_IFMT(number.st_mode)
    if kind not in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFBLK):
        raise NotSupported(
            f"{path} is no storage",
            where=str(path),
            why="it is neither a directory, nor a file, nor a block device",
            advice="name one of these",
        )
    # A block device lies in /dev, whose own file system is in memory and has nothing to do with it.
    raw = kind == stat.S_IFBLK
    file_system, options = ("", "") if raw else _mount_of(path.resolve())
    _require_storage(path, file_system, options)
    major, minor = (part(number.st_rdev if raw else number.st_dev) for part in (os.major, os.minor))
    directory = _BY_NUMBER / f"{major}:{minor}"
    node = directory.resolve() if raw else None
    for one in (directory, device):  # named counters make no storage of what lies under the path
        if one is not None and one.exists():
            _require_device(path, whole(one.resolve()).name, loop)
    if device is not None:
        if not (device / "stat").is_file():
            raise ConnectionFailed(
                f"{device} has no counters",
                where=str(device / "stat"),
                why="no such file",
                advice="name a directory as /sys/block has one for each block device",
            )
        return Target(path, file_system, options, device.name, device, _facts_of(device), True, node)
    if not directory.exists():
        if raw:
            raise ConnectionFailed(
                f"the kernel has no block device behind {path}",
                where=str(path),
                why=f"there is no {directory}",
                advice="name the node of a device that is there: lsblk lists them",
            )
        return Target(path, file_system, options, "", None, {})
    device = whole(directory.resolve())
    return Target(path, file_system, options, device.name, device, _facts_of(device), node=node)


def whole(device: Path) -> Path:
    """Return the directory of the disk that a partition lies on, that of the device itself where it is no partition.

    What others do on another partition takes from the same disk, and only the counters of the disk have it.
    """
    return device.parent if (device / "partition").exists() else device


def require_direct(path: Path) -> None:
    """Open past the page cache once: what is there to be read, or a file made in a directory.

    Raises NotPermitted; OutOfRange where the disk is full; NotSupported where the file system cannot.
    """
    made_here = path.is_dir()
    try:
        if made_here:
            claim = Claim(path)
            made = path / f"{claim.name}.0"
            try:
                os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o600))
            finally:
                made.unlink(missing_ok=True)
                claim.drop()
        else:
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except PermissionError as error:
        raise NotPermitted(
            f"no file can be made in {path}" if made_here else f"{path} may not be read",
            where=str(path),
            why=str(error),
            advice="name one of your own, or measure as a user who may",
        ) from error
    except OSError as error:
        if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            raise OutOfRange(
                f"no file can be made in {path}",
                where=str(path),
                why=os.strerror(error.errno),
                advice="name a directory with room that may be written; an existing file is read without writing",
            ) from error
        if error.errno != errno.EINVAL:
            raise ConnectionFailed(
                f"{path} cannot be opened", where=str(path), why=str(error), advice="look at the kernel's log: dmesg"
            ) from error
        raise NotSupported(
            f"the file system of {path} does not take O_DIRECT, so that memory would be measured",
            where=str(path),
            why=str(error),
            advice="name a directory on a disk",
        ) from error


def require_space(directory: Path, size: int) -> None:
    """Raise OutOfRange unless `size` bytes, and a twentieth more, are free in `directory`."""
    system = os.statvfs(directory)
    if system.f_files and not system.f_favail:
        raise OutOfRange(
            f"no file can be made in {directory}",
            where=str(directory),
            why="the file system has no free inode left",
            advice="remove files, or name a directory on another disk",
        )
    free = system.f_bavail * system.f_frsize
    if free < size * 21 // 20:
        raise OutOfRange(
            f"{size} bytes do not fit into {directory}",
            where=str(directory),
            why=f"the disk would be full: {free} bytes are free",
            advice="choose a smaller size, or another directory",
        )


def mounts() -> Iterator[Mount]:
    """Yield what is mounted here, in the order in which it was."""
    for line in _MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        kind, source, options = after.split(" ", 2)
        yield Mount(fields[2], _plain(fields[4]), kind, _plain(source), f"{fields[5]},{options}")


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)


def _mount_of(path: Path) -> tuple[str, str]:
    """Type and options of the file system that holds `path`: of the deepest mount, the last one over it."""
    best, found = -1, ("", "")
    for mount in mounts():
        depth = len(Path(mount.point).parts)
        if path.is_relative_to(mount.point) and depth >= best:
            best, found = depth, (mount.file_system, mount.options)
    return found


def _require_storage(path: Path, file_system: str, options: str) -> None:
    kind = file_system
    upper = re.search(r"upperdir=([^,]+)", options) if file_system == "overlay" else None
    if upper is not None and Path(upper[1]).exists():
        kind = _mount_of(Path(upper[1]))[0]
    if kind in IN_MEMORY:
        raise NotSupported(
            f"{path} lies in memory ({kind}), and not on storage",
            where=str(path),
            why="such a file system may take O_DIRECT, and then delivers the rate of memory",
            advice="name a directory on a disk",
        )


def _require_device(path: Path, name: str, loop: bool) -> None:
    if name.startswith(_MEMORY_DEVICES):
        raise NotSupported(f"{path} lies in memory ({name})", where=str(path), advice="name a directory on a disk")
    if name.startswith("loop") and not loop:
        raise NotSupported(
            f"{path} lies on a loop device ({name}), behind which the page cache may stand",
            where=str(path),
            advice="name a directory on a disk, or allow it with loop=yes in the address",
        )


def _facts_of(device: Path) -> dict[str, str]:
    disk = whole(device)
    facts = {}
    for name in (
        "queue/scheduler",
        "queue/write_cache",
        "queue/logical_block_size",
        "queue/rotational",
        "device/model",
    ):
        with contextlib.suppress(OSError):
            facts[name.split("/")[1]] = (disk / name).read_text().strip()
    return facts
