"""A report as a reader's program sees it: elements, text, tables; it notices tags that do not match."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

EMPTY = {"meta", "img", "br", "link", "hr", "input"}


@dataclass
class Element:
    """One element with its attributes, its children and text in their order."""

    tag: str
    attributes: dict[str, str]
    content: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = [part if isinstance(part, str) else part.text for part in self.content]
        return " ".join(" ".join(parts).split(" ")).strip()

    def all(self, tag: str) -> list[Element]:
        found = []
        for part in self.content:
            if isinstance(part, Element):
                found += [part] * (part.tag == tag) + part.all(tag)
        return found

    def rows(self) -> list[list[str]]:
        return [[cell.text for cell in row.content if isinstance(cell, Element)] for row in self.all("tr")]


@dataclass
class Page:
    """source: the file's text. root: the html element."""

    path: Path
    source: str
    root: Element

    @property
    def body(self) -> Element:
        return self.root.all("body")[0]

    @property
    def text(self) -> str:
        """What is seen, spaces of every width taken as one."""
        return " ".join(self.body.text.split())

    def section(self, id: str) -> Element:
        (found,) = (one for one in self.root.all("section") if one.attributes.get("id") == id)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("document", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].content.append(element)
        if tag not in EMPTY:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}> at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def read_page(path: Path) -> Page:
    source = path.read_text(encoding="utf-8")
    reader = _Reader()
    reader.feed(source)
    reader.close()
    assert [element.tag for element in reader.open] == ["document"], "an element is not closed"
    (root,) = (part for part in reader.open[0].content if isinstance(part, Element))
    return Page(path, source, root)
