"""What fio is asked: its address here, the jobs that can be measured, and the options they become. Source: fio(1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from aicalib_hw.errors import OutOfRange, UsageError
from aicalib_hw.interfaces import StorageJob

FORM = "fio:///path?program=fio&loop=no&overwrite=no&device=/sys/block/NAME"

PATTERNS: Mapping[str, str] = {
    "sequential-read": "read",
    "sequential-write": "write",
    "random-read": "randread",
    "checkpoint-write": "write",
    "mixed": "randrw",
}
ASYNCHRONOUS = ("libaio", "io_uring")
SYNCHRONOUS = ("psync", "pvsync2")
ENGINES = (*ASYNCHRONOUS, *SYNCHRONOUS)


@dataclass(frozen=True, slots=True)
class Place:
    """What an address says: where is measured by which program, what is allowed, and whose counters are believed.

    overwrite: "no"; "yes" = an existing file may be overwritten; "device" = a whole block device may be.
    device: a directory as /sys/block has one for each device, None = that of the device under the path.
    """

    path: Path
    program: str = "fio"
    loop: bool = False
    overwrite: str = "no"
    device: Path | None = None


def place_of(address: str) -> Place:
    """Take an address apart; raises UsageError naming what does not belong there."""
    try:
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of storage", why=str(error), advice=FORM) from error
    program, device = options.pop("program", "fio"), options.pop("device", None)
    loop, overwrite = options.pop("loop", "no"), options.pop("overwrite", "no")
    if parts.scheme != "fio" or options or loop not in ("yes", "no") or overwrite not in ("no", "yes", "device"):
        why = "loop is yes or no, and overwrite is no, yes (a file) or device (a whole block device)"
        if options:
            why = f"unknown: {', '.join(options)}"
        raise UsageError(f"{address!r} is no address of storage", why=why, advice=FORM)
    if parts.netloc or not parts.path.startswith("/"):
        raise UsageError(f"{address!r} names no path of this host", why="a host, or a relative path", advice=FORM)
    return Place(Path(unquote(parts.path)), program, loop == "yes", overwrite, None if device is None else Path(device))


def require_measurable(job: StorageJob) -> None:
    """Raise OutOfRange for a job that cannot be measured as it stands; nothing has been run."""
    allowed = {
        f"pattern {job.pattern!r}: one of {', '.join(PATTERNS)}": job.pattern in PATTERNS,
        f"engine {job.engine!r}: one of {', '.join(ENGINES)}, as others go through the page cache": job.engine
        in ENGINES,
        "direct=False: the page cache would be measured": job.direct,
        f"queue_depth {job.queue_depth}: 1 to 1024, and 1 with {' or '.join(SYNCHRONOUS)}": (
            1 <= job.queue_depth <= (1 if job.engine in SYNCHRONOUS else 1024)
        ),
        f"jobs {job.jobs}: 1 to 1024": 1 <= job.jobs <= 1024,
        f"duration {job.duration:g} s: 1 s to a day, in whole seconds": (
            1 <= job.duration <= 86_400 and job.duration == round(job.duration)
        ),
        f"ramp {job.ramp:g} s: 0 to an hour, in whole seconds": 0 <= job.ramp <= 3600 and job.ramp == round(job.ramp),
        f"read_share {job.read_share:g}: whole per cent above 0 and below 1": (
            0.005 < job.read_share < 0.995 and abs(100 * job.read_share - round(100 * job.read_share)) < 1e-9
        ),
        f"rate_limit {job.rate_limit}: above 8000 bit/s": job.rate_limit is None or job.rate_limit >= 8000,
    }
    for what, right in allowed.items():
        if not right:
            raise OutOfRange(f"this cannot be measured: {what}")


def require_aligned(job: StorageJob, alignment: int) -> None:
    """Raise OutOfRange unless every job is of whole blocks, and a block of whole `alignment` bytes."""
    share, rest = divmod(job.size, job.jobs)
    if job.block_size <= 0 or job.block_size % alignment or rest or share % job.block_size or share <= 0:
        raise OutOfRange(
            f"{job.size} bytes of {job.jobs} jobs in blocks of {job.block_size} bytes do not come out even",
            why=f"blocks are multiples of {alignment} bytes, and the size of a job is one of blocks",
        )


def pattern_options(job: StorageJob, duration: float) -> list[str]:
    """Return what fio is told of the pattern, block size, rate and time (s) of a job."""
    options = [f"--rw={PATTERNS[job.pattern]}", f"--bs={job.block_size}"]
    if job.pattern != "checkpoint-write":
        options += ["--time_based", f"--runtime={round(duration)}"]
    if job.pattern == "random-read" or job.pattern == "mixed":
        options += ["--norandommap=1"]
    if job.pattern == "mixed":
        options += [f"--rwmixread={round(100 * job.read_share)}"]
    if "read" not in job.pattern:
        options += ["--end_fsync=1"]
    if job.rate_limit is not None:
        each = job.rate_limit / 8 / job.jobs
        shares = (job.read_share, 1 - job.read_share) if job.pattern == "mixed" else (1.0,)
        options += [f"--rate={','.join(str(round(each * share)) for share in shares)}"]
    return options
