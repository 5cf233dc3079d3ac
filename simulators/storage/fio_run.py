"""The jobs of simulated fio on the disk, in world time: what each of them moves, and what fio counts of it.

A job first moves what it was asked to, then flushes it or reads it back to verify it, where it was asked to. Counting
begins anew when `ramp_time` is over, and not at all where the job ends before: its numbers are then those without a
ramp. Errors end a job where they occur, with what was counted until then.
"""

from __future__ import annotations

import errno
import math
import os
from dataclasses import dataclass, field
from itertools import pairwise

from ..world.faults import FaultPlan
from .disk import Disk, DiskOptions, Transfer
from .fio_files import Target
from .fio_job import Job
from .fio_statistics import Flow, Latencies, depth_levels, latencies
from .fio_values import size_of

SAMPLE = 0.5
"""Interval of fio's own samples of the rate, s."""
_FSYNC = 110e-6
"""How long a flush of an idle disk takes, s."""
_LAST_FSYNC = 1e-3
_SUBMIT = 2000.0
"""Mean time to submit one I/O to an asynchronous engine, ns."""
_SPREAD = 0.22
"""Standard deviation of the logarithm of latencies."""
_AHEAD = 4 << 20
"""How far the kernel reads ahead, and writes behind, bytes."""
_USER, _SYSTEM = 1.5e-6, 4e-6
"""CPU time of one I/O, s."""
_COPY = 2.5e10
"""Rate at which the kernel handles pages, byte/s."""


@dataclass(frozen=True)
class Broken:
    """An error that a job meets after it has moved so many bytes. fatal: it ends there."""

    number: int
    after: float
    fatal: bool = True


@dataclass
class Counted:
    """What fio counts of one job. error: an errno; total, first: errors that it went on after, None = it may not."""

    read: Flow
    write: Flow
    runtime: int
    syncs: Latencies
    levels: dict[str, float]
    error: int = 0
    total: int | None = None
    first: int = 0
    cpu: tuple[float, float] = (0.0, 0.0)

    @property
    def ios(self) -> int:
        """Number of I/O."""
        return self.read.ios + self.write.ios


@dataclass
class Lane:
    """One of the `numjobs` of a job. failed: the errno that kept it from its work, 0 = none; killed: by somebody."""

    job: Job
    index: int
    pid: int = 0
    target: Target | None = None
    failed: int = 0
    told: str = ""
    killed: bool = False
    shallow: bool = False
    short: int = 0
    broken: Broken | None = None
    main: Transfer | None = None
    flush: Transfer | None = None
    check: Transfer | None = None
    reported: bool = False

    @property
    def depth(self) -> int:
        """How many I/O are under way at once."""
        return 1 if self.shallow else self.job.depth

    @property
    def blocks(self) -> tuple[int, int]:
        """Block sizes of reads and writes, bytes."""
        return self.job.sizes("bs", 4096)

    @property
    def block(self) -> int:
        """Mean block size, bytes."""
        read, write = self.blocks
        return round(read * self.job.reads + write * (1 - self.job.reads))

    @property
    def stages(self) -> list[Transfer]:
        """What has begun, in this order."""
        return [one for one in (self.main, self.flush, self.check) if one is not None and one.marks]

    @property
    def done(self) -> bool:
        """Whether all of it has ended."""
        return self.failed != 0 or self.killed or self.main is None or (self.ended is not None)

    @property
    def ended(self) -> float | None:
        """World time at which it ended, None: not yet."""
        stages = self.stages
        return stages[-1].ended if stages and stages[-1].then is None else None

    @property
    def struck(self) -> bool:
        """Whether it has met its error."""
        verifying = self.main if self.job.reads == 1 or self.broken is None or not self._verifies else self.check
        return (
            self.broken is not None
            and verifying is not None
            and bool(verifying.marks)
            and verifying.size_now >= self.broken.after - 1e-3
        )

    @property
    def _verifies(self) -> bool:
        return self.broken is not None and self.broken.number == errno.EILSEQ

    @property
    def complaint(self) -> str:
        """What fio says on standard error of the error that it met, "" where there was none."""
        if self.broken is None or self.target is None or not self.struck:
            return ""
        path = self.target.paths[0]
        name = os.path.relpath(path) if self.job.text("filename") == str(path) else self.job.text("filename") or path
        block = self.blocks[0 if self.job.reads > 0.5 or self._verifies else 1]
        offset = int((self.broken.after - block * self._verifies) // block * block) % max(self.target.size, 1)
        if self._verifies:
            asked = f"(requested block: offset={offset}, length={block}, flags=8)"
            return (
                f"{self.job.text('verify')}: verify failed at file {name} offset {offset}, length {block} {asked}\n"
                "       Expected CRC: 218ea4df\n       Received CRC: 97fb43ff\n"
            )
        direction = "read" if self.job.reads > 0.5 else "write"
        text = os.strerror(self.broken.number)
        return f"fio: io_u error on file {name}: {text}: {direction} offset={offset}, buflen={block}\n"

    @property
    def outcome(self) -> int:
        """The errno with which it ends, 0 = none."""
        return self.failed or (self.broken.number if self.broken is not None and self.struck else 0)

    @property
    def forgiven(self) -> bool:
        """Whether it was told to go on after this error, and so exits with status 0."""
        told = self.job.text("continue_on_error", "none")
        kind = "verify" if self._verifies else "read" if self.job.reads > 0.5 else "write"
        return self.broken is not None and told in ("all", "1", kind, *(["io"] if kind != "verify" else []))

    def counted(self, now: float, options: DiskOptions) -> Counted:
        """Return what is counted until world time `now`."""
        read, write = Flow(block=self.blocks[0]), Flow(block=self.blocks[1])
        main = self.main
        if main is None or not main.marks or self.killed:
            return Counted(read, write, 0, Latencies(), depth_levels(1, 0, False), self.failed)
        start, stop = main.began, min(now, main.ended if main.ended is not None else now)
        ramp = self.job.seconds("ramp_time")
        ramped = ramp > 0 and stop > start + ramp
        start += ramp if ramped else 0.0
        last = self.flush if self.flush is not None and self.flush.marks else main
        flushed = max(stop, min(now, last.ended if last.ended is not None else now))
        for flow, share in ((read, self.job.reads), (write, 1 - self.job.reads)):
            if share:
                self._count(flow, main, share, start, stop, flushed if flow is write else stop, options)
        runtime = round((flushed - start) * 1e3)
        if self.check is not None and self.check.marks:
            until = min(now, self.check.ended if self.check.ended is not None else now)
            checked = Flow(block=self.blocks[0])
            self._count(checked, self.check, 1.0, self.check.began, until, until, options)
            read = read + checked
            runtime += round((until - self.check.began) * 1e3)
        read.short = write.short = 0
        (read if read.ios >= write.ios else write).short = self.short
        every = self.job.number("fsync") or self.job.number("fdatasync")
        syncs = latencies((write.ios - 1) // every, _FSYNC * 1e9, _SPREAD) if every and write.ios else Latencies()
        ios = read.ios + write.ios
        took = max(runtime / 1e3, 1e-3)
        copied = (read.size + write.size) / _COPY
        cpu = (min(60.0, 100 * ios * _USER / took), min(40.0, 100 * (ios * _SYSTEM + copied) / took))
        levels = depth_levels(self.depth, ios, ramped)
        counted = Counted(read, write, runtime, syncs, levels, self.outcome, cpu=cpu)
        if self.job.text("continue_on_error", "none") not in ("none", "0"):
            counted.total, counted.first = (1, self.outcome) if self.struck else (0, 0)
        return counted

    def _count(
        self,
        flow: Flow,
        transfer: Transfer,
        share: float,
        start: float,
        stop: float,
        until: float,
        options: DiskOptions,
    ) -> None:
        """Count what a transfer moved in one direction; `until`: when its runtime ends, as a flush may follow."""

        def blocks(moment: float) -> int:
            return math.floor((transfer.total(moment) * share + 1e-3) / flow.block)

        flow.ios = blocks(stop) - blocks(start)
        flow.size = flow.ios * flow.block
        took = stop - start
        flow.runtime = max(1, round((until - start) * 1e3)) if flow.ios else 0
        if not flow.ios or took <= 0:
            return
        alone = options.latency + flow.block / (options.read if share == 1 else options.write)
        queued = self.depth * self.block * took / max(transfer.total(stop) - transfer.total(start), 1.0)
        limited = transfer.limit is not None and queued > alone * 1.05
        whole = (min(alone, queued) if limited else queued) * 1e9
        submit = min(_SUBMIT, whole / 4) if self.depth > 1 or self.job.text("ioengine") == "libaio" else 0.0
        flow.submit = latencies(flow.ios, submit, _SPREAD)
        flow.complete = latencies(flow.ios, whole - submit, _SPREAD)
        flow.whole = latencies(flow.ios, whole, _SPREAD)
        flow.samples = [self.rates(transfer, share, start, stop, SAMPLE)]

    @staticmethod
    def rates(transfer: Transfer, share: float, start: float, stop: float, every: float) -> list[float]:
        """Return the mean rate of each whole interval, KiB/s."""
        count = math.floor((stop - start) / every + 1e-6)
        sizes = [transfer.total(start + step * every) * share for step in range(count + 1)]
        return [(after - before) / every / 1024 for before, after in pairwise(sizes)]


@dataclass
class Strikes:
    """What faults do to the jobs that begin now."""

    broken: Broken | None = None
    corrupt: float | None = None
    shallow: bool = False
    short: int = 0
    overrun: float = 0.0
    full: bool = field(default=False)

    @classmethod
    def of(cls, faults: FaultPlan) -> Strikes:
        """Ask the fault plan."""
        made = cls()
        if (full := faults.strikes("full")) is not None:
            made.broken, made.full = Broken(errno.ENOSPC, full.amount), True
        if (failing := faults.strikes("io_error")) is not None:
            made.broken = Broken(errno.EIO, failing.amount)
        if (corrupt := faults.strikes("corrupt")) is not None:
            made.corrupt = corrupt.amount
        made.shallow = faults.strikes("shallow") is not None
        if (short := faults.strikes("short_io")) is not None:
            made.short = round(short.amount)
        if (overrun := faults.strikes("overrun")) is not None:
            made.overrun = overrun.amount
        return made


def prepare(lane: Lane, strikes: Strikes, disk: Disk, page_cache: float) -> Transfer:
    """Return what a lane moves first; what follows follows by itself. page_cache: bytes of writes memory takes."""
    job, target = lane.job, lane.target
    assert target is not None
    lane.shallow, lane.short = strikes.shallow, strikes.short
    writes = job.reads < 1
    verified = bool(job.text("verify")) and (job.reads == 1 or job.flag("do_verify"))
    reads_back = verified and writes
    if strikes.broken is not None and (writes or not strikes.full):
        lane.broken = strikes.broken
    elif strikes.corrupt is not None and verified:
        block = lane.blocks[0]
        after = (math.floor(strikes.corrupt / block) + 1) * block
        lane.broken = Broken(errno.EILSEQ, after, job.flag("verify_fatal"))
    runtime, ramp = job.seconds("runtime"), job.seconds("ramp_time")
    timed = job.flag("time_based") and runtime > 0
    seconds = None
    if runtime:
        # A verifying pass shares the time of a timed job with the pass that writes.
        seconds = (ramp + runtime) / (2 if reads_back and timed else 1) + strikes.overrun
    whole = size_of(job.text("io_size")) if job.text("io_size") else target.size * job.number("loops", 1)
    if job.number("number_ios"):
        whole = min(whole, job.number("number_ios") * lane.block)
    lane.main = Transfer(
        block=lane.block,
        depth=lane.depth if _direct(job) else max(lane.depth, _AHEAD // lane.block),
        reads=job.reads,
        size=None if timed else float(whole // lane.block * lane.block),
        seconds=seconds,
        limit=_limit(lane, disk.options),
        memory=_memory(lane, page_cache),
    )
    if lane.broken is not None and lane.broken.fatal and not reads_back:
        lane.main.size = min(lane.broken.after, lane.main.size or math.inf)
    lane.main.then = lambda main: _flush(lane, main, reads_back, seconds if timed else None)
    return lane.main


def _flush(lane: Lane, main: Transfer, reads_back: bool, seconds: float | None) -> Transfer | None:
    if lane.broken is not None and lane.broken.fatal and lane.struck:
        return None
    if not lane.job.flag("end_fsync") or lane.job.reads == 1:
        return _check(lane, reads_back, seconds)
    dirty = min(main.size_now, main.memory[1] - main.memory[0]) * (1 - lane.job.reads)
    if dirty > 0:
        lane.flush = Transfer(block=1 << 20, depth=32, reads=0.0, size=dirty)
    else:
        lane.flush = Transfer(block=1, size=1.0, limit=1 / _LAST_FSYNC, memory=(0.0, math.inf))
    lane.flush.then = lambda _: _check(lane, reads_back, seconds)
    return lane.flush


def _check(lane: Lane, reads_back: bool, seconds: float | None) -> Transfer | None:
    if not reads_back or lane.main is None or lane.target is None:
        return None
    size = min(lane.main.size_now, float(lane.target.size))
    if lane.broken is not None and lane.broken.fatal:
        size = min(size, lane.broken.after)
    lane.check = Transfer(
        block=lane.blocks[0], depth=lane.depth, size=None if seconds else size, seconds=seconds, limit=lane.main.limit
    )
    return lane.check


def _limit(lane: Lane, options: DiskOptions) -> float | None:
    """Return the rate that a job asks for at most, byte/s."""
    job = lane.job
    read, write = job.sizes("rate")
    limits: list[float] = [rate for rate in (read * (job.reads > 0), write * (job.reads < 1)) if rate]
    if job.number("rate_iops"):
        limits.append(float(job.number("rate_iops") * lane.block))
    every = job.number("fsync") or job.number("fdatasync")
    if every and job.reads < 1:
        limits.append(every * lane.block / (every * lane.block / options.write + _FSYNC))
    return min(limits, default=None)


def _direct(job: Job) -> bool:
    """Whether I/O passes the page cache by: `mmap` takes `direct` and does not."""
    return job.direct and job.text("ioengine") != "mmap"


def _memory(lane: Lane, page_cache: float) -> tuple[float, float]:
    """Return which of the bytes of a job never reach the disk."""
    job, target = lane.job, lane.target
    assert target is not None
    if job.text("ioengine") == "null" or target.in_memory or (target.holes and job.reads == 1):
        return 0.0, math.inf
    if _direct(job):
        return 0.0, 0.0
    if job.reads < 1:
        return 0.0, page_cache
    # What has been read once stays in the page cache, and is there from the beginning where nobody drops it.
    return (float(target.size) if job.flag("invalidate") and job.text("ioengine") != "mmap" else 0.0), math.inf
