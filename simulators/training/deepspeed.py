"""Log of DeepSpeed (software_standards.md C.4): samples a second of the whole job, running mean and last step.

The running mean begins after the second step of a start; the other figure is of the last step alone. Both are of the
time inside steps: what passes between them, for data or evaluation, is in neither. Style "old" has no labels.

Read in the source of DeepSpeed 0.19.8: `global_step` and `micro_step` are the timer's own counts, which begin anew with
every start, while `step=` in the line before goes on from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from .framework import Framework
from .schedule import Pause, Start, Step

_UNTIMED = 2
"""Steps of a start that the running mean leaves out."""


class DeepSpeed(Framework):
    """Writes DeepSpeed's lines."""

    name: ClassVar[str] = "deepspeed"
    _inside = 0.0
    _timed = 0
    _seen = 0
    _skipped = 0

    def header(self, start: Start) -> Iterable[str]:
        self._inside, self._timed, self._seen, self._skipped = 0.0, 0, 0, 0
        options = self.facts.options
        yield self._line(
            start.at,
            "logging.py:96:log_dist",
            f"[Rank 0] DeepSpeed info: version={options.version}, git-hash=unknown, git-branch=unknown",
        )
        for name, value in (
            ("gradient_accumulation_steps", options.accumulation),
            ("steps_per_print", options.log_interval),
            ("train_batch_size", options.global_batch),
            ("train_micro_batch_size_per_gpu", options.micro_batch),
            ("world_size", options.devices // options.model_parallel),
        ):
            yield self._line(start.at, "config.py:1003:print", f"  {name} {'.' * (28 - len(name))} {value}")
        if start.after:
            told = f"[Rank 0] Loading checkpoint: global_step{start.after}"
            yield self._line(start.at, "logging.py:96:log_dist", told)

    def step(self, step: Step) -> Iterable[str]:
        facts, options = self.facts, self.facts.options
        seconds = facts.seconds(step.seconds)
        self._seen += 1
        if self._seen > _UNTIMED:
            self._inside += seconds
            self._timed += 1
        if not step.applied:
            self._skipped += 1
            told = "[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768"
            yield self._line(step.ended, "loss_scaler.py:183:update_scale", told)
        if self.due(step.number):
            told = f"[Rank 0] step={step.number}, skipped={self._skipped}, lr=[0.0003], mom=[(0.9, 0.95)]"
            yield self._line(step.ended, "logging.py:96:log_dist", told)
        if not self.due(self._seen) or not self._timed:
            return
        where = f"epoch=0/micro_step={self._seen * options.accumulation}/global_step={self._seen}"
        if options.style == "old":
            where = f"0/{self._seen}"
        yield self._line(
            step.ended,
            "timer.py:215:stop",
            f"{where}, RunningAvgSamplesPerSec={step.samples * self._timed / self._inside}, "
            f"CurrSamplesPerSec={step.samples / seconds}, MemAllocated=4.32GB, MaxMemAllocated=38.49GB",
        )

    def pause(self, pause: Pause) -> Iterable[str]:
        if pause.kind == "checkpoint":
            told = f"[Rank 0] [Torch] Checkpoint global_step{pause.after.number} is about to be saved!"
            yield self._line(pause.began, "logging.py:96:log_dist", told)

    def _line(self, moment: float, where: str, text: str) -> str:
        wall = self.facts.wall(moment)
        return f"[{wall:%Y-%m-%d %H:%M:%S},{wall.microsecond // 1000:03d}] [INFO] [{where}] {text}"
