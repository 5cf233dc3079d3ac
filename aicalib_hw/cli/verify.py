"""`aicalib verify RECORD`: is a record as it was written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    record: Annotated[Path, typer.Argument(help="A record.sqlite, or the directory that holds one.")],
    seal: Annotated[
        str | None, typer.Option(help="The seal as it was noted elsewhere, for example on a printed report.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every row, every event and the seal of RECORD; exit status 2 if something is not as it was written."""
    from aicalib_hw.cli import _screen
    from aicalib_hw.records import verify_record
    from aicalib_hw.records.files import record_in

    path = record_in(record)
    found = verify_record(path)
    problems = list(found.problems)
    if seal is not None and seal.strip().lower() != found.seal:
        problems.append(f"its seal is {found.seal or 'missing'}, and not the one that was noted")
    if as_json:
        _screen.print_json({"record": str(path), "whole": not problems, "seal": found.seal, "problems": problems})
    else:
        screen = _screen.output()
        for problem in problems:
            screen.print(f"✗ {problem}", style="red", markup=False, soft_wrap=True)
        if not problems:
            screen.print("[green]✓[/] every row, every event and every sample is as it was written")
        screen.print(f"seal  {found.seal or 'none: the session broke off before its end'}", soft_wrap=True)
    if problems:
        raise typer.Exit(2)
