"""Corrections of a calibration certificate: applied where it reaches, refused where it does not, never ignored."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Sequence
from itertools import pairwise

from aicalib_hw import units
from aicalib_hw.errors import UsageError
from aicalib_hw.identity import Certificate, CertificatePoint
from aicalib_hw.readings import Component

_SAME_RANGE = 1e-3
"""Relative difference up to which the full scale in force is the one that a certificate names."""


def corrected(
    value: float,
    unit: str,
    quantity: str,
    certificate: Certificate,
    *,
    full_scale: float | None = None,
    scale: float = 1.0,
    layer: str | None = None,
) -> tuple[float, Component]:
    """Return `value` (in `unit`) with the certificate's correction added, and the component it brings.

    full_scale: of the range in force, in `unit`, at the instrument's own input; None = it has none, or it is not
    known. scale: ratio of the transducers between the input and `value`. layer: that a rate of a network tester
    counts, None for other quantities. Only points of this range and layer count, see `points_in_range`; between two
    of them correction and uncertainty are interpolated linearly. Raises UsageError
    if there is none, or if `value` lies outside them.
    """
    points = points_in_range(certificate, quantity, unit, full_scale, layer=layer)
    correction, uncertainty = _at(points, value / scale, certificate.number, unit)
    component = Component(
        name="certificate",
        kind="B",
        unit=unit,
        standard_uncertainty=uncertainty * scale,
        distribution="normal",
        source=f"certificate {certificate.number} of {certificate.issuer}",
        shared=f"certificate {certificate.number}",
    )
    return value + correction * scale, component


LIMITS = ("accuracy of reading", "accuracy of range")
"""Components of these names are the data sheet's limits for what a calibration measures: it knows better."""

TIME_BASE = "time base of the gate"
"""The data sheet's limit for what a rate of a network tester hangs on, by the tester's own gate."""

DRIFT = "drift since calibration"


def instead_of_limits(
    components: Sequence[Component], certificate: Certificate, limits: Sequence[str] = LIMITS
) -> tuple[Component, ...]:
    """Return `components` with what has to stand beside a certificate's uncertainty instead of the data sheet's limits.

    The error found at the calibration takes the place of the limits within which it had to lie; influences that the
    calibration did not have (power factor, filter, self-heating, temperature) and the resolution stay. Since then the
    instrument may have drifted: by what the certificate's entry states or, where it states nothing, by no more than the
    data sheet's limit of reading. limits: the names of what is replaced, that of reading first.
    """
    kept = tuple(one for one in components if one.name not in limits)
    if certificate.drift is not None:
        stated = Component(
            name=DRIFT,
            kind="B",
            unit="1",
            relative=True,
            half_width=certificate.drift,
            source=f"since certificate {certificate.number}, as the bench file states it",
            shared=f"certificate {certificate.number} {DRIFT}",
        )
        return (*kept, stated) if certificate.drift else kept
    of_reading = (one for one in components if one.name == limits[0])
    return kept + tuple(
        dataclasses.replace(one, name=DRIFT, source=f"no drift is stated; no more than {one.source}")
        for one in of_reading
    )


def points_in_range(
    certificate: Certificate, quantity: str, unit: str, full_scale: float | None, *, layer: str | None = None
) -> list[CertificatePoint]:
    """Return the points that hold for the range in force and the layer, by rising `at`, converted to `unit`.

    These are the points of that range or, where there is none of it, those that name no range: points of two
    ranges are never mixed. Raises UsageError if nothing is left.
    """
    points = [_in_unit(point, unit) for point in certificate.points if point.quantity == quantity]
    if not points:
        raise UsageError(
            f"certificate {certificate.number} has no point of {quantity}",
            advice="add its points to the bench file, or leave the certificate out: then nothing is corrected",
        )
    of_layer = [point for point in points if point.layer == layer]
    if not of_layer:
        named = ", ".join(sorted({point.layer or "none that it names" for point in points}))
        raise UsageError(
            f"certificate {certificate.number} has no point of {quantity} at layer {layer or 'none'}",
            why=f"its points are of layer {named}: rates of two layers differ by up to a quarter",
            advice="measure at the layer that was calibrated, or have the tester calibrated at this one",
        )
    points = of_layer
    fitting = [point for point in points if _same(point.range, full_scale)]
    usable = fitting or [point for point in points if point.range is None]
    if not usable:
        ranges = ", ".join(f"{full:g}" for full in sorted({point.range for point in points if point.range is not None}))
        in_force = "is not known" if full_scale is None else f"is {full_scale:g} {unit}"
        raise UsageError(
            f"certificate {certificate.number} has no point of {quantity} for the range in force",
            why=f"its points are of the ranges {ranges} {unit}, and the range in force {in_force}",
            advice="fix a range that was calibrated in the bench file, or have the meter calibrated in this one",
        )
    usable.sort(key=lambda point: point.at)
    for low, high in pairwise(usable):
        if low.at == high.at:
            raise UsageError(
                f"certificate {certificate.number} states {low.at:g} {unit} twice for one range",
                why="which of the two corrections holds cannot be told",
                advice="keep in the bench file the point found under the conditions of the measurement",
            )
    return usable


def _same(first: float | None, second: float | None) -> bool:
    return first is not None and second is not None and math.isclose(first, second, rel_tol=_SAME_RANGE)


def validity_on(certificate: Certificate, day: datetime.date) -> str | None:
    """Return why the certificate does not hold on `day`, None if it does."""
    begin = datetime.date.fromisoformat(certificate.calibrated_on)
    end = datetime.date.fromisoformat(certificate.valid_until)
    if day < begin:
        return f"certificate {certificate.number} is dated {begin}, after the measurement"
    if day > end:
        return f"certificate {certificate.number} expired on {end}"
    return None


def _in_unit(point: CertificatePoint, unit: str) -> CertificatePoint:
    def convert(value: float) -> float:
        return units.convert(value, point.unit, unit)

    return CertificatePoint(
        quantity=point.quantity,
        range=None if point.range is None else convert(point.range),
        at=convert(point.at),
        correction=convert(point.correction),
        expanded_uncertainty=convert(point.expanded_uncertainty),
        k=point.k,
        unit=unit,
        layer=point.layer,
    )


def _at(points: list[CertificatePoint], value: float, number: str, unit: str) -> tuple[float, float]:
    for point in points:
        if point.at == value:
            return point.correction, point.expanded_uncertainty / point.k
    for low, high in pairwise(points):
        if low.at < value < high.at:
            part = (value - low.at) / (high.at - low.at)
            first, last = low.expanded_uncertainty / low.k, high.expanded_uncertainty / high.k
            return low.correction + part * (high.correction - low.correction), first + part * (last - first)
    raise UsageError(
        f"certificate {number} does not reach {value:g} {unit}",
        why=f"its points lie from {points[0].at:g} to {points[-1].at:g} {unit}",
        advice="have the meter calibrated there, or measure within its points",
    )
