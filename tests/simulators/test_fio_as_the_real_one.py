"""The real fio and the simulated one, given the same: names and types of results, words and status are the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aicalib_hw import registry

REAL = shutil.which("fio")
pytestmark = pytest.mark.skipif(REAL is None, reason="needs fio: apt-get install fio")

READ = ("--name=job", "--filename=file", "--size=4m", "--bs=64k", "--rw=read")
QUEUED = ("--ioengine=libaio", "--iodepth=4")


@pytest.fixture(scope="module")
def simulated() -> Iterator[str]:
    """The simulated program, in a world in real time."""
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
    fio = registry.simulator("fio")(world, "fio")
    world.start()
    fio.start()
    yield str(fio.program)
    fio.stop()
    world.stop()


def both(simulated: str, tmp_path: Path, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Run the real and the simulated one at once, each in a directory of its own with the same names in it."""

    def act(program: str, name: str) -> subprocess.CompletedProcess[str]:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        return subprocess.run(
            [program, *arguments], cwd=directory, capture_output=True, text=True, timeout=30, check=False
        )

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(act, (str(REAL), simulated), ("real", "simulated")))


def document(text: str) -> Any:
    found, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    return found


def shape(value: Any) -> Any:
    """What is there under which names, and of which type; bins and percentiles depend on what was measured."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if name != "bins"}
    if isinstance(value, list):
        return [shape(part) for part in value[:1]]
    return type(value).__name__


RUNS = [
    (*READ,),
    (*READ, "--rw=randwrite", "--fsync=8"),
    (*READ, "--rw=randrw", "--rwmixread=30"),
    (*READ, *QUEUED, "--direct=1", "--numjobs=2", "--group_reporting"),
    (*READ, *QUEUED, "--direct=1", "--numjobs=2"),
    (*READ, "--rw=write", "--end_fsync=1", "--refill_buffers"),
    (*READ, *QUEUED, "--time_based=1", "--runtime=1"),
    (*READ, "--continue_on_error=verify"),
    (*READ, "--lat_percentiles=1", "--slat_percentiles=1", *QUEUED),
    (*READ, "--percentile_list=50:99"),
    ("--bs=64k", "--size=1m", "--name=one", "--rw=write", "--name=two", "--rw=read", "--stonewall"),
]


@pytest.mark.parametrize("arguments", RUNS, ids=lambda run: " ".join(run[-3:]))
@pytest.mark.parametrize("form", ["json", "json+"])
def test_results_have_the_same_names_types_and_counts(
    simulated: str, tmp_path: Path, arguments: tuple[str, ...], form: str
) -> None:
    real, ours = both(simulated, tmp_path, *arguments, f"--output-format={form}")
    assert ours.returncode == real.returncode == 0, ours.stderr
    assert ours.stderr == real.stderr
    one, other = document(real.stdout), document(ours.stdout)
    assert shape(other) == shape(one)
    assert list(other) == list(one)
    for there, here in zip(one["jobs"], other["jobs"], strict=True):
        assert list(here) == list(there)
        for direction in ("read", "write"):
            assert list(here[direction]) == list(there[direction])
            if "--time_based=1" not in arguments and "--rw=randrw" not in arguments:
                for field in ("io_bytes", "io_kbytes", "total_ios", "short_ios", "drop_ios"):
                    assert here[direction][field] == there[direction][field], field
        for field in ("jobname", "groupid", "error", "job options", "latency_depth", "iodepth_submit"):
            assert here[field] == there[field]
        assert here["sync"]["total_ios"] == there["sync"]["total_ios"]


@pytest.mark.parametrize("form", ["json", "json+"])
def test_numbers_follow_from_each_other_in_the_same_way(simulated: str, tmp_path: Path, form: str) -> None:
    for run in both(simulated, tmp_path, *READ, *QUEUED, f"--output-format={form}"):
        read = document(run.stdout)["jobs"][0]["read"]
        assert read["io_kbytes"] == read["io_bytes"] // 1024
        assert read["bw_bytes"] == 1000 * read["io_bytes"] // read["runtime"]
        assert read["bw"] == read["bw_bytes"] // 1024
        assert read["iops"] == pytest.approx(1000 * read["total_ios"] / read["runtime"])
        latency = read["clat_ns"]
        assert latency["N"] == read["total_ios"]
        assert latency["min"] <= latency["mean"] <= latency["max"]
        if form == "json+":
            counts = {int(name): count for name, count in latency["bins"].items()}
            assert sum(counts.values()) == latency["N"]
            seen = 0
            for name in sorted(counts):
                seen += counts[name]
                if seen >= latency["N"] / 2:
                    assert latency["percentile"]["50.000000"] == name
                    break


MISTAKES = [
    (),
    ("--bogus=1",),
    ("--name=x", "--size=1m", "--nosuch"),
    ("--rw=read",),
    ("nofile.fio",),
    ("--name=x", "--rw=foo", "--size=1m"),
    ("--name=x", "--rw=read"),
    ("--name=x", "--size=1m", "--ioengine=foo"),
    ("--name=x", "--size=1m", "--directory=/nonexistent"),
    ("--name=x", "--size=1m", "--bs=zz"),
    ("--name=x", "--size=1m", "--bs=0"),
    ("--name=x", "--size=1m", "--runtime=abc"),
    ("--name=x", "--size=1m", "--iodepth=abc"),
    ("--name=x", "--size=1m", "--iodepth=0"),
    ("--name=x", "--size=1m", "--direct=2"),
    ("--name=x", "--size=1m", "--rwmixread=120"),
    ("--name=x", "--size=1m", "--verify=foo"),
    ("--name=x", "--size=1m", "--output-format=xml"),
    ("--name=x", "--size=1m", "--output-format=json,foo"),
    ("--name=x", "--size=1m", "--status-interval=abc"),
    ("--readonly", "--name=x", "--size=1m", "--rw=write"),
    ("--output=/proc/nowhere/result.json", "--name=x", "--size=1m"),
    ("--name=x", "--size=1m", "--filename=file", "--time_based=1"),
]


@pytest.mark.parametrize("arguments", MISTAKES, ids=lambda run: " ".join(run[-2:]))
def test_mistakes_are_told_in_the_same_words_with_the_same_status(
    simulated: str, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    real, ours = both(simulated, tmp_path, *arguments)
    assert ours.returncode == real.returncode
    assert ours.stderr == real.stderr.replace(str(REAL), simulated)


JOB_FILES = [
    "[a]\nsize=1m\nrw=\n",
    "size=1m\n[a]\nrw=read\n",
    "[global]\nsize=1m\n",
]


@pytest.mark.parametrize("text", JOB_FILES)
def test_mistakes_in_job_files_too(simulated: str, tmp_path: Path, text: str) -> None:
    file = tmp_path / "job.fio"
    file.write_text(text)
    real, ours = both(simulated, tmp_path, str(file))
    assert (ours.returncode, ours.stderr) == (real.returncode, real.stderr)


def test_an_option_of_a_job_file_that_fio_does_not_know_drops_the_job(simulated: str, tmp_path: Path) -> None:
    file = tmp_path / "job.fio"
    file.write_text("[a]\nsize=1m\nfoo=bar\n")
    real, ours = both(simulated, tmp_path, str(file))
    assert ours.returncode == real.returncode == 1
    told = [line for line in real.stderr.splitlines() if not line.startswith("Did you mean")]
    assert ours.stderr.splitlines() == told


def test_the_text_for_people_has_the_same_lines_with_other_numbers(simulated: str, tmp_path: Path) -> None:
    real, ours = both(simulated, tmp_path, *READ, *QUEUED, "--direct=1")

    def skeleton(text: str) -> list[str]:
        lines = []
        for line in text.replace("SIM-", "").splitlines():
            if (
                line.startswith(("  lat (", "  vda", "  simdisk"))
                or "ios=" in line
                or " bw (" in line
                or "iops  " in line
            ):
                continue
            line = re.sub(r"\((nsec|usec|msec)\)", "(time)", line)
            line = re.sub(r"\d+(\.\d+)?", "#", line)
            line = re.sub(r"# ?([kMG]i?B?|[kM])?(/s|B|)", "#", line)
            line = re.sub(r"pid=.*", "pid", line)
            # A short number is padded where a long one is not.
            lines.append(re.sub(r"= #", "=#", re.sub(r"\s+", " ", line)))
        return lines

    assert skeleton(ours.stdout) == skeleton(real.stdout)


def test_files_are_named_and_sized_alike(simulated: str, tmp_path: Path) -> None:
    both(simulated, tmp_path, "--name=job", "--size=1m", "--rw=read", "--numjobs=2", "--nrfiles=2")
    found = [
        sorted((path.name, path.stat().st_size) for path in (tmp_path / name).iterdir())
        for name in ("real", "simulated")
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_what_is_said_of_a_wrong_block_and_of_a_full_disk_is_the_same_but_for_the_sums(
    simulated: str, tmp_path: Path
) -> None:
    verify = (*READ, *QUEUED, "--direct=1", "--verify=crc32c", "--output-format=json")
    assert REAL is not None
    directory = tmp_path / "real"
    directory.mkdir()
    subprocess.run([REAL, *verify, "--rw=write", "--do_verify=0"], cwd=directory, check=True, capture_output=True)
    with open(directory / "file", "r+b") as file:
        file.seek(200_000)
        file.write(b"XXXX")
    for extra in (("--verify_fatal=1",), ("--continue_on_error=verify",)):
        real = subprocess.run([REAL, *verify, *extra], cwd=directory, capture_output=True, text=True, check=False)
        world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
        fio = registry.simulator("fio")(world, "fio")
        fio.inject({"kind": "corrupt", "amount": 200_000.0})
        fio.start()
        ours = subprocess.run(
            [str(fio.program), *verify, *extra], cwd=fio.directory, capture_output=True, text=True, check=False
        )
        fio.stop()
        world.stop()
        assert ours.returncode == real.returncode
        assert re.sub(r"CRC: \w+", "CRC", ours.stderr) == re.sub(r"CRC: \w+", "CRC", real.stderr)
        there, here = document(real.stdout)["jobs"][0], document(ours.stdout)["jobs"][0]
        assert shape(here) == shape(there)
        for field in ("error", "total_err", "first_error"):
            assert here.get(field) == there.get(field)
