"""Files made from a record: whole, or not there at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from aicalib_hw.errors import RecordError


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
            advice="name a directory that exists, can be written and has space",
        ) from error
    return file
