"""What the writers of all frameworks share: the facts of the job, clocks as its processes read them, and losses.

A process of the job reads this host's clock: in a world ten times as fast a step of one second is logged as 0.1 s, and
lines that arrive agree with what they say. In a stepped world there is no such host, and world time is logged.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from .schedule import End, Event, Pause, Start, Step

_PER_PARAMETER = 6
_PER_ATTENTION = 12


@dataclass
class Facts:
    """The job as its log shows it. options: `job.Options`; rate: of the world's clock; epoch: local time at world 0.

    shift: s by which the host's wall clock was stepped; scale: factor by which times are logged wrongly.
    """

    options: Any
    rate: float
    epoch: datetime
    shift: float = 0.0
    scale: float = 1.0
    consumed: int = 0

    def seconds(self, world: float) -> float:
        """Return a span of world time as a process of the job measures it, s."""
        return world / (self.rate or 1.0) * self.scale

    def wall(self, moment: float) -> datetime:
        """Return local time at a moment of world time, as the host's wall clock shows it."""
        return self.epoch + timedelta(seconds=moment / (self.rate or 1.0) + self.shift)

    def flops_per_token(self, *, causal: bool = False) -> float:
        """Return the model's FLOP a token; causal: attention halved for the mask, as some frameworks count it."""
        options = self.options
        attention = _PER_ATTENTION * options.layers * options.width * options.sequence_length
        return float(_PER_PARAMETER * options.parameters + attention * (0.5 if causal else 1.0))


@dataclass
class Interval:
    """Steps since the last line, for frameworks that log means over several."""

    steps: list[Step] = field(default_factory=list)
    began: float = 0.0

    def clear(self, at: float) -> None:
        """Begin anew at a moment of world time."""
        self.steps.clear()
        self.began = at


class Framework(ABC):
    """Turns events of a job into lines of its log, without their newlines."""

    name: ClassVar[str]

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.interval = Interval()

    def lines(self, event: Event) -> Iterable[str]:
        """Return what the framework prints at an event."""
        if isinstance(event, Start):
            self.interval.clear(event.at)
            return self.header(event)
        if isinstance(event, Step):
            self.interval.steps.append(event)
            return self.step(event)
        if isinstance(event, Pause):
            return self.pause(event)
        return self.end(event)

    @abstractmethod
    def header(self, start: Start) -> Iterable[str]:
        """Return what is printed before the first step of a start."""

    @abstractmethod
    def step(self, step: Step) -> Iterable[str]:
        """Return what is printed after a step."""

    def pause(self, pause: Pause) -> Iterable[str]:
        """Return what is printed after an evaluation or a checkpoint."""
        return ()

    def end(self, end: End) -> Iterable[str]:
        """Return what is printed when all steps are made."""
        return ()

    def loss(self, step: Step) -> float:
        """Return a loss that falls from the logarithm of the vocabulary, NaN where the step was not finite."""
        return 2.0 + 8.8 * math.exp(-step.number / 300) if step.finite else math.nan

    def due(self, number: int) -> bool:
        """True at every step that ends a logging interval."""
        return number % int(self.facts.options.log_interval) == 0
