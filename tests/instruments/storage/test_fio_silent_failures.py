"""What fio itself takes for success and what is none: each brought about with real fio, each found.

Elsewhere: holes, blocks never written, page cache, mmap, memory, a file system without O_DIRECT (test_fio.py), zeros of
a device (test_fio_block_device.py), signals, death of the parent, time-outs, a disk that fills up
(test_fio_broken_off.py), a rate that was not steady (test_steadiness.py).
"""

from __future__ import annotations

import contextlib
import copy
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.storage import _fio_output, _fio_trust, _target
from aicalib_hw.instruments.storage.fio import Fio
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import ConnectionFailed, NotSupported, OutOfRange, ProtocolError
from aicalib_hw.readings import ValidityStatus
from tests.disks import Disk, attached, require, run

from .real_fio import MIB, READ, account, during, job, of_real_fio, program


def test_a_full_disk_is_named(small_disk: Disk) -> None:
    said = of_real_fio(small_disk.directory, "--rw=write", "--bs=1m", "--size=64m", "--direct=1", "--fallocate=none")
    assert "error 28 of fio: the disk is full" in _fio_output.breakdowns(said)
    assert 0 < said.moved < 64 * MIB


def test_a_run_that_is_shorter_than_asked_is_no_measurement(disk: Disk, tmp_path: Path) -> None:
    for options in (["--runtime=600"], ["--runtime=600", "--ramp_time=5"]):
        said = of_real_fio(tmp_path, "--rw=read", "--bs=256k", "--size=1m", "--direct=1", *options)
        assert said.status == 0
        assert said.rate
        found = _fio_trust.objections(said, job(duration=600.0))
        assert any("600 s were asked for" in one for one in found), options


def test_data_that_come_back_changed_are_an_error_even_where_fio_goes_on_and_ends_with_0(
    disk: Disk, tmp_path: Path
) -> None:
    common = ["--bs=64k", "--size=1m", "--direct=1", "--verify=crc32c", f"--filename={tmp_path / 'file'}"]
    assert _fio_output.breakdowns(of_real_fio(tmp_path, "--rw=write", "--do_verify=0", *common)) == ()
    with open(tmp_path / "file", "r+b") as file:
        file.seek(300_000)
        file.write(b"changed")
    going_on = of_real_fio(tmp_path, "--rw=read", "--continue_on_error=verify", *common)
    assert going_on.status == 0
    stopping = of_real_fio(tmp_path, "--rw=read", "--verify_fatal=1", *common)
    assert stopping.status == 1
    for said in (going_on, stopping):
        assert any("not those that were written" in one for one in _fio_output.breakdowns(said))


def test_a_pass_that_verifies_shares_its_time_with_reading_and_is_never_the_measured_one(
    disk: Disk, tmp_path: Path
) -> None:
    options = ["--rw=write", "--bs=256k", "--size=4m", "--direct=1", "--ioengine=libaio", "--iodepth=4"]
    said = of_real_fio(tmp_path, *options, "--time_based", "--runtime=1", "--verify=crc32c", "--do_verify=1")
    assert _fio_output.breakdowns(said) == ()
    assert "verification read phase" in said.remarks
    assert said.bytes_of("read") > 0
    writing = job("sequential-write")
    assert any("moved as read, and nothing of it was asked for" in one for one in _fio_trust.objections(said, writing))
    with Fio(disk.address) as tester:
        result = tester.measure_throughput(job("sequential-write", verify=True))
    assert result.validity, result.validity.reasons
    assert "verify" not in result.evidence["command"]
    assert result.evidence["bytes_read"] == 0


def test_a_queue_that_a_synchronous_engine_never_fills_is_found(disk: Disk) -> None:
    options = ["--rw=read", "--bs=256k", "--size=16m", "--direct=1", "--ioengine=psync", "--iodepth=4"]
    said = of_real_fio(disk.directory, *options)
    for path in disk.directory.glob("*"):
        if path.is_file():
            path.unlink()
    assert _fio_output.breakdowns(said) == ()
    assert any("queue depth of 4" in one for one in _fio_trust.objections(said, READ))


def test_a_server_that_is_down_makes_no_smaller_measurement_of_the_one_that_is_up(disk: Disk, tmp_path: Path) -> None:
    def free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    # A port that is taken, and at which nobody listens, is down for certain.
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    up, down = free_port(), int(taken.getsockname()[1])
    (tmp_path / "job").write_text("[x]\nrw=read\nbs=64k\nsize=1m\nioengine=null\n")
    result = tmp_path / "result.json"
    with subprocess.Popen(["fio", f"--server=ip:127.0.0.1,{up}"], stdout=subprocess.DEVNULL, cwd=tmp_path) as server:
        try:
            end = time.monotonic() + 10
            while time.monotonic() < end:
                try:
                    socket.create_connection(("127.0.0.1", up), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            command = ["fio", f"--output={result}", "--output-format=json+"]
            for port in (up, down):
                command += [f"--client=ip:127.0.0.1,{port}", str(tmp_path / "job")]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=tmp_path)
        finally:
            server.terminate()
            taken.close()
    assert ended.returncode == 0
    assert "failed to connect" in ended.stderr + ended.stdout
    with pytest.raises(ValueError, match="client_stats"):
        _fio_output.parse(ended.returncode, result.read_text(), ended.stderr)


def test_a_directory_whose_upper_layer_lies_in_memory_is_no_storage(disk: Disk, tmp_path: Path) -> None:
    memory, lower, merged = (tmp_path / name for name in ("memory", "lower", "merged"))
    for directory in (memory, lower, merged):
        directory.mkdir()
    run("mount", "-t", "tmpfs", "none", memory)
    try:
        (memory / "upper").mkdir()
        (memory / "work").mkdir()
        layers = f"lowerdir={lower},upperdir={memory / 'upper'},workdir={memory / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, merged)
        try:
            with pytest.raises(NotSupported, match="tmpfs"):
                Fio(f"fio://{merged}").open()
        finally:
            run("umount", merged)
    finally:
        run("umount", memory)


def test_a_directory_without_a_free_inode_is_told_before_fio_is_started(tmp_path: Path) -> None:
    require()
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    run("truncate", "-s", "8M", image)
    run("mkfs.ext4", "-q", "-N", "16", image)
    with attached(image) as device:
        run("mount", device, place)
        try:
            with Fio(f"fio://{place}?loop=yes") as tester:
                with contextlib.suppress(OSError):
                    for number in range(100):
                        (place / str(number)).touch()
                with pytest.raises(OutOfRange, match="no free inode"):
                    tester.measure_throughput(job(size=MIB, block_size=MIB // 4))
            with pytest.raises(OutOfRange, match="no file can be made"):
                Fio(f"fio://{place}?loop=yes").open()
        finally:
            run("umount", place)


def test_counters_that_go_away_with_their_device_meanwhile_make_no_measurement(disk: Disk, tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.mkdir()
    stat = named / "stat"
    stat.write_text("0 " * 11)
    with Fio(f"{disk.address}&device={named}") as tester:
        thread = during(disk, lambda _: stat.unlink())
        result = tester.measure_throughput(job(duration=3.0))
        thread.join()
    assert result.validity.status is ValidityStatus.INVALID
    assert any("the device named went away meanwhile" in reason for reason in result.validity.reasons)
    assert result.evidence["device_counted"] is None


def test_engines_are_those_that_this_fio_has(disk: Disk, tmp_path: Path) -> None:
    engines = '"Available IO engines:\\n\\tpsync\\n\\tmmap\\n"'
    poor = program(tmp_path, f'[ "$1" = --enghelp ] && printf {engines} && exit\nexec fio "$@"')
    with Fio(f"{disk.address}&program={poor}") as tester:
        assert tester.capabilities.engines == ("psync",)
        with pytest.raises(OutOfRange, match="no engine libaio"):
            tester.measure_throughput(READ)
    none = program(tmp_path, '[ "$1" = --enghelp ] && exit\nexec fio "$@"')
    with pytest.raises(NotSupported, match="no engine"):
        Fio(f"{disk.address}&program={none}").open()


def test_a_file_of_somebody_else_is_never_made_longer(disk: Disk) -> None:
    short = disk.directory / "short"
    short.write_bytes(b"data" * MIB)
    try:
        with Fio(f"fio://{short}?loop=yes") as tester:
            with pytest.raises(OutOfRange, match="longer"):
                tester.measure_throughput(job(precondition=False))
            result = tester.measure_throughput(job(precondition=False, size=4 * MIB))
        assert "--readonly" in result.evidence["command"]
        assert short.read_bytes() == b"data" * MIB
    finally:
        short.unlink()


def test_another_program_than_the_one_that_was_opened_makes_no_measurement(disk: Disk, tmp_path: Path) -> None:
    other = program(tmp_path, '[ "$1" = --version ] && echo fio-3.99 && exit\nexec fio "$@"')
    with Fio(f"{disk.address}&program={other}") as tester, pytest.raises(ProtocolError, match=r"3\.99"):
        tester.measure_throughput(READ)


def altered(said: _fio_output.Said, **changed: Any) -> _fio_output.Said:
    """The same run, with other numbers for its reads."""
    jobs = copy.deepcopy(said.jobs)
    jobs[0]["read"].update(changed)
    return _fio_output.Said(said.status, jobs, said.remarks, said.earlier)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> _fio_output.Said:
    """What real fio says of a second in which it read as READ asks; it is looked at, and never changed."""
    require()
    options = ["--rw=read", "--bs=256k", "--size=4m", "--direct=1", "--ioengine=libaio", "--iodepth=4"]
    return of_real_fio(tmp_path_factory.mktemp("said"), *options, "--time_based", "--runtime=1")


def test_an_account_that_contradicts_itself_or_the_job_is_found(said: _fio_output.Said) -> None:
    assert _fio_trust.objections(said, READ) == ()
    for changed, named in (
        ({"bw_bytes": round(1.024 * said.jobs[0]["read"]["bw_bytes"])}, "its bytes and time give"),
        ({"short_ios": 1}, "cut short or dropped"),
        ({"drop_ios": 2}, "cut short or dropped"),
        ({"io_bytes": 0}, "nothing was transferred"),
    ):
        assert any(named in one for one in _fio_trust.objections(altered(said, **changed), READ)), changed
    assert any("1 jobs ran, and 2" in one for one in _fio_trust.objections(said, job(jobs=2)))


def test_words_before_the_json_are_kept_apart_from_it() -> None:
    said = _fio_output.parse(128, '\nfio: terminating on signal 2\n{"jobs": []}\ntail', "")
    assert said.jobs == ()
    assert "terminating on signal 2" in said.remarks
    assert "tail" in said.remarks
    with pytest.raises(ValueError, match="client_stats"):
        _fio_output.parse(0, '{"client_stats": []}', "")


WORDS = st.text(st.characters(exclude_characters="{", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(st.integers(1, 1 << 60), st.integers(1, 1000), WORDS), min_size=1, max_size=4), st.data())
def test_of_accounts_that_break_off_anywhere_the_last_whole_one_counts(
    told: list[tuple[int, int, str]], data: st.DataObject
) -> None:
    texts = [account(moved, runtime) for moved, runtime, _ in told]
    output = "".join(words + text for text, (_, _, words) in zip(texts, told, strict=True))
    least = output.index(texts[0]) + len(texts[0])
    kept = output[: data.draw(st.integers(least, len(output)))]
    said = _fio_output.parse(-9, kept, "")
    position = 0
    whole = []
    for text, one in zip(texts, told, strict=True):
        position = output.index(text, position) + len(text)
        if position <= len(kept):
            whole.append(one)
    assert said.moved == whole[-1][0]
    assert len(said.earlier) == len(whole) - 1
    assert said.rate == pytest.approx(8 * whole[-1][0] / (whole[-1][1] / 1000))


def test_the_deficit_of_a_device_enters_the_budget_and_too_large_a_one_forbids_the_result(
    said: _fio_output.Said,
) -> None:
    for missing, allowed in ((0.003, True), (0.02, False)):
        counted = _target.Count(round(said.moved * (1 - missing)), 0)
        reasons, shares = _fio_trust.disagreements(
            said, READ, device=counted, own=_target.Count(said.moved, 0), name="disk"
        )
        assert (reasons == ()) is allowed
        stated = {one.name: one.half_width for one in _fio_trust.components(said, READ, shares)}
        assert stated["bytes that the device did not count"] == pytest.approx(missing, rel=1e-3)
        assert "others on the device" not in stated


def test_counters_that_are_named_are_those_that_are_believed(disk: Disk, tmp_path: Path) -> None:
    other = tmp_path / "idle"
    other.mkdir()
    (other / "stat").write_text("0 " * 11)
    with Fio(f"{disk.address}&device={other}") as tester:
        result = tester.measure_throughput(READ)
    assert result.evidence["device"]["name"] == "idle"
    assert result.evidence["counted_for_program"] is None
    assert any("the device idle counted 0" in reason for reason in result.validity.reasons)
    with Fio(f"{disk.address}&device=/sys/block/{disk.device}") as tester:
        measured = tester.measure_throughput(READ)
        assert measured.validity
        assert any("twice the memory of this host" in remark for remark in measured.evidence["remarks"])
    with pytest.raises(ConnectionFailed, match="no counters"):
        Fio(f"{disk.address}&device={tmp_path}").open()
