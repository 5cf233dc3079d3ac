"""cuBLASLt's matrix product on one device: random operands in place, launched in groups, timed and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_uint64

from ..offload.matrices import CHECKED, FORMATS, Operands, operands, wrong_elements
from ..offload.timing import Timing, Token
from . import cublaslt
from .cublaslt import CublasLt, Mode, Plan
from .cuda import Cuda, Session


@contextmanager
def prepared(
    cuda: Cuda,
    lt: CublasLt,
    device: int,
    precision: str,
    edge: int,
    seed: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[LtProduct]:
    """The operands on the device; what runs is waited for, and all given back, on leaving."""
    mode = cublaslt.MODES[precision]
    with Session(cuda, device) as session, cublaslt.planned(lt, mode, edge) as plan:
        made = LtProduct(session, plan, mode, edge, seed, operands(edge, mode.operands, seed, stopped))
        try:
            yield made
        finally:
            session.settle()
            made.close()


def why_not(cuda: Cuda, lt: CublasLt, device: int, precision: str, edge: int) -> str:
    """Ask the library whether it has the product on this device; "" if it has, else why not. Multiplies nothing."""
    from aicalib_hw.errors import InstrumentError

    try:
        with Session(cuda, device), cublaslt.planned(lt, cublaslt.MODES[precision], edge):
            return ""
    except InstrumentError as error:
        return "; ".join(part for part in (error.what, error.why) if part)


class LtProduct:
    """One launch is `size` products between two events."""

    most_size = 10_000

    def __init__(self, session: Session, plan: Plan, mode: Mode, edge: int, seed: int, made: Operands) -> None:
        import numpy as np

        self.size = 1
        self._session = session
        self._plan = plan
        self._mode = mode
        self._edge = edge
        self._timing = Timing(session)
        self._chance = np.random.default_rng((seed, CHECKED))
        self._operands = made
        size = edge * edge * FORMATS[mode.operands].bytes
        self._left, self._right = (
            session.memory(size, matrix.tobytes()) for matrix in (self._operands.left, self._operands.right)
        )
        self._out = session.memory(edge * edge * FORMATS[mode.result].bytes)
        self._workspace = session.memory(cublaslt.WORKSPACE)

    @property
    def operations(self) -> int:
        """2 m n k of each product; a library that used a method of fewer operations would not count as such."""
        return 2 * self._edge**3 * self.size

    def launch(self) -> Token:
        """Queue one group of products."""

        def queue() -> None:
            for _ in range(self.size):
                self._plan.multiply(self._left, self._right, self._out, self._workspace, self._session.stream)

        return self._timing.around(queue)

    def finish(self, token: Token) -> tuple[float, float]:
        """Wait for a group; begin since the first one, and duration, in s by the device's events."""
        return self._timing.finish(token)

    def reset(self) -> None:
        """Clear the product, so that one that is not made is not taken for right, and begin a new origin of time."""
        self._session.clear(self._out, self._edge**2 * FORMATS[self._mode.result].bytes)
        self._timing.reset()

    def wrong(self) -> str:
        """Compare sampled elements of the last product with fp64 arithmetic on the host."""
        size = FORMATS[self._mode.result].bytes

        def read(row: int, column: int) -> bytes:
            return self._session.read(c_uint64(self._out.value + (row + column * self._edge) * size), size)

        return wrong_elements(self._operands, self._mode.result, self._chance, read, transposed=True)

    def close(self) -> None:
        """Give the events back."""
        self._timing.close()
