"""Log of Megatron-LM, MindSpeed and their like (software_standards.md C.4): one line by the last rank.

`elapsed time per iteration` is the mean over the logging interval; evaluations and checkpoints are not in it, though
the stamps at the beginning of the lines run on. Skipped steps are counted, and consume samples. The sequence length
stands in the dump of the arguments alone. Styles: "plain", "old" (stamps without fractions), "fork" (more fields),
"primus" (`current/average` pairs, colours, a prefix).

Seen in a public log: that evaluations and checkpoints are left out of the elapsed time, the lines about them, and that
the loss is missing where all steps of the interval were skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

from .framework import Framework
from .schedule import End, Pause, Start, Step

_RULE = "-" * 94


class Megatron(Framework):
    """Writes Megatron-LM's lines."""

    name: ClassVar[str] = "megatron"
    _total = 0.0
    _count = 0

    def header(self, start: Start) -> Iterable[str]:
        options = self.facts.options
        devices, data_parallel = options.devices, options.devices // options.model_parallel
        yield (
            f"using world size: {devices}, data-parallel size: {data_parallel}, "
            f"tensor-model-parallel size: {options.model_parallel}, pipeline-model-parallel size: 1"
        )
        yield "------------------------ arguments ------------------------"
        arguments = {
            "data_parallel_size": data_parallel,
            "global_batch_size": options.global_batch,
            "hidden_size": options.width,
            "log_interval": options.log_interval,
            "micro_batch_size": options.micro_batch,
            "num_layers": options.layers,
            "seq_length": options.sequence_length,
            "train_iters": options.steps,
            "world_size": devices,
        }
        for name, value in arguments.items():
            yield f"  {name} {'.' * (48 - len(name))} {value}"
        yield "-------------------- end of arguments ---------------------"
        if start.after:
            yield f"  successfully loaded checkpoint from ./checkpoints [ t 1/1, p 1/1 ] at iteration {start.after}"
        yield "training ..."
        yield f"[before the start of training step] datetime: {self.facts.wall(start.at):%Y-%m-%d %H:%M:%S} "

    def step(self, step: Step) -> Iterable[str]:
        if not self.due(step.number):
            return
        facts, options, steps = self.facts, self.facts.options, self.interval.steps
        applied = [one for one in steps if one.applied]
        seconds = facts.seconds(sum(one.seconds + options.data_time for one in steps)) / len(steps)
        self._total += seconds * len(steps)
        self._count += len(steps)
        mean = self._total / self._count
        flops = facts.flops_per_token(causal=True) * step.tokens / options.devices / 1e12
        fields = [
            f"iteration {step.number:8d}/{options.steps:8d}",
            f"consumed samples: {facts.consumed:12d}",
            f"elapsed time per iteration (ms): {self._pair(seconds * 1e3, mean * 1e3)}",
        ]
        if options.throughput:
            fields.append(f"throughput per GPU (TFLOP/s/GPU): {self._pair(flops / seconds, flops / mean)}")
        if options.energy:
            fields.append(f"energy per GPU (J/iter/GPU): {options.device_power * seconds:.1f}")
            fields.append(f"power per GPU (W/GPU): {options.device_power:.1f}")
        per_device = step.tokens / options.devices
        if options.style == "primus":
            fields.append(f"tokens per GPU (tokens/s/GPU): {self._pair(per_device / seconds, per_device / mean)}")
        if options.style == "fork":
            fields.append(f"tokens/sec/GPU: {per_device / seconds:.0f}")
            fields.append(f"iteration time: {seconds:.3f} s samples/sec: {step.samples / seconds:.1f}")
        fields.append(f"learning rate: {3e-4 * math.exp(-step.number / 1e5):.6E}")
        fields.append(f"global batch size: {step.samples:5d}")
        if applied:
            fields.append(f"lm loss: {sum(map(self.loss, applied)) / len(applied):.6E}")
        fields.append("loss scale: 1.0")
        if applied:
            fields.append("grad norm: 0.543")
        fields.append(f"number of skipped iterations: {len(steps) - len(applied):3d}")
        fields.append(f"number of nan iterations: {sum(not one.finite for one in steps):3d}")
        self.interval.clear(step.ended)
        yield self._stamped(step.ended, " | ".join(fields) + " |")

    def pause(self, pause: Pause) -> Iterable[str]:
        step = pause.after
        milliseconds = self.facts.seconds(pause.ended - pause.began) * 1e3
        if pause.kind == "evaluation":
            loss = self.loss(step)
            yield "(min, max) time across ranks (ms):"
            yield f"    evaluate .......................................: ({milliseconds:.2f}, {milliseconds:.2f})"
            yield _RULE
            told = f"lm loss value: {loss:.6E} | lm loss PPL: {math.exp(min(20.0, loss)):.6E} | "
            yield f" validation loss at iteration {step.number} | {told}"
            yield _RULE
            return
        yield f"saving checkpoint at iteration {step.number:7d} to ./checkpoints in torch_dist format"
        yield f"  successfully saved checkpoint from iteration {step.number:7d} to ./checkpoints [ t 1/1, p 1/1 ]"
        yield "(min, max) time across ranks (ms):"
        yield f"    save-checkpoint ................................: ({milliseconds:.2f}, {milliseconds:.2f})"

    def end(self, end: End) -> Iterable[str]:
        yield f"[after training is done] datetime: {self.facts.wall(end.at):%Y-%m-%d %H:%M:%S} "

    def _pair(self, now: float, mean: float) -> str:
        return f"{now:.1f}/{mean:.1f}" if self.facts.options.style == "primus" else f"{now:.1f}"

    def _stamped(self, moment: float, text: str) -> str:
        wall, style = self.facts.wall(moment), self.facts.options.style
        if style == "primus":
            stamp = f"{wall:%Y%m%d %H:%M:%S}"
            return f"\033[32m[{stamp}]\033[0m[rank-{self.facts.options.devices - 1}][INFO ] [-]: \033[1m {text}\033[0m"
        return f" [{wall:%Y-%m-%d %H:%M:%S}{'' if style == 'old' else f'.{wall.microsecond:06d}'}] {text}"
