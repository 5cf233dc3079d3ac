"""When an armed fault strikes. Standard library alone: processes that simulators start count their own occasions."""

from __future__ import annotations

import random
import threading
from typing import Generic, Protocol, TypeVar


class Armed(Protocol):
    """What `world.faults.Fault` tells of when it strikes."""

    @property
    def kind(self) -> str: ...
    @property
    def after(self) -> int: ...
    @property
    def count(self) -> int | None: ...
    @property
    def probability(self) -> float: ...


FaultT = TypeVar("FaultT", bound=Armed)


class Occasions(Generic[FaultT]):
    """The armed faults of one instrument, and how many occasions each has seen."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._guard = threading.Lock()
        self._armed: list[tuple[FaultT, int, int]] = []

    def arm(self, fault: FaultT) -> None:
        """Let a fault strike from its next occasion on."""
        with self._guard:
            self._armed.append((fault, 0, 0))

    def clear(self) -> None:
        """Disarm every fault."""
        with self._guard:
            self._armed.clear()

    def strikes(self, kind: str) -> FaultT | None:
        """Return the fault of this kind that strikes at this occasion, None if none does."""
        with self._guard:
            for index, (fault, seen, struck) in enumerate(self._armed):
                if fault.kind != kind:
                    continue
                due = seen >= fault.after and (fault.count is None or struck < fault.count)
                hit = due and self._random.random() < fault.probability
                self._armed[index] = (fault, seen + 1, struck + hit)
                if hit:
                    return fault
        return None
