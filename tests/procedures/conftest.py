"""Disks of one's own for the tests of storage, and worlds that are faster than this host, or stepped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import aicalib_hw as hw
from tests.benches import in_a_fast_world, in_a_stepped_world, stepped
from tests.disks import disk, raw_disk, small_disk

__all__ = ["disk", "fast_server", "raw_disk", "small_disk", "stepped_bench", "stepped_server"]


@pytest.fixture
def fast_server(tmp_path: Path) -> Path:
    """The bench file of the simulated server in a fast world."""
    return in_a_fast_world(tmp_path)


@pytest.fixture
def stepped_bench() -> Iterator[Callable[[Path], hw.Bench]]:
    """A function that opens a bench of one WT300 in a stepped world, and closes it when the test ends."""
    with ExitStack() as opened:
        yield lambda path: opened.enter_context(stepped(path))


@pytest.fixture
def stepped_server(stepped_bench: Callable[[Path], hw.Bench], tmp_path: Path) -> hw.Bench:
    """The simulated server, opened in a stepped world."""
    return stepped_bench(in_a_stepped_world(tmp_path))
