"""Undo what a dead process left behind in the instruments of a bench: integration running, panel locked, load on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from aicalib_hw import registry
from aicalib_hw._bench_check import driver_options_of
from aicalib_hw._bench_file import BenchFile, InstrumentEntry
from aicalib_hw._bench_found import with_found
from aicalib_hw.errors import AicalibError, ConnectionFailed, MissingExtra, MissingProgram, NotSupported
from aicalib_hw.interfaces import Instrument, ReleaseReport
from aicalib_hw.leases import Lease, LeaseBook, same_instrument

_log = logging.getLogger(__name__)

MISSING = (MissingProgram, MissingExtra, ConnectionFailed, NotSupported)
"""What lets an optional instrument be left out: it is not here, or what is here has not what it needs.

Anything else that goes wrong with it is an error."""


def release_instruments(
    settings: BenchFile, book: LeaseBook, *, force: bool = False, trace: Any = None
) -> dict[str, ReleaseReport]:
    """Open each instrument that has an address, release it and say by name what was done.

    An entry that stands for whatever is here is each device that is found, as it is when the bench is opened.
    Raises LockedByOther while a living process holds one of them, unless `force` takes it away.
    An instrument that cannot be reached is a failure in its report and does not keep the others waiting.
    """
    reports: dict[str, ReleaseReport] = {}
    for name, entry in with_found(settings).instruments.items():
        if entry.address is None:
            reports[name] = ReleaseReport(("simulated by the program that uses it, ended with it",))
            continue
        kind = registry.driver(entry.driver)
        options = driver_options_of(entry, kind, settings.origin, name)
        instrument = kind(entry.address, trace=trace, **options)
        lease = Lease.of_this_process(entry.address, instrument=name, driver=entry.driver, bench=settings.bench.name)
        if force:
            for held in book.held():
                if same_instrument(held, lease):
                    book.give_back(held)
        former = book.take(lease)
        reports[name], reached = _released(entry, instrument, former)
        if former is not None and not reached:
            book.put_back(lease, former)  # whoever comes next is told of the program that left it, and not of this one
        elif reports[name] or not reached:
            book.give_back(lease)
        # A lease that is kept, as something could not be undone, dies with this process: the next user undoes it first.
    return reports


def _released(entry: InstrumentEntry, instrument: Instrument, former: Lease | None) -> tuple[ReleaseReport, bool]:
    """What was done to release an instrument, and whether it was there to be released."""
    left = ReleaseReport((f"was left behind by {former.holder}",)) if former is not None else ReleaseReport()
    try:
        instrument.open()
    except AicalibError as error:
        if isinstance(error, MISSING) and entry.optional and former is None:
            return ReleaseReport((f"left out, as it is optional and not here: {error.what}",)), False
        return left + _unreachable(error), False
    return left + instrument.release() + instrument.close(), True


def release_left_behind(former: Lease, options: Mapping[str, Any] | None = None) -> ReleaseReport:
    """Release the instrument of a lease whose process died, by the driver that the lease names.

    options: keywords of that driver's constructor, where they are known.
    """
    _log.warning("%s was left behind by %s and is released first", former.address, former.holder)
    if not former.driver:
        return ReleaseReport()
    try:
        kind = registry.driver(former.driver)
    except AicalibError as error:
        return ReleaseReport(failures=(f"no driver to release it: {error.what}",))
    instrument = kind(former.address, **(options or {}))
    try:
        instrument.open()
    except AicalibError as error:
        return _unreachable(error)
    done: ReleaseReport = instrument.release() + instrument.close()
    return done


def _unreachable(error: AicalibError) -> ReleaseReport:
    return ReleaseReport(failures=(f"could not be opened: {error.what}",))
