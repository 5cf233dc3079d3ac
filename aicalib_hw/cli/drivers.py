"""`aicalib drivers`: what can be driven, and what of it can be simulated."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer


def run(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the installed drivers: role, models, wires, simulator, and on what they have been proven."""
    from aicalib_hw.cli import _screen

    found = _drivers()
    if as_json:
        _screen.print_json({"drivers": found})
        return
    from rich.table import Table

    screen = _screen.output()
    for name, entry in found.items():
        table = Table.grid(padding=(0, 2))
        for word, text in _lines(entry):
            table.add_row(f"  {word}", text)
        screen.print(f"[bold]{name}[/]  {entry.get('role', 'cannot be loaded')}")
        screen.print(table)


def _lines(entry: dict[str, Any]) -> list[tuple[str, str]]:
    if "error" in entry:
        return [("why", entry["error"]), ("from", entry["distribution"])]
    opened_by = [f"{scheme}://" for scheme in entry["schemes"]] + list(entry["wires"])
    return [
        ("for", entry["summary"]),
        ("over", ", ".join(opened_by)),
        ("simulator", entry["simulator"] or "none"),
        ("verified", entry["verified"]),
    ]


def _drivers() -> dict[str, dict[str, Any]]:
    from aicalib_hw import registry
    from aicalib_hw.errors import AicalibError

    found: dict[str, dict[str, Any]] = {}
    for name, entry in registry.entries(registry.DRIVERS).items():
        try:
            found[name] = {**asdict(entry.load().DRIVER), "distribution": entry.distribution}
        except AicalibError as error:
            found[name] = {"error": error.why or error.what, "distribution": entry.distribution}
    return found
