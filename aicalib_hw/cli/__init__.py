"""The command line, `aicalib`: one module a verb."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line (None = this process's own) and exit with its status; see docs/reference/command-line.md."""
    from aicalib_hw.cli import _problems, _screen

    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if debug:
        given.remove("--debug")
        _problems.log_to_the_screen()
    _screen.take_any_character()
    try:
        from aicalib_hw.cli._app import app

        app(given, prog_name="aicalib")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is shown as one screen and gives the exit status
        if debug:
            traceback.print_exc()
        sys.exit(_problems.show(error))
