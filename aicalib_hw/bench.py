"""A bench file becomes opened instruments: looked up, checked, connected, set up, and given back on every way out.

A bench names instruments, the platform's load, what the platform says of itself, how large an
error is permitted and how things are measured. Nothing here knows any instrument: drivers and
simulators come from the registry.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aicalib_hw._bench_check import checked
from aicalib_hw._bench_errors import meant, nearest
from aicalib_hw._bench_file import BenchFile
from aicalib_hw._bench_load import Load
from aicalib_hw._bench_opened import Bench
from aicalib_hw._bench_plans import (
    ComputePlan,
    EffectiveComputePlan,
    InferencePlan,
    NetworkPlan,
    PowerPlan,
    StoragePlan,
    TrainingPlan,
)
from aicalib_hw._bench_release import release_instruments, release_left_behind
from aicalib_hw._bench_simulation import Simulation, simulated_alone
from aicalib_hw.errors import BenchError
from aicalib_hw.interfaces import ReleaseReport
from aicalib_hw.leases import Lease, LeaseBook

__all__ = [
    "Bench",
    "BenchFile",
    "ComputePlan",
    "EffectiveComputePlan",
    "InferencePlan",
    "Load",
    "NetworkPlan",
    "PowerPlan",
    "Simulation",
    "StoragePlan",
    "TrainingPlan",
    "find_bench",
    "hold",
    "known_benches",
    "load_bench",
    "open_bench",
    "release_bench",
    "runtime_directory",
    "simulate_bench",
    "simulated_alone",
]

SHIPPED = Path(__file__).parent / "benches"


def bench_directories() -> tuple[Path, ...]:
    """Return where bench files are looked up: the shipped ones first, so that none can be shadowed.

    Then the directories of AICALIB_BENCH_PATH, or where it is not set the user's configuration
    directory: $XDG_CONFIG_HOME/aicalib/benches, ~/.config/aicalib/benches, or %APPDATA%\\aicalib\\benches.
    """
    listed = os.environ.get("AICALIB_BENCH_PATH")
    if listed is not None:
        return (SHIPPED, *(Path(part).expanduser() for part in listed.split(os.pathsep) if part))
    configured = os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME")
    try:
        base = Path(configured) if configured else Path.home() / ".config"
    except RuntimeError:
        return (SHIPPED,)
    return (SHIPPED, base / "aicalib" / "benches")


def runtime_directory() -> Path:
    """Return where this user's leases lie: $XDG_RUNTIME_DIR/aicalib, or a private directory where there is none."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base or tempfile.gettempdir()) / "aicalib" / "runtime"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "aicalib" if runtime else Path(tempfile.gettempdir()) / f"aicalib-{os.getuid()}"


def known_benches() -> Mapping[str, Path]:
    """Return the bench files that can be opened by name."""
    found: dict[str, Path] = {}
    for directory in bench_directories():
        for path in sorted(directory.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def find_bench(name_or_path: str | Path) -> Path:
    """Return the file of a bench, given by name or as a path to a .toml file; raises BenchError."""
    path = Path(name_or_path)
    text = str(name_or_path)
    if path.suffix == ".toml" or path.name != text:
        if path.is_file():
            return path
        raise BenchError(
            f"there is no bench file {text}",
            where=str(path.absolute()),
            why="no file of that name is there",
            advice=_beside(path) or "check the path",
        )
    known = known_benches()
    if text in known:
        return known[text]
    raise BenchError(
        f"unknown bench {text!r}",
        where=", ".join(str(directory) for directory in bench_directories()),
        why="no file of that name there",
        advice=f"{_here(text, known) or nearest(text, known)}; a bench file elsewhere is named by its path: "
        f"./{text}.toml",
    )


def _beside(path: Path) -> str:
    """Advice that names the bench file that may be meant by a path where none is, "" if none is like it there."""
    there = _files_in(path.parent)
    found = meant(path.stem, there)
    return f"did you mean {_as_path(there[found])}?" if found else ""


def _here(text: str, known: Iterable[str]) -> str:
    """Advice that names the file of the working directory that is meant by a name, "" if a known bench is nearer."""
    here = _files_in(Path())
    found = meant(text, {*here, *known})
    return f"did you mean {_as_path(here[found])}?" if found in here else ""


def _files_in(directory: Path) -> Mapping[str, Path]:
    return {path.stem: path for path in directory.glob("*.toml")}


def _as_path(path: Path) -> str:
    """A path as `find_bench` takes it and a reader tells it from a name: ./lab.toml."""
    return f"./{path}" if path.name == str(path) else str(path)


def load_bench(name_or_path: str | Path) -> BenchFile:
    """Read and check a bench file without opening anything.

    Raises BenchError with every mistake in `problems`, each with key, value, cause and what to do.
    """
    path = find_bench(name_or_path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows begin files with a mark
    except OSError as error:
        raise BenchError(f"the bench file {path.name} cannot be read", where=str(path), why=str(error)) from error
    except UnicodeDecodeError as error:
        raise BenchError(
            f"the bench file {path.name} is not in UTF-8, as TOML is",
            where=str(path),
            why=str(error),
            advice="save it again in that encoding",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BenchError(
            f"the bench file {path.name} is not TOML",
            where=str(path),
            why=str(error),
            advice="correct the line; https://toml.io shows the grammar",
        ) from error
    settings, problems = checked(data)
    if settings is None or problems:
        raise BenchError.of_problems(str(path), problems)
    settings._path = path
    return settings


def open_bench(name_or_path: str | Path | BenchFile, *, simulate: bool = False, trace: Any = None) -> Bench:
    """Open every instrument of a bench and return it; close it, or use it in a `with`.

    name_or_path: a shipped bench ("this-machine"), one of the user's, a path to a .toml, or what `load_bench` gave.
    simulate: open the simulator of every instrument that declares one; nothing else changes.
    trace: an `aicalib_hw.trace.Trace` that gets every exchange.

    Raises BenchError for the file, InstrumentError for an instrument, LockedByOther while another
    process holds one; whatever had been opened is closed again.
    """
    settings = name_or_path if isinstance(name_or_path, BenchFile) else load_bench(name_or_path)
    return Bench(settings, LeaseBook(runtime_directory()), simulate=simulate, trace=trace).open()


def simulate_bench(name_or_path: str | Path | BenchFile) -> Simulation:
    """Return the simulation of every instrument of a bench that declares a simulator; `start()` it or use `with`."""
    settings = name_or_path if isinstance(name_or_path, BenchFile) else load_bench(name_or_path)
    names = [name for name, entry in settings.instruments.items() if entry.simulator is not None]
    if not names:
        raise BenchError(
            f"bench {settings.bench.name!r} has nothing to simulate",
            where=f"{settings.origin}: instruments",
            why="no instrument declares a simulator",
            advice='add simulator = "…" to an instrument; `aicalib drivers` lists them',
        )
    return Simulation(settings, names)


@contextlib.contextmanager
def hold(address: str, *, driver: str | None = None, options: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Keep other programs of this user off the instrument at `address`; raises LockedByOther while one has it.

    options: keywords of the constructor of `driver`, by which what a dead program left is released.
    """
    book = LeaseBook(runtime_directory())
    lease = Lease.of_this_process(address, instrument=address, driver=driver or "", bench="")
    former = book.take(lease)
    try:
        if former is not None:
            release_left_behind(former, options if former.driver == lease.driver else None)
        yield
    finally:
        book.give_back(lease)


def release_bench(
    name_or_path: str | Path | BenchFile, *, force: bool = False, trace: Any = None
) -> dict[str, ReleaseReport]:
    """Make the instruments of a bench safe after a program that died, and say by name what was done.

    Raises LockedByOther while a living process holds one of them, unless `force` takes it away.
    """
    settings = name_or_path if isinstance(name_or_path, BenchFile) else load_bench(name_or_path)
    return release_instruments(settings, LeaseBook(runtime_directory()), force=force, trace=trace)
