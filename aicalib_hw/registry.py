"""Drivers and simulators, found by entry point; those of this distribution cannot be shadowed.

A driver from another distribution is the equal of a built-in one: it names its class under the
entry-point group `aicalib_hw.drivers`, its simulator under `aicalib_hw.simulators`. Modules are
imported when their driver is asked for, not before. A foreign entry with the name of a built-in
one is ignored with a warning in the log.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from urllib.parse import urlsplit

from aicalib_hw.errors import UnknownDriver

DRIVERS = "aicalib_hw.drivers"
SIMULATORS = "aicalib_hw.simulators"
WORLD = "world"
"""Reserved simulator name: the factory of the simulated world."""

_BUILT_IN = "aicalib-hw"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered driver or simulator: its name, the distribution it came with, how to load it."""

    name: str
    distribution: str
    point: EntryPoint

    @property
    def built_in(self) -> bool:
        """True if it came with this distribution."""
        return self.distribution == _BUILT_IN

    def load(self) -> Any:
        """Import and return what the entry point names; raises UnknownDriver if it cannot be imported."""
        try:
            return self.point.load()
        except Exception as error:  # a foreign module may fail in any way, and must not take the others with it
            raise UnknownDriver(
                f"{self.name!r} of {self.distribution} cannot be loaded",
                where=self.point.value,
                why=f"{type(error).__name__}: {error}" if not isinstance(error, ImportError) else str(error),
                advice=f"reinstall or remove the distribution {self.distribution}",
            ) from error


def entries(group: str) -> dict[str, Entry]:
    """Return the entries of `group` by name, built-in ones first; the metadata is read again where that has changed."""
    return dict(_entries(group, _places()))


def _places() -> tuple[tuple[str, int, int], ...]:
    """The directories that are searched for distributions; to install or remove one changes that which holds it."""
    found = []
    for place in sys.path:
        try:
            status = os.stat(place or os.curdir)
        except OSError:
            continue
        found.append((place, status.st_ino, status.st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=8)
def _entries(group: str, _: tuple[tuple[str, int, int], ...]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    names: dict[int, str] = {}
    points = []
    for point in entry_points(group=group):
        # a distribution parses all of its metadata for its name, and shares one object among its many entries
        if id(point.dist) not in names:
            names[id(point.dist)] = point.dist.name if point.dist is not None else "?"
        points.append(Entry(point.name, names[id(point.dist)], point))
    for entry in sorted(points, key=lambda entry: (not entry.built_in, entry.distribution, entry.name)):
        holder = found.setdefault(entry.name, entry)
        if holder.distribution != entry.distribution:
            _log.warning(
                "%s %r of %s is ignored: %s has that name",
                group,
                entry.name,
                entry.distribution,
                holder.distribution,
            )
    return found


def driver(name: str) -> Any:
    """Return the driver class of this name; raises UnknownDriver, listing what there is."""
    return _found(entries(DRIVERS), "driver", name).load()


def drivers_named(names: Iterable[str]) -> dict[str, Any]:
    """Return the driver classes of these names, looked up once for all; raises UnknownDriver as `driver` does."""
    known = entries(DRIVERS)
    return {name: _found(known, "driver", name).load() for name in names}


def simulator(name: str) -> Any:
    """Return the simulator class of this name (or the world's factory); raises UnknownDriver."""
    return _found(entries(SIMULATORS), "simulator", name).load()


def drivers() -> dict[str, Any]:
    """Return every driver class by name, importing them all; one that cannot be imported is logged and left out."""
    found: dict[str, Any] = {}
    for name, entry in entries(DRIVERS).items():
        try:
            found[name] = entry.load()
        except UnknownDriver as error:
            _log.warning("driver %r of %s is left out: %s", name, entry.distribution, error.why)
    return found


def driver_for_address(address: str) -> Any | None:
    """Return the driver class whose URL scheme `address` has, None if it is a VISA resource name.

    Raises UnknownDriver for a scheme that nobody serves.
    """
    if "://" not in address:
        return None
    scheme = urlsplit(address).scheme
    # A built-in driver with the name of its scheme is found without importing all the others.
    named = entries(DRIVERS).get(scheme.partition("+")[0])
    if named is not None and named.built_in:
        kind = named.load()
        if scheme in kind.DRIVER.schemes:
            return kind
    for kind in drivers().values():
        if scheme in kind.DRIVER.schemes:
            return kind
    known = sorted({scheme for kind in drivers().values() for scheme in kind.DRIVER.schemes})
    over = [one for one in known if one.endswith(f"+{scheme}")]  # http is what some families are reached over
    near = over or difflib.get_close_matches(scheme, known, n=1, cutoff=0.5)
    rest = address.partition("://")[2]
    meant = f"did you mean {' or '.join(f'{one}://{rest}' for one in near)}? " if near else ""
    raise UnknownDriver(
        f"no driver for addresses that begin with {scheme!r}",
        where=address,
        advice=f"{meant}known schemes: {', '.join(known)}; VISA instruments are written as TCPIP::HOST::INSTR",
    )


def driver_for_identity(identity: Any) -> Any:
    """Return the driver class for what answered `*IDN?`; raises UnknownDriver."""
    for kind in drivers().values():
        if kind.DRIVER.matches(identity) and not kind.DRIVER.by_name_only:
            return kind
    identified = {name: kind for name, kind in drivers().items() if not kind.DRIVER.by_name_only}
    known = ", ".join(name for name, kind in identified.items() if kind.DRIVER.models)
    raise UnknownDriver(
        f"no driver knows the instrument {identity.name}",
        where=identity.address,
        advice=f"name a driver yourself if it is compatible; drivers that identify by *IDN?: {known}",
    )


def _found(known: Mapping[str, Entry], kind: str, name: str) -> Entry:
    try:
        return known[name]
    except KeyError:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise UnknownDriver(
            f"unknown {kind} {name!r}", advice=f"{meant}installed {kind}s: {', '.join(known) or 'none'}"
        ) from None
