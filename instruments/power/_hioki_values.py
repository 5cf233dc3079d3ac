"""What Hioki meters reply, with the header on: values that each stand with their name, `U1 +230.00E+0;I1 …`."""

from __future__ import annotations

from collections.abc import Sequence

from aicalib_hw.errors import ProtocolError
from aicalib_hw.identity import Identity
from aicalib_hw.readings import Reading, Status, Window
from aicalib_hw.scpi.codec import parse_number

from . import _evaluation
from . import _hioki_tables as tables

SOMEBODY_ELSE = "open the instrument again; let no other program use it meanwhile"


def named(reply: str, items: Sequence[str], where: str) -> dict[str, str]:
    """Return the texts of `items`, which the reply names in this order; raises ProtocolError for any other reply."""
    parts = [part.strip().partition(" ") for part in reply.split(";")]
    if [name.upper() for name, _, _ in parts] != [item.upper() for item in items]:
        raise ProtocolError(
            f"{reply[:80]!r} is no set of {len(items)} named values",
            where=where,
            why="the header was switched off by somebody, or the reply belongs to another question",
            advice=SOMEBODY_ELSE,
        )
    return {item: text.strip() for item, (_, _, text) in zip(items, parts, strict=True)}


def reading(
    text: str, unit: str, channel: str, *, flags: Status, window: Window, source: Identity, full: float | None = None
) -> Reading:
    """Return a value with its status: what stands for "no value" has none. full: of the range in force, in `unit`."""
    number = parse_number(text)
    marker = tables.marked(number)
    return Reading(
        value=None if marker else number,
        unit=unit,
        status=flags | marker,
        window=window,
        source=source,
        channel=channel,
        range=full,
        resolution=None if marker else _evaluation.last_digit(text),
        raw=text,
    )


def seconds(text: str) -> float:
    """Seconds of `hhhhh,mm,ss`; raises ProtocolError."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ProtocolError(f"{text!r} is no integration time")
    hours, minutes, rest = (int(part) for part in parts)
    return float(hours * 3600 + minutes * 60 + rest)
