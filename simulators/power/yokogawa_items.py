"""Numeric items of Yokogawa's WT meters: which there are, what they show of an update, how it is written.

From IM WT3001E-17EN chapter 6 (items, presets, formats: p. 44, 45, 95 to 99) and IM WT310E-17EN p. 9-7; sigma values
from the WT310/WT330 user's manual section 7.4. None is "no data" (NAN), infinity what the display shows as OL, OF or
"Error".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..dialects.scpi.engine import CommandError
from ..world.mains import harmonics
from .metering import Sample
from .yokogawa_grammar import on_range

NO_DATA, OVER = b"\x7e\x95\x1b\xee", b"\x7e\x94\xf5\x6a"
"""The floats that mark no data and over-range in FLOAT format: 9.91E+37 and 9.9E+37, finite both."""

SIGMAS = ("SIGMA", "SIGMB", "SIGMC")
WITH_ORDER = frozenset(["U", "I", "P", "S", "Q", "LAMBDA", "PHI", "UK", "IK", "PK"])
ALIASES = {"URMS": "U", "UAC": "U", "IRMS": "I", "IAC": "I", "UK": "U", "IK": "I", "PK": "P"}
"""Functions that show what another one does, on a source without a direct component."""
RECTIFIED_SINE = 2 * math.sqrt(2) / math.pi
"""Mean of a rectified sine, in rms."""
NO_ELEMENT = frozenset(["MATH", "ETA1", "ETA2", "ETA3", "ETA4"])
DISTORTION = frozenset(["UTHD", "ITHD", "PTHD"])
INTEGRALS = ("WH", "WHP", "WHM", "AH", "AHP", "AHM", "WS", "WQ")

_ROOT3 = math.sqrt(3)


@dataclass(frozen=True, slots=True)
class Sum:
    """How a wiring is summed: its number of elements, which of them give the power, the factor of the VA."""

    elements: int
    power: tuple[int, ...]
    apparent_factor: float


WIRINGS = {
    "P1W2": Sum(1, (0,), 1.0),
    "P1W3": Sum(2, (0, 1), 1.0),
    "P3W3": Sum(2, (0, 1), _ROOT3 / 2),
    "P3W4": Sum(3, (0, 1, 2), 1.0),
    "V3A3": Sum(3, (0, 2), _ROOT3 / 3),
}
"""V3A3 takes elements 1 and 3 for the power: confirmed for WT330, unconfirmed for others."""


@dataclass(slots=True)
class Integral:
    """What an element has integrated: W·h, A·h, VA·h, var·h."""

    values: dict[str, float] = field(default_factory=lambda: dict.fromkeys(INTEGRALS, 0.0))

    def add(self, sample: Sample, hours: float) -> None:
        """Add a window; a sample that is over-range adds nothing (the caller clips instead)."""
        active, current = sample.active or 0.0, sample.current or 0.0
        values = self.values
        values["WH"] += active * hours
        values["WHP" if active >= 0 else "WHM"] += active * hours
        values["AH"] += current * hours
        values["AHP"] += current * hours
        values["WS"] += (sample.apparent or 0.0) * hours
        values["WQ"] += (sample.reactive or 0.0) * hours


@dataclass(frozen=True, slots=True)
class Scale:
    """Ranges of an element in V and A, and the factors of its scaling: voltage, current, power."""

    voltage_range: float
    current_range: float
    voltage: float = 1.0
    current: float = 1.0
    power: float = 1.0


@dataclass(frozen=True, slots=True)
class Update:
    """All that one update shows: samples and scales by element, integrals, seconds integrated, the wirings' sums.

    integrated: False before any integration. blank: nothing to show.
    """

    samples: Mapping[int, Sample]
    scales: Mapping[int, Scale]
    frequency: Mapping[int, float]
    sums: Mapping[str, tuple[Sum, tuple[int, ...]]]
    integrals: Mapping[int, Integral]
    elapsed: float = 0.0
    integrated: bool = False
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the list: function, element (a number or SIGMA…), order (None: TOTal)."""

    function: str
    element: str = "1"
    order: str = "TOTAL"

    def text(self) -> str:
        """Return it as `:NUMeric:NORMal:ITEM<x>?` does."""
        if self.function == "NONE" or self.function in NO_ELEMENT:
            return self.function
        shown = f"{self.function},{self.element}"
        return f"{shown},{self.order}" if self.function in WITH_ORDER else shown


NONE = Item("NONE")


def values_text(value: float | None, full: float | None, digits: int = 4) -> str:
    """Return a value for ASCII format; full: the range that gives its digits, None = `digits` places."""
    if value is None:
        return "NAN"
    if math.isinf(value):
        return "INF"
    return f"{value:.{digits}f}E+00" if full is None else on_range(value, full)


def values_bytes(values: Sequence[float | None]) -> bytes:
    """Return values as a block in FLOAT format: IEEE single, most significant byte first."""
    body = b"".join(
        NO_DATA if value is None else OVER if math.isinf(value) else struct.pack(">f", value) for value in values
    )
    return b"#4%04d" % len(body) + body


def evaluate(update: Update, item: Item, before_integration: float | None) -> tuple[float | None, float | None]:
    """Return what the item shows, and the range that its digits follow (None: four places)."""
    if item.function == "NONE" or update.blank:
        return None, None
    if item.element in SIGMAS:
        return _summed(update, item, before_integration)
    element = int(item.element)
    if element not in update.samples:
        raise CommandError(222)
    return _single(update, item, element, before_integration)


def _single(update: Update, item: Item, element: int, before: float | None) -> tuple[float | None, float | None]:
    sample, scale = update.samples[element], update.scales[element]
    name = ALIASES.get(item.function, item.function)
    volts, amperes = scale.voltage_range * scale.voltage, scale.current_range * scale.current
    watts = scale.voltage_range * scale.current_range * scale.power
    if item.order != "TOTAL" and name in WITH_ORDER:
        return _harmonic(sample, scale, name, item.order)
    if name in INTEGRALS:
        factor = scale.current if name.startswith("AH") else scale.power
        value = update.integrals[element].values[name] * factor if update.integrated else before
        return value, None
    if name == "TIME":
        return (float(int(update.elapsed)) if update.integrated else before), None
    over = math.inf
    plain: dict[str, tuple[float | None, float | None]] = {
        "U": (_scaled(sample.voltage, scale.voltage), volts),
        "I": (_scaled(sample.current, scale.current), amperes),
        "P": (_scaled(sample.active, scale.power), watts),
        "S": (_scaled(sample.apparent, scale.power), watts),
        "Q": (_scaled(sample.reactive, scale.power), watts),
        "UPPEAK": (sample.voltage_peak * scale.voltage, volts),
        "UMPEAK": (-sample.voltage_peak * scale.voltage, volts),
        "IPPEAK": (sample.current_peak * scale.current, amperes),
        "IMPEAK": (-sample.current_peak * scale.current, amperes),
        "PPPEAK": (sample.voltage_peak * sample.current_peak * scale.power, watts),
        "PMPEAK": (0.0, watts),
        "URANGE": (scale.voltage_range, scale.voltage_range),
        "IRANGE": (scale.current_range, scale.current_range),
        "FU": (update.frequency[element] if sample.voltage_peak else over, 10.0),
        "FI": (update.frequency[element] if sample.current_peak else over, 10.0),
        "CFU": (sample.voltage_peak / sample.voltage if sample.voltage else over, None),
        "CFI": (sample.current_peak / sample.current if sample.current else over, None),
        "PC": (_scaled(sample.active, scale.power), watts),
        "UDC": (0.0, volts),
        "IDC": (0.0, amperes),
        "URMN": (_scaled(sample.voltage, scale.voltage * RECTIFIED_SINE), volts),
        "IRMN": (_scaled(_rectified(sample), scale.current), amperes),
        "UMN": (_scaled(sample.voltage, scale.voltage), volts),
        "IMN": (_scaled(_rectified(sample), scale.current / RECTIFIED_SINE), amperes),
    }
    if name in ("LAMBDA", "PHI"):
        return _factor(name, sample.active, sample.apparent, sample.reactive)
    if name in DISTORTION:
        return _distortion(sample, name), None
    return plain.get(name, (None, None))


def _rectified(sample: Sample) -> float | None:
    """Return the mean of the rectified current: that of half-sine pulses."""
    if sample.current is None or not sample.crest_factor:
        return sample.current
    return sample.current * 4 / math.pi / max(sample.crest_factor, math.sqrt(2))


def _scaled(value: float | None, factor: float) -> float:
    return math.inf if value is None else value * factor


def _factor(name: str, active: float | None, apparent: float | None, reactive: float | None) -> tuple[float, None]:
    if active is None or not apparent or reactive is None:
        return math.inf, None
    ratio = max(-1.0, min(1.0, active / apparent))
    if name == "LAMBDA":
        return ratio, None
    return math.degrees(math.acos(ratio)) * (1 if reactive >= 0 else -1), None


def _harmonic(sample: Sample, scale: Scale, name: str, order: str) -> tuple[float | None, float | None]:
    """Return a harmonic: the voltage is a sine, so that power flows at the fundamental alone."""
    number = 0 if order == "DC" else int(order)
    volts, amperes = scale.voltage_range * scale.voltage, scale.current_range * scale.current
    if name == "U":
        return (_scaled(sample.voltage, scale.voltage) if number == 1 else 0.0), volts
    if name == "I":
        part = harmonics(round(sample.crest_factor, 2), max(number, 1))[number] if sample.current else 0.0
        return _scaled(sample.current, part * scale.current), amperes
    if name == "P":
        return (_scaled(sample.active, scale.power) if number == 1 else 0.0), amperes * volts
    return None, None


def _distortion(sample: Sample, name: str) -> float | None:
    """Return the total harmonic distortion against the total, %."""
    if name in ("UTHD", "PTHD"):
        return 0.0 if sample.voltage else math.inf
    if not sample.current:
        return math.inf
    fundamental = harmonics(round(sample.crest_factor, 2), 1)[1]
    return 100 * math.sqrt(max(0.0, 1 - fundamental**2))


def _summed(update: Update, item: Item, before: float | None) -> tuple[float | None, float | None]:
    if item.element not in update.sums:
        return None, None
    how, elements = update.sums[item.element]
    samples = [update.samples[element] for element in elements]
    scales = [update.scales[element] for element in elements]
    volts = max(scale.voltage_range * scale.voltage for scale in scales)
    amperes = max(scale.current_range * scale.current for scale in scales)
    watts = len(elements) * max(scale.voltage_range * scale.current_range * scale.power for scale in scales)
    name = ALIASES.get(item.function, item.function)
    if item.order != "TOTAL" or name in DISTORTION:
        return None, None
    if name == "TIME":
        return _single(update, item, elements[0], before)
    if name in INTEGRALS:
        if not update.integrated:
            return before, None
        amp = name.startswith("AH")
        chosen = range(len(elements)) if amp or name == "WS" else how.power
        total = sum(
            update.integrals[elements[k]].values[name] * (scales[k].current if amp else scales[k].power) for k in chosen
        )
        return (total * how.apparent_factor if name == "WS" else total), None
    mean = {"U": ("voltage", "voltage", volts), "I": ("current", "current", amperes)}
    if name in mean:
        of, by, full = mean[name]
        values = [
            _scaled(getattr(sample, of), getattr(scale, by)) for sample, scale in zip(samples, scales, strict=True)
        ]
        return sum(values) / len(values), full

    def total_of(of: str, chosen: Sequence[int]) -> float:
        return sum(_scaled(getattr(samples[k], of), scales[k].power) for k in chosen)

    active, reactive = total_of("active", how.power), total_of("reactive", how.power)
    apparent = total_of("apparent", range(len(elements))) * how.apparent_factor
    found: dict[str, float] = {"P": active, "S": apparent, "Q": reactive}
    if name in found:
        return found[name], watts
    if name in ("LAMBDA", "PHI"):
        if math.isinf(active) or math.isinf(apparent) or apparent == 0:
            return math.inf, None
        return _factor(name, active, apparent, reactive)
    return None, None
