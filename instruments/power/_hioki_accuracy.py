"""What the PW3336/PW3337 data sheet says of the uncertainty of an active power reading."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aicalib_hw.errors import NotSupported
from aicalib_hw.interfaces import ElementReading, PowerReading
from aicalib_hw.readings import Component

from . import _hioki_tables as tables


def components(
    reading: PowerReading, model: str, serial: str, *, external: Sequence[bool], power_factor_influence: float
) -> tuple[Component, ...]:
    """State the type B components of the total active power in W, for the ranges it was taken under.

    The elements of one meter share reference and adjustment: their limits add linearly (equal `shared` key).
    external: which elements measure through a current sensor of the instrument.
    power_factor_influence: at power factor 0, as a ratio of S; assumed, see the driver.
    Raises UnusableReading for a reading that is not VALID, NotSupported where the data sheet has no figure.
    """
    counted = _counted(reading, model)
    if any(external[index] for index in counted):
        raise NotSupported(
            "no accuracy is stated for a current sensor",
            where=model,
            why=f"{tables.ACCURACY_SOURCE} only",
            advice="use the certificate of meter and sensor as one standard",
        )
    parts: dict[str, float] = {}
    source = tables.ACCURACY_SOURCE
    if any(_frequency(reading.elements[index]) is None for index in counted):
        source += "; no frequency was read: the largest limits that it states up to 66 Hz, direct current included"
    for index in counted:
        for name, limit in _limits(reading.elements[index], power_factor_influence).items():
            parts[name] = parts.get(name, 0.0) + limit
    assumed = f"assumed: {power_factor_influence:.2%} of S at power factor 0; the data sheet's figure is not at hand"
    return tuple(
        Component(
            name=name,
            kind="B",
            unit="W",
            half_width=limit,
            source=assumed if name == "power factor" else source,
            shared=f"{model} {serial} {name}",
        )
        for name, limit in parts.items()
        if limit > 0
    )


def _counted(reading: PowerReading, model: str) -> tuple[int, ...]:
    if reading.settings.wiring in (None, "3V3A") and len(reading.elements) == 3:
        raise NotSupported(
            "no accuracy is stated for this sum",
            where=model,
            why=f"which elements it holds under wiring {reading.settings.wiring} is not documented",
            advice="measure as 3P4W",
        )
    return tables.SUMMED.get(reading.settings.wiring or "", (0,))


def _limits(element: ElementReading, influence: float) -> dict[str, float]:
    voltage, current, power = float(element.voltage), float(element.current), abs(float(element.active_power))
    full = element.active_power.range
    if not full:
        raise NotSupported("no accuracy is stated without a known range", where=element.active_power.channel)
    of_reading, of_full = _band_limits(_frequency(element), power / full)
    parts = {"accuracy of reading": power * of_reading, "accuracy of range": full * of_full}
    if voltage * current > power:
        parts["power factor"] = influence * math.sqrt((voltage * current) ** 2 - power**2)
    return parts


def _frequency(element: ElementReading) -> float | None:
    if element.frequency is None or element.frequency.status:
        return None
    return float(element.frequency)


def _band_limits(frequency: float | None, level: float) -> tuple[float, float]:
    """Ratios of reading and of full scale; without a frequency, the largest that are stated up to 66 Hz."""
    if frequency is None:
        bands: tuple[tables.Band, ...] = (tables.DIRECT_CURRENT, *tables.BANDS[:3])
    elif frequency < tables.DIRECT_CURRENT.top:
        bands = (tables.DIRECT_CURRENT,)
    else:
        bands = tuple(band for band in tables.BANDS if frequency <= band.top)[:1]
    if not bands:
        raise NotSupported(
            f"no accuracy is stated for {frequency:g} Hz", why=f"the table ends at {tables.BANDS[-1].top:g} Hz"
        )
    found = []
    for band in bands:
        row = band.below if level < 0.5 else band.half if level < 1 else band.whole
        found.append(row((frequency or 0.0) / 1000))
    return max(found, key=lambda pair: pair[0] * level + pair[1])
