"""A stepped world that moves on when a driver looks for an update: nothing is lost, however busy the host."""

from __future__ import annotations

from typing import Any

from aicalib_hw.trace import Trace


class Pace(Trace):
    """A trace for a driver, which moves the clock of a simulated world on before some of its messages are sent.

    word: what such a message holds; the one by which a driver waits for an update, or asks whether there is one.
    step: s of the world's time, the update interval. begin() lets it act: opening and setting up take no time.
    """

    def __init__(self, word: str, step: float) -> None:
        super().__init__()
        self._word = word
        self._step = step
        self._clock: Any = None

    def begin(self, world: Any) -> None:
        """Move this world from now on."""
        self._clock = world.clock

    def add(self, instrument: str, direction: str, data: bytes | str, **more: Any) -> None:
        super().add(instrument, direction, data, **more)
        if self._clock is not None and direction == "write" and self._word in str(data):
            self._clock.advance(self._step)
