"""The address of a Xena chassis: host, ports, and what is known of their clock."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from aicalib_hw.errors import UsageError

from ._xena_session import PORT

_FORM = "xena://HOST:22611?ports=0/0,0/1&clock_ppm=100"


@dataclass(frozen=True, slots=True)
class Place:
    """ports: those that may be used, () = all. clock: ± ratio. password: "" = the one it is delivered with.

    shown: the address without its password, as records and reports show it.
    """

    host: str
    port: int
    ports: tuple[str, ...]
    clock: float
    password: str
    shown: str


def place_of(address: str) -> Place:
    """Take an address apart; raises UsageError naming what does not belong there."""
    problem = ""
    try:
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        host, port = parts.hostname or "", parts.port or PORT
        ports = tuple(name for name in options.pop("ports", "").split(",") if name)
        clock = float(options.pop("clock_ppm", "100")) * 1e-6
        password = options.pop("password", "")
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of a Xena chassis", why=str(error), advice=_FORM) from error
    if parts.scheme != "xena" or not host or parts.path not in ("", "/"):
        problem = "it names no chassis"
    elif options:
        problem = f"unknown: {', '.join(options)}"
    elif any(not all(part.isdigit() for part in name.split("/")) or name.count("/") != 1 for name in ports):
        problem = "a port is written MODULE/PORT"
    elif not 0 <= clock < 1e-2:
        problem = "clock_ppm is 0 to 10000"
    elif '"' in password or not password.isascii():
        problem = "the password has a character that cannot be sent"
    if problem:
        raise UsageError(f"{address!r} is no address of a Xena chassis", why=problem, advice=_FORM)
    kept = [part for part in parts.query.split("&") if part and not part.startswith("password=")]
    shown = parts._replace(query="&".join(kept)).geturl()
    return Place(host, port, ports, clock, password, shown)
