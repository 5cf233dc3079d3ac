"""An error as one screen: what, where, why and what to do; and the exit status that goes with it."""

from __future__ import annotations

import dataclasses
import errno
import logging
import sys
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from aicalib_hw.cli import _screen
from aicalib_hw.errors import AicalibError, BenchError, InstrumentError, Problem
from aicalib_hw.trace import redacted

FAULT_OF_THE_PROGRAM = 70
"""Exit status for an error that this program did not foresee (EX_SOFTWARE of sysexits.h)."""


def log_to_the_screen() -> None:
    """Show what the library logs, with times, on standard error."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("aicalib_hw").setLevel(logging.DEBUG)


def show(error: Exception) -> int:
    """Print `error` on standard error and return the exit status it asks for."""
    known = _as_known(error)
    if known is None:
        known = AicalibError(
            f"aicalib met an error that it did not foresee: {type(error).__name__}: {error}",
            why="a fault of the program",
            advice="repeat the command with --debug and report what it shows",
        )
        status = FAULT_OF_THE_PROGRAM
    else:
        status = known.exit_status
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    problems = known.problems if isinstance(known, BenchError) else ()
    several = len(problems) > 1
    for word, text in (
        ("what", known.what),
        ("where", known.where),
        ("why", known.why),
        ("what to do", known.advice),
    ):
        if text and not (several and word in ("why", "what to do")):
            table.add_row(word, Text(redacted(text) if "://" in text else text))
    if several:
        rows = Table.grid(padding=(0, 1))
        rows.add_column(justify="right", no_wrap=True)
        rows.add_column(overflow="fold")
        for number, problem in enumerate(problems, 1):
            rows.add_row(f"{number}.", _problem(problem))
        table.add_row("why", rows)
        table.add_row("what to do", known.advice)
    for note in getattr(error, "__notes__", ()):
        table.add_row("besides", Text(note))
    title = "an instrument failed" if isinstance(known, InstrumentError) and status == 3 else "error"
    _screen.remarks().print(Panel(table, title=title, border_style="red", title_align="left"))
    return status


def _problem(problem: Problem) -> Text:
    """One mistake of a bench file in two lines: key and what is wrong; cause and what to do."""
    text = Text.assemble((problem.key, "bold"), f"  {problem.what}")
    below = "; ".join(said for said in (problem.why, problem.advice) if said)
    return text.append(f"\n{below}", style="dim") if below else text


def as_plain(error: AicalibError) -> dict[str, Any]:
    """Return an error as JSON data; `problems` has every mistake of a bench file."""
    plain: dict[str, Any] = {"what": error.what, "where": error.where, "why": error.why, "advice": error.advice}
    if isinstance(error, BenchError):
        plain["problems"] = [dataclasses.asdict(problem) for problem in error.problems]
    return plain


def _as_known(error: Exception) -> AicalibError | None:
    if isinstance(error, AicalibError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return AicalibError(
            f"{_words(error)}", where=_place(error), why=error.strerror or str(error), advice=_advice(error)
        )
    return None


def _words(error: OSError) -> str:
    words = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "the file would become larger than is allowed here",
        errno.EACCES: "a file or directory may not be used",
        errno.EROFS: "the file system is read-only",
        errno.ENOENT: "a file or directory is missing",
        errno.EEXIST: "a file is in the way",
        errno.ENOTDIR: "a file stands where a directory is needed",
    }
    return words.get(error.errno or 0, "the operating system refused")


def _place(error: OSError) -> str:
    return ", ".join(str(name) for name in (error.filename, error.filename2) if name)


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free space, or write elsewhere; what had been written before is still there"
    return "check the path and its permissions, or write elsewhere"
