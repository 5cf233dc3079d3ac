"""A training run of our own in PyTorch, started by torchrun: a small Llama-like model by DDP or FSDP, timed here.

Source: torchrun, DistributedDataParallel and fully_shard of PyTorch 2.6 or later. The window begins and ends at a
barrier behind a synchronisation of the device; tokens are counted on every rank as they go in. FLOP per token are those
of PaLM, appendix B, checked once in each run against torch's own counter with attention written out. Not covered:
several hosts, tensor and pipeline parallelism. The device "npu" needs torch_npu, and has not run yet.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, ClassVar

from aicalib_hw.errors import ConnectionFailed, ConnectionLost, DeadlineExceeded, InstrumentError, MissingExtra
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    Progress,
    ReleaseReport,
    Setting,
    StepRate,
    TrainingJob,
    TrainingJobCapabilities,
    TrainingPlan,
)
from aicalib_hw.readings import Instant, Measurement, Reading, Status, Window
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import Process

from . import _evaluation as evaluation
from ._torch_address import require_shareable, shape_of, stated
from ._torch_evaluation import broken_off, of_window
from ._torch_run import TorchRun

_ENDLESS = 10**9

_DEVICES = {
    "cpu": "processors of this host",
    "cuda": "has run on one H200 by one process, not yet on several",
    "npu": "has not run yet",
}
"""Where such a run has been seen, by device."""


class TorchTraining(TrainingJob):
    """Processes of this host that train a model of their own.

    address: torch://local?processes=1&threads=1&strategy=ddp&device=cpu&attention=sdpa&python=PATH, and the model's
    hidden, layers, heads, kv_heads, ffn, vocabulary; global_batch and sequence_length are for `stream()`. strategy: ddp
    or fsdp. device: cpu, cuda or npu. python: the interpreter whose torch is used. timeout: s for torch to be found.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="torch",
        role="training_job",
        summary="a small Llama-like model in PyTorch, DDP or FSDP by torchrun",
        manual="torchrun, fully_shard",
        schemes=("torch",),
        wires=("process",),
        verified="PyTorch 2.13.0 on processors under Linux, DDP and FSDP over gloo; 2.11.0 on one H200, one process",
    )

    def __init__(self, address: str, *, timeout: float = 60.0, trace: Trace | None = None) -> None:
        super().__init__(address)
        self.timeout = timeout
        self._trace = trace
        self._shape = shape_of(address)
        self._run: TorchRun | None = None
        self._aborted = threading.Event()

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return the address of a run on this host; raises MissingExtra without torch."""
        if find_spec("torch") is None:
            raise _missing(sys.executable, "it is not installed")
        return ("torch://local",)

    def _connect(self) -> None:
        """Nothing stays open between runs."""

    def _disconnect(self) -> None:
        self.release()

    def identify(self) -> Identity:
        """Ask the interpreter for its torch; raises MissingExtra without one, MissingProgram without the other."""
        code = "from importlib.metadata import version; print(version('torch'))"
        try:
            with Process([self._shape.python, "-c", code], trace=self._trace) as asked:
                said = asked.wait(self.timeout)
        except DeadlineExceeded as error:
            raise ConnectionFailed(
                f"{self._shape.python} does not tell its torch", where=self.address, why=error.why
            ) from error
        version = said.output.strip()
        if said.status or not version:
            raise _missing(self._shape.python, (said.errors.strip().splitlines() or ["it names no version"])[-1])
        return Identity("PyTorch", "torch", "", version, self.address, {"version": version})

    @property
    def capabilities(self) -> TrainingJobCapabilities:
        """Its own run, started here, with the loss of every step where the device is a processor."""
        return TrainingJobCapabilities(
            frameworks=("torch",),
            launch=True,
            own=True,
            loss=self._shape.device == "cpu",
            notes={"device": _DEVICES[self._shape.device]},
        )

    def stream(self, *, duration: float | None = None) -> Iterator[StepRate]:
        """Train with the address's batch and length and yield every step, token/s, for `duration` s or until closed.

        Raises ConnectionLost if the run ends, DeadlineExceeded if no step ends within 300 s, Aborted.
        """
        plan = stated(TrainingPlan(self._shape.global_batch, self._shape.sequence_length, warm_up_steps=0))
        tokens = plan.global_batch * plan.sequence_length
        self._aborted.clear()
        run = TorchRun(self._shape, plan, self._trace)
        try:
            run.start()
            run.ask(0, _ENDLESS)
            end = None if duration is None else time.monotonic() + duration
            before: Instant | None = None
            for said in run.lines(self._aborted, plan.step_timeout, until=end):
                if said["kind"] != "step":
                    continue
                now = Instant.at_monotonic(said["ended_ns"])
                if before is not None:
                    yield self._rate(said, tokens, Window(before, now, "one step, by the clock of rank 0"))
                before = now
        finally:
            run.stop()

    def measure_tokens(self, plan: TrainingPlan, *, progress: Progress | None = None) -> Measurement:
        """Train `plan.steps` steps after the warm-up and return token/s of all processes together.

        The run goes on for the next measurement of the same plan until `release()`, and warms up once. Raises
        OutOfRange or UsageError for a plan that does not fit, ConnectionFailed where nothing can be written;
        ConnectionLost for a run that ends, DeadlineExceeded for one that hangs, Aborted: each with the steps so far as
        `partial`, if any.
        """
        report = progress or (lambda done, note: None)
        evaluation.require_measurable(plan)
        plan = stated(plan)
        require_shareable(plan, self._shape)
        with self._lock:
            self._aborted.clear()
            report(0.0, "starting the processes")
            steps: list[Mapping[str, Any]] = []
            try:
                run = self._started(plan)
                window = self._window(run, plan, steps, report)
            except InstrumentError as error:
                self._let_go()
                if steps:
                    error.with_partial(broken_off(self._shape, plan, self.identity, steps, error))
                raise
            result = of_window(self._shape, plan, self.identity, run.ready, steps, window)
            report(1.0, "done")
            return result

    def snapshot(self) -> Mapping[str, Setting]:
        """Return what the address sets."""
        now = Instant.now()
        names = self._shape.__dataclass_fields__
        return {name: Setting(getattr(self._shape, name), "", now, "driver") for name in names}

    def abort(self) -> None:
        """End the processes now; from any thread; never raises."""
        self._aborted.set()
        run = self._run
        if run is not None:
            run.abort()

    def release(self) -> ReleaseReport:
        """End the processes and remove what torchrun wrote; idempotent; never raises."""
        return ReleaseReport(("the training run was stopped",) if self._let_go() else ())

    def _let_go(self) -> bool:
        run, self._run = self._run, None
        return run.stop() if run is not None else False

    def _started(self, plan: TrainingPlan) -> TorchRun:
        run = self._run
        if run is not None and run.same_as(plan):
            return run
        self._let_go()
        self._run = run = TorchRun(self._shape, plan, self._trace)
        run.start()
        return run

    def _window(
        self, run: TorchRun, plan: TrainingPlan, steps: list[Mapping[str, Any]], report: Progress
    ) -> Mapping[str, Any]:
        warm_up = max(0, plan.warm_up_steps - run.done)
        run.ask(warm_up, plan.steps)
        for said in run.lines(self._aborted, plan.step_timeout):
            if said["kind"] == "window":
                return said
            if said["kind"] == "step":
                steps.append(said)
                done = len(steps) / (warm_up + plan.steps)
                report(min(1.0, done), "warming up" if len(steps) <= warm_up else f"step {said['step']}")
        raise ConnectionLost("the run told of no window", where=self.address)

    def _rate(self, said: Mapping[str, Any], tokens: int, window: Window) -> StepRate:
        rate = Reading(
            value=tokens / window.duration,
            unit="token/s",
            status=Status.VALID,
            window=window,
            source=self.identity,
            channel=f"step {said['step']}",
            raw=repr(dict(said)),
        )
        return StepRate(said["step"], tokens, window, rate, said["loss"])


def _missing(python: str, why: str) -> MissingExtra:
    return MissingExtra(
        "training a model of our own needs PyTorch, which is not installed",
        where=python,
        why=why,
        advice="install the PyTorch that fits the platform; where any does: pip install torch",
    )
