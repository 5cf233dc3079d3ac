"""Folders for what a program reads and leaves, removed with all that is in them."""

from __future__ import annotations

import tempfile

from aicalib_hw.errors import ConnectionFailed


def work_folder(of: str, *, whose: str) -> tempfile.TemporaryDirectory[str]:
    """Make a folder aicalib-OF-… that only this user can read; `cleanup()` removes it and never raises.

    whose: for the message, as in "the engine". Raises ConnectionFailed where there is no place for it.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=f"aicalib-{of}-", ignore_cleanup_errors=True)
    except OSError as error:
        raise no_room(whose, str(error)) from error


def no_room(whose: str, why: str) -> ConnectionFailed:
    """Return the error for files that cannot be written; whose: as for `work_folder`."""
    return ConnectionFailed(
        f"{whose} has no place for its files",
        where=tempfile.gettempdir(),
        why=why,
        advice="make room there, or name another folder for temporary files: TMPDIR",
    )
