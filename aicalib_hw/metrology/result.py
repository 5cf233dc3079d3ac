"""What a calibration states: value, uncertainty, error, verdict, each with how it came about."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aicalib_hw import units
from aicalib_hw.readings import Measurement, Validity

Rule = Literal["jjf1094", "nonbinary_u", "simple", "none"]

OF_ONE_DEFINITION = ("network", "storage", "effective_compute")
"""Quantities whose points differ by more than their load: what is indicated holds for one definition alone."""


class Verdict(enum.Enum):
    """The statement on conformity, least severe first; an invalid measurement has none of them but NOT_EVALUATED."""

    NOT_EVALUATED = "NOT_EVALUATED"
    PASS = "PASS"
    CONDITIONAL_PASS = "CONDITIONAL_PASS"
    INDETERMINATE = "INDETERMINATE"
    CONDITIONAL_FAIL = "CONDITIONAL_FAIL"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One row of an uncertainty budget; standard_uncertainty and contribution in the value's unit.

    share: of the variance, 0…1. dof: None = infinite.
    """

    name: str
    kind: Literal["A", "B"]
    distribution: str
    standard_uncertainty: float
    contribution: float
    share: float
    dof: float | None
    source: str
    shared: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A value with its combined uncertainty, all in `unit`.

    dof: effective degrees of freedom, None = infinite. coverage_factor k for `probability`.
    method: how it was combined and how k was chosen, one sentence.
    """

    value: float
    unit: str
    standard_uncertainty: float
    dof: float | None
    coverage_factor: float
    probability: float
    expanded_uncertainty: float
    budget: tuple[BudgetLine, ...]
    method: str

    def __post_init__(self) -> None:
        units.require(self.unit)


@dataclass(frozen=True, slots=True)
class Indication:
    """What the platform says of itself: value in `unit`, under `load` (None = any), and who says so."""

    value: float
    unit: str
    source: str
    load: float | None = None


@dataclass(frozen=True, slots=True)
class PermissibleError:
    """A maximum permissible error, ± value: a ratio if relative (0.05 = 5 %), else in `unit`."""

    value: float
    kind: Literal["relative", "absolute"]
    source: str
    unit: str = "1"


@dataclass(frozen=True, slots=True)
class Decision:
    """Error against maximum permissible error by an agreed rule; error, U and MPE in the result's unit.

    conformance_probability: that the true error is within ±MPE, None = not evaluated.
    reason: one sentence that a reader of the report understands.
    """

    rule: Rule
    verdict: Verdict
    reason: str
    error: float | None = None
    relative_error: float | None = None
    expanded_uncertainty: float | None = None
    maximum_permissible_error: float | None = None
    conformance_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One calibrated point: the evaluated measurement, and the decision where one is due.

    title: what a table row says ("100 % load", "fp32 sustained"). load: achieved, 0…1, None = none.
    conditions: what else tells this point from others of its definition (concurrency, direction, driver), by name.
    evaluation: None where the measurement is not valid.
    """

    quantity: str
    definition: str
    title: str
    measurement: Measurement
    evaluation: Evaluation | None
    decision: Decision
    validity: Validity
    simulated: bool
    indication: Indication | None = None
    permissible_error: PermissibleError | None = None
    load: float | None = None
    asked_load: float | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Calibration:
    """All results of one quantity, with the plan they were measured by.

    further: measurements that belong to the story but are not calibrated points (a GEMM workload,
    a ranging pass, the peak beside the sustained rate).
    """

    quantity: str
    results: tuple[Result, ...]
    further: tuple[Measurement, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    validity: Validity = Validity()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The most severe verdict of all results."""
        order = list(Verdict)
        return max((result.decision.verdict for result in self.results), key=order.index, default=Verdict.NOT_EVALUATED)
