"""Which point of a calibration an indication speaks of, and how one is declared for a point that has none.

A point is told from others of its quantity by its definition and by the condition that it was measured under: the
load of a power, the concurrency or request rate of a service, the direction of a port's rate, the driver of the
accelerators. What an indication leaves out may be anything; one that names its condition goes before one that does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aicalib_hw import units
from aicalib_hw.metrology.result import Result

NORMALISED = "/parameter-normalised"
"""Ends the definition of a rate that was multiplied by the parameters of the model."""

CLIENT_BESIDE_SERVICE = (
    "client and service shared one host's processors, which the value does not tell apart: no point of a calibration; "
    "ask from another machine"
)
"""Why a valid rate of tokens gets no verdict, whatever is indicated."""

NAMES_NO_DRIVER = "the bench has accelerators of several drivers, and what is indicated of compute names none"
"""Why a rate of the accelerators of one driver gets no verdict where an indication might be meant of another's."""

ENGINE_COUNTER = "/engine-counter/"
"""In the definition of a rate that an engine counts, whoever asks it: no load of ours tells one from another."""

_LOAD_TOLERANCE = 0.005

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "compute": ("flop/",),
    "power": ("power/",),
    "energy": ("energy/",),
    "network": ("rate/L", "throughput/L"),
    "storage": ("rate/storage/",),
    "inference": ("token/output/", "token/total/"),
    "training": ("token/training/",),
    "effective_compute": ("effective-compute/",),
}
"""How the definitions of each quantity begin."""

CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "compute": ("driver",),
    "power": ("load",),
    "energy": ("load",),
    "network": ("direction",),
    "inference": ("concurrency", "request_rate"),
}
"""The conditions that tell points of a quantity apart; every other quantity has none."""


def fitting(
    entries: Iterable[Any], quantity: str, definition: str, conditions: Mapping[str, Any], *, precision: str
) -> list[Any]:
    """Return the indications that speak of a point, the most exact ones alone; more than one contradict each other.

    conditions: of the point, by name. precision: of operations, that a compute indication without definition means.
    """
    those = [
        entry
        for entry in entries
        if entry.quantity == quantity
        and speaks_of(entry, definition, precision)
        and all(agree(name, conditions.get(name), value) for name, value in entry.conditions.items())
    ]
    most = max((len(entry.conditions) for entry in those), default=0)
    return [entry for entry in those if len(entry.conditions) == most]


def speaks_of(entry: Any, definition: str, precision: str) -> bool:
    """True if an indication speaks of what this definition counts.

    One without a definition speaks of all of its quantity: of compute at one precision alone, and of no rate that was
    multiplied by the parameters of a model.
    """
    if entry.definition is not None:
        return bool(entry.definition == definition)
    if definition.endswith(NORMALISED):
        return False
    return bool(entry.quantity != "compute" or definition.split("/")[1].partition("-")[0] == precision)


def contradict(one: Any, other: Any, *, precision: str) -> bool:
    """True if both would speak of the same point, and neither is more exact than the other."""
    if one.quantity != other.quantity or one.conditions.keys() != other.conditions.keys():
        return False
    if not all(agree(name, value, other.conditions[name]) for name, value in one.conditions.items()):
        return False
    if one.definition is not None and other.definition is not None:
        return bool(one.definition == other.definition)
    named = one.definition or other.definition
    return named is None or speaks_of(one if one.definition is None else other, named, precision)


def lacks_indication(result: Result) -> bool:
    """True if a result has no verdict because nothing is indicated, so that an indication would bring one."""
    judged = result.decision.reason != CLIENT_BESIDE_SERVICE
    return result.indication is None and bool(result.validity) and judged


def declared_otherwise(result: Result) -> bool:
    """True if the unit of an indication is no decimal multiple of the result's, as kWh beside J."""
    return result.indication is not None and not result.indication.unit.endswith(result.measurement.unit)


def declaration(result: Result) -> str:
    """Return the lines of a bench file that would declare what the platform says of this very point, its value left."""
    unit = result.measurement.unit
    if result.evaluation is not None:
        _, unit = units.display(result.evaluation.value, result.evaluation.unit)
    said = conditions_of(result.asked_load, result.conditions)
    return "\n".join(
        [
            "[[indications]]",
            f'quantity = "{result.quantity}"',
            f'definition = "{result.definition}"',
            *(f"{name} = {_toml(value)}" for name, value in said.items()),
            "value = …",
            f'unit = "{unit}"',
            'source = "…"',
        ]
    )


def conditions_of(asked_load: float | None, further: Mapping[str, Any]) -> dict[str, Any]:
    """Return all conditions of a point by name."""
    return {**({} if asked_load is None else {"load": float(asked_load)}), **further}


def agree(name: str, one: Any, other: Any) -> bool:
    """True if two values of a condition are the same one; loads to half a per cent of full load."""
    if one is None or other is None:
        return one is other
    if name == "load":
        return abs(float(one) - float(other)) <= _LOAD_TOLERANCE
    return bool(one == other)


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
