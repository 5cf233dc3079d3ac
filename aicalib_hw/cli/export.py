"""`aicalib export RECORD`: the content of a record for other programs."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer


class Format(enum.StrEnum):
    """What a record can be written as."""

    CSV = "csv"
    JSONL = "jsonl"


def run(
    record: Annotated[Path, typer.Argument(help="A record.sqlite, or the directory that holds one.")],
    form: Annotated[
        Format, typer.Option("--format", help="csv: one row a result; jsonl: everything, one JSON object a line.")
    ] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: record.csv or .jsonl beside it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths as one JSON object.")] = False,
) -> None:
    """Write the results of RECORD, or everything in it, as text for other programs; RECORD itself is not changed."""
    from aicalib_hw.cli import _screen
    from aicalib_hw.records import export_csv, export_json_lines, read_record
    from aicalib_hw.records.files import record_in

    path = record_in(record)
    write = export_csv if form is Format.CSV else export_json_lines
    written = write(read_record(path), output or path.with_suffix(f".{form.value}"))
    if as_json:
        _screen.print_json({"record": str(path), "written": str(written), "format": form.value})
        return
    _screen.output().print(f"written  {written}", soft_wrap=True)
