"""`aicalib report RECORD`: the report that people read, made again from a record."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer


class Language(enum.StrEnum):
    """The languages in which a report can be written."""

    EN = "en"
    ZH = "zh"


def run(
    record: Annotated[Path, typer.Argument(help="A record.sqlite, or the directory that holds one.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file to write; default: report.html beside the record.")
    ] = None,
    language: Annotated[Language, typer.Option(help="Language of the report.")] = Language.EN,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths as one JSON object.")] = False,
) -> None:
    """Write the report of RECORD as one self-contained HTML file."""
    from aicalib_hw.cli import _screen
    from aicalib_hw.records.files import record_in
    from aicalib_hw.reports.html import write_report

    path = record_in(record)
    written = write_report(path, output or path.with_name("report.html"), language=language.value)
    if as_json:
        _screen.print_json({"record": str(path), "report": str(written), "language": language.value})
        return
    _screen.output().print(f"report  {written}", soft_wrap=True)
