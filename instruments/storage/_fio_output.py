"""What fio writes about a run: its accounts, the last of which is the whole run, and why a run did not come to its end.

Source: fio(1), the JSON of fio 3.33. `io_bytes` and `runtime` (whole ms) are the measurement; `bw` is in KiB/s and is
never used. With `--status-interval` several accounts follow each other, each counted from the beginning.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DIRECTIONS = ("read", "write")

_MOST_KEPT = 20_000
"""Characters that are kept of what could not be read."""

_LEAST_INTERVAL = 0.5
"""s: the rate of a shorter interval says little, as fio counts in steps of 1 ms and in whole queues."""

Jobs = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Said:
    """One run as fio tells it: exit status, jobs of its last account, those of earlier ones, what it wrote besides.

    cut: the last account that it began was not whole, and the one before it stands for it. version: as the account has
    it. unreadable: why what it wrote could not be read, "" if it could; it is kept among the remarks.
    """

    status: int
    jobs: Jobs
    remarks: str
    earlier: tuple[Jobs, ...] = ()
    cut: bool = False
    version: str = ""
    unreadable: str = ""

    def bytes_of(self, direction: str) -> int:
        """Bytes that all jobs moved in one direction ("read" or "write")."""
        return sum(int(job[direction]["io_bytes"]) for job in self.jobs)

    @property
    def moved(self) -> int:
        """Bytes read and written by all jobs."""
        return _moved(self.jobs)

    @property
    def seconds(self) -> float:
        """Longest running time of a job, s, in steps of 1 ms; 0.0 if nothing ran."""
        return _seconds(self.jobs)

    @property
    def rate(self) -> float | None:
        """Bytes of all jobs over the longest running time, bit/s; None if nothing ran."""
        return 8 * self.moved / self.seconds if self.moved and self.seconds else None

    @property
    def interval_rates(self) -> list[float]:
        """The rate from each account to the next, bit/s, in their order."""
        return _rates(self._accounts)

    def round_rates(self, count: int) -> list[float]:
        """The rates of `count` rounds, as nearly alike in length as the accounts lie; [] where they are too few."""
        accounts = self._accounts
        if len(accounts) <= count:
            return []
        times = [seconds for _, seconds in accounts]
        bounds = [times[-1] * number / count for number in range(count + 1)]
        nearest = [min(range(len(times)), key=[abs(time - bound) for time in times].__getitem__) for bound in bounds]
        return _rates([accounts[index] for index in nearest])

    @property
    def _accounts(self) -> list[tuple[int, float]]:
        """Bytes and s of each account, from the beginning."""
        return [(0, 0.0), *((_moved(jobs), _seconds(jobs)) for jobs in (*self.earlier, self.jobs))]

    @property
    def plain(self) -> list[dict[str, Any]]:
        """The jobs as fio printed them, without the histograms' bins."""
        return [_without_bins(job) for job in self.jobs]


def read(status: int, output: str, errors: str) -> Said:
    """Take apart what fio wrote, as `parse` does; what cannot be read is kept with the reason, and has no jobs."""
    try:
        return parse(status, output, errors)
    except ValueError as wrong:
        kept = f"{output}\n{errors}".strip()
        if len(kept) > _MOST_KEPT:
            kept = f"{kept[: _MOST_KEPT // 2]}\n…\n{kept[-_MOST_KEPT // 2 :]}"
        return Said(status, (), kept, unreadable=str(wrong))


def parse(status: int, output: str, errors: str) -> Said:
    """Take apart what fio wrote into its output file: accounts in JSON, with text before, between and after them.

    Without JSON there are no jobs. A last account that was cut off is left out. Raises ValueError for JSON that is
    not fio's.
    """
    accounts: list[Jobs] = []
    besides: list[str] = []
    decoder = json.JSONDecoder()
    at, cut, version = 0, False, ""
    while (start := output.find("{", at)) >= 0:
        besides.append(output[at:start])
        try:
            said, at = decoder.raw_decode(output, start)
        except json.JSONDecodeError:
            if not accounts:
                raise
            at, cut = len(output), True
            break
        jobs = said.get("jobs")
        if not isinstance(jobs, list) or any(not isinstance(job.get("read"), dict) for job in jobs):
            raise ValueError(f"no jobs in it, but {', '.join(said)}")
        accounts.append(tuple(jobs))
        version = str(said.get("fio version", ""))
    besides.append(output[at:])
    remarks = "\n".join(text for part in (*besides, errors) if (text := part.strip()))
    return Said(status, accounts[-1] if accounts else (), remarks, tuple(accounts[:-1]), cut, version)


def breakdowns(said: Said) -> tuple[str, ...]:
    """Return why a run did not come to its end, nothing if it did: status, signal, errors of any job."""
    found = []
    if said.status < 0:
        found.append(f"fio was ended by signal {-said.status}")
    elif said.status:
        found.append(f"fio ended with status {said.status}")
    for number in dict.fromkeys(_errors_of(said)):
        found.append(f"error {number} of fio: {meaning(number)}")
    if said.unreadable:
        found.append(f"fio wrote no JSON of its own: {said.unreadable}")
    elif (said.status or not said.jobs) and said.remarks:
        found.append(said.remarks.splitlines()[-1].strip())
    if said.cut and not said.status:
        found.append("fio's account of its end is not whole")
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


def _rates(accounts: Sequence[tuple[int, float]]) -> list[float]:
    return [
        8 * (later - former) / (end - begin)
        for (former, begin), (later, end) in itertools.pairwise(accounts)
        if end - begin >= _LEAST_INTERVAL
    ]


def _moved(jobs: Jobs) -> int:
    return sum(int(job[way]["io_bytes"]) for job in jobs for way in DIRECTIONS)


def _seconds(jobs: Jobs) -> float:
    return max((int(job[way]["runtime"]) for job in jobs for way in DIRECTIONS), default=0) / 1000


def _errors_of(said: Said) -> Sequence[int]:
    return [
        int(job[name])
        for job in said.jobs
        for name in ("error", "first_error")
        if int(job.get(name, 0)) and (name == "error" or int(job.get("total_err", 0)))
    ]


def _without_bins(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_bins(one) for key, one in value.items() if key != "bins"}
    return value
