"""A killed process, a full disk: what was acknowledged is there, and the next step is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from aicalib_hw.records import read_record, verify_record

WRITER = """
    import sys
    from dataclasses import replace
    from pathlib import Path
    from aicalib_hw.records import Record
    from tests.records.sessions import BENCH, PLAN, Story, compute, power_series

    story = Story()
    measurement = compute(story).results[0].measurement
    with Record.create(sys.argv[1], title="", bench=BENCH, rule="none", plan=PLAN) as record:
        print("ready", flush=True)
        for number in range(100_000):
            record.measurement(replace(measurement, evidence={"number": number}))
            record.series("power", power_series(story))
            record.event("step", number=number)
            print(number, flush=True)
"""

LIMITED = """
    import resource, sys
    from dataclasses import replace
    from aicalib_hw.errors import RecordError
    from aicalib_hw.records import Record
    from tests.records.sessions import BENCH, PLAN, Story, compute

    measurement = compute(Story()).results[0].measurement
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        with Record.create(sys.argv[1], title="", bench=BENCH, rule="none", plan=PLAN) as record:
            for number in range(100_000):
                record.measurement(replace(measurement, evidence={"number": number, "padding": "x" * 10_000}))
                print(number, flush=True)
    except RecordError as error:
        print(error)
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{textwrap.dedent(code)}", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_was_acknowledged_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    with python(WRITER, str(path)) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(31)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    last = int(said[-1])
    contents = read_record(path)
    assert (contents.status, contents.ended) == ("incomplete", None)
    assert [measurement.evidence["number"] for measurement in contents.measurements[: last + 1]] == list(
        range(last + 1)
    )
    assert sum(event.kind == "step" for event in contents.events) >= last + 1
    assert len(contents.series["power"].times) >= 400 * (last + 1)
    assert verify_record(path)


def test_on_a_full_disk_the_error_says_what_is_kept_and_it_is(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    with python(LIMITED, str(path), "400000") as process:
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0
    numbers = [int(line) for line in said.splitlines() if line.isdigit()]
    assert f"kept are {len(numbers)} measurements" in said
    for part in (str(path), "disk is full", "free space", f"aicalib report {path}"):
        assert part in said
    contents = read_record(path)
    assert [measurement.evidence["number"] for measurement in contents.measurements] == numbers
    # The ending is small: whether there is room for it where a measurement found none is a matter of luck.
    assert contents.status in ("error", "incomplete")
    assert verify_record(path)


def test_where_there_is_no_room_for_a_record_none_is_left_half_made(tmp_path: Path) -> None:
    with python(LIMITED, str(tmp_path / "record.sqlite"), "5000") as process:
        assert process.stdout is not None
        said = process.stdout.read()
    assert "the record cannot be made" in said
    assert list(tmp_path.iterdir()) == []
