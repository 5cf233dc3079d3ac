"""One of our kernels on its device: operands in place, launched, timed by events and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_double, c_float, c_uint, c_void_p
from typing import Any

from ..offload import CHAINS
from ..offload.timing import Timing, Token
from . import operands, ptx
from .cuda import Cuda, Session

_VALUES: dict[str, Any] = {"fp64": c_double, "fp32": c_float}


@contextmanager
def prepared(cuda: Cuda, device: int, kernel: ptx.Kernel, multiprocessors: int, seed: int) -> Iterator[CudaKernel]:
    """The kernel compiled and its operands on the device; what runs is waited for, and all given back, on leaving."""
    with Session(cuda, device) as session:
        function = session.load(kernel.text, kernel.name, kernel.optimisation)
        blocks = multiprocessors * session.blocks_per_multiprocessor(function, kernel.threads)
        made = CudaKernel(session, function, kernel, blocks, seed)
        try:
            yield made
        finally:
            made.close()


class CudaKernel:
    """One launch is `size` rounds on every multiprocessor at full occupancy."""

    most_size = 2**24

    def __init__(self, session: Session, function: c_void_p, kernel: ptx.Kernel, blocks: int, seed: int) -> None:
        self.size = 1
        self._session = session
        self._function = function
        self._kernel = kernel
        self._blocks = blocks
        self._count = blocks * kernel.threads
        self._timing = Timing(session)
        self._launched = False
        self._arguments: list[Any]
        if kernel.path == "vector":
            lanes = 2 if kernel.precision == "fp16" else 1
            self._gains = [ptx.PAIRS * ptx.VECTOR_ACCUMULATORS * lanes]
            a, m, c = CHAINS[kernel.precision].factors
            self._arguments = [c_uint(self._gains[0]), *(_operand(kernel.precision, one) for one in (a, a, m, c))]
        else:
            table, self._gains = operands.for_kernel(kernel, seed)
            self._arguments = [session.memory(len(table), table)]
        self._wrong = session.memory(4 * self._count)
        self._sums = session.memory(4 * len(self._gains))

    @property
    def operations(self) -> int:
        """Operations a round x rounds x groups of threads, exactly."""
        return self._kernel.flop * self.size * (self._count // self._kernel.shared_by)

    def launch(self) -> Token:
        """Queue one launch between two events."""
        arguments = [self._wrong, self._sums, c_uint(self.size), *self._arguments]
        self._launched = True
        return self._timing.around(
            lambda: self._session.launch(self._function, self._blocks, self._kernel.threads, arguments)
        )

    def finish(self, token: Token) -> tuple[float, float]:
        """Wait for a launch; begin since the first launch, and duration, in s by the device's events."""
        return self._timing.finish(token)

    def reset(self) -> None:
        """Clear the results."""
        self._session.clear(self._wrong, 4 * self._count)
        self._session.clear(self._sums, 4 * len(self._gains))
        self._launched = False
        self._timing.reset()

    def wrong(self) -> str:
        """Look for marks that threads have left, and compare the sums of the first group with what they must be."""
        marks = self._session.read(self._wrong, 4 * self._count)
        if marks.count(0) != len(marks):
            bad = sum(map(bool, memoryview(marks).cast("I")))
            return f"wrong results in {bad} of {self._count} threads"
        sums = list(memoryview(self._session.read(self._sums, 4 * len(self._gains))).cast("I"))
        right = [self.size * gain % 2**32 for gain in self._gains]
        if self._launched and sums != right:
            return f"wrong results: the first threads leave {sums[:4]}, and {right[:4]} is right"
        return ""

    def close(self) -> None:
        """Give the events back."""
        self._timing.close()


def _operand(precision: str, value: int) -> Any:
    if precision == "fp16":
        half = operands.encoded(value, "fp16")
        return c_uint(half | half << 16)
    return _VALUES[precision](value)
