"""How many operations a token of a workload takes, and why that may be another number than was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aicalib_hw.errors import UsageError
from aicalib_hw.interfaces import InferenceLoad
from aicalib_hw.metrology.effective import FLOP_MODELS, inference_operations, training_operations
from aicalib_hw.readings import Measurement

_AGREEMENT = 1e-3
_COUNTER_AGREES = 0.01
_OTHER_WORK = 0.01
"""Share by which answers may have other lengths than were asked for, or prompts come from a cache."""


def operations_of(work: Any, tokens: Measurement) -> tuple[float, tuple[str, ...]]:
    """Return the operations of one token that `tokens` counts, and why they may be wrong.

    Of a shape that the plan gives, or of what a training job tells of its own model by the same convention. Raises
    UsageError where neither does, and for tokens of another kind than a convention is known for.
    """
    if work.kind == "inference":
        asked, counted = work.asked, tokens.definition.split("/")
        whole = inference_operations(work.shape, asked.input_tokens, asked.output_tokens)
        of = {"output": asked.output_tokens, "total": asked.input_tokens + asked.output_tokens}
        if counted[0] != "token" or counted[1] not in of or counted[2] == "engine-counter" or len(counted) > 4:
            raise UsageError(
                f"the operations of a token of {tokens.definition!r} are not known",
                why="whose requests were answered, and how long they are, must be known of every token that counts",
                advice="measure with requests of our own",
            )
        return whole / of[counted[1]], _other_work(asked, tokens.evidence)
    told, torch = tokens.evidence.get("flop_per_token"), tokens.evidence.get("flop_per_token_counted")
    same = str(tokens.evidence.get("flop_model", "")).replace("/", "-") == FLOP_MODELS["training"]
    if work.shape is None:
        if not told or not same:
            raise UsageError(
                "the operations of a trained token are not known",
                why="this job does not tell the shape of its model",
                advice="give parameters, layers and width under [plan.effective_compute]",
            )
        if torch and abs(float(torch) / float(told) - 1) > _COUNTER_AGREES:
            return float(told), (
                f"a token takes {float(told):.6g} operations by the job's formula, and it counted {float(torch):.6g}",
            )
        return float(told), ()
    operations = float(training_operations(work.shape, work.asked.sequence_length))
    if told and same and abs(float(told) / operations - 1) > _AGREEMENT:
        return operations, (
            f"a token takes {operations:.6g} operations by the plan's shape, and {float(told):.6g} by the job's own",
        )
    return operations, ()


def _other_work(asked: InferenceLoad, told: Mapping[str, Any]) -> tuple[str, ...]:
    """Say why the requests took other operations than those that were asked for."""
    found = []
    answers = told.get("output_tokens") or {}
    lengths = [one for one in (answers.get("least"), answers.get("most")) if one is not None]
    if any(abs(one - asked.output_tokens) > _OTHER_WORK * asked.output_tokens for one in lengths):
        found.append(
            f"answers had {min(lengths)} to {max(lengths)} tokens, and the operations of a token are those of requests "
            f"with {asked.output_tokens}"
        )
    cached, complete = told.get("cached_tokens") or 0, (told.get("requests") or {}).get("complete") or 0
    if cached > _OTHER_WORK * complete * asked.input_tokens:
        found.append(f"{cached} prompt tokens came from a cache, which is no work, and would count as such")
    return tuple(found)


def other_precision(tokens: Measurement, shares: Mapping[str, float]) -> tuple[str, ...]:
    """Say so if a training job trains in a precision at which none of its operations is charged."""
    precision = tokens.settings.get("precision") if tokens.quantity == "training" else None
    if precision is None or precision in shares:
        return ()
    return (f"the job trains in {precision}, and its operations are charged at {', '.join(shares)}",)
