"""The truth channel of a simulated training job: every step, its tokens, when it really was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..world import Truth


@dataclass(frozen=True, slots=True)
class StepTruth:
    """One optimiser step. began, ended: s of world time; ended_ns: on `time.monotonic_ns`, as the schedule has it.

    number: from 1; start: of which start of the job; applied: its update was; lost: a restart went back before it;
    finite: its loss was.
    """

    number: int
    start: int
    tokens: int
    began: float
    ended: float
    ended_ns: int
    applied: bool
    lost: bool
    finite: bool

    @property
    def seconds(self) -> float:
        """How long it took, s of world time."""
        return self.ended - self.began


class TrainingTruth:
    """Exact steps of a job, and the truth of the world beneath."""

    def __init__(self, steps: Callable[[], tuple[StepTruth, ...]], world: Truth, rate: float) -> None:
        self._steps, self.world = steps, world
        self._rate = rate or 1.0

    @property
    def steps(self) -> tuple[StepTruth, ...]:
        """All steps that have ended, in the order in which they were made."""
        return self._steps()

    @property
    def tokens(self) -> int:
        """Tokens of all steps made so far, whether or not applied or lost."""
        return sum(step.tokens for step in self.steps)

    @property
    def applied_tokens(self) -> int:
        """Tokens of the steps whose updates are in the model."""
        return sum(step.tokens for step in self.steps if step.applied and not step.lost)

    def rate(self, first: int, last: int) -> float:
        """Return applied tokens a second of the host's time of the steps `first` to `last`, from their latest start.

        From the beginning of the one to the end of the other, with everything between; raises LookupError for steps
        that are not made.
        """
        chosen = [step for step in self.steps if first <= step.number <= last and not step.lost]
        if [step.number for step in chosen] != list(range(first, last + 1)):
            raise LookupError(f"not all of the steps {first} to {last} have been made")
        tokens = sum(step.tokens for step in chosen if step.applied)
        return tokens / (chosen[-1].ended - chosen[0].began) * self._rate

    def step_rate(self, first: int, last: int) -> float:
        """Return applied tokens a second of the host's time inside the steps `first` to `last`, without pauses."""
        chosen = [step for step in self.steps if first <= step.number <= last and not step.lost]
        if not chosen:
            raise LookupError(f"none of the steps {first} to {last} has been made")
        tokens = sum(step.tokens for step in chosen if step.applied)
        return tokens / sum(step.seconds for step in chosen) * self._rate
