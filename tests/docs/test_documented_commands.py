"""Every command that a page shows can be typed: the verb is there, and takes these options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from aicalib_hw.cli._app import app

from .pages import ROOT, blocks, name_of, pages, spans

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group of verbs
OPTIONS = {name for verb in COMMANDS.values() for option in verb.params for name in option.opts}
EVERYWHERE = {"--debug", "--version", "--help"}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
PAGES = [page for page in pages() if page.name != "CHANGELOG.md"]


def typed(page: Path) -> list[list[str]]:
    """The commands that a page tells to type, in words."""
    found: list[list[str]] = []
    for block in blocks(page, "console"):
        for line in block.text.splitlines():
            if line.startswith("$ "):
                words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
                words.whitespace_split = True
                found.append([])
                for word in words:
                    if set(word) <= set("&|;"):
                        found.append([])
                    else:
                        found[-1].append(word)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_aicalib_command_is_one(page: Path) -> None:
    mentioned = [span.split() for span in spans(page) if "[" not in span and "…" not in span]
    for command in [*typed(page), *mentioned]:
        words = [word for word in command if word not in EVERYWHERE]
        if words[:1] != ["aicalib"] or len(words) < 2 or words[1].isupper():
            continue
        verb, arguments = words[1], words[2:]
        assert verb in COMMANDS, " ".join(command)
        if arguments:
            COMMANDS[verb].make_context(f"aicalib {verb}", arguments)  # raises for what it does not take


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_that_a_page_names_is_one_of_aicalib(page: Path) -> None:
    named = {span.split()[0].partition("=")[0] for span in spans(page) if span.startswith("--")}
    assert named - OPTIONS - EVERYWHERE == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_is_one(page: Path) -> None:
    commands = [*typed(page), *(span.split() for span in spans(page))]
    named = {words[1] for words in commands if words[0:1] == ["make"] and len(words) > 1}
    assert named - TARGETS == set()
