"""aclnnMatmul on one device: random operands in place, products launched in groups, timed by events and checked."""

from __future__ import annotations

import struct
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_void_p
from dataclasses import dataclass
from typing import Any

from .acl import DATA_TYPES, Acl, Session

CHECKED = 64
"""Elements of the product that are compared with fp64 arithmetic on the host."""

# Unit roundoff of the result's format, IEEE 754-2019 table 3.5 (bf16: 8 bits of significand).
_ROUNDOFF = {"fp16": 2.0**-11, "bf16": 2.0**-8, "fp32": 2.0**-24}
_PARTIAL_SUMS = 2.0**-18
"""Error of the partial sums in any order, over the sum of absolute products; far below what a wrong result shows."""

_BYTES = {"fp16": 2, "bf16": 2, "fp32": 4}


@dataclass(frozen=True, slots=True)
class Product:
    """What is multiplied: format of the operands, cubeMathType, and m = n = k."""

    data_type: str
    cube_math_type: int
    edge: int


@dataclass(frozen=True, slots=True)
class _Token:
    start: c_void_p
    stop: c_void_p


@contextmanager
def prepared(acl: Acl, device: int, product: Product, seed: int) -> Iterator[Matmul]:
    """The operands on the device; what runs is waited for, and all given back, on leaving."""
    with Session(acl, device) as session:
        made = Matmul(session, product, seed)
        try:
            yield made
        finally:
            made.close()


class Matmul:
    """One launch is `size` products between two events."""

    most_size = 10_000

    def __init__(self, session: Session, product: Product, seed: int) -> None:
        import numpy as np

        self.size = 1
        self._session = session
        self._product = product
        edge, size = product.edge, _BYTES[product.data_type]
        self._operands = _operands(edge, product.data_type, seed)
        total = edge * edge * size
        self._out = session.memory(total)
        kind = DATA_TYPES[product.data_type]
        tensors = [
            session.tensor(session.memory(total, matrix.ctypes.data), edge, edge, kind)
            for matrix in (self._operands.left, self._operands.right)
        ]
        self._tensors = (*tensors, session.tensor(self._out, edge, edge, kind))
        self._workspace_size, executor = session.plan_matmul(self._tensors, product.cube_math_type)
        self._workspace = session.memory(self._workspace_size) if self._workspace_size else c_void_p()
        self._executor = executor if session.make_repeatable(executor) else None
        self._unused = [] if self._executor is not None else [executor]
        self._events: list[c_void_p] = []
        self._origin: c_void_p | None = None
        self._chance = np.random.default_rng((seed, CHECKED))

    @property
    def operations(self) -> int:
        """2 m n k of each product; a library that used a method of fewer operations would not count as such."""
        return 2 * self._product.edge**3 * self.size

    def launch(self) -> _Token:
        """Queue one group of products; the first phase of each is done before the first event."""
        executors = [self._executor] * self.size if self._executor is not None else self._planned()
        token = _Token(self._event(), self._event())
        self._session.record(token.start)
        for executor in executors:
            self._session.matmul(self._workspace, self._workspace_size, executor)
        self._session.record(token.stop)
        if self._origin is None:
            self._origin = token.start
        return token

    def finish(self, token: _Token) -> tuple[float, float]:
        """Wait for a group; begin since the first one, and duration, in s by the device's events."""
        self._session.wait(token.stop)
        origin = self._origin if self._origin is not None else token.start
        begin = self._session.seconds(origin, token.start) if token.start is not origin else 0.0
        lasted = self._session.seconds(token.start, token.stop)
        self._events += [event for event in (token.start, token.stop) if event is not origin]
        return begin, lasted

    def reset(self) -> None:
        """Begin a new origin of time; each product overwrites the last."""
        if self._origin is not None:
            self._events.append(self._origin)
            self._origin = None

    def wrong(self) -> str:
        """Compare sampled elements of the last product with fp64 arithmetic on the host."""
        import numpy as np

        edge, kind = self._product.edge, self._product.data_type
        bad = []
        for row, column in self._chance.integers(0, edge, size=(CHECKED, 2)):
            left = _values(self._operands.left[row], kind)
            right = _values(self._operands.right[:, column], kind)
            right_value = float(left @ right)
            allowed = _ROUNDOFF[kind] * abs(right_value) + _PARTIAL_SUMS * float(np.abs(left) @ np.abs(right))
            size = _BYTES[kind]
            raw = self._session.read(self._out, (int(row) * edge + int(column)) * size, size)
            found = _decoded(raw, kind)
            if not abs(found - right_value) <= allowed:
                bad.append(f"element ({row}, {column}) is {found!r} and {right_value!r} is right")
        return f"wrong results in {len(bad)} of {CHECKED} elements: {bad[0]}" if bad else ""

    def close(self) -> None:
        """Give the events back."""
        if self._origin is not None:
            self._events.append(self._origin)
        while self._events:
            self._session.forget(self._events.pop())

    def _planned(self) -> list[Any]:
        while len(self._unused) < self.size:
            self._unused.append(self._session.plan_matmul(self._tensors, self._product.cube_math_type)[1])
        taken, self._unused = self._unused[: self.size], self._unused[self.size :]
        return taken

    def _event(self) -> c_void_p:
        return self._events.pop() if self._events else self._session.event()


class _Operands:
    """Both matrices of a product, as they stand in the host's memory."""

    def __init__(self, edge: int, kind: str, seed: int) -> None:
        import numpy as np

        chance = np.random.default_rng(seed)
        self.left, self.right = (_random(chance, edge, kind) for _ in range(2))


_in_use: weakref.WeakValueDictionary[tuple[int, str, int], _Operands] = weakref.WeakValueDictionary()
_making = threading.Lock()


def _operands(edge: int, kind: str, seed: int) -> _Operands:
    """Return the matrices of a seed: made once for all devices that multiply them at the same time."""
    with _making:
        found = _in_use.get((edge, kind, seed))
        if found is None:
            found = _in_use[edge, kind, seed] = _Operands(edge, kind, seed)
        return found


def _random(chance: Any, edge: int, kind: str) -> Any:
    """Random numbers of 1/128 to 255/128 with random sign, exact in every format: never zero, all bits in use."""
    import numpy as np

    positive = np.arange(1, 256, dtype=np.float32) / 128
    values = np.concatenate((positive, -positive))
    if kind == "fp16":
        values = values.astype(np.float16)
    elif kind == "bf16":
        values = (values.view(np.uint32) >> 16).astype(np.uint16)
    # Looked up in a table of all there are: a matrix may have 67 million.
    return values[chance.integers(0, len(values), size=(edge, edge), dtype=np.uint16)]


def _values(stored: Any, kind: str) -> Any:
    """The numbers that stand in a matrix, as fp64."""
    import numpy as np

    if kind == "bf16":
        return (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return stored.astype(np.float64)


def _decoded(raw: bytes, kind: str) -> float:
    if kind == "bf16":
        return float(struct.unpack("<f", b"\0\0" + raw)[0])
    return float(struct.unpack("<e" if kind == "fp16" else "<f", raw)[0])
