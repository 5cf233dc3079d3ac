"""Durations as people write them: 250ms, 1s, 10min, 2h."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration, a number and one of ms, s, min, h; raise ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|min|h)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a number and ms, s, min or h, as in 250ms, 1s, 10min")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not seconds:
        raise ValueError(f"{text!r} is no time at all")
    return seconds
