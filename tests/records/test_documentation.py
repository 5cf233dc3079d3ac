"""What the reference says of the file is what is in the file."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from .sessions import write_session

PAGE = (Path(__file__).parents[2] / "docs/reference/record.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `")]
DOCUMENTED = {name.strip(" `"): set(re.findall(r"`([a-z_0-9]+)`", columns)) for name, _, columns in ROWS}
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
VALUES_THAT_LOOK_LIKE_COLUMNS = {"instant", "interval_mean"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    return sqlite3.connect(write_session(tmp_path_factory.mktemp("record") / "record.sqlite"))


def test_every_table_view_and_column_is_documented_and_none_is_invented(database: sqlite3.Connection) -> None:
    names = [row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")]
    there = {name: {row[1] for row in database.execute(f"PRAGMA table_xinfo({name})")} for name in names}
    assert {name: columns - VALUES_THAT_LOOK_LIKE_COLUMNS for name, columns in DOCUMENTED.items()} == there


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_page_finds_something(database: sqlite3.Connection, query: str) -> None:
    assert database.execute(query).fetchall()


def test_the_views_agree_with_what_was_measured(database: sqlite3.Connection) -> None:
    assert database.execute("SELECT count(*) FROM run WHERE NOT used").fetchone() == (2,)
    durations = {row[0] for row in database.execute("SELECT duration_s FROM run")}
    assert durations == {10.0, 5.0}
    verdicts = dict(database.execute("SELECT title, verdict FROM verdict"))
    assert verdicts["0% load"] == "PASS"
    assert verdicts["50% load"] == "FAIL"
    shares = database.execute("SELECT sum(share) FROM budget_component GROUP BY result_id").fetchall()
    assert [round(share, 9) for (share,) in shares] == [1.0] * 5
    assert database.execute("SELECT number FROM certificate").fetchall() == [("2026-E-00417",)]
    starts = [row[0] for row in database.execute("SELECT started_at FROM measurement")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", start) for start in starts)
