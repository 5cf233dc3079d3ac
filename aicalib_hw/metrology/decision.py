"""Decision rules: from an error, its uncertainty and the maximum permissible error to a verdict.

The rule is agreed before measuring and stands in the record. No rule is a silent default: without
an indication there is no error, without a rule no statement.
"""

from __future__ import annotations

from statistics import NormalDist

from aicalib_hw import units
from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.coverage import student_cdf, usable_degrees
from aicalib_hw.metrology.result import Decision, Evaluation, Indication, PermissibleError, Rule, Verdict
from aicalib_hw.readings import Validity

RULES: dict[str, str] = {
    "jjf1094": "U ≤ MPEV/3: |E| ≤ MPEV passes. Otherwise |E| ≤ MPEV − U passes, |E| ≥ MPEV + U fails, "
    "in between nothing can be said (JJF 1094-2002)",
    "nonbinary_u": "guard band U: |E| ≤ MPEV − U passes, up to MPEV conditionally, up to MPEV + U fails "
    "conditionally, beyond fails (ILAC-G8:09/2019, 4.2.3)",
    "simple": "|E| ≤ MPEV passes, whatever U; up to half of the statements on the limit are wrong "
    "(ILAC-G8:09/2019, 4.2.1)",
    "none": "no statement of conformity: error and uncertainty only",
}
"""Each rule in one sentence, as reports print it."""

_NO_INDICATION = (
    "the platform declares no indication, so there is no error to judge; add [[indications]] with quantity = "
    '"{quantity}", value, unit and source to the bench file'
)


def decide(
    evaluation: Evaluation | None,
    indication: Indication | None,
    permissible: PermissibleError | None,
    rule: Rule,
    *,
    quantity: str,
    validity: Validity | None = None,
) -> Decision:
    """Return the decision on indication − measured value; error, U and MPE in the evaluation's unit.

    NOT_EVALUATED, with the reason, for an invalid measurement, a missing indication or limit, or rule "none".
    """
    if evaluation is None or (validity is not None and not validity):
        reasons = "; ".join(validity.reasons) if validity is not None else ""
        return Decision(rule, Verdict.NOT_EVALUATED, f"the measurement is not valid: {reasons or 'no value'}")
    if indication is None:
        return Decision(rule, Verdict.NOT_EVALUATED, _NO_INDICATION.format(quantity=quantity))
    error = units.convert(indication.value, indication.unit, evaluation.unit) - evaluation.value
    relative = error / evaluation.value if evaluation.value else None
    expanded = evaluation.expanded_uncertainty
    if permissible is None or rule == "none":
        reason = (
            "no statement of conformity was asked for"
            if rule == "none"
            else f"no maximum permissible error is given; add [permissible_errors.{quantity}] to the bench file"
        )
        return Decision(rule, Verdict.NOT_EVALUATED, reason, error, relative, expanded)
    limit = limit_of(permissible, evaluation)
    verdict, reason = _RULES[rule](abs(error), expanded, limit)
    return Decision(
        rule,
        verdict,
        reason,
        error=error,
        relative_error=relative,
        expanded_uncertainty=expanded,
        maximum_permissible_error=limit,
        conformance_probability=conformance_probability(
            error, evaluation.standard_uncertainty, limit, dof=usable_degrees(evaluation.dof)
        ),
    )


def limit_of(permissible: PermissibleError, evaluation: Evaluation) -> float:
    """Return MPEV in the evaluation's unit; raises UsageError for a relative limit at a value of zero."""
    if permissible.kind == "absolute":
        return units.convert(permissible.value, permissible.unit, evaluation.unit)
    if evaluation.value == 0:
        raise UsageError(
            "a relative maximum permissible error has no meaning at zero",
            advice='state it as kind = "absolute" for this quantity',
        )
    return permissible.value * abs(evaluation.value)


def conformance_probability(
    error: float, standard_uncertainty: float, limit: float, *, dof: int | None = None
) -> float:
    """Return the probability that the true error lies within ±limit (JCGM 106).

    For a normal distribution, or with `dof` degrees of freedom for Student's t scaled by the standard
    uncertainty: few runs make no surer statement here than they do in k.
    """
    if standard_uncertainty <= 0:
        return 1.0 if abs(error) <= limit else 0.0
    high, low = (limit - error) / standard_uncertainty, (-limit - error) / standard_uncertainty
    if dof is None:
        return NormalDist().cdf(high) - NormalDist().cdf(low)
    return student_cdf(high, dof) - student_cdf(low, dof)


def _jjf1094(error: float, expanded: float, limit: float) -> tuple[Verdict, str]:
    if expanded <= limit / 3:
        verdict = Verdict.PASS if error <= limit else Verdict.FAIL
        return verdict, f"U ≤ MPEV/3, so |E| {'≤' if error <= limit else '>'} MPEV decides"
    if error <= limit - expanded:
        return Verdict.PASS, "|E| ≤ MPEV − U"
    if error >= limit + expanded:
        return Verdict.FAIL, "|E| ≥ MPEV + U"
    return Verdict.INDETERMINATE, "U > MPEV/3 and |E| lies within U of MPEV: neither pass nor fail can be stated"


def _nonbinary_u(error: float, expanded: float, limit: float) -> tuple[Verdict, str]:
    if error <= limit - expanded:
        return Verdict.PASS, "|E| ≤ MPEV − U"
    if error <= limit:
        return Verdict.CONDITIONAL_PASS, "MPEV − U < |E| ≤ MPEV"
    if error <= limit + expanded:
        return Verdict.CONDITIONAL_FAIL, "MPEV < |E| ≤ MPEV + U"
    return Verdict.FAIL, "|E| > MPEV + U"


def _simple(error: float, expanded: float, limit: float) -> tuple[Verdict, str]:
    if error <= limit:
        return Verdict.PASS, "|E| ≤ MPEV, uncertainty not taken into account"
    return Verdict.FAIL, "|E| > MPEV, uncertainty not taken into account"


_RULES = {"jjf1094": _jjf1094, "nonbinary_u": _nonbinary_u, "simple": _simple}
