"""Simulated Yokogawa WT310, WT310E, WT310EH, WT332E and WT333E, over VXI-11.

From IM WT310E-17EN (communication), IM WT310E-01EN p. 2-7 (ranges, auto range), IM WT310E-02EN p. 7-7 and 7-8
(accuracy), the WT310/WT330 user's manual sections 7.3 and 7.4, and public code for the instrument where the manual is
not known.
All elements share their ranges. USB, GP-IB and RS-232 of these models are not simulated, nor is Modbus/TCP.

Unconfirmed: the layout of `:INPut:CRANge?` and `:POVer?` (that of the WT3000 is taken), presets other than the
default, where sigma items stand in it, factory settings (greatest ranges, 250 ms), the MATH functions of
two displays (shown as no data).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from ..dialects.scpi.engine import CommandError
from ..world import World
from ..world.faults import FaultPlan
from ..world.mains import Connection, Seen
from .metering import AutoRange, Limits, Sample
from .yokogawa_base import Element, SimulatedYokogawa, YokogawaMeter, YokogawaOptions
from .yokogawa_grammar import Data, SettingTree, Suffixes, boolean, closest, nr3, number, one_of, text
from .yokogawa_items import WIRINGS, Item, Sum, evaluate
from .yokogawa_numeric import NumericList

_CURRENTS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
MODELS: dict[str, tuple[int, tuple[float, ...]]] = {
    "WT310": (1, _CURRENTS),
    "WT310E": (1, _CURRENTS),
    "WT310EH": (1, (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)),
    "WT332E": (2, _CURRENTS[6:]),
    "WT333E": (3, _CURRENTS[6:]),
}
"""Elements, and current ranges at crest factor 3, A (those of the WT310 by analogy)."""

VOLTAGES = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
"""Voltage ranges at crest factor 3, V; at 6 and 6A half of each."""

EXTERNAL = {"EX1": (2.5, 5.0, 10.0), "EX2": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)}
"""Ranges of the external input by option, V."""

ACCURACY: tuple[tuple[float, float, float, float], ...] = (
    (0.1, 0.3, 0.2, 0.0),
    (45.0, 0.1, 0.05, 0.1),
    (66.0, 0.2, 0.2, 0.11),
    (1000.0, 0.5, 0.3, 0.25),
)
"""From this frequency on, Hz: limits of active power, % of reading, % of range; of VA at power factor 0. 12 months."""

SMALL = 0.2
"""Fixed ranges up to this one, A, jump to 1 A and auto range when overloaded."""

FUNCTIONS = (
    "U", "I", "P", "S", "Q", "LAMBda", "PHI", "FU", "FI", "UPPeak", "UMPeak", "IPPeak", "IMPeak", "PPPeak", "PMPeak",
    "TIME", "WH", "WHP", "WHM", "AH", "AHP", "AHM", "MATH", "URANge", "IRANge", "UTHD", "ITHD", "UK", "IK", "PK",
)  # fmt: skip
_ONE = ("U", "I", "P", "S", "Q", "LAMBDA", "PHI", "FU", "FI", "NONE")
_PEAKS = ("UPPEAK", "UMPEAK", "IPPEAK", "IMPEAK", "PPPEAK", "PMPEAK")
_ENERGY = ("TIME", "WH", "WHP", "WHM", "AH", "AHP", "AHM")
PATTERNS = {1: _ONE, 2: _ONE[:-1] + _PEAKS, 3: _ONE[:5] + _ENERGY, 4: _ONE[:-1] + _PEAKS + _ENERGY}
MATHS = ("CFU1", "CFI1", "ADD", "SUB", "MUL", "DIV", "DIVA", "DIVB", "AVW1")


class WT300Options(YokogawaOptions):
    """Options beyond those of every WT meter.

    model: which of the family. wiring: its setting after power-up (unconfirmed), None = P1W2 with one element, P3W3
    with two, P3W4 with three. external: option /EX1 or /EX2, ranges of the external current input, None = not fitted.
    cf6a: how crest factor 6A is spelled (unconfirmed).
    """

    model: Literal["WT310", "WT310E", "WT310EH", "WT332E", "WT333E"] = "WT310E"
    wiring: Connection | None = None
    external: Literal["EX1", "EX2"] | None = None
    cf6a: Literal["A6", "6A"] = "A6"


class WT300(YokogawaMeter):
    """The model of a WT310E or one of its sisters."""

    default_interval: ClassVar[float] = 0.25
    average_counts: ClassVar[Mapping[str, tuple[int, ...]]] = {"EXPONENT": (8, 16, 32, 64), "LINEAR": (8, 16, 32, 64)}

    def __init__(self, world: World, name: str, serial: str, faults: FaultPlan, options: WT300Options) -> None:
        self.model = options.model
        count, self._currents = MODELS[self.model]
        self.intervals = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0) + ((10.0, 20.0) if self.model != "WT310" else ())
        super().__init__(world, name, serial, faults, options, count)

    def idn(self) -> str:
        return f"YOKOGAWA,{self.model},{self.serial},F1.03"

    def limits(self, element: Element) -> Limits:
        frequency = self.mains.frequency
        reading, of_range, quadrature = [row[1:] for row in ACCURACY if frequency >= row[0]][-1]
        if self.model == "WT310" and reading == 0.1:
            of_range, quadrature = 0.1, 0.2
        wide = 1 if self._crest_factor == "3" else 2
        return Limits(reading / 100, of_range * wide / 100, quadrature / 100)

    def condition(self, samples: Mapping[int, Sample]) -> int:
        found = 0
        for position, (key, sample) in enumerate(sorted(samples.items())):
            over = sample.over_voltage or sample.over_current
            peak = sample.peak_over_voltage or sample.peak_over_current
            bits = over | peak << 1 | self.elements[key - 1].moved << 2
            found |= bits << (6, 9, 12)[position]
        if any(sample.over_voltage or sample.over_current for sample in samples.values()) and self.sums():
            found |= 8
        return found

    @property
    def auto(self) -> AutoRange:
        up, peak = {"3": (1.3, 3.0), "6": (1.3, 6.0)}.get(self._crest_factor, (2.6, 6.0))
        return AutoRange(up, 0.3, 1.25, peak)

    def sums(self) -> Mapping[str, tuple[Sum, tuple[int, ...]]]:
        how = WIRINGS[self._wiring]
        if how.elements == 1:
            return {}
        last = len(self.elements)
        return {"SIGMA": (how, (1, last) if how.elements == 2 else tuple(range(1, how.elements + 1)))}

    def reset_inputs(self) -> None:
        self._crest_factor = "3"
        self._wiring = self.options.wiring or ("P1W2", "P3W3", "P3W4")[len(self.elements) - 1]
        self.range_list = self.key_lock = False
        self.thd, self.pll, self.math, self.command_set = "TOTAL", "U1", "CFU1", "WT300"
        for element in self.elements:
            element.voltage_range, element.current_range = VOLTAGES[-1], self._currents[-1]
            element.synchronize = "VOLTAGE"

    def voltages(self) -> tuple[float, ...]:
        """Return the voltage ranges at the crest factor in force, V."""
        return tuple(value * self._half for value in VOLTAGES)

    def currents(self) -> tuple[float, ...]:
        """Return the ranges of the current input in use at the crest factor in force: A, or V of the external one."""
        if self.elements[0].external:
            return tuple(value * self._half for value in EXTERNAL[self.options.external or "EX1"])
        return tuple(value * self._half for value in self._currents)

    def move_ranges(self, seen: Mapping[int, Seen], stretch: float, hunting: bool) -> None:
        first = self.elements[0]
        voltage = max(one.voltage for one in seen.values()), max(one.voltage_peak for one in seen.values())
        peaks = [one.current_peak * (stretch if key == 1 else 1.0) for key, one in seen.items()]
        part = first.full_current / first.current_range
        current = max(one.current for one in seen.values()) / part, max(peaks) / part
        if first.voltage_auto:
            self._move("voltage_range", self.auto.next(self.voltages(), first.voltage_range, *voltage))
        if first.current_auto:
            wanted = self.auto.next(self.currents(), first.current_range, *current)
            if hunting and wanted == first.current_range:
                index = self.currents().index(wanted)
                wanted = self.currents()[index - 1 if index else 1]
            self._move("current_range", wanted)
        elif not first.external and first.current_range <= SMALL and self._overloaded():
            self._move("current_range", 1.0)
            for element in self.elements:
                element.current_auto = True

    def register_inputs(self, tree: SettingTree) -> None:
        first = self.elements[0]
        self.numeric = NumericList(
            tree,
            self.shown,
            functions=FUNCTIONS,
            patterns=PATTERNS,
            default=1,
            elements=len(self.elements),
            slots=3,
            sigmas=("SIGMA",),
            count=10,
            orders=50,
            before_integration=self.options.before(),
            extra={"MATH": self._mathematics},
        )
        tree.speak("TOTal", "FUNDamental", "VOLTage", "CURRent", "EXTernal", "VMEan")
        tree.add("SAMPle:RATE", set=self._set_interval, get=lambda _: nr3(self.interval, 4))
        tree.add("SAMPle:HOLD", set=self._set_hold, get=lambda _: str(int(self._hold)))
        self.word("SYSTem:COMMunicate:COMMand", "command_set", ("WT300", "WT200"), guarded=False)
        self.switch("SYSTem:KLOCk", "key_lock", guarded=False)
        tree.add("INPut:CFACtor", set=self._set_crest_factor, get=lambda _: self._crest_factor)
        tree.add("INPut:WIRing", set=self._set_wiring, get=lambda _: self._wiring)
        tree.add("INPut:MODE", set=self._set_mode, get=lambda _: first.voltage_mode)
        tree.add("INPut:VOLTage:RANGe", set=self._set_voltage, get=lambda _: nr3(first.voltage_range, 4))
        self.shared("INPut:VOLTage:AUTO", "voltage_auto", boolean, _flag)
        tree.add("INPut:CURRent:RANGe", set=self._set_current, get=lambda _: self._current_text())
        self.shared("INPut:CURRent:AUTO", "current_auto", boolean, _flag)
        self.each("INPut:CURRent:SRATio", "sensor_ratio", _ratio, _four)
        self.switch("INPut:RCONfig", "range_list")
        self.shared("INPut:SYNChronize", "synchronize", lambda d: one_of(d, ("VOLTage", "CURRent", "OFF")), str)
        self.shared("INPut:FILTer:LINE", "line_filter", lambda d: "500HZ" if boolean(d) else "OFF", _is_on)
        self.shared("INPut:FILTer:FREQuency", "frequency_filter", boolean, _flag)
        self.shared("INPut:SCALing[:STATe]", "scaling", boolean, _flag)
        for word, field in (("VT", "vt"), ("CT", "ct"), ("SFACtor", "sfactor")):
            self.each(f"INPut:SCALing:{word}", field, _ratio, _four)
        tree.ask("INPut:CRANge", lambda *_: str(self.over_bits("over")))
        tree.ask("INPut:POVer", lambda *_: str(self.over_bits("peak_over")))
        self.word("MATH", "math", MATHS)
        self.word("HARMonics:THD", "thd", ("TOTal", "FUNDamental"))
        self.word("HARMonics:PLLSource", "pll", ("U1", "I1"))

    def _move(self, field: str, value: float) -> None:
        for element in self.elements:
            element.moved = element.moved or getattr(element, field) != value
            setattr(element, field, value)

    def _set_voltage(self, _: Suffixes, data: Data) -> None:
        self.guard()
        self._fix("voltage_range", closest(number(data, "V"), self.voltages()), "voltage_auto")

    def _set_current(self, _: Suffixes, data: Data) -> None:
        self.guard()
        if not data or not text(data[:1]).startswith("EXT"):
            wanted = closest(number(data, "A"), tuple(value * self._half for value in self._currents))
            self._fix("current_range", wanted, "current_auto")
            for element in self.elements:
                element.external = False
            return
        if self.options.external is None or len(data) != 2:
            raise CommandError(224 if self.options.external is None else 109)
        ranges = tuple(value * self._half for value in EXTERNAL[self.options.external])
        wanted = closest(number(data[1:], "V"), ranges)
        self._fix("current_range", wanted, "current_auto")
        for element in self.elements:
            element.external = True

    def _fix(self, field: str, value: float, auto: str) -> None:
        self.check_range()
        for element in self.elements:
            setattr(element, field, value)
            if self.options.range_ends_auto:
                setattr(element, auto, False)

    def _current_text(self) -> str:
        first = self.elements[0]
        return f"EXTERNAL,{nr3(first.current_range, 4)}" if first.external else nr3(first.current_range, 5)

    @property
    def _half(self) -> float:
        return 1.0 if self._crest_factor == "3" else 0.5

    def _set_crest_factor(self, _: Suffixes, data: Data) -> None:
        self.guard()
        wanted = one_of(data, ("3", "6", self.options.cf6a))
        places = (
            self.voltages().index(self.elements[0].voltage_range),
            self.currents().index(self.elements[0].current_range),
        )
        self._crest_factor = wanted
        for element in self.elements:
            element.voltage_range = self.voltages()[places[0]]
            element.current_range = self.currents()[places[1]]

    def _set_mode(self, _: Suffixes, data: Data) -> None:
        self.guard()
        mode = one_of(data, ("RMS", "VMEan", "DC"))
        for element in self.elements:
            element.voltage_mode = element.current_mode = mode

    def _set_wiring(self, _: Suffixes, data: Data) -> None:
        self.guard()
        wanted = one_of(data, WIRINGS)
        if WIRINGS[wanted].elements > len(self.elements):
            raise CommandError(224)
        self._wiring = wanted

    def _overloaded(self) -> bool:
        return any(sample.over_current or sample.peak_over_current for sample in self.samples.values())

    def _mathematics(self) -> float | None:
        """Return what MATH shows: crest factors of element 1 and the mean power of an integration."""
        shown, hours = self.shown(), self.integration.elapsed / 3600
        if self.math == "AVW1":
            return shown.integrals[1].values["WH"] / hours if hours else None
        item = {"CFU1": "CFU", "CFI1": "CFI"}.get(self.math)
        return None if item is None else evaluate(shown, Item(item), None)[0]


def _flag(value: object) -> str:
    return str(int(bool(value)))


def _is_on(value: object) -> str:
    return str(int(value != "OFF"))


def _four(value: object) -> str:
    """Four significant digits, at most three places: 10.00, 0.125."""
    ratio = float(str(value))
    return f"{ratio:.{min(3, max(0, 3 - math.floor(math.log10(ratio))))}f}"


def _ratio(data: Data) -> float:
    value = number(data)
    if not 0.001 <= value <= 9999:
        raise CommandError(222)
    return float(_four(value))


class SimulatedWT300(SimulatedYokogawa):
    """A simulated WT310E or one of its sisters, served over VXI-11."""

    simulates: ClassVar[str] = "yokogawa-wt300"
    Options: ClassVar[type[WT300Options]] = WT300Options

    def make_device(self) -> WT300:
        return WT300(self.world, self.name, self.identity_serial, self.faults, self.options)
