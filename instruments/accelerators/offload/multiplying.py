"""Accelerators that multiply matrices by a library: how large these are, and from which seed they are drawn."""

from __future__ import annotations

from collections.abc import Mapping

from aicalib_hw.errors import UsageError
from aicalib_hw.interfaces.instrument import Setting

from .driver import OffloadAccelerator

EDGE = 8192


class MultiplyingAccelerator(OffloadAccelerator):
    """edge: m = n = k of a library's matrix product, a multiple of 16. seed: of all matrix operands."""

    def __init__(self, address: str, *, edge: int, seed: int) -> None:
        super().__init__(address)
        self._edge = self._checked(edge)
        self._seed = seed

    def configure(self, *, edge: int | None = None, seed: int | None = None) -> Mapping[str, Setting]:
        """Set m = n = k of the matrix product and the seed of its operands, None = as they are; return the snapshot.

        edge: 16 or more, a multiple of 16; a product should last longer than the host takes to launch it, some 20 µs.
        Raises UsageError, LockedByOther while a measurement or a load runs.
        """
        edge = self._edge if edge is None else self._checked(edge)
        with self._computing():
            self._edge, self._seed = edge, self._seed if seed is None else seed
        return self.snapshot()

    def _checked(self, edge: int) -> int:
        if edge < 16 or edge % 16:
            raise UsageError(f"a matrix of {edge} is not a multiple of 16", where=self.address)
        return edge
