"""A disk of one's own: a loop device, whose counters nobody else moves."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A mounted file system on a loop device."""

    directory: Path
    device: str

    @property
    def address(self) -> str:
        return f"fio://{self.directory}?loop=yes"

    def count(self) -> tuple[int, int]:
        """Bytes read and written, by the device's own counters (Documentation/block/stat.rst: fields 3 and 7)."""
        fields = Path(f"/sys/block/{self.device}/stat").read_text().split()
        return int(fields[2]) * 512, int(fields[6]) * 512


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def mounted(folder: Path, size: str) -> Iterator[Disk]:
    image, directory = folder / "disk.img", folder / "disk"
    directory.mkdir()
    run("truncate", "-s", size, image)
    run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    device = run("losetup", "--find", "--show", "--direct-io=on", image)
    try:
        run("mount", device, directory)
        try:
            yield Disk(directory, Path(device).name)
        finally:
            run("umount", directory)
    finally:
        run("losetup", "--detach", device)


def require() -> None:
    if not shutil.which("fio"):
        pytest.skip("fio is not installed: sudo apt-get install fio")
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists() or not shutil.which("mkfs.ext4"):
        pytest.skip("a loop device needs root, /dev/loop-control and mkfs.ext4: sudo apt-get install e2fsprogs mount")


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    require()
    yield from mounted(tmp_path_factory.mktemp("storage"), "320M")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    require()
    yield from mounted(tmp_path, "24M")
