"""Evidence that a record is as it was written: chained events, digests of rows, and a manifest at the end.

Every row is announced in the chain of events with its digest, so that the chain's head stands for all of them, in a
record that broke off too. The seal is a digest, not a signature: who can rewrite the file can compute it again. It is
worth what the place is worth where it was noted meanwhile, or signed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aicalib_hw.errors import RecordError
from aicalib_hw.records import schema
from aicalib_hw.records.canonical import canonical_json, decode, digest
from aicalib_hw.records.contents import opened

BEFORE_THE_FIRST = "0" * 64
"""Stands for the digest of the event before the first one."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of checking a record.

    seal: its seal, "" while it has none (the session broke off). problems: what is not as it was written.
    """

    seal: str
    problems: tuple[str, ...]

    def __bool__(self) -> bool:
        """True if nothing was found wrong; a record without seal may still be whole."""
        return not self.problems


def link(previous: str, number: int, utc_ns: int, monotonic_ns: int, clock: str, kind: str, data: str) -> str:
    """Return the digest of an event, which holds that of the event before."""
    return digest(canonical_json([previous, number, utc_ns, monotonic_ns, clock, kind, data]))


def digest_of_row(database: sqlite3.Connection, table: str, row: int) -> str | None:
    """Return the digest of a stored row, None if it is not there; blobs enter by their own digest."""
    columns = [entry[1] for entry in database.execute(f"PRAGMA table_info({table})")]
    found = database.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE rowid = ?", (row,)).fetchone()
    if found is None:
        return None
    content = [digest(value) if isinstance(value, bytes) else value for value in found]
    return digest(canonical_json([table, dict(zip(columns, content, strict=True))]))


def manifest_of(database: sqlite3.Connection) -> str:
    """Return the manifest of an ended record: the chain's head, and what it must lead to."""

    def column(query: str) -> list[object]:
        return [row[0] for row in database.execute(query)]

    return canonical_json(
        {
            "session": column("SELECT id FROM session"),
            "ending": digest_of_row(database, "ending", 1),
            "events": column("SELECT count(*) FROM event"),
            "head": column("SELECT sha256 FROM event ORDER BY number DESC LIMIT 1"),
            "rows": {table: column(f"SELECT count(*) FROM {table}")[0] for table in schema.TABLES},
            "sample_chunks": column("SELECT sha256 FROM sample_chunk ORDER BY id"),
            "attachments": column("SELECT sha256 FROM attachment ORDER BY id"),
            "schema": digest(canonical_json(column("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name"))),
        }
    )


def verify_record(path: str | Path) -> Verification:
    """Check every row, every event and the seal of a record; raises RecordError if it is none, or cannot be opened."""
    try:
        with opened(path) as database:
            problems = [*_file(database), *_chain(database), *_rows(database), *_blobs(database)]
            sealed = database.execute("SELECT manifest, sha256 FROM seal").fetchone()
            if sealed is not None:
                problems += _seal(database, *sealed)
    except sqlite3.Error as error:
        raise RecordError(
            "the record cannot be read to its end", where=str(Path(path).absolute()), why=str(error)
        ) from error
    return Verification(sealed[1] if sealed is not None else "", tuple(problems))


def _file(database: sqlite3.Connection) -> Iterator[str]:
    for (found,) in database.execute("PRAGMA quick_check(5)"):
        if found != "ok":
            yield f"the file is damaged: {found}"


def _chain(database: sqlite3.Connection) -> Iterator[str]:
    previous, expected = BEFORE_THE_FIRST, 1
    query = "SELECT number, utc_ns, monotonic_ns, clock, kind, data, previous, sha256 FROM event ORDER BY number"
    for number, utc_ns, monotonic_ns, clock, kind, data, before, mark in database.execute(query):
        if number != expected or before != previous:
            yield f"event {number} does not follow event {expected - 1}"
        if link(before, number, utc_ns, monotonic_ns, clock, kind, data) != mark:
            yield f"event {number} has been changed"
        previous, expected = mark, number + 1


def _rows(database: sqlite3.Connection) -> Iterator[str]:
    announced: dict[str, set[int]] = {table: set() for table in schema.TABLES}
    for number, data in database.execute("SELECT number, data FROM event WHERE kind = 'recorded'").fetchall():
        try:
            said = decode(data)
            table, row, mark = said["table"], said["row"], said["sha256"]
            announced[table].add(row)
        except (json.JSONDecodeError, KeyError, TypeError):
            yield f"event {number} does not say what was recorded"
            continue
        found = digest_of_row(database, table, row)
        if found != mark:
            yield f"{table} {row} {'is missing' if found is None else 'has been changed'}"
    for table, rows in announced.items():
        for (row,) in database.execute(f"SELECT rowid FROM {table}"):
            if row not in rows:
                yield f"{table} {row} has been added from outside"


def _blobs(database: sqlite3.Connection) -> Iterator[str]:
    query = "SELECT id, monotonic_ns, value, status, sha256 FROM sample_chunk"
    for row, times, values, statuses, mark in database.execute(query):
        if digest(times + values + statuses) != mark:
            yield f"the samples of sample_chunk {row} do not fit their digest"
    for row, content, mark in database.execute("SELECT id, content, sha256 FROM attachment"):
        if digest(content) != mark:
            yield f"attachment {row} does not fit its digest"


def _seal(database: sqlite3.Connection, manifest: str, mark: str) -> Iterator[str]:
    if digest(manifest) != mark:
        yield "the seal does not fit its manifest"
    if manifest_of(database) != manifest:
        yield "the record is not what its manifest says"
