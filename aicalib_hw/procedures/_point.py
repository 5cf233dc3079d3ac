"""One calibrated point: repeated measurements of one definition made into a result."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from aicalib_hw import definitions
from aicalib_hw.errors import UsageError
from aicalib_hw.identity import Certificate
from aicalib_hw.metrology import Indication, Result
from aicalib_hw.metrology.budget import evaluate, type_a
from aicalib_hw.metrology.certificates import corrected
from aicalib_hw.metrology.decision import decide
from aicalib_hw.readings import Component, Measurement, Run, Validity, ValidityStatus, Window

MOST_UNUSED = 0.2
"""Share of runs that may be unusable before the point is invalid."""

_LOAD_TOLERANCE = 0.005


def make_point(
    bench: Any,
    measured: Sequence[Measurement],
    *,
    title: str,
    components: Sequence[Component],
    evidence: Mapping[str, Any],
    certificate: Certificate | None = None,
    load: float | None = None,
    asked_load: float | None = None,
    reasons: Sequence[str] = (),
) -> Result:
    """Return the result of runs that measured the same: mean, budget, error, decision.

    measured: one measurement a run, of one definition and unit. components: type B, of their mean.
    reasons: why the point is not valid although its runs may be. Type A comes from the usable runs;
    a point with fewer than two, or with more than a fifth unusable, is INVALID and has no verdict.
    """
    first = measured[0]
    definitions.require_same(*(one.definition for one in measured))
    values = [float(one.value) for one in measured if one.validity and one.value is not None]
    objections = list(reasons)
    unused = len(measured) - len(values)
    if unused > MOST_UNUSED * len(measured):
        objections.append(f"{unused} of {len(measured)} runs are not usable")
        objections += sorted({reason for one in measured for reason in one.validity.reasons if not one.validity})
    if len(values) < 2:
        objections.append(f"{len(values)} usable runs give no repeatability")
    validity = Validity(ValidityStatus.INVALID, tuple(objections)) if objections else Validity()
    value = statistics.fmean(values) if values else None
    stated = tuple(components)
    if value is not None and certificate is not None:
        value, of_certificate = corrected(value, first.unit, first.quantity, certificate)
        stated += (of_certificate,)
    combined = Measurement(
        quantity=first.quantity,
        definition=first.definition,
        value=value,
        unit=first.unit,
        window=Window(first.window.start, measured[-1].window.stop, f"{len(measured)} runs of {first.window.rule}"),
        identity=first.identity,
        runs=tuple(
            Run(
                value=None if one.value is None else float(one.value),
                window=one.window,
                used=bool(one.validity),
                reasons=one.validity.reasons,
                evidence={"load": one.load} if one.load is not None else {},
            )
            for one in measured
        ),
        components=stated,
        settings=first.settings,
        evidence=evidence,
        validity=validity,
        load=load,
    )
    evaluation = None
    if value is not None and validity:
        evaluation = evaluate(value, first.unit, (type_a(values, first.unit), *stated))
    indication = indication_of(bench, first.quantity, first.definition, asked_load)
    limit = bench.settings.permissible_errors.get(first.quantity)
    permissible = limit.permissible_error() if limit is not None else None
    decision = decide(
        evaluation,
        indication,
        permissible,
        bench.settings.decision.rule,
        quantity=first.quantity,
        validity=validity,
    )
    return Result(
        quantity=first.quantity,
        definition=first.definition,
        title=title,
        measurement=combined,
        evaluation=evaluation,
        decision=decision,
        validity=validity,
        simulated=first.identity.simulated,
        indication=indication,
        permissible_error=permissible,
        load=load,
        asked_load=asked_load,
    )


def indication_of(bench: Any, quantity: str, definition: str, load: float | None) -> Indication | None:
    """Return what the platform indicates for this point, None if the bench declares nothing that fits.

    Raises UsageError if two declared indications fit equally well.
    """
    fitting = [
        entry
        for entry in bench.settings.indications
        if entry.quantity == quantity
        and entry.definition in (None, definition)
        and (entry.load is None or (load is not None and abs(entry.load - load) <= _LOAD_TOLERANCE))
    ]
    exact = [entry for entry in fitting if entry.load is not None] or fitting
    if len(exact) > 1:
        raise UsageError(
            f"{len(exact)} indications of {quantity} fit one point",
            where=f"{bench.settings.origin}: indications",
            advice="tell them apart by load or definition",
        )
    return exact[0].indication() if exact else None
