"""The arithmetic of time slices: what was done in a window, and how fast all cores were at one moment.

Slices are half-open intervals [start, stop) in whole nanoseconds of one clock; those of one core
follow one another without overlap. Nothing here knows what was computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aicalib_hw.errors import MeasurementInvalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CoreSlices:
    """The slices of one core, in order: start and stop of each in ns; each did `operations` operations."""

    starts: Times
    stops: Times
    operations: int

    @classmethod
    def from_pairs(cls, spans: Sequence[int], operations: int) -> CoreSlices:
        """Take start, stop, start, stop, … as the kernels write them."""
        import numpy as np

        pairs = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1], operations)

    @property
    def durations(self) -> Times:
        """Length of each slice, ns."""
        return self.stops - self.starts

    def between(self, begin: int, end: int) -> CoreSlices:
        """The slices that lie wholly in [begin, end]."""
        inside = (self.starts >= begin) & (self.stops <= end)
        return CoreSlices(self.starts[inside], self.stops[inside], self.operations)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in which every core was within one slice: from, to (ns), and the sum of their rates (1/s)."""

    begin: int
    end: int
    rate: float


def common_window(extents: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the time in which all cores worked: the latest first start and the earliest last stop, ns.

    extents: first start and last stop of each core. Raises MeasurementInvalid if there is no such time.
    """
    begin, end = max(first for first, _ in extents), min(last for _, last in extents)
    if end <= begin:
        raise MeasurementInvalid("the cores never worked at the same time", where="cpu://local")
    return begin, end


def operations_inside(slices: Sequence[CoreSlices], begin: int, end: int) -> int:
    """Return the operations of all slices that lie wholly in the window, exactly."""
    return sum(len(some.between(begin, end).starts) * some.operations for some in slices)


def operations_shared(core: CoreSlices, begin: int, end: int) -> float:
    """Return the operations of one core in the window, slices on its edges by the share that lies inside."""
    import numpy as np

    overlap = np.minimum(core.stops, end) - np.maximum(core.starts, begin)
    parts = np.clip(overlap, 0, None) / core.durations
    return float(parts.sum()) * core.operations


def best_moment(cores: Sequence[CoreSlices]) -> Moment | None:
    """Return the moment in which the slices then running on all cores were fastest together; None if there is none.

    The rate of a slice is its operations over its duration. Where several moments are equal, the first.
    """
    import numpy as np

    times, counts, rates = [], [], []
    for core in cores:
        rate = core.operations / core.durations
        times += [core.starts, core.stops]
        counts += [np.ones(len(rate), np.int64), -np.ones(len(rate), np.int64)]
        rates += [rate, -rate]
    all_times, all_counts = np.concatenate(times), np.concatenate(counts)
    order = np.lexsort((all_counts, all_times))  # at one time, ends come before beginnings
    edges = all_times[order]
    running = np.cumsum(all_counts[order])
    together = np.cumsum(np.concatenate(rates)[order])
    usable = np.flatnonzero((running[:-1] == len(cores)) & (edges[1:] > edges[:-1]))
    if len(usable) == 0:
        return None
    first = usable[np.argmax(together[usable])]
    begin, end = int(edges[first]), int(edges[first + 1])
    return Moment(begin, end, sum(_rate_at(core, begin) for core in cores))


def parts_of(begin: int, end: int, count: int) -> list[tuple[int, int]]:
    """Cut a window into `count` parts without gap; their lengths differ by at most 1 ns."""
    edges = [begin + (end - begin) * part // count for part in range(count + 1)]
    return list(itertools.pairwise(edges))


def _rate_at(core: CoreSlices, time: int) -> float:
    import numpy as np

    running = np.flatnonzero((core.starts <= time) & (core.stops > time))
    return sum(core.operations / (int(core.durations[i]) / 1e9) for i in running)
