"""Programs run as instruments: found, started, followed, and ended with all their children on every way out.

A program gets a session of its own, so that stopping reaches whatever it has started. What it writes is
kept whole, line by line as it comes, and traced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from aicalib_hw.errors import Aborted, ConnectionLost, DeadlineExceeded, MissingProgram, NotOpen
from aicalib_hw.trace import Trace
from aicalib_hw.transport.deadline import Deadline

GRACE = 2.0
"""s that a program is given to end by itself after it was asked to."""

_GUARD = Path(__file__).with_name("_guard.py")
_GUARD_ENDS_ALL = 0.7
"""s that the guard is given for it."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended: its exit status (negative: by that signal), what it wrote, and how long it ran in s."""

    status: int
    output: str
    errors: str
    duration: float


def find_program(name: str, *, purpose: str, install: str) -> str:
    """Return the whole path of a program; raises MissingProgram, telling what needs it and how to get it.

    It holds wherever the program is then run. name: a name to be found where programs are, or a path. install: the
    command that brings it.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingProgram(f"{purpose} needs the program {name}, which is not there", where=name, advice=install)
    return os.path.abspath(found)


class Process:
    """One run of a program; start it in a `with`, which ends it whatever happens.

    arguments: program and arguments; no shell is involved. on_line: gets each line of the output as it
    comes, in a thread of its own, and must return quickly; what it raises, `wait` raises. directory: where it runs,
    None = here. merged: what it writes to its error stream is part of its output, in order. guarded: whatever it
    starts ends with it, in sessions of their own too, and all of it when this process dies (Linux; elsewhere its
    process group); it reads what `send()` gives it. remove: a folder that its guard removes at last.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        trace: Trace | None = None,
        on_line: Callable[[str], None] | None = None,
        directory: Path | None = None,
        merged: bool = False,
        guarded: bool = False,
        remove: str = "",
    ) -> None:
        self.arguments = tuple(arguments)
        self._merged = merged
        self._guarded = guarded and sys.platform != "win32"
        self._remove = (f"--remove={remove}",) if remove else ()
        self._trace = trace
        self._on_line = on_line
        self._directory = directory
        self._aborted = threading.Event()
        self._lines: dict[str, list[str]] = {"output": [], "errors": []}
        self._readers: list[threading.Thread] = []
        self._program: subprocess.Popen[str] | None = None
        self._cleared = False
        self._finished: Finished | None = None
        self._began = 0.0
        self._failure: Exception | None = None

    @property
    def running(self) -> bool:
        """True from `start()` until the program has ended."""
        return self._program is not None and self._program.poll() is None

    def start(self) -> Self:
        """Start the program; raises MissingProgram if it cannot be executed."""
        self._note("write", " ".join(self.arguments))
        self._began = time.monotonic()
        try:
            self._program = subprocess.Popen(
                (sys.executable, "-I", "-S", str(_GUARD), *self._remove, *self.arguments)
                if self._guarded
                else self.arguments,
                stdin=subprocess.PIPE if self._guarded else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if self._merged else subprocess.PIPE,
                cwd=self._directory,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
                creationflags=_WINDOWS_GROUP,
            )
        except OSError as error:
            raise MissingProgram(
                f"{self.arguments[0]} cannot be run", where=self.arguments[0], why=str(error), advice="install it anew"
            ) from error
        for name, stream in (("output", self._program.stdout), ("errors", self._program.stderr)):
            if stream is None:
                continue
            reader = threading.Thread(target=self._read, args=(name, stream), name=f"{name}-of-program", daemon=True)
            self._readers.append(reader)
            reader.start()
        return self

    def send(self, line: str) -> None:
        """Give a guarded program one line to read; raises ConnectionLost if it has ended."""
        program = self._started()
        self._note("write", line)
        try:
            if program.stdin is None:
                raise BrokenPipeError("it reads nothing")
            program.stdin.write(f"{line}\n")
            program.stdin.flush()
        except (OSError, ValueError) as error:
            raise ConnectionLost(
                f"{self.arguments[0]} takes no more input", where=" ".join(self.arguments), why=self._last_words()
            ) from error

    def wait(self, timeout: float) -> Finished:
        """Return what the program did once it has ended.

        Raises DeadlineExceeded (it is ended then) if it goes on for longer, or if its output cannot be read to its end
        in that time; Aborted; and what `on_line` raised.
        """
        program = self._started()
        deadline = Deadline(timeout)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(deadline.left)
        if program.poll() is None:
            self.stop(grace=0.0)
            raise DeadlineExceeded(
                f"{self.arguments[0]} did not end within {timeout:g} s",
                where=" ".join(self.arguments),
                why=self._last_words(),
            )
        self._end_children()
        for reader in self._readers:
            reader.join(max(GRACE, deadline.left))
        if self._aborted.is_set():
            raise Aborted(f"{self.arguments[0]} was stopped", where=" ".join(self.arguments))
        if any(reader.is_alive() for reader in self._readers):
            raise DeadlineExceeded(
                f"the output of {self.arguments[0]} could not be read to its end",
                where=" ".join(self.arguments),
                why="what takes its lines is slower than the program, or a child of it keeps the output open",
                advice="what was read until now is in the trace",
            )
        if self._failure is not None:
            raise self._failure
        if self._finished is None:
            self._finished = finished = Finished(
                program.returncode,
                "".join(self._lines["output"]),
                "".join(self._lines["errors"]),
                time.monotonic() - self._began,
            )
            self._note("event", f"ended with status {finished.status} after {finished.duration:.3f} s")
        return self._finished

    def stop(self, grace: float = GRACE) -> bool:
        """Ask the program to end, and end it with all its children after `grace` s; True if it ended by itself.

        Idempotent, from any thread; never raises.
        """
        program = self._program
        if program is None:
            return True
        obeyed = program.poll() is not None
        if not obeyed and grace > 0:
            self._signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(grace)
                obeyed = True
        self._end_children()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(GRACE)
        return obeyed

    def abort(self) -> None:
        """End the program now; a `wait` in another thread raises Aborted. Never raises."""
        self._aborted.set()
        self.stop(grace=0.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for reader in self._readers:
            reader.join(GRACE)

    def _started(self) -> subprocess.Popen[str]:
        if self._program is None:
            raise NotOpen(f"{self.arguments[0]} was not started", advice="use it in a `with`, or call start()")
        return self._program

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines[name].append(line)
                self._note("read", line.rstrip("\n"), stream=name)
                if name == "output" and self._on_line is not None and self._failure is None:
                    try:
                        self._on_line(line.rstrip("\n"))
                    except Exception as error:  # noqa: BLE001 - kept for `wait`; unread, the output would block the program
                        self._failure = error

    def _end_children(self) -> None:
        """Kill what is left of the program's session, the program included; once, as numbers are used again."""
        if self._cleared:
            return
        self._cleared = True
        if self._guarded:
            self._dismiss_guard()
        if sys.platform != "win32":
            self._signal(signal.SIGKILL)
        elif self.running:
            self._started().kill()

    def _dismiss_guard(self) -> None:
        """Let the guard end all that it guards, which it does when its input ends."""
        program = self._started()
        with contextlib.suppress(OSError):
            if program.stdin is not None:
                program.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(_GUARD_ENDS_ALL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._started().terminate()
            else:
                os.killpg(self._started().pid, number)

    def _last_words(self) -> str:
        lines = [*self._lines["errors"], *self._lines["output"]][-3:]
        return " / ".join(line.strip() for line in lines)

    def _note(self, direction: str, data: str, **more: str) -> None:
        if self._trace is not None:
            self._trace.add(self.arguments[0], direction, data, **more)


_WINDOWS_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
