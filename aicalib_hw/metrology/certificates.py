"""Corrections of a calibration certificate: applied where it reaches, refused where it does not, never ignored."""

from __future__ import annotations

import datetime
from itertools import pairwise

from aicalib_hw import units
from aicalib_hw.errors import UsageError
from aicalib_hw.identity import Certificate, CertificatePoint
from aicalib_hw.readings import Component


def corrected(value: float, unit: str, quantity: str, certificate: Certificate) -> tuple[float, Component]:
    """Return `value` (in `unit`) with the certificate's correction added, and the component it brings.

    Between two points correction and uncertainty are interpolated linearly. Raises UsageError if the
    certificate has no point of this quantity, or if `value` lies outside its points.
    """
    points = sorted(
        (_in_unit(point, unit) for point in certificate.points if point.quantity == quantity),
        key=lambda point: point.at,
    )
    if not points:
        raise UsageError(
            f"certificate {certificate.number} has no point of {quantity}",
            advice="add its points to the bench file, or leave the certificate out: then nothing is corrected",
        )
    correction, uncertainty = _at(points, value, certificate.number, unit)
    component = Component(
        name="certificate",
        kind="B",
        unit=unit,
        standard_uncertainty=uncertainty,
        distribution="normal",
        source=f"certificate {certificate.number} of {certificate.issuer}",
        shared=f"certificate {certificate.number}",
    )
    return value + correction, component


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
