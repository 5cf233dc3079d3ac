"""What fio writes about a run, and whether it may be believed.

Source: fio(1), the JSON of fio 3.33. `io_bytes` and `runtime` (whole ms) are the measurement; `bw` is in KiB/s and is
never used. Status 0 and `error` 0 prove little: a run may be short, at another depth, or served by a cache.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw.interfaces import StorageJob
from aicalib_hw.readings import Component

from ._target import Count

AGREEMENT = 0.005
"""Share by which the kernel may have counted fewer bytes than fio reports."""

_REPORTED_AGREEMENT = 1e-3
_MOST_IN_FLIGHT = 1e-3
_LEAST_DURATION = 10.0
_SLEW = 5e-4
_BUSY = 90.0
_DIRECTIONS = ("read", "write")


@dataclass(frozen=True, slots=True)
class Said:
    """One run as fio tells it: exit status, the jobs of its JSON, what it wrote besides."""

    status: int
    jobs: tuple[Mapping[str, Any], ...]
    remarks: str

    def bytes_of(self, direction: str) -> int:
        """Bytes that all jobs moved in one direction ("read" or "write")."""
        return sum(int(job[direction]["io_bytes"]) for job in self.jobs)

    @property
    def moved(self) -> int:
        """Bytes read and written by all jobs."""
        return sum(self.bytes_of(direction) for direction in _DIRECTIONS)

    @property
    def seconds(self) -> float:
        """Longest running time of a job, s, in steps of 1 ms; 0.0 if nothing ran."""
        return max((int(job[way]["runtime"]) for job in self.jobs for way in _DIRECTIONS), default=0) / 1000

    @property
    def plain(self) -> list[dict[str, Any]]:
        """The jobs as fio printed them, without the histograms' bins."""
        return [_without_bins(job) for job in self.jobs]


def parse(status: int, output: str, errors: str) -> Said:
    """Take apart what fio wrote into its output file: text may stand before and after the JSON.

    Without JSON there are no jobs. Raises ValueError for JSON that is not fio's.
    """
    start = output.find("{")
    if start < 0:
        return Said(status, (), f"{output}{errors}".strip())
    said, end = json.JSONDecoder().raw_decode(output, start)
    jobs = said.get("jobs")
    if not isinstance(jobs, list) or any(not isinstance(job.get("read"), dict) for job in jobs):
        raise ValueError(f"no jobs in it, but {', '.join(said)}")
    return Said(status, tuple(jobs), f"{output[:start]}{output[end:]}{errors}".strip())


def breakdowns(said: Said) -> tuple[str, ...]:
    """Return why a run did not come to its end, nothing if it did: status, signal, errors of any job."""
    found = []
    if said.status < 0:
        found.append(f"fio was ended by signal {-said.status}")
    elif said.status:
        found.append(f"fio ended with status {said.status}")
    for number in dict.fromkeys(_errors_of(said)):
        found.append(f"error {number} of fio: {meaning(number)}")
    if (said.status or not said.jobs) and said.remarks:
        found.append(said.remarks.splitlines()[-1].strip())
    if not said.jobs:
        found.append("fio left no result")
    return tuple(found)


def meaning(number: int) -> str:
    """Return what an `error` of fio means: an errno, and EILSEQ for data that came back changed."""
    if number == errno.EILSEQ:
        return "the data read back are not those that were written"
    if number == errno.ENOSPC:
        return "the disk is full"
    return os.strerror(number)


def objections(said: Said, job: StorageJob) -> tuple[str, ...]:
    """Return why a run that came to its end is no measurement of `job`, by fio's own account; nothing if it is."""
    found = []
    if len(said.jobs) != job.jobs:
        found.append(f"{len(said.jobs)} jobs ran, and {job.jobs} were asked for")
    if not said.moved or not said.seconds:
        return (*found, "nothing was transferred")
    timed = job.pattern != "checkpoint-write"
    if timed and said.seconds < job.duration - 0.001:
        found.append(f"it ran for {said.seconds:g} s, and {job.duration:g} s were asked for")
    if not timed and said.moved != job.size:
        found.append(f"{said.moved} bytes were written, and {job.size} were asked for")
    for one in said.jobs:
        for way in _DIRECTIONS:
            told = one[way]
            lost = int(told.get("short_ios", 0)) + int(told.get("drop_ios", 0))
            if lost:
                found.append(f"{lost} transfers were cut short or dropped")
            if told["io_bytes"] and told["runtime"]:
                again = int(told["io_bytes"]) / (int(told["runtime"]) / 1000)
                if abs(int(told["bw_bytes"]) / again - 1) > _REPORTED_AGREEMENT:
                    found.append(f"fio reports {told['bw_bytes']} byte/s, and its bytes and time give {again:.0f}")
    reached = min(_at_depth(one, job.queue_depth) for one in said.jobs)
    if job.rate_limit is None and reached < 50.0:
        found.append(f"the queue depth of {job.queue_depth} was reached in {reached:.1f} % of the transfers only")
    return tuple(found)


def disagreements(
    said: Said, job: StorageJob, *, device: Count | None, own: Count, name: str
) -> tuple[tuple[str, ...], float]:
    """Compare the bytes of fio with the kernel's counts; return the objections and the share that others moved.

    device: of the block device `name`, None = there is none. own: what the kernel counted for fio alone.
    """
    found = []
    others = 0
    for way, of_device, of_own in (
        ("read", None if device is None else device.read, own.read),
        ("write", None if device is None else device.written, own.written),
    ):
        moved = said.bytes_of(way)
        counts = {f"the device {name}": of_device, "the kernel for fio": of_own}
        for who, count in counts.items():
            if count is not None and count < moved * (1 - AGREEMENT):
                found.append(
                    f"fio reports {moved} bytes ({way}), and {who} counted {count}: "
                    "a cache or an unwritten file, and no storage, gave the rest"
                )
        if of_device is not None:
            others += max(0, of_device - moved)
    share = others / said.moved if said.moved else 0.0
    if share > job.disturbance:
        found.append(
            f"disturbed: others moved {share:.2%} of these bytes on {name} meanwhile, {job.disturbance:.2%} is allowed"
        )
    return tuple(found), share


def components(said: Said, job: StorageJob, others: float) -> tuple[Component, ...]:
    """State what the rate is not known better than: time base, its steps, the queue at either end, other users."""
    in_flight = job.queue_depth * job.block_size * job.jobs / said.moved
    stated = [
        ("steps of the running time", 1e-3 / said.seconds, "fio(1): runtime in whole ms, cut at either end"),
    ]
    if job.pattern != "checkpoint-write":
        stated.append(("filling and draining the queue", in_flight, "one queue of each job, moved by fewer transfers"))
    if others:
        stated.append(("others on the device", others, "bytes that the device's counters have beyond those of fio"))
    return (
        Component(
            "time base",
            "B",
            "1",
            "CLOCK_MONOTONIC: slewed by the kernel by at most 500 ppm (adjtimex(2)); its synchronisation is not asked",
            half_width=_SLEW,
            relative=True,
            shared="host clock",
        ),
        *(
            Component(name, "B", "1", source, half_width=size, relative=True, distribution="rectangular")
            for name, size, source in stated
        ),
    )


def remarks(said: Said, job: StorageJob, memory: int) -> list[str]:
    """Return what a reader must know of a run that is a measurement. memory: bytes of RAM of this host."""
    found = []
    if job.size < 2 * memory:
        found.append(
            f"{job.size / 2**30:.3g} GiB are less than twice the memory of this host ({memory / 2**30:.3g} GiB): "
            "caches that O_DIRECT does not pass (of a hypervisor, an array, a drive) may hold them"
        )
    if job.pattern != "checkpoint-write" and job.queue_depth * job.block_size * job.jobs > _MOST_IN_FLIGHT * said.moved:
        found.append("the window is short for the queue: more than 0.1 % of the bytes are filling and draining it")
    if job.pattern != "checkpoint-write" and said.seconds < _LEAST_DURATION:
        found.append(f"a window of {job.duration:g} s shows no steady state: {_LEAST_DURATION:g} s or more do")
    busiest = max(float(one.get("usr_cpu", 0)) + float(one.get("sys_cpu", 0)) for one in said.jobs)
    if busiest > _BUSY:
        found.append(f"a job kept its processor busy to more than {_BUSY:.0f} %: the processor may have been the limit")
    return found


def _errors_of(said: Said) -> Sequence[int]:
    return [
        int(job[name])
        for job in said.jobs
        for name in ("error", "first_error")
        if int(job.get(name, 0)) and (name == "error" or int(job.get("total_err", 0)))
    ]


def _at_depth(job: Mapping[str, Any], depth: int) -> float:
    """Share of the transfers, %, that found the queue in the class of `depth` or above."""
    levels: Mapping[str, Any] = job.get("iodepth_level", {})
    bounds = {int(key.removeprefix(">=")): float(share) for key, share in levels.items()}
    least = max((bound for bound in bounds if bound <= depth), default=0)
    return sum(share for bound, share in bounds.items() if bound >= least)


def _without_bins(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_bins(one) for key, one in value.items() if key != "bins"}
    return value
