"""Jobs that write the logs of frameworks at a pace of their own, and know what they did.

Each line has the form that the framework's source gives it. A job keeps when each step ended by its own clock, so that
what the driver makes of its log can be told from what happened.
"""

from __future__ import annotations

import datetime
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aicalib_hw.errors import InstrumentError
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.readings import Measurement


def kept(measure: Callable[[], object], error: type[InstrumentError]) -> Measurement:
    """What a measurement that breaks off keeps beside its error, of this type, which is also its reason."""
    with pytest.raises(error) as caught:
        measure()
    partial = caught.value.partial
    assert isinstance(partial, Measurement)
    assert partial.validity.reasons[0].startswith(caught.value.what)
    return partial


BATCH, LENGTH = 256, 4096
PLAN = TrainingPlan(BATCH, LENGTH, warm_up_steps=2, steps=10, step_timeout=5.0, precision="bf16")


def megatron(step: int, seconds: float, **other: Any) -> str:
    """One line of Megatron-LM's training_log."""
    said = {"batch": BATCH, "skipped": 0, "nan": 0, "stamp": True, "samples": None, **other}
    samples = step * said["batch"] if said["samples"] is None else said["samples"]
    stamp = f"[{datetime.datetime.now():%Y-%m-%d %H:%M:%S.%f}] " if said["stamp"] else ""
    return (
        f" {stamp}iteration {step:8d}/{500:7d} | consumed samples: {samples:12d} | "
        f"elapsed time per iteration (ms): {1000 * seconds:.1f} | throughput per GPU (TFLOP/s/GPU): 245.3 | "
        f"learning rate: 3.000000E-04 | global batch size: {said['batch']:5d} | lm loss: {9 / step:.6E} | "
        f"loss scale: 1.0 | grad norm: 0.543 | number of skipped iterations: {said['skipped']:3d} | "
        f"number of nan iterations: {said['nan']:3d} |"
    )


def torchtitan(step: int, seconds: float, *, devices: int = 8, **_: Any) -> str:
    """One line of torchtitan's metrics, whose tps is of one device."""
    tps = BATCH * LENGTH / seconds / devices
    return (
        f"\x1b[31mstep: {step:2d}  \x1b[32mloss: {9 / step:8.5f}  \x1b[38;2;180;60;0mgrad_norm:  1.2345  "
        f"\x1b[38;2;54;234;195mmemory: 12.34GiB(15.00%)  \x1b[34mtps: {round(tps):,}  tflops: 345.67  mfu: 34.95%"
        "\x1b[39m"
    )


_passed: dict[str, float] = {}


def deepspeed(step: int, seconds: float, **_: Any) -> str:
    """One line of DeepSpeed's ThroughputTimer, which tells nothing of the first two steps."""
    if step <= 2:
        return "[INFO] [logging.py:107:log_dist] no rate yet"
    passed = _passed["s"] = seconds if step == 3 else _passed["s"] + seconds
    stamp = f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S,%f}"[:-3]
    return (
        f"[{stamp}] [INFO] [timer.py:215:stop] "
        f"epoch=0/micro_step={2 * step}/global_step={step}, RunningAvgSamplesPerSec={BATCH / (passed / (step - 2))}, "
        f"CurrSamplesPerSec={BATCH / seconds}, MemAllocated=0.07GB, MaxMemAllocated=1.36GB"
    )


def nanogpt(step: int, seconds: float, **_: Any) -> str:
    """One line of nanoGPT's train.py."""
    return f"iter {step}: loss {9 / step:.4f}, time {1000 * seconds:.2f}ms, mfu 43.21%"


FORMS: dict[str, Callable[..., str]] = {
    "megatron": megatron,
    "mindspeed": megatron,
    "torchtitan": torchtitan,
    "deepspeed": deepspeed,
    "nanogpt": nanogpt,
}


@dataclass
class Job:
    """Writes a step to `path` every `pace` s until it is stopped or has done `steps`; `act` may do more at a step.

    ends: when each step ended, by perf_counter.
    """

    path: Path
    form: Callable[..., str] = megatron
    pace: float = 0.04
    steps: int = 500
    first: int = 1
    said: dict[str, Any] = field(default_factory=dict)
    act: Callable[[int, Job], None] = lambda step, job: None
    ends: dict[int, float] = field(default_factory=dict)

    def __enter__(self) -> Job:
        self.path.touch()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def write(self, text: str) -> None:
        with open(self.path, "a", encoding="utf-8") as log:
            log.write(text)

    def rate(self, first: int, last: int, tokens: int = BATCH * LENGTH) -> float:
        """token/s of the steps after `first` up to `last`, by the job's own count."""
        return (last - first) * tokens / (self.ends[last] - self.ends[first])

    def _work(self) -> None:
        before = time.perf_counter()
        for step in range(self.first, self.first + self.steps):
            if self._stop.wait(self.pace):
                return
            self.act(step, self)
            now = time.perf_counter()
            self.ends[step] = now
            self.write(self.form(step, now - before, **self.said) + "\n")
            before = now


SCRIPT = """
import sys, time
sys.path[:0] = {path!r}
from tests.instruments.training.jobs import FORMS
form, pace, steps = FORMS[{framework!r}], {pace!r}, {steps!r}
before = time.perf_counter()
for step in range(1, steps + 1):
    time.sleep(pace)
    now = time.perf_counter()
    print(form(step, now - before), file={to})
    before = now
{then}
"""


def command(
    framework: str = "nanogpt", *, pace: float = 0.04, steps: int = 400, to: str = "sys.stdout", then: str = ""
) -> tuple[str, ...]:
    """A command that trains so: a program of its own, with its output not flushed, as most are."""
    path = [str(Path(__file__).parents[3])]
    return (
        sys.executable,
        "-c",
        SCRIPT.format(path=path, framework=framework, pace=pace, steps=steps, to=to, then=then),
    )
