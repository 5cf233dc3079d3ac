"""The files that fio lays out in its target directory, and what the kernel would say of them.

They are real: a reader finds them with their size, and filled, so that what is allocated tells the same story as on a
disk that was written. Only that the bytes pass through the simulated disk is simulated. What holds for real files holds
here: one that is sparse or lies in memory is read without the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .fio_job import Job
from .fio_values import size_of

_FILL = 1 << 20
_MEMORY_BACKED = frozenset(("tmpfs", "ramfs", "devtmpfs"))
_ALLOCATED = 0.95
"""Least part of a file that is allocated when it counts as written: a file system may pack the tail."""


class Trouble(Exception):
    """What fio cannot do with a file. number: an errno; said: on standard error; told: in its output, with a pid."""

    def __init__(self, number: int, said: str, told: str) -> None:
        super().__init__(number, said, told)
        self.number, self.said, self.told = number, said, told


@dataclass(frozen=True)
class Target:
    """The files of one job. size: bytes of all; in_memory: on a file system without a disk; holes: not allocated."""

    paths: tuple[Path, ...]
    size: int
    in_memory: bool
    holes: bool
    laid_out: bool


def lay_out(job: Job, index: int, directory: Path, *, filled: bool, room: int | None, refuses_direct: bool) -> Target:
    """Make the files of job `index` of its section; raises Trouble as fio's.

    filled: whether they get bytes of their own (else they are sparse). room: bytes that are left on the simulated
    disk, None = as many as the file system has; more is ENOSPC. refuses_direct: the file system knows no O_DIRECT.
    """
    paths = _paths(job, index, directory)
    shown = [os.path.relpath(path, directory) for path in paths]
    size = _size(job, paths)
    if not size:
        what = "file:filesetup.c:1155, func=total_file_size, error=Invalid argument"
        raise Trouble(errno.EINVAL, f"{job.name}: you need to specify size=\n", what)
    each = size // len(paths)
    if refuses_direct and job.direct:
        raise Trouble(
            errno.EINVAL,
            "fio: looks like your file system does not support direct=1/buffered=0\n"
            "fio: destination does not support O_DIRECT\n",
            f"file:filesetup.c:805, func=open({shown[0]}), error=Invalid argument",
        )
    reading = job.reads > 0
    laid_out = False
    for path, name in zip(paths, shown, strict=True):
        present = path.stat().st_size if path.exists() else 0
        if present >= each:
            _open(path, name, reading=job.reads == 1)
            continue
        if room is not None:
            if reading and each - present > room:
                raise _no_space(os.strerror(errno.ENOSPC))
            room -= each - present
        laid_out |= reading
        _fill(path, present, each if room is None or room >= 0 else max(present, each + room), filled, reading, name)
    memory = all(_file_system(path) in _MEMORY_BACKED for path in paths)
    allocated = sum(_allocated(path) for path in paths)
    return Target(paths, each * len(paths), memory, allocated < _ALLOCATED * each * len(paths), laid_out)


def on_a_disk() -> str:
    """Return the directory for temporary files, or where that lies in memory another that does not."""
    usual = tempfile.gettempdir()
    other = "/var/tmp"
    if _file_system(Path(usual)) in _MEMORY_BACKED and os.access(other, os.W_OK):
        return other
    return usual


def _paths(job: Job, index: int, directory: Path) -> tuple[Path, ...]:
    base = directory / job.text("directory")
    if job.text("filename"):
        names = re.split(r"(?<!\\):", job.text("filename"))
        return tuple(base / name.replace("\\:", ":") for name in names)
    pattern = job.text("filename_format", "$jobname.$jobnum.$filenum")
    return tuple(
        base / pattern.replace("$jobname", job.name).replace("$jobnum", str(index)).replace("$filenum", str(number))
        for number in range(job.number("nrfiles", 1))
    )


def _size(job: Job, paths: tuple[Path, ...]) -> int:
    text = job.text("size")
    present = sum(path.stat().st_size for path in paths if path.exists())
    if text.endswith("%"):
        return present * int(text[:-1]) // 100
    return size_of(text) if text else present


def _open(path: Path, name: str, *, reading: bool) -> None:
    """See whether the file can be opened as fio would."""
    try:
        os.close(os.open(path, os.O_RDONLY if reading else os.O_RDWR))
    except OSError as error:
        what = f"file:filesetup.c:805, func=open({name}), error={os.strerror(error.errno or 0)}"
        raise Trouble(error.errno or errno.EIO, "", what) from error


def _fill(path: Path, start: int, stop: int, filled: bool, reading: bool, name: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        text = os.strerror(error.errno or 0)
        what = f"file:filesetup.c:174, func=open, error={text}"
        raise Trouble(error.errno or errno.EIO, "", what) from error
    try:
        os.ftruncate(descriptor, stop)
        if filled:
            block = secrets.token_bytes(_FILL)
            os.lseek(descriptor, start, os.SEEK_SET)
            for at in range(start, stop, _FILL):
                os.write(descriptor, block[: stop - at])
            os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.ENOSPC or not reading:
            what = f"file:filesetup.c:240, func=write, error={os.strerror(error.errno or 0)}"
            raise Trouble(error.errno or errno.EIO, "", what) from error
        raise _no_space(os.strerror(errno.ENOSPC)) from error
    finally:
        os.close(descriptor)


def _no_space(text: str) -> Trouble:
    return Trouble(
        errno.ENOSPC,
        "",
        f"ENOSPC on laying out file, stopping|file:filesetup.c:240, func=write, error={text}",
    )


def _allocated(path: Path) -> int:
    """Return the allocated bytes of a file; where the system does not tell, its size."""
    status = path.stat()
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else int(blocks) * 512


def _file_system(path: Path) -> str:
    """Return the type of the file system that a path lies on, "" where the system does not tell."""
    best, kind = "", ""
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            mount = before.split(" ")[4].replace("\\040", " ")
            if path.is_relative_to(mount) and len(mount) >= len(best):
                best, kind = mount, after.split(" ")[0]
    return kind
