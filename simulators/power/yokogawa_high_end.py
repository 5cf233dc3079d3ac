"""What the larger WT meters share: settings for each element, wiring units, sigma values, harmonics.

From IM WT3001E-17EN chapter 6, whose names the WT1800E and the WT5000 follow (by analogy where their own manuals are
not known). Models give ranges, update intervals, functions and status bits as data.

Not simulated: user functions, motor input, delta measurement, wiring compensation, lists of harmonics, waveforms; the
coupling of ranges within a wiring unit while `:INPut:INDependent` is off; update interval AUTO.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from pydantic import Field

from ..dialects.scpi.engine import CommandError
from ..world.mains import Seen
from .metering import AutoRange, Limits
from .yokogawa_base import Element, YokogawaMeter, YokogawaOptions
from .yokogawa_grammar import Data, SettingTree, Suffixes, boolean, closest, integer_in, nr3, number, one_of, text
from .yokogawa_items import SIGMAS, WIRINGS, Sum
from .yokogawa_numeric import NumericList

MIXED = 863
"""One current range for all elements, of which some are of another size."""

_ONE = ("U", "I", "P", "S", "Q", "LAMBDA", "PHI", "FU", "FI")
_PEAKS = ("UPPEAK", "UMPEAK", "IPPEAK", "IMPEAK", "CFU", "CFI")
_ENERGY = ("TIME", "WH", "WHP", "WHM", "AH", "AHP", "AHM", "WS", "WQ")
PATTERNS = {1: (*_ONE, "NONE"), 2: _ONE + _PEAKS, 3: (*_ONE[:5], *_ENERGY, "NONE"), 4: (*_ONE, *_PEAKS, "PC", *_ENERGY)}
"""Presets of the list of items (IM WT3001E-17EN p. 98, 99)."""

Bands = tuple[tuple[float, float, float], ...]
"""From this frequency on, Hz: limits of active power, % of reading, % of range."""


class HighEndOptions(YokogawaOptions):
    """Options beyond those of every WT meter.

    elements: how many; small: how many of them, from the first on, have the smaller current input. wiring: the setting
    after power-up (unconfirmed), None = P3W4 of the first three, P1W2 of the others.
    """

    elements: int = Field(default=3, ge=1)
    small: int = Field(default=0, ge=0)
    wiring: str | None = None


class HighEndMeter(YokogawaMeter):
    """The model of a WT meter whose elements are set one by one."""

    average_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "EXPONENT": (2, 4, 8, 16, 32, 64),
        "LINEAR": (8, 16, 32, 64, 128, 256),
    }
    default_interval: ClassVar[float] = 0.5
    voltages: ClassVar[Mapping[str, tuple[float, ...]]]
    large_currents: ClassVar[Mapping[str, tuple[float, ...]]]
    small_currents: ClassVar[Mapping[str, tuple[float, ...]]]
    external_voltages: ClassVar[Mapping[str, tuple[float, ...]]]
    functions: ClassVar[tuple[str, ...]]
    patterns: ClassVar[Mapping[int, tuple[str, ...]]] = PATTERNS
    most_elements: ClassVar[int]
    sigmas: ClassVar[tuple[str, ...]]
    orders: ClassVar[int]
    bare_external: ClassVar[bool] = False
    """An external range may not carry its unit."""

    @abstractmethod
    def bands(self, element: Element) -> Bands:
        """Return the limits of error of an element by frequency."""

    def limits(self, element: Element) -> Limits:
        reading, of_range = [row[1:] for row in self.bands(element) if self.mains.frequency >= row[0]][-1]
        return Limits(reading / 100, of_range * (1 if self._crest_factor == "3" else 2) / 100)

    @property
    def auto(self) -> AutoRange:
        return AutoRange(1.3, 0.3, 1.25, 3.0 if self._crest_factor == "3" else 6.0)

    def sums(self) -> Mapping[str, tuple[Sum, tuple[int, ...]]]:
        found: dict[str, tuple[Sum, tuple[int, ...]]] = {}
        names = iter(SIGMAS)
        first = 1
        for wiring in self._wiring:
            how = WIRINGS[wiring]
            if how.elements > 1:
                found[next(names)] = (how, tuple(range(first, first + how.elements)))
            first += how.elements
        return found

    def currents(self, element: Element) -> tuple[float, ...]:
        """Return the ranges of the current input in use: A, or V of the external one."""
        if element.external:
            return self.external_voltages[self._crest_factor]
        return self._direct(element)

    def _direct(self, element: Element) -> tuple[float, ...]:
        table = self.small_currents if element.number <= self.options.small else self.large_currents
        return table[self._crest_factor]

    def reset_inputs(self) -> None:
        self._crest_factor = "3"
        count = len(self.elements)
        usual = "P3W4" if count >= 3 else "P3W3" if count == 2 else "P1W2"
        self._wiring = self._parsed_wiring((self.options.wiring or usual).split(","))
        self.independent = self.null = False
        self.thd, self.pll, self.orders_shown = "TOTAL", "U1", (1, min(100, self.orders))
        for element in self.elements:
            element.voltage_range = self.voltages["3"][-1]
            element.current_range = self._direct(element)[-1]
            element.synchronize = f"I{element.number}"

    def move_ranges(self, seen: Mapping[int, Seen], stretch: float, hunting: bool) -> None:
        for element in self.elements:
            one = seen[element.number]
            before = element.voltage_range, element.current_range
            if element.voltage_auto:
                ranges = self.voltages[self._crest_factor]
                element.voltage_range = self.auto.next(ranges, element.voltage_range, one.voltage, one.voltage_peak)
            if element.current_auto:
                ranges = self.currents(element)
                unit = element.full_current / element.current_range
                peak = one.current_peak * (stretch if element.number == 1 else 1.0)
                wanted = self.auto.next(ranges, element.current_range, one.current / unit, peak / unit)
                if hunting and element.number == 1 and wanted == element.current_range:
                    wanted = ranges[ranges.index(wanted) - 1 if wanted > ranges[0] else 1]
                element.current_range = wanted
            element.moved = (element.voltage_range, element.current_range) != before

    def register_inputs(self, tree: SettingTree) -> None:
        self.numeric = NumericList(
            tree,
            self.shown,
            functions=self.functions,
            patterns=self.patterns,
            default=2,
            elements=len(self.elements),
            slots=self.most_elements,
            sigmas=self.sigmas,
            count=15,
            orders=self.orders,
            before_integration=self.options.before(),
        )
        tree.speak("EXTernal", "TOTal", "FUNDamental")
        tree.ask("*OPT", lambda *_: "G6")
        tree.add("[:INPut]:CFACtor", set=self._set_crest_factor, get=lambda _: self._crest_factor)
        tree.add("[:INPut]:WIRing", set=self._set_wiring, get=lambda _: ",".join(self._wiring))
        self.switch("[:INPut]:INDependent", "independent")
        for word, unit in (("VOLTage", "voltage"), ("CURRent", "current")):
            take = self._take_voltage if unit == "voltage" else self._take_current
            tell = self._voltage_text if unit == "voltage" else self._current_text
            self.one_by_one(f"[:INPut]:{word}:RANGe", take, tell, mixed=unit == "current")
            self.one_by_one(f"[:INPut]:{word}:AUTO", *_field(f"{unit}_auto", boolean, _flag))
            self.one_by_one(f"[:INPut]:{word}:MODE", *_field(f"{unit}_mode", self._mode(unit), str))
        self.one_by_one("[:INPut]:CURRent:SRATio", *_field("sensor_ratio", _ratio, _ratio_text))
        self.one_by_one("[:INPut]:FILTer[:LINE]", *_field("line_filter", self._filter, str))
        self.one_by_one("[:INPut]:FILTer:FREQuency", *_field("frequency_filter", boolean, _flag))
        self.one_by_one("[:INPut]:SCALing[:STATe]", *_field("scaling", boolean, _flag))
        for name, field in (("VT", "vt"), ("CT", "ct"), ("SFACtor", "sfactor")):
            self.one_by_one(f"[:INPut]:SCALing:{name}", *_field(field, _ratio, _ratio_text))
        self.one_by_one("[:INPut]:SYNChronize", *_field("synchronize", self._source, str))
        self.switch("[:INPut]:NULL", "null")
        tree.ask("[:INPut]:MODUle", self._modules)
        tree.ask("[:INPut]:POVer", lambda *_: str(self.over_bits("peak_over")))
        self.word("HARMonics<x>:PLLSource", "pll", tuple(f"{k}{e.number}" for e in self.elements for k in "UI"))
        tree.add("HARMonics<x>:ORDer", set=self._set_orders, get=lambda _: "{},{}".format(*self.orders_shown))
        self.word("HARMonics<x>:THD", "thd", ("TOTal", "FUNDamental"))

    def _mode(self, unit: str) -> Callable[[Data], str]:
        return lambda data: one_of(data, self.modes(unit))

    def modes(self, unit: str) -> tuple[str, ...]:
        """Return the words of a measurement mode of "voltage" or "current"."""
        return ("RMS", "MEAN", "DC", "RMEAN")

    @abstractmethod
    def module(self, element: Element) -> str:
        """Return an element's kind as `:INPut:MODUle?` gives it."""

    def one_by_one(
        self,
        path: str,
        take: Callable[[Element, Data], None],
        tell: Callable[[Element], str],
        *,
        mixed: bool = False,
    ) -> None:
        """Register a setting with [:ALL], :ELEMent<x> and :SIGMA, :SIGMB … for the elements of a wiring unit."""

        def apply(numbers: Iterable[int], data: Data) -> None:
            self.guard()
            for key in numbers:
                take(self._element(key), data)

        def apply_all(_: Suffixes, data: Data) -> None:
            if mixed and 0 < self.options.small < len(self.elements):
                raise CommandError(MIXED, own=True)
            apply(range(1, len(self.elements) + 1), data)

        def apply_unit(name: str, data: Data) -> None:
            if name not in self.sums():
                raise CommandError(221)
            apply(self.sums()[name][1], data)

        self.tree.add(
            f"{path}:ELEMent<x>",
            set=apply,
            get=lambda suffixes: tell(self._element(suffixes[0])),
            listed=lambda: [(element.number,) for element in self.elements],
        )
        for name in self.sigmas:
            self.tree.add(f"{path}:{name}", set=lambda _, data, name=name: apply_unit(name, data))  # type: ignore[misc]
        self.tree.add(f"{path}[:ALL]", set=apply_all)

    def _take_voltage(self, element: Element, data: Data) -> None:
        self.check_range()
        element.voltage_range = closest(number(data, "V"), self.voltages[self._crest_factor])
        element.voltage_auto = element.voltage_auto and not self.options.range_ends_auto

    def _take_current(self, element: Element, data: Data) -> None:
        self.check_range()
        if data and text(data[:1]).startswith("EXT"):
            if len(data) != 2:
                raise CommandError(109)
            given = number(data[1:], "" if self.bare_external else "V")
            element.current_range = closest(given, self.external_voltages[self._crest_factor])
            element.external = True
        else:
            element.current_range = closest(number(data, "A"), self._direct(element))
            element.external = False
        element.current_auto = element.current_auto and not self.options.range_ends_auto

    @staticmethod
    def _voltage_text(element: Element) -> str:
        return nr3(element.voltage_range, 4 if element.voltage_range >= 100 else 3)

    @staticmethod
    def _current_text(element: Element) -> str:
        return f"EXTERNAL,{nr3(element.current_range, 4)}" if element.external else nr3(element.current_range, 3)

    def _filter(self, data: Data) -> str:
        if text(data) == "OFF":
            return "OFF"
        return nr3(closest(number(data, "HZ"), self.filters()), 4)

    def filters(self) -> tuple[float, ...]:
        """Return the cut-off frequencies of the line filter, Hz."""
        return (500.0, 5.5e3, 50e3)

    def _source(self, data: Data) -> str:
        inputs = [f"{kind}{element.number}" for element in self.elements for kind in "UI"]
        return one_of(data, (*inputs, "EXTernal", "NONE"))

    def _set_crest_factor(self, _: Suffixes, data: Data) -> None:
        self.guard()
        wanted = one_of(data, ("3", "6"))
        places = [
            (self.voltages[self._crest_factor].index(e.voltage_range), self.currents(e).index(e.current_range))
            for e in self.elements
        ]
        self._crest_factor = wanted
        for element, (voltage, current) in zip(self.elements, places, strict=True):
            element.voltage_range = self.voltages[wanted][voltage]
            element.current_range = self.currents(element)[current]

    def _set_wiring(self, _: Suffixes, data: Data) -> None:
        self.guard()
        if not data:
            raise CommandError(109)
        self._wiring = self._parsed_wiring([text([part]) for part in data])

    def _parsed_wiring(self, words: list[str]) -> tuple[str, ...]:
        """Return one wiring a unit; elements that are left over are P1W2 each."""
        units = [one_of([word.encode()], WIRINGS) for word in words if word != "NONE"]
        left = len(self.elements) - sum(WIRINGS[unit].elements for unit in units)
        if left < 0:
            raise CommandError(224)
        return (*units, *("P1W2",) * left)

    def _modules(self, _: Suffixes, data: Data) -> str:
        if data:
            return self.module(self._element(integer_in(data, 1, len(self.elements))))
        return ",".join(self.module(element) for element in self.elements)

    def _set_orders(self, _: Suffixes, data: Data) -> None:
        self.guard()
        if len(data) != 2:
            raise CommandError(109 if len(data) < 2 else 108)
        low = integer_in(data[:1], 0, self.orders - 10)
        self.orders_shown = (low, integer_in(data[1:], max(10, low), self.orders))


def _field(
    field: str, take: Callable[[Data], object], tell: Callable[[Any], str]
) -> tuple[Callable[[Element, Data], None], Callable[[Element], str]]:
    """Return how a plain setting of an element is set and told."""

    def set_it(element: Element, data: Data) -> None:
        setattr(element, field, take(data))

    return set_it, lambda element: tell(getattr(element, field))


def _flag(value: object) -> str:
    return str(int(bool(value)))


def _ratio(data: Data) -> float:
    value = number(data)
    if not 0.0001 <= value <= 99999.9999:
        raise CommandError(222)
    return round(value, 4)


def _ratio_text(value: float) -> str:
    return f"{value:.4f}"
