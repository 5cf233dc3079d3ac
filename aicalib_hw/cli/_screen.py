"""Where output goes: results on standard output, progress and remarks on standard error."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

from rich.console import Console

_WIDTH_OF_A_FILE = 120


def output() -> Console:
    """Return the console for results; what is not a terminal gets lines of a fixed, readable width."""
    return _console(stderr=False)


def remarks() -> Console:
    """Return the console for progress and remarks."""
    return _console(stderr=True)


def take_any_character() -> None:
    """Let results pass whose characters the system's encoding lacks, as errors do: ✓ in a Windows file is \\u2713."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_json(data: Any) -> None:
    """Print one JSON object on one line, at once; programs read it as UTF-8, whatever the system's encoding is."""
    in_utf_8 = (sys.stdout.encoding or "").lower() == "utf-8"
    sys.stdout.write(json.dumps(data, ensure_ascii=not in_utf_8) + "\n")
    sys.stdout.flush()


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    fixed = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=stderr, width=_WIDTH_OF_A_FILE if fixed else None, highlight=False)
