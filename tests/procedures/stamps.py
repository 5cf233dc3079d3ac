"""When the points of a calibration were measured, in world time, so that the truth of that time can be asked."""

from __future__ import annotations

import aicalib_hw as hw


class Stamps:
    """Notes the world time at which each point's runs began, and when the next step began."""

    def __init__(self, bench: hw.Bench) -> None:
        self._clock = bench.world.clock
        self._truth = bench.world.truth
        self.steps: list[tuple[str, float]] = []

    def __call__(self, done: float, note: str) -> None:
        assert 0 <= done <= 1
        self.steps.append((note, self._clock.now()))

    def window(self, title: str) -> tuple[float, float]:
        begin = next(time for note, time in self.steps if note.startswith(f"{title}, run 1"))
        return begin, next(time for note, time in self.steps if note == f"{title}, done")

    def true_power(self, title: str) -> float:
        """Mean of the platform's power while the point was measured, W.

        The world integrates in steps of 10 ms, so the step in which the load changes belongs to neither side.
        """
        begin, end = self.window(title)
        begin, end = begin + 0.02, end - 0.02
        return float(self._truth.energy_between(begin, end) / (end - begin))
