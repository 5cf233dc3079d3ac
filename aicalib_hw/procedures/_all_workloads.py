"""The point of normalised effective compute that stands for all workloads of a bench together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aicalib_hw.metrology import Result
from aicalib_hw.metrology.workloads import of_all_workloads
from aicalib_hw.procedures._apart import why_unjudged
from aicalib_hw.procedures._point import largest_components, make_point
from aicalib_hw.readings import Measurement


def together(bench: Any, measured: Sequence[Sequence[Measurement]], record: Any = None) -> Result:
    """Return the normalised effective compute of all workloads together, of as many rounds as every workload has runs.

    measured: the runs of each workload. A round is one run of each, usable ones first. record: gets the result.
    """
    usable_first = [sorted(runs, key=lambda one: not one.validity) for runs in measured]
    rounds = [of_all_workloads(parts) for parts in zip(*usable_first, strict=False)]
    told = [one.evidence for one in rounds]
    kinds = list(told[0]["workload_seconds"])
    result = make_point(
        bench,
        rounds,
        title=f"{' and '.join(kinds)} together",
        components=largest_components(rounds),
        evidence={
            **{key: told[0][key] for key in ("name", "version", "flop_model", "reference_sources")},
            **{
                key: {kind: [one[key][kind] for one in told] for kind in kinds}
                for key in ("workload_seconds", "workload_values")
            },
        },
        unjudged=why_unjudged(one for runs in measured for one in runs),
    )
    if record is not None:
        record.result(result)
    return result
