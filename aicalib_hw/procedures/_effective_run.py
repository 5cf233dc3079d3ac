"""One run of normalised effective compute: the reference, the workload, the reference again, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aicalib_hw.errors import NotSupported
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import Accelerator, Progress
from aicalib_hw.metrology.effective import Reference, Workload, as_share, effective_compute
from aicalib_hw.procedures._point import largest_components
from aicalib_hw.procedures._together import measure_together, sum_of
from aicalib_hw.readings import Component, Measurement

PATHS = ("matrix", "vector", "gemm")
"""Where a precision is computed if nothing else is asked: the first of these that the accelerators have."""

DRIFT = 0.02
"""Share by which the references before and after a run may differ (an assumption of this project)."""


def measure_effective_compute(
    accelerators: Sequence[Accelerator],
    measure_tokens: Callable[[], Measurement],
    *,
    workload: Workload,
    operations_per_token: float,
    shares: Mapping[str, float],
    path: Any = None,
    duration: float = 5.0,
    drift: float = DRIFT,
) -> Measurement:
    """Measure the reference, the workload, the reference again, and return the normalised effective compute, %.

    accelerators: all that the workload runs on, opened, and no others. measure_tokens: runs the workload and returns
    its rate, as `job.measure_tokens(plan)` does. shares: of the operations, by precision. path: of the reference,
    None = the first of `PATHS`. duration: s of one reference run. Raises NotSupported where one lacks
    a precision.
    """
    before = measure_reference(accelerators, shares, path=path, duration=duration)
    tokens = measure_tokens()
    after = measure_reference(accelerators, shares, path=path, duration=duration)
    return between(
        tokens,
        before,
        after,
        workload=workload,
        operations_per_token=operations_per_token,
        shares=shares,
        drift=drift,
    )


def measure_reference(
    accelerators: Sequence[Accelerator],
    shares: Mapping[str, float],
    *,
    path: Any = None,
    duration: float,
    progress: Progress | None = None,
) -> dict[str, Measurement]:
    """Return the sustained rate of all accelerators together at each precision, with the components of each."""
    return {
        precision: _sum_of(
            [
                one.sustained
                for one in measure_together(
                    accelerators,
                    precision,
                    path=path_of(accelerators, precision, path),
                    duration=duration,
                    progress=progress,
                )
            ]
        )
        for precision in shares
    }


def path_of(accelerators: Sequence[Accelerator], precision: str, path: Any = None) -> str:
    """Return the path by which all accelerators compute in `precision`; raises NotSupported if there is none."""
    for one in (path,) if path else PATHS:
        if all(accelerator.capabilities.supported(precision, one) for accelerator in accelerators):
            return str(one)
    raise NotSupported(
        f"no reference at {precision}: not all accelerators compute in it{f' by the path {path!r}' if path else ''}",
        where=" ".join(accelerator.address for accelerator in accelerators),
        advice="name the accelerators that the workload runs on, and a precision that each of them has",
    )


def between(
    tokens: Measurement,
    before: Mapping[str, Measurement],
    after: Mapping[str, Measurement],
    *,
    workload: Workload,
    operations_per_token: float,
    shares: Mapping[str, float],
    drift: float = DRIFT,
    reasons: Sequence[str] = (),
) -> Measurement:
    """Return the normalised effective compute of a workload that ran between two measurements of the reference.

    The reference is their mean; half their difference is a component of it. A difference of more than `drift`, or a
    reference that is not valid, makes the value INVALID; so do `reasons`.
    """
    references: dict[str, Reference] = {}
    found = list(reasons)
    for precision in shares:
        pair = (before[precision], after[precision])
        found += [f"reference {precision}: {why}" for one in pair if not one.validity for why in one.validity.reasons]
        first, last = (None if one.value is None else float(one.value) for one in pair)
        identity = _first_simulated([one.identity for one in pair])
        if first is None or last is None:
            references[precision] = Reference(None, pair[0].unit, "calibrated", pair[0].definition, identity)
            continue
        mean = (first + last) / 2
        apart = abs(last - first) / mean
        if apart > drift:
            found.append(
                f"reference {precision}: disturbed, {first:.4g} before and {last:.4g} {pair[0].unit} after the run, "
                f"{apart:.1%} apart, {drift:.1%} is allowed"
            )
        wandering = Component(
            "change from before to after the run",
            "B",
            "1",
            "half the difference of the two measurements that enclose the run",
            half_width=apart / 2,
            relative=True,
        )
        references[precision] = Reference(
            mean,
            pair[0].unit,
            "calibrated",
            pair[0].definition,
            identity,
            (*largest_components(pair), wandering),
        )
    measured = effective_compute(
        tokens,
        references,
        workload=workload,
        operations_per_token=operations_per_token,
        shares=shares,
        reasons=found,
    )
    enclosing = {one: [before[one].value, after[one].value] for one in shares}
    return replace(measured, evidence={**measured.evidence, "references_before_after": enclosing})


def nominal_references(
    accelerators: Sequence[Accelerator], shares: Mapping[str, float], *, path: Any = None
) -> dict[str, Reference] | None:
    """Return the rates of the data sheets, dense and at nominal clock; None where one of them is not known."""
    found: dict[str, Reference] = {}
    for precision in shares:
        chosen: Any = path_of(accelerators, precision, path)
        asked: Any = precision
        peaks = [one.theoretical_peak(asked, path=chosen, clock="nominal") for one in accelerators]
        if any(not peak.value for peak in peaks):
            return None
        total = sum(peak.value or 0.0 for peak in peaks)
        formula = "; ".join(dict.fromkeys(f"{peak.formula} ({peak.source})" for peak in peaks))
        identity = _first_simulated([one.identity for one in accelerators])
        found[precision] = Reference(total, peaks[0].unit, "nominal", formula, identity)
    return found


def _sum_of(parts: Sequence[Measurement]) -> Measurement:
    """The sum of what was done together, with the largest component of each name, relative to its own rate."""
    return replace(sum_of(parts), components=largest_components([_relative(part) for part in parts]))


def _relative(part: Measurement) -> Measurement:
    if part.value is None:
        return replace(part, components=())
    value = float(part.value)
    return replace(part, components=tuple(as_share(one, value, part.unit) for one in part.components))


def _first_simulated(identities: Sequence[Identity]) -> Identity:
    return next((one for one in identities if one.simulated), identities[0])
