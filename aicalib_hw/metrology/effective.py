"""Normalised effective compute: the share of the calibrated dense compute that valid model operations took up.

The draft specification gives a range (0 to 100 %) and no definition, and no standard with one could be found. This is
the project's own, version 1, and every result says so: equivalent busy time at the reference rate, over elapsed time,

    eta = (1 / T) x sum over precisions p of W_p / P_p

with W_p the operations of the model at precision p in the window T, idle time, communication and data loading
included, and P_p the reference rate of all devices together. Each operation is charged the time that it would take
at its precision's rate, so that mixed precision needs no weights. W counts by a named convention (`FLOP_MODELS`), which
has no uncertainty and must be the same wherever two values are compared. More than 100 % is a fault, never a success.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from aicalib_hw import units
from aicalib_hw.errors import UsageError
from aicalib_hw.identity import SIMULATION_MARK, Identity
from aicalib_hw.metrology.budget import standard_uncertainty
from aicalib_hw.metrology.clocks import SHARED
from aicalib_hw.readings import Component, Measurement, Run, Validity, ValidityStatus

NAME = "normalised effective compute"
VERSION = 1

Workload = Literal["training", "inference"]
Variant = Literal["calibrated", "nominal"]

FLOP_MODELS: Mapping[Workload, str] = {
    "training": "palm-6n-12lhqt-no-embed-no-causal",
    "inference": "2n-4lhq-position-no-embed",
}
"""How the operations of a token are counted, by workload; see `training_operations`, `inference_operations`."""

_COVERAGE = 2.0


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the operations of a token follow from.

    parameters N: in matrix products, the input embedding excluded, a tied output counted once; of a mixture of experts
    those that are active. layers L. width H x Q: attention heads times the size of one. Raises UsageError below 1.
    """

    parameters: int
    layers: int
    width: int

    def __post_init__(self) -> None:
        if min(self.parameters, self.layers, self.width) < 1:
            raise UsageError(f"{self} is the shape of no model", advice="give counts of 1 and more")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference rate P of all devices at one precision: value in `unit`, how well it is known, where it comes from.

    value: None where it was measured and gave none. components: relative or in `unit`. source: the definition it was
    measured by, or the formula of a data sheet.
    """

    value: float | None
    unit: str
    variant: Variant
    source: str
    identity: Identity | None = None
    components: tuple[Component, ...] = ()


def training_operations(shape: ModelShape, sequence_length: int) -> int:
    """Return the operations of one trained token: 6 N + 12 L H Q T, forward and backward, FLOP.

    No discount for the causal mask, nothing for what is computed again. Source: PaLM (arXiv 2204.02311), appendix B.
    """
    return 6 * shape.parameters + 12 * shape.layers * shape.width * sequence_length


def inference_operations(shape: ModelShape, input_tokens: int, output_tokens: int) -> int:
    """Return the operations of one whole request, FLOP.

    2 N + 4 L H Q p for the prompt's token at position p = 1 … n, 2 N + 4 L H Q c for each generated token with c
    tokens before it. Every prompt token must have been processed: what a prefix cache gave is no work.
    """
    tokens = input_tokens + output_tokens
    positions = input_tokens * (input_tokens + 1) // 2
    contexts = output_tokens * input_tokens + output_tokens * (output_tokens - 1) // 2
    return 2 * shape.parameters * tokens + 4 * shape.layers * shape.width * (positions + contexts)


def definition_of(workload: Workload, variant: Variant) -> str:
    """Return the identifier of the definition, which names version, counting convention and kind of reference."""
    return f"effective-compute/v{VERSION}/{FLOP_MODELS[workload]}/{variant}"


def effective_compute(
    tokens: Measurement,
    references: Mapping[str, Reference],
    *,
    workload: Workload,
    operations_per_token: float,
    shares: Mapping[str, float],
    reasons: Sequence[str] = (),
) -> Measurement:
    """Return the normalised effective compute of one measured token rate, in %.

    tokens: a rate in token/s, whose tokens take `operations_per_token` each, of which `shares` (by precision, summing
    to 1) are done at each precision. references: P by precision, all of one variant. reasons: why it is not valid
    although the rate may be. A rate that is not valid, and more than 100 % beyond its uncertainty, give a value
    that is INVALID and says why; nothing is clipped. Raises UsageError for what does not belong together.
    """
    _require_fitting(tokens, references, operations_per_token, shares)
    variant = next(iter(references.values())).variant
    value: float | None = None
    busy: dict[str, float] = {}
    done: dict[str, float] = {}
    components: tuple[Component, ...] = ()
    found = [*(tokens.validity.reasons if not tokens.validity else ()), *reasons]
    if tokens.value is None or tokens.value <= 0:
        found.append("no token was counted")
    found += [f"the reference at {one} has no value" for one in shares if references[one].value is None]
    peaks = {one: peak for one in shares if (peak := references[one].value) is not None}
    if tokens.value is not None and tokens.value > 0 and len(peaks) == len(shares):
        rate = units.convert(float(tokens.value), tokens.unit, "token/s")
        busy = {one: rate * operations_per_token * shares[one] / peaks[one] for one in shares}
        done = {one: rate * operations_per_token * shares[one] * tokens.window.duration for one in shares}
        value = 100 * sum(busy.values())
        components = _components(tokens, references, busy)
        found += above_full(value, components)
    status = ValidityStatus.INVALID if found else ValidityStatus.VALID
    return Measurement(
        quantity="effective_compute",
        definition=definition_of(workload, variant),
        value=value,
        unit="%",
        window=tokens.window,
        identity=_identity(tokens, references),
        runs=(Run(value, tokens.window, used=not found, reasons=tuple(found)),),
        components=components,
        settings={"workload": workload, "shares": dict(shares)},
        evidence={
            "name": NAME,
            "version": VERSION,
            "flop_model": FLOP_MODELS[workload],
            "token_rate": tokens.value,
            "token_definition": tokens.definition,
            "operations_per_token": operations_per_token,
            "operations": done,
            "busy_shares": busy,
            "reference_rates": {one: reference.value for one, reference in references.items()},
            "reference_sources": {one: reference.source for one, reference in references.items()},
            "remarks": list(tokens.evidence.get("remarks", ())),
        },
        validity=Validity(status, tuple(dict.fromkeys(found))),
    )


def above_full(value: float, components: Sequence[Component]) -> tuple[str, ...]:
    """Return what is said of a value, in %, that lies above 100 % by more than its expanded uncertainty."""
    expanded = _COVERAGE * sum(standard_uncertainty(one, value, "%") ** 2 for one in components) ** 0.5
    if value <= 100 + expanded:
        return ()
    return (
        f"{value:.4g} % is more than 100 %, beyond an uncertainty of {expanded:.2g} %: the reference rate is no upper "
        "bound, or the operations of a token are counted wrongly",
    )


def as_share(component: Component, value: float, unit: str, *, weight: float = 1.0) -> Component:
    """Return the same component as a share of `value`, given in `unit`, times `weight`."""
    scale = weight if component.relative else weight * units.convert(1.0, component.unit, unit) / abs(value)
    width, size = component.half_width, component.standard_uncertainty
    return replace(
        component,
        unit="1",
        relative=True,
        half_width=None if width is None else scale * width,
        standard_uncertainty=None if size is None else scale * size,
    )


def _require_fitting(
    tokens: Measurement, references: Mapping[str, Reference], operations: float, shares: Mapping[str, float]
) -> None:
    if units.require(tokens.unit).dimension != "token rate":
        raise UsageError(f"{tokens.definition} in {tokens.unit} is no rate of tokens")
    if not 0 < operations < float("inf"):
        raise UsageError(f"{operations} operations a token cannot be meant")
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values(), default=0.0) <= 0:
        raise UsageError(f"the shares of the precisions must be above 0 and add up to 1, not {dict(shares)}")
    missing = [one for one in shares if one not in references]
    if missing:
        raise UsageError(f"no reference rate is known at {', '.join(missing)}", advice="measure it first")
    if len({references[one].variant for one in shares}) != 1:
        raise UsageError(
            "calibrated and nominal references cannot be mixed", advice="take all measured, or all from data sheets"
        )
    for one in shares:
        dimension = units.require(references[one].unit).dimension
        peak = references[one].value
        if dimension not in ("operation rate", "integer operation rate") or (peak is not None and peak <= 0):
            raise UsageError(f"{peak} {references[one].unit} at {one} is no reference rate")


def _components(
    tokens: Measurement, references: Mapping[str, Reference], busy: Mapping[str, float]
) -> tuple[Component, ...]:
    """Relative components of the ratio: of the token rate as they are, of each reference by its part of the busy time.

    What one clock causes above and below the line cancels only as far as its rate was the same in both windows, which
    nobody has watched; its larger effect is kept once.
    """
    stated = [
        replace(as_share(one, float(tokens.value or 0.0), tokens.unit), name=f"token rate: {one.name}")
        for one in tokens.components
    ]
    whole = sum(busy.values())
    for precision, part in busy.items():
        reference = references[precision]
        weight = part / whole
        stated += [
            replace(
                as_share(one, reference.value or 1.0, reference.unit, weight=weight),
                name=f"reference {precision}: {one.name}",
            )
            for one in reference.components
        ]
    clocks = [one for one in stated if one.shared == SHARED]
    kept = [one for one in stated if one.shared != SHARED]
    if clocks:
        largest = max(clocks, key=lambda one: one.half_width or one.standard_uncertainty or 0.0)
        kept.append(replace(largest, name="time base"))
    return tuple(kept)


def _identity(tokens: Measurement, references: Mapping[str, Reference]) -> Identity:
    """Who measured: the token rate's instrument; one simulated source of a reference makes the whole simulated."""
    own = tokens.identity
    simulated = [one.identity for one in references.values() if one.identity is not None and one.identity.simulated]
    if own.simulated or not simulated:
        return own
    return replace(own, extra={**own.extra, "build": f"{SIMULATION_MARK} reference: {simulated[0]}"})
