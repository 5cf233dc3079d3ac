"""The file under a record: transactions that are whole or not there, rows only added, each announced in a chain.

What SQLite cannot do becomes a RecordError that says what is kept and what to do next.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from aicalib_hw.errors import RecordError
from aicalib_hw.readings import Instant
from aicalib_hw.records import schema, seal
from aicalib_hw.records.canonical import encode, iso_utc

_log = logging.getLogger(__name__)
_BUSY_S = 5.0
_SETTLE_MS = 500
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE")


class Ledger:
    """A new SQLite file with the tables of a record; every method may be called from any thread.

    path: the file. ended: nothing can be added any more.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self.ended = False
        self._database = database
        self._lock = threading.RLock()

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the file; raises RecordError if there is one already or it cannot be made, and then leaves none."""
        try:
            path.open("xb").close()
        except FileExistsError as error:
            raise RecordError(
                "there is a file already where the record was to be made",
                where=str(path.absolute()),
                why="what was measured is never overwritten",
                advice="name a new file",
            ) from error
        except OSError as error:
            raise _not_made(path, error) from error
        try:
            database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            with contextlib.ExitStack() as undo:
                undo.callback(database.close)
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(f"BEGIN IMMEDIATE; {schema.STATEMENTS} COMMIT;")
                undo.pop_all()
        except sqlite3.Error as error:
            _remove(path)
            raise _not_made(path, error) from error
        return cls(path, database)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, or a part of the one around it; durable: it is on the disk when this returns."""
        with self._lock:
            if self.ended:
                raise RecordError(
                    "the record is finished", where=str(self.path.absolute()), advice="begin a new record"
                )
            if self._database.in_transaction:
                yield self._database
                return
            try:
                self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise self._not_written(error) from error
            except BaseException:
                self._roll_back()
                raise

    def add(self, table: str, **columns: Any) -> int:
        """Insert a row, announce it in the chain of events, and return its number."""
        marks = ", ".join("?" * len(columns))
        with self.transaction() as database:
            inserted = database.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values())
            )
            row = int(inserted.lastrowid or 0)
            mark = seal.digest_of_row(database, table, row)
            self.append("recorded", encode({"table": table, "row": row, "sha256": mark}))
        return row

    def add_once(self, table: str, mark: str, **columns: Any) -> int:
        """Insert a row unless there is one with this sha256; return the number of the one or the other."""
        with self.transaction() as database:
            known = database.execute(f"SELECT id FROM {table} WHERE sha256 = ?", (mark,)).fetchone()
            return int(known[0]) if known is not None else self.add(table, sha256=mark, **columns)

    def append(self, kind: str, content: str) -> int:
        """Append an event to the chain; return its number."""
        with self.transaction() as database:
            last = database.execute("SELECT number, sha256 FROM event ORDER BY number DESC LIMIT 1").fetchone()
            number, previous = (int(last[0]) + 1, last[1]) if last is not None else (1, seal.BEFORE_THE_FIRST)
            now = Instant.now()
            link = seal.link(previous, number, now.utc_ns, now.monotonic_ns, now.clock, kind, content)
            database.execute(
                "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, iso_utc(now.utc_ns), now.utc_ns, now.monotonic_ns, now.clock, kind, content, previous, link),
            )
        return number

    def settle(self) -> None:
        """Move everything from the write-ahead log into the file, so that it is whole by itself, and close it."""
        with self._lock:
            self.ended = True
            try:
                self._database.execute(f"PRAGMA busy_timeout = {_SETTLE_MS}")
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._database.execute("PRAGMA journal_mode = DELETE")
            except sqlite3.Error as error:
                # Readable all the same; the log beside the file is then part of it.
                _log.warning("%s: the write-ahead log stays beside the record: %s", self.path, error)
        self.close()

    def close(self) -> None:
        """Close the file as it is; idempotent."""
        with self._lock:
            self.ended = True
            self._database.close()

    def discard(self) -> None:
        """Close the file and remove it: for one in which nothing was measured yet."""
        self.close()
        _remove(self.path)

    def _roll_back(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def _not_written(self, error: sqlite3.Error) -> RecordError:
        full = "the disk is full, or a limit on file sizes is reached: " if error.sqlite_errorname in _FULL else ""
        return RecordError(
            f"the record cannot be written any further{self._kept()}",
            where=str(self.path.absolute()),
            why=f"{full}{error} ({error.sqlite_errorname})",
            advice="free space on this disk, or write to another one, and measure the rest again; "
            f"`aicalib report {self.path}` shows what is kept",
        )

    def _kept(self) -> str:
        try:
            counts = [
                f"{self._database.execute(f'SELECT count(*) FROM {table}').fetchone()[0]} {table}s"
                for table in ("measurement", "result", "event")
            ]
        except sqlite3.Error:
            return ""
        return f"; kept are {', '.join(counts)}"


def _remove(path: Path) -> None:
    for left in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        left.unlink(missing_ok=True)


def _not_made(path: Path, error: Exception) -> RecordError:
    return RecordError(
        "the record cannot be made",
        where=str(path.absolute()),
        why=str(error),
        advice="name a directory that exists, can be written and has space",
    )
