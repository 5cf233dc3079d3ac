"""Budgets, decision rules, clocks and energy: from components to a statement."""

from aicalib_hw.metrology.result import (
    BudgetLine,
    Calibration,
    Decision,
    Evaluation,
    Indication,
    PermissibleError,
    Result,
    Rule,
    Verdict,
)

__all__ = [
    "BudgetLine",
    "Calibration",
    "Decision",
    "Evaluation",
    "Indication",
    "PermissibleError",
    "Result",
    "Rule",
    "Verdict",
]
