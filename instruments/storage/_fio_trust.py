"""Whether a run of fio may be believed, how well its rate is known, and what a reader must know of it.

Status 0 and `error` 0 prove little: a run may be short, at another depth, or served by a cache. What fio says is held
against the counters of the block device and against what the kernel counted for fio alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aicalib_hw.interfaces import StorageJob
from aicalib_hw.readings import Component

from . import _steadiness as steadiness
from ._fio_output import DIRECTIONS, Said
from ._target import Count

AGREEMENT = 0.005
"""Share by which the kernel may have counted fewer bytes than fio reports."""

_WAYS = {"sequential-read": ("read",), "random-read": ("read",), "mixed": DIRECTIONS}
_WAYS |= {"sequential-write": ("write",), "checkpoint-write": ("write",)}
_REPORTED_AGREEMENT = 1e-3
_MOST_IN_FLIGHT = 1e-3
_SLEW = 5e-4
_BUSY = 90.0
_OVERRUN = 1.05


@dataclass(frozen=True, slots=True)
class Shares:
    """What the device's counters had more than fio, by others, and less, as shares of the bytes that fio reports."""

    others: float = 0.0
    missing: float = 0.0


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
    for way in DIRECTIONS:
        if said.bytes_of(way) and way not in _WAYS[job.pattern]:
            found.append(f"{said.bytes_of(way)} bytes were moved as {way}, and nothing of it was asked for")
    for one in said.jobs:
        for way in DIRECTIONS:
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
    if timed and said.seconds >= steadiness.LEAST_DURATION:
        found += steadiness.unsteady(said, job)
    return tuple(found)


def disagreements(
    said: Said, job: StorageJob, *, device: Count | None, own: Count | None, name: str
) -> tuple[tuple[str, ...], Shares]:
    """Compare the bytes of fio with the kernel's counts; return the objections and by how much the counts differ.

    device: of the block device `name`, None = there is none. own: what the kernel counted for fio alone, None = not
    asked, as the device was named.
    """
    found = []
    others = missing = 0
    for way, of_device, of_own in (
        ("read", None if device is None else device.read, None if own is None else own.read),
        ("write", None if device is None else device.written, None if own is None else own.written),
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
            missing += max(0, moved - of_device)
    shares = Shares(others / said.moved, missing / said.moved) if said.moved else Shares()
    if shares.others > job.disturbance:
        found.append(
            f"disturbed: others moved {shares.others:.2%} of these bytes on {name} meanwhile, "
            f"{job.disturbance:.2%} is allowed"
        )
    return tuple(found), shares


def components(said: Said, job: StorageJob, shares: Shares) -> tuple[Component, ...]:
    """State what the rate is not known better than: time base, its steps, queue at either end, trend, other users."""
    in_flight = job.queue_depth * job.block_size * job.jobs / said.moved
    stated = [
        ("steps of the running time", 1e-3 / said.seconds, "fio(1): runtime in whole ms, cut at either end"),
    ]
    if job.pattern != "checkpoint-write":
        stated.append(("filling and draining the queue", in_flight, "one queue of each job, moved by fewer transfers"))
        if (trend := steadiness.trend_of(said)) is not None:
            stated.append(
                (
                    "trend over the window",
                    abs(trend) / 2,
                    "a line through the rates of five rounds: half of what it rises",
                )
            )
    if shares.others:
        stated.append(
            ("others on the device", shares.others, "bytes that the device's counters have beyond those of fio")
        )
    if shares.missing:
        stated.append(("bytes that the device did not count", shares.missing, "fio's bytes less the device's counters"))
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


def remarks(said: Said, job: StorageJob, memory: int | None) -> list[str]:
    """Return what a reader must know of a run that is a measurement.

    memory: bytes of RAM of this host, None where the data does not pass it.
    """
    found = []
    if memory is not None and job.size < 2 * memory:
        found.append(
            f"{job.size / 2**30:.3g} GiB are less than twice the memory of this host ({memory / 2**30:.3g} GiB): "
            "caches that O_DIRECT does not pass (of a hypervisor, an array, a drive) may hold them"
        )
    if job.pattern != "checkpoint-write" and job.queue_depth * job.block_size * job.jobs > _MOST_IN_FLIGHT * said.moved:
        found.append("the window is short for the queue: more than 0.1 % of the bytes are filling and draining it")
    if job.pattern != "checkpoint-write":
        found += steadiness.unproven(said)
    if job.pattern != "checkpoint-write" and said.seconds > _OVERRUN * job.duration:
        found.append(f"it ran for {said.seconds:g} s, and {job.duration:g} s were asked for: the device answered late")
    busiest = max(float(one.get("usr_cpu", 0)) + float(one.get("sys_cpu", 0)) for one in said.jobs)
    if busiest > _BUSY:
        found.append(f"a job kept its processor busy to more than {_BUSY:.0f} %: the processor may have been the limit")
    return found


def _at_depth(job: Mapping[str, Any], depth: int) -> float:
    """Share of the transfers, %, that found the queue in the class of `depth` or above."""
    levels: Mapping[str, Any] = job.get("iodepth_level", {})
    bounds = {int(key.removeprefix(">=")): float(share) for key, share in levels.items()}
    least = max((bound for bound in bounds if bound <= depth), default=0)
    return sum(share for bound, share in bounds.items() if bound >= least)
