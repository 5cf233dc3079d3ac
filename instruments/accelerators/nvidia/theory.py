"""Operations a cycle of one multiprocessor, by compute capability: what the theoretical peak is made of.

Sources: CUDA C++ programming guide, table of the throughput of native arithmetic instructions (lanes of fp32 and fp64;
fp16 for 7.x); matrix units: dense rates of the data sheets divided by multiprocessors and clock (V100 125.3, T4 65.1,
A100 311.9 and 19.5, A40 149.7, H100 SXM 989.4 TFLOP/s at 1830 MHz). Rates with sparsity, which double the number, are
not among them. A capability that is not in the table has no theoretical peak here, rather than a guessed one.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "CUDA C++ programming guide, arithmetic throughput; dense matrix rates of the data sheets over units and clock"


@dataclass(frozen=True, slots=True)
class Throughput:
    """FLOP a cycle of one multiprocessor: vector fp32 and fp64, fp16 where known; matrix fp16 (and bf16), tf32, fp8.

    geforce_matrix: of fp16 with fp32 accumulators on boards sold as GeForce, where that differs.
    """

    fp32: int
    fp64: int
    fp16: int | None
    matrix_fp16: int | None
    matrix_tf32: int | None
    matrix_fp8: int | None
    geforce_matrix: int | None = None


_BY_CAPABILITY = {
    (7, 0): Throughput(128, 64, 256, 1024, None, None),
    (7, 5): Throughput(128, 4, 256, 1024, None, None),
    (8, 0): Throughput(128, 64, None, 2048, 1024, None),
    (8, 6): Throughput(256, 4, None, 1024, 512, None, 512),
    (8, 9): Throughput(256, 4, None, 1024, 512, 2048, 512),
    (9, 0): Throughput(256, 128, None, 4096, 2048, 8192),
}


def flop_per_cycle(capability: tuple[int, int], precision: str, path: str, board: str) -> int | None:
    """Return FLOP a cycle of one multiprocessor, None where it is not certain."""
    known = _BY_CAPABILITY.get(capability)
    if known is None:
        return None
    if path == "vector":
        return {"fp64": known.fp64, "fp32": known.fp32, "fp16": known.fp16}.get(precision)
    half = known.geforce_matrix if known.geforce_matrix is not None and "GeForce" in board else known.matrix_fp16
    # On boards where fp32 accumulation is halved, what tf32 and fp8 do is not certain.
    others = known if half == known.matrix_fp16 else None
    return {
        "fp16": half,
        "bf16": half if capability >= (8, 0) else None,
        "tf32": others.matrix_tf32 if others else None,
        "fp8e4m3": others.matrix_fp8 if others else None,
    }.get(precision)
