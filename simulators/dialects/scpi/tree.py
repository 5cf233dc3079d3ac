"""A table of commands written as manuals write them, and how received headers find their row.

`:INPut:VOLTage:RANGe[:ELEMent<x>]`: capitals are the short form, brackets may be left out, `<x>` is
a numeric suffix. "strict" accepts the short and the long form, "between" every length in between too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .parser import Mnemonic

Lengths = Literal["strict", "between"]
_WORD = re.compile(r"(\[)?:?([A-Z*]+)([a-z]*)(<x>)?(\])?")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a pattern."""

    short: str
    long: str
    suffixed: bool
    optional: bool

    def accepts(self, given: Mnemonic, lengths: Lengths) -> bool:
        """True if the received mnemonic is this word."""
        if given.suffix is not None and not self.suffixed:
            return False
        if lengths == "strict":
            return given.word in (self.short, self.long)
        return given.word.startswith(self.short) and self.long.startswith(given.word)


@dataclass(frozen=True, slots=True)
class Row:
    """One command: its pattern, and what sets and asks it; None = there is no such form.

    headless: a reply never repeats the header. final: a reply must be the last of its message. query_data: how many
    data elements the query takes at most, None = its handler looks.
    """

    words: tuple[Word, ...]
    set: Callable[..., Any] | None
    ask: Callable[..., Any] | None
    headless: bool
    final: bool = False
    query_data: int | None = None

    @property
    def long_header(self) -> str:
        """The header a reply repeats: long forms of the words that are not optional."""
        return ":" + ":".join(word.long for word in self.words if not word.optional)


def pattern(text: str) -> tuple[Word, ...]:
    """Compile a header pattern."""
    words = []
    for optional, short, rest, suffix, _ in _WORD.findall(text):
        words.append(Word(short, short + rest.upper(), bool(suffix), bool(optional)))
    return tuple(words)


def match(words: Sequence[Word], given: Sequence[Mnemonic], lengths: Lengths) -> list[int] | None:
    """Return the numeric suffixes of the suffixed words (1 where left out), None if it does not match."""
    if not words:
        return None if given else []
    first, rest = words[0], words[1:]
    if given and first.accepts(given[0], lengths):
        below = match(rest, given[1:], lengths)
        if below is not None:
            own = [given[0].suffix if given[0].suffix is not None else 1] if first.suffixed else []
            return own + below
    if first.optional:
        below = match(rest, given, lengths)
        if below is not None:
            return ([1] if first.suffixed else []) + below
    return None
