"""Limits of error of active power of the WT3000 and WT1800 families, as components of the uncertainty budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aicalib_hw.errors import NotSupported
from aicalib_hw.interfaces import ElementReading, PowerReading
from aicalib_hw.readings import Component, Status

from . import _wt_high_end_tables as tables


def components(
    reading: PowerReading,
    modules: Sequence[tables.Module],
    summed: Sequence[int],
    meter: str,
    *,
    power_factor_influence: float,
    use_unconfirmed: bool,
) -> tuple[Component, ...]:
    """State the type B components of the total active power in W, for the ranges and settings it was taken under.

    summed: the elements whose limits count, from 0. They share reference and temperature, and add linearly.
    power_factor_influence: ratio of S at power factor 0, assumed where the data sheet at hand states none.
    Raises UnusableReading for a reading that is not VALID, NotSupported where the facts have no accuracy.
    """
    if reading.settings.line_filter:
        raise NotSupported("no accuracy is known with the line filter on", where=meter, advice="switch it off")
    parts: dict[str, float] = {}
    sources: dict[str, str] = {}
    for index in summed:
        accuracy = _accuracy(modules[index], reading, index)
        if accuracy is None or not (accuracy.confirmed or use_unconfirmed):
            raise NotSupported(
                "no accuracy of this meter is confirmed",
                where=meter,
                advice="open it with unconfirmed_accuracy=True to reckon with the brochure's",
            )
        for name, limit in _element(reading, index, accuracy, power_factor_influence, meter).items():
            parts[name] = parts.get(name, 0.0) + limit
            sources[name] = accuracy.source
    sources["power factor"] = (
        f"assumed: {power_factor_influence:.3g} of S at power factor 0; no data sheet at hand says"
    )
    return tuple(
        Component(name=name, kind="B", unit="W", half_width=limit, source=sources[name], shared=f"{meter} {name}")
        for name, limit in parts.items()
        if limit > 0
    )


def _accuracy(module: tables.Module, reading: PowerReading, index: int) -> tables.Accuracy | None:
    if module.small is not None and reading.settings.current_range[index] <= tables.SMALL_RANGE:
        return module.small
    return module.accuracy


def _element(
    reading: PowerReading, index: int, accuracy: tables.Accuracy, influence: float, meter: str
) -> dict[str, float]:
    element = reading.elements[index]
    settings = reading.settings
    voltage, current, power = float(element.voltage), float(element.current), abs(float(element.active_power))
    apparent = voltage * current
    frequency = _frequency(reading.elements, index, meter)
    band = _band(frequency, accuracy, meter)
    if not element.voltage.range or not element.current.range:
        raise NotSupported("without a known range no accuracy is stated", where=meter)
    full = element.voltage.range * element.current.range
    crest = 1.0 if settings.crest_factor == "3" else 2.0
    ratio = settings.ct_ratio[index] if settings.ct_ratio else 1.0
    parts = {
        "accuracy of reading": power * band.reading(frequency / 1000),
        "accuracy of range": band.range * crest * full,
    }
    if not (settings.sensor_ratio and settings.sensor_ratio[index]):  # else no current heats the element's shunt
        parts["self-heating"] = power * accuracy.self_heating * (current / ratio) ** 2
    if apparent > power:
        parts["power factor"] = influence * math.sqrt(apparent**2 - power**2)
    return parts


def _frequency(elements: Sequence[ElementReading], index: int, meter: str) -> float:
    """That of the element, or of another one: without its frequency option the meter measures two only."""
    for element in (elements[index], *elements):
        if element.frequency is not None and element.frequency.status is Status.VALID:
            return float(element.frequency)
    raise NotSupported("without a frequency no accuracy is stated", where=meter)


def _band(frequency: float, accuracy: tables.Accuracy, meter: str) -> tables.Band:
    for band in accuracy.bands:
        if band.bottom <= frequency <= band.top:
            return band
    raise NotSupported(f"no accuracy is stated for {frequency:g} Hz", where=meter, why=accuracy.source)
