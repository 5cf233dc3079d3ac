"""The record of a session while it is being written: one SQLite file, safe against every kind of sudden end.

Each call is one transaction, on disk or not at all when it returns. Samples may wait for the system to write them
(they survive the death of the process, not a power cut); everything else is forced out. A session that never came to
`finish` has no ending, and is incomplete by construction. Rows are only ever added.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aicalib_hw
from aicalib_hw.errors import Aborted, RecordError
from aicalib_hw.identity import Certificate, Identity
from aicalib_hw.interfaces.instrument import Setting
from aicalib_hw.metrology.result import Calibration, Result
from aicalib_hw.readings import Instant, Measurement, Series
from aicalib_hw.records import chunks, environment, schema, seal
from aicalib_hw.records.canonical import canonical_json, digest, encode, iso_utc, plain
from aicalib_hw.records.contents import EndStatus, Equipment, read_record
from aicalib_hw.records.ledger import Ledger

__all__ = ["Record", "read_record"]

_RESERVED = ("recorded", "finished")


class Record:
    """An open record; make it with `Record.create`, use it in a `with`, call it from any thread.

    path: the file. simulated: true as soon as one simulated identity has been recorded.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.path = ledger.path
        self.simulated = False
        self._ledger = ledger

    @classmethod
    def create(
        cls, path: str | Path, *, title: str, bench: Mapping[str, Any], rule: str, plan: Mapping[str, Any]
    ) -> Self:
        """Make a new record and write down what was agreed before measuring.

        bench: the bench file as plain data. rule: the decision rule. plan: how it is going to be measured.
        Raises RecordError if the file exists or cannot be made.
        """
        agreed = {"bench": encode(dict(bench)), "rule": rule, "plan": encode(dict(plan))}
        where = encode(environment.describe())
        ledger = Ledger.create(Path(path))
        try:
            with ledger.transaction() as database:
                version = (schema.SCHEMA_VERSION, aicalib_hw.__version__)
                database.execute("INSERT INTO schema_version VALUES (?, ?)", version)
                now = Instant.now()
                ledger.add(
                    "session",
                    id=str(uuid.uuid4()),
                    title=title,
                    started_at=iso_utc(now.utc_ns),
                    utc_ns=now.utc_ns,
                    monotonic_ns=now.monotonic_ns,
                    clock=now.clock,
                    environment=where,
                    **agreed,
                )
        except BaseException:
            ledger.discard()
            raise
        return cls(ledger)

    def equipment(
        self,
        name: str,
        identity: Identity,
        *,
        driver: Mapping[str, Any],
        certificate: Certificate | None = None,
        snapshot: Mapping[str, Setting] | None = None,
    ) -> int:
        """Write down an instrument with its driver, certificate and settings in force; return its id."""
        entry = Equipment(name, identity, driver, certificate, snapshot or {})
        made = self._ledger.add("equipment", data=canonical_json(plain(entry)), simulated=int(identity.simulated))
        self.simulated |= identity.simulated
        return made

    def event(self, kind: str, /, **data: Any) -> int:
        """Write down that something happened, now; return its number in the chain. `data` is plain data."""
        if kind in _RESERVED:
            raise RecordError(f"events of kind {kind!r} are the record's own", advice="name another kind")
        return self._ledger.append(kind, encode(data))

    def series(self, name: str, series: Series) -> int:
        """Write down samples of a channel, appended to what the channel of this name holds; return the channel's id.

        Raises RecordError if that channel has another header or kind of samples.
        """
        header, kind = encode(dict(series.header)), series.sample_kind
        with self._ledger.transaction(durable=False) as database:
            known = database.execute("SELECT id, header, sample_kind FROM channel WHERE name = ?", (name,)).fetchone()
            if known is not None and known[1:] != (header, kind):
                raise RecordError(
                    f"channel {name!r} holds samples of another kind",
                    where=str(self.path.absolute()),
                    why=f"it was begun as {known[2]} with {known[1]}",
                    advice="give the other samples a channel of their own",
                )
            bits = canonical_json(chunks.status_bits())
            channel = (
                known[0]
                if known is not None
                else self._ledger.add("channel", name=name, header=header, sample_kind=kind, status_bits=bits)
            )
            for chunk in chunks.cut(series):
                self._ledger.add(
                    "sample_chunk",
                    channel_id=channel,
                    samples=chunk.samples,
                    monotonic_ns=chunk.monotonic_ns,
                    value=chunk.value,
                    status=chunk.status,
                    sha256=chunk.sha256,
                )
        return int(channel)

    def measurement(self, measurement: Measurement) -> int:
        """Write down a measurement with its runs, settings and evidence; return its id, the same for an equal one."""
        data = canonical_json(plain(measurement))
        made = self._ledger.add_once("measurement", digest(data), data=data)
        self.simulated |= measurement.identity.simulated
        return made

    def result(self, result: Result) -> int:
        """Write down a result with its measurement, budget and verdict; return its id, the same for an equal one."""
        with self._ledger.transaction():
            measurement = self.measurement(result.measurement)
            data = canonical_json({key: value for key, value in plain(result).items() if key != "measurement"})
            mark = digest(canonical_json([measurement, data]))
            return self._ledger.add_once("result", mark, measurement_id=measurement, data=data)

    def calibration(self, calibration: Calibration) -> int:
        """Write down all of a quantity: results, further measurements, plan, notes; return its id."""
        with self._ledger.transaction():
            content = plain(calibration)
            content["results"] = [self.result(result) for result in calibration.results]
            content["further"] = [self.measurement(further) for further in calibration.further]
            data = canonical_json(content)
            return self._ledger.add_once("calibration", digest(data), data=data)

    def attachment(self, name: str, content: bytes, *, media_type: str = "application/octet-stream") -> int:
        """Keep a file with the record; return its id."""
        return self._ledger.add("attachment", name=name, media_type=media_type, content=content, sha256=digest(content))

    def finish(self, status: EndStatus = "complete", *, reason: str = "") -> None:
        """End the session, seal the record, and close the file, which from then on is whole by itself.

        status: "complete", "aborted" (a person stopped it) or "error"; reason: one sentence on why it is not complete.
        """
        software = encode(environment.code_in_use())
        with self._ledger.transaction() as database:
            self._ledger.append("finished", encode({"status": status, "reason": reason}))
            now = Instant.now()
            database.execute(
                "INSERT INTO ending VALUES (?, ?, ?, ?, ?, ?, ?)",
                (status, reason, iso_utc(now.utc_ns), now.utc_ns, now.monotonic_ns, now.clock, software),
            )
            manifest = seal.manifest_of(database)
            database.execute("INSERT INTO seal VALUES (?, ?)", (manifest, digest(manifest)))
        self._ledger.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._ledger.ended:
                self.finish(_status_after(error), reason=str(error or "") or (kind.__name__ if kind else ""))
        except RecordError as failed:
            if error is None:
                raise
            if not isinstance(error, RecordError):
                error.add_note(str(failed))
        finally:
            self._ledger.close()


def _status_after(error: BaseException | None) -> EndStatus:
    if error is None:
        return "complete"
    return "aborted" if isinstance(error, (Aborted, KeyboardInterrupt, SystemExit)) else "error"
