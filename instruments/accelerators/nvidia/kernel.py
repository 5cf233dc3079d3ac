"""One of our kernels on its device: operands in place, launched, timed by events and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_double, c_float, c_uint, c_void_p
from dataclasses import dataclass
from typing import Any

from ..offload import CHAINS
from . import operands, ptx
from .cuda import Cuda, Session

_VALUES: dict[str, Any] = {"fp64": c_double, "fp32": c_float}


@dataclass(frozen=True, slots=True)
class _Token:
    start: c_void_p
    stop: c_void_p


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
        self._events: list[c_void_p] = []
        self._origin: c_void_p | None = None
        self._launched = False
        self._arguments: list[Any]
        if kernel.path == "vector":
            lanes = 2 if kernel.precision == "fp16" else 1
            self._gains = [ptx.PAIRS * ptx.VECTOR_ACCUMULATORS * lanes]
            steps = CHAINS[kernel.precision].steps
            self._arguments = [c_uint(self._gains[0]), *(_operand(kernel.precision, step) for step in steps)]
        else:
            table, self._gains = operands.for_kernel(kernel, seed)
            self._arguments = [session.memory(len(table), table)]
        self._wrong = session.memory(4 * self._count)
        self._sums = session.memory(4 * len(self._gains))

    @property
    def operations(self) -> int:
        """Operations a round x rounds x groups of threads, exactly."""
        return self._kernel.flop * self.size * (self._count // self._kernel.shared_by)

    def launch(self) -> _Token:
        """Queue one launch between two events."""
        token = _Token(self._event(), self._event())
        self._session.record(token.start)
        arguments = [self._wrong, self._sums, c_uint(self.size), *self._arguments]
        self._session.launch(self._function, self._blocks, self._kernel.threads, arguments)
        self._session.record(token.stop)
        self._launched = True
        if self._origin is None:
            self._origin = token.start
        return token

    def finish(self, token: _Token) -> tuple[float, float]:
        """Wait for a launch; begin since the first launch, and duration, in s by the device's events."""
        self._session.wait(token.stop)
        origin = self._origin if self._origin is not None else token.start
        begin = self._session.seconds(origin, token.start) if token.start is not origin else 0.0
        lasted = self._session.seconds(token.start, token.stop)
        self._events += [event for event in (token.start, token.stop) if event is not self._origin]
        return begin, lasted

    def reset(self) -> None:
        """Clear the results."""
        self._session.clear(self._wrong, 4 * self._count)
        self._session.clear(self._sums, 4 * len(self._gains))
        self._launched = False
        if self._origin is not None:
            self._events.append(self._origin)
            self._origin = None

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
        if self._origin is not None:
            self._events.append(self._origin)
        while self._events:
            self._session.forget(self._events.pop())

    def _event(self) -> c_void_p:
        return self._events.pop() if self._events else self._session.event()


def _operand(precision: str, value: int) -> Any:
    if precision == "fp16":
        half = operands.encoded(value, "fp16")
        return c_uint(half | half << 16)
    return _VALUES[precision](value)
