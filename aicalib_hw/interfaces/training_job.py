"""TrainingJob: tokens per second of a training run, by whole optimizer steps."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass

from aicalib_hw.interfaces.accelerator import Precision
from aicalib_hw.interfaces.instrument import Capabilities, Instrument, Progress
from aicalib_hw.readings import Measurement, Reading, Window


@dataclass(frozen=True, slots=True)
class TrainingJobCapabilities(Capabilities):
    """frameworks whose logs it reads; launch: it can start a job; loss: steps carry their loss.

    own: what it runs where no command is given is a job of its own, which `release()` ends.
    """

    frameworks: tuple[str, ...] = ()
    launch: bool | None = None
    loss: bool | None = None
    own: bool | None = None


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What is run or followed: batch in sequences of all devices, lengths in tokens, counts in steps, times in s.

    warm_up_steps: at least so many are let pass before the window. parameters: in matrix products, for FLOP-based
    figures; None = not known. command: program and arguments that start the job, empty = it runs already, or is the
    driver's own. precision: None = fp32 in a run of the driver's own, and not known of a job that is followed; at fp16
    steps are skipped, which a log may hide. processors: devices that share the work. step_timeout: s without a step
    before the job is taken for one that hangs. outside: share of the window that may pass outside the times that a
    followed job states for its steps, before the measurement is invalid. peak: FLOP/s of all devices together at this
    precision, for the model FLOP utilisation; None = not known.
    """

    global_batch: int
    sequence_length: int
    warm_up_steps: int = 5
    steps: int = 20
    parameters: int | None = None
    precision: Precision | None = None
    command: tuple[str, ...] = ()
    seed: int = 0
    processors: int = 1
    step_timeout: float = 300.0
    outside: float = 0.01
    peak: float | None = None


@dataclass(frozen=True, slots=True)
class StepRate:
    """One optimizer step, or the steps up to it that a log sums up: its number, their tokens, window, rate in token/s.

    loss: of the last of them, where it is told. The rate's status is NO_DATA where none of the steps was applied.
    """

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
