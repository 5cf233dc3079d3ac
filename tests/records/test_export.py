"""A record as text: other programs get every digit, and a unit beside every value."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from aicalib_hw.errors import RecordError
from aicalib_hw.records import export_csv, export_json_lines, read_record

from .sessions import SIMULATED_METER, Story, write_session


def test_the_table_has_a_row_for_each_result(tmp_path: Path) -> None:
    contents = read_record(write_session(tmp_path / "a.sqlite", Story(meter=SIMULATED_METER)))
    with export_csv(contents, tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == [result.decision.verdict.value for result in contents.results]
    assert [row["simulated"] for row in rows] == ["false"] + ["true"] * 5
    for row, result in zip(rows, contents.results, strict=True):
        if result.evaluation is None:
            assert (row["value"], row["validity"]) == ("", "INVALID")
        else:
            assert float(row["value"]) == result.evaluation.value
            assert float(row["expanded_uncertainty"]) == result.evaluation.expanded_uncertainty
            assert row["unit"] == result.evaluation.unit


def test_every_line_is_an_object_that_names_its_type(tmp_path: Path) -> None:
    contents = read_record(write_session(tmp_path / "a.sqlite"))
    text = export_json_lines(contents, tmp_path / "a.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds[0] == "session"
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "session": 1,
        "equipment": 2,
        "event": len(contents.events),
        "measurement": 8,
        "result": 6,
        "series": 1,
    }
    operations = [line["evidence"].get("operations") for line in lines if line["type"] == "measurement"]
    assert {"$int": "10200000000000000000"} in operations


def test_a_directory_that_is_not_there_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    contents = read_record(write_session(tmp_path / "a.sqlite"))
    with pytest.raises(RecordError, match="nowhere"):
        export_csv(contents, tmp_path / "nowhere" / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]
