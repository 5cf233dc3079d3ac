"""The fio driver against real fio: what it measures, and every way in which fio's success means nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aicalib_hw.instruments.storage import _fio_output, _fio_trust, _target
from aicalib_hw.instruments.storage.fio import Fio

from aicalib_hw.errors import (
    ConnectionFailed,
    IdentityMismatch,
    MissingProgram,
    NotPermitted,
    NotSupported,
    OutOfRange,
    UsageError,
)
from aicalib_hw.readings import Measurement, ValidityStatus
from tests.disks import Disk, attached, run

from .real_fio import MIB, READ, job, left_in, of_real_fio


@pytest.mark.alone
def test_a_limited_rate_is_measured_within_half_a_per_cent_and_the_device_counted_the_same(disk: Disk) -> None:
    heard: list[float] = []
    limited = job(duration=3.0, block_size=MIB // 16, rate_limit=320e6)
    with Fio(disk.address) as tester:
        rates = []
        for _ in range(6):
            before = disk.count()
            result = tester.measure_throughput(limited, progress=lambda done, note: heard.append(done))
            counted = disk.count()[0] - before[0]
            assert result.validity, result.validity.reasons
            assert result.value is not None
            assert counted == pytest.approx(result.value * result.evidence["running_s"] / 8, rel=0.005)
            assert result.evidence["running_s"] >= 3.0
            # Never more than the limit; less where this host did not run fio at the end of its window: once it did.
            assert result.value <= 1.005 * 320e6
            rates.append(result.value)
            if result.value >= 0.995 * 320e6:
                break
        assert rates[-1] == pytest.approx(320e6, rel=0.005), rates
    assert result.definition == "rate/storage/sequential-read"
    assert not result.identity.simulated
    assert any(0.4 < done <= 0.9 for done in heard), heard


@pytest.mark.parametrize("pattern", ["sequential-write", "random-read", "mixed"])
def test_what_fio_moved_is_what_the_device_counted_within_half_a_per_cent(disk: Disk, pattern: str) -> None:
    heard: list[float] = []
    with Fio(disk.address) as tester:
        before = disk.count()
        result = tester.measure_throughput(job(pattern, jobs=2), progress=lambda done, note: heard.append(done))
        counted = [after - then for after, then in zip(disk.count(), before, strict=True)]
    # The file was written once before anything was measured.
    counted[1] -= READ.size
    assert result.validity, result.validity.reasons
    moved = [result.evidence["bytes_read"], result.evidence["bytes_written"]]
    assert [bool(one) for one in moved] == [pattern != "sequential-write", pattern != "random-read"]
    assert counted == [pytest.approx(one, rel=0.005, abs=MIB) for one in moved]
    assert result.value == pytest.approx(8 * sum(moved) / result.evidence["running_s"], rel=1e-12)
    assert heard == sorted(heard)
    assert (heard[0], heard[-1]) == (0.0, 1.0)
    assert left_in(disk) == []


@pytest.fixture(scope="module")
def of_an_odd_size(disk: Disk) -> tuple[Measurement, list[str]]:
    """What reading a file of 1.5 MiB for a second gave, and the files that were left on the disk."""
    with Fio(disk.address) as tester:
        result = tester.measure_throughput(job(size=3 * MIB // 2, block_size=MIB // 2, queue_depth=1))
    return result, left_in(disk)


def test_a_size_that_is_no_whole_number_of_mebibytes_is_filled_to_its_last_block(
    of_an_odd_size: tuple[Measurement, list[str]],
) -> None:
    result, left = of_an_odd_size
    assert result.evidence["bytes_read"] > 0
    assert left == []


def test_a_checkpoint_is_new_files_of_which_every_byte_counts_and_is_verified(disk: Disk) -> None:
    with Fio(disk.address) as tester:
        result = tester.measure_throughput(
            job("checkpoint-write", size=64 * MIB, jobs=2, verify=True, disturbance=0.05)
        )
        assert left_in(disk) == []
    assert result.validity, result.validity.reasons
    assert result.evidence["bytes_written"] == 64 * MIB
    assert result.evidence["device_counted"]["written"] >= 64 * MIB


def test_a_sparse_file_is_refused_and_one_allocated_but_never_written_is_found_by_the_device(disk: Disk) -> None:
    sparse, allocated = disk.directory / "sparse", disk.directory / "allocated"
    try:
        run("truncate", "-s", "32M", sparse)
        with Fio(f"fio://{sparse}?loop=yes") as tester, pytest.raises(UsageError, match="sparse"):
            tester.measure_throughput(job(precondition=False))
        run("fallocate", "-l", "32M", allocated)
        with Fio(f"fio://{allocated}?loop=yes") as tester:
            result = tester.measure_throughput(job(precondition=False))
    finally:
        sparse.unlink(missing_ok=True)
        allocated.unlink(missing_ok=True)
    assert result.validity.status is ValidityStatus.INVALID
    assert f"the device {disk.device} counted" in result.validity.reasons[0]
    assert "unwritten file" in result.validity.reasons[0]


@pytest.mark.parametrize(
    "engine",
    [["--ioengine=libaio", "--direct=0"], ["--ioengine=mmap", "--direct=1"], ["--ioengine=psync", "--direct=0"]],
    ids=["libaio without direct", "mmap with direct", "psync without direct"],
)
def test_a_page_cache_is_found_by_what_the_kernel_counted(disk: Disk, engine: list[str]) -> None:
    cached = disk.directory / "cached"
    cached.write_bytes(os.urandom(MIB) * 8)
    os.sync()
    assert len(cached.read_bytes()) == 8 * MIB
    options = ["--rw=read", "--bs=256k", "--size=8m", f"--filename={cached}", "--invalidate=0"]
    target = _target.target_at(disk.directory, loop=True)
    before, own = target.count(), _target.counted_for_children()
    assert before is not None
    said = of_real_fio(disk.directory, *options, *engine, "--loops=50")
    after = target.count()
    assert after is not None
    counts = {"device": after.since(before), "own": _target.counted_for_children().since(own)}
    cached.unlink()
    (disk.directory / "result.json").unlink()
    assert _fio_output.breakdowns(said) == ()
    assert said.rate
    found, _ = _fio_trust.disagreements(said, READ, name=disk.device, **counts)
    assert len(found) == 2
    assert all("a cache" in one for one in found)


def test_memory_is_no_storage_and_a_loop_device_only_when_allowed(disk: Disk) -> None:
    with pytest.raises(NotSupported, match="tmpfs"):
        Fio("fio:///dev/shm").open()
    with pytest.raises(NotSupported, match="loop"):
        Fio(f"fio://{disk.directory}").open()


def test_counters_that_are_named_make_no_storage_of_memory_or_of_a_loop_device(disk: Disk, tmp_path: Path) -> None:
    for named in ("loop0", "ram0", "nvme9n1"):
        (tmp_path / named).mkdir()
        (tmp_path / named / "stat").write_text("0 " * 11)
    for path, device, loop, why in (
        (disk.directory, "nvme9n1", False, disk.device),
        (disk.directory, "ram0", True, "memory"),
        (Path("/proc"), "loop0", False, "loop0"),
        (Path("/dev/shm"), "nvme9n1", False, "tmpfs"),
    ):
        with pytest.raises(NotSupported, match=why):
            _target.target_at(path, loop=loop, device=tmp_path / device)
    assert _target.target_at(disk.directory, loop=True, device=tmp_path / "nvme9n1").device == "nvme9n1"


def test_a_file_system_without_direct_access_is_refused(tmp_path: Path, disk: Disk) -> None:
    run("mount", "-t", "ramfs", "none", tmp_path)
    try:
        with pytest.raises(NotSupported, match="O_DIRECT"):
            _target.require_direct(tmp_path)
    finally:
        run("umount", tmp_path)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"engine": "mmap"}, "page cache"),
        ({"direct": False}, "page cache"),
        ({"engine": "psync", "queue_depth": 4}, "queue_depth"),
        ({"duration": 0.5}, "duration"),
        ({"block_size": 1000}, "even"),
        ({"size": 1 << 50}, "full"),
        ({"precondition": False}, "filled"),
        ({"path": "../.."}, "not under"),
    ],
)
def test_what_would_not_measure_the_disk_is_refused_before_anything_is_written(
    disk: Disk, wrong: dict[str, Any], named: str
) -> None:
    with Fio(disk.address) as tester, pytest.raises(OutOfRange, match=named):
        tester.measure_throughput(job(**wrong))
    assert left_in(disk) == []


def test_a_file_of_somebody_else_is_never_overwritten_unasked(disk: Disk) -> None:
    precious = disk.directory / "precious"
    precious.write_bytes(b"data" * 8 * MIB)
    try:
        for wrong in (job("sequential-write", precondition=False), job(), job(precondition=False, verify=True)):
            with Fio(f"fio://{precious}?loop=yes") as tester, pytest.raises(NotPermitted, match="overwrite=yes"):
                tester.measure_throughput(wrong)
        os.sync()
        with Fio(f"fio://{precious}?loop=yes") as tester:
            assert tester.measure_throughput(job(precondition=False)).validity
        assert precious.read_bytes() == b"data" * 8 * MIB
    finally:
        precious.unlink()


@pytest.mark.parametrize("name", ["disk#1", "disk;1", "disk ", " disk", "disk\t", "-"])
def test_a_file_whose_name_fio_takes_for_that_of_another_is_refused_and_the_other_one_is_kept(
    disk: Disk, name: str
) -> None:
    named, beside = disk.directory / name, disk.directory / "disk"
    try:
        for file in (named, beside):
            file.write_bytes(b"data" * 8 * MIB)
        for asked in (job("sequential-write"), job(precondition=False)):
            with (
                Fio(f"fio://{disk.directory}/{quote(name)}?loop=yes&overwrite=yes") as tester,
                pytest.raises(OutOfRange, match="cannot be told the name"),
            ):
                tester.measure_throughput(asked)
        assert beside.read_bytes() == named.read_bytes() == b"data" * 8 * MIB
    finally:
        named.unlink()
        beside.unlink()


def test_a_file_of_an_unusual_name_is_the_one_that_is_overwritten_and_no_other(disk: Disk) -> None:
    names = ("disk:1", ":disk", "disk:", "disk\\:1", "a disk", "disk=1,2")
    named, others = ([disk.directory / one for one in group] for group in (names, ("disk", "1", "a")))
    data = b"data" * MIB
    code = (
        "import sys\n"
        "from tests.instruments.storage.real_fio import MIB, job\n"
        "from aicalib_hw.instruments.storage.fio import Fio\n"
        "with Fio(sys.argv[1]) as tester: tester.measure_throughput(job('sequential-write', size=4 * MIB))\n"
    )
    try:
        for file in (*named, *others):
            file.write_bytes(data)
        # At once, as each waits for a window of a second; each in a process of its own, as what one thread starts has
        # for a moment the files of all open.
        with contextlib.ExitStack() as stack:
            measuring = [
                stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-c", code, f"fio://{disk.directory}/{quote(name)}?loop=yes&overwrite=yes"],
                        cwd=Path(__file__).parents[3],
                    )
                )
                for name in names
            ]
            assert [process.wait(60) for process in measuring] == [0] * len(names)
        assert [name for name, file in zip(names, named, strict=True) if b"datadata" in file.read_bytes()] == []
        assert all(file.read_bytes() == data for file in others)
    finally:
        for file in (*named, *others):
            file.unlink(missing_ok=True)


def test_a_link_that_is_turned_while_it_is_measured_leads_to_no_other_file(disk: Disk) -> None:
    mine, theirs, link = (disk.directory / name for name in ("mine", "theirs", "link"))
    try:
        for file in (mine, theirs):
            file.write_bytes(b"data" * 8 * MIB)
        link.symlink_to(mine)

        def turn(done: float, note: str) -> None:
            if link.readlink() == mine:
                link.unlink()
                link.symlink_to(theirs)

        with Fio(f"fio://{link}?loop=yes&overwrite=yes") as tester:
            tester.measure_throughput(job("sequential-write"), progress=turn)
        assert link.readlink() == theirs
        assert theirs.read_bytes() == b"data" * 8 * MIB
        assert b"datadata" not in mine.read_bytes()
    finally:
        for file in (mine, theirs, link):
            file.unlink(missing_ok=True)


def test_a_file_that_is_in_use_is_not_overwritten_and_who_uses_it_is_told(disk: Disk) -> None:
    image = disk.directory / "image"
    image.write_bytes(b"data" * 8 * MIB)
    address = f"fio://{image}?loop=yes&overwrite=yes"
    try:
        with attached(image), Fio(address) as tester, pytest.raises(NotPermitted, match=r"loop.* lies on it"):
            tester.measure_throughput(job("sequential-write"))
        with subprocess.Popen(["sleep", "60"], stdin=image.open("rb")) as other:
            try:
                with Fio(address) as tester, pytest.raises(NotPermitted, match=r"sleep .* has it open"):
                    tester.measure_throughput(job("sequential-write"))
                with Fio(address) as tester:
                    tester.measure_throughput(job(precondition=False))
            finally:
                other.kill()
        assert image.read_bytes() == b"data" * 8 * MIB
        with Fio(address) as tester:
            tester.measure_throughput(job("sequential-write"))
        assert image.read_bytes() != b"data" * 8 * MIB
    finally:
        image.unlink()


def test_others_on_another_partition_are_counted_as_they_take_from_the_same_disk(tmp_path: Path) -> None:
    disk, partition = tmp_path / "sda", tmp_path / "sda" / "sda1"
    partition.mkdir(parents=True)
    (partition / "partition").write_text("1\n")
    assert (_target.whole(partition), _target.whole(disk)) == (disk, disk)


def test_others_on_the_device_make_a_measurement_invalid(disk: Disk) -> None:
    done = threading.Event()

    def disturb() -> None:
        while not done.is_set():
            run("dd", "if=/dev/zero", f"of={disk.directory / 'other'}", "bs=1M", "count=16", "oflag=direct")

    thread = threading.Thread(target=disturb)
    with Fio(disk.address) as tester:
        thread.start()
        try:
            result = tester.measure_throughput(job("sequential-write", rate_limit=80e6))
        finally:
            done.set()
            thread.join()
    (disk.directory / "other").unlink()
    assert result.validity.status is ValidityStatus.INVALID
    assert "others moved" in result.validity.reasons[0]


def test_a_rate_in_kibibytes_is_never_taken_for_one_in_bytes(of_an_odd_size: tuple[Measurement, list[str]]) -> None:
    result, _ = of_an_odd_size
    assert result.value is not None
    (told,) = result.evidence["fio"]
    assert result.value == pytest.approx(8 * told["read"]["bw_bytes"], rel=1e-3)
    assert abs(result.value / (8 * 1000 * told["read"]["bw"]) - 1) > 0.02


def test_a_path_or_a_program_that_is_missing_or_another_is_told(disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="nothing at"):
        Fio(f"fio://{disk.directory}/absent?loop=yes").open()
    with pytest.raises(MissingProgram, match="fio-is-not-here"):
        Fio("fio:///var/tmp?program=fio-is-not-here").open()
    for said in ("fio-2.21", "fio-x", "iperf 3.12"):
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
        with pytest.raises(IdentityMismatch, match=r"3\.33"):
            Fio(f"{disk.address}&program={program}").open()


@pytest.mark.parametrize(
    "address", ["fio://host/tmp", "fio:relative", "fio:///tmp?direct=0", "fio:///tmp?loop=maybe", "file:///tmp"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"fio:///path"):
        Fio(address)
