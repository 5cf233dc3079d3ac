"""fio as a tester of storage: what a file on a disk reads and writes past the page cache.

Source: fio(1) and the JSON of fio 3.33. Every measurement is a run of fio of its own on a file that is made here,
filled before anything is read, and removed when the driver is released. The ramp is a run of its own directly
before, so that the kernel's counts of the device enclose what was measured and nothing else. The jobs are threads of
one process: ended, it leaves no worker behind. The rate is bytes over time, never a rate that fio prints. Not covered:
client and server, engines that pass through the page cache (mmap), network file systems' own counters.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from aicalib_hw.errors import (
    Aborted,
    ConnectionFailed,
    IdentityMismatch,
    InstrumentReportedError,
    NotPermitted,
    OutOfRange,
    ProtocolError,
    UsageError,
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
from aicalib_hw.readings import Instant, Measurement, Run, Validity, ValidityStatus, Window
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import Finished, Process, find_program

from . import _fio_job as job_of
from . import _fio_output as output_of
from ._target import Count, Target, counted_for_children, require_direct, require_space, target_at

OLDEST = (3, 33)
"""First version whose JSON is known to have all that is read here."""

_VERSION = re.compile(r"fio-(\S+)")
_NUMBER = re.compile(r"\D*(\d+)\.(\d+)")
_STATUS = "Jobs:"
"""Begins each line of fio's status."""

_DONE = re.compile(r"\[(\d+(?:\.\d+)?)%\]")
_INSTALL = "sudo apt-get install fio, or see https://github.com/axboe/fio"
_FILL_BLOCK = 1 << 20
_SLOWEST = 1e6
"""byte/s: a disk that fills a file more slowly than this is taken for one that hangs."""


class Fio(StorageTester):
    """fio on this host, and the directory or file in which it measures.

    address: fio:///path?program=fio&loop=no&overwrite=no. A path to a directory is measured with a file that is made
    there and removed; an existing file or block device is only read, unless overwrite=yes: WRITING DESTROYS WHAT IT
    HOLDS. loop=yes allows a loop device, behind which a page cache may stand. timeout: s for fio to start and end.
    """

    DRIVER: ClassVar[DriverInfo] = DriverInfo(
        name="fio",
        role="storage_tester",
        summary="fio, version 3.33 or later",
        manual="fio(1)",
        schemes=("fio",),
        wires=("process",),
        verified="fio 3.33 on Linux, on ext4 over virtio and over a loop device",
    )

    def __init__(self, address: str, *, timeout: float = 30.0, trace: Trace | None = None) -> None:
        super().__init__(address)
        self.timeout = timeout
        self._trace = trace
        self._path, self._program_name, self._loop, self._overwrite = job_of.place_of(address)
        self._program = ""
        self._running: Process | None = None
        self._aborted = False
        self._filled: tuple[str, int, int] | None = None
        self._files: list[Path] = []

    @classmethod
    def local_addresses(cls) -> tuple[str, ...]:
        """Return the address of this host's directory for large temporary files; raises MissingProgram without fio."""
        find_program("fio", purpose="measuring storage", install=_INSTALL)
        return ("fio:///var/tmp",)

    def _connect(self) -> None:
        self._program = find_program(self._program_name, purpose="measuring storage", install=_INSTALL)
        if sys.platform != "linux":
            raise ConnectionFailed("storage is measured under Linux only", where=self.address)
        target = target_at(self._path, loop=self._loop)
        if target.path.is_dir():
            require_direct(target.path)

    def _disconnect(self) -> None:
        self.release()

    def identify(self) -> Identity:
        """Ask fio for its version; raises IdentityMismatch for another program or a version too old."""
        said = self._run([self._program, "--version"], self.timeout).output.strip()
        version = _VERSION.fullmatch(said)
        number = _NUMBER.match(version[1]) if version else None
        if version is None or number is None or (int(number[1]), int(number[2])) < OLDEST:
            raise IdentityMismatch(
                f"{said[:80]!r} answers, and this driver is for fio",
                where=self._program,
                why=f"version {OLDEST[0]}.{OLDEST[1]} or later is needed",
                advice=_INSTALL,
            )
        return Identity("fio", "fio", "", version[1], self.address, {"version": version[1]})

    @property
    def capabilities(self) -> StorageTesterCapabilities:
        """What is offered: five patterns, engines that pass the page cache, always direct, verification."""
        return StorageTesterCapabilities(
            patterns=("sequential-read", "sequential-write", "random-read", "checkpoint-write", "mixed"),
            engines=job_of.ENGINES,
            direct=True,
            verify=True,
            notes={"engine": "mmap goes through the page cache even with direct=1, and is refused"},
        )

    def measure_throughput(self, job: StorageJob, *, progress: Progress | None = None) -> Measurement:
        """Run `job` and return bit/s (decimal): 8 × bytes / longest running time, held against the kernel's counts.

        A run that broke off, or was not what was asked for, gives a Measurement that is not valid, says why, and
        keeps what was seen. Raises OutOfRange for what this driver does not measure, NotSupported for a target in
        memory or without O_DIRECT, NotPermitted, ConnectionFailed for a missing path, InstrumentReportedError where fio
        cannot begin, DeadlineExceeded, Aborted.
        """
        report = progress or (lambda done, note: None)
        job_of.require_measurable(job)
        with self._lock:
            self._aborted = False
            target = target_at(self._path_of(job), loop=self._loop)
            job_of.require_aligned(job, target.alignment)
            try:
                result = self._measure(job, target, report)
            except BaseException:
                self._remove_files()
                raise
            report(1.0, "done")
            return result

    def snapshot(self) -> Mapping[str, Setting]:
        """Return what the address sets."""
        now = Instant.now()
        settings = {"path": str(self._path), "loop": self._loop, "overwrite": self._overwrite}
        return {name: Setting(value, "", now, "driver") for name, value in settings.items()}

    def abort(self) -> None:
        """End fio now, workers included; from any thread; never raises."""
        self._aborted = True
        running = self._running
        if running is not None:
            running.abort()

    def release(self) -> ReleaseReport:
        """End a run and remove the files made here; idempotent; never raises."""
        actions = []
        running = self._running
        if running is not None and running.running:
            running.stop()
            actions.append("fio stopped")
        removed, failures = self._remove_files()
        if removed:
            actions.append("test files removed")
        return ReleaseReport(tuple(actions), failures)

    def _path_of(self, job: StorageJob) -> Path:
        path = self._path / job.path if job.path else self._path
        if not path.resolve().is_relative_to(self._path.resolve()):
            raise OutOfRange(f"{job.path} is not under {self._path}", where=self.address)
        return path

    def _measure(self, job: StorageJob, target: Target, report: Progress) -> Measurement:
        made_here = target.path.is_dir()
        checkpoint = job.pattern == "checkpoint-write"
        if not made_here:
            self._require_allowed(job, target)
        if made_here and not job.precondition and not checkpoint:
            raise OutOfRange("a file that was just made has to be filled before it is measured", where=self.address)
        place = self._place(job, target, fresh=checkpoint)
        if not checkpoint:
            self._fill(job, target, place, report)
            if job.ramp:
                self._fio(
                    job,
                    target,
                    [*place, *job_of.pattern_options(job, job.ramp)],
                    job.ramp,
                    _part(report, 0.3, 0.4, "ramp"),
                )
        if not made_here:
            _require_written(target.path)
        before, own_before, began = target.count(), counted_for_children(), Instant.now()
        expected = job.size / _SLOWEST if checkpoint else job.duration
        note = _part(report, 0.4, 0.9, job.pattern)
        ended, said = self._fio(job, target, [*place, *job_of.pattern_options(job, job.duration)], expected, note)
        stopped, after, own_after = Instant.now(), target.count(), counted_for_children()
        device = None if before is None or after is None else after.since(before)
        window = Window(began, stopped, "whole checkpoint" if checkpoint else f"{job.duration:g} s of {job.jobs} jobs")
        unverified: tuple[str, ...] = ()
        if job.verify and not output_of.breakdowns(said):
            unverified = self._verify(job, target, place, _part(report, 0.9, 1.0, "verifying"))
        if checkpoint:
            self._remove_files()
        return self._evaluated(job, target, said, ended, window, device, own_after.since(own_before), unverified)

    def _place(self, job: StorageJob, target: Target, *, fresh: bool) -> list[str]:
        """Return the options that name the files, new ones where none of this shape are there."""
        if not target.path.is_dir():
            return [f"--filename={target.path.name.replace(':', chr(92) + ':')}", f"--size={job.size}"]
        shape = (str(target.path), job.size, job.jobs)
        if fresh or self._filled is None or self._filled != shape:
            self._remove_files()
            require_space(target.path, job.size)
            name = f"aicalib-fio-{secrets.token_hex(4)}"
            self._files = [target.path / f"{name}.{number}" for number in range(job.jobs)]
        stem = self._files[0].name.rpartition(".")[0]
        return [f"--filename_format={stem}.$jobnum", f"--size={job.size // job.jobs}"]

    def _require_allowed(self, job: StorageJob, target: Target) -> None:
        if job.jobs != 1 or job.pattern == "checkpoint-write":
            raise OutOfRange("one existing file is measured by one job, and takes no checkpoint", where=self.address)
        writes = job.pattern in ("sequential-write", "mixed") or job.precondition or job.verify
        if writes and not self._overwrite:
            raise NotPermitted(
                f"{target.path} was not made here, and this job would overwrite it",
                where=self.address,
                advice="name a directory; or say overwrite=yes in the address; or only read, with precondition=False",
            )

    def _fill(self, job: StorageJob, target: Target, place: Sequence[str], report: Progress) -> None:
        """Write every block once, so that nothing that is read was never written; once for files of one shape."""
        shape = (str(target.path), job.size, job.jobs)
        if not job.precondition or self._filled == shape:
            return
        options = ["--rw=write", f"--bs={min(_FILL_BLOCK, job.size // job.jobs)}", "--end_fsync=1"]
        note = _part(report, 0.0, 0.3, "filling the file")
        _, said = self._fio(job, target, [*place, *options], job.size / _SLOWEST, note)
        broken = output_of.breakdowns(said)
        if broken or said.moved != job.size:
            number = next((int(one["error"]) for one in said.jobs if one["error"]), said.status)
            raise InstrumentReportedError(
                number,
                "; ".join(broken),
                "filling the file",
                where=str(target.path),
                why=f"{said.moved} of {job.size} bytes were written",
                advice="look at free space, permissions and the kernel's log",
            )
        self._filled = shape

    def _verify(self, job: StorageJob, target: Target, place: Sequence[str], report: Progress) -> tuple[str, ...]:
        options = ["--rw=write", f"--bs={job.block_size}", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1"]
        options += ["--verify_state_save=0"]
        _, said = self._fio(job, target, [*place, *options], 2 * job.size / _SLOWEST, report)
        return tuple(f"verification: {one}" for one in output_of.breakdowns(said))

    def _fio(
        self, job: StorageJob, target: Target, options: Sequence[str], expected: float, report: Progress
    ) -> tuple[Finished, output_of.Said]:
        """Run fio once and return how it ended, and what it says."""
        directory = target.path if target.path.is_dir() else target.path.parent
        with tempfile.TemporaryDirectory(prefix="aicalib-fio-") as work:
            result = Path(work) / "result.json"
            depth = job.queue_depth if job.engine in job_of.ASYNCHRONOUS else 1
            command = [self._program, f"--output={result}", "--output-format=json+", "--eta=always"]
            command += [f"--name={job.pattern}", "--thread", "--direct=1", f"--ioengine={job.engine}"]
            command += [f"--iodepth={depth}", f"--numjobs={job.jobs}", "--refill_buffers=1", "--randrepeat=0"]
            command += ["--fallocate=none", *options]

            began = time.monotonic()
            timed = "--time_based" in options

            def follow(line: str) -> None:
                if done := _DONE.findall(line):
                    report(min(1.0, float(done[-1]) / 100), "")
                elif timed and line.startswith(_STATUS):  # fio writes "-.-%" where it cannot tell
                    report(min(1.0, (time.monotonic() - began) / job.duration), "")

            ended = self._run(command, expected + self.timeout, directory=directory, on_line=follow)
            text = result.read_text(encoding="utf-8", errors="replace") if result.exists() else ""
        try:
            said = output_of.parse(ended.status, text, ended.errors)
        except ValueError as error:
            raise ProtocolError("fio wrote no JSON of its own", where=" ".join(command), why=str(error)) from error
        if ended.status > 0 and not said.jobs:
            raise InstrumentReportedError(ended.status, said.remarks[:400], " ".join(command), where=self.address)
        return ended, said

    def _run(self, command: Sequence[str], limit: float, **more: Any) -> Finished:
        with Process(command, trace=self._trace, **more) as process:
            self._running = process
            try:
                if self._aborted:
                    raise Aborted("the measurement was aborted", where=self.address)
                return process.wait(limit)
            finally:
                self._running = None

    def _evaluated(
        self,
        job: StorageJob,
        target: Target,
        said: output_of.Said,
        ended: Finished,
        window: Window,
        device: Count | None,
        own: Count,
        unverified: tuple[str, ...],
    ) -> Measurement:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        broken = output_of.breakdowns(said)
        evidence: dict[str, Any] = {
            "bytes_read": said.bytes_of("read"),
            "bytes_written": said.bytes_of("write"),
            "running_s": said.seconds,
            "device_counted": None if device is None else asdict(device),
            "counted_for_program": asdict(own),
            "device": {
                "name": target.device,
                "file_system": target.file_system,
                "mount": target.options,
                **target.facts,
            },
            "memory_B": memory,
            "status": ended.status,
            "fio": said.plain,
            "fio_remarks": said.remarks,
            "remarks": [] if broken else output_of.remarks(said, job, memory),
        }
        value, reasons, others = None, broken, 0.0
        if not broken:
            disagreeing, others = output_of.disagreements(said, job, device=device, own=own, name=target.device)
            reasons = (*output_of.objections(said, job), *disagreeing, *unverified)
            if device is None:
                evidence["remarks"].append(
                    "no counters of a block device: held against what the kernel counted for fio"
                )
            if said.moved and said.seconds:
                value = 8 * said.moved / said.seconds
        status = ValidityStatus.ERROR if broken else ValidityStatus.INVALID if reasons else ValidityStatus.VALID
        return Measurement(
            quantity="storage",
            definition=f"rate/storage/{job.pattern}",
            value=value,
            unit="bit/s",
            window=window,
            identity=self.identity,
            runs=(Run(value, window, used=not reasons, reasons=reasons),),
            components=output_of.components(said, job, others) if value is not None else (),
            settings={**asdict(job), "path": str(target.path)},
            evidence=evidence,
            validity=Validity(status, reasons),
        )

    def _remove_files(self) -> tuple[bool, tuple[str, ...]]:
        removed, failures = False, []
        for path in self._files:
            try:
                path.unlink()
                removed = True
            except FileNotFoundError:
                continue
            except OSError as error:
                failures.append(f"removing {path}: {error}")
        self._files = [path for path in self._files if path.exists()]
        self._filled = None
        return removed, tuple(failures)


def _require_written(path: Path) -> None:
    """Refuse a file with holes: what is read from a hole comes from no device."""
    state = path.stat()
    if path.is_file() and state.st_blocks * 512 < state.st_size:
        raise UsageError(
            f"{path} is sparse: {state.st_blocks * 512} of its {state.st_size} bytes lie on the disk",
            where=str(path),
            why="holes are read from no device",
            advice="let it be filled first: precondition=True",
        )


def _part(report: Progress, start: float, stop: float, note: str) -> Progress:
    """Return a progress that runs from `start` to `stop` of the whole, under one note."""
    report(start, note)

    return lambda done, _: report(start + (stop - start) * done, note)
