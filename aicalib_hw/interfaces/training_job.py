"""TrainingJob: tokens per second of a training run, by whole optimizer steps."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass

from aicalib_hw.interfaces.instrument import Capabilities, Instrument, Progress
from aicalib_hw.readings import Measurement, Reading, Window


@dataclass(frozen=True, slots=True)
class TrainingJobCapabilities(Capabilities):
    """frameworks whose logs it reads; launch: it can start a job; loss: steps carry their loss."""

    frameworks: tuple[str, ...] = ()
    launch: bool | None = None
    loss: bool | None = None


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What is run or followed: batch in sequences, lengths in tokens, counts in steps.

    parameters: of the model, for FLOP-based figures; None = not known.
    """

    global_batch: int
    sequence_length: int
    warm_up_steps: int = 5
    steps: int = 20
    parameters: int | None = None
    precision: str = "fp32"
    command: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class StepRate:
    """One optimizer step: its number, tokens, duration window, rate in token/s, and loss where logged."""

    step: int
    tokens: int
    window: Window
    rate: Reading
    loss: float | None = None


class TrainingJob(Instrument):
    """A training run, own or followed."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> TrainingJobCapabilities:
        """What this job driver can do."""

    @abc.abstractmethod
    def stream(self, *, duration: float | None = None) -> Iterator[StepRate]:
        """Yield every step as it ends, for `duration` s or until closed; closing stops following."""

    @abc.abstractmethod
    def measure_tokens(self, plan: TrainingPlan, *, progress: Progress | None = None) -> Measurement:
        """Run or follow `plan` and return token/s over whole steps."""
