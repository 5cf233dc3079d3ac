"""The address of a TRex server: its ports, and what neither it nor its documents state."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from aicalib_hw.errors import UsageError

from ._trex_session import PORT

_FORM = "trex://HOST:4501?ports=0,1&clock_ppm=100&jitter_us=1000&refresh=1&fcs=yes"


@dataclass(frozen=True, slots=True)
class Place:
    """What an address says. clock: ± ratio, jitter and refresh: s, fcs: whether bytes hold it, None = unknown."""

    host: str
    port: int
    ports: tuple[str, ...]
    clock: float
    jitter: float
    refresh: float
    fcs: bool | None


def place_of(address: str) -> Place:
    """Take an address apart; raises UsageError naming what does not belong there."""
    problem = ""
    try:
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        place = Place(
            host=parts.hostname or "",
            port=parts.port or PORT,
            ports=tuple(name for name in options.pop("ports", "").split(",") if name),
            clock=float(options.pop("clock_ppm", "100")) * 1e-6,
            jitter=float(options.pop("jitter_us", "1000")) * 1e-6,
            refresh=float(options.pop("refresh", "1")),
            fcs={"yes": True, "no": False, "": None}[options.pop("fcs", "")],
        )
    except KeyError:
        raise UsageError(f"{address!r} is no address of TRex", why="fcs is yes or no", advice=_FORM) from None
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of TRex", why=str(error), advice=_FORM) from error
    if parts.scheme != "trex" or not place.host or parts.path not in ("", "/"):
        problem = "it names no server"
    elif options:
        problem = f"unknown: {', '.join(options)}"
    elif not all(name.isdigit() for name in place.ports):
        problem = "ports are numbers"
    elif not 0 <= place.clock < 1e-2:
        problem = "clock_ppm is 0 to 10000"
    elif not (0 <= place.jitter < 1 and 0 <= place.refresh <= 60):
        problem = "jitter_us is 0 to 999999, refresh 0 to 60 s"
    if problem:
        raise UsageError(f"{address!r} is no address of TRex", why=problem, advice=_FORM)
    return place
