"""What the tests of the fio driver share: small jobs, fio run beside the driver, and fio caught at work."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aicalib_hw.instruments.storage import _fio_output

from aicalib_hw.interfaces import StorageJob
from tests.disks import Disk

MIB = 1 << 20
READ = StorageJob("", "sequential-read", 32 * MIB, block_size=MIB // 4, queue_depth=4, ramp=0.0, duration=1.0)


def job(pattern: Any = "sequential-read", **more: Any) -> StorageJob:
    """A small job, with what is other than usual."""
    stated = {name: getattr(READ, name) for name in StorageJob.__slots__}
    return StorageJob(**{**stated, "pattern": pattern, **more})


def program(folder: Path, script: str) -> Path:
    """A program that stands in for fio: a shell script, which may end in `exec fio "$@"`."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def fio_of(directory: Path) -> list[int]:
    """The processes named fio that work in `directory`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == "fio" and (process / "cwd").resolve() == directory.resolve():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def left_in(disk: Disk) -> list[str]:
    return [path.name for path in disk.directory.iterdir() if path.name != "lost+found"]


def during(disk: Disk, act: Callable[[int], object]) -> threading.Thread:
    """Do something to fio once it has written an account of its measured window, which it does each second."""

    def wait() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for number in fio_of(disk.directory):
                if accounts(number):
                    act(number)
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def accounts(number: int) -> int:
    """How many whole accounts in which bytes moved a fio has written; 0 of one that is not in its measured window."""
    try:
        command = Path(f"/proc/{number}/cmdline").read_bytes().decode().split("\0")
        if "--time_based" not in command:
            return 0
        (output,) = (word.removeprefix("--output=") for word in command if word.startswith("--output="))
        said = _fio_output.parse(0, Path(output).read_text(), "")
    except (OSError, ValueError):
        return 0
    return (len(said.earlier) + 1) * bool(said.jobs) * bool(said.moved)


def account(moved: int, runtime: int, way: str = "read", other: str = "write") -> str:
    """One account of fio: bytes moved one way, and how many ms it had run."""
    told = f'{{"io_bytes": {moved}, "runtime": {runtime}}}'
    return f'{{"jobs": [{{"{way}": {told}, "{other}": {{"io_bytes": 0, "runtime": 0}}}}]}}'


def of_real_fio(folder: Path, *options: str) -> _fio_output.Said:
    """Run fio with other options than the driver's, and let the driver's reader judge what it writes."""
    result = folder / "result.json"
    command = ["fio", f"--output={result}", "--output-format=json+", "--name=x", "--thread", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=folder)
    return _fio_output.parse(ended.returncode, result.read_text(), ended.stderr)
