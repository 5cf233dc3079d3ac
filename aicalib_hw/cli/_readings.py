"""A reading of any role as a row: on the screen, as JSON, as CSV. What is not usable is a status, never a number."""

from __future__ import annotations

import contextlib
import csv
import datetime
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aicalib_hw import units
from aicalib_hw.cli import _screen
from aicalib_hw.errors import UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.readings import Reading


def channels(reading: Any) -> dict[str, Reading]:
    """Return every single Reading inside a reading of a role, by name; of elements only where there are several."""
    found = {field.name: getattr(reading, field.name) for field in fields(reading)}
    inner: dict[str, Any] = {}
    for name, value in found.items():
        if name == "total":
            inner.update(channels(value))
        elif name == "elements" and len(value) > 1:
            for number, element in enumerate(value, 1):
                inner.update({f"element_{number}_{key}": item for key, item in channels(element).items()})
        elif isinstance(value, Reading):
            inner[name] = value
    return inner


def usable(reading: Reading) -> float | int | None:
    """Return the value of a reading that is VALID, None of any other."""
    return None if reading.status else reading.value


def print_reading_as_json(reading: Any, identity: Identity) -> None:
    """Print one reading as one line of JSON; unusable values are null."""
    _screen.print_json(
        {
            "time": _time_of(reading),
            "instrument": str(identity),
            "simulated": identity.simulated,
            "readings": {
                name: {"value": usable(value), "unit": value.unit, "status": str(value.status)}
                for name, value in channels(reading).items()
            },
        }
    )


class Screen:
    """Prints readings for people: a small table if there is one, a line each if there are many."""

    def __init__(self, *, once: bool) -> None:
        self._once = once
        self._announced = False

    def __call__(self, reading: Any, identity: Identity) -> None:
        """Print one reading."""
        screen = _screen.output()
        if not self._announced:
            screen.print(f"[bold]{identity}[/]  {identity.address}", soft_wrap=True)
            self._announced = True
        if self._once:
            from rich.table import Table

            table = Table.grid(padding=(0, 2))
            table.add_column()
            table.add_column(justify="right")
            for name, value in channels(reading).items():
                table.add_row(name.replace("_", " "), _shown(value))
            screen.print(table)
            return
        shown = "  ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in channels(reading).items())
        screen.print(f"{_time_of(reading)}  {shown}", soft_wrap=True)


class CsvFile:
    """A new CSV file to which each reading is written and flushed at once; raises UsageError if the file is there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("x" if not self._is_device() else "w", encoding="utf-8", newline="")
        except FileExistsError:
            raise UsageError(
                f"the file {self._path.name} is there already",
                where=str(self._path.absolute()),
                why="measured data is never overwritten",
                advice="name another file, or remove that one",
            ) from None
        self._writer = csv.writer(self._file)
        self._names: list[str] = []
        return self

    def __call__(self, reading: Any, identity: Identity) -> None:
        """Write one row: time, instrument, and for each quantity its value, empty if unusable, and its status."""
        row = channels(reading)
        if not self._names:
            self._names = list(row)
            heads = [head for name, value in row.items() for head in (f"{name}_{value.unit}", f"{name}_status")]
            self._writer.writerow(["time_utc", "instrument", *heads])
        cells = [cell for name in self._names for cell in _cells(row.get(name))]
        self._writer.writerow([_time_of(reading), str(identity), *cells])
        with self._naming_the_file():
            self._file.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._naming_the_file(), contextlib.suppress(*(() if error is None else (OSError,))):
            self._file.close()

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Writing to an open file fails without saying to which."""
        try:
            yield
        except OSError as failed:
            failed.filename = str(self._path)
            raise

    def _is_device(self) -> bool:
        return self._path.exists() and not self._path.is_file()


def _cells(value: Reading | None) -> tuple[str, str]:
    if value is None:
        return "", "NO_DATA"
    number = usable(value)
    return "" if number is None else repr(number), str(value.status)


def _shown(value: Reading) -> str:
    if value.status or value.value is None:
        return f"[yellow]{value.status}[/]"
    number, unit = units.display(float(value.value), value.unit)
    return f"{number:.6g} {unit}" if unit != "1" else f"{number:.6g}"


def _time_of(reading: Any) -> str:
    utc_ns: int = reading.window.stop.utc_ns
    moment = datetime.datetime.fromtimestamp(utc_ns // 10**9, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{utc_ns // 10**6 % 1000:03d}Z"
