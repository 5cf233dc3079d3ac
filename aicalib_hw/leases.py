"""Who holds which instrument: so that two programs do not disturb each other, and a dead one can be cleaned up after.

The book is one small SQLite file of this user on this machine: its transactions are exclusive on
every platform and survive `kill -9`, which is what leases are for. A lease whose process has
died is not an obstacle: the next taker gets the instrument, and is told what it takes over.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from aicalib_hw import registry
from aicalib_hw.errors import AicalibError, LockedByOther

_BUSY_TIMEOUT = 5.0
_ENDED_STATES = "ZX"


@dataclass(frozen=True, slots=True)
class Lease:
    """One instrument held by one process, with what is needed to undo what that process leaves behind.

    process_start: opaque text that tells this process from a later one with the same pid.
    owner: the program. taken_at: UTC, ISO 8601. driver: name of the driver that can release it,
    bench: name of the bench; both may be "".
    """

    address: str
    instrument: str
    driver: str
    bench: str
    owner: str
    pid: int
    process_start: str
    host: str
    taken_at: str

    @classmethod
    def of_this_process(cls, address: str, *, instrument: str, driver: str, bench: str) -> Lease:
        """Return the lease that this process would hold on `address` from now on."""
        pid = os.getpid()
        return cls(
            _one_spelling(address),
            instrument,
            driver,
            bench,
            Path(sys.argv[0]).name or "python",
            pid,
            process_start(pid) or "",
            platform.node(),
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    @property
    def holder(self) -> str:
        """The holder in words."""
        bench = f", bench {self.bench}" if self.bench else ""
        return f"{self.owner} (process {self.pid} on {self.host}){bench}, since {self.taken_at}"

    def is_alive(self) -> bool:
        """True if its process still runs, or if that cannot be told because it runs on another host."""
        if self.host != platform.node():
            return True
        start = process_start(self.pid)
        return start is not None and (not start or not self.process_start or start == self.process_start)


class LeaseBook:
    """The leases of this user, kept in `directory`, which is made when the first lease is taken."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def take(self, lease: Lease) -> Lease | None:
        """Enter `lease`; return the dead process's lease it replaces, None if there was none.

        Raises LockedByOther, naming the holder, while a living process holds the instrument, or a part of it.
        """
        # Names may take seconds to be resolved: not while everybody else waits for the book.
        known = {held: same_instrument(held, lease) for held in self.held()}
        with self._transaction() as book:
            those = [held for held in _all(book) if (known[held] if held in known else same_instrument(held, lease))]
            living = next((held for held in those if held.is_alive()), None)
            if living is not None:
                raise LockedByOther(
                    f"{lease.instrument} is in use",
                    where=lease.address,
                    why=f"held by {living.holder}",
                    advice=_advice(living),
                )
            # Further ones of the dead stay in the book, for whoever has that part of the instrument next.
            former = min(those, key=lambda held: held.address != lease.address, default=None)
            if former is not None:
                _strike(book, former)
            _enter(book, lease, instead="REPLACE")
            return former

    def give_back(self, lease: Lease) -> None:
        """Strike `lease` out; harmless if it is gone or another process has it by now."""
        with self._transaction() as book:
            _strike(book, lease)

    def put_back(self, lease: Lease, former: Lease) -> None:
        """Strike `lease` out and enter the dead process's lease that it had replaced: nothing was undone of it."""
        with self._transaction() as book:
            _strike(book, lease)
            _enter(book, former, instead="IGNORE")

    def held(self) -> tuple[Lease, ...]:
        """Return all leases, of living and of dead processes."""
        with self._transaction() as book:
            return _all(book)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        path = self.directory / "leases.sqlite"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            book = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
            with contextlib.closing(book):
                book.execute("BEGIN EXCLUSIVE")
                columns = ", ".join(field.name for field in fields(Lease))
                book.execute(f"CREATE TABLE IF NOT EXISTS leases ({columns}, PRIMARY KEY (address))")
                yield book
                book.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise AicalibError(
                "the book of leases cannot be used",
                where=str(path),
                why=str(error),
                advice="free space or repair the permissions there; if no aicalib program runs, delete the file",
            ) from error


def same_instrument(one: Lease, other: Lease) -> bool:
    """Return True if two leases are of one instrument, by whatever spellings of its address."""
    if one.address == other.address:
        return True
    if one.driver != other.driver or not one.driver:
        return False
    try:
        return bool(registry.driver(one.driver).overlap(one.address, other.address))
    except AicalibError:
        return False


def process_start(pid: int) -> str | None:
    """Return text that tells the running process `pid` from a later one with that number, None if it is gone.

    "" means that it runs, and that no more is known.
    """
    readers = {"Linux": _start_from_proc, "Windows": _start_from_windows}
    return readers.get(platform.system(), _start_from_ps)(pid)


def _one_spelling(address: str) -> str:
    """TCPIP::h::INSTR and TCPIP0::h::inst0::INSTR are one instrument; what is no resource name stays as it is."""
    if "://" in address:
        return address.rstrip("/")
    from pyvisa import rname

    try:
        return str(rname.ResourceName.from_string(address))
    except (rname.InvalidResourceName, ValueError):
        return address


def _all(book: sqlite3.Connection) -> tuple[Lease, ...]:
    return tuple(Lease(*row) for row in book.execute("SELECT * FROM leases ORDER BY address"))


def _strike(book: sqlite3.Connection, lease: Lease) -> None:
    """Remove a lease; one that another process has on that address by now stays."""
    book.execute(
        "DELETE FROM leases WHERE address = ? AND pid = ? AND process_start = ?",
        (lease.address, lease.pid, lease.process_start),
    )


def _enter(book: sqlite3.Connection, lease: Lease, *, instead: Literal["REPLACE", "IGNORE"]) -> None:
    """Add a lease. instead: what becomes of it where its address has one already, in the words of SQLite."""
    marks = ", ".join("?" for _ in fields(Lease))
    book.execute(f"INSERT OR {instead} INTO leases VALUES ({marks})", astuple(lease))


def _advice(former: Lease) -> str:
    if former.host != platform.node():
        return f"end it on {former.host}; if that machine is gone for good: aicalib release {former.bench} --force"
    if former.pid == os.getpid():
        return "close the bench that this program has open already"
    return "wait until it ends, or end it"


def _start_from_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    started_ticks = rest[18]
    return None if state in _ENDED_STATES else f"{boot}:{started_ticks}"


def _start_from_ps(pid: int) -> str | None:
    try:
        answer = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip() or None


def _start_from_windows(pid: int) -> str | None:
    query_limited_information, still_active, access_denied = 0x1000, 259, 5
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return "" if ctypes.get_last_error() == access_denied else None  # type: ignore[attr-defined,unused-ignore]
    try:
        code = ctypes.c_ulong()
        times = [ctypes.c_ulonglong() for _ in range(4)]
        kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
        kernel.GetProcessTimes(ctypes.c_void_p(handle), *(ctypes.byref(time) for time in times))
        return str(times[0].value) if code.value == still_active else None
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))
