"""The certificate of a reference standard in a rate: its correction, its uncertainty, and what it does not reach."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aicalib_hw.errors import UsageError
from aicalib_hw.identity import Certificate
from aicalib_hw.interfaces import Instrument
from aicalib_hw.metrology.certificates import corrected, instead_of_limits, validity_on
from aicalib_hw.readings import Measurement, Validity, ValidityStatus


def certificate_of(bench: Any, instrument: Instrument) -> Certificate | None:
    """Return the certificate that the bench has of one of its instruments, None if it has none."""
    name = next(key for key, one in bench.instruments.items() if one is instrument)
    found: Certificate | None = bench.certificates.get(name)
    return found


def certified(
    run: Measurement,
    certificate: Certificate | None,
    *,
    full_scale: float | None = None,
    limits: Sequence[str] = (),
    layer: str | None = None,
) -> Measurement:
    """Return a run with the certificate's correction, if there is a certificate, and its uncertainty beside the others.

    full_scale, layer: as `corrected` takes them. limits: names of the components that are the data sheet's limits for
    what was calibrated: a certificate that is still valid, and a drift since then, stand instead of them. What the
    certificate does not reach is not valid, and says why.
    """
    if certificate is None or run.value is None:
        return run
    try:
        value, component = corrected(
            float(run.value), run.unit, run.quantity, certificate, full_scale=full_scale, layer=layer
        )
    except UsageError as error:
        reasons = (*run.validity.reasons, "; ".join(filter(None, (error.what, error.why, error.advice))))
        refused = tuple(replace(one, used=False, reasons=reasons) for one in run.runs)
        return replace(run, runs=refused, validity=Validity(ValidityStatus.INVALID, reasons))
    components = run.components
    if limits and expired(certificate) is None:
        components = instead_of_limits(components, certificate, limits)
    return replace(run, value=value, components=(*components, component))


def notes_on(certificate: Certificate | None) -> tuple[str, ...]:
    """Return what a reader must know of a certificate: that it does not hold today."""
    ended = None if certificate is None else expired(certificate)
    return (f"{ended}: no certificate may be issued from this",) if ended else ()


def expired(certificate: Certificate) -> str | None:
    """Return why a certificate does not hold today, None if it does."""
    return validity_on(certificate, datetime.datetime.now(datetime.UTC).date())
