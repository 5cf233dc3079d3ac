"""Links between pages lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import ROOT, anchors, links, name_of, pages


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for target in links(page):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        there = linked.exists() and linked.is_relative_to(ROOT)
        if not there or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []
