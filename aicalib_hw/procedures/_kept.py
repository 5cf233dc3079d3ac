"""What a procedure keeps of a run that breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aicalib_hw.errors import InstrumentError


@contextmanager
def keeping_partial(record: Any) -> Iterator[None]:
    """Write into the record, if there is one, what an error of an instrument has of its run, and let the error pass."""
    try:
        yield
    except InstrumentError as error:
        if record is not None and error.partial is not None:
            record.measurement(error.partial)
        raise
