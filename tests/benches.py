"""Bench files for tests: shipped ones, as they are but for the pace of their world, and stepped worlds to open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aicalib_hw as hw
from aicalib_hw.bench import find_bench

from .pacing import Pace


def in_a_fast_world(folder: Path) -> Path:
    """Write the bench file of the simulated server, whose world runs ten times as fast as it is shipped."""
    return _in_a_world_of(10.0, folder)


def in_a_stepped_world(folder: Path) -> Path:
    """Write the bench file of the simulated server, whose world stands still until it is moved."""
    return _in_a_world_of(0.0, folder)


def _in_a_world_of(rate: float, folder: Path) -> Path:
    text = Path(find_bench("simulated-server")).read_text(encoding="utf-8")
    assert text.count("\n[world]\n") == 1
    path = folder / "simulated-server.toml"
    path.write_text(text.replace("\n[world]\n", f"\n[world]\nrate = {rate}\n"), encoding="utf-8")
    return path


@contextmanager
def stepped(path: Path, interval: float = 0.25) -> Iterator[hw.Bench]:
    """Open a bench of one WT300 whose world has the rate 0, and moves on when that is asked for an update.

    interval: s of the world, the meter's update interval. Nothing waits, and a busy host loses no update.
    """
    with hw.open_bench(path, simulate=True, trace=(pace := Pace("WAIT?", interval))) as bench:
        pace.begin(bench.world)
        yield bench
