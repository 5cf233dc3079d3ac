"""A record through the command line: taken out as text, and checked."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from aicalib_hw.records import read_record, verify_record
from tests.records.sessions import write_session
from tests.records.test_seal import change

from .conftest import Command


@pytest.fixture
def record() -> Path:
    Path("session").mkdir()
    return write_session(Path("session") / "record.sqlite")


def test_a_directory_of_sessions_is_answered_with_the_latest_of_them(aicalib: Command) -> None:
    for number, name in enumerate(("20260102-lab", "20260101-lab")):
        path = Path("aicalib-results") / name / "record.sqlite"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (number, number))
    ended = aicalib("report", "aicalib-results")
    assert ended.status == 2
    latest = Path("aicalib-results/20260101-lab")
    assert ended.screen["what to do"] == f"name the latest of the 2 sessions in it: {latest}"


def test_results_come_out_as_a_table(aicalib: Command, record: Path) -> None:
    told = json.loads(aicalib("export", record.parent, "--json").out)
    with Path(told["written"]).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["point"] for row in rows] == [result.title for result in read_record(record).results]
    assert record.parent / "record.csv" == Path(told["written"])


def test_everything_comes_out_as_lines_of_json(aicalib: Command, record: Path) -> None:
    assert aicalib("export", record, "--format", "jsonl", "-o", "all.jsonl").status == 0
    kinds = [json.loads(line)["type"] for line in Path("all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert kinds[0] == "session"
    assert {"equipment", "event", "measurement", "result", "series"} <= set(kinds)


def test_a_whole_record_is_told_with_its_seal(aicalib: Command, record: Path) -> None:
    seal = verify_record(record).seal
    ended = aicalib("verify", record, "--seal", seal)
    assert (ended.status, seal in ended.out) == (0, True)
    assert aicalib("verify", record, "--seal", "0" * 64).status == 2


def test_a_changed_verdict_is_found(aicalib: Command, record: Path) -> None:
    change(record, "UPDATE result SET data = replace(data, 'FAIL', 'PASS')")
    ended = aicalib("verify", record, "--json")
    told = json.loads(ended.out)
    assert (ended.status, told["whole"]) == (2, False)
    assert any("result" in problem for problem in told["problems"])


@pytest.mark.parametrize("verb", ["export", "verify", "report"])
def test_what_is_no_record_is_refused(aicalib: Command, verb: str) -> None:
    Path("notes.txt").write_text("no record")
    assert aicalib(verb, "notes.txt").status == 2
    ended = aicalib(verb, "nowhere")
    assert ended.status == 2
    assert ended.screen["what"] == "there is no record"
