"""The files in which fio measures: made in a directory, filled once and removed; or the one that the address names."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from aicalib_hw.interfaces import StorageJob

from ._target import Target, require_space

_NAME = "aicalib-fio-"
_LOCK = ".lock"


class MeasuredFiles:
    """The files of one shape (place, size, number) that lie on the disk, and whether all of them was written.

    Beside them lies a file that is locked (flock(2)) as long as this program lives: by that files are known whose
    program has died. It is not one of theirs, as fio makes a file anew to which it writes first.
    """

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._lock: tuple[Path, int] | None = None
        self._shape: tuple[str, int, int] | None = None

    def options(self, job: StorageJob, target: Target, *, fresh: bool) -> list[str]:
        """Return the options that name the files, new ones where none of this shape are there; fresh: in any case.

        Raises OutOfRange where they do not fit.
        """
        if not target.path.is_dir():
            return [f"--filename={target.path.name.replace(':', chr(92) + ':')}", f"--size={job.size}"]
        if fresh or not self.filled(job, target):
            self.remove()
            require_space(target.path, job.size)
            name = f"{_NAME}{secrets.token_hex(4)}"
            mark = target.path / f"{name}{_LOCK}"
            self._lock = mark, os.open(mark, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            _lock(self._lock[1])
            self._paths = [target.path / f"{name}.{number}" for number in range(job.jobs)]
        stem = self._paths[0].name.rpartition(".")[0]
        return [f"--filename_format={stem}.$jobnum", f"--size={job.size // job.jobs}"]

    def filled(self, job: StorageJob, target: Target) -> bool:
        """True if every block of what this job measures was written here."""
        return self._shape == _shape(job, target)

    def note_filled(self, job: StorageJob, target: Target) -> None:
        """Keep in mind that every block of what this job measures has been written."""
        self._shape = _shape(job, target)

    def remove(self) -> tuple[bool, tuple[str, ...]]:
        """Remove what was made; return whether there was anything, and what could not be removed; never raises."""
        removed, failures = False, []
        for path in self._paths:
            try:
                path.unlink()
                removed = True
            except FileNotFoundError:
                continue
            except OSError as error:
                failures.append(f"removing {path}: {error}")
        self._paths = [path for path in self._paths if path.exists()]
        self._shape = None
        if self._lock is not None and not failures:
            mark, file = self._lock
            self._lock = None
            with contextlib.suppress(OSError):
                mark.unlink()
            os.close(file)
        return removed, tuple(failures)


def remove_left_behind(directory: Path) -> int:
    """Remove the files in `directory` that programs which have died made for measuring; return how many.

    What cannot be removed is left to whoever can.
    """
    removed = 0
    for mark in directory.glob(f"{_NAME}*{_LOCK}"):
        with contextlib.suppress(OSError):
            file = os.open(mark, os.O_RDWR)
            try:
                _lock(file)
                for path in directory.glob(f"{mark.stem}.[0-9]*"):
                    path.unlink()
                    removed += 1
                mark.unlink()
            finally:
                os.close(file)
    return removed


def _lock(file: int) -> None:
    """Lock an open file for as long as it is open; raises OSError while another holds it."""
    import fcntl  # only where fio runs at all

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _shape(job: StorageJob, target: Target) -> tuple[str, int, int]:
    return str(target.path), job.size, job.jobs
