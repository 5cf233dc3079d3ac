"""Normalised effective compute of several workloads that the same devices ran in turn.

By the definition in `effective`, over their windows together: the equivalent busy times add up, and so do the times,

    eta = sum over workloads k of T_k x eta_k / sum over workloads k of T_k

It needs no weights but the times themselves, which the plan of each workload sets: it speaks of this mix alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.budget import standard_uncertainty
from aicalib_hw.metrology.effective import NAME, VERSION, Variant, above_full, as_share
from aicalib_hw.readings import Component, Measurement, Run, Validity, ValidityStatus, Window

_ALL = "all-workloads"
_OWN = "token rate: "


def definition_of_all(variant: Variant) -> str:
    """Return the identifier of the definition, which names version and kind of reference."""
    return f"effective-compute/v{VERSION}/{_ALL}/{variant}"


def of_all_workloads(parts: Sequence[Measurement]) -> Measurement:
    """Return the normalised effective compute of workloads that ran in turn, in %, from that of each.

    parts: one measurement of each workload, all against calibrated or all against nominal references. What causes an
    error of one reference causes it in every workload, and counts as fully correlated; what belongs to the tokens of
    one counts by itself. A part that is not valid, for the reasons that it tells itself, makes the whole INVALID, as
    do more than 100 % beyond the uncertainty; a part without a value, or whose window has no length, leaves it without
    one. Raises UsageError for fewer than two, for the same workload twice, and for kinds of references that are mixed.
    """
    kinds = [str(one.settings.get("workload")) for one in parts]
    variants = {one.definition.rpartition("/")[2] for one in parts}
    if len(parts) < 2 or len(set(kinds)) != len(kinds) or len(variants) != 1:
        raise UsageError(
            f"the normalised effective compute of {', '.join(kinds) or 'nothing'} is not one of several workloads",
            why="it takes two workloads or more, each once, against references of one kind",
        )
    times = [one.window.duration for one in parts]
    found = [f"that of {kind} is not valid" for kind, one in zip(kinds, parts, strict=True) if not one.validity]
    if min(times) <= 0:
        found.append("a workload whose window has no length has no part in a mean over time")
    busy = [time * float(one.value) for time, one in zip(times, parts, strict=True) if one.value and time > 0]
    value: float | None = None
    components: tuple[Component, ...] = ()
    if len(busy) == len(parts):
        value = sum(busy) / sum(times)
        components = _components(parts, kinds, busy)
        found += above_full(value, components)
    first = min((one.window.start for one in parts), key=lambda one: one.utc_ns)
    last = max((one.window.stop for one in parts), key=lambda one: one.utc_ns)
    window = Window(first, last, f"windows of {' and '.join(kinds)}, {sum(times):.6g} s together")
    variant: Variant = "nominal" if variants == {"nominal"} else "calibrated"
    return Measurement(
        quantity="effective_compute",
        definition=definition_of_all(variant),
        value=value,
        unit="%",
        window=window,
        identity=next((one.identity for one in parts if one.identity.simulated), parts[0].identity),
        runs=(Run(value, window, used=not found, reasons=tuple(found)),),
        components=components,
        settings={"workload": kinds},
        evidence={
            "name": NAME,
            "version": VERSION,
            "flop_model": {kind: one.evidence["flop_model"] for kind, one in zip(kinds, parts, strict=True)},
            "workload_seconds": dict(zip(kinds, times, strict=True)),
            "workload_values": {kind: one.value for kind, one in zip(kinds, parts, strict=True)},
            "reference_sources": dict(parts[0].evidence["reference_sources"]),
            "remarks": [],
        },
        validity=Validity(ValidityStatus.INVALID if found else ValidityStatus.VALID, tuple(dict.fromkeys(found))),
    )


def _components(parts: Sequence[Measurement], kinds: Sequence[str], busy: Sequence[float]) -> tuple[Component, ...]:
    """Relative components of the mean: each by the share of the busy time that its workload has, one name once."""
    found: dict[str, Component] = {}
    for part, kind, time in zip(parts, kinds, busy, strict=True):
        for stated in part.components:
            name = f"{kind}, {stated.name}" if stated.name.startswith(_OWN) else stated.name
            one = as_share(stated, float(part.value or 0.0), part.unit, weight=time / sum(busy))
            found[name] = _sum(found.get(name), replace(one, name=name))
    return tuple(found.values())


def _sum(held: Component | None, more: Component) -> Component:
    """The same cause in both: what it does adds up. Two of unlike shape add up as standard uncertainties."""
    if held is None:
        return more
    same = held.distribution == more.distribution and held.dof == more.dof
    if same and held.half_width is not None and more.half_width is not None:
        return replace(held, half_width=held.half_width + more.half_width)
    total = sum(standard_uncertainty(one, 1.0, "1") for one in (held, more))
    known = [one.dof for one in (held, more) if one.dof is not None]
    return replace(
        held, half_width=None, distribution=more.distribution, standard_uncertainty=total, dof=min(known, default=None)
    )
