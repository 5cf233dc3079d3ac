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

    table = Table("driver", "role", "for", "opened by", "simulator", "verified", title="Drivers", title_justify="left")
    for name, entry in found.items():
        if "error" in entry:
            table.add_row(name, "—", f"cannot be loaded: {entry['error']}", "—", "—", "—")
            continue
        opened_by = " ".join(f"{scheme}://" for scheme in entry["schemes"]) or ", ".join(entry["wires"])
        table.add_row(
            name, entry["role"], entry["summary"], opened_by, entry["simulator"] or "not needed", entry["verified"]
        )
    _screen.output().print(table)


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
