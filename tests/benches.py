"""Bench files for tests: shipped ones, as they are but for the pace of their world; stepped worlds; certificates."""

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


def certificate(
    instrument: str, quantity: str, *, correction: float, unit: str, number: str, valid: tuple[str, str]
) -> str:
    """Lines of a bench file: what `instrument` measures from 0 to 1000 is to be corrected by so much, U = 2 (k = 2).

    valid: days of calibration and of its end.
    """
    true = f'correction = {correction}, expanded_uncertainty = 2.0, unit = "{unit}"'
    points = [f'{{ quantity = "{quantity}", at = {at}, {true} }}' for at in (0.0, 1000.0)]
    return f"""
[instruments.{instrument}.certificate]
number = "{number}"
issuer = "lab"
calibrated_on = {valid[0]}
valid_until = {valid[1]}
points = [{", ".join(points)}]
"""
