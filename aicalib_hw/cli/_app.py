"""The verbs, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import aicalib_hw
from aicalib_hw.cli import (
    bench,
    calibrate,
    discover,
    drivers,
    export,
    identify,
    read,
    release,
    report,
    serve,
    simulate,
    verify,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 passed or measured, 1 a verdict failed, 2 bad use or bad input, 3 an instrument failed.",
)
for module in (calibrate, simulate, drivers, discover, identify, read, serve, release, report, export, verify):
    app.command(module.__name__.rpartition(".")[2])(module.run)
app.add_typer(bench.group, name="bench")


def _version(asked: bool) -> None:
    if asked:
        print(f"aicalib-hw {aicalib_hw.__version__}")
        raise typer.Exit


@app.callback()
def calibrations(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log to the screen and show tracebacks; may stand after any verb.")
    ] = False,
) -> None:
    """Calibrate the compute, the power draw and more of AI computing platforms."""
