"""`aicalib release BENCH`: undo what a program that died left behind in the instruments of a bench."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    bench: Annotated[str, typer.Argument(help="Name of a bench, or path to a .toml file.")],
    force: Annotated[
        bool, typer.Option("--force", help="Release even what a living program, or one on another machine, holds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Stop integrations and loads, unlock panels and give back leases that a dead program left in BENCH."""
    from rich.markup import escape

    from aicalib_hw.bench import release_bench
    from aicalib_hw.cli import _screen

    reports = release_bench(bench, force=force)
    failed = not all(reports.values())
    if as_json:
        plain = {
            name: {"actions": list(done.actions), "failures": list(done.failures)} for name, done in reports.items()
        }
        _screen.print_json({"instruments": plain})
    else:
        screen = _screen.output()
        for name, done in reports.items():
            said = "; ".join((*done.failures, *done.actions)) or "nothing had to be undone"
            mark = "[green]✓[/]" if done else "[red]✗[/]"
            screen.print(f"{mark} {escape(f'{name}: {said}')}", soft_wrap=True)
    if failed:
        raise typer.Exit(3)
