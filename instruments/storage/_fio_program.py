"""fio as a program of this host: who it is, which engines it has, and one run of it with all that it left behind.

Source: fio(1), `--status-interval`: a whole account of the run is written every so often, so that a run which is ended
by force leaves what it had done until then.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aicalib_hw.errors import (
    Aborted,
    DeadlineExceeded,
    IdentityMismatch,
    InstrumentError,
    InstrumentReportedError,
    MissingProgram,
    NotPermitted,
)
from aicalib_hw.identity import SIMULATION_MARK, Identity
from aicalib_hw.interfaces import Progress, StorageJob
from aicalib_hw.trace import Trace
from aicalib_hw.transport.process import Finished, Process, find_program

from . import _fio_job as job_of
from ._fio_output import Said, parse, read
from ._left_behind import Claim

OLDEST = (3, 33)
"""First version whose JSON is known to have all that is read here."""

INSTALL = "sudo apt-get install fio, or see https://github.com/axboe/fio"

_VERSION = re.compile(rf"(?:{SIMULATION_MARK}\S*-)?fio-((\d+)\.(\d+)\S*)")
_CANNOT_RUN, _NOT_FOUND = 126, 127
"""Exit statuses by which a shell, or what stands for one, says that a program did not begin (POSIX, sh(1))."""

_TELL_EVERY = 0.25
"""s between two reports of how far a run is."""

_ACCOUNTS = 60
"""A run writes at most about so many accounts of itself, however long it is."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One run: what fio says of it, by which command, and the error that ended it by force (None: it ended itself)."""

    said: Said
    command: tuple[str, ...]
    error: InstrumentError | None = None


class FioProgram:
    """fio, found by name or path; address: for messages. timeout: s for it to start and end."""

    def __init__(self, name: str, address: str, *, timeout: float, trace: Trace | None) -> None:
        self.timeout = timeout
        self._name = name
        self._address = address
        self._trace = trace
        self._path = ""
        self._said = ""
        self._running: Process | None = None
        self._aborted = False

    def find(self) -> None:
        """Look it up; raises MissingProgram."""
        self._path = find_program(self._name, purpose="measuring storage", install=INSTALL)

    def identify(self) -> Identity:
        """Ask fio for its version; raises IdentityMismatch for another program or a version too old, MissingProgram."""
        said = self._said = self._ask("--version").strip()
        version = _VERSION.fullmatch(said)
        if version is None or (int(version[2]), int(version[3])) < OLDEST:
            raise IdentityMismatch(
                f"{said[:80]!r} answers, and this driver is for fio",
                where=self._path,
                why=f"version {OLDEST[0]}.{OLDEST[1]} or later is needed",
                advice=INSTALL,
            )
        return Identity("fio", "fio", "", version[1], self._address, {"version": said.removeprefix("fio-")})

    def engines(self) -> tuple[str, ...]:
        """Return which of the engines that pass the page cache this fio was built with."""
        built_in = self._ask("--enghelp").split()
        return tuple(engine for engine in job_of.ENGINES if engine in built_in)

    def begin(self) -> None:
        """Forget an `abort()` of before."""
        self._aborted = False

    def abort(self) -> None:
        """End a run now, workers included, and let none begin before `begin()`; from any thread; never raises."""
        self._aborted = True
        running = self._running
        if running is not None:
            running.abort()

    def stop(self) -> bool:
        """Ask a run to end, and end it; True if there was one; never raises."""
        running = self._running
        if running is None or not running.running:
            return False
        running.stop()
        return True

    def run(
        self, job: StorageJob, options: Sequence[str], expected: float, *, directory: Path, report: Progress
    ) -> Ended:
        """Run fio once in `directory`; expected: s that it should take.

        A run that is ended by force comes back with the error and what fio had done until then. Raises
        InstrumentReportedError for a run that did not begin. What cannot be read as fio's JSON is kept as it is.
        """
        with _work_folder() as work:
            result = work / "result.json"
            command = (self._path, f"--output={result}", *_common(job, expected), *options)
            error: InstrumentError | None = None
            status, errors = -int(signal.SIGKILL), ""
            try:
                ended = self._followed(
                    command, result, expected=expected, size=job.size, directory=directory, report=report
                )
                status, errors = ended.status, ended.errors
            except (Aborted, DeadlineExceeded) as forced:
                error = forced
            text = result.read_text(encoding="utf-8", errors="replace") if result.exists() else ""
        said = read(status, text, errors)
        if said.version and said.version != self._said:
            said = Said(
                status, (), said.remarks, unreadable=f"{said.version!r} wrote it, and {self._said!r} was opened"
            )
        if status > 0 and not said.jobs and not said.unreadable:
            raise InstrumentReportedError(status, said.remarks[:400], " ".join(command), where=self._address)
        return Ended(said, command, error)

    def _followed(
        self, command: Sequence[str], result: Path, *, expected: float, size: int, directory: Path, report: Progress
    ) -> Finished:
        """Run it and report how far it is; what `report` raises ends the run and is raised here.

        size: bytes after which a run ends that no time ends.
        """
        began = time.monotonic()
        timed = "--time_based" in command
        process = Process(command, trace=self._trace, directory=directory, guarded=True)
        ended = threading.Event()
        raised: list[BaseException] = []

        def tell() -> None:
            try:
                while not ended.wait(_TELL_EVERY):
                    done = (time.monotonic() - began) / expected if timed else _moved(result) / size
                    report(min(1.0, done), "")
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for the run
                raised.append(error)
                process.abort()

        teller = threading.Thread(target=tell, name="progress-of-fio", daemon=True)
        try:
            with process:
                self._running = process
                if self._aborted:
                    raise Aborted("the measurement was aborted", where=self._address)
                teller.start()
                return process.wait(expected + self.timeout)
        except Aborted as aborted:
            if not raised:
                raise
            raise raised[0] from aborted
        finally:
            self._running = None
            ended.set()
            if teller.ident is not None:
                teller.join()

    def _ask(self, option: str) -> str:
        with Process([self._path, option], trace=self._trace) as process:
            ended = process.wait(self.timeout)
        if ended.status in (_CANNOT_RUN, _NOT_FOUND):
            raise MissingProgram(
                f"{self._path} cannot be run", where=self._path, why=ended.errors.strip()[:400], advice=INSTALL
            )
        return ended.output


@contextlib.contextmanager
def _work_folder() -> Iterator[Path]:
    """A folder for what fio writes, which a later program removes should this one be killed."""
    place = Path(tempfile.gettempdir())
    try:
        claim = Claim(place)
        folder = place / claim.name
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise NotPermitted(
            f"what fio says cannot be kept in {place}",
            where=str(place),
            why=str(error),
            advice="make room there, or name another folder for temporary files: TMPDIR",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        claim.drop()


def _moved(result: Path) -> int:
    """Bytes that a run has moved by its last whole account, 0 before there is one."""
    try:
        return parse(0, result.read_text(encoding="utf-8", errors="replace"), "").moved
    except (OSError, ValueError):
        return 0


def _common(job: StorageJob, expected: float) -> list[str]:
    """Return what every run is told, whatever it measures."""
    depth = job.queue_depth if job.engine in job_of.ASYNCHRONOUS else 1
    return [
        "--output-format=json+",
        f"--status-interval={max(1, round(expected / _ACCOUNTS))}",
        "--eta=never",
        f"--name={job.pattern}",
        "--thread",
        "--direct=1",
        f"--ioengine={job.engine}",
        f"--iodepth={depth}",
        f"--numjobs={job.jobs}",
        "--refill_buffers=1",
        "--randrepeat=0",
        "--fallocate=none",
    ]
