"""What other programs did to a platform while it was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from aicalib_hw.interfaces import LoadRun
from aicalib_hw.readings import Measurement, Validity, ValidityStatus


def others_told(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return as evidence of a point what the evidence of its runs tells of other programs; nothing where none does."""
    told = [run.get("load_of_others") for run in runs]
    return {} if all(one is None for one in told) else {"load_of_others": told}


def with_others(measured: Measurement, running: LoadRun, source: Any, tolerance: float) -> Measurement:
    """Return a measurement that states what others did meanwhile, and is not valid where they did too much.

    measured: taken with `load=running`, so that its load is that of ours alone. source: the bench's load. Where that
    is this host's processors, what others held of them is load as well and is added to it. Beside another load (a GPU)
    they only move what the meter reads, and where no meter reads this host they do nothing and are not stated.
    tolerance: share of this host's processors that others may hold, 0…1. What the load cannot tell is not stated.
    """
    if not (source.is_host or source.host_is_metered):
        return measured
    others = running.others()
    if others is None or measured.load is None:
        return measured
    validity = measured.validity
    if others > tolerance:
        # Without the number, which stands in the evidence, the reason is the same for every run and told once.
        reason = (
            f"other programs held this host's processors up, by more than the {tolerance:.0%} that is allowed: "
            "end them, or measure at another time"
        )
        validity = Validity(ValidityStatus.INVALID, (*validity.reasons, reason))
    runs = measured.runs
    if not validity:
        runs = tuple(dataclasses.replace(run, used=False, reasons=validity.reasons) for run in runs)
    return dataclasses.replace(
        measured,
        load=min(1.0, measured.load + others) if source.is_host else measured.load,
        runs=runs,
        validity=validity,
        evidence={**measured.evidence, "load_of_others": others},
    )
