"""`aicalib bench new` and `aicalib bench check`: bench files begun and checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from aicalib_hw.cli._durations import parse_duration
from aicalib_hw.cli._visa import VisaLibrary, keywords

group = typer.Typer(no_args_is_help=True, help="Begin a bench file from the instruments that answer, or check one.")


@group.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the bench; the file is ./NAME.toml.")],
    addresses: Annotated[
        list[str], typer.Argument(metavar="ADDRESS…", help="Instruments, as `aicalib identify` takes them.")
    ],
    timeout: Annotated[
        float, typer.Option(parser=parse_duration, metavar="DURATION", help="Longest wait for each answer.")
    ] = "5s",  # type: ignore[assignment]  # typer parses the default as it would the command line
    visa_library: VisaLibrary = None,
) -> None:
    """Ask who is at each ADDRESS and write a bench file of these instruments, to be completed by hand."""
    from aicalib_hw._bench_starter import starter
    from aicalib_hw.cli import _screen
    from aicalib_hw.discovery import identify_address
    from aicalib_hw.errors import UsageError

    if not re.fullmatch(r"[\w-]+", name):
        raise UsageError(
            f"{name!r} cannot be the name of a bench",
            where="NAME",
            why="it becomes the name of a file here, and what other commands call the bench by",
            advice="take letters, digits, - and _, for example lab-3",
        )
    path = Path(f"{name}.toml")
    findings = []
    for address in addresses:
        with _screen.remarks().status(f"asking {address}"):
            findings.append(identify_address(address, timeout=timeout, **keywords(visa_library)))
    text = starter(name, findings, visa_library=visa_library)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            "the file is there already",
            where=str(path.absolute()),
            why="a bench file is never overwritten",
            advice="choose another name, or remove the file",
        ) from None
    screen = _screen.output()
    for finding in findings:
        screen.print(f"  {finding.driver}: {finding.identity} at {finding.address}", markup=False, soft_wrap=True)
    screen.print(f"written  {path}; complete it, then: aicalib calibrate ./{path}", markup=False, soft_wrap=True)


@group.command("check")
def check(
    bench: Annotated[str, typer.Argument(help="Name of a bench, or path to a .toml file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a bench file, all of it, without opening any instrument."""
    from aicalib_hw._bench_statements import without_limit
    from aicalib_hw.bench import load_bench
    from aicalib_hw.cli import _problems, _screen
    from aicalib_hw.errors import BenchError
    from aicalib_hw.trace import redacted

    try:
        settings = load_bench(bench)
    except BenchError as error:
        if as_json:
            _screen.print_json(_problems.as_plain(error))
        raise
    if as_json:
        instruments = {
            name: {
                "driver": entry.driver,
                "address": entry.address and redacted(entry.address),
                "simulator": entry.simulator,
            }
            for name, entry in settings.instruments.items()
        }
        plain = {"bench": settings.bench.name, "file": settings.origin, "instruments": instruments}
        _screen.print_json({**plain, "rule": settings.decision.rule, "warnings": list(without_limit(settings))})
        return
    screen = _screen.output()
    screen.print(f"[green]✓[/] {settings.origin}", soft_wrap=True)
    for name, entry in settings.instruments.items():
        where = redacted(entry.address) if entry.address else f"simulator {entry.simulator}"
        screen.print(f"  {name}: {entry.driver} at {where}", markup=False, soft_wrap=True)
    said = len(settings.indications)
    counted = "1 indication" if said == 1 else f"{said or 'no'} indications"
    screen.print(f"  rule {settings.decision.rule}, {counted}", markup=False)
    for warning in without_limit(settings):
        screen.print(warning, markup=False, soft_wrap=True, style="yellow")
