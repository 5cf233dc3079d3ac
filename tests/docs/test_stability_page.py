"""What the page on stability lists is what there is: no public name is missing, none is invented."""

from __future__ import annotations

import importlib
import re
import tomllib

import pytest
import typer

import aicalib_hw
from aicalib_hw import errors, interfaces
from aicalib_hw.cli import _problems
from aicalib_hw.cli._app import app

from .pages import ROOT

PAGE = (ROOT / "docs/reference/stability.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    begin = PAGE.partition(f"\n## {title}\n")[2]
    assert begin, title
    return begin.partition("\n## ")[0]


def first_table(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_it_lists_exactly_the_names_of_the_package() -> None:
    listed = [name for row in first_table(section("Names of `aicalib_hw`")) for name in code(row[0])]
    assert sorted(listed) == sorted(aicalib_hw.__all__)


def test_it_lists_exactly_the_verbs_of_every_role() -> None:
    text = section("Roles and verbs")
    shared = {name for name in vars(interfaces.Instrument) if not name.startswith("_")} - {"capabilities"}
    assert set(code(text.partition("Beyond these")[0])) - {"capabilities"} == shared
    listed = {code(row[0])[0]: set(code(row[1])) for row in first_table(text)}
    assert listed == {
        role: {name for name in vars(kind) if not name.startswith("_")} - {"capabilities"}
        for role, kind in interfaces.ROLES.items()
    }


MODULES = {
    code(row[0])[0]: code(row[1]) for row in first_table(section("Names of `aicalib_hw`").partition("From modules")[2])
}


@pytest.mark.parametrize("module", MODULES)
def test_the_names_it_gives_of_other_modules_are_there(module: str) -> None:
    home = importlib.import_module(module)
    if module == errors.__name__:
        assert all(hasattr(home.AicalibError("it happened"), name) for name in MODULES[module])
        return
    assert [name for name in MODULES[module] if not hasattr(home, name)] == []


def test_it_lists_exactly_the_entry_point_groups() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    listed = [code(row[0])[0] for row in first_table(section("Entry points"))]
    assert sorted(listed) == sorted(name for name in groups if name.startswith("aicalib_hw"))


def test_it_lists_exactly_the_verbs_of_the_command_line() -> None:
    listed = [name for row in first_table(section("The command line")) for name in code(row[0])]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group of verbs
    assert sorted(listed) == sorted(f"aicalib {verb}" for verb in commands)


def test_it_lists_every_exit_status_that_an_error_carries() -> None:
    table = section("The command line").partition("exit statuses")[2]
    listed = {int(number) for row in first_table(table) for number in re.findall(r"\d+", row[0])}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.AicalibError)]
    carried = {kind.exit_status for kind in kinds}
    assert listed == {0, 1, 130, 143, _problems.FAULT_OF_THE_PROGRAM} | carried
