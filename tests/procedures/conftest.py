"""Disks of one's own for the tests of storage, and the shipped simulated server in a fast world."""

from pathlib import Path

import pytest

from tests.benches import in_a_fast_world
from tests.disks import disk, raw_disk, small_disk

__all__ = ["disk", "fast_server", "raw_disk", "small_disk"]


@pytest.fixture
def fast_server(tmp_path: Path) -> Path:
    """The bench file of the simulated server in a fast world."""
    return in_a_fast_world(tmp_path)
