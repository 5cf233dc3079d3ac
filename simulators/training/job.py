"""Simulated training job: the log of a real framework grows in a file, line by line, at known times.

From software_standards.md section C. `framework` chooses whose log it is: "megatron" or "mindspeed" (one format),
"torchtitan", "deepspeed", "nanogpt", or "huggingface", the Trainer's. The address is `log://PATH?framework=NAME`
and, unless `tells = false`, what a log may not tell: `global_batch`, `sequence_length` and `processors`, the devices.

The mark: logs have no serial number. The first line of every file, also of one that a rotation begins, reads
`version: SIM… (simulated training job)`; torchtitan and DeepSpeed show the same version where they show theirs.

Training loads the world's platform with `load`, an evaluation with half of it, a checkpoint with a tenth. A hot
platform lowers its clock and other work takes its share: steps take longer. Times are of world time; processes of the
job log what this host's clock shows.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..world import World
from ..world.faults import Fault, FaultPlan
from .deepspeed import DeepSpeed
from .framework import Facts, Framework
from .huggingface import HuggingFace
from .logfile import LogFile
from .megatron import Megatron
from .nanogpt import NanoGPT
from .schedule import Event, Job, PauseKind, Step
from .torchtitan import Torchtitan
from .truth import StepTruth, TrainingTruth

_FRAMEWORKS: dict[str, type[Framework]] = {
    **{kind.name: kind for kind in (Megatron, Torchtitan, DeepSpeed, NanoGPT, HuggingFace)},
    "mindspeed": Megatron,
}
_SHARES = {"training": 1.0, "evaluation": 0.5, "checkpoint": 0.1}
"""Of the load, by what the job is doing; nothing otherwise."""


class Options(BaseModel):
    """`options` of the simulated job. Times in s of world time, lengths in tokens, batches in sequences.

    path: of the log, appended to; None = in a folder of its own that goes when the job is stopped. tells: whether the
    address tells the batch, the sequence length and the devices. steps: of the whole job. step_time: of one step at
    the nominal clock, with relative noise step_noise; data_time: between steps. The first warm_up_steps of a start
    begin warm_up_factor times as long. start_time: until the first step begins. evaluate_every, checkpoint_every:
    steps, 0 = never. devices, model_parallel: of how many, and over how many one copy of the model is spread.
    parameters, layers, width: of the model; device_peak: FLOP/s; device_power: W.
    style: of some frameworks, see their modules. throughput, energy: more fields (megatron); colours, mfu (torchtitan);
    tokens_seen, progress_bar (huggingface).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    framework: Literal["megatron", "mindspeed", "torchtitan", "deepspeed", "nanogpt", "huggingface"] = "megatron"
    version: str = Field(default="SIM1.0.0", pattern="^SIM")
    path: Path | None = None
    tells: bool = True
    steps: int = Field(default=100_000, ge=1)
    global_batch: int = Field(default=16, ge=1)
    micro_batch: int = Field(default=2, ge=1)
    sequence_length: int = Field(default=4096, ge=1)
    devices: int = Field(default=8, ge=1)
    model_parallel: int = Field(default=1, ge=1)
    log_interval: int = Field(default=1, ge=1)
    step_time: float = Field(default=1.0, gt=0)
    step_noise: float = Field(default=0.01, ge=0, lt=0.2)
    data_time: float = Field(default=0.0, ge=0)
    start_time: float = Field(default=0.0, ge=0)
    warm_up_steps: int = Field(default=5, ge=0)
    warm_up_factor: float = Field(default=8.0, ge=1)
    evaluate_every: int = Field(default=0, ge=0)
    evaluate_time: float = Field(default=2.0, ge=0)
    checkpoint_every: int = Field(default=0, ge=0)
    checkpoint_time: float = Field(default=3.0, ge=0)
    load: float = Field(default=0.95, ge=0, le=1)
    follows_platform: bool = True
    model: str = "simulated 8B"
    parameters: float = Field(default=8.03e9, gt=0)
    layers: int = Field(default=32, ge=1)
    width: int = Field(default=4096, ge=1)
    device_peak: float = Field(default=989e12, gt=0)
    device_power: float = Field(default=690.0, gt=0)
    style: Literal["plain", "old", "fork", "primus"] = "plain"
    throughput: bool = True
    energy: bool = False
    colours: bool = True
    mfu: bool = True
    tokens_seen: bool = True
    progress_bar: bool = True

    @property
    def accumulation(self) -> int:
        """Micro batches of one device in a step."""
        return self.global_batch // (self.micro_batch * (self.devices // self.model_parallel))

    @property
    def pauses(self) -> tuple[PauseKind, ...]:
        """Evaluations and checkpoints in the order in which the framework makes them after a step."""
        return ("checkpoint", "evaluation") if self.framework == "torchtitan" else ("evaluation", "checkpoint")

    @model_validator(mode="after")
    def _divisible(self) -> Options:
        if self.devices % self.model_parallel:
            raise ValueError("devices must be a multiple of model_parallel")
        if self.global_batch % (self.micro_batch * (self.devices // self.model_parallel)):
            raise ValueError("global_batch must be a multiple of micro_batch times the copies of the model")
        return self


class SimulatedTrainingJob:
    """The job, in the shape that the registry expects. `stop` ends it; a folder that it made goes with it."""

    simulates: ClassVar[str] = "log"
    wires: ClassVar[tuple[str, ...]] = ("file",)
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name = name
        self.world = world
        self.options = Options.model_validate(options)
        self.faults = FaultPlan(world.seed)
        self.truth = TrainingTruth(self._steps, world.truth, world.clock.rate)
        self._job: Job | None = None
        self.exchanges: list[tuple[str, bytes]] = []
        self.address = ""
        self.addresses: dict[str, str] = {}
        self.path = Path()
        self._source = f"training job {name}"
        self._folder: str | None = None
        self._log: LogFile | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()
        self._dead = False
        world.clock.when_advanced(self._make)

    @property
    def identity_serial(self) -> str:
        """What bears the mark: a log has no serial number, its first line tells a version that begins with SIM."""
        return self.options.version

    @property
    def finished(self) -> bool:
        """True once all steps are made or the job has died."""
        return self._dead or (self._job is not None and self._job.moment is None)

    def start(self) -> str:
        """Begin the job and its log; return the address for a driver. Idempotent."""
        if self._log is None:
            if self.options.path is None:
                self._folder = tempfile.mkdtemp(prefix="aicalib-training-")
            self.path = (self.options.path or Path(self._folder or "") / f"{self.options.framework}.log").absolute()
            clock = self.world.clock
            self._dead = False
            self._job = Job(self.options, self.world.seed, self._strikes, self._pace, clock.now())
            since_zero = timedelta(seconds=clock.now() / (clock.rate or 1.0))
            self._facts = Facts(self.options, clock.rate, datetime.now() - since_zero)
            self._framework = _FRAMEWORKS[self.options.framework](self._facts)
            head = f"version: {self.options.version} (simulated training job)"
            self._log = LogFile(self.path, head, self.options.devices, self._strikes)
            query: dict[str, Any] = {"framework": self.options.framework}
            if self.options.tells:
                query["global_batch"], query["processors"] = self.options.global_batch, self.options.devices
                query["sequence_length"] = self.options.sequence_length
            self.address = f"log://{quote(str(self.path))}?{urlencode(query)}"
            self.addresses = {"file": self.address}
            self._ended.clear()
            self._make()
            if clock.rate:
                self._thread = threading.Thread(target=self._follow, name="simulated-training", daemon=True)
                self._thread.start()
        return self.address

    def stop(self) -> None:
        """End the job where it is; idempotent. The truth stays; a log in a folder of its own goes."""
        self.world.clock.cancel(self._ended)
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None
        with self._guard:
            if self._log is not None:
                self._log.close()
                self._log = None
        self.world.platform.demand(self._source, 0.0)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `logfile.py`."""
        self.faults.inject(fault)

    def _strikes(self, kind: Any) -> Fault | None:
        return self.faults.strikes(kind)

    def _pace(self) -> float:
        platform = self.world.platform
        if not self.options.follows_platform:
            return 1.0
        left = max(0.5, 1 - platform.load_beside(self._source)) if self.options.load else 1.0
        return platform.clock_limit / platform.settings.clock_full * min(1.0, left / max(self.options.load, 0.5))

    def _follow(self) -> None:
        while not self._ended.is_set():
            moment = self._job.moment if self._job is not None else None
            if moment is None or self._dead:
                return
            if self.world.clock.wait_until(moment, cancel=self._ended):
                self._make()

    def _make(self) -> None:
        """Do all that is due by now."""
        with self._guard:
            job, log = self._job, self._log
            if job is None or log is None:
                return
            while not self._dead and (moment := job.moment) is not None and moment <= self.world.clock.now():
                event = job.take()
                self._facts.consumed = job.consumed
                self._tell(event, log)
            share = 0.0 if self._dead else _SHARES.get(job.activity, 0.0)
            self.world.platform.demand(self._source, share * self.options.load)

    def _tell(self, event: Event, log: LogFile) -> None:
        facts = self._facts
        if isinstance(event, Step):
            stepped, wrong = self._strikes("clock_step"), self._strikes("gain")
            facts.shift += stepped.amount if stepped is not None else 0.0
            facts.scale *= wrong.amount if wrong is not None else 1.0
            self._dead = self._strikes("dies") is not None
        if not self._dead:
            lines = list(self._framework.lines(event))
            log.write(lines)
            self.exchanges.extend(("<", line.encode()) for line in lines)
            del self.exchanges[:-2000]

    def _steps(self) -> tuple[StepTruth, ...]:
        with self._guard:
            return tuple(map(self._told, self._job.steps)) if self._job is not None else ()

    def _told(self, step: Step) -> StepTruth:
        clock = self.world.clock
        moment = clock.origin + step.ended / clock.rate if clock.rate else step.ended
        return StepTruth(
            step.number,
            step.start,
            step.tokens,
            step.began,
            step.ended,
            round(moment * 1e9),
            step.applied,
            step.lost,
            step.finite,
        )
