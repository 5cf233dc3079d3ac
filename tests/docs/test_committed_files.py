"""What may stand in no file of the repository: places that only its authors know, and work left undone."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pages import ROOT

FORBIDDEN = {
    "a directory of somebody's machine": r"(?<![\w/.:~-])/(?:[w]ork|[w]orkspace|[r]oot|[h]ome|[U]sers|[m]nt)/\w",
    "a directory outside the repository": r"(?:\.\./)+[s]hared/",
    "a host that serves packages": r"https?://[\w.-]*(?:[p]ypi|[r]egistry|[m]irror|[p]roxy|[n]exus|[a]rtifactory)",
    "where packages come from": r"--(?:extra-)?[i]ndex-url",
    "work left undone": r"\b(?:TO[D]O|FIX[M]E|XX[X]|NotImplemented[E]rror)\b",
}
PICTURES = {".png"}


def committed() -> Iterator[Path]:
    """Every file that git would keep: all but what .gitignore names."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()]
    for directory, folders, files in os.walk(ROOT):
        place = Path(directory)

        def kept(name: str, place: Path = place) -> bool:
            path = (place / name).relative_to(ROOT).as_posix()
            return not any(fnmatch.fnmatch(name, rule) or path == rule for rule in ignored)

        folders[:] = [name for name in folders if name != ".git" and kept(name)]
        yield from (place / name for name in files if name != ".git" and kept(name))


FILES = sorted(committed())


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    rule = re.compile(FORBIDDEN[what])
    found = []
    for path in FILES:
        if path.suffix in PICTURES:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if rule.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_pictures_are_those_of_the_documentation() -> None:
    pictures = [path for path in FILES if path.suffix in PICTURES]
    assert [path for path in pictures if path.parent != ROOT / "docs/pictures"] == []
    assert sum(path.stat().st_size for path in pictures) < 1_000_000
