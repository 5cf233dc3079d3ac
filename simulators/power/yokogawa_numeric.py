"""The NUMeric group of Yokogawa's WT meters: the list of items, its presets, values in ASCII and FLOAT format, hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..dialects.scpi.engine import CommandError
from .yokogawa_grammar import Data, SettingTree, Suffixes, boolean, integer_in, nr3, one_of, text
from .yokogawa_items import DISTORTION, INTEGRALS, NO_ELEMENT, NONE, Item, Update, evaluate, values_bytes, values_text

MOST = 255
"""Length of the list of items."""

Pattern = tuple[str, ...]


class NumericList:
    """What `:NUMeric` sets and asks.

    functions: long name → manual spelling, of those that the meter has. patterns: of `:PRESet` 1…4, per element.
    default: number of the pattern after a reset. elements: how many the meter has; slots: for how many a pattern has
    room, with sigmas behind. count: default of `:NUMber`. extra: values of functions that the meter itself gives.
    """

    def __init__(
        self,
        tree: SettingTree,
        update: Callable[[], Update],
        *,
        functions: Sequence[str],
        patterns: Mapping[int, Pattern],
        default: int,
        elements: int,
        slots: int,
        sigmas: Sequence[str],
        count: int,
        orders: int,
        before_integration: float | None,
        extra: Mapping[str, Callable[[], float | None]] | None = None,
    ) -> None:
        self._update = update
        self._functions = tuple(functions)
        self._patterns = patterns
        self._default = default
        self._elements = elements
        self._slots = slots
        self._sigmas = tuple(sigmas)
        self._count = count
        self._orders = orders
        self._before = before_integration
        self._extra = extra or {}
        self.reset()
        tree.speak("ASCii", "FLOat", "TOTal", *functions)
        tree.add("NUMeric:FORMat", set=self._set_format, get=lambda _: self.format)
        tree.add(
            "NUMeric[:NORMal]:NUMber",
            set=self._set_number,
            get=lambda _: str(self.number),
        )
        tree.add(
            "NUMeric[:NORMal]:ITEM<x>",
            set=self._set_item,
            get=lambda suffixes: self.items[self._index(suffixes[0])].text(),
            listed=lambda: [(index + 1,) for index in range(self.number)],
        )
        tree.add("NUMeric[:NORMal]:CLEar", set=lambda _, data: self._clear(data, delete=False))
        tree.add("NUMeric[:NORMal]:DELete", set=lambda _, data: self._clear(data, delete=True))
        tree.add("NUMeric[:NORMal]:PRESet", set=lambda _, data: self._preset(integer_in(data, 1, 4)))
        tree.ask("NUMeric[:NORMal]:VALue", self._values)
        tree.add("NUMeric:HOLD", set=self._set_hold, get=lambda _: str(int(self._held is not None)))

    def reset(self) -> None:
        """Default items, ASCII, no hold."""
        self.format = "ASCII"
        self._held: Update | None = None
        self.items: list[Item] = []
        self._preset(self._default)
        self.number = self._count

    def _set_format(self, _: Suffixes, data: Data) -> None:
        self.format = one_of(data, ("ASCii", "FLOat"))

    def _set_number(self, _: Suffixes, data: Data) -> None:
        self.number = MOST if text(data) == "ALL" else integer_in(data, 1, MOST)

    def _set_hold(self, _: Suffixes, data: Data) -> None:
        self._held = self._update() if boolean(data) else None

    def _set_item(self, suffixes: Suffixes, data: Data) -> None:
        index = self._index(suffixes[0])
        if not 1 <= len(data) <= 3:
            raise CommandError(109 if not data else 108)
        self.items[index] = self._item([text([part]) for part in data])

    def _item(self, given: Sequence[str]) -> Item:
        if given[0] == "NONE":
            return NONE
        function = one_of([given[0].encode()], self._functions)
        if function in NO_ELEMENT:
            return Item(function)
        element = given[1] if len(given) > 1 else "1"
        if element.startswith("SIGM"):
            element = "SIGMA" if element == "SIGM" else element
            if element not in self._sigmas:
                raise CommandError(224)
        elif not element.isdigit() or not 1 <= int(element) <= self._elements:
            raise CommandError(224)
        order = given[2] if len(given) > 2 else "TOTAL"
        if order.isdigit():
            if not 1 <= int(order) <= self._orders:
                raise CommandError(222)
        elif order.startswith("TOT"):
            order = "TOTAL"
        elif order != "DC":
            raise CommandError(224)
        return Item(function, element, order)

    def _index(self, number: int) -> int:
        if not 1 <= number <= MOST:
            raise CommandError(114)
        return number - 1

    def _clear(self, data: Data, *, delete: bool) -> None:
        if not 1 <= len(data) <= 2:
            raise CommandError(109 if not data else 108)
        if text(data[:1]) == "ALL":
            first, last = 1, MOST
        else:
            first = integer_in(data[:1], 1, MOST)
            last = integer_in(data[1:], first, MOST) if len(data) == 2 else first if delete else MOST
        if delete:
            del self.items[first - 1 : last]
            self.items.extend([NONE] * (MOST - len(self.items)))
        else:
            self.items[first - 1 : last] = [NONE] * (last - first + 1)

    def _preset(self, number: int) -> None:
        pattern = self._patterns[number]
        columns = [str(element) for element in range(1, self._slots + 1)] + list(self._sigmas)
        items = [NONE if name == "NONE" else Item(name, column) for column in columns for name in pattern]
        fitting = [
            NONE if item.element.isdigit() and int(item.element) > self._elements else item for item in items[:MOST]
        ]
        self.items = fitting + [NONE] * (MOST - len(fitting))

    def _values(self, _: Suffixes, data: Data) -> str | bytes:
        update = self._held or self._update()
        chosen = [self.items[integer_in(data, 1, MOST) - 1]] if data else self.items[: self.number]
        found = [self._found(update, item) for item in chosen]
        if self.format == "FLOAT":
            return values_bytes([value for value, _ in found])
        return ",".join(_written(item, *one) for item, one in zip(chosen, found, strict=True))

    def _found(self, update: Update, item: Item) -> tuple[float | None, float | None]:
        if item.function in self._extra:
            return (None if update.blank else self._extra[item.function]()), None
        return evaluate(update, item, self._before)


def _written(item: Item, value: float | None, full: float | None) -> str:
    if item.function == "TIME" and value is not None:
        return str(int(value))
    if item.function in INTEGRALS and value is not None:
        return nr3(value, 6)
    digits = 2 if item.function == "PHI" else 3 if item.function in DISTORTION or item.function.startswith("CF") else 4
    return values_text(value, full, digits)
