"""`aicalib serve ptdaemon ADDRESS`: an instrument offered to programs that speak another protocol only."""

from __future__ import annotations

import enum
import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from aicalib_hw.cli._durations import parse_duration
from aicalib_hw.cli._visa import VisaLibrary, keywords


class Protocol(enum.StrEnum):
    """What can be spoken."""

    ptdaemon = "ptdaemon"


def run(
    protocol: Annotated[Protocol, typer.Argument(metavar="PROTOCOL", help="The protocol to speak: ptdaemon.")],
    addresses: Annotated[
        list[str], typer.Argument(metavar="ADDRESS", help="One power meter, or several to be summed.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 = the system chooses.")] = 8888,
    host: Annotated[
        str, typer.Option(help="Whom to serve: 127.0.0.1 = programs of this machine, 0.0.0.0 = everybody.")
    ] = "127.0.0.1",
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append each sample to FILE, as PTDaemon's -l does.")
    ] = None,
    driver: Annotated[str | None, typer.Option(help="Name the driver instead of having it found.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Longest wait for an answer of the meter."),
    ] = None,
    visa_library: VisaLibrary = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on one line when clients may come.")
    ] = False,
) -> None:
    """Offer the power meter at ADDRESS under PTDaemon's protocol, until Ctrl-C or SIGTERM.

    With several addresses their signed sum is served, aligned by time, and each of them as a channel.
    """
    from aicalib_hw.bench import hold
    from aicalib_hw.cli import _screen
    from aicalib_hw.cli._interrupts import Interrupts, wait_until
    from aicalib_hw.discovery import open_instrument
    from aicalib_hw.serve.ptdaemon import PTDaemonServer

    with Interrupts() as interrupts, ExitStack() as opened:
        try:
            meters: list[Any] = []
            for address in addresses:
                options = keywords(visa_library)
                opened.enter_context(hold(address, driver=driver, options=options))
                meter = opened.enter_context(open_instrument(address, driver=driver, timeout=timeout, **options))
                _require_power_meter(meter)
                meters.append(meter)
            server = PTDaemonServer(meters, host=host, port=port, log=log)
            opened.callback(server.stop)
            where, listening = server.start()
            served = [str(meter.identity) for meter in meters]
            if as_json:
                _screen.print_json(
                    {
                        "protocol": protocol.value,
                        "address": f"ptdaemon://{where}:{listening}",
                        "instruments": served,
                        "pid": os.getpid(),
                    }
                )
            else:
                _screen.output().print(f"[bold]ptdaemon://{where}:{listening}[/]  {', '.join(served)}", soft_wrap=True)
                _screen.remarks().print("Ctrl-C ends it")
            wait_until(math.inf)
        except KeyboardInterrupt:
            if interrupts.received is None:
                raise


def _require_power_meter(instrument: Any) -> None:
    from aicalib_hw.errors import NotSupported

    if instrument.DRIVER.role != "power_meter":
        raise NotSupported(
            f"{instrument.DRIVER.name} cannot be served as a power meter",
            where=instrument.address,
            why=f"its role is {instrument.DRIVER.role}",
            advice="give the address of a power meter",
        )
