"""Whether the indications of a bench file can be held against its plan: each against a point, and each point one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from aicalib_hw._bench_errors import nearest
from aicalib_hw._bench_file import BenchFile, IndicationEntry
from aicalib_hw._bench_plans import Plans
from aicalib_hw.errors import Problem
from aicalib_hw.metrology.indications import ENGINE_COUNTER, agree, contradict


def contradictions(
    indications: Sequence[IndicationEntry | None], plan: Plans | None, drivers: Sequence[str] = ()
) -> Iterator[Problem]:
    """Yield what keeps indications from being decided on; None stands for one that is not sound by itself.

    Two that speak of the same point, one that is said of a condition that the plan never applies, or of a driver that
    no accelerator of the bench has, and one that leaves open which of several loads of a service it is said of.
    drivers: of the accelerators of the bench.
    """
    if plan is None:
        return
    placed = [(index, entry) for index, entry in enumerate(indications) if entry is not None]
    for (first, one), (second, other) in combinations(placed, 2):
        if contradict(one, other, precision=plan.compute.precision):
            yield Problem(
                f"two indications of {one.quantity} speak of the same point",
                f"indications[{second}]",
                f"indications[{first}] says {one.value:g} {one.unit} of it already, and this one {other.value:g} "
                f"{other.unit}",
                "leave one, or tell them apart by definition and condition",
            )
    for index, entry in placed:
        yield from _unapplied(index, entry, plan, drivers)


def without_limit(settings: BenchFile) -> tuple[str, ...]:
    """Return what is said of each indication that can bring no verdict, as its quantity has no permissible error.

    That is no mistake: error and uncertainty are stated all the same. None where the rule is "none".
    """
    if settings.decision.rule == "none":
        return ()
    return tuple(
        f"indications[{index}]: {entry.quantity} gets no verdict, as no maximum permissible error is given; "
        f"add [permissible_errors.{entry.quantity}]"
        for index, entry in enumerate(settings.indications)
        if entry.quantity not in settings.permissible_errors
    )


def _unapplied(index: int, entry: IndicationEntry, plan: Plans, drivers: Sequence[str]) -> Iterator[Problem]:
    inference = plan.inference
    applied: dict[str, tuple[str, Sequence[object]]] = {
        "load": ("plan.power.loads", plan.power.loads),
        "concurrency": ("plan.inference.concurrency", inference.concurrency),
        "request_rate": ("plan.inference.request_rates", inference.request_rates),
        "direction": ("plan.network.directions", plan.network.directions),
        "driver": ("the list of the bench's accelerators", tuple(dict.fromkeys(drivers))),
    }
    for name, value in entry.conditions.items():
        key, values = applied[name]
        if not any(agree(name, value, one) for one in values):
            yield Problem(
                f"{name} = {value!r} is never applied".replace("'", '"'),
                f"indications[{index}].{name}",
                f"{key} has {', '.join(str(one) for one in values) or 'none'}, so there is no point that it speaks of",
                nearest(str(value), [str(one) for one in values]) or f"add {value} to {key}",
            )
    loads = len(inference.concurrency) + len(inference.request_rates)
    counted = ENGINE_COUNTER in (entry.definition or "")
    if entry.quantity == "inference" and not entry.conditions and loads > 1 and not counted:
        named = [f"concurrency = {one}" for one in inference.concurrency]
        named += [f"request_rate = {one:g}" for one in inference.request_rates]
        yield Problem(
            "it is not said of which load of the service this indication is",
            f"indications[{index}]",
            f"the plan applies {loads}, and a rate under one would be held against all of them",
            f"add {' or '.join(named)}; or, where the engine's own counters are read, "
            'definition = "token/output/engine-counter/window"',
        )
