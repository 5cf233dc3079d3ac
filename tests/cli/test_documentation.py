"""The reference pages name every key of a bench file and every verb and option of the command line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from aicalib_hw import _bench_file, _bench_plans
from aicalib_hw.cli._app import app

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
TABLES = [
    kind
    for module in (_bench_file, _bench_plans)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == module.__name__
]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group of verbs


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_the_reference_of_the_bench_file_names_every_key(table: type[BaseModel]) -> None:
    page = (REFERENCE / "bench-file.md").read_text(encoding="utf-8")
    headings = " ".join(line for line in page.splitlines() if line.startswith("#"))
    missing = [key for key in table.model_fields if f"`{key}`" not in page and key not in headings]
    assert missing == []


@pytest.mark.parametrize("quantity", _bench_plans.Plans.model_fields)
def test_the_reference_states_the_defaults_of_each_plan(quantity: str) -> None:
    plan: BaseModel = getattr(_bench_plans.Plans(), quantity)
    page = (REFERENCE / "bench-file.md").read_text(encoding="utf-8").partition(f"## `[plan.{quantity}]`")[2]
    for key, value in plan:
        stated = re.search(rf"^\| `{key}` \| [^|]* \| ([^|]*) \|", page, re.MULTILINE)
        assert stated is not None, key
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert float(stated[1]) == value, key
        elif value is None:
            assert not re.search(r"[`\d]", stated[1]), key
        elif stated[1].startswith("`") and isinstance(value, (str, dict)):
            assert tomllib.loads(f"default = {stated[1].strip('`')}")["default"] == value, key


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_the_reference_of_the_command_line_names_every_option(verb: str) -> None:
    page = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    section = page.partition(f"## `aicalib {verb}")[2].partition("\n## ")[0]
    assert section
    options = [name for parameter in COMMANDS[verb].params for name in parameter.opts if name.startswith("--")]
    missing = [name for name in options if name not in section and name not in ("--help", "--json")]
    assert missing == []
