"""Tokens of the simulated model: one token is one word with the space before it, so that anybody can count them.

A prompt has as many tokens as words, or as token numbers where it is given as numbers; each chat message has
`TEMPLATE` more. Some words need several bytes a character, as bytes may be cut anywhere on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WORDS = (
    "power", "meter", "算力", "clock", "heat", "mesure", "précision", "校准", "kernel", "Wärme", "token", "étalon",
    "sample", "功率", "window", "Ω", "energy", "🔋", "stream", "误差", "range", "größe", "mains", "load",
)  # fmt: skip
TEMPLATE = 4
"""Tokens that the chat template adds to each message; one more message stands for the answer's beginning."""
END = 1
"""Number of the token that ends a text, for `logit_bias`."""


def text_of(first: int, count: int) -> str:
    """Return the text of `count` tokens from number `first` of an answer."""
    return "".join(f" {WORDS[number % len(WORDS)]}" for number in range(first, first + count))


def words_of(text: str) -> int:
    """Return how many tokens a text has."""
    return len(text.split())


def numbers_of(text: str) -> list[int]:
    """Return token numbers of a text: of its own words those of the vocabulary, of others made up beyond it."""
    known = {word: number + 2 for number, word in enumerate(WORDS)}
    return [known.get(word, 1000 + sum(word.encode()) % 30000) for word in text.split()]


def text_of_numbers(numbers: Sequence[int]) -> str:
    """Return a text that has as many tokens as numbers were given."""
    return "".join(f" {WORDS[number - 2] if 2 <= number < len(WORDS) + 2 else f'w{number}'}" for number in numbers)


def prompt_tokens(prompt: Any) -> int:
    """Return the tokens of a completion's prompt: a text or token numbers; raises ValueError for anything else."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return words_of(prompt)
    if isinstance(prompt, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in prompt):
        return len(prompt)
    raise ValueError("several prompts in one request are not simulated")


def chat_tokens(messages: Any) -> int:
    """Return the tokens of a chat's messages; raises ValueError where they are none."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages must be a list with at least one message")
    total = TEMPLATE
    for message in messages:
        if not isinstance(message, dict) or "role" not in message:
            raise ValueError("each message needs a role")
        content = message.get("content") or ""
        if isinstance(content, list):
            content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        total += TEMPLATE + words_of(str(content))
    return total
