"""What Hioki's items mean: from what an element shows to the text of U1, PF2 or P0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .hioki_format import NO_DATA, OVER_RANGE, measured
from .inputs import Element, Inputs, degrees
from .metering import Sample


def shown(name: str, element: Element, inputs: Inputs) -> str:
    """Return the text of one item of one channel: a number, or the code for over-range or no data."""
    if element.no_data:
        return NO_DATA
    found = value_of(name, element.sample, inputs)
    return OVER_RANGE if found is None else measured(found, full_scale(name, element))


def value_of(name: str, sample: Sample, inputs: Inputs) -> float | None:
    """Return the value of a measured item in its base unit; None = over-range, NaN = not defined."""
    voltage, current, power, apparent = sample.voltage, sample.current, sample.active, sample.apparent
    if name.startswith("FREQ"):
        return inputs.frequency if name == "FREQU" or current != 0.0 else math.nan
    rms = {"U": voltage, "I": current}.get(name[0], power)
    if rms is None:
        return None
    if name.endswith("DC"):
        return 0.0
    if name[0] in "UI":
        peak = sample.voltage_peak if name[0] == "U" else sample.current_peak
        distortion = inputs.options.voltage_distortion if name[0] == "U" else inputs.options.current_distortion
        defined = rms or math.nan
        shape = {"PK": peak, "CF": peak / defined, "THD": 100 * distortion * rms / defined}
        return shape.get(name[1:], rms)
    if power is None or apparent is None:
        return None
    factor = power / apparent if apparent else math.nan
    return {
        "S": apparent,
        "Q": sample.reactive,
        "PF": factor,
        "DEG": degrees(factor),
        "MCR": sample.crest_factor / factor,
    }.get(name, power)


def full_scale(name: str, element: Element) -> float:
    """Return the full scale that puts the decimal point of an item."""
    if name in ("PF", "UCF", "ICF", "MCR"):
        return 1.0
    if name == "DEG" or name.endswith("THD"):
        return 100.0
    if name.startswith("FREQ"):
        return 50.0
    return element.full("U" if name[0] == "U" else "I" if name[0] == "I" else "P")


def summed_up(name: str, elements: Sequence[Element], apparent_by: float = 1.0) -> str:
    """Return the text of the sum of channels, of U and I the mean. apparent_by: factor of the wiring on S."""
    if any(element.no_data for element in elements):
        return NO_DATA
    samples = [element.sample for element in elements]
    if name in ("U", "I"):
        found = [sample.voltage if name == "U" else sample.current for sample in samples]
        if None in found:
            return OVER_RANGE
        return measured(sum(value or 0.0 for value in found) / len(found), elements[0].full(name))
    if any(sample.active is None for sample in samples):
        return OVER_RANGE
    power = sum(sample.active or 0.0 for sample in samples)
    apparent = apparent_by * sum(sample.apparent or 0.0 for sample in samples)
    factor = power / apparent if apparent else math.nan
    values = {
        "P": power,
        "S": apparent,
        "Q": math.sqrt(max(0.0, apparent**2 - power**2)),
        "PF": factor,
        "DEG": degrees(factor),
    }
    full = full_scale(name, elements[0]) * (len(elements) if name in ("P", "S", "Q") else 1)
    return measured(values[name], full)
