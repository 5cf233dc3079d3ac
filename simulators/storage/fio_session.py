"""One start of simulated fio: from its command line to its exit status, as seen from the outside."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from ..servers.executable import Gone, Invocation, Worker
from ..world.faults import FaultPlan
from . import fio_report as report
from .disk import Disk
from .fio_files import Trouble, lay_out
from .fio_job import Plan
from .fio_options import parse
from .fio_run import Lane, Strikes, prepare
from .fio_values import ENGINES, Mistake

_LOOK = 0.02
"""How often the jobs are looked at, real s."""
_TERMINATED = 128
_USAGE = "fio [options] [job options] <job file(s)>\n"
_CHATTER = "fio: this platform does not support process shared mutexes, forcing use of threads.\n"
_NO_VERIFY = "fio: verification read phase will never start because write phase uses all of runtime\n"
_CAPPED = "note: both iodepth >= 1 and synchronous I/O engine are selected, queue depth will be capped at 1\n"
_ENDING = (signal.SIGINT, signal.SIGTERM)


class Session:
    """What one command line makes of the disk. version: with its mark; filled, page_cache: as of the simulator."""

    def __init__(
        self,
        invocation: Invocation,
        disk: Disk,
        faults: FaultPlan,
        *,
        version: str,
        device: str,
        filled: bool,
        page_cache: float,
        stopping: Callable[[], bool],
    ) -> None:
        self._called, self._disk, self._faults = invocation, disk, faults
        self._version, self._device, self._filled, self._page_cache = version, device, filled, page_cache
        self._stopping = stopping
        self._plan = Plan()
        self._lanes: list[Lane] = []
        self._worker: Worker | None = None
        self._signal = 0
        self._began = disk.world.clock.now()
        self._statistics = disk.statistics
        self._said_eta = -1
        self._dumped = 0
        self._last: tuple[float, list[float]] | None = None

    def run(self) -> int:
        """Do it all; return the exit status. Raises Gone where the program was killed."""
        called = self._called
        try:
            plan = self._plan = parse(
                called.program, called.arguments, called.directory, called.environment, called.standard_input
            )
        except Mistake as mistake:
            called.out(mistake.shown)
            called.err(mistake.said)
            return mistake.status
        if plan.version or plan.help:
            called.out(f"{self._version}\n" + (_USAGE if plan.help else ""))
            return 0
        if plan.engines:
            called.out("Available IO engines:\n" + "".join(f"\t{engine}\n" for engine in ENGINES))
            return 0
        if not plan.jobs:
            called.out("" if plan.files else f"{self._version}\n{_USAGE}")
            called.err("No job(s) defined\n\n")
            return 1
        for warning in plan.warnings:
            called.err(warning)
        if plan.output is not None and (number := called.open_output(plan.output)):
            called.err(f"fio: output file open error: {os.strerror(number)}\n")
            return 1
        for job, filed in plan.announced:
            (called.result if filed else called.out)(report.announced(job, job.group))
        if plan.parse_only:
            return 0
        self._lanes = [Lane(job, index) for job in plan.jobs for index in range(job.number("numjobs", 1))]
        try:
            return self._work()
        finally:
            self._disk.end(*(stage for lane in self._lanes for stage in lane.stages))
            self._clean()
            if self._worker is not None:
                self._worker.end()

    def _work(self) -> int:
        called, plan = self._called, self._plan
        threads = all(lane.job.flag("thread") for lane in self._lanes)
        if "normal" in plan.formats:
            what = "thread" if threads else "process"
            more = "" if len(self._lanes) == 1 else "s" if threads else "es"
            called.result(f"{self._version}\nStarting {len(self._lanes)} {what}{more}\n")
        if not threads:
            self._worker = called.fork()
            self._worker.woken = called.woken
        if plan.output is None:
            for lane in self._lanes:
                if lane.depth == 1 and lane.job.number("iodepth", 1) > 1:
                    called.out(_CAPPED)
        if any(lane.job.text("verify") and lane.job.flag("time_based") and lane.job.reads < 1 for lane in self._lanes):
            called.result(_NO_VERIFY)
        room = self._disk.options.capacity
        for number, lane in enumerate(self._lanes, 1):
            lane.pid = called.pid + number
            room = self._lay_out(lane, room)
        for wave in self._waves():
            if not self._signal:
                self._run(wave)
        if self._faults.strikes("drop") is not None:
            called.die(signal.SIGKILL)
        return self._report()

    def _waves(self) -> Iterator[list[Lane]]:
        """Give the lanes that run together: a job with `stonewall` waits for all before it."""
        number = 0
        waves: list[tuple[int, Lane]] = []
        for lane in self._lanes:
            if lane.index == 0 and waves and (lane.job.flag("stonewall") or lane.job.flag("wait_for_previous")):
                number += 1
            waves.append((number, lane))
        for _, part in groupby(waves, key=lambda pair: pair[0]):
            yield [lane for _, lane in part]

    def _lay_out(self, lane: Lane, room: int | None) -> int | None:
        called = self._called
        try:
            lane.target = lay_out(
                lane.job,
                lane.index,
                called.directory,
                filled=self._filled,
                room=room,
                refuses_direct=lane.job.direct and self._faults.strikes("no_direct") is not None,
            )
        except Trouble as trouble:
            lane.failed, lane.told = trouble.number, trouble.told.rpartition("|")[2]
            called.err(trouble.said)
            line = f"fio: pid=0, err={trouble.number}/{lane.told}\n"
            if "|" in trouble.told:
                called.result(f"fio: {trouble.told.partition('|')[0]}\n")
            called.err(line)
            if self._plan.output is not None:
                called.result(line)
            return room
        if lane.target.laid_out and "normal" in self._plan.formats:
            count = len(lane.target.paths)
            files = f"{count} file{'' if count == 1 else 's'}"
            each = lane.target.size // count >> 20
            called.result(f"{lane.job.name}: Laying out IO file{'' if count == 1 else 's'} ({files} / {each}MiB)\n")
        return None if room is None else room - lane.target.size

    def _run(self, wave: list[Lane]) -> None:
        strikes = Strikes.of(self._faults)
        ready = [lane for lane in wave if not lane.failed]
        self._disk.begin(*(prepare(lane, strikes, self._disk, self._page_cache) for lane in ready))
        clock, called = self._disk.world.clock, self._called
        while True:
            now = self._disk.advance()
            for lane in ready:
                self._tell(lane)
            if all(lane.done for lane in ready):
                return
            self._eta(now, ready)
            self._status(now)
            if self._ended_by_others(ready):
                return
            called.woken.clear()
            if called.signals.empty():
                clock.wait_until(math.inf, cancel=called.woken, limit=_LOOK)

    def _ended_by_others(self, ready: list[Lane]) -> bool:
        """See whether somebody stopped or killed the program or its workers."""
        called = self._called
        if self._stopping():
            raise Gone("the world stops")
        while not called.signals.empty():
            number = called.signals.get()
            if number in _ENDING:
                self._signal = number
                called.result(f"\nfio: terminating on signal {number}\n")
            elif number == getattr(signal, "SIGUSR1", None):
                self._dump()
            else:
                called.die(number)
        if self._signal:
            self._disk.end(*(stage for lane in ready for stage in lane.stages))
            return True
        worker = self._worker
        if worker is None or worker.gone.is_set():
            if called.gone.is_set():
                raise Gone("killed")
            if worker is not None:
                self._disk.end(*(stage for lane in ready for stage in lane.stages))
                for lane in ready:
                    lane.killed = True
                    called.result(f"fio: pid={lane.pid}, got signal=9\n")
                    called.err(f"fio: pid={lane.pid}, got signal=9\n")
                return True
        return False

    def _tell(self, lane: Lane) -> None:
        """Say what a lane met."""
        if lane.reported or not lane.complaint:
            return
        lane.reported = True
        self._say(self._called.err, lane.complaint)
        number = lane.outcome
        if lane.broken is not None and not lane.job.text("verify"):
            lane.told = f"file:io_u.c:1876, func=io_u error, error={os.strerror(number)}"
            if "normal" in self._plan.formats:
                self._say(self._called.result, f"fio: pid={lane.pid}, err={number}/{lane.told}\n")

    @staticmethod
    def _say(how: Callable[[str], None], text: str) -> None:
        """Say it to a program that may be gone while its workers live on."""
        try:
            how(text)
        except Gone:
            return

    def _eta(self, now: float, ready: list[Lane]) -> None:
        plan, called = self._plan, self._called
        if plan.eta == "never" or (plan.eta == "auto" and not called.tty) or called.gone.is_set():
            return
        second = math.floor(now - self._began)
        if second <= self._said_eta:
            return
        self._said_eta = second
        moved = [0.0, 0.0, 0.0, 0.0]
        for lane in ready:
            for stage in lane.stages:
                for index, share in ((0, stage.reads), (1, 1 - stage.reads)):
                    moved[index] += stage.size_now * share
                    moved[index + 2] += stage.size_now * share / stage.block
        rates = None
        if self._last is not None and now > self._last[0]:
            before = self._last[1]
            took = now - self._last[0]
            one, two, three, four = (max(0.0, new - old) / took for new, old in zip(moved, before, strict=True))
            rates = (one, two, three, four)
        self._last = (now, moved)
        whole = sum(
            max(lane.job.seconds("runtime") + lane.job.seconds("ramp_time") for lane in wave) for wave in self._waves()
        )
        timed = all(lane.job.flag("time_based") for lane in self._lanes)
        done = min(1.0, (now - self._began) / whole) if timed and whole else None
        left = max(0.0, whole - (now - self._began)) if timed else 0.0
        newline = plan.eta_newline and second % max(1, round(plan.eta_newline)) == 0 and second
        line = report.progress(ready, rates, done, left) + ("\n" if newline else "\r")
        self._say(called.out, line)

    def _status(self, now: float) -> None:
        every = self._plan.status_interval
        if every and now - self._began >= every * (self._dumped + 1) and not self._called.gone.is_set():
            self._dumped = math.floor((now - self._began) / every)
            self._dump()

    def _dump(self) -> None:
        self._say(self._called.result, self._texts())

    def _texts(self) -> str:
        plan, disk = self._plan, self._disk
        now = disk.advance()
        found = report.entries(self._lanes, now, disk.options)
        since = disk.statistics
        moved = tuple(new - old for new, old in zip(since, self._statistics, strict=True))
        statistics = (moved[0], moved[1], moved[2], moved[3], moved[4])
        elapsed = now - self._began
        text = ""
        for one in plan.formats:
            if one == "normal":
                text += report.as_text(found, self._device, statistics, elapsed)
            else:
                text += report.as_json(
                    plan,
                    found,
                    version=self._version,
                    elapsed=elapsed,
                    eta=0 if elapsed > 2 and not self._signal else None,
                    bins=one == "json+",
                    device=self._device,
                    statistics=statistics,
                )
        return text

    def _report(self) -> int:
        called = self._called
        now = self._disk.advance()
        for number, lane in enumerate(self._lanes, 1):
            for path, text in report.logs(lane, number, called.directory, now, self._disk.options).items():
                _add(path, text, fresh=number == 1 or lane.job.flag("per_job_logs"))
        text = self._texts()
        if self._faults.strikes("chatter") is not None:
            text = _CHATTER + text
        if self._faults.strikes("half_line") is not None:
            text = text[: len(text) // 2]
        if self._faults.strikes("garble") is not None:
            text = "".join(chr(ord(sign) ^ 1) if sign.isdigit() else sign for sign in text).replace(":", ";")
        called.result(text)
        if self._signal:
            return _TERMINATED
        return int(any(lane.outcome and not lane.forgiven for lane in self._lanes))

    def _clean(self) -> None:
        for lane in self._lanes:
            if lane.job.flag("unlink") and lane.target is not None:
                for path in lane.target.paths:
                    path.unlink(missing_ok=True)


def _add(path: Path, text: str, *, fresh: bool) -> None:
    with open(path, "w" if fresh else "a", encoding="ascii") as file:
        file.write(text)
