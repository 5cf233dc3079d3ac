"""The storage procedure: with real fio on a disk of its own, whose rate is known because it is limited."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.bench import StoragePlan
from aicalib_hw.cli import main
from aicalib_hw.errors import Aborted, NotPermitted, OutOfRange
from aicalib_hw.interfaces import StorageJob
from aicalib_hw.metrology import Verdict
from aicalib_hw.procedures import calibrate_storage
from aicalib_hw.procedures.storage import title
from aicalib_hw.readings import ValidityStatus
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record
from tests.benches import certificate
from tests.disks import Disk, RawDisk

MIB = 1 << 20
TRUTH = 8 * 20 * MIB
"""bit/s that the limited program lets through: 20 MiB/s, by fio(1), `rate`."""

BENCH = """
[bench]
name = "disk"

[decision]
rule = "simple"

[instruments.disk]
driver = "fio"
address = "{address}"

[permissible_errors.storage]
value = 0.3
kind = "relative"
source = "this test"

[[indications]]
quantity = "storage"
value = {read}
unit = "Mbit/s"
source = "this test"
definition = "rate/storage/sequential-read"

[[indications]]
quantity = "storage"
value = {write}
unit = "Mbit/s"
source = "this test"
definition = "rate/storage/checkpoint-write"

[plan.storage]
patterns = ["sequential-read", "checkpoint-write"]
size = {size}
block_size = 32768
engine = "psync"
queue_depth = 1
duration = 1
warm_up = 0
disturbance = 0.05
"""


READ_ONLY = """
[bench]
name = "existing"

[decision]
rule = "none"

[instruments.disk]
driver = "fio"
address = "{address}"

[plan.storage]
path = "{path}"
read_only = true
size = 4_194_304
block_size = 262_144
queue_depth = 4
duration = 1
warm_up = 0
"""


@pytest.fixture
def limited(disk: Disk, tmp_path: Path) -> Callable[..., Path]:
    """Write a bench whose fio lets 20 MiB/s through and no more."""
    program = tmp_path / "fio"
    program.write_text('#!/bin/sh\nexec fio "$@" --rate=20m\n')
    program.chmod(0o755)

    def write(read: float = TRUTH / 1e6, checkpoint: float = TRUTH / 1e6) -> Path:
        path = tmp_path / "disk.toml"
        address = f"{disk.address}&program={program}"
        path.write_text(BENCH.format(address=address, read=read, write=checkpoint, size=16 * MIB))
        return path

    return write


def files_on(disk: Disk) -> set[str]:
    return {path.name for path in disk.directory.iterdir()} - {"lost+found"}


CERTIFIED = certificate(
    "disk", "storage", correction=50.0, unit="Mbit/s", number="S-1", valid=("2019-01-01", "2020-01-01")
)
CORRECTION = 50e6
"""bit/s, of that certificate, which is no longer valid."""


def test_a_known_rate_is_found_within_its_uncertainty_corrected_judged_recorded_and_reported(
    limited: Callable[..., Path], disk: Disk, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = limited(read=(TRUTH + CORRECTION) / 1e6, checkpoint=3 * TRUTH / 1e6)
    bench.write_text(bench.read_text() + CERTIFIED)
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(bench), "--quantity", "storage", "--output", str(tmp_path / "out"), "--json"])
    said = json.loads(capfd.readouterr().out)
    assert ended.value.code == 1
    assert [one["verdict"] for one in said["results"]] == ["PASS", "FAIL"]
    assert [one["point"] for one in said["results"]] == ["sequential read, 32 KiB", "checkpoint write, 32 KiB"]
    for one in said["results"]:
        assert one["unit"] == "bit/s"
        # The limit lets its first transfer through at once, so that it is known to one transfer in about a second only;
        # a host that does not run fio at the end of a window of 1 s takes from each alike, which no repetition tells.
        uncertainty = one["expanded_uncertainty"]
        known = TRUTH + CORRECTION
        assert -max(uncertainty, 0.05 * TRUTH) <= one["value"] - known <= uncertainty + 2 * 8 * 32768
        assert one["expanded_uncertainty"] > 0
    assert any("no steady state" in note for note in said["notes"])
    assert any("S-1 expired" in note for note in said["notes"])
    record = read_record(tmp_path / "out" / "record.sqlite")
    of_storage = [one for one in record.measurements if one.quantity == "storage"]
    assert len(of_storage) >= 6
    for result in record.results:
        moved = zip(
            result.measurement.evidence["bytes_read"], result.measurement.evidence["bytes_written"], strict=True
        )
        rates = [
            8 * sum(pair) / time for pair, time in zip(moved, result.measurement.evidence["running_s"], strict=True)
        ]
        used = [rate for rate, run in zip(rates, result.measurement.runs, strict=True) if run.used]
        assert result.evaluation is not None
        assert result.evaluation.value == pytest.approx(sum(used) / len(used) + CORRECTION, rel=1e-9)
        names = {line.name for line in result.evaluation.budget}
        assert {"repeatability", "time base", "steps of the running time", "certificate"} <= names
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "sequential read, 32 KiB" in report
    assert "bytes read that the device counted" in report
    assert files_on(disk) == set()


def test_an_existing_file_and_a_whole_device_are_calibrated_by_reading_and_not_a_byte_of_them_changes(
    disk: Disk, raw_disk: RawDisk, tmp_path: Path
) -> None:
    data = os.urandom(MIB) * 8
    (disk.directory / "data").write_bytes(data)
    os.sync()
    held, written = raw_disk.content, raw_disk.count()[1]
    path = tmp_path / "existing.toml"
    try:
        for address, below, pattern, title in (
            (disk.address, "data", "sequential-read", "sequential read, 256 KiB"),
            (raw_disk.address, "", "random-read", "random read, 4 KiB"),
        ):
            path.write_text(READ_ONLY.format(address=address, path=below) + f'patterns = ["{pattern}"]\n')
            with hw.open_bench(path) as bench:
                (result,) = calibrate_storage(bench).results
            assert result.title == title
            assert result.evaluation is not None, result.validity.reasons
        assert (disk.directory / "data").read_bytes() == data
        assert (raw_disk.count()[1], raw_disk.content) == (written, held)
    finally:
        (disk.directory / "data").unlink()


def test_an_existing_file_is_not_calibrated_by_writing_unless_told_so_and_how_to_only_read_it_is_said(
    disk: Disk, tmp_path: Path
) -> None:
    (disk.directory / "data").write_bytes(b"data" * MIB)
    path = tmp_path / "existing.toml"
    path.write_text(READ_ONLY.format(address=disk.address, path="data").replace("read_only = true", ""))
    try:
        with hw.open_bench(path) as bench, pytest.raises(NotPermitted, match="read_only = true"):
            calibrate_storage(bench)
        path.write_text(READ_ONLY.format(address=disk.address, path=""))
        with hw.open_bench(path) as bench, pytest.raises(OutOfRange, match="name an existing file"):
            calibrate_storage(bench)
        assert (disk.directory / "data").read_bytes() == b"data" * MIB
    finally:
        (disk.directory / "data").unlink()


def test_what_the_tester_has_not_is_refused_before_anything_is_written(
    limited: Callable[..., Path], disk: Disk
) -> None:
    with hw.open_bench(limited()) as bench:
        with pytest.raises(OutOfRange, match="mmap") as refused:
            calibrate_storage(bench, plan=StoragePlan(engine="mmap"))
        assert "libaio" in refused.value.why
        with pytest.raises(OutOfRange, match="even"):
            calibrate_storage(bench, plan=StoragePlan(size=1000, jobs=3))
    assert files_on(disk) == set()


def test_a_disk_that_others_use_has_no_verdict_and_says_so(limited: Callable[..., Path], tmp_path: Path) -> None:
    plan: dict[str, Any] = {"patterns": ("checkpoint-write",), "size": 4 * MIB, "block_size": MIB, "jobs": 1}
    plan |= {"queue_depth": 1, "engine": "psync", "duration": 1, "warm_up": 0, "disturbance": 0.0}
    with (
        hw.open_bench(limited()) as bench,
        Record.create(tmp_path / "record.sqlite", title="disk", bench={}, rule="simple", plan={}) as record,
    ):
        calibration = calibrate_storage(bench, plan=StoragePlan(**plan), record=record)
    (result,) = calibration.results
    # A file system writes its own journal beside the data: with nothing allowed, that is too much already.
    assert not result.validity
    assert any("disturbed: others moved" in reason for reason in result.validity.reasons)
    assert result.decision.verdict is Verdict.NOT_EVALUATED
    kept = [one for one in read_record(tmp_path / "record.sqlite").measurements if len(one.runs) == 1]
    assert [one.runs[0].value for one in kept] == [run.value for run in result.measurement.runs]


def test_a_calibration_that_is_stopped_keeps_in_its_record_what_the_run_had_measured_and_leaves_no_file(
    limited: Callable[..., Path], disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = StoragePlan(
        patterns=("sequential-read",),
        size=4 * MIB,
        block_size=32768,
        queue_depth=1,
        engine="psync",
        duration=60,
        warm_up=0,
    )
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        hw.open_bench(limited()) as bench,
        Record.create(tmp_path / "record.sqlite", title="disk", bench={}, rule="none", plan={}) as record,
    ):

        def stop_soon(done: float, note: str) -> None:
            accounts = [path.read_text() for path in tmp_path.glob("*/result.json")]
            if any('"rw" : "read"' in one for one in accounts):  # and not of the file's being filled
                bench.abort()

        with pytest.raises(Aborted):
            calibrate_storage(bench, plan=plan, record=record, progress=stop_soon)
    (kept,) = read_record(tmp_path / "record.sqlite").measurements
    assert kept.validity.status is ValidityStatus.ABORTED
    assert kept.value is None
    # A disk that others keep busy may lag behind the limit, and never goes beyond it.
    assert kept.runs[0].value is not None
    assert 0 < kept.runs[0].value < 1.05 * TRUTH
    assert files_on(disk) == set()


@pytest.mark.parametrize(
    ("block", "said"), [(4096, "4 KiB"), (MIB, "1 MiB"), (3 * MIB, "3 MiB"), (1000, "1000 B"), (1536, "1536 B")]
)
def test_a_point_says_how_much_is_moved_at_a_time(block: int, said: str) -> None:
    assert title(StorageJob("", "random-read", 1 << 30, block_size=block)) == f"random read, {said}"
