"""Ranges and accuracy of Yokogawa's WT3000, WT1800 and WT5000 families.

Sources: IM WT3001E-17EN p. 6-67 to 6-102 (ranges, intervals), IM 760301-01E p. 12-7 (accuracy of the WT3000,
6 months), the WT1800 manuals (ranges; accuracy, 6 months, 23 ± 5 °C). Accuracy is in % of reading and % of range,
f in kHz. `confirmed=False` marks tables that no manual at hand confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

WIRINGS = {"1P2W": "P1W2", "1P3W": "P1W3", "3P3W": "P3W3", "3P4W": "P3W4", "3V3A": "V3A3"}
"""Our name → spelling on the wire."""

ELEMENTS_OF = {"1P2W": 1, "1P3W": 2, "3P3W": 2, "3P4W": 3, "3V3A": 3}
"""How many elements the wiring joins to Σ."""

CREST_FACTORS = {"3": 1.0, "6": 0.5}
"""Crest factor → factor on every range."""

RATIO = (0.0001, 99999.9999)
"""Limits of VT and CT ratios, and of a sensor's mV/A."""

EXTERNAL = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""V of an external current sensor, crest factor 3."""


@dataclass(frozen=True, slots=True)
class Band:
    """One frequency band, `bottom` to `top` Hz: limits of power as ratios of reading (of f in kHz) and of range."""

    top: float
    reading: Callable[[float], float]
    range: float
    bottom: float = 0.0


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Limits of one kind of element: bands, self-heating of its shunt (ratio of reading for each A²), source."""

    bands: tuple[Band, ...]
    self_heating: float
    source: str
    confirmed: bool = True


def _flat(top: float, reading: float, of_range: float, bottom: float = 0.0) -> Band:
    return Band(top, lambda _: reading / 100, of_range / 100, bottom)


def _sloped(top: float, slope: float, offset: float, of_range: float) -> Band:
    return Band(top, lambda f: (slope * f + offset) / 100, of_range / 100)


_WT3000 = (
    _flat(30.0, 0.2, 0.3),
    _flat(45.0, 0.05, 0.05),
    _flat(66.0, 0.02, 0.04),
    _flat(1e3, 0.05, 0.05),
    _flat(10e3, 0.15, 0.1),
    _flat(50e3, 0.3, 0.2),
    _sloped(100e3, 0.014, 0.0, 0.3),
    _sloped(500e3, 0.012, 0.0, 1.0),
    _sloped(1e6, 0.048, -19.0, 2.0),
)
_WT3000_SMALL = (*_WT3000[:2], _flat(66.0, 0.05, 0.05), *_WT3000[3:])
_WT1800_LOW = (_flat(10.0, 0.3, 0.2), _flat(45.0, 0.1, 0.2), _flat(66.0, 0.1, 0.05), _flat(1e3, 0.2, 0.1))
_WT1800 = (
    *_WT1800_LOW,
    _flat(50e3, 0.3, 0.2),
    _flat(100e3, 0.7, 0.3),
    _sloped(500e3, 0.0105, -0.25, 1.0),
    _sloped(1e6, 0.048, -20.0, 2.0),
)
_WT1800_50A = (
    *_WT1800_LOW,
    _sloped(50e3, 0.1, 0.2, 0.2),
    _sloped(100e3, 0.3, -9.5, 0.3),
    _sloped(200e3, 0.09, 11.0, 1.0),
)

_WT3000_SOURCE = "IM 760301-01E p. 12-7, 6 months"
_WT1800_SOURCE = "WT1800 manual, accuracy of power, 6 months, 23 ± 5 °C"

SMALL_RANGE = 0.2
"""A: up to here the 2 A element of the WT3000 has limits of its own at 45 to 66 Hz."""


@dataclass(frozen=True, slots=True)
class Module:
    """One kind of current input: its ranges in A at crest factor 3, and its accuracy; None = no facts."""

    ranges: tuple[float, ...]
    accuracy: Accuracy | None = None
    small: Accuracy | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One family: most elements, voltage ranges in V, update intervals in s, kinds of current input by their code."""

    elements: int
    voltage_ranges: tuple[float, ...]
    intervals: tuple[float, ...]
    modules: Mapping[int, Module]
    averaging: tuple[int, ...] = (1, 8, 16, 32, 64, 128, 256)
    notes: Mapping[str, str] = field(default_factory=dict)


WT3000 = Family(
    elements=4,
    voltage_ranges=(15.0, 30.0, 60.0, 100.0, 150.0, 300.0, 600.0, 1000.0),
    intervals=(0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
    modules={
        30: Module((0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0), Accuracy(_WT3000, 0.00002 / 100, _WT3000_SOURCE)),
        2: Module(
            (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
            Accuracy(_WT3000, 0.004 / 100, _WT3000_SOURCE),
            Accuracy(_WT3000_SMALL, 0.004 / 100, _WT3000_SOURCE),
        ),
    },
    notes={"serial": "no facts: neither its speed nor its handshake are in what is at hand"},
)

_TO_5_A = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TO_50_A = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_WT1800_VOLTS = (1.5, 3.0, 6.0, 10.0, 15.0, 30.0, 60.0, 100.0, 150.0, 300.0, 600.0, 1000.0)
_WT1800_INTERVALS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)

WT1800 = Family(
    elements=6,
    voltage_ranges=_WT1800_VOLTS,
    intervals=_WT1800_INTERVALS,
    modules={
        5: Module(_TO_5_A, Accuracy(_WT1800, 0.0, _WT1800_SOURCE)),
        50: Module(_TO_50_A, Accuracy(_WT1800_50A, 0.0, _WT1800_SOURCE)),
    },
)

_UNCONFIRMED = "no facts for the {}: its brochure's limits are unconfirmed, and reckoned with on request alone"

_WT1800E = Accuracy(
    (_flat(66.0, 0.05, 0.05, 45.0),), 0.0, "WT1800E brochure, 45 to 66 Hz, unconfirmed", confirmed=False
)
_WT5000 = Accuracy((_flat(66.0, 0.01, 0.02, 45.0),), 0.0, "WT5000 brochure, 45 to 66 Hz, unconfirmed", confirmed=False)

WT1800E = Family(
    elements=6,
    voltage_ranges=_WT1800_VOLTS,
    intervals=_WT1800_INTERVALS,
    modules={5: Module(_TO_5_A, _WT1800E), 50: Module(_TO_50_A, _WT1800E)},
    notes={"uncertainty": f"{_UNCONFIRMED.format('WT1800E')}; of the WT1800, from the accuracy table"},
)

WT5000 = Family(
    elements=7,
    voltage_ranges=(),
    intervals=(),
    modules={5: Module((), _WT5000), 30: Module((), _WT5000)},
    notes={
        "ranges": "unconfirmed for the WT5000: any value is sent, and the instrument decides",
        "uncertainty": _UNCONFIRMED.format("WT5000"),
    },
)
