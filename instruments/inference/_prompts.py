"""Prompts of a stated number of tokens, for a service whose tokenizer nobody here has.

Common words are sent, eight of one kind at a time, and the service's own usage tells what one of them costs. Words of
one cost give prompts of one length in any order, so that each can differ from all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aicalib_hw.errors import OutOfRange

OPENING = "Say"
_COPIES = 8
_ENOUGH = 8
_FEWEST = 4
# fmt: off
_WORDS = (
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state",
    "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company",
    "system", "program", "question", "work", "number", "night", "point", "home", "water", "room", "a", "b", "c",
    "d", "e", "f", "g", "h", "i", "j", "k", "l",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Prompts:
    """What prompts are made of: the opening, `count` of `words` in any order, and the closing.

    tokens: of a prompt, by the service's usage, None = it states none. exact: whether they are as many as were asked
    for.
    """

    words: tuple[str, ...]
    count: int
    closing: str
    tokens: int | None
    exact: bool

    @property
    def example(self) -> str:
        """One of them."""
        words = "".join(f" {self.words[index % len(self.words)]}" for index in range(self.count))
        return f"{OPENING}{words}{self.closing}"


def prompts_of(wanted: int, ask: Callable[[str], int | None]) -> Prompts:
    """Find what prompts of `wanted` tokens are made of; `ask` sends a text and returns its tokens by usage.

    Raises OutOfRange where the service takes more for any prompt at all.
    """
    base = ask(OPENING)
    if base is None:
        return Prompts(_WORDS[:20], max(1, wanted - 1), "", None, exact=False)
    if wanted <= base:
        raise OutOfRange(
            f"a prompt of {wanted} tokens cannot be made here",
            why=f"this service counts {base} tokens for a prompt of one word",
            advice=f"ask for input_tokens of {base + 8} or more",
        )
    costs: dict[int, list[str]] = {}
    for word in _WORDS:
        counted = ask(OPENING + f" {word}" * _COPIES)
        cost, rest = divmod((counted or 0) - base, _COPIES)
        if cost > 0 and not rest:
            costs.setdefault(cost, []).append(word)
        if len(costs.get(1, ())) >= _ENOUGH:
            break
    fitting = sorted(cost for cost, words in costs.items() if len(words) >= _FEWEST)
    if not fitting:
        return Prompts(_WORDS[:20], max(1, wanted - base), "", None, exact=False)
    cost = fitting[0]
    count, rest = divmod(wanted - base, cost)
    closing = f" {costs[1][0]}" * rest if 1 in costs else ""
    made = Prompts(tuple(costs[cost]), count, closing, None, exact=False)
    tokens = ask(made.example)
    return Prompts(made.words, count, closing, tokens, exact=tokens == wanted)
