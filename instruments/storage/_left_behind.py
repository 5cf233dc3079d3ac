"""What a program that was killed has left behind: known by a mark that its maker holds for as long as it lives.

A mark `NAME.lock` lies beside the files `NAME.0`, `NAME.1`, … or the folder `NAME` that it stands for. Its maker has it
locked (flock(2)), and the kernel ends that with the process, however it ends, so that no number of a process that is
used again deceives. Where the file system has no such locks the mark names its maker instead: boot, space of process
numbers, number and time of start (proc_pid_stat(5), field 22); marks of others are then left alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path

NAME = "aicalib-fio-"
_LOCK = ".lock"
_NEW = ".new"
_MADE_WITHIN = 60.0
"""s after which a mark that never got its name is that of a process which has died; making one takes milliseconds."""

_LOCKED, _NAMED = "locked", "named"


class Claim:
    """A name in `directory` that belongs to this process, from now until `drop()` or its death."""

    def __init__(self, directory: Path) -> None:
        self.name = f"{NAME}{secrets.token_hex(6)}"
        self._mark = directory / f"{self.name}{_LOCK}"
        # Made under another name: nobody may find it before it is locked.
        made = directory / f".{self.name}{_NEW}"
        self._file = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            how = _LOCKED if _lock(self._file) else _NAMED
            os.write(self._file, f"{how} {_maker(os.getpid())}\n".encode())
            made.rename(self._mark)
        except BaseException:
            os.close(self._file)
            made.unlink(missing_ok=True)
            raise

    def drop(self) -> None:
        """Give the name back; what bears it should be gone. Idempotent; never raises."""
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            self._mark.unlink()
        os.close(self._file)
        self._file = -1


def remove_left_behind(directory: Path) -> int:
    """Remove from `directory` what processes of this user which have died left behind; return how many files, folders.

    What a living process holds is left alone, and so is what cannot be removed.
    """
    removed = 0
    for unnamed in directory.glob(f".{NAME}*{_NEW}"):
        with contextlib.suppress(OSError):
            state = unnamed.lstat()
            if state.st_uid == os.geteuid() and time.time() - state.st_mtime > _MADE_WITHIN:
                unnamed.unlink()
    for mark in directory.glob(f"{NAME}*{_LOCK}"):
        with contextlib.suppress(OSError, ValueError):
            file = os.open(mark, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if os.fstat(file).st_uid == os.geteuid() and _maker_is_dead(file):
                    removed += _remove(directory, mark.stem)
                    mark.unlink()
            finally:
                os.close(file)
    return removed


def _remove(directory: Path, name: str) -> int:
    removed = 0
    for path in directory.glob(f"{name}.[0-9]*"):
        path.unlink()
        removed += 1
    if (directory / name).is_dir():
        shutil.rmtree(directory / name)
        removed += 1
    return removed


def _maker_is_dead(file: int) -> bool:
    how, _, maker = os.pread(file, 1000, 0).decode().strip().partition(" ")
    if how == _LOCKED:
        return _lock(file)
    boot, space, process, _ = maker.split()
    return [boot, space] == _maker(os.getpid()).split()[:2] and _maker(int(process)) != maker


def _maker(process: int) -> str:
    """Boot, space of process numbers, number and time of start of a process; "" where there is none."""
    try:
        started = Path(f"/proc/{process}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[19]
    except OSError:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.stat('/proc/self/ns/pid').st_ino} {process} {started}"


def _lock(file: int) -> bool:
    """Lock an open file for as long as it is open; False while another holds it, or where there are no locks."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
