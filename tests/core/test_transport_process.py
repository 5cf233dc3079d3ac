"""Programs run as instruments end with their children on every way out, and nothing they wrote is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aicalib_hw.errors import Aborted, ConnectionLost, DeadlineExceeded, MissingProgram, NotOpen
from aicalib_hw.trace import Trace, read_trace
from aicalib_hw.transport import process
from aicalib_hw.transport.process import Process, find_program

PYTHON = sys.executable


def gone(pid: int, within: float = 5.0) -> bool:
    """True once no process has this number any more; a zombie that somebody else has to reap counts as gone."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def child_of(process: Process, lines: list[str]) -> int:
    until = time.monotonic() + 10.0
    while not lines and time.monotonic() < until:
        time.sleep(0.01)
    assert process.running
    return int(lines[0])


STUBBORN = (
    PYTHON,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(child.pid, flush=True); time.sleep(60)",
)


def test_what_a_program_wrote_and_how_it_ended_is_known() -> None:
    code = "import sys; print('a'); print('b', file=sys.stderr); print('c'); sys.exit(3)"
    lines: list[str] = []
    with Process([PYTHON, "-c", code], on_line=lines.append) as process:
        finished = process.wait(30.0)
    assert (finished.status, finished.output, finished.errors) == (3, "a\nc\n", "b\n")
    assert lines == ["a", "c"]
    assert finished.duration > 0


def test_that_a_program_ended_is_traced_once_however_often_it_is_waited_for(tmp_path: Path) -> None:
    with Trace(tmp_path / "trace.jsonl") as trace, Process([PYTHON, "-c", ""], trace=trace) as process:
        assert process.wait(30.0) == process.wait(30.0)
    assert [entry["direction"] for entry in read_trace(tmp_path / "trace.jsonl")] == ["write", "event"]


def test_a_program_killed_from_outside_shows_the_signal() -> None:
    with Process([PYTHON, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]) as process:
        assert process.wait(30.0).status == -9


def test_leaving_its_with_ends_a_stubborn_program_and_its_child() -> None:
    lines: list[str] = []
    with Process(STUBBORN, on_line=lines.append) as process:
        child = child_of(process, lines)
        began = time.monotonic()
        assert not process.stop(grace=0.2)
        assert time.monotonic() - began < 5.0
    assert not process.running
    assert gone(child)


def test_a_program_that_is_asked_to_end_is_let_end() -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: (print('tidied', flush=True), sys.exit(0)));"
        " print('ready', flush=True); time.sleep(60)"
    )
    ready = threading.Event()
    with Process([PYTHON, "-c", code], on_line=lambda _: ready.set()) as process:
        assert ready.wait(10.0)
        assert process.stop(grace=10.0)
        assert process.wait(5.0).output == "ready\ntidied\n"


def test_a_program_over_its_deadline_is_ended_and_named() -> None:
    lines: list[str] = []
    with Process(STUBBORN, on_line=lines.append) as process:
        child = child_of(process, lines)
        with pytest.raises(DeadlineExceeded) as late:
            process.wait(0.2)
        assert not process.running
        assert "sleep" in late.value.where
    assert gone(child)


def test_abort_from_another_thread_ends_the_wait() -> None:
    with Process([PYTHON, "-c", "import time; time.sleep(60)"]) as process:
        threading.Timer(0.2, process.abort).start()
        began = time.monotonic()
        with pytest.raises(Aborted):
            process.wait(60.0)
        assert time.monotonic() - began < 5.0


def test_what_a_program_leaves_running_is_ended_with_it() -> None:
    code = (
        "import subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); print(child.pid)"
    )
    with Process([PYTHON, "-c", code]) as process:
        child = int(process.wait(30.0).output)
    assert child != os.getpid()
    assert gone(child)


def test_the_trace_holds_command_output_and_end(tmp_path: Path) -> None:
    with Trace(tmp_path / "t.jsonl") as trace, Process([PYTHON, "-c", "print('hello')"], trace=trace) as process:
        process.wait(30.0)
    entries = read_trace(tmp_path / "t.jsonl")
    assert [entry["direction"] for entry in entries] == ["write", "read", "event"]
    assert "hello" in entries[1]["text"]


def test_a_missing_program_is_told_with_the_way_to_get_it() -> None:
    with pytest.raises(MissingProgram, match="no-such-program") as missing:
        find_program("no-such-program", purpose="a test", install="sudo apt-get install nothing")
    assert missing.value.advice == "sudo apt-get install nothing"
    with pytest.raises(MissingProgram):
        Process(["/no/such/program"]).start()
    with pytest.raises(NotOpen):
        Process([PYTHON]).wait(1.0)
    assert Path(find_program(PYTHON, purpose="a test", install="")).samefile(PYTHON)


def test_a_program_that_is_named_from_here_is_the_same_one_wherever_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, says in (("here", "the one that was named"), ("there", "another one of the same name")):
        program = tmp_path / folder / "bin" / "program"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho {says}\n")
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path / "here")
    found = find_program("bin/program", purpose="a test", install="")
    with Process([found], directory=tmp_path / "there", guarded=True) as process:
        assert process.wait(30.0).output == "the one that was named\n"


def test_what_goes_wrong_while_lines_are_taken_reaches_the_one_who_waits_and_the_program_is_not_blocked() -> None:
    def refuse(line: str) -> None:
        raise ValueError(f"{line} is no number")

    many = "for n in range(100_000): print('x' * 10)"
    with Process([PYTHON, "-c", many], on_line=refuse) as process, pytest.raises(ValueError, match="is no number"):
        process.wait(30.0)


def _hold(until: threading.Event) -> None:
    until.wait(30.0)


def test_output_that_was_not_read_to_its_end_is_not_given_out_as_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    with Process([PYTHON, "-c", "print('a'); print('b')"], on_line=lambda line: time.sleep(0.4)) as patient:
        assert patient.wait(20.0).output == "a\nb\n"
    held = threading.Event()
    slow = Process([PYTHON, "-c", "print('a\\n' * 5)"], on_line=lambda line: _hold(held))
    with slow:
        until = time.monotonic() + 30.0
        while slow.running and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(DeadlineExceeded, match="read to its end"):
            slow.wait(0.1)
        held.set()


def test_both_streams_of_a_program_can_be_one_in_the_order_in_which_it_wrote_them() -> None:
    code = "import sys\nfor n in range(4): print(n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)"
    lines: list[str] = []
    with Process([PYTHON, "-c", code], merged=True, on_line=lines.append) as process:
        finished = process.wait(30.0)
    assert (finished.output, finished.errors) == ("0\n1\n2\n3\n", "")
    assert lines == ["0", "1", "2", "3"]


ADOPTED = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); "
    "print(child.pid); "
)


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="what loses its parent is adopted under Linux only")
@pytest.mark.parametrize("how", ["ends", "is stopped", "is aborted"])
def test_what_a_guarded_program_has_started_in_a_session_of_its_own_ends_with_it(how: str) -> None:
    lines: list[str] = []
    code = ADOPTED + ("sys.exit(3)" if how == "ends" else "time.sleep(60)")
    with Process([PYTHON, "-c", code], guarded=True, on_line=lines.append) as process:
        if how == "ends":
            assert process.wait(30.0).status == 3
            child = int(lines[0])
        else:
            child = child_of(process, lines)
            began = time.monotonic()
            process.abort() if how == "is aborted" else process.stop(grace=0.1)
            assert time.monotonic() - began < 1.5
    assert gone(child, within=1.0)


def test_a_guarded_program_shows_its_status_and_its_signal_and_reads_what_it_is_given() -> None:
    with Process([PYTHON, "-c", "import os; os.kill(os.getpid(), 11)"], guarded=True) as process:
        assert process.wait(30.0).status == -11
    with Process(["no-such-program-anywhere"], guarded=True) as process:
        finished = process.wait(30.0)
    assert finished.status == 127
    assert "no-such-program-anywhere" in finished.errors
    with Process([PYTHON, "-c", "print(input()[::-1])"], guarded=True) as process:
        process.send("abc")
        assert process.wait(30.0).output == "cba\n"
        with pytest.raises(ConnectionLost):
            process.send("more")


def test_where_orphans_cannot_be_adopted_the_group_of_a_guarded_program_is_ended_and_its_status_kept() -> None:
    folder = str(Path(process.__file__).parent)
    guard = (
        f"import sys; sys.path.insert(0, {folder!r}); import _guard; _guard._adopt_orphans = lambda: False; "
        "sys.exit(_guard.main(sys.argv[1:]))"
    )
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(child.pid); sys.exit(3)"
    )
    with subprocess.Popen(
        [PYTHON, "-c", guard, PYTHON, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as guarded:
        assert guarded.wait(30.0) == 3
        assert guarded.stdout is not None
        assert gone(int(guarded.stdout.readline()))
