"""A training job followed by its log: one that runs already, or a command that is started here.

Source: the log lines of Megatron-LM `training_log`, torchtitan `metrics.py`, DeepSpeed `ThroughputTimer`, nanoGPT
`train.py` and the Trainer of transformers (`_formats`). Token/s is tokens of applied steps over the times that the job
states for them, never a rate, TFLOP/s or MFU that it prints; the arrival of the lines here and the log's time stamps
must agree with those times. Not covered: logs in other languages than Python's English, Weights & Biases, TensorBoard.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from aicalib_hw.errors import Aborted, InstrumentError, ProtocolError, UsageError
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
from aicalib_hw.readings import Instant, Measurement, ValidityStatus
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import find_program

from . import _evaluation as evaluation
from ._following import Following, mark_in
from ._formats import Format
from ._lines import head_of
from ._log_address import COUNTS, place_of
from ._tally import Span


class TrainingLog(TrainingJob):
    """A log file, or the output of the command that a plan names.

    address: log:///path?framework=NAME&from=end, or log://command?framework=NAME. framework: megatron, mindspeed,
    torchtitan, deepspeed, nanogpt or huggingface. from=start takes the steps that the file holds already, from=command
    waits for the file that the plan's command writes. global_batch,
    sequence_length and processors (devices) may stand there too; `stream()` needs them, and a plan must agree. timeout:
    s for a command to end after it was asked to.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="log",
        role="training_job",
        summary="logs of Megatron-LM, MindSpeed-LLM, torchtitan, DeepSpeed, nanoGPT and the Trainer of transformers",
        manual="training_log, ThroughputTimer, metrics.py, train.py, Trainer",
        schemes=("log",),
        wires=("file", "process"),
        simulator="training",
        verified="the Trainer of transformers 5.24 on Linux; lines of torchtitan 0.3.0, DeepSpeed 0.19.8, nanoGPT",
    )

    def __init__(self, address: str, *, timeout: float = 30.0, trace: Trace | None = None) -> None:
        super().__init__(address)
        self.timeout = timeout
        self._trace = trace
        self._place = place_of(address)
        self._following: Following | None = None
        self._aborted = threading.Event()

    def _connect(self) -> None:
        if self._place.path is not None and not self._place.awaited:
            head_of(self._place.path)

    def _disconnect(self) -> None:
        self.release()

    def identify(self) -> Identity:
        """Tell whose log it is; a job that introduces itself as simulated is. Raises ConnectionFailed, NotPermitted."""
        path = self._place.path
        head = head_of(path) if path is not None and path.exists() else ""
        following = self._following
        return identity_of(self._place.format, self.address, head, following.mark if following else "")

    @property
    def capabilities(self) -> TrainingJobCapabilities:
        """The one framework whose log is read; a command can be started."""
        return TrainingJobCapabilities(
            frameworks=(self._place.format.name,),
            launch=True,
            own=False,
            loss=self._place.format.name != "deepspeed",
            notes={"time": "the job's own step times; its TFLOP/s, MFU and rates are not used"},
        )

    def stream(self, *, duration: float | None = None) -> Iterator[StepRate]:
        """Yield the steps of every new line, token/s, for `duration` s or until closed.

        Raises UsageError if the address does not say global_batch and sequence_length, ProtocolError if the log
        changes its form or goes back, DeadlineExceeded if no step comes within 300 s, Aborted.
        """
        plan = self._stated_plan()
        self._aborted.clear()
        following = Following(self._place.format, plan, self._place.path, self._place.history, self._trace)
        end = None if duration is None else time.monotonic() + duration
        try:
            for span in following.spans(self._aborted, until=end):
                if span is not None:
                    yield evaluation.step_rate(span, self.identity)
        finally:
            following.close()

    def measure_tokens(self, plan: TrainingPlan, *, progress: Progress | None = None) -> Measurement:
        """Follow `plan.steps` whole steps after the warm-up and return token/s, by the job's own step times.

        A command of the plan is started if it does not run yet, and runs on for the next measurement until
        `release()`. Raises OutOfRange or UsageError for a plan that does not fit, MissingProgram, ConnectionFailed;
        ProtocolError for a log that changes its form or goes back, DeadlineExceeded for a job that hangs or never logs,
        ConnectionLost for one that ends, Aborted: each with the steps of the window so far as `partial`, if any.
        """
        report = progress or (lambda done, note: None)
        plan = self._fitting(plan)
        with self._lock:
            self._aborted.clear()
            began = Instant.now()
            following = self._follow(plan)
            report(0.0, "waiting for the first step")
            try:
                spans = self._window(following, plan, report)
            except InstrumentError as error:
                spans = following.since(plan)
                self._let_go()
                if spans:
                    error.with_partial(self._evaluated(following, spans, plan, began, error))
                raise
            following.used = len(following.tally.spans)
            result = self._evaluated(following, spans, plan, began)
            report(1.0, "done")
            return result

    def snapshot(self) -> Mapping[str, Setting]:
        """Return what the address sets."""
        now = Instant.now()
        place = self._place
        settings = {
            "framework": place.format.name,
            "path": str(place.path) if place.path else "",
            "from": "command" if place.awaited else "start" if place.history else "end",
            **place.counts,
        }
        return {name: Setting(value, "", now, "driver") for name, value in settings.items()}

    def abort(self) -> None:
        """End the command, if there is one, and stop following; from any thread; never raises."""
        self._aborted.set()
        following = self._following
        if following is not None:
            following.abort()

    def release(self) -> ReleaseReport:
        """End the command with all it has started and stop following; idempotent; never raises."""
        stopped = self._let_go()
        return ReleaseReport(("the job was stopped",) if stopped else ())

    def _let_go(self) -> bool:
        following, self._following = self._following, None
        return following.close() if following is not None else False

    def _follow(self, plan: TrainingPlan) -> Following:
        """Go on with what is followed already if it is the same job, else begin."""
        following = self._following
        if following is not None and following.same_as(plan):
            return following
        self._let_go()
        if plan.command:
            find_program(plan.command[0], purpose="this training job", install=f"put {plan.command[0]} on the path")
        following = Following(self._place.format, plan, self._place.path, self._place.history, self._trace)
        path = self._place.path
        if path is not None and path.exists() and not plan.command:
            following.introduce(head_of(path))
        self._following = following
        return following

    def _window(self, following: Following, plan: TrainingPlan, report: Progress) -> list[Span]:
        for _ in following.spans(self._aborted):
            spans = following.since(plan)
            steps = sum(span.steps for span in spans)
            if spans:
                report(min(1.0, steps / plan.steps), f"step {spans[-1].last}")
            if steps >= plan.steps:
                return spans
        raise ProtocolError("the log ended", where=self.address)

    def _evaluated(
        self,
        following: Following,
        spans: list[Span],
        plan: TrainingPlan,
        began: Instant,
        error: InstrumentError | None = None,
    ) -> Measurement:
        return evaluation.of_log(
            following.tally,
            spans,
            plan,
            identity=self._identified(following),
            began=began,
            broken=() if error is None else (": ".join(part for part in (error.what, error.why) if part),),
            status=ValidityStatus.ABORTED if isinstance(error, Aborted) else ValidityStatus.ERROR,
            evidence={"framework": self._place.format.name, "log": following.facts()},
        )

    def _identified(self, following: Following) -> Identity:
        if following.mark and not self.identity.simulated:
            self._identity = identity_of(self._place.format, self.address, "", following.mark)
        return self.identity

    def _fitting(self, plan: TrainingPlan) -> TrainingPlan:
        """Return the plan, which must agree with the address; one that leaves the processors open takes its number."""
        evaluation.require_measurable(plan)
        if plan.processors == 1:
            plan = replace(plan, processors=self._place.counts.get("processors", 1))
        for name, stated in self._place.counts.items():
            if getattr(plan, name) != stated:
                raise UsageError(
                    f"the plan's {name} is {getattr(plan, name)}, and the address says {stated}", where=self.address
                )
        if plan.precision is None and not self._place.format.tells_skipped:
            raise UsageError(
                "it is not known whether all steps that this log counts are applied",
                where=self.address,
                why=f"{self._place.format.title} does not log which steps a loss scaler skipped, and the plan says no "
                "precision",
                advice="add precision to the plan: bf16 and fp32 need no loss scaler; fp16 has no valid rate here",
            )
        if (self._place.by_command or self._place.awaited) and not plan.command:
            raise UsageError(
                "the plan names no command that could be started and followed",
                where=self.address,
                advice="give the plan a command, or address the log of a running job: log:///path?framework=…",
            )
        return plan

    def _stated_plan(self) -> TrainingPlan:
        counts = self._place.counts
        missing = [name for name in COUNTS[:2] if name not in counts]
        needs_plan = self._place.by_command or self._place.awaited
        if missing or needs_plan:
            raise UsageError(
                "the steps of this log cannot be told in tokens",
                where=self.address,
                why="a command needs a plan" if needs_plan else f"it does not say {', '.join(missing)}",
                advice="log:///path?framework=…&global_batch=…&sequence_length=…",
            )
        return TrainingPlan(
            counts["global_batch"], counts["sequence_length"], warm_up_steps=0, processors=counts.get("processors", 1)
        )


def identity_of(format: Format, address: str, head: str, mark: str) -> Identity:
    """Return who a log is of, as far as it says."""
    build = mark or mark_in(head)
    return Identity("", format.title, "", "", address, {"build": build} if build else {})
