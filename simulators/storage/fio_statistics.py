"""What fio counts of its I/O, and the form in which it says so: latencies in bins, rates in samples, JSON.

The bins are those of fio: each power of two is divided into 64, a bin is named by its middle, and values below 128 ns
have one each. A percentile is the name of the bin in which it lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

PERCENTILES = (1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99)
_EXACT = 7
"""Values of fewer bits have a bin each."""
_PARTS = 6
_STEPS = 48
"""Into how many equally likely parts a distribution of latencies is divided."""
_LEVELS = (1, 2, 4, 8, 16, 32, 64)
_LATENCY_NS = (2, 4, 10, 20, 50, 100, 250, 500, 750, 1000)
_LATENCY_MS = (*_LATENCY_NS, 2000)
_UNITS: tuple[tuple[float, tuple[int, ...]], ...] = ((1.0, _LATENCY_NS), (1e3, _LATENCY_NS), (1e6, _LATENCY_MS))


def bin_of(nanoseconds: float) -> int:
    """Return the name of the bin in which a latency lies, ns."""
    value = max(0, math.floor(nanoseconds))
    if value.bit_length() <= _EXACT:
        return value
    shift = value.bit_length() - 1 - _PARTS
    return ((value >> shift) << shift) + (1 << (shift - 1))


@dataclass
class Latencies:
    """A distribution of latencies, ns: bins by name, and the moments of what they are made of."""

    count: int = 0
    least: float = 0.0
    most: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    bins: dict[int, int] = field(default_factory=dict)

    def __add__(self, other: Latencies) -> Latencies:
        if not self.count or not other.count:
            return other if other.count else self
        bins = dict(self.bins)
        for name, count in other.bins.items():
            bins[name] = bins.get(name, 0) + count
        return Latencies(
            self.count + other.count,
            min(self.least, other.least),
            max(self.most, other.most),
            self.total + other.total,
            self.squares + other.squares,
            dict(sorted(bins.items())),
        )

    @property
    def mean(self) -> float:
        """Mean, ns."""
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """Sample standard deviation, ns."""
        if self.count < 2:
            return 0.0
        return math.sqrt(max(0.0, (self.squares - self.total**2 / self.count) / (self.count - 1)))

    def percentile(self, percent: float) -> int:
        """Return the name of the bin in which a percentile lies, ns."""
        wanted, seen = math.ceil(percent / 100 * self.count), 0
        for name, count in self.bins.items():
            seen += count
            if seen >= wanted:
                return name
        return 0

    def shown(self, percentiles: Sequence[float] | None, bins: bool) -> dict[str, Any]:
        """Return it as fio's JSON has it."""
        shown: dict[str, Any] = {
            "min": round(self.least),
            "max": round(self.most),
            "mean": float(self.mean),
            "stddev": float(self.deviation),
            "N": self.count,
        }
        if percentiles is not None and self.count:
            shown["percentile"] = {f"{percent:.6f}": self.percentile(percent) for percent in percentiles}
            if bins:
                shown["bins"] = {str(name): count for name, count in self.bins.items()}
        return shown


def latencies(count: int, mean: float, spread: float) -> Latencies:
    """Return a lognormal distribution of `count` latencies. mean: ns; spread: of their logarithm."""
    if count <= 0 or mean <= 0:
        return Latencies()
    normal = NormalDist()
    steps = min(_STEPS, count)
    values = [math.exp(spread * normal.inv_cdf((step + 0.5) / steps)) for step in range(steps)]
    unit = mean * steps / sum(values)
    made = Latencies(count)
    given = 0
    for step, value in enumerate(values):
        each = value * unit
        upto = count * (step + 1) // steps
        here, given = upto - given, upto
        name = bin_of(each)
        made.bins[name] = made.bins.get(name, 0) + here
        made.total += each * here
        made.squares += each * each * here
    made.least, made.most = values[0] * unit, values[-1] * unit
    return made


@dataclass
class Flow:
    """One direction of one job, or of a group of them. runtime: ms; samples: KiB/s of each interval."""

    size: int = 0
    block: int = 1
    runtime: int = 0
    short: int = 0
    submit: Latencies = field(default_factory=Latencies)
    complete: Latencies = field(default_factory=Latencies)
    whole: Latencies = field(default_factory=Latencies)
    samples: list[list[float]] = field(default_factory=list)
    ios: int = 0

    def __add__(self, other: Flow) -> Flow:
        return Flow(
            self.size + other.size,
            max(self.block, other.block),
            max(self.runtime, other.runtime),
            self.short + other.short,
            self.submit + other.submit,
            self.complete + other.complete,
            self.whole + other.whole,
            self.samples + other.samples,
            self.ios + other.ios,
        )

    @property
    def rate(self) -> int:
        """Rate as fio has it, byte/s."""
        return 1000 * self.size // self.runtime if self.runtime else 0

    def shown(self, job: Shape) -> dict[str, Any]:
        """Return it as fio's JSON has it."""
        percentiles = job.percentiles
        bandwidth = _sampled([[round(one) for one in part] for part in self.samples])
        operations = _sampled([[round(one * 1024 / self.block) for one in part] for part in self.samples])
        return {
            "io_bytes": self.size,
            "io_kbytes": self.size >> 10,
            "bw_bytes": self.rate,
            "bw": self.rate >> 10,
            "iops": 1000 * self.ios / self.runtime if self.runtime else 0.0,
            "runtime": self.runtime,
            "total_ios": self.ios,
            "short_ios": self.short,
            "drop_ios": 0,
            "slat_ns": self.submit.shown(percentiles if job.submit else None, job.bins),
            "clat_ns": self.complete.shown(percentiles if job.complete else None, job.bins),
            "lat_ns": self.whole.shown(percentiles if job.whole else None, job.bins),
            "bw_min": int(bandwidth[0]),
            "bw_max": int(bandwidth[1]),
            "bw_agg": min(100.0, bandwidth[2] * 100 / (self.rate / 1024)) if self.rate and bandwidth[4] else 0.0,
            "bw_mean": float(bandwidth[2]),
            "bw_dev": float(bandwidth[3]),
            "bw_samples": bandwidth[4],
            "iops_min": int(operations[0]),
            "iops_max": int(operations[1]),
            "iops_mean": float(operations[2]),
            "iops_stddev": float(operations[3]),
            "iops_samples": operations[4],
        }


@dataclass(frozen=True)
class Shape:
    """What of latencies is shown: percentiles (%), of which of the three, and whether with bins."""

    percentiles: tuple[float, ...] = PERCENTILES
    submit: bool = False
    complete: bool = True
    whole: bool = False
    bins: bool = False


def _sampled(parts: Sequence[Sequence[int]]) -> tuple[int, int, float, float, int]:
    """Return least, most, mean, deviation and number of samples; jobs of a group are added up, as fio 3.33 does."""
    filled = [part for part in parts if part]
    count = sum(len(part) for part in filled)
    if not count:
        return 0, 0, 0.0, 0.0, 0
    means = [sum(part) / len(part) for part in filled]
    spread = sum((one - mean) ** 2 for part, mean in zip(filled, means, strict=True) for one in part)
    deviation = math.sqrt(spread / (count - 1)) if count > 1 else 0.0
    return sum(min(part) for part in filled), sum(max(part) for part in filled), sum(means), deviation, count


def depth_levels(depth: int, ios: int, ramped: bool) -> dict[str, float]:
    """Return which part of the I/O was begun at which depth, %. ramped: the queue was full when counting began."""
    shares = dict.fromkeys(_LEVELS, 0)
    if ios:
        rising = 0 if ramped else min(depth - 1, ios)
        for step in range(1, rising + 1):
            shares[max(level for level in _LEVELS if level <= step)] += 1
        shares[max(level for level in _LEVELS if level <= depth)] += ios - rising
    total = max(ios, 1)
    return {f">={level}" if level == 64 else str(level): 100 * count / total for level, count in shares.items()}


def added_levels(levels: Iterable[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Return the levels of a group. levels: those of each job and its number of I/O."""
    listed = list(levels)
    total = sum(ios for _, ios in listed) or 1
    return {name: sum(part[name] * ios for part, ios in listed) / total for name in listed[0][0]}


def batches(ios: int) -> dict[str, float]:
    """Return which part of the submissions had how many I/O, %: the engines here submit one at a time."""
    shown = dict.fromkeys(("0", "4", "8", "16", "32", "64", ">=64"), 0.0)
    if ios:
        shown["4"] = 100.0
    return shown


def latency_shares(whole: Latencies) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Return which part of the I/O took how long, %, of ns, µs and ms."""
    parts: list[dict[str, float]] = []
    for unit, edges in _UNITS:
        part = {str(edge): 0.0 for edge in edges}
        if unit == 1e6:
            part[">=2000"] = 0.0
        parts.append(part)
    for name, count in whole.bins.items():
        share = 100 * count / whole.count
        for (unit, edges), part in zip(_UNITS, parts, strict=True):
            edge = next((edge for edge in edges if name / unit < edge), None)
            if edge is not None:
                part[str(edge)] += share
                break
        else:
            parts[2][">=2000"] += share
    return parts[0], parts[1], parts[2]


def written(value: Any, indent: int = 0) -> str:
    """Return JSON in fio's hand: a blank before each colon, six decimals; a list of pairs is an object."""
    space, inner = "  " * indent, "  " * (indent + 1)
    if isinstance(value, Mapping):
        value = list(value.items())
        if not value:
            return "{\n" + space + "}"
    if isinstance(value, list):
        if value and isinstance(value[0], tuple):
            rows = [f"{inner}{_quoted(name)} : {written(one, indent + 1)}" for name, one in value]
            return "{\n" + ",\n".join(rows) + f"\n{space}}}"
        return "[\n" + ",\n".join(inner + written(one, indent + 1) for one in value) + f"\n{space}]"
    if isinstance(value, str):
        return _quoted(value)
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
