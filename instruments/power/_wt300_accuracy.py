"""Limits of error of the WT300 family's active power, as components of the uncertainty budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aicalib_hw.errors import NotSupported
from aicalib_hw.interfaces import ElementReading, PowerReading
from aicalib_hw.readings import Component

from . import _wt300_tables as tables


def components(reading: PowerReading, model: str, serial: str) -> tuple[Component, ...]:
    """State the type B components of the total active power in W, for the ranges and settings it was taken under.

    The elements of one meter share reference, temperature and adjustment: their limits add linearly
    (equal `shared` key). Raises UnusableReading for a reading that is not VALID, NotSupported without a range or a
    frequency, and for a frequency without stated accuracy.
    """
    settings = reading.settings
    parts: dict[str, float] = {}
    for index in _counted(reading):
        for name, limit in _element(reading, index, model).items():
            parts[name] = parts.get(name, 0.0) + limit
    filter_on = " (line filter on)" if settings.line_filter else ""
    return tuple(
        Component(
            name=name,
            kind="B",
            unit="W",
            half_width=limit,
            source=tables.ACCURACY_SOURCE + filter_on,
            shared=f"{model} {serial} {name}",
        )
        for name, limit in parts.items()
        if limit > 0
    )


def _counted(reading: PowerReading) -> tuple[int, ...]:
    """The elements whose power the total holds, from 0: single-phase the first, of two wattmeters first and last."""
    if reading.settings.wiring == "1P2W":
        return (0,)
    if reading.settings.wiring in ("3P3W", "3V3A", "1P3W") and len(reading.elements) == 3:
        return (0, 2)
    return tuple(range(len(reading.elements)))


def _element(reading: PowerReading, index: int, model: str) -> dict[str, float]:
    element, settings = reading.elements[index], reading.settings
    voltage, current = float(element.voltage), float(element.current)
    power = abs(float(element.active_power))
    apparent = voltage * current
    if not element.voltage.range or not element.current.range:
        raise NotSupported("without a known range no accuracy is stated", where=model)
    frequency = _frequency(reading.elements, index, model)
    band = _band(frequency, model)
    full = element.voltage.range * element.current.range
    crest = 1.0 if settings.crest_factor == "3" else 2.0
    range_limit = band.range
    if not model.endswith(("E", "EH")) and 45 <= frequency <= 66:
        range_limit = tables.OLD_RANGE_LIMIT
    ratio_i = settings.ct_ratio[index] if settings.ct_ratio else 1.0
    ratio_u = settings.vt_ratio[index] if settings.vt_ratio else 1.0
    heating = tables.SELF_HEATING_VOLTAGE * (voltage / ratio_u) ** 2
    if settings.sensor_ratio is None:  # no current heats the meter where it sees the voltage of a sensor
        heating += tables.SELF_HEATING_CURRENT * (current / ratio_i) ** 2
    parts = {
        "accuracy of reading": power * band.reading(frequency / 1000),
        "accuracy of range": range_limit * crest * full,
        "self-heating": power * heating,
    }
    if apparent > power:
        # P x [rdg + rng x (P range / S) + tan(phi) x influence at power factor 0], and P x tan(phi) = Q
        influence = tables.zero_power_factor(frequency, e_series=model.endswith(("E", "EH")))
        parts["accuracy of range"] *= power / apparent
        parts["power factor"] = influence * math.sqrt(apparent**2 - power**2)
    if settings.line_filter:
        parts["line filter"] = power * tables.line_filter(frequency)
    return parts


def _frequency(elements: Sequence[ElementReading], index: int, model: str) -> float:
    """That of the element, or of another one: the phases of a mains have one frequency."""
    for element in (elements[index], *elements):
        if element.frequency is not None and not element.frequency.status:
            return float(element.frequency)
    raise NotSupported(
        "without a frequency no accuracy is stated",
        where=model,
        why="no element shows one: direct current, or a voltage too small to find it",
    )


def _band(frequency: float, model: str) -> tables.Accuracy:
    bands = tables.HIGH_CURRENT_BANDS if model == "WT310EH" else tables.BANDS
    for band in bands:
        if frequency <= band.top:
            return band
    raise NotSupported(
        f"no accuracy is stated for {frequency:g} Hz", where=model, why=f"the table ends at {bands[-1].top:g} Hz"
    )
