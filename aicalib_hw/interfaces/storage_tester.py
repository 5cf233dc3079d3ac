"""StorageTester: the rate at which a file system or block device reads and writes."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Literal

from aicalib_hw.interfaces.instrument import Capabilities, Instrument, Progress
from aicalib_hw.readings import Measurement

StoragePattern = Literal["sequential-read", "sequential-write", "random-read", "checkpoint-write", "mixed"]


@dataclass(frozen=True, slots=True)
class StorageTesterCapabilities(Capabilities):
    """patterns and engines that this tester offers on this machine; direct: past the page cache."""

    patterns: tuple[StoragePattern, ...] = ()
    engines: tuple[str, ...] = ()
    direct: bool | None = None
    verify: bool | None = None


@dataclass(frozen=True, slots=True)
class StorageJob:
    """One storage measurement: sizes in bytes, times in s.

    path: file, directory or block device. direct: past the page cache. preconditioned: write the
    whole size first. duration: the measured window, after `ramp`.
    """

    path: str
    pattern: StoragePattern
    size: int
    block_size: int = 1 << 20
    queue_depth: int = 32
    jobs: int = 1
    engine: str = "libaio"
    direct: bool = True
    precondition: bool = True
    ramp: float = 5.0
    duration: float = 60.0


class StorageTester(Instrument):
    """A storage stress-test program."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> StorageTesterCapabilities:
        """What this tester can do here."""

    @abc.abstractmethod
    def measure_throughput(self, job: StorageJob, *, progress: Progress | None = None) -> Measurement:
        """Run `job` and return bit/s (decimal) from bytes and time, cross-checked with the device's counters."""
