"""Sentences that differ in their numbers alone, told once with the range of each number."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\w)")


def alike(sentences: Iterable[str]) -> list[str]:
    """Return the sentences, each once; those alike but for their numbers as one: "22.5 to 31.0% of the time".

    In the order in which they come first. Digits inside of words, as in fp32, are no numbers.
    """
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for sentence in dict.fromkeys(sentences):
        groups.setdefault(tuple(_NUMBER.split(sentence)), []).append(_NUMBER.findall(sentence))
    return [_told(words, list(zip(*numbers, strict=True))) for words, numbers in groups.items()]


def _told(words: tuple[str, ...], places: list[tuple[str, ...]]) -> str:
    first, *rest = words
    return first + "".join(_range(numbers) + text for numbers, text in zip(places, rest, strict=True))


def _range(numbers: tuple[str, ...]) -> str:
    least, most = min(numbers, key=float), max(numbers, key=float)
    return least if float(least) == float(most) else f"{least} to {most}"
