"""Log of torchtitan (software_standards.md C.4): `tps` is per device, rounded, averaged since the line before.

The first step and every interval are logged. The writing of checkpoints is in the next `tps`, evaluations are not: they
have a line with a `tps` of their own. A checkpoint comes before an evaluation, which then begins the interval anew.
Read in the source of torchtitan 0.3.0: all of this, the texts, and the codes of the colours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from .framework import Framework
from .schedule import End, Pause, Start, Step

_COLOURS = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "orange": "38;2;180;60;0",
    "turquoise": "38;2;54;234;195",
    "reset": "39",
}


_ZERO = "(0.0.0 means __version__ is not defined correctly)."


class Torchtitan(Framework):
    """Writes torchtitan's lines."""

    name: ClassVar[str] = "torchtitan"

    def header(self, start: Start) -> Iterable[str]:
        options = self.facts.options
        yield self._line(start.at, f"torchtitan version: {options.version} {_ZERO}")
        yield self._line(start.at, f"Starting job: {options.model}")
        yield self._line(
            start.at,
            f"Trainer is initialized with local batch size {options.micro_batch}, global batch size "
            f"{options.global_batch}, gradient accumulation steps {options.accumulation}, sequence length "
            f"{options.sequence_length}, total steps {options.steps} (warmup 200)",
        )
        if start.after:
            yield self._line(start.at, f"Loading the checkpoint from outputs/checkpoint/step-{start.after}.")
        yield self._line(start.at, f"Training starts at step {start.after + 1}")

    def step(self, step: Step) -> Iterable[str]:
        if step.number != 1 and not self.due(step.number):
            return
        facts, options = self.facts, self.facts.options
        tokens = sum(one.tokens for one in self.interval.steps)
        rate = tokens / facts.seconds(step.ended - self.interval.began) / options.devices
        flops = rate * facts.flops_per_token()
        share = f"{100 * flops / options.device_peak:.2f}%" if options.mfu else "N/A"
        self.interval.clear(step.ended)
        yield self._line(
            step.ended,
            f"{self._in('red')}step: {step.number:2}  {self._in('green')}loss: {self.loss(step):8.5f}  "
            f"{self._in('orange')}grad_norm: {1.2345:7.4f}  {self._in('turquoise')}memory: {12.34:5.2f}GiB(15.00%)  "
            f"{self._in('blue')}tps: {round(rate):,}  {self._in('cyan')}tflops: {flops / 1e12:,.2f}  "
            f"{self._in('magenta')}mfu: {share}{self._in('reset')}",
        )

    def pause(self, pause: Pause) -> Iterable[str]:
        if pause.kind == "checkpoint":
            yield self._line(pause.began, "Saving the checkpoint (or staging if async is enabled).")
            seconds = self.facts.seconds(pause.ended - pause.began)
            told = f"Finished saving the checkpoint (or staging if async is enabled)in {seconds:.2f} seconds."
            yield self._line(pause.ended, told)
            return
        rate = pause.after.tokens / self.facts.seconds(pause.ended - pause.began) / self.facts.options.devices
        self.interval.clear(pause.ended)
        yield self._line(
            pause.ended,
            f"{self._in('yellow')}validate step: {pause.after.number:2}  "
            f"{self._in('green')}loss: {self.loss(pause.after):7.4f}  "
            f"{self._in('turquoise')}memory: {12.34:5.2f}GiB(15.00%)  {self._in('blue')}tps: {round(rate):,}"
            f"{self._in('reset')}",
        )

    def end(self, end: End) -> Iterable[str]:
        yield self._line(end.at, "Training completed")

    def _in(self, colour: str) -> str:
        return f"\033[{_COLOURS[colour]}m" if self.facts.options.colours else ""

    def _line(self, moment: float, text: str) -> str:
        wall = self.facts.wall(moment)
        return f"[rank0]:[titan] {wall:%Y-%m-%d %H:%M:%S},{wall.microsecond // 1000:03d} - root - INFO - {text}"
