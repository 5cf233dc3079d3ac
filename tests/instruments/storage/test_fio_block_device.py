"""The fio driver on a whole block device, a loop device made here: read, written only when told so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from aicalib_hw.instruments.storage import _block_device, _existing
from aicalib_hw.instruments.storage.fio import Fio

from aicalib_hw.errors import ConnectionFailed, NotPermitted, NotSupported, OutOfRange
from aicalib_hw.interfaces import StorageJob
from aicalib_hw.readings import ValidityStatus
from tests.disks import Disk, RawDisk, attached, run

from .real_fio import MIB, job

LOSE_ALL = "&overwrite=device"


@pytest.mark.parametrize("pattern", ["sequential-read", "random-read"])
def test_a_block_device_is_read_and_counted_and_nothing_is_written_to_it(raw_disk: RawDisk, pattern: str) -> None:
    held, before = raw_disk.content, raw_disk.count()
    with Fio(raw_disk.address) as tester:
        result = tester.measure_throughput(job(pattern, precondition=False))
    assert result.validity, result.validity.reasons
    assert result.evidence["device"]["name"] == raw_disk.path.name
    assert "--readonly" in result.evidence["command"]
    assert result.evidence["device_counted"]["read"] == pytest.approx(result.evidence["bytes_read"], rel=0.005)
    assert (raw_disk.count()[1], raw_disk.content) == (before[1], held)


def test_its_whole_length_can_be_read_and_not_a_block_more(raw_disk: RawDisk) -> None:
    with Fio(raw_disk.address) as tester:
        assert tester.measure_throughput(job(size=raw_disk.size, precondition=False)).validity
        with pytest.raises(OutOfRange, match=f"has {raw_disk.size} bytes"):
            tester.measure_throughput(job(size=raw_disk.size + MIB // 4, precondition=False))


@pytest.mark.parametrize("allowed", ["", "&overwrite=yes"])
@pytest.mark.parametrize("asked", [job(), job("sequential-write", precondition=False), job(verify=True)])
def test_it_is_written_only_where_the_address_says_that_a_device_may_be(
    raw_disk: RawDisk, allowed: str, asked: StorageJob
) -> None:
    held = raw_disk.content
    with (
        Fio(raw_disk.address + allowed) as tester,
        pytest.raises(NotPermitted, match="ALL THAT IT HOLDS BE LOST: overwrite=device"),
    ):
        tester.measure_throughput(asked)
    assert raw_disk.content == held


def test_a_word_for_a_device_lets_no_file_be_overwritten(disk: Disk) -> None:
    precious = disk.directory / "precious"
    precious.write_bytes(b"data" * 8 * MIB)
    try:
        with Fio(f"fio://{precious}?loop=yes{LOSE_ALL}") as tester, pytest.raises(NotPermitted, match="overwrite=yes"):
            tester.measure_throughput(job())
        assert precious.read_bytes() == b"data" * 8 * MIB
    finally:
        precious.unlink()


def test_told_so_it_is_written_and_the_record_says_what_that_cost(raw_disk: RawDisk) -> None:
    held = raw_disk.content
    with Fio(raw_disk.address + LOSE_ALL) as tester:
        result = tester.measure_throughput(job("sequential-write", size=raw_disk.size))
    assert result.validity, result.validity.reasons
    assert result.evidence["device_counted"]["written"] == pytest.approx(result.evidence["bytes_written"], rel=0.005)
    assert any("held was overwritten" in remark for remark in result.evidence["remarks"])
    assert raw_disk.content != held


@contextmanager
def mounted(raw: RawDisk, place: Path) -> Iterator[None]:
    run("mkfs.ext4", "-q", raw.path)
    run("mount", raw.path, place)
    try:
        yield
    finally:
        run("umount", place)


@contextmanager
def swapped_to(raw: RawDisk, place: Path) -> Iterator[None]:
    run("mkswap", raw.path)
    run("swapon", raw.path)
    try:
        yield
    finally:
        run("swapoff", raw.path)


@contextmanager
def under_a_loop_device(raw: RawDisk, place: Path) -> Iterator[None]:
    with attached(raw.path):
        yield


@contextmanager
def held_by_another(raw: RawDisk, place: Path) -> Iterator[None]:
    file = os.open(raw.path, os.O_RDWR | os.O_EXCL)
    try:
        yield
    finally:
        os.close(file)


@contextmanager
def open_elsewhere(raw: RawDisk, place: Path) -> Iterator[None]:
    """As a virtual machine or a database has it: without O_EXCL."""
    with subprocess.Popen(["sleep", "60"], stdin=raw.path.open("rb")) as other:
        try:
            yield
        finally:
            other.kill()


@pytest.mark.parametrize(
    ("use", "named"),
    [
        (mounted, "it is mounted on"),
        (swapped_to, "it is swapped to"),
        (under_a_loop_device, "lies on it"),
        (held_by_another, "O_EXCL"),
        (open_elsewhere, "sleep .* has it open"),
    ],
)
def test_one_that_is_in_use_is_never_written_and_who_uses_it_is_told(
    raw_disk: RawDisk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[RawDisk, Path], AbstractContextManager[None]],
    named: str,
) -> None:
    monkeypatch.setattr(_block_device, "_SETTLES_WITHIN", 0.0)
    with use(raw_disk, tmp_path), Fio(raw_disk.address + LOSE_ALL) as tester:
        written = raw_disk.count()[1]
        with pytest.raises(NotPermitted, match=named):
            tester.measure_throughput(job())
        assert raw_disk.count()[1] == written


def test_while_it_is_written_nobody_else_can_take_it(raw_disk: RawDisk) -> None:
    refused: list[OSError] = []

    def try_to_take(done: float, note: str) -> None:
        try:
            os.close(os.open(raw_disk.path, os.O_RDWR | os.O_EXCL))
        except OSError as error:
            refused.append(error)

    with Fio(raw_disk.address + LOSE_ALL) as tester:
        tester.measure_throughput(job(), progress=lambda done, note: try_to_take(done, note) if done < 0.9 else None)
    assert refused
    os.close(os.open(raw_disk.path, os.O_RDWR | os.O_EXCL))


def test_a_disk_is_in_use_where_one_of_its_partitions_is_and_the_other_way_round(tmp_path: Path) -> None:
    disk, holder = tmp_path / "sdz", "dm-9"
    for number, node in enumerate((disk, disk / "sdz1", disk / "sdz2")):
        (node / "holders").mkdir(parents=True)
        (node / "dev").write_text(f"4095:{number}\n")
    for partition in ("sdz1", "sdz2"):
        (disk / partition / "partition").write_text("1\n")
    (disk / "sdz1" / "holders" / holder).mkdir()
    assert _block_device.users(disk) == ("sdz1 is part of dm-9",)
    assert _block_device.users(disk / "sdz1") == ("sdz1 is part of dm-9",)
    assert _block_device.users(disk / "sdz2") == ()


def test_blocks_that_were_never_written_give_no_rate_although_the_device_counts_them(raw_disk: RawDisk) -> None:
    with raw_disk.path.open("r+b") as device:
        device.seek(8 * MIB)
        device.write(bytes(2 * MIB))
    with Fio(raw_disk.address) as tester:
        result = tester.measure_throughput(job(size=raw_disk.size, precondition=False))
        beside = tester.measure_throughput(job(size=8 * MIB, precondition=False))
    assert result.validity.status is ValidityStatus.INVALID
    (reason,) = result.validity.reasons
    assert "nothing but zeros was read at 16 of 256 places" in reason
    assert beside.validity, beside.validity.reasons


def test_one_block_of_zeros_among_many_is_no_objection() -> None:
    assert _existing.never_written(1) == ()
    assert _existing.never_written(2)


def test_a_loop_device_is_read_only_where_that_is_allowed_and_no_node_without_a_device_at_all(
    raw_disk: RawDisk, tmp_path: Path
) -> None:
    with pytest.raises(NotSupported, match="loop device"):
        Fio(f"fio://{raw_disk.path}").open()
    with pytest.raises(NotSupported, match="neither a directory, nor a file, nor a block device"):
        Fio("fio:///dev/null").open()
    node = tmp_path / "nothing"
    os.mknod(node, 0o600 | 0o060000, os.makedev(4095, 7))
    with pytest.raises(ConnectionFailed, match="no block device behind"):
        Fio(f"fio://{node}?loop=yes").open()
