"""Disks of one's own for the tests of storage, and the shipped simulated server in a fast world."""

from pathlib import Path

import pytest

from aicalib_hw.bench import find_bench
from tests.disks import disk, raw_disk, small_disk

__all__ = ["disk", "fast_server", "raw_disk", "small_disk"]


def in_a_fast_world(folder: Path) -> Path:
    """Write the bench file of the simulated server, whose world runs ten times as fast as it is shipped."""
    text = Path(find_bench("simulated-server")).read_text(encoding="utf-8")
    assert text.count("\n[world]\n") == 1
    path = folder / "simulated-server.toml"
    path.write_text(text.replace("\n[world]\n", "\n[world]\nrate = 10.0\n"), encoding="utf-8")
    return path


@pytest.fixture
def fast_server(tmp_path: Path) -> Path:
    """The bench file of the simulated server in a fast world."""
    return in_a_fast_world(tmp_path)
