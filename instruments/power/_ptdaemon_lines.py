"""The lines of SPEC's PTDaemon: a sample, the ranges, a statistic; what its answers look like, and nothing of links.

Source: what public harnesses send, expect and log (mlcommons/power-dev); PTDaemon's own document is not at hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from aicalib_hw.errors import ProtocolError

BAD = "-1.000000"
"""Stands for a value that the daemon could not get; a power of exactly −1 W cannot be told from it."""

_CHANNEL = re.compile(r"Ch\d+")
_TIME = re.compile(r"(\d\d)-(\d\d)-(\d{4}) (\d\d):(\d\d):(\d\d)\.(\d{1,6})")
_MEASURED = ("Watts", "Volts", "Amps", "PF")


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample line: when (ns since 1970, the daemon's clock), texts by quantity of the total and of each channel."""

    utc_ns: int
    total: dict[str, str]
    channels: tuple[dict[str, str], ...]
    mark: str


@dataclass(frozen=True, slots=True)
class Ranges:
    """What `RR` tells: whether auto range is on, and the range in A and in V; None = the daemon does not know."""

    current_auto: bool | None
    current: float | None
    voltage_auto: bool | None
    voltage: float | None


def parse_sample(line: str) -> Sample:
    """Return the sample of `Time,…,Watts,…,Volts,…,Amps,…,PF,…,Mark,…[,Ch1,Watts,…]`; raises ProtocolError."""
    words = line.split(",")
    channels: list[dict[str, str]] = []
    total: dict[str, str] = {}
    group = total
    place = 0
    while place < len(words):
        word = words[place]
        if _CHANNEL.fullmatch(word):
            group = {}
            channels.append(group)
            place += 1
        elif place + 1 < len(words) and word not in group:
            group[word] = words[place + 1]
            place += 2
        else:
            raise ProtocolError(f"{line!r} is no sample", why=f"{word!r} stands where it cannot")
    for measured in (total, *channels):
        missing = [name for name in ("Watts", "Volts", "Amps") if name not in measured]
        if missing:
            raise ProtocolError(f"{line!r} is no sample", why=f"it has no {missing[0]}")
    if next(iter(total)) != "Time":
        raise ProtocolError(f"{line!r} is no sample", why="it does not begin with its time")
    return Sample(parse_time(total["Time"]), total, tuple(channels), total.get("Mark", ""))


def parse_time(text: str) -> int:
    """Return `MM-DD-YYYY HH:MM:SS.mmm`, UTC, in ns since 1970; raises ProtocolError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ProtocolError(f"{text!r} is no time of the form MM-DD-YYYY HH:MM:SS.mmm")
    month, day, year, hour, minute, second = (int(found[group]) for group in range(1, 7))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ProtocolError(f"{text!r} is no time", why=str(error)) from error
    return int(moment.timestamp()) * 10**9 + int(found[7].ljust(9, "0"))


def parse_ranges(reply: str) -> Ranges:
    """Return what `Ranges,<A auto>,<A range>,<V auto>,<V range>` tells; raises ProtocolError."""
    words = reply.split(",")
    autos = {"-1": None, "0": False, "1": True}
    try:
        if len(words) != 5 or words[0] != "Ranges":
            raise ValueError
        current_auto, voltage_auto = autos[words[1].strip()], autos[words[3].strip()]
        current, voltage = float(words[2]), float(words[4])
    except (ValueError, KeyError):
        raise ProtocolError(f"{reply!r} is no answer to RR") from None
    return Ranges(current_auto, current if current > 0 else None, voltage_auto, voltage if voltage > 0 else None)


def parse_last(reply: str) -> int | None:
    """Return N of `Last N samples`; None for anything else."""
    found = re.fullmatch(r"Last (\d{1,7}) samples?", reply.strip())
    return int(found[1]) if found else None


def parse_uncertainty(reply: str) -> float | None:
    """Return the largest of `Uncertainty,<avg>,<min>,<max>,…`, a ratio; None if the daemon could not tell any.

    Raises ProtocolError for what is no such answer.
    """
    words = reply.split(",")
    try:
        if len(words) < 7 or words[0] != "Uncertainty":
            raise ValueError
        mean, least, largest = (float(word) for word in words[1:4])
    except ValueError:
        raise ProtocolError(f"{reply!r} is no answer to Uncertainty") from None
    return largest if 0 <= least <= mean <= largest < 1 else None


def identification(reply: str) -> dict[str, str]:
    """Return the words of `Identify`: "model" is the first, then each `name=value`."""
    words = [word.strip() for word in reply.split(",")]
    found = {"model": words[0]}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if equals:
            found.setdefault(name.strip(), value.strip())
    return found
