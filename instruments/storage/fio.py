"""fio as a tester of storage: what a file on a disk reads and writes past the page cache.

Source: fio(1) and the JSON of fio 3.33. Every measurement is a run of fio of its own on a file that is made here,
filled before anything is read, and removed when the driver is released. The ramp is a run of its own directly
before, so that the kernel's counts of the device enclose what was measured and nothing else. The jobs are threads of
one process, which is ended when this one dies: no worker is left behind. The rate is bytes over time, never a rate
that fio prints. Not covered: client and server, engines that pass through the page cache (mmap), network file systems'
own counters.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from aicalib_hw.errors import (
    ConnectionFailed,
    InstrumentReportedError,
    NotSupported,
    OutOfRange,
    ProtocolError,
)
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import (
    DriverInfo,
    Progress,
    ReleaseReport,
    Setting,
    StorageJob,
    StorageTester,
    StorageTesterCapabilities,
)
from aicalib_hw.readings import Instant, Measurement, Window
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import find_program

from ..bystanders import Bystanders
from . import _fio_job as job_of
from ._existing import held, never_written, require_allowed, require_written, writes, zeros
from ._fio_evaluation import Counted, measurement_of
from ._fio_files import MeasuredFiles
from ._fio_output import breakdowns
from ._fio_program import INSTALL, Ended, FioProgram
from ._left_behind import remove_left_behind
from ._target import Target, counted_for_children, require_direct, target_at

_FILL_BLOCK = 1 << 20
_SLOWEST = 1e6
"""byte/s: a disk that fills a file more slowly than this is taken for one that hangs."""


class Fio(StorageTester):
    """fio on this host, and the directory or file in which it measures.

    address: fio:///path?program=fio&loop=no&overwrite=no&device=…. A path to a directory is measured with a file that
    is made there and removed; an existing file or block device is only read, unless overwrite=yes (a file) or
    overwrite=device (a block device that nobody uses): WRITING DESTROYS ALL THAT IT HOLDS. loop=yes allows a loop
    device, behind which a page cache may stand. device=/sys/block/NAME names the device whose counters are believed,
    and they alone, where the kernel does not tell it by the path. timeout: s for fio to start and end.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="fio",
        role="storage_tester",
        summary="fio, version 3.33 or later",
        manual="fio(1)",
        schemes=("fio",),
        wires=("process",),
        simulator="fio",
        verified="fio 3.33 on Linux, on ext4 over virtio, over a loop device and on one itself",
    )

    def __init__(self, address: str, *, timeout: float = 30.0, trace: Trace | None = None) -> None:
        super().__init__(address)
        self._place = job_of.place_of(address)
        self._program = FioProgram(self._place.program, address, timeout=timeout, trace=trace)
        self._engines: tuple[str, ...] = ()
        self._files = MeasuredFiles()
        self._left_behind = 0

    @property
    def timeout(self) -> float:
        """Seconds for fio to start and end, beside what a run takes."""
        return self._program.timeout

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return the address of this host's directory for large temporary files; raises MissingProgram without fio."""
        find_program("fio", purpose="measuring storage", install=INSTALL)
        return ("fio:///var/tmp",)

    def _connect(self) -> None:
        self._program.find()
        if sys.platform != "linux":
            raise ConnectionFailed("storage is measured under Linux only", where=self.address)
        target = self._target(self._place.path)
        remove_left_behind(Path(tempfile.gettempdir()))
        if target.path.is_dir():
            self._left_behind = remove_left_behind(target.path)
        require_direct(target.path)

    def _opened(self) -> None:
        self._engines = self._program.engines()
        if not self._engines:
            raise NotSupported(
                "this fio has no engine that passes the page cache",
                where=self.address,
                why=f"its --enghelp names none of {', '.join(job_of.ENGINES)}",
                advice=INSTALL,
            )

    def _disconnect(self) -> None:
        self.release()

    def identify(self) -> Identity:
        """Ask fio for its version; raises IdentityMismatch for another program or a version too old."""
        return self._program.identify()

    @property
    def capabilities(self) -> StorageTesterCapabilities:
        """What is offered: five patterns, this fio's engines that pass the page cache, always direct, verification."""
        return StorageTesterCapabilities(
            patterns=("sequential-read", "sequential-write", "random-read", "checkpoint-write", "mixed"),
            engines=self._engines,
            direct=True,
            verify=True,
            notes={"engine": "mmap goes through the page cache even with direct=1, and is refused"},
        )

    def measure_throughput(self, job: StorageJob, *, progress: Progress | None = None) -> Measurement:
        """Run `job` and return bit/s (decimal): 8 × bytes / longest running time, held against the kernel's counts.

        A run that broke off, or was not what was asked for, gives a Measurement that is not valid, says why, and
        keeps what was seen. Raises OutOfRange for what this driver does not measure, NotSupported for a target in
        memory or without O_DIRECT, NotPermitted, ConnectionFailed for a missing path, InstrumentReportedError where fio
        cannot begin; DeadlineExceeded and Aborted, with what was measured until then as their `partial`.
        """
        report = progress or (lambda done, note: None)
        job_of.require_measurable(job)
        if job.engine not in self._engines:
            raise OutOfRange(
                f"this fio has no engine {job.engine}", where=self.address, why=f"it has {', '.join(self._engines)}"
            )
        with self._lock:
            self._program.begin()
            target = self._target(self._path_of(job))
            job_of.require_aligned(job, target.alignment)
            if not target.path.is_dir():
                require_allowed(job, target, overwrite=self._place.overwrite, where=self.address)
                require_direct(target.path)
            try:
                with held(job, target, where=self.address):
                    result = self._measure(job, target, report)
            except BaseException:
                self._files.remove()
                raise
            report(1.0, "done")
            return result

    def snapshot(self) -> Mapping[str, Setting]:
        """Return what the address sets."""
        now = Instant.now()
        settings = {name: getattr(self._place, name) for name in job_of.Place.__slots__}
        return {
            name: Setting(str(value) if isinstance(value, Path) else value, "", now, "driver")
            for name, value in settings.items()
        }

    def abort(self) -> None:
        """End fio now, workers included; from any thread; never raises."""
        self._program.abort()

    def release(self) -> ReleaseReport:
        """End a run and remove the files made here; idempotent; never raises."""
        actions = ["fio stopped"] if self._program.stop() else []
        removed, failures = self._files.remove()
        if removed:
            actions.append("test files removed")
        if self._left_behind:
            actions.append(f"{self._left_behind} test files of programs that have died removed")
            self._left_behind = 0
        return ReleaseReport(tuple(actions), failures)

    def _path_of(self, job: StorageJob) -> Path:
        """Where links lead to now: one that is turned meanwhile, as those in /dev/disk are, leads fio nowhere else."""
        top = self._place.path.resolve()
        path = (top / job.path).resolve() if job.path else top
        if not path.is_relative_to(top):
            raise OutOfRange(f"{job.path} is not under {top}", where=self.address)
        return path

    def _target(self, path: Path) -> Target:
        return target_at(path, loop=self._place.loop, device=self._place.device)

    def _measure(self, job: StorageJob, target: Target, report: Progress) -> Measurement:
        made_here = target.path.is_dir()
        checkpoint = job.pattern == "checkpoint-write"
        if made_here and not job.precondition and not checkpoint:
            raise OutOfRange(
                "a file that was just made has to be filled before it is measured",
                where=self.address,
                why=f"{target.path} is a directory, and precondition=False",
                advice="let it be filled, or name an existing file or block device, which is only read",
            )
        place = self._files.options(job, target, fresh=checkpoint)
        if not made_here and not writes(job):
            place.append("--readonly")
        if not checkpoint:
            self._fill(job, target, place, report)
            if job.ramp:
                ramp = [*place, *job_of.pattern_options(job, job.ramp)]
                self._run(job, target, ramp, job.ramp, _part(report, 0.3, 0.4, "ramp"))
        unmeasured: tuple[str, ...] = ()
        if not made_here:
            require_written(target.path)
        if not made_here and not job.precondition and "write" not in job.pattern:
            unmeasured = never_written(zeros(target.path, job.size))
        others = None if self.identity.simulated else Bystanders(interrupts=False)
        before, own_before, began = target.count(), counted_for_children(), Instant.now()
        expected = job.size / _SLOWEST if checkpoint else job.duration
        options = [*place, *job_of.pattern_options(job, job.duration)]
        ended = self._program.run(
            job, options, expected, directory=_directory(target), report=_part(report, 0.4, 0.9, job.pattern)
        )
        stopped, after, own_after = Instant.now(), target.count(), counted_for_children()
        by_others = None if others is None else others.share()
        device = None if before is None or after is None else after.since(before)
        gone = before is not None and after is None
        window = Window(began, stopped, "whole checkpoint" if checkpoint else f"{job.duration:g} s of {job.jobs} jobs")
        if job.verify and ended.error is None and not breakdowns(ended.said):
            unmeasured += self._verify(job, target, place, _part(report, 0.9, 1.0, "verifying"))
        if checkpoint:
            self._files.remove()
        counted = Counted(device, None if target.named else own_after.since(own_before), vanished=gone, held=by_others)
        measured = measurement_of(job, target, ended, window, counted, identity=self.identity, reasons=unmeasured)
        if ended.error is not None:
            raise ended.error.with_partial(measured)
        return measured

    def _fill(self, job: StorageJob, target: Target, place: Sequence[str], report: Progress) -> None:
        """Write every block once, so that nothing that is read was never written; once for files of one shape."""
        if not job.precondition or self._files.filled(job, target):
            return
        # fio leaves out what does not fill a block, so the block divides what each job writes.
        options = ["--rw=write", f"--bs={math.gcd(_FILL_BLOCK, job.size // job.jobs)}", "--end_fsync=1"]
        note = _part(report, 0.0, 0.3, "filling the file")
        said = self._run(job, target, [*place, *options], job.size / _SLOWEST, note).said
        broken = breakdowns(said)
        if broken or said.moved != job.size:
            number = next((int(one["error"]) for one in said.jobs if one["error"]), said.status)
            if not number:
                raise ProtocolError(
                    "fio did not tell that it has filled the file", where=str(target.path), why="; ".join(broken)
                )
            raise InstrumentReportedError(
                number,
                "; ".join(broken),
                "filling the file",
                where=str(target.path),
                why=f"{said.moved} of {job.size} bytes were written",
                advice="look at free space, permissions and the kernel's log"
                if said.moved
                else "look at permissions, whether O_DIRECT is taken, or choose another engine than "
                f"{job.engine}: {', '.join(self._engines)}",
            )
        self._files.note_filled(job, target)

    def _verify(self, job: StorageJob, target: Target, place: Sequence[str], report: Progress) -> tuple[str, ...]:
        options = ["--rw=write", f"--bs={job.block_size}", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1"]
        options += ["--verify_state_save=0"]
        ended = self._run(job, target, [*place, *options], 2 * job.size / _SLOWEST, report)
        return tuple(f"verification: {one}" for one in breakdowns(ended.said))

    def _run(self, job: StorageJob, target: Target, options: Sequence[str], expected: float, report: Progress) -> Ended:
        """Run fio beside the measurement itself; what ends it by force is raised."""
        ended = self._program.run(job, options, expected, directory=_directory(target), report=report)
        if ended.error is not None:
            raise ended.error
        return ended


def _directory(target: Target) -> Path:
    return target.path if target.path.is_dir() else target.path.parent


def _part(report: Progress, start: float, stop: float, note: str) -> Progress:
    """Return a progress that runs from `start` to `stop` of the whole, under one note."""
    report(start, note)

    return lambda done, _: report(start + (stop - start) * done, note)
