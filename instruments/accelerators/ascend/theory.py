"""What an Ascend processor can compute by aclnnMatmul, and operations a cycle of its cube units, by name of the chip.

Source: a cube of 16 x 16 x 16 fp16 products a cycle and AI core; an Ascend 910B2 with 24 cores at 1.8 GHz gives the
marketed 353.9 TFLOP/s. What hf32 and fp32 reach of that is not certain, and has no theoretical peak here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FLOP_PER_CYCLE = 2 * 16**3
"""fp16 operations a cycle of one AI core; bf16 the same where there is bf16."""

SOURCE = "16 x 16 x 16 multiply-adds a cycle of each AI core"

UNKNOWN = "not certain for {}: no confirmed source says how much of it a cube does in a cycle"

_NEWER = re.compile(r"(910B[1-4].*|910_93.*|910C.*|950.*)")


@dataclass(frozen=True, slots=True)
class Mode:
    """How a precision is asked of aclnnMatmul: format of the operands, cubeMathType, accumulator as documented."""

    data_type: str
    cube_math_type: int
    accumulator: str


KEEP, USE_HF32 = 0, 3
_BY_OPERATOR = "by-operator"
MODES = {
    "fp16": Mode("fp16", KEEP, _BY_OPERATOR),
    "bf16": Mode("bf16", KEEP, _BY_OPERATOR),
    "fp32": Mode("fp32", KEEP, "fp32"),
    "hf32": Mode("fp32", USE_HF32, _BY_OPERATOR),
}


def precisions(chip: str) -> tuple[str, ...]:
    """Return what this chip multiplies ("910B3"); "910B" without a digit is an older chip than "910B1" to "910B4"."""
    return ("fp16", "bf16", "fp32", "hf32") if _NEWER.fullmatch(bare(chip)) else ("fp16",)


def why_not(chip: str, precision: str) -> str:
    """Say why a chip does not have a precision."""
    return {
        "fp32": f"aclnnMatmul has no true fp32 on {chip}: it would compute in fp16, which is not fp32",
        "hf32": f"{chip} has no hf32",
        "bf16": f"{chip} has no bf16",
    }.get(precision, "aclnnMatmul does not have it")


def flop_per_cycle(precision: str, cores: int) -> int | None:
    """Return operations a cycle of all AI cores, None where it is not certain."""
    return FLOP_PER_CYCLE * cores if precision in ("fp16", "bf16") else None


def bare(chip: str) -> str:
    """Return the name without the family: "Ascend910B3" and "910B3" are one chip."""
    return re.sub(r"(?i)^ascend[ -]?", "", chip)
