"""The address of an iperf3 server, and how it is to be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from aicalib_hw.errors import UsageError

Transport = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server is, and how it is to be used, out of the address."""

    host: str
    port: int
    transport: Transport
    parallel: int
    omit: int
    program: str
    serve: bool


def place_of(address: str) -> Place:
    """Take an address apart; raises UsageError naming what does not belong there."""
    form = "iperf3://HOST:PORT?transport=tcp&parallel=1&omit=1"
    try:
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        host, port = parts.hostname, parts.port or 5201
        parallel, omit = int(options.pop("parallel", "1")), int(options.pop("omit", "1"))
    except ValueError as error:
        raise UsageError(f"{address!r} is no address of an iperf3 server", why=str(error), advice=form) from error
    transport = options.pop("transport", "tcp")
    program = options.pop("program", "iperf3")
    serve = options.pop("serve", "no")
    if parts.scheme != "iperf3" or not host or host.startswith("-") or parts.path not in ("", "/") or options:
        unknown = f"unknown: {', '.join(options)}" if options else ""
        raise UsageError(f"{address!r} is no address of an iperf3 server", why=unknown, advice=form)
    if serve not in ("yes", "no") or (serve == "yes" and host != "127.0.0.1"):
        raise UsageError(f"{address!r} asks for a server elsewhere", why="serve=yes is for 127.0.0.1 alone")
    if transport not in ("tcp", "udp") or not 1 <= parallel <= 128 or not 0 <= omit <= 60:
        raise UsageError(
            f"{address!r} asks for what iperf3 does not do",
            why="transport is tcp or udp, parallel 1 to 128, omit 0 to 60 s",
            advice=form,
        )
    return Place(host, port, "udp" if transport == "udp" else "tcp", parallel, omit, program, serve == "yes")
