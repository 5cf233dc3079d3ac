"""Log of nanoGPT (software_standards.md C.4): iterations counted from 0, the time of the last one alone, no stamps.

An evaluation is in the time of the iteration after it. `mfu` is a moving average against an A100, and -100 % for the
first five iterations of a start. Read in the public source: both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from .framework import Framework
from .schedule import Pause, Start, Step

_A100 = 312e12
_UNKNOWN = 5


class NanoGPT(Framework):
    """Writes nanoGPT's lines."""

    name: ClassVar[str] = "nanogpt"
    _average = -1.0
    _seen = 0
    _before = 0.0

    def header(self, start: Start) -> Iterable[str]:
        self._average, self._seen, self._before = -1.0, 0, start.at
        options = self.facts.options
        yield f"tokens per iteration will be: {options.global_batch * options.sequence_length:,}"
        yield "Initializing a new model from scratch" if not start.after else "Resuming training from out"
        yield f"number of parameters: {options.parameters / 1e6:.2f}M"

    def step(self, step: Step) -> Iterable[str]:
        facts, options = self.facts, self.facts.options
        seconds = facts.seconds(step.ended - self._before)
        self._before = step.ended
        number = step.number - 1
        if number % options.log_interval == 0:
            if self._seen >= _UNKNOWN:
                each = step.tokens / options.devices * facts.flops_per_token() / seconds / _A100
                self._average = each if self._average == -1.0 else 0.9 * self._average + 0.1 * each
            share = f"{self._average * 100:.2f}%"
            yield f"iter {number}: loss {self.loss(step):.4f}, time {seconds * 1e3:.2f}ms, mfu {share}"
        self._seen += 1

    def pause(self, pause: Pause) -> Iterable[str]:
        if pause.kind == "evaluation":
            loss = self.loss(pause.after)
            yield f"step {pause.after.number}: train loss {loss:.4f}, val loss {loss + 0.01:.4f}"
        else:
            yield "saving checkpoint to out"
