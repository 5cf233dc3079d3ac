"""A simulated fio 3.33: an executable file with fio's command line, output and exit status, on a simulated disk.

From the facts on fio (software_standards.md section A) and the program's own behaviour. `--version` begins with `SIM`
(`SIM-fio-3.33`), and so does "fio version" in its JSON. World time is the program's time: on a clock 20 times as fast
a job of 60 s is over after 3 s.

The files in its target directory are real and filled, so that size and allocation are what a disk would show; only the
way of their bytes to the disk is simulated, and `witness` has the disk's counters as /sys/block/DEV/stat shows them.
What makes real fio report nonsense does so here: sparse files, the page cache, files in memory, `mmap`, a ramp longer
than the job. SIGINT and SIGTERM end it with status 128 and a line before the JSON; SIGKILL leaves an empty output file
and a worker that goes on; a worker that is killed leaves status 0 and zeros.

Faults: "refuse" (it cannot be started), "delay" (before it begins, real s), "drop" (it dies before its results),
"half_line", "garble", "chatter" (of its results), "wrong_identity"; "full", "io_error", "corrupt" (amount: bytes after
which), "no_direct" (O_DIRECT is refused), "short_io" (amount: how many), "shallow" (queue depth stays 1), "overrun"
(amount: s longer than asked); of the disk "gain", "neighbour", "stuck".

Not simulated, and refused by name: client and server, trim, terse output, think times, latency targets, steady state,
block sizes in ranges, zones, I/O logs. "Did you mean" is not said.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from ..servers.executable import Executable, Invocation
from ..world import World
from ..world.faults import Fault, FaultPlan
from .disk import Disk, DiskOptions, DiskTruth
from .fio_files import on_a_disk
from .fio_session import Session

_STRANGE = "SIM-fio-2.1.3"
_NO_START = 127


class Options(BaseModel):
    """`options` of simulated fio.

    version: what it says of itself, begins with SIM. directory: its target, None = one of its own that is removed at
    the end. disk: what is simulated. device: its name. filled: whether files get bytes of their own; False: they are
    sparse. page_cache: bytes of writes that memory takes where `direct` is off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str = Field(default="SIM-fio-3.33", pattern="^SIM")
    directory: Path | None = None
    disk: DiskOptions = DiskOptions()
    device: str = "simdisk0"
    filled: bool = True
    page_cache: float = Field(default=4e9, ge=0)


class SimulatedFio:
    """A simulated fio and its disk on one world. witness: the disk's counters; `program` is the executable file."""

    simulates: ClassVar[str] = "fio"
    wires: ClassVar[tuple[str, ...]] = ("process",)
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.name, self.world = name, world
        self.options = Options.model_validate(options)
        self.faults = FaultPlan(world.seed)
        self.exchanges: list[tuple[str, bytes]] = []
        self.address = ""
        self.program = Path()
        self.directory = Path()
        self.witness = Path()
        self._own: list[Path] = []
        self._executable: Executable | None = None
        self.disk = Disk(world, self.faults, self.options.disk)

    @property
    def truth(self) -> DiskTruth:
        """True bytes and rates of the disk."""
        return self.disk.truth

    @property
    def identity_serial(self) -> str:
        """What marks it as simulated: its version."""
        return self.options.version

    def start(self) -> str:
        """Make the executable file; return the address. Idempotent."""
        if self._executable is None:
            self._executable = Executable("fio", self._work, self.faults, self.exchanges)
            self.program = self._executable.start()
            kernel = self.program.parent / "sys" / "block" / self.options.device
            kernel.mkdir(parents=True)
            self.witness = kernel / "stat"
            self.disk.show(self.witness)
            self.disk.plug(True)
            if self.options.directory is None:
                self.directory = Path(tempfile.mkdtemp(prefix="simulated-disk-", dir=on_a_disk()))
                self._own.append(self.directory)
            else:
                self.directory = self.options.directory
            self.address = (
                f"fio://{quote(str(self.directory))}?program={quote(str(self.program))}"
                f"&device={quote(str(self.witness.parent))}"
            )
        return self.address

    def stop(self) -> None:
        """End every running program, remove the executable and the target directory of its own; idempotent."""
        if self._executable is not None:
            self._executable.stop()
            self._executable = None
        self.disk.show(None)
        self.disk.plug(False)
        for directory in self._own:
            shutil.rmtree(directory, ignore_errors=True)
        self._own.clear()

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault; see `world.faults`."""
        self.faults.inject(fault)

    def _work(self, invocation: Invocation) -> int:
        executable = self._executable
        assert executable is not None
        if self.faults.strikes("refuse") is not None:
            return _NO_START
        strange = self.faults.strikes("wrong_identity") is not None
        session = Session(
            invocation,
            self.disk,
            self.faults,
            version=_STRANGE if strange else self.options.version,
            device=self.options.device,
            filled=self.options.filled,
            page_cache=self.options.page_cache,
            stopping=executable.stopping.is_set,
        )
        return session.run()
