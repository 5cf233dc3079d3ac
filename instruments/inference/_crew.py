"""The client processes of a measurement: started together, they carry one load after another, and tell all they saw."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aicalib_hw.errors import Aborted, DeadlineExceeded, InstrumentError
from aicalib_hw.trace import Trace
from aicalib_hw.transport.deadline import Deadline
from aicalib_hw.transport.process import Process
from aicalib_hw.transport.work_folder import work_folder

from ._job import CUT, GO, HURRY, STOP, Effort, Job, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ns = NDArray[np.int64]

_PACKAGE = __name__.rpartition(".")[0]
_STARTING = 60.0
"""s in which a client process must have begun."""

_UNTIL_ITS_INPUT_ENDS = "import sys; sys.stdin.read()"

_DECODING = 600.0
"""s in which client processes must have decoded what came."""

_SALVAGING = 0.7
"""s in which client processes must tell what they saw of a load that was given up."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What all client processes have seen of a load, in ns of the host's monotonic clock.

    times, of, joined, stamps: of each text event its arrival, the index of its request, 1 if another event of that
    request came in the same read before it, and the stamp in its text. lag_times, lags: of the loops. gone: why nothing
    more was sent, "" if all went on to the end.
    """

    requests: tuple[Request, ...]
    times: Ns
    of: Ns
    joined: Ns
    stamps: Ns
    lag_times: Ns
    lags: Ns
    efforts: tuple[Effort, ...]
    gone: str = ""
    gone_kind: str = ""
    gone_status: int = 0

    @property
    def cpu_per_event(self) -> float | None:
        """CPU time of the client for one text event while the load ran, s; None if none came."""
        if not len(self.times):
            return None
        return sum(effort.seconds_receiving for effort in self.efforts) / len(self.times)


class Crew:
    """Client processes in a `with`, which ends them and removes what they left, whatever happens.

    They start at once, while other things are prepared, and the same ones carry one load after another: what has
    proved itself is what measures.
    """

    def __init__(self, processes: int, *, trace: Trace | None, aborted: threading.Event) -> None:
        self._count, self._trace, self._aborted = processes, trace, aborted
        self._told = threading.Condition()
        self._states: list[dict[str, Any]] = [{} for _ in range(processes)]
        self._processes: list[Process] = []
        self._keeper: Process | None = None
        self._loads = 0

    def __enter__(self) -> Self:
        self._work = work_folder("inference", whose="the client")
        try:
            root = Path(self._work.name)
            # What clients that have ended left is removed by its guard, should this process be killed before it looks.
            idle = [sys.executable, "-I", "-S", "-c", _UNTIL_ITS_INPUT_ENDS]
            self._keeper = Process(idle, trace=None, guarded=True, remove=str(root)).start()
            for number in range(self._count):
                self._directory(number).mkdir()
                asked = [str(self._directory(number)), str(os.getpid())]
                self._processes.append(run_module("_client", asked, self._trace, self._hear(number)))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def take(self, jobs: Callable[[int, str, str], Job]) -> None:
        """Give each process its share of the next load, once the one before is collected; wait until all are ready.

        jobs: makes the job of process `number` from that number, its directory, and the directory of the signals.
        """
        self._loads += 1
        self._signals = Path(self._work.name) / f"signals-{self._loads}"
        self._signals.mkdir()
        for number, state in enumerate(self._states):
            state.clear()
            for left in self._directory(number).iterdir():  # it is read, and takes room that may be short
                left.unlink()
            jobs(number, str(self._directory(number)), str(self._signals)).write()
        self._until(lambda: all("ready" in state for state in self._states), _STARTING, "begin")

    def go(self) -> int:
        """Let all begin; return the common moment, monotonic ns."""
        begin = time.monotonic_ns() + 20_000_000
        self._signal(GO, str(begin))
        return begin

    def stop(self) -> None:
        """Let no request begin any more; what is under way is waited for."""
        self._signal(STOP, "")

    def cut(self) -> None:
        """Drop what is under way as well."""
        self._signal(CUT, "")

    @property
    def gone(self) -> str:
        """Why a process has stopped sending by itself, "" if none has."""
        return next((str(state["gone"]) for state in self._states if "gone" in state), "")

    def wait_until_warm(self, timeout: float) -> int | None:
        """Return when the last slot had its first answer, monotonic ns; None if that has not come, or never will."""
        try:
            self._until(
                lambda: bool(self.gone) or all("warm" in state or "done" in state for state in self._states),
                timeout,
                "warm up",
            )
        except DeadlineExceeded:
            return None
        if self.gone or not all("warm" in state for state in self._states):
            return None
        return max(int(state["warm"]) for state in self._states)

    def wait_for_first(self, timeout: float) -> None:
        """Wait until something has come; raises DeadlineExceeded. Returns as well where nothing more is sent."""
        self._until(
            lambda: bool(self.gone) or any("first" in state or "done" in state for state in self._states),
            timeout,
            "get an answer",
        )

    def wait(self, seconds: float) -> bool:
        """Let the load run for so long; False if a process has stopped sending by itself before that."""
        deadline = Deadline(seconds)
        while not deadline.expired and not self.gone:
            if self._aborted.wait(min(0.05, deadline.left)):
                raise Aborted("the measurement was aborted")
        return not self.gone

    def collect(self, timeout: float) -> Seen:
        """Wait until all that was under way has ended, and return what was seen; raises DeadlineExceeded, Aborted."""
        self.stop()
        self._until(lambda: all("done" in state for state in self._states), timeout + _DECODING, "tell what they saw")
        return _together([self._directory(number) for number in range(self._count)])

    def salvage(self, seconds: float = _SALVAGING) -> Seen | None:
        """Give a load up and return what was seen of it, as far as its processes tell within so many s; None = nothing.

        Never raises; why stands in `gone`, with how many of the processes have told.
        """
        with contextlib.suppress(Exception):
            self._give_up()
            deadline = Deadline(seconds)
            while not deadline.expired and any(
                one.running and "done" not in state for one, state in zip(self._processes, self._states, strict=True)
            ):
                time.sleep(0.01)
            told = [self._directory(number) for number, state in enumerate(self._states) if "done" in state]
            seen = _together(told) if told else None
            if seen is None or not len(seen.times):
                return None
            missing = "" if len(told) == self._count else f"; only {len(told)} of {self._count} client processes told"
            return replace(seen, gone=f"{seen.gone or 'it was given up'}{missing}")
        return None

    def abort(self) -> None:
        """Drop all that is under way now, and let whoever waits here raise Aborted; never raises."""
        self._aborted.set()
        with contextlib.suppress(OSError, AttributeError):
            self._give_up()

    def require_not_aborted(self) -> None:
        """Raise Aborted once the measurement was aborted."""
        if self._aborted.is_set():
            raise Aborted("the measurement was aborted")

    def _give_up(self) -> None:
        self._signal(HURRY, "")
        self.cut()

    def _directory(self, number: int) -> Path:
        return Path(self._work.name) / f"client-{number}"

    def _hear(self, number: int) -> Callable[[str], None]:
        def hear(line: str) -> None:
            with self._told:
                self._states[number].update(json.loads(line))
                self._told.notify_all()

        return hear

    def _until(self, reached: Callable[[], bool], timeout: float, what: str) -> None:
        deadline = Deadline(timeout)
        while True:
            self.require_not_aborted()
            for dead in (one for one in self._processes if not one.running):  # they go on until they are ended
                raise ended("a client process", dead)
            with self._told:
                if not reached():
                    self._told.wait(min(0.05, deadline.left))
                if reached():
                    return
            if deadline.expired:
                raise DeadlineExceeded(f"the client processes did not {what} within {timeout:g} s")

    def _signal(self, name: str, text: str) -> None:
        draft = self._signals / f".{secrets.token_hex(4)}"
        draft.write_text(text)
        draft.replace(self._signals / name)

    def _end(self) -> None:
        for process in self._processes:
            process.stop(grace=0.0)
        if self._keeper is not None:
            self._keeper.stop(grace=0.0)
        self._work.cleanup()


def run_module(
    name: str, arguments: Sequence[str], trace: Trace | None, on_line: Callable[[str], None] | None
) -> Process:
    """Start `main` of a module of this package as a process of its own, which imports what this process would.

    Its path is that of this process: with -m, a file `random.py` in the working directory would stand in the way.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; from {_PACKAGE}.{name} import main; main(*sys.argv[1:])"
    return Process([sys.executable, "-c", code, *arguments], trace=trace, on_line=on_line).start()


def ended(what: str, process: Process) -> InstrumentError:
    """Return the error for a process of the client that ended before it was to, with its last words."""
    finished = process.wait(1.0)
    last = finished.errors.strip().splitlines()[-1:]
    return InstrumentError(
        f"{what} ended with status {finished.status}", where="the client on this host", why="".join(last)
    )


def _together(directories: Sequence[Path]) -> Seen:
    """Put what the processes left into one; their requests are numbered through."""
    import numpy as np

    requests: list[Request] = []
    efforts: list[Effort] = []
    columns: dict[str, list[Ns]] = {name: [] for name in ("times", "numbers", "joined", "stamps", "lag_times", "lags")}
    gone: tuple[str, str, int] = ("", "", 0)
    for directory in directories:
        said = json.loads((directory / "said.json").read_text(encoding="utf-8"))
        for name, parts in columns.items():
            found = np.fromfile(directory / name, dtype=np.int64)
            parts.append(found + len(requests) if name == "numbers" else found)
        begun = len(requests)
        requests += [Request(**{**one, "number": begun + one["number"]}) for one in said["requests"]]
        efforts.append(Effort(**said["effort"]))
        if said["gone"] and not gone[0]:
            gone = said["gone"], said["gone_kind"], said["gone_status"]
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Seen(
        tuple(requests),
        joined["times"],
        joined["numbers"],
        joined["joined"],
        joined["stamps"],
        joined["lag_times"],
        joined["lags"],
        tuple(efforts),
        *gone,
    )
