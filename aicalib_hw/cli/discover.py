"""`aicalib discover`: which instruments answer, and where it was possible to look."""

from __future__ import annotations

from typing import Annotated

import typer

from aicalib_hw.cli._durations import parse_duration
from aicalib_hw.cli._visa import VisaLibrary, keywords


def run(
    timeout: Annotated[
        float, typer.Option(parser=parse_duration, metavar="DURATION", help="Longest wait for each method.")
    ] = "5s",  # type: ignore[assignment]  # typer parses the default as it would the command line
    visa_library: VisaLibrary = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for instruments on this machine and on the networks it is in, without scanning any port."""
    from aicalib_hw.cli import _screen
    from aicalib_hw.cli.identify import as_plain
    from aicalib_hw.discovery import discover

    with _screen.remarks().status("looking for instruments"):
        found = discover(timeout=timeout, **keywords(visa_library))
    if as_json:
        findings = [{**as_plain(finding), "method": finding.method} for finding in found.findings]
        _screen.print_json({"findings": findings, "methods": dict(found.methods)})
        return
    from rich.table import Table

    table = Table("address", "instrument", "driver", "found by", title="Instruments", title_justify="left")
    for finding in found.findings:
        who = str(finding.identity) if finding.identity is not None else finding.note
        table.add_row(finding.address, who, finding.driver or "—", finding.method)
    methods = Table("method", "what it did", title="Where it was looked", title_justify="left")
    for method, said in found.methods.items():
        methods.add_row(method, said)
    _screen.output().print(table, methods)
