"""How fio 3.33 says what it counted: JSON, the text for people, the line of progress, and logs of rates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .disk import DiskOptions
from .fio_job import Job, Plan
from .fio_run import Counted, Lane
from .fio_statistics import (
    PERCENTILES,
    Flow,
    Latencies,
    Shape,
    added_levels,
    batches,
    latency_shares,
    written,
)

_UNKNOWN_ETA = 2147483647
_LOGS = {"write_bw_log": ("bw",), "write_iops_log": ("iops",), "write_lat_log": ("lat", "slat", "clat")}
"""Options that ask for logs, and which they are."""


@dataclass(frozen=True)
class Entry:
    """One entry of the report: a lane, or a group of them that is reported as one."""

    job: Job
    group: int
    lanes: tuple[Lane, ...]
    counted: Counted
    count: int


def entries(lanes: Sequence[Lane], now: float, options: DiskOptions) -> list[Entry]:
    """Return what is reported: each lane, those of a group with `group_reporting` together."""
    made: list[Entry] = []
    for lane in lanes:
        counted = lane.counted(now, options)
        last = made[-1] if made else None
        if last is not None and last.group == lane.job.group and lane.job.flag("group_reporting"):
            both = _added(last.counted, counted)
            made[-1] = Entry(last.job, last.group, (*last.lanes, lane), both, last.count + 1)
        else:
            made.append(Entry(lane.job, lane.job.group, (lane,), counted, 1))
    return made


def _added(one: Counted, other: Counted) -> Counted:
    whole = one.ios + other.ios or 1
    return Counted(
        one.read + other.read,
        one.write + other.write,
        one.runtime + other.runtime,
        one.syncs + other.syncs,
        added_levels(((one.levels, one.ios), (other.levels, other.ios))),
        one.error or other.error,
        None if one.total is None and other.total is None else (one.total or 0) + (other.total or 0),
        one.first or other.first,
        (
            (one.cpu[0] * one.ios + other.cpu[0] * other.ios) / whole,
            (one.cpu[1] * one.ios + other.cpu[1] * other.ios) / whole,
        ),
    )


def as_json(
    plan: Plan,
    found: Sequence[Entry],
    *,
    version: str,
    elapsed: float,
    eta: int | None,
    bins: bool,
    device: str,
    statistics: tuple[int, int, int, int, int],
) -> str:
    """Return the JSON document. elapsed: world s since the program began; statistics: of the disk, since then."""
    stamp = time.time()
    whole: dict[str, Any] = {
        "fio version": version,
        "timestamp": int(stamp),
        "timestamp_ms": int(stamp * 1000),
        "time": time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(stamp)),
    }
    if plan.common.given:
        whole["global options"] = list(plan.common.given)
    seconds = int(elapsed) + (elapsed > int(elapsed))
    whole["jobs"] = [_job(entry, seconds, _UNKNOWN_ETA if eta is None else eta, bins) for entry in found]
    reads, writes, reading, writing, busy = statistics
    whole["disk_util"] = [
        {
            "name": device,
            "read_ios": reads,
            "write_ios": writes,
            "read_merges": 0,
            "write_merges": 0,
            "read_ticks": reading if reads else 0,
            "write_ticks": writing if writes else 0,
            "in_queue": busy,
            "util": min(100.0, busy / 10 / elapsed) if elapsed else 0.0,
        }
    ]
    return written(whole) + "\n"


def _job(entry: Entry, elapsed: int, eta: int, bins: bool) -> dict[str, Any]:
    job, counted = entry.job, entry.counted
    listed = job.text("percentile_list")
    shape = Shape(
        tuple(float(one) for one in listed.split(":")) if listed else PERCENTILES,
        job.flag("slat_percentiles"),
        job.flag("clat_percentiles"),
        job.flag("lat_percentiles"),
        bins,
    )
    nanoseconds, microseconds, milliseconds = latency_shares(counted.read.whole + counted.write.whole)
    shown: dict[str, Any] = {
        "jobname": job.name,
        "groupid": entry.group,
        "error": counted.error,
        "eta": eta,
        "elapsed": elapsed,
        "job options": list(job.given),
        "read": counted.read.shown(shape),
        "write": counted.write.shown(shape),
        "trim": Flow().shown(shape),
        "sync": {"total_ios": counted.syncs.count, "lat_ns": counted.syncs.shown(PERCENTILES, False)},
        "job_runtime": counted.runtime,
        "usr_cpu": counted.cpu[0],
        "sys_cpu": counted.cpu[1],
        "ctx": counted.ios,
        "majf": 0,
        "minf": 20 * entry.count,
        "iodepth_level": counted.levels,
        "iodepth_submit": batches(counted.ios),
        "iodepth_complete": batches(counted.ios),
        "latency_ns": nanoseconds,
        "latency_us": microseconds,
        "latency_ms": milliseconds,
    }
    if counted.total is not None:
        shown |= {"total_err": counted.total, "first_error": counted.first}
    return shown | {
        "latency_depth": job.number("iodepth", 1),
        "latency_target": 0,
        "latency_percentile": 100.0,
        "latency_window": 0,
    }


def announced(job: Job, group: int) -> str:
    """Return the line that fio says of a job before it begins."""
    read, write = job.sizes("bs", 4096)
    parts = ", ".join(
        f"({letter}) {_block(size)}-{_block(size)}" for letter, size in (("R", read), ("W", write), ("T", read))
    )
    direction, engine = job.text("rw", "read"), job.text("ioengine", "psync")
    return (
        f"{job.name}: (g={group}): rw={direction}, bs={parts}, ioengine={engine}, iodepth={job.number('iodepth', 1)}\n"
    )


def progress(
    lanes: Sequence[Lane], rates: tuple[float, float, float, float] | None, done: float | None, left: float | None
) -> str:
    """Return the line of progress. rates: of reads and writes, byte/s, then I/O per s; left: s to go, None = ?."""
    running = [lane for lane in lanes if not lane.done]
    line = f"Jobs: {len(running)} (f={len(running)})"
    if rates is None:
        return line
    states = [
        "/" if lane.main is not None and lane.main.size_now and _ramping(lane) else _letter(lane.job)
        for lane in running
    ]
    runs: list[tuple[str, int]] = []
    for state in states:
        if runs and runs[-1][0] == state:
            runs[-1] = (state, runs[-1][1] + 1)
        else:
            runs.append((state, 1))
    line += ": [" + ",".join(f"{state}({count})" for state, count in runs) + "]"
    line += "[-.-%]" if done is None else f"[{100 * done:.1f}%]"
    named = [
        (letter, rate, ios) for letter, rate, ios in (("r", rates[0], rates[2]), ("w", rates[1], rates[3])) if rate
    ]
    if named:
        line += "[" + ",".join(f"{letter}={_size(rate, binary=True)}/s" for letter, rate, _ in named) + "]"
        line += "[" + ",".join(f"{letter}={_plain(ios)}" for letter, _, ios in named) + " IOPS]"
    seconds = round(left or 0)
    return line + f"[eta {seconds // 60:02d}m:{seconds % 60:02d}s]"


def _ramping(lane: Lane) -> bool:
    main, ramp = lane.main, lane.job.seconds("ramp_time")
    return main is not None and bool(main.marks) and main.marks[-1].moment < main.began + ramp


def _letter(job: Job) -> str:
    random = job.text("rw", "read").startswith("rand")
    letter = "R" if job.reads == 1 else "W" if job.reads == 0 else "M"
    return letter.lower() if random else letter


def as_text(found: Sequence[Entry], device: str, statistics: tuple[int, int, int, int, int], elapsed: float) -> str:
    """Return the text for people."""
    stamp = time.strftime("%a %b %d %H:%M:%S %Y")
    lines: list[str] = []
    for entry in found:
        counted = entry.counted
        told = next((lane.told for lane in entry.lanes if lane.told), "")
        error = f"err={counted.error:2d}" + (f" ({told})" if counted.error and told else "")
        lines += [
            "",
            f"{entry.job.name}: (groupid={entry.group}, jobs={entry.count}): {error}: "
            f"pid={entry.lanes[0].pid}: {stamp}",
        ]
        for name, flow in (("read", counted.read), ("write", counted.write)):
            if flow.ios:
                lines += _direction(name, flow)
        lines += _shares(counted)
    groups = sorted({entry.group for entry in found})
    for group in groups:
        lines += ["", f"Run status group {group} (all jobs):"]
        for name, title in (("read", "   READ"), ("write", "  WRITE")):
            flows = [getattr(entry.counted, name) for entry in found if entry.group == group]
            flows = [flow for flow in flows if flow.ios]
            if flows:
                lines.append(_status(title, flows))
    reads, writes, reading, writing, busy = statistics
    util = min(100.0, busy / 10 / elapsed) if elapsed else 0.0
    ticks = f"{reading if reads else 0}/{writing if writes else 0}"
    busiest = f"in_queue={busy}, util={util:.2f}%"
    lines += ["", "Disk stats (read/write):", f"  {device}: ios={reads}/{writes}, merge=0/0, ticks={ticks}, {busiest}"]
    return "\n".join(lines) + "\n"


def _direction(name: str, flow: Flow) -> list[str]:
    iops = 1000 * flow.ios / flow.runtime
    tail = "; 0 zone resets" if name == "write" else ""
    lines = [
        f"  {name}: IOPS={_plain(iops)}, BW={_size(flow.rate, binary=True)}/s ({_size(flow.rate)}/s)"
        f"({_size(flow.size, binary=True)}/{flow.runtime}msec){tail}"
    ]
    for title, part in (("slat", flow.submit), ("clat", flow.complete), (" lat", flow.whole)):
        if part.count and not (title == "slat" and part.most == 0):
            unit, by = _latency_unit(part)
            lines.append(
                f"    {title} ({unit}): min={part.least / by:.0f}, max={part.most / by:.0f}, "
                f"avg={part.mean / by:.2f}, stdev={part.deviation / by:.2f}"
            )
    unit, by = _latency_unit(flow.complete)
    lines.append(f"    clat percentiles ({unit}):")
    texts = [f"{percent:5.2f}th=[{flow.complete.percentile(percent) / by:5.0f}]" for percent in PERCENTILES]
    for first in range(0, len(texts), 4):
        row = texts[first : first + 4]
        lines.append("     | " + ", ".join(row) + ("," if first + 4 < len(texts) else ""))
    return lines


def _latency_unit(part: Latencies) -> tuple[str, float]:
    if part.least > 2e6 and part.most > 99e6:
        return "msec", 1e6
    if part.least > 2e3 and part.most > 99e3:
        return "usec", 1e3
    return "nsec", 1.0


def _shares(counted: Counted) -> list[str]:
    def row(values: dict[str, float]) -> str:
        return ", ".join(f"{name}={share:.1f}%" for name, share in values.items())

    whole = batches(counted.ios)
    totals = f"{counted.read.ios},{counted.write.ios},0,0"
    return [
        f"  cpu          : usr={counted.cpu[0]:.2f}%, sys={counted.cpu[1]:.2f}%, ctx={counted.ios}, majf=0, minf=20",
        f"  IO depths    : {row(counted.levels)}",
        f"     submit    : {row(whole)}",
        f"     complete  : {row(whole)}",
        f"     issued rwts: total={totals} short={counted.read.short},{counted.write.short},0,0 dropped=0,0,0,0",
        "     latency   : target=0, window=0, percentile=100.00%, depth=1",
    ]


def _status(title: str, flows: Sequence[Flow]) -> str:
    whole = sum((flow.size for flow in flows), 0)
    shortest, longest = min(flow.runtime for flow in flows), max(flow.runtime for flow in flows)
    rate = 1000 * whole // longest
    least, most = min(flow.rate for flow in flows), max(flow.rate for flow in flows)

    def both(one: float, other: float) -> str:
        binary = f"{_size(one, binary=True)}/s-{_size(other, binary=True)}/s"
        return f"{binary} ({_size(one)}/s-{_size(other)}/s)"

    return (
        f"{title}: bw={_size(rate, binary=True)}/s ({_size(rate)}/s), {both(least, most)}, "
        f"io={_size(whole, binary=True)} ({_size(whole)}), run={shortest}-{longest}msec"
    )


def logs(lane: Lane, number: int, directory: Path, now: float, options: DiskOptions) -> dict[Path, str]:
    """Return the logs of rates of one lane by path. number: of the lane in the whole run, from 1."""
    job, main = lane.job, lane.main
    if main is None or not main.marks:
        return {}
    made: dict[Path, str] = {}
    ramp = job.seconds("ramp_time")
    stop = min(now, main.ended if main.ended is not None else now)
    start = main.began + (ramp if stop > main.began + ramp else 0.0)
    every = (job.number("log_avg_msec") or 500) / 1000
    counted = lane.counted(now, options)
    for option, kinds in _LOGS.items():
        prefix = job.text(option)
        if not prefix:
            continue
        for kind in kinds:
            rows: list[tuple[int, int, int, int]] = []
            for code, share, block, flow in (
                (0, job.reads, lane.blocks[0], counted.read),
                (1, 1 - job.reads, lane.blocks[1], counted.write),
            ):
                if share:
                    for step, rate in enumerate(lane.rates(main, share, start, stop, every), 1):
                        latency = {"lat": flow.whole, "slat": flow.submit, "clat": flow.complete}
                        value = {"bw": rate, "iops": rate * 1024 / block}.get(kind)
                        value = latency[kind].mean if value is None else value
                        rows.append((round(step * every * 1000), round(value), code, 0))
            name = f"{prefix}_{kind}.{number}.log" if job.flag("per_job_logs") else f"{prefix}_{kind}.log"
            text = "".join(f"{at}, {value}, {code}, 0, 0\n" for at, value, code, _ in sorted(rows))
            made[directory / name] = text
    return made


def _block(size: int) -> str:
    if size < 10 * 1024:
        return f"{size}B"
    return f"{size / 1024:.1f}KiB" if size < 100 * 1024 else f"{size // 1024}KiB"


def _plain(value: float) -> str:
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * factor:
            scaled = value / factor
            return f"{scaled:.1f}{letter}" if scaled < 100 else f"{scaled:.0f}{letter}"
    return f"{value:.0f}"


def _size(value: float, *, binary: bool = False) -> str:
    """Return bytes with four figures, as fio writes them: 168MiB, 177MB, 57.0MiB."""
    by, units = (1024, ("B", "KiB", "MiB", "GiB", "TiB")) if binary else (1000, ("B", "kB", "MB", "GB", "TB"))
    scaled, unit = float(value), 0
    while scaled >= by * 10 and unit < len(units) - 1:
        scaled, unit = scaled / by, unit + 1
    digits = 0 if scaled >= 100 or unit == 0 else 1
    return f"{scaled:.{digits}f}{units[unit]}"
