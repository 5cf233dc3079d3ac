"""The dialect that Yokogawa's WT meters share: headers in replies, upper-level queries, numbers and their units.

From the grammar chapters of IM WT310E-17EN, IM WT3001E-17EN and IM WT5000-17EN. Mnemonics of every length between
short and long form are accepted, errors are positive numbers, and a reply repeats its header while
`:COMMunicate:HEADer` is on, in full words while `:COMMunicate:VERBose` is on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from ..dialects.scpi.engine import CommandError, Device, integer
from ..dialects.scpi.tree import Word, pattern

Data = Sequence[bytes]
Suffixes = Sequence[int]
Setter = Callable[[Suffixes, Data], None]
Getter = Callable[[Suffixes], str]
T = TypeVar("T")

_MULTIPLIERS = {
    "EX": 1e18, "PE": 1e15, "T": 1e12, "G": 1e9, "MA": 1e6, "K": 1e3, "": 1.0, "M": 1e-3, "U": 1e-6, "N": 1e-9,
    "P": 1e-12, "F": 1e-15,
}  # fmt: skip
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?)\s*([A-Z]*)")

TEXTS = {113: "Undefined Header"}
"""Texts of errors that the manuals print; others are the standard's."""


def text(data: Data) -> str:
    """Return the one parameter as upper-case text; raises CommandError for none or several."""
    if not data:
        raise CommandError(109)
    if len(data) > 1:
        raise CommandError(108)
    return data[0].decode("ascii", "replace").strip().upper()


def number(data: Data, unit: str = "") -> float:
    """Return the one number in `data`; unit: "V", "A", "S", "HZ", which may follow with a multiplier."""
    given = text(data)
    match = _NUMBER.fullmatch(given)
    if match is None:
        raise CommandError(104)
    value, suffix = float(match.group(1)), match.group(2)
    if not suffix:
        return value
    if not unit:
        raise CommandError(138)
    if unit == "A" and suffix == "MA":
        return value * 1e-3  # milliampere, although MA is mega elsewhere
    stem = suffix.removesuffix(unit)
    if stem == suffix and suffix not in _MULTIPLIERS:
        raise CommandError(131)
    if stem not in _MULTIPLIERS:
        raise CommandError(131)
    return value * _MULTIPLIERS[stem]


def boolean(data: Data) -> bool:
    """Return ON, OFF or a number (0 = off)."""
    given = text(data)
    if given in ("ON", "OFF"):
        return given == "ON"
    try:
        return round(float(given)) != 0
    except ValueError:
        raise CommandError(104) from None


def one_of(data: Data, words: Iterable[str]) -> str:
    """Return the word of `words` (manual spelling, capitals = short form) that was given, in upper case."""
    given = text(data)
    for word in words:
        short = re.sub("[a-z]", "", word)
        if given.startswith(short) and word.upper().startswith(given):
            return word.upper()
    raise CommandError(141)


def nr3(value: float, digits: int) -> str:
    """Return `value` with so many significant digits and an exponent in steps of three: 300.0E+00."""
    if value == 0:
        return f"{0:.{digits - 1}f}E+00"
    exponent = math.floor(math.log10(abs(value)) / 3 + 1e-9) * 3
    mantissa = value / 10.0**exponent
    places = digits - 1 - math.floor(math.log10(abs(mantissa)) + 1e-9)
    return f"{mantissa:.{max(places, 0)}f}E{exponent:+03d}"


def on_range(value: float, full: float) -> str:
    """Return a measured value with the digits and the exponent that its range `full` gives: 2.3000E+03 on 6 kW."""
    exponent = math.floor(math.log10(full) / 3 + 1e-9) * 3
    places = 4 - math.floor(math.log10(full / 10.0**exponent) + 1e-9)
    return f"{value / 10.0**exponent:.{places}f}E{exponent:+03d}"


@dataclass(frozen=True, slots=True)
class _Leaf:
    words: tuple[Word, ...]
    get: Getter
    listed: Callable[[], Iterable[tuple[int, ...]]] | None


class SettingTree:
    """Registers settings with a device, so that each also answers within the queries above it.

    Register all, then call `grow()` once. Words that may be left out are shown in replies all the same. before: called
    before each command, with `lock` held until the command is done.
    """

    def __init__(self, device: Device, lock: AbstractContextManager[Any], before: Callable[[], None]) -> None:
        self._device = device
        self._lock = lock
        self._before = before
        self._leaves: list[_Leaf] = []
        self._register: list[Callable[[], None]] = []
        self.header = True
        self.verbose = True
        self.words: dict[str, str] = {}

    def add(
        self,
        path: str,
        *,
        set: Setter | None = None,
        get: Getter | None = None,
        listed: Callable[[], Iterable[tuple[int, ...]]] | None = None,
        below: bool = True,
    ) -> None:
        """Add a setting. listed: gives the suffixes it is listed with; below: whether upper-level queries show it."""
        words = pattern(path)
        if get is not None and below:
            self._leaves.append(_Leaf(words, get, listed))
        getter, setter = get, set
        ask = None if getter is None else lambda suffixes, data: self._one(words, getter, suffixes, data)
        self._later(path, setter, ask)

    def ask(self, path: str, get: Callable[[Suffixes, Data], str | bytes]) -> None:
        """Add a query whose reply never has a header."""
        self._later(path, None, get)

    def act(self, path: str, action: Callable[[], object]) -> None:
        """Add a command without parameter."""

        def run(_: Suffixes, data: Data) -> None:
            if data:
                raise CommandError(108)
            action()

        self._later(path, run, None)

    def speak(self, *spellings: str) -> None:
        """Make known the words of replies that have a short form, in the manual's spelling: for VERBOSE off."""
        self.words.update({word.upper(): re.sub("[a-z]", "", word) for word in spellings})

    def _later(self, path: str, set: Setter | None, ask: Callable[[Suffixes, Data], str | bytes] | None) -> None:
        self._register.append(
            lambda: self._device.command(
                path,
                set=None if set is None else self._within(set),
                ask=None if ask is None else self._within(ask),
                headless=True,
            )
        )

    def _within(self, handler: Callable[[Suffixes, Data], T]) -> Callable[[Suffixes, Data], T]:
        def run(suffixes: Suffixes, data: Data) -> T:
            with self._lock:
                self._before()
                return handler(suffixes, data)

        return run

    def grow(self) -> None:
        """Register everything; queries of whole branches come first, so that they are found before shorter forms."""
        seen: set[tuple[str, ...]] = set()
        for leaf in self._leaves:
            for depth in range(1, len(leaf.words)):
                branch = leaf.words[:depth]
                key = tuple(word.long for word in branch)
                if key in seen:
                    continue
                seen.add(key)
                path = "".join(self._spelling(word, last=word is branch[-1]) for word in branch)
                self._device.command(path, ask=self._within(self._branch(key)), headless=True)
        for register in self._register:
            register()
        self._register.clear()

    @staticmethod
    def _spelling(word: Word, *, last: bool) -> str:
        plain = f":{word.short}{word.long[len(word.short) :].lower()}" + ("<x>" if word.suffixed else "")
        return f"[{plain}]" if word.optional and not last else plain

    def _one(self, words: tuple[Word, ...], get: Getter, suffixes: Suffixes, data: Data) -> str:
        if data:
            raise CommandError(108)
        value = self._value(get, suffixes)
        return f":{':'.join(self._path(words, suffixes))} {value}" if self.header else value

    def _branch(self, key: tuple[str, ...]) -> Callable[[Suffixes, Data], str]:
        def answer(_: Suffixes, data: Data) -> str:
            if data:
                raise CommandError(108)
            parts: list[str] = []
            parent: list[str] | None = None
            for leaf in self._leaves:
                if tuple(word.long for word in leaf.words[: len(key)]) != key:
                    continue
                for suffixes in leaf.listed() if leaf.listed is not None else [()]:
                    value = self._value(leaf.get, suffixes)
                    if not self.header:
                        parts.append(value)
                        continue
                    path = self._path(leaf.words, suffixes)
                    if parent is not None and path[: len(parent)] == parent:
                        parts.append(f"{':'.join(path[len(parent) :])} {value}")
                    else:
                        parts.append(f":{':'.join(path)} {value}")
                    parent = path[:-1]
            return ";".join(parts)

        return answer

    def _path(self, words: Sequence[Word], suffixes: Suffixes) -> list[str]:
        left = list(suffixes)
        path = []
        for word in words:
            name = word.long if self.verbose else word.short
            path.append(f"{name}{left.pop(0) if left else 1}" if word.suffixed else name)
        return path

    def _value(self, get: Getter, suffixes: Suffixes) -> str:
        value = get(suffixes)
        return value if self.verbose else ",".join(self.words.get(part, part) for part in value.split(","))


def register(data: Data, most: int = 65535) -> int:
    """Return a register's value: NRf or #H, #Q, #B."""
    value = integer(data)
    if not 0 <= value <= most:
        raise CommandError(222)
    return value


def integer_in(data: Data, least: int, most: int) -> int:
    """Return an integer within bounds; raises CommandError(222) outside."""
    value = integer(data)
    if not least <= value <= most:
        raise CommandError(222)
    return value


def closest(value: float, ranges: Sequence[float]) -> float:
    """Return the range that was meant; raises CommandError(222) for one that there is not."""
    for one in ranges:
        if math.isclose(one, value, rel_tol=1e-6):
            return one
    raise CommandError(222)
