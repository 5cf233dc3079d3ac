"""`aicalib simulate [BENCH]`: the simulated instruments of a bench, for any program to talk to."""

from __future__ import annotations

import math
import os
from typing import Annotated

import typer


def run(
    bench: Annotated[str, typer.Argument(help="Name of a bench, or path to a .toml file.")] = "this-machine",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on one line when all are ready.")
    ] = False,
) -> None:
    """Start every simulated instrument of BENCH, print the addresses, and run until Ctrl-C or SIGTERM."""
    from aicalib_hw.bench import load_bench, simulate_bench
    from aicalib_hw.cli import _screen
    from aicalib_hw.cli._interrupts import Interrupts, wait_until

    with Interrupts() as interrupts:
        try:
            settings = load_bench(bench)
            with simulate_bench(settings) as simulation:
                started = {
                    name: {"driver": settings.instruments[name].driver, "address": address}
                    for name, address in simulation.addresses.items()
                }
                environment: dict[str, str] = {}
                for instrument in simulation.instruments.values():
                    environment |= getattr(instrument, "preload", {})
                if as_json:
                    found = {"instruments": started, "environment": environment, "bench": settings.bench.name}
                    _screen.print_json({**found, "pid": os.getpid()})
                else:
                    screen = _screen.output()
                    for name, entry in started.items():
                        screen.print(f"{name}  {entry['driver']}  [bold]{entry['address']}[/]", soft_wrap=True)
                    if environment:
                        screen.print("programs find the simulated accelerators when they are started with:")
                        screen.print(
                            "  " + " ".join(f"{key}={value}" for key, value in environment.items()), soft_wrap=True
                        )
                    if settings.time_remark:
                        _screen.remarks().print(f"[yellow]{settings.time_remark}[/]", soft_wrap=True)
                    _screen.remarks().print("simulated, on loopback only; Ctrl-C ends it")
                wait_until(math.inf)
        except KeyboardInterrupt:
            if interrupts.received is None:
                raise
