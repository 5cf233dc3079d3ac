"""What a training run in PyTorch is asked for: its address taken apart into the model and how it is shared."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, urlsplit

from aicalib_hw.errors import OutOfRange, UsageError
from aicalib_hw.interfaces import TrainingPlan

FORM = "torch://local?processes=2&strategy=ddp"
PRECISIONS = ("fp32", "bf16")
_WORDS = {
    "strategy": ("ddp", "fsdp"),
    "device": ("cpu", "cuda", "npu"),
    "attention": ("sdpa", "eager"),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The run that an address describes: processes and how they share, the model's sizes, and the interpreter.

    threads: of each process. hidden, ffn: widths. global_batch, sequence_length: what `stream()` trains with.
    """

    processes: int = 1
    threads: int = 1
    hidden: int = 256
    layers: int = 4
    heads: int = 8
    kv_heads: int = 4
    ffn: int = 688
    vocabulary: int = 2048
    global_batch: int = 4
    sequence_length: int = 256
    strategy: Literal["ddp", "fsdp"] = "ddp"
    device: Literal["cpu", "cuda", "npu"] = "cpu"
    attention: Literal["sdpa", "eager"] = "sdpa"
    python: str = sys.executable

    @property
    def alone(self) -> bool:
        """True for one process without torchrun, which takes two seconds to begin; what has run so are processors."""
        return self.processes == 1 and self.device == "cpu"

    def flop_per_token(self, length: int) -> float:
        """FLOP per token of forward and backward: 6 N + 12 L H Q T, N parameters in products, H Q = hidden."""
        head = self.hidden // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_heads * head
        products = self.layers * (attention + 3 * self.hidden * self.ffn) + self.hidden * self.vocabulary
        return float(6 * products + 12 * self.layers * self.hidden * length)

    def configuration(self, plan: TrainingPlan) -> dict[str, Any]:
        """Return what the worker is given for a plan."""
        names = ("hidden", "layers", "heads", "kv_heads", "ffn", "vocabulary", "strategy", "device", "attention")
        return {
            **{name: getattr(self, name) for name in names},
            "alone": self.alone,
            "threads": self.threads,
            "batch": plan.global_batch,
            "length": plan.sequence_length,
            "precision": plan.precision,
            "seed": plan.seed,
        }


def shape_of(address: str) -> Shape:
    """Take an address apart; raises UsageError naming what does not belong there."""
    try:
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of a training run", why=str(error), advice=FORM) from error
    if parts.scheme != "torch" or parts.netloc != "local" or parts.path.strip("/"):
        raise UsageError(f"{address!r} is no address of a training run", why="it runs on this host only", advice=FORM)
    stated: dict[str, Any] = {}
    for name, text in options.items():
        stated[name] = _value(address, name, text)
    found = Shape(**stated)
    wrong = ""
    if found.hidden % found.heads or (found.hidden // found.heads) % 2:
        wrong = f"hidden {found.hidden} is no even multiple of heads {found.heads}"
    elif found.heads % found.kv_heads:
        wrong = f"heads {found.heads} is no multiple of kv_heads {found.kv_heads}"
    elif found.vocabulary < 2:
        wrong = "a vocabulary of 1 leaves nothing to be learnt"
    elif found.global_batch % found.processes:
        if "global_batch" in options:
            wrong = f"global_batch {found.global_batch} cannot be shared by {found.processes} processes"
        else:
            found = Shape(**{**stated, "global_batch": 4 * found.processes})
    if wrong:
        raise UsageError(f"{address!r} is no address of a training run", why=wrong, advice=FORM)
    return found


def _value(address: str, name: str, text: str) -> object:
    if name == "python":
        return text
    if name in _WORDS:
        if text in _WORDS[name]:
            return cast(object, text)
        why = f"{name} is one of {', '.join(_WORDS[name])}"
    elif name not in Shape.__dataclass_fields__:
        why = f"unknown: {name}"
    elif text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    else:
        why = f"{name} is a whole number above 0"
    raise UsageError(f"{address!r} is no address of a training run", why=why, advice=FORM)


def stated(plan: TrainingPlan) -> TrainingPlan:
    """Return the plan with the precision of this run, which is fp32 where it says none."""
    return replace(plan, precision=plan.precision or "fp32")


def require_shareable(plan: TrainingPlan, shape: Shape) -> None:
    """Raise OutOfRange, UsageError for a plan that this run cannot carry out."""
    if plan.command:
        raise UsageError(
            "this run is the driver's own, and the plan names a command",
            advice="follow a command by log://command?framework=…",
        )
    if plan.precision not in PRECISIONS:
        raise OutOfRange(f"precision {plan.precision!r}: one of {', '.join(PRECISIONS)}")
    if plan.global_batch % shape.processes:
        raise OutOfRange(f"a global batch of {plan.global_batch} cannot be shared by {shape.processes} processes")
    if plan.processors not in (1, shape.processes):
        raise OutOfRange(f"the plan has {plan.processors} processors, and the address {shape.processes} processes")
