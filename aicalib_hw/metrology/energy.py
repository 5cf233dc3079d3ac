"""Energy of a window from a logged power series, by what its samples mean.

An interval mean is integrated by step-hold, weighted by overlap with the window; an instantaneous
sample by trapezoids with interpolated edges. Taking one for the other costs 0.5 % on a minute at 1 Hz.
A meter's own integrator is better than either: of its readings the difference is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from aicalib_hw import units
from aicalib_hw.errors import UsageError
from aicalib_hw.readings import Series

MOST_MISSING = 0.01
"""Share of the window that may be without usable samples before the result is invalid."""

GAP_INTERVALS = 2.0
"""A distance between samples of more than so many typical intervals is a gap."""


@dataclass(frozen=True, slots=True)
class Integral:
    """Energy in J over what of the window is covered; covered: share 0…1; gaps: how many were found."""

    energy: float
    covered: float
    gaps: int

    @property
    def valid(self) -> bool:
        """True if at most 1 % of the window is missing."""
        return self.covered >= 1 - MOST_MISSING


def integrate(series: Series, start_ns: int, stop_ns: int) -> Integral:
    """Return the energy of `series` (a power, in W) from `start_ns` to `stop_ns`, J.

    Samples that are not VALID are gaps; nothing is interpolated across a gap. Raises UsageError for
    a series that is not in W, an empty window, or fewer than two usable samples.
    """
    if series.header.get("unit") != "W":
        raise UsageError(f"energy needs power in W, not {series.header.get('unit')!r}")
    usable = _usable(series, start_ns, stop_ns)
    typical = _typical(usable)
    longest = GAP_INTERVALS * typical
    held = series.sample_kind == "interval_mean"
    pieces = _held(usable, typical, longest) if held else _trapezoids(usable, longest)
    energy = covered = 0.0
    for begin, end, first, last in pieces:
        left, right = max(begin, start_ns), min(end, stop_ns)
        if right <= left:
            continue
        slope = (last - first) / (end - begin)
        mean = first + slope * ((left + right) / 2 - begin)
        energy += mean * (right - left) * 1e-9
        covered += right - left
    gaps = sum(later - earlier > longest for (earlier, _), (later, _) in pairwise(usable))
    return Integral(energy, covered / (stop_ns - start_ns), gaps)


def difference(series: Series, start_ns: int, stop_ns: int) -> Integral:
    """Return what an energy counter advanced from `start_ns` to `stop_ns`, J.

    series: readings of a counter, in a unit of energy; between two of them the power counts as constant.
    What passed during a gap is counted, for the counter went on; only an edge inside a gap is not known,
    and the part of the window beyond it is not covered. Raises UsageError for a series that is no energy,
    an empty window, fewer than two usable samples, or a counter that runs backwards.
    """
    unit = series.header.get("unit", "")
    if units.require(unit).dimension != units.require("J").dimension:
        raise UsageError(f"a difference of energies needs readings of an energy, not of {unit!r}")
    usable = _usable(series, start_ns, stop_ns)
    if any(later < earlier for (_, earlier), (_, later) in pairwise(usable)):
        raise UsageError(
            "the energy counter runs backwards",
            why="it was reset, wrapped, or energy flowed back",
            advice="integrate the power instead, or measure shorter than the counter takes to wrap",
        )
    longest = GAP_INTERVALS * _typical(usable)
    known = [(time, value) for time, value in usable if start_ns <= time <= stop_ns]
    for edge in (start_ns, stop_ns):
        for (earlier, first), (later, last) in pairwise(usable):
            if earlier < edge < later and later - earlier <= longest:
                known.append((edge, first + (last - first) * (edge - earlier) / (later - earlier)))
    gaps = sum(later - earlier > longest for (earlier, _), (later, _) in pairwise(usable))
    if not known:
        return Integral(0.0, 0.0, gaps)
    (begin, first), (end, last) = min(known), max(known)
    return Integral(units.convert(last - first, unit, "J"), (end - begin) / (stop_ns - start_ns), gaps)


def _usable(series: Series, start_ns: int, stop_ns: int) -> list[tuple[int, float]]:
    if stop_ns <= start_ns:
        raise UsageError("the window of an energy must have a length")
    usable = [
        (time, value)
        for time, value, status in zip(series.times, series.values, series.statuses, strict=True)
        if value is not None and not status
    ]
    if len(usable) < 2:
        raise UsageError(f"{len(usable)} usable samples are not enough for an energy")
    return usable


def _typical(samples: Sequence[tuple[int, float]]) -> int:
    """Median distance of the samples, ns."""
    return sorted(later - earlier for (earlier, _), (later, _) in pairwise(samples))[(len(samples) - 1) // 2]


_Piece = tuple[int, int, float, float]


def _held(samples: Sequence[tuple[int, float]], typical: int, longest: float) -> list[_Piece]:
    """Each mean holds over the interval that ends at its stamp; after a gap, over one typical interval."""
    pieces = [(samples[0][0] - typical, samples[0][0], samples[0][1], samples[0][1])]
    for (earlier, _), (later, value) in pairwise(samples):
        begin = earlier if later - earlier <= longest else later - typical
        pieces.append((begin, later, value, value))
    return pieces


def _trapezoids(samples: Sequence[tuple[int, float]], longest: float) -> list[_Piece]:
    return [
        (earlier, later, first, last)
        for (earlier, first), (later, last) in pairwise(samples)
        if later - earlier <= longest
    ]
