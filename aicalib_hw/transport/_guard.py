"""Stands between this project and a program that it runs, so that nothing the program starts is ever left behind.

A script of its own: `python -I -S _guard.py --remove=FOLDER PROGRAM ARGUMENTS…`. It ends the program and all that came
of it when its own input ends, that is when the process that started it says so or has died, by `kill -9` too; it ends
what the program has left behind, and at last removes the folder, if one is named. Programs such as torchrun start their
workers in sessions of their own, which no signal to a process group reaches: under Linux this script adopts what loses
its parent (prctl(2), PR_SET_CHILD_SUBREAPER). What it reads, the program reads. Python programs write their lines at
once (PYTHONUNBUFFERED), so that a line's time of arrival is that of what it tells.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

_SET_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_LOOK_EVERY = 0.02
_ENDS_WITHIN = 0.6
_NOT_FOUND = 127
_REMOVE = "--remove="


def main(arguments: list[str]) -> int:
    """Run the program, return its exit status; negative: by that signal."""
    folder = arguments.pop(0).removeprefix(_REMOVE) if arguments[0].startswith(_REMOVE) else ""
    try:
        return _run(arguments)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _run(arguments: list[str]) -> int:
    adopting = _adopt_orphans()
    # A handler of one's own, not SIG_IGN, which the program would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    os.putenv("PYTHONUNBUFFERED", "1")
    try:
        # Where orphans are not adopted, the program's group is all that can be ended, and must not hold the guard.
        program = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            process_group=None if adopting else 0,
            preexec_fn=_die_with_parent if adopting else None,
        )
    except OSError as error:
        os.write(2, f"{arguments[0]}: {error.strerror}\n".encode())
        return _NOT_FOUND
    if not adopting:
        signal.signal(signal.SIGINT, lambda *_: _signal_group(program.pid, signal.SIGINT))
    while program.poll() is None:
        if select.select([0], [], [], _LOOK_EVERY)[0]:
            given = os.read(0, 1 << 16)
            if not given:
                break
            _pass_on(program, given)
    status = program.poll()
    if adopting:
        _end_descendants()
    else:
        _signal_group(program.pid, signal.SIGKILL)
    return -signal.SIGKILL if status is None else status


def _adopt_orphans() -> bool:
    """Become the parent of what loses its own among the descendants; False where the system has no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    return _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> bool:
    return bool(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0)


def _die_with_parent() -> None:
    """Have the kernel end this process when its parent ends (PR_SET_PDEATHSIG), be it the guard that was killed."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _signal_group(number: int, kind: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.killpg(number, kind)


def _pass_on(program: subprocess.Popen[bytes], given: bytes) -> None:
    """Give the program its input; one that has closed it loses nothing."""
    with contextlib.suppress(OSError):
        if program.stdin is not None:
            program.stdin.write(given)
            program.stdin.flush()


def _end_descendants() -> None:
    """Kill until nothing is left, as a dying process may be starting another."""
    until = time.monotonic() + _ENDS_WITHIN
    while found := _descendants():
        for number in found:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if time.monotonic() > until:
            return
        time.sleep(0.005)


def _descendants() -> list[int]:
    """The processes that this one, or one of its descendants, has started."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="latin-1") as stat:
                parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
    found: list[int] = []
    reached = {os.getpid()}
    while new := [number for number, parent in parents.items() if parent in reached and number not in reached]:
        reached.update(new)
        found += new
    return found


if __name__ == "__main__":
    ended = main(sys.argv[1:])
    if ended < 0:
        signal.signal(-ended, signal.SIG_DFL) if -ended not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -ended)
    sys.exit(ended)
