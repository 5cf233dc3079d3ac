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
    """One storage measurement: sizes in bytes, times in s, rates in bit/s.

    path: file, directory or block device; "" = the one that the tester's address names. size: of all jobs together.
    direct: past the page cache. precondition: write the whole size first. duration: the measured window, after
    `ramp`; a checkpoint write takes as long as its size takes, and has neither. read_share: bytes that are read, of
    those of "mixed" (0…1). rate_limit: as fast at most, None = as fast as it goes. verify: after the
    measurement, write the whole size and read it back, compared, in a pass of its own; what comes back changed makes it
    invalid, for a reason that begins with "verification". disturbance: the most that the
    device may carry for others, as a share of what was measured, before the measurement is invalid. steady_range,
    steady_trend: the most by which the rate of a fifth of the window may differ from that of another, and by which the
    rate may rise or fall over the window, as shares of its mean, before a measurement of 10 s or more is invalid.
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
    read_share: float = 0.7
    rate_limit: float | None = None
    verify: bool = False
    disturbance: float = 0.005
    steady_range: float = 0.20
    steady_trend: float = 0.10


class StorageTester(Instrument):
    """A storage stress-test program."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> StorageTesterCapabilities:
        """What this tester can do here."""

    @abc.abstractmethod
    def measure_throughput(self, job: StorageJob, *, progress: Progress | None = None) -> Measurement:
        """Run `job` and return bit/s (decimal) from bytes and time, cross-checked with the device's counters."""
