"""What a training job does when: steps, pauses and restarts on an absolute schedule in world time.

One step follows the other by addition, never from when somebody woke up. Step time varies with the platform's clock and
with noise; the first steps of every start are slower.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PauseKind = Literal["evaluation", "checkpoint"]


@dataclass(slots=True)
class Step:
    """One optimiser step, s of world time. number: from 1, as logged; start: of which start of the job it is part.

    tokens: of the global batch; applied: False where its update was skipped; lost: a restart went back before it.
    """

    number: int
    start: int
    tokens: int
    samples: int
    began: float
    ended: float = 0.0
    applied: bool = True
    finite: bool = True
    lost: bool = False

    @property
    def seconds(self) -> float:
        """How long it took, s of world time."""
        return self.ended - self.began


@dataclass(slots=True)
class Pause:
    """An evaluation or the writing of a checkpoint after a step, s of world time."""

    kind: PauseKind
    after: Step
    began: float
    ended: float


@dataclass(slots=True)
class Start:
    """The job starts, or starts anew from the checkpoint after step `after`. number: counted from 0."""

    number: int
    after: int
    at: float


@dataclass(slots=True)
class End:
    """The job has made all its steps."""

    last: Step
    at: float


Event = Step | Pause | Start | End


@dataclass
class Job:
    """The job's own course. strikes(kind): the fault that strikes now; pace(): clock over its nominal value.

    moment: when the next event is, s of world time; steps: all that have ended. activity: what it is doing now.
    """

    options: Any
    seed: int
    strikes: Callable[[str], Any]
    pace: Callable[[], float]
    began: float
    steps: list[Step] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    activity: str = "starting"

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._next: Event | None = Start(0, 0, self.began + self.options.start_time)
        self._consumed = 0
        self._since_start = 0

    @property
    def moment(self) -> float | None:
        """When the next event is due, s of world time; None after the last."""
        if isinstance(self._next, Start | End):
            return self._next.at
        return None if self._next is None else self._next.ended

    @property
    def consumed(self) -> int:
        """Samples consumed by the steps that count, skipped ones among them."""
        return self._consumed

    def take(self) -> Event:
        """Return the event that is due and go on to the next."""
        event = self._next
        assert event is not None
        if isinstance(event, Start):
            self.starts.append(event)
            self._since_start = 0
            self._consumed = event.after * self.options.global_batch
            self._next = self._step(event.after + 1, event.at)
        elif isinstance(event, Step):
            event.applied = self.strikes("skipped") is None
            event.finite = self.strikes("nan") is None
            self.steps.append(event)
            self._consumed += event.samples
            self._since_start += 1
            self._next = self._after_step(event)
        elif isinstance(event, Pause):
            self._next = self._after_pause(event)
        else:
            self._next, self.activity = None, "ended"
        return event

    def _step(self, number: int, at: float) -> Step:
        options = self.options
        self.activity = "training"
        seconds = options.step_time / self.pace()
        if self._since_start < options.warm_up_steps:
            left = 1 - self._since_start / options.warm_up_steps
            seconds *= 1 + (options.warm_up_factor - 1) * left**2
        seconds *= max(0.2, 1 + options.step_noise * self._random.gauss(0, 1))
        stall = self.strikes("stall")
        began = at + options.data_time
        samples = options.global_batch
        return Step(
            number,
            len(self.starts) - 1,
            samples * options.sequence_length,
            samples,
            began,
            began + seconds + (stall.amount if stall is not None else 0.0),
        )

    def _after_step(self, step: Step) -> Event:
        options = self.options
        restart = self.strikes("restart")
        if restart is not None:
            every = options.checkpoint_every or step.number + 1
            after = step.number // every * every
            if after == step.number and after:
                after -= every
            for done in self.steps:
                done.lost = done.lost or done.number > after
            self.activity = "restarting"
            return Start(len(self.starts), max(0, after), step.ended + restart.amount)
        return self._pause_or_onward(step, step.ended, options.pauses)

    def _after_pause(self, pause: Pause) -> Event:
        order = self.options.pauses
        return self._pause_or_onward(pause.after, pause.ended, order[order.index(pause.kind) + 1 :])

    def _pause_or_onward(self, step: Step, at: float, kinds: Sequence[PauseKind]) -> Event:
        """Return the first of these pauses that is due after a step, or what comes next."""
        options = self.options
        for kind in kinds:
            every, seconds = {
                "evaluation": (options.evaluate_every, options.evaluate_time),
                "checkpoint": (options.checkpoint_every, options.checkpoint_time),
            }[kind]
            if every and step.number % every == 0:
                self.activity = kind
                return Pause(kind, step, at, at + seconds)
        return self._onward(step, at)

    def _onward(self, step: Step, at: float) -> Event:
        if step.number >= self.options.steps:
            self.activity = "ending"
            return End(step, at)
        return self._step(step.number + 1, at)
