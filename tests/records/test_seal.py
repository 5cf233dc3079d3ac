"""A record that was changed behind its back is found out, and the report of it says where."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest

from aicalib_hw.records import Record, read_record, verify_record
from aicalib_hw.records.schema import STATEMENTS

from .sessions import BENCH, PLAN, Story, compute, power_series, write_session

CHANGES = {
    "a sample": ("UPDATE sample_chunk SET value = zeroblob(length(value))", "sample_chunk 1"),
    "a sample and its digest": (
        "UPDATE sample_chunk SET value = zeroblob(length(value)), sha256 = 'made up'",
        "sample_chunk 1 has been changed",
    ),
    "a measured value": (
        "UPDATE measurement SET data = replace(data, '\"W\"', '\"kW\"') WHERE id = 4",
        "measurement 4",
    ),
    "a verdict": ("UPDATE result SET data = replace(data, 'FAIL', 'PASS')", "result 4 has been changed"),
    "who measured": ("UPDATE equipment SET data = replace(data, 'C3SB', 'C4SB')", "equipment 2"),
    "the agreed rule": ("UPDATE session SET rule = 'simple'", "session 1"),
    "what happened": ("UPDATE event SET data = '{}' WHERE kind = 'warning'", "has been changed"),
    "when it happened": ("UPDATE event SET utc_ns = utc_ns + 1 WHERE number = 5", "event 5 has been changed"),
    "how it ended": ("UPDATE ending SET status = 'error'", "manifest"),
    "the seal": ("UPDATE seal SET sha256 = 'made up'", "does not fit its manifest"),
    "a result taken out": ("DELETE FROM result WHERE id = 4", "result 4 is missing"),
    "an event taken out": ("DELETE FROM event WHERE kind = 'warning'", "does not follow"),
    "the last event taken out": ("DELETE FROM event WHERE kind = 'finished'", "manifest"),
    "a calibration put in": (
        "INSERT INTO calibration (id, data, sha256) SELECT 9, data, 'made up' FROM calibration LIMIT 1",
        "calibration 9 has been added from outside",
    ),
}


def change(path: Path, statement: str) -> None:
    """Do what the triggers forbid, and leave the tables as they were."""
    database = sqlite3.connect(path)
    triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    assert database.execute(statement).rowcount > 0
    for _, sql in triggers:
        database.execute(sql)
    database.commit()
    database.close()


@pytest.mark.parametrize(("statement", "said"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_found(tmp_path: Path, statement: str, said: str) -> None:
    path = write_session(tmp_path / "record.sqlite")
    assert verify_record(path)
    change(path, statement)
    found = verify_record(path)
    assert not found
    assert said in "\n".join(found.problems)


def test_a_record_that_broke_off_has_no_seal_and_its_changes_are_found_all_the_same(tmp_path: Path) -> None:
    with Record.create(tmp_path / "a.sqlite", title="", bench=BENCH, rule="none", plan=PLAN) as record:
        record.calibration(compute(Story()))
        record.series("power", power_series(Story()))
        assert verify_record(record.path).seal == ""
        for suffix in ("", "-wal"):
            (tmp_path / f"b.sqlite{suffix}").write_bytes((tmp_path / f"a.sqlite{suffix}").read_bytes())
    change(tmp_path / "b.sqlite", "UPDATE measurement SET data = replace(data, 'avx512', 'avx2')")
    found = verify_record(tmp_path / "b.sqlite")
    assert (found.seal, len(found.problems)) == ("", 3)


def test_a_table_changed_in_its_definition_is_found(tmp_path: Path) -> None:
    path = write_session(tmp_path / "record.sqlite")
    database = sqlite3.connect(path)
    database.execute("DROP VIEW verdict")
    database.close()
    assert "manifest" in "".join(verify_record(path).problems)
    assert "CREATE VIEW verdict" in STATEMENTS


def test_the_chain_can_be_checked_with_nothing_but_a_hash(tmp_path: Path) -> None:
    path = write_session(tmp_path / "record.sqlite")
    previous = "0" * 64
    database = sqlite3.connect(path)
    query = "SELECT number, utc_ns, monotonic_ns, clock, kind, data, sha256 FROM event ORDER BY number"
    events = database.execute(query).fetchall()
    for *fields, mark in events:
        text = json.dumps([previous, *fields], separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(text.encode()).hexdigest()
        assert previous == mark
    manifest, seal = database.execute("SELECT manifest, sha256 FROM seal").fetchone()
    database.close()
    assert len(events) > 10
    assert json.loads(manifest)["head"] == [previous]
    assert hashlib.sha256(manifest.encode()).hexdigest() == seal == read_record(path).seal
