"""What becomes of one run of fio: a Measurement, valid where all that is known of the run speaks for its rate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aicalib_hw.errors import Aborted
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import StorageJob
from aicalib_hw.readings import Measurement, Run, Validity, ValidityStatus, Window

from .. import bystanders
from . import _fio_trust as trust
from ._existing import writes
from ._fio_output import breakdowns
from ._fio_program import Ended
from ._target import Count, Target


@dataclass(frozen=True, slots=True)
class Counted:
    """What the kernel counted over a run: for the block device (None: there is none), for fio (None: not asked).

    vanished: the device was there before the run, and not after it. held: share of this host's processors that other
    programs held meanwhile, None where it is not counted or the device is not this host's.
    """

    device: Count | None
    own: Count | None
    vanished: bool = False
    held: float | None = None


def measurement_of(
    job: StorageJob,
    target: Target,
    ended: Ended,
    window: Window,
    counted: Counted,
    *,
    identity: Identity,
    reasons: Sequence[str],
) -> Measurement:
    """Return the rate of a run, bit/s, with all evidence; without a value where the run broke off.

    reasons: what else speaks against it.
    """
    said = ended.said
    # What is simulated passes no memory. A device that the address names is a volume of this host, and does.
    memory = None if identity.simulated else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    broken = breakdowns(said)
    if ended.error is not None:
        broken = (ended.error.what, *broken)
    remarks = [] if broken else trust.remarks(said, job, memory)
    objections, shares = broken, trust.Shares()
    if not broken:
        disagreeing, shares = trust.disagreements(said, job, device=counted.device, own=counted.own, name=target.device)
        if counted.vanished:
            disagreeing = (*disagreeing, f"the device {target.device} went away meanwhile, and its counters with it")
        objections = (*trust.objections(said, job), *disagreeing, *reasons)
        if counted.device is None:
            remarks.append("no counters of a block device: held against what the kernel counted for fio")
    if target.node is not None and writes(job):
        remarks.append(f"{target.path} is a block device, and what its first {job.size} bytes held was overwritten")
    if not broken:
        remarks += bystanders.remarks(counted.held)
    status = ValidityStatus.INVALID if objections else ValidityStatus.VALID
    if broken:
        status = ValidityStatus.ABORTED if isinstance(ended.error, Aborted) else ValidityStatus.ERROR
    value = None if broken else said.rate
    return Measurement(
        quantity="storage",
        definition=f"rate/storage/{job.pattern}",
        value=value,
        unit="bit/s",
        window=window,
        identity=identity,
        runs=(Run(said.rate, window, used=not objections, reasons=objections),),
        components=trust.components(said, job, shares) if value is not None else (),
        settings={**asdict(job), "path": str(target.path)},
        evidence=_evidence(target, ended, counted, memory, remarks),
        validity=Validity(status, objections),
    )


def _evidence(target: Target, ended: Ended, counted: Counted, memory: int | None, remarks: list[str]) -> dict[str, Any]:
    said = ended.said
    return {
        "command": " ".join(ended.command),
        "bytes_read": said.bytes_of("read"),
        "bytes_written": said.bytes_of("write"),
        "running_s": said.seconds,
        "interval_rates": said.interval_rates,
        "device_counted": None if counted.device is None else asdict(counted.device),
        "counted_for_program": None if counted.own is None else asdict(counted.own),
        "device": {
            "name": target.device,
            "file_system": target.file_system,
            "mount": target.options,
            **target.facts,
        },
        "memory_B": memory,
        "load_of_others": counted.held,
        "status": said.status,
        "fio": said.plain,
        "fio_remarks": said.remarks,
        "remarks": remarks,
    }
