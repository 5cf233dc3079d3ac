"""The files in which fio measures: made in a directory, filled once and removed; or the one that the address names."""

from __future__ import annotations

from pathlib import Path

from aicalib_hw.interfaces import StorageJob

from ._left_behind import Claim
from ._target import Target, require_space


class MeasuredFiles:
    """The files of one shape (place, size, number) that lie on the disk, and whether all of them was written.

    The mark that says whose they are lies beside them, as fio makes a file anew to which it writes first.
    """

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._claim: Claim | None = None
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
            self._claim = Claim(target.path)
            self._paths = [target.path / f"{self._claim.name}.{number}" for number in range(job.jobs)]
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
        if self._claim is not None and not failures:
            self._claim.drop()
            self._claim = None
        return removed, tuple(failures)


def _shape(job: StorageJob, target: Target) -> tuple[str, int, int]:
    return str(target.path), job.size, job.jobs
