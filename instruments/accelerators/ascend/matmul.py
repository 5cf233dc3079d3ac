"""aclnnMatmul on one device: random operands in place, products launched in groups, timed by events and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_void_p
from dataclasses import dataclass
from typing import Any

from ..offload.matrices import CHECKED, FORMATS, Operands, operands, wrong_elements
from ..offload.timing import Timing, Token
from .acl import DATA_TYPES, Acl, Session


@dataclass(frozen=True, slots=True)
class Product:
    """What is multiplied: format of the operands, cubeMathType, and m = n = k."""

    data_type: str
    cube_math_type: int
    edge: int


@contextmanager
def prepared(acl: Acl, device: int, product: Product, seed: int, stopped: Callable[[], bool]) -> Iterator[Matmul]:
    """The operands on the device; what runs is waited for, and all given back, on leaving."""
    with Session(acl, device) as session:
        made = Matmul(session, product, seed, operands(product.edge, product.data_type, seed, stopped))
        try:
            yield made
        finally:
            made.close()


class Matmul:
    """One launch is `size` products between two events."""

    most_size = 10_000

    def __init__(self, session: Session, product: Product, seed: int, made: Operands) -> None:
        import numpy as np

        self.size = 1
        self._session = session
        self._product = product
        self._timing = Timing(session)
        self._chance = np.random.default_rng((seed, CHECKED))
        edge, kind = product.edge, DATA_TYPES[product.data_type]
        total = edge * edge * FORMATS[product.data_type].bytes
        self._operands = made
        self._out = session.memory(total)
        tensors = [
            session.tensor(session.memory(total, matrix.ctypes.data), edge, edge, kind)
            for matrix in (self._operands.left, self._operands.right)
        ]
        self._tensors = (*tensors, session.tensor(self._out, edge, edge, kind))
        self._workspace_size, executor = session.plan_matmul(self._tensors, product.cube_math_type)
        self._workspace = session.memory(self._workspace_size) if self._workspace_size else c_void_p()
        self._executor = executor if session.make_repeatable(executor) else None
        self._unused = [] if self._executor is not None else [executor]

    @property
    def operations(self) -> int:
        """2 m n k of each product; a library that used a method of fewer operations would not count as such."""
        return 2 * self._product.edge**3 * self.size

    def launch(self) -> Token:
        """Queue one group of products; the first phase of each is done before the first event."""
        executors = [self._executor] * self.size if self._executor is not None else self._planned()

        def queue() -> None:
            for executor in executors:
                self._session.matmul(self._workspace, self._workspace_size, executor)

        return self._timing.around(queue)

    def finish(self, token: Token) -> tuple[float, float]:
        """Wait for a group; begin since the first one, and duration, in s by the device's events."""
        return self._timing.finish(token)

    def reset(self) -> None:
        """Begin a new origin of time; each product overwrites the last."""
        self._timing.reset()

    def wrong(self) -> str:
        """Compare sampled elements of the last product with fp64 arithmetic on the host."""
        edge, kind = self._product.edge, self._product.data_type
        size = FORMATS[kind].bytes

        def read(row: int, column: int) -> bytes:
            return self._session.read(self._out, (row * edge + column) * size, size)

        return wrong_elements(self._operands, kind, self._chance, read)

    def close(self) -> None:
        """Give the events back."""
        self._timing.close()

    def _planned(self) -> list[Any]:
        while len(self._unused) < self.size:
            self._unused.append(self._session.plan_matmul(self._tensors, self._product.cube_math_type)[1])
        taken, self._unused = self._unused[: self.size], self._unused[self.size :]
        return taken
