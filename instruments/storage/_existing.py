"""A file or block device that was not made here: what may be done with it, and whether it holds what storage must read.

Reading is always allowed, and is done by a fio that is told to write nowhere (`--readonly`). What was never written
(holes, blocks that a drive was told to forget) is answered without reading any medium; it reads as zeros.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from aicalib_hw.errors import ConnectionFailed, NotPermitted, OutOfRange, UsageError
from aicalib_hw.interfaces import StorageJob

from ._block_device import held_for_writing, users_of_file
from ._target import Target

PLACES = 256
"""Places of an existing file or device at which is looked for zeros."""

_AT_A_PLACE = 4096
_CUT_OFF = "#;"
"""Characters from which on fio leaves a name out: it would take the file that bears what is before them."""

_MOST_ZEROS = 0.005
"""Share of zeros beyond which a rate of reading is none: the same as for bytes that no device has counted."""


def require_allowed(job: StorageJob, target: Target, *, overwrite: str, where: str) -> None:
    """Raise NotPermitted or OutOfRange for what must not, or cannot, be done with it; nothing has been touched.

    overwrite: what the address allows: "no", "yes" = a file, "device" = a block device.
    """
    require_tellable(target.path, where=where)
    if job.jobs != 1 or job.pattern == "checkpoint-write":
        raise OutOfRange(
            "what exists already is measured by one job, and takes no checkpoint",
            where=where,
            why=f"{target.path} is no directory",
            advice="jobs = 1 and another pattern; or name a directory",
        )
    kind, needed = ("file", "yes") if target.node is None else ("block device", "device")
    if writes(job) and overwrite != needed:
        raise NotPermitted(
            f"{target.path} was not made here, and this job would overwrite it",
            where=where,
            why=f"it is a {kind}, and the address says overwrite={overwrite}",
            advice="only read it (precondition=False; of a calibration: read_only = true in [plan.storage]); or name a "
            f"directory; or let ALL THAT IT HOLDS BE LOST: overwrite={needed} in the address",
        )
    if target.size < job.size:
        raise OutOfRange(
            f"{target.path} has {target.size} bytes, and {job.size} were asked for",
            where=where,
            why="it would be made longer" if target.node is None else "there is nothing behind its end",
            advice="choose a smaller size, or name a directory",
        )


def require_tellable(path: Path, *, where: str) -> None:
    """Raise OutOfRange for a name that fio would take for another one: that file would be read, or overwritten."""
    name = path.name
    if name == "-" or name != name.strip() or not name.isprintable() or any(mark in name for mark in _CUT_OFF):
        raise OutOfRange(
            f"fio cannot be told the name {name!r}",
            where=where,
            why="it ends a name at # and ;, leaves out blanks at either end, and takes - for its own input: "
            "another file would be measured",
            advice="rename it",
        )


@contextlib.contextmanager
def held(job: StorageJob, target: Target, *, where: str) -> Iterator[None]:
    """Keep others from a block device while it is overwritten; raises NotPermitted where anybody uses it, or a file."""
    with contextlib.ExitStack() as stack:
        if target.node is not None and writes(job):
            stack.enter_context(held_for_writing(target.path, target.node, where=where))
        elif target.path.is_file() and writes(job) and (used := users_of_file(target.path)):
            raise NotPermitted(
                f"{target.path} is in use, and would be overwritten",
                where=where,
                why="; ".join(used),
                advice="end what uses it, or only read it",
            )
        yield


def writes(job: StorageJob) -> bool:
    """True if a job changes what its file holds."""
    return job.pattern not in ("sequential-read", "random-read") or job.precondition or job.verify


def require_written(path: Path) -> None:
    """Refuse a file with holes: what is read from a hole comes from no device."""
    state = path.stat()
    if path.is_file() and state.st_blocks * 512 < state.st_size:
        raise UsageError(
            f"{path} is sparse: {state.st_blocks * 512} of its {state.st_size} bytes lie on the disk",
            where=str(path),
            why="holes are read from no device",
            advice="let it be filled first: precondition=True",
        )


def zeros(path: Path, size: int) -> int:
    """Return at how many of PLACES places, evenly spread over the first `size` bytes, nothing but zeros is read.

    Raises ConnectionFailed where it cannot be read.
    """
    try:
        return _zeros(path, size)
    except OSError as error:
        raise ConnectionFailed(
            f"{path} cannot be read", where=str(path), why=str(error), advice="look at the kernel's log: dmesg"
        ) from error


def _zeros(path: Path, size: int) -> int:
    found = 0
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        for number in range(PLACES):
            start = (size * number // PLACES) // _AT_A_PLACE * _AT_A_PLACE
            found += not any(os.pread(file, _AT_A_PLACE, start))
        # What was looked at is not kept in memory: fio would take its place on the disk for cached.
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
    return found


def never_written(found: int) -> tuple[str, ...]:
    """Return why a rate of reading is none where `found` places hold zeros; nothing where they are few."""
    if found <= _MOST_ZEROS * PLACES:
        return ()
    return (
        f"nothing but zeros was read at {found} of {PLACES} places: blocks that were never written, or were given back "
        "to the drive, are answered without reading any medium",
    )
