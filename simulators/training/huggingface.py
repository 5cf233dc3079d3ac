"""Log of the HF Trainer (software_standards.md C.4): dictionaries whose values are text, between bars of progress.

`train_tokens_per_second` and `train_runtime` count from the beginning of the start: the differences of two records
tell the present. `num_input_tokens_seen` goes on from the checkpoint. The last record has no tokens a second. The bar
is written with carriage returns and no newlines. Read in the source of transformers 5.24: that, and that `total_flos`
is taken out of what is printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from .framework import Framework
from .schedule import End, Start, Step

_BLANK = "\r" + " " * 110 + "\r"
"""What wipes the bar before a record."""


class HuggingFace(Framework):
    """Writes the Trainer's records."""

    name: ClassVar[str] = "huggingface"
    _began = 0.0
    _tokens = 0
    _before = 0

    def header(self, start: Start) -> Iterable[str]:
        options = self.facts.options
        self._began, self._tokens = start.at, 0
        self._before = start.after * options.global_batch * options.sequence_length
        if options.progress_bar:
            yield self._bar(start.after, start.at) + "\r"

    def step(self, step: Step) -> Iterable[str]:
        options = self.facts.options
        self._tokens += step.tokens
        runtime = self.facts.seconds(step.ended - self._began)
        bar = self._bar(step.number, step.ended) if options.progress_bar else ""
        if not self.due(step.number):
            if bar:
                yield bar + "\r"
            return
        record: dict[str, Any] = {
            "loss": f"{self.loss(step):.4g}",
            "grad_norm": "1.097",
            "learning_rate": f"{3e-4 * (1 - step.number / options.steps):.4g}",
            "epoch": f"{step.number / max(1, options.steps):.4g}",
        }
        if options.tokens_seen:
            record["num_input_tokens_seen"] = self._before + self._tokens
            record["train_runtime"] = f"{runtime:.4g}"
            record["train_tokens_per_second"] = f"{self._tokens / runtime:.4g}"
        yield f"{_BLANK if bar else ''}{self._values(record)}"
        if bar:
            yield bar + "\r"

    def end(self, end: End) -> Iterable[str]:
        runtime = self.facts.seconds(end.at - self._began)
        options = self.facts.options
        record: dict[str, Any] = {
            "train_runtime": f"{runtime:.4g}",
            "train_samples_per_second": f"{end.last.number * options.global_batch / runtime:.4g}",
            "train_steps_per_second": f"{end.last.number / runtime:.4g}",
            "train_loss": f"{self.loss(end.last):.4g}",
            "epoch": "1",
        }
        if options.tokens_seen:
            record["num_input_tokens_seen"] = self._before + self._tokens
        yield f"{_BLANK if options.progress_bar else ''}{self._values(record)}"

    def _values(self, record: dict[str, Any]) -> dict[str, Any]:
        """As newer versions print them: text, but for the count of tokens; older ones print numbers."""
        if self.facts.options.style != "old":
            return record
        return {key: float(value) if isinstance(value, str) else value for key, value in record.items()}

    def _bar(self, number: int, moment: float) -> str:
        """As tqdm draws it, in a line of its own that the next one overwrites."""
        total = self.facts.options.steps
        passed = self.facts.seconds(moment - self._began)
        rate = number / passed if passed else 0.0
        left = (total - number) / rate if rate else 0.0
        done = round(10 * number / total)
        times = f"[{_clock(passed)}<{_clock(left) if rate else '?'}, {f'{rate:5.2f}it/s' if rate else '?it/s'}]"
        return f"\r{100 * number / total:3.0f}%|{'█' * done}{' ' * (10 - done)}| {number}/{total} {times}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
