"""The files of a session: where its record lies, and what is made from it, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from aicalib_hw.errors import RecordError


def record_in(place: str | Path) -> Path:
    """Return the record at `place`, the file or the directory that holds it; raises RecordError if there is none."""
    given = Path(place)
    path = given / "record.sqlite" if given.is_dir() else given
    if not path.is_file():
        raise RecordError(
            "there is no record",
            where=str(path.absolute()),
            why="no such file, or no record.sqlite in that directory",
            advice=_inside(given) or "name what `aicalib calibrate` wrote",
        )
    return path


def _inside(place: Path) -> str:
    """Advice that names the latest of the sessions that a directory holds, "" if it holds none."""
    records = sorted(place.glob("*/record.sqlite"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not records:
        return ""
    several = f"the latest of the {len(records)} sessions" if len(records) > 1 else "the session"
    return f"name {several} in it: {records[-1].parent}"


def write_whole(path: str | Path, content: str) -> Path:
    """Write text (UTF-8) to `path`, replacing what was there only once all of it is written; raises RecordError."""
    file = Path(path)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(content, encoding="utf-8", newline="")
        draft.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise RecordError(
            "the file cannot be written",
            where=str(file.absolute()),
            why=str(error),
            advice="name a directory that exists, can be written and has space; on Windows, close what shows that file",
        ) from error
    return file
