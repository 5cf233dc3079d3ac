"""The English and the Chinese README say the same: sections, code, pictures, links, tables."""

from __future__ import annotations

import re
from pathlib import Path

from .pages import README, README_ZH, blocks, headings, links, prose


def other_language(target: str) -> str:
    return {README.name: README_ZH.name, README_ZH.name: README.name}.get(target, target)


def table_rows(page: Path) -> int:
    return sum(line.startswith("|") for line in prose(page).splitlines())


def test_they_have_the_same_sections() -> None:
    assert [level for level, _ in headings(README)] == [level for level, _ in headings(README_ZH)]


def test_they_have_the_same_code_but_for_comments() -> None:
    english = [(block.language, block.without_comments) for block in blocks(README)]
    assert english == [(block.language, block.without_comments) for block in blocks(README_ZH)]
    assert english


def test_they_link_to_the_same_places_in_the_same_order() -> None:
    assert links(README) == [other_language(target) for target in links(README_ZH)]


def test_their_tables_have_the_same_rows() -> None:
    assert table_rows(README) == table_rows(README_ZH)


def test_the_chinese_one_is_chinese_and_the_english_one_is_not() -> None:
    han = re.compile(r"[\u4e00-\u9fff]")
    chinese, english = prose(README_ZH), prose(README)
    assert len(han.findall(chinese)) > len(chinese) / 5
    assert len(han.findall(english)) < 40
