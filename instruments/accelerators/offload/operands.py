"""Numbers for chains of multiply-adds that stay whole, and so exact, while most of their bits change in every step.

a a - (a + 1)(a - 1) = 1 for every a: a step adds a·a and the next takes (a + 1)(a - 1) away, so that a pair of steps
adds exactly 1 and the final value counts the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChainOperands:
    """a: the first step adds a·a, the second takes (a + 1)(a - 1). most_pairs: after that no number is exact."""

    a: int
    most_pairs: int

    @property
    def factors(self) -> tuple[int, int, int]:
        """Both factors of the first step, and those of the second."""
        return self.a, -(self.a + 1), self.a - 1


def _operands(a: int, exact_up_to: int, begin: int = 64) -> ChainOperands:
    """begin: largest number that an accumulator may begin with."""
    return ChainOperands(a, exact_up_to - a * a - begin)


CHAINS = {
    # Significand of 53 bits; the pairs are counted in 32-bit integers.
    "fp64": ChainOperands(33554391, 2**31 - 65),
    "fp32": _operands(2045, 2**24),
    "fp16": _operands(29, 2**11),
}
"""By precision of the accumulator: IEEE 754-2019, table 3.5, for the significands."""
