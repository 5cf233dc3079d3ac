"""What an address of a log says: whose log, where it lies or that it is a command's output, and where to begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from aicalib_hw.errors import UsageError

from ._formats import FORMATS, Format

FORM = "log:///path?framework=megatron, or log://command?framework=megatron"
BEGINNINGS = ("end", "start", "command")
COUNTS = ("global_batch", "sequence_length", "processors")
_COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Place:
    """An address taken apart; path None: the output of the plan's command; awaited: a file that it has yet to write."""

    format: Format
    path: Path | None
    history: bool
    awaited: bool
    counts: Mapping[str, int]

    @property
    def by_command(self) -> bool:
        """True for the output of a command."""
        return self.path is None


def place_of(address: str) -> Place:
    """Take an address apart; raises UsageError naming what does not belong there."""
    try:
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        counts = {name: int(options.pop(name)) for name in COUNTS if name in options}
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of a log", why=str(error), advice=FORM) from error
    framework, begin = options.pop("framework", ""), options.pop("from", "end")
    if framework not in FORMATS:
        why = f"the framework {framework!r} is unknown" if framework else "it names no framework"
        raise UsageError(f"{address!r} is no address of a log", why=why, advice=f"one of {', '.join(FORMATS)}")
    if parts.scheme != "log" or options or begin not in BEGINNINGS or any(one < 1 for one in counts.values()):
        why = f"unknown: {', '.join(options)}" if options else f"from is {', '.join(BEGINNINGS)}; counts are 1 or more"
        raise UsageError(f"{address!r} is no address of a log", why=why, advice=FORM)
    if parts.netloc == _COMMAND and not parts.path.strip("/"):
        return Place(FORMATS[framework], None, True, False, counts)
    if parts.netloc or not parts.path.startswith("/"):
        raise UsageError(f"{address!r} names no path of this host", why="a host, or a relative path", advice=FORM)
    return Place(FORMATS[framework], Path(unquote(parts.path)), begin == "start", begin == "command", counts)
