"""`aicalib read ADDRESS`: what an instrument reads, once or for as long as wanted, on the screen and in a file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from aicalib_hw.cli._durations import parse_duration
from aicalib_hw.cli._visa import VisaLibrary, keywords


def run(
    address: Annotated[str, typer.Argument(help="TCPIP::192.168.1.7::INSTR, cpu://local, …")],
    every: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Time from reading to reading.",
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--for", parser=parse_duration, metavar="DURATION", help="How long to read."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write each reading, with its status, to a new file at once."),
    ] = None,
    driver: Annotated[str | None, typer.Option(help="Name the driver instead of having it found.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Longest wait for an answer."),
    ] = None,
    visa_library: VisaLibrary = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a reading, one on each line.")] = False,
) -> None:
    """Read the instrument at ADDRESS.

    Once without --every and --for; with --every alone until Ctrl-C; with --for alone at the instrument's own pace.
    """
    from aicalib_hw.bench import hold
    from aicalib_hw.cli._interrupts import Interrupts
    from aicalib_hw.cli._readings import CsvFile, Screen, print_reading_as_json
    from aicalib_hw.discovery import open_instrument

    once = every is None and duration is None
    with Interrupts() as interrupts, ExitStack() as opened:
        try:
            options = keywords(visa_library)
            opened.enter_context(hold(address, driver=driver, options=options))
            instrument = opened.enter_context(open_instrument(address, driver=driver, timeout=timeout, **options))
            sinks: list[Any] = [print_reading_as_json if as_json else Screen(once=once)]
            if csv is not None:
                sinks.append(opened.enter_context(CsvFile(csv)))
            for reading in _readings(instrument, every, duration):
                for sink in sinks:
                    sink(reading, instrument.identity)
        except KeyboardInterrupt:
            if interrupts.received is None:
                raise
    if interrupts.received is not None and (every is None or duration is not None):
        raise typer.Exit(interrupts.exit_status)


def _readings(instrument: Any, every: float | None, duration: float | None) -> Iterator[Any]:
    """Yield readings: one, at the instrument's own pace, or on a grid of `every` s that does not drift."""
    from aicalib_hw.cli._interrupts import wait_until
    from aicalib_hw.errors import NotSupported

    if not hasattr(instrument, "read"):
        raise NotSupported(
            f"{instrument.DRIVER.name} is not read: it measures on request",
            where=instrument.address,
            why=f"its role is {instrument.DRIVER.role}",
            advice="use `aicalib calibrate` with a bench that holds it",
        )
    if every is None:
        yield from [instrument.read()] if duration is None else instrument.stream(duration=duration)
        return
    start = time.monotonic()
    tick = 0
    # A reading that takes longer than `every` leaves ticks out; it never shifts the later ones.
    while duration is None or tick * every < duration:
        wait_until(start + tick * every)
        yield instrument.read()
        tick = max(tick + 1, math.ceil((time.monotonic() - start) / every))
