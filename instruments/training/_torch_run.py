"""The processes of one training run: started under a guard, asked for windows, and ended with all their files."""

from __future__ import annotations

import json
import queue
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aicalib_hw.errors import Aborted, ConnectionLost, DeadlineExceeded, ProtocolError
from aicalib_hw.interfaces import TrainingPlan
from aicalib_hw.readings import Instant
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import Process
from aicalib_hw.transport.work_folder import work_folder

from ._torch_address import Shape

_MARK = "@training "
_WORKER = Path(__file__).with_name("_torch_worker.py")
_LOOK_EVERY = 0.05
_KEPT = 3
_ERROR = re.compile(r"\b\w+(?:Error|Exception): ")


class TorchRun:
    """Processes that train by `plan` as `shape` says. ready: what they said of themselves; done: steps so far."""

    def __init__(self, shape: Shape, plan: TrainingPlan, trace: Trace | None) -> None:
        self.ready: Mapping[str, Any] = {}
        self.done = 0
        self._configuration = shape.configuration(plan)
        self._shape = shape
        self._trace = trace
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._others: list[str] = []
        self._error = ""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: Process | None = None

    def same_as(self, plan: TrainingPlan) -> bool:
        """True if these processes train by such a plan, and still do."""
        running = self._process is not None and self._process.running
        return running and self._configuration == self._shape.configuration(plan)

    def start(self) -> None:
        """Start torchrun, or one process alone; raises ConnectionFailed where its files cannot be written."""
        self._folder = work_folder("torch", whose="the training run")
        command = [self._shape.python]
        if not self._shape.alone:
            command += ["-m", "torch.distributed.run", "--standalone"]
            command += [f"--nproc-per-node={self._shape.processes}", f"--log-dir={self._folder.name}"]
        command += [str(_WORKER), json.dumps(self._configuration)]
        self._process = Process(
            command, trace=self._trace, on_line=self._take, merged=True, guarded=True, remove=self._folder.name
        )
        self._process.start()

    def ask(self, warm_up: int, steps: int) -> None:
        """Ask for a window of `steps` after `warm_up` steps; raises ConnectionLost."""
        if self._process is None:
            raise ConnectionLost("the training run was not started")
        self._process.send(json.dumps({"warm_up": warm_up, "steps": steps}))

    def lines(
        self, aborted: threading.Event, timeout: float, *, until: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield what rank 0 tells, with its time of arrival as "here", until a monotonic time in s.

        Raises DeadlineExceeded where it tells nothing for `timeout` s, ConnectionLost where it ends, Aborted.
        """
        heard = time.monotonic()
        while until is None or time.monotonic() < until:
            if aborted.is_set():
                raise Aborted("the training run was aborted")
            ended = self._process is None or not self._process.running
            try:
                said = self._said.get(timeout=0.0 if ended else _LOOK_EVERY)
            except queue.Empty:
                if ended:
                    raise self._over(aborted) from None
                if time.monotonic() - heard > timeout:
                    raise DeadlineExceeded(
                        f"the training run told of no step for {timeout:g} s", why=self._last_words()
                    ) from None
                continue
            heard = time.monotonic()
            if said["kind"] == "ready":
                self.ready = said
            elif said["kind"] == "step":
                self.done = said["step"]
            elif said["kind"] == "unreadable":
                raise ProtocolError("a line of the training run cannot be read", why=said["text"])
            yield said

    def abort(self) -> None:
        """End the processes now; from any thread; never raises."""
        if self._process is not None:
            self._process.abort()

    def stop(self) -> bool:
        """End the processes and remove their files; True if they were running; never raises."""
        running = self._process is not None and self._process.running
        if self._process is not None:
            self._process.stop(grace=0.0)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        return running

    def _take(self, line: str) -> None:
        here = Instant.now()
        _before, mark, text = line.partition(_MARK)
        if not mark:
            self._others = [*self._others, line.strip()][-_KEPT:] if line.strip() else self._others
            self._error = self._error or (line.strip() if _ERROR.search(line) else "")
            return
        try:
            said = json.loads(text)
            kind = said["kind"]
        except (ValueError, TypeError, KeyError):
            said, kind = {"text": line[:200]}, "unreadable"
        self._said.put({**said, "kind": kind, "here": here})

    def _over(self, aborted: threading.Event) -> Exception:
        if self._process is None or aborted.is_set():
            return Aborted("the training run was aborted")
        ended = self._process.wait(1.0)
        how = f"by signal {-ended.status}" if ended.status < 0 else f"with status {ended.status}"
        return ConnectionLost(
            f"the training run ended {how} after {self.done} steps",
            where=self._shape.python,
            why=self._last_words(),
            advice="the trace holds all that it wrote",
        )

    def _last_words(self) -> str:
        """The error of the first process that failed, else what was written last."""
        return self._error or " / ".join(self._others) or "it wrote nothing"
