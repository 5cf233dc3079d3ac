"""A disk of one's own: a loop device, whose counters nobody else moves.

Its blocks lie in memory where there is room, so that neither its rate nor how long a test takes is that of a disk which
others use meanwhile. To fio, the kernel and the driver it is a block device as any other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_ROOM = 1 << 30
"""Bytes that have to be free in memory for a disk to lie there."""


@dataclass(frozen=True)
class Disk:
    """A mounted file system on a loop device."""

    directory: Path
    device: str

    @property
    def address(self) -> str:
        return f"fio://{self.directory}?loop=yes"

    def count(self) -> tuple[int, int]:
        return counted(self.device)


@dataclass(frozen=True)
class RawDisk:
    """A loop device without a file system; path: its node. Every byte of it was written, and no block is zeros."""

    path: Path
    size: int

    @property
    def address(self) -> str:
        return f"fio://{self.path}?loop=yes"

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    def count(self) -> tuple[int, int]:
        return counted(self.path.name)


def counted(device: str) -> tuple[int, int]:
    """Bytes read and written, by a device's own counters (Documentation/block/stat.rst: fields 3 and 7)."""
    fields = Path(f"/sys/block/{device}/stat").read_text().split()
    return int(fields[2]) * 512, int(fields[6]) * 512


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def require() -> None:
    if not shutil.which("fio"):
        pytest.skip("fio is not installed: sudo apt-get install fio")
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists() or not shutil.which("mkfs.ext4"):
        pytest.skip("a loop device needs root, /dev/loop-control and mkfs.ext4: sudo apt-get install e2fsprogs mount")


@contextlib.contextmanager
def attached(image: Path) -> Iterator[Path]:
    """The loop device of an image."""
    device = run("losetup", "--find", "--show", "--direct-io=on", image)
    try:
        yield Path(device)
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def _room(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        free = os.statvfs(_MEMORY)
        if free.f_bavail * free.f_frsize >= _ROOM:
            with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="disk-of-a-test-") as made:
                yield Path(made)
            return
    yield folder


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Disk]:
    directory = folder / "disk"
    directory.mkdir()
    with _room(folder) as place:
        image = place / "disk.img"
        run("truncate", "-s", size, image)
        run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        with attached(image) as device:
            run("mount", device, directory)
            try:
                yield Disk(directory, device.name)
            finally:
                run("umount", directory)


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    require()
    with mounted(tmp_path_factory.mktemp("storage"), "320M") as made:
        yield made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    require()
    with mounted(tmp_path, "24M") as made:
        yield made


@pytest.fixture
def raw_disk(tmp_path: Path) -> Iterator[RawDisk]:
    require()
    with _room(tmp_path) as place:
        image = place / "raw.img"
        image.write_bytes(os.urandom(1 << 20) * 32)
        with attached(image) as device:
            yield RawDisk(device, 32 << 20)
