"""What a kernel must have computed, and how many operations that was: whole numbers, computed here and not in C.

Every lane of every accumulator begins at a small whole number and gains the same whole number in
each pair of steps. All numbers on the way are whole and small enough for the format to hold them
exactly, so the final value tells how often the lane was stepped: a lane that differs by a single
unit was not computed as it should have been. Between the two steps of a pair the accumulators swing
through most of their bits, so that no operand is trivial.
"""

from __future__ import annotations

from dataclasses import dataclass

Operands = tuple[int, int, int, int]
"""m and c of the first step of a pair, then m and c of the second."""

ADDS_PRODUCTS, SCALES_ITSELF = 0, 1
"""Forms of a step: lane += products x m x c, and lane = m x lane + c."""

# a² - (a - 1)(a + 1) = 1, so a pair of steps gains little however large the products are.
_PRODUCTS: dict[str, Operands] = {
    "fp64": (47_453_133, 47_453_133, -47_453_132, 47_453_134),
    "fp32": (2897, 2897, -2896, 2898),
    "bf16": (251, 253, -252, 252),
    "int8": (122, 122, 121, -123),
}
_SCALED: Operands = (-1, 1_000_003, -1, 1_000_004)

_EXACT_UP_TO = {"fp64": 2**53, "fp32": 2**24, "int32": 2**31 - 1}


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of the native extension; `index` is its number there.

    path: "vector", or "matrix" for a unit that multiplies matrices.
    accumulators x lanes numbers are stepped together, each step adding `products` products to each.
    form: ADDS_PRODUCTS or SCALES_ITSELF. chain_cycles: cycles a pair of the shortest clock chain, 0 = none.
    variants: how many there are, 0 being the plain one; the chain of variant v is 2^(v-1) times as long.
    """

    index: int
    precision: str
    accumulator: str
    instruction_set: str
    path: str
    accumulators: int
    lanes: int
    products: int
    form: int
    chain_cycles: int
    variants: int
    supported: bool

    @property
    def definition(self) -> str:
        """What its rates are defined as, but for `/sustained` or `/peak`."""
        by = "" if self.path == "vector" else f"-{self.instruction_set}"
        return f"flop/{self.precision}-accumulate-{self.accumulator}/{self.path}{by}"

    @property
    def operations_per_pair(self) -> int:
        """Additions and multiplications in a pair of steps, each counted as one."""
        return 2 * 2 * self.accumulators * self.lanes * self.products

    @property
    def operands(self) -> Operands:
        """The operands that this kernel is run with."""
        return _SCALED if self.form == SCALES_ITSELF else _PRODUCTS[self.precision]

    @property
    def most_pairs(self) -> int:
        """Pairs of steps after which a lane would leave the whole numbers that its format holds exactly."""
        room = _EXACT_UP_TO[self.accumulator] - self.accumulators - largest_step(self, self.operands)
        return room // max(1, abs(gain(self, self.operands, 1)))

    def cycles_of_chain(self, variant: int, pairs: int) -> int:
        """Cycles that the clock chain of `variant` lasts over `pairs` pairs of steps."""
        return pairs * self.chain_cycles << (variant - 1)


def gain(kernel: Kernel, operands: Operands, pairs: int) -> int:
    """Return what every lane must have gained after `pairs` pairs of steps."""
    m1, c1, m2, c2 = operands
    if kernel.form == ADDS_PRODUCTS:
        return pairs * kernel.products * (m1 * c1 + m2 * c2)
    if m1 * m2 != 1:
        raise ValueError(f"a lane scaled by {m1} and {m2} would not gain evenly")
    return pairs * (m2 * c1 + c2)


def largest_step(kernel: Kernel, operands: Operands) -> int:
    """Return the most by which a lane moves within a pair of steps."""
    m1, c1, m2, c2 = operands
    if kernel.form == ADDS_PRODUCTS:
        return kernel.products * max(abs(m1 * c1), abs(m2 * c2))
    return 2 * max(abs(c1), abs(c2))
