"""A record read back as plain frozen data, whether its session came to an end or broke off."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

from aicalib_hw._plain import from_plain
from aicalib_hw.errors import RecordError
from aicalib_hw.identity import Certificate, Identity
from aicalib_hw.interfaces.instrument import Setting
from aicalib_hw.metrology.result import Calibration, Result
from aicalib_hw.readings import Instant, Measurement, Series
from aicalib_hw.records import chunks, schema
from aicalib_hw.records.canonical import decode

EndStatus = Literal["complete", "aborted", "error"]


@dataclass(frozen=True, slots=True)
class Equipment:
    """An instrument as it was at the session: identity, driver, certificate, and settings in force."""

    name: str
    identity: Identity
    driver: Mapping[str, Any]
    certificate: Certificate | None
    snapshot: Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Event:
    """One link of the chain of events; kind "recorded" announces a row of a table."""

    number: int
    at: Instant
    kind: str
    data: Mapping[str, Any]
    sha256: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file kept with the record."""

    name: str
    media_type: str
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class RecordContents:
    """Everything a record holds.

    status: how the session ended; "incomplete" if it broke off, ended is then None. reason: why it is not complete.
    environment: software, host, clock. code: SHA-256 of the file of each module in use, by module.
    series: by channel name. results: all, also those that `calibrations` group. seal: "" while there is none.
    """

    path: Path
    schema_version: int
    id: str
    title: str
    rule: str
    bench: Mapping[str, Any]
    plan: Mapping[str, Any]
    environment: Mapping[str, Any]
    started: Instant
    ended: Instant | None
    status: EndStatus | Literal["incomplete"]
    reason: str
    code: Mapping[str, str]
    equipment: tuple[Equipment, ...]
    events: tuple[Event, ...]
    series: Mapping[str, Series]
    measurements: tuple[Measurement, ...]
    results: tuple[Result, ...]
    calibrations: tuple[Calibration, ...]
    attachments: tuple[Attachment, ...]
    seal: str

    @property
    def simulated_identities(self) -> tuple[Identity, ...]:
        """The simulated sources, each once."""
        sources = [item.identity for item in self.equipment] + [item.identity for item in self.measurements]
        found: list[Identity] = []
        for source in sources:
            if source.simulated and source not in found:
                found.append(source)
        return tuple(found)

    @property
    def world_rate(self) -> float:
        """Seconds of the simulated world in one of the host's clock, as the bench file had it; 1 where it had none."""
        return float(self.bench.get("world", {}).get("rate", 1.0)) if self.simulated else 1.0

    @property
    def simulated(self) -> bool:
        """True if any source is simulated; derived from what the instruments say of themselves, from nothing else."""
        return bool(self.simulated_identities)


def read_record(path: str | Path) -> RecordContents:
    """Read a record, also one that broke off or is being written; raises RecordError if it is none."""
    file = Path(path)
    try:
        with opened(file) as database:
            database.execute("BEGIN")
            return _Reader(database).contents(file)
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            "the record cannot be read to its end",
            where=str(file.absolute()),
            why=f"{type(error).__name__}: {error}",
            advice="the file is damaged; `sqlite3 FILE .recover` may save what is left of it",
        ) from error


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Open a record for reading; raises RecordError if there is none, or it is from a newer version."""
    file = Path(path).absolute()
    if not file.is_file():
        raise RecordError(
            "there is no record", where=str(file), why="no such file", advice="name what `aicalib calibrate` wrote"
        )
    try:
        with contextlib.closing(sqlite3.connect(_only_to_read(file), uri=True, isolation_level=None)) as found:
            (application,) = found.execute("PRAGMA application_id").fetchone()
            (version,) = found.execute("PRAGMA user_version").fetchone()
            if application != schema.APPLICATION_ID:
                raise RecordError("this is no record", where=str(file), why="a database of another kind, or empty")
            if version > schema.SCHEMA_VERSION:
                raise RecordError(
                    "this record was written by a newer version",
                    where=str(file),
                    why=f"its schema is {version}, known here is {schema.SCHEMA_VERSION}",
                    advice="pip install --upgrade aicalib-hw",
                )
            yield found
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_NOTADB":
            raise RecordError("this is no record", where=str(file), why="not an SQLite file") from error
        if name.startswith("SQLITE_CANTOPEN"):
            raise RecordError(
                "the record cannot be opened",
                where=str(file),
                why="a session that broke off left its log beside the file, and this directory cannot be written",
                advice=f"copy {file.name} and {file.name}-wal together to a directory that can be written",
            ) from error
        raise


def _only_to_read(path: PurePath) -> str:
    """Name a file as SQLite takes it, which knows no hosts: a path on a Windows server (//SERVER/SHARE) has one."""
    return f"{re.sub('^file://(?!/)', 'file:////', path.as_uri())}?mode=ro"


class _Reader:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def contents(self, path: Path) -> RecordContents:
        session = self._rows(
            "SELECT id, title, rule, bench, plan, environment, utc_ns, monotonic_ns, clock FROM session"
        )
        if not session:
            raise RecordError(
                "the record is empty", where=str(path.absolute()), why="the session ended before it began to measure"
            )
        id, title, rule, bench, plan, environment, *started = session[0]
        ending = self._rows("SELECT status, reason, software, utc_ns, monotonic_ns, clock FROM ending")
        broken_off: tuple[Any, ...] = ("incomplete", "the session broke off", "{}")
        status, reason, code, *ended = ending[0] if ending else broken_off
        measurements = {
            row: json.loads(data) for row, data in self._rows("SELECT id, data FROM measurement ORDER BY id")
        }
        built = {row: from_plain(Measurement, data) for row, data in measurements.items()}
        # A result and the list of all measurements hold one object, not two equal ones.
        results = {
            row: replace(
                from_plain(Result, {**json.loads(data), "measurement": measurements[measurement]}),
                measurement=built[measurement],
            )
            for row, measurement, data in self._rows("SELECT id, measurement_id, data FROM result ORDER BY id")
        }
        sealed = self._rows("SELECT sha256 FROM seal")
        return RecordContents(
            path=path,
            schema_version=self._rows("PRAGMA user_version")[0][0],
            id=id,
            title=title,
            rule=rule,
            bench=decode(bench),
            plan=decode(plan),
            environment=decode(environment),
            started=Instant(*started),
            ended=Instant(*ended) if ended else None,
            status=status,
            reason=reason,
            code=decode(code),
            equipment=tuple(
                from_plain(Equipment, json.loads(data))
                for (data,) in self._rows("SELECT data FROM equipment ORDER BY id")
            ),
            events=tuple(self._events()),
            series=dict(self._series()),
            measurements=tuple(built.values()),
            results=tuple(results.values()),
            calibrations=tuple(self._calibrations(built, results)),
            attachments=tuple(
                Attachment(*row)
                for row in self._rows("SELECT name, media_type, content, sha256 FROM attachment ORDER BY id")
            ),
            seal=sealed[0][0] if sealed else "",
        )

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._database.execute(query, values).fetchall()

    def _events(self) -> Iterator[Event]:
        query = "SELECT number, utc_ns, monotonic_ns, clock, kind, data, sha256 FROM event ORDER BY number"
        for number, utc_ns, monotonic_ns, clock, kind, data, mark in self._rows(query):
            yield Event(number, Instant(utc_ns, monotonic_ns, clock), kind, decode(data), mark)

    def _series(self) -> Iterator[tuple[str, Series]]:
        for row, name, header, kind, bits in self._rows(
            "SELECT id, name, header, sample_kind, status_bits FROM channel ORDER BY id"
        ):
            query = "SELECT samples, monotonic_ns, value, status FROM sample_chunk WHERE channel_id = ? ORDER BY id"
            stored = [chunks.Chunk(*columns) for columns in self._rows(query, (row,))]
            yield name, Series(decode(header), *chunks.joined(stored, json.loads(bits)), kind)

    def _calibrations(
        self, measurements: Mapping[int, Measurement], results: Mapping[int, Result]
    ) -> Iterator[Calibration]:
        for (data,) in self._rows("SELECT data FROM calibration ORDER BY id"):
            stored = json.loads(data)
            rest = from_plain(Calibration, {**stored, "results": [], "further": []})
            yield Calibration(
                quantity=rest.quantity,
                results=tuple(results[row] for row in stored["results"]),
                further=tuple(measurements[row] for row in stored["further"]),
                plan=rest.plan,
                validity=rest.validity,
                notes=rest.notes,
            )
