"""`aicalib identify ADDRESS`: who is there, asked now."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicalib_hw.cli._durations import parse_duration
from aicalib_hw.cli._visa import VisaLibrary, keywords

if TYPE_CHECKING:
    from aicalib_hw.discovery import Finding


def run(
    address: Annotated[str, typer.Argument(help="TCPIP::192.168.1.7::INSTR, cpu://local, …")],
    timeout: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Longest wait for an answer."),
    ] = None,
    visa_library: VisaLibrary = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the instrument at ADDRESS who it is, and say which driver knows it."""
    from aicalib_hw.cli import _screen
    from aicalib_hw.discovery import identify_address

    finding = identify_address(address, timeout=timeout, **keywords(visa_library))
    plain = as_plain(finding)
    if as_json:
        _screen.print_json(plain)
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    extra = plain.pop("extra")
    for word, value in {**plain, **extra}.items():
        if value != "":
            table.add_row(word, str(value).lower() if isinstance(value, bool) else str(value))
    _screen.output().print(table)


def as_plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON data."""
    identity = finding.identity
    who = {} if identity is None else asdict(identity)
    return {**who, "address": finding.address, "driver": finding.driver, "note": finding.note}
