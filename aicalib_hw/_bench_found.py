"""Entries of a bench that stand for whatever this machine has: address = "nvidia://*"."""

from __future__ import annotations

import logging
from collections.abc import Container

from aicalib_hw import registry
from aicalib_hw._bench_file import BenchFile
from aicalib_hw.errors import AicalibError

EVERY_ONE = "://*"

_log = logging.getLogger(__name__)


def with_found(settings: BenchFile, simulated: Container[str] = ()) -> BenchFile:
    """Return the bench with one entry for each device that its families find here: gpu0, gpu1, … for `gpu`.

    A family that finds nothing, or cannot look for lack of its driver, adds no entry. simulated: entries that are not
    looked for, because the one device of their simulator stands for them.
    """
    entries = {}
    for name, entry in settings.instruments.items():
        if entry.address is None or name in simulated or not entry.address.endswith(EVERY_ONE):
            entries[name] = entry
            continue
        addresses: tuple[str, ...] = ()
        try:
            addresses = registry.driver(entry.driver).local_addresses()
        except AicalibError as error:
            _log.info("bench %s: no %s: %s", settings.bench.name, name, error.why or error.what)
        for index, address in enumerate(addresses):
            entries[f"{name}{index}"] = entry.model_copy(update={"address": address})
    return settings.model_copy(update={"instruments": entries})
