"""The pages of the documentation, and what stands in them: headings, code blocks, links, spans of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README, README_ZH = ROOT / "README.md", ROOT / "README.zh-CN.md"

_FENCE = re.compile(r"^(`{3,}|~{3,})(.*)$")
_MARK = re.compile(r"<!-- (run|not run): (.+?) -->")
_HEADING = re.compile(r"^(#{1,6}) (.+)$")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)|(?:href|src)=\"([^\"]+)\"")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def pages() -> list[Path]:
    """Every page that people read: at the root, in the folders beside the core, and in docs."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found += [ROOT / folder / "README.md" for folder in ("native", "instruments", "simulators")]
    return sorted(path for path in found if path.is_file() and "_build" not in path.parts)


def name_of(path: Path) -> str:
    """Return the page's path in the repository, for the name of a test."""
    return path.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A fenced block. mark: what an HTML comment before it says ("run: pytest", "not run: …"), else ""."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"{name_of(self.page)}:{self.line}"

    @property
    def without_comments(self) -> str:
        """The text without comments, which may be in the reader's language."""
        return "\n".join(re.sub(r"\s*(?<!\S)#.*", "", line).rstrip() for line in self.text.splitlines())


def _split(page: Path) -> tuple[list[Block], list[str]]:
    """The blocks of a page, and its other lines (an empty one for each line of a block)."""
    blocks: list[Block] = []
    prose: list[str] = []
    fence, language, begin, mark = "", "", 0, ""
    inside: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        found = _FENCE.match(line)
        if not fence and found:
            fence, language, begin, inside = found[1], found[2].strip(), number, []
        elif fence and line.strip() == fence:
            blocks.append(Block(page, begin, language, "\n".join(inside), mark))
            fence, mark = "", ""
        elif fence:
            inside.append(line)
        else:
            told = _MARK.fullmatch(line.strip())
            if told:
                mark = f"{told[1]}: {told[2]}"
            elif line.strip():
                mark = ""
            prose.append(line)
            continue
        prose.append("")
    return blocks, prose


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the fenced blocks of a page, of these languages or of all."""
    return [block for block in _split(page)[0] if not languages or block.language in languages]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return "\n".join(_split(page)[1])


def headings(page: Path) -> list[tuple[int, str]]:
    """Return level and text of each heading."""
    found = (_HEADING.match(line) for line in _split(page)[1])
    return [(len(match[1]), match[2]) for match in found if match]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and Sphinx make them."""
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for _, text in headings(page)}


def links(page: Path) -> list[str]:
    """Return the targets of all links and pictures of a page."""
    return [match[1] or match[2] for match in _LINK.finditer(_SPAN.sub("", prose(page)))]


def spans(page: Path) -> Iterator[str]:
    """Yield what stands between single backticks."""
    yield from _SPAN.findall(prose(page))
