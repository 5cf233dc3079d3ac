"""Several instruments at one instant: each in a thread of its own, started together, stopped together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from aicalib_hw.errors import UsageError
from aicalib_hw.readings import Instant

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sample:
    """What `sample_together` read: one reading for each instrument, in their order.

    asked: when all were asked. skew: s between the first and the last of the readings' ends, by the host's clock.
    """

    readings: tuple[Any, ...]
    asked: Instant
    skew: float


def sample_together(*instruments: Any, timeout: float | None = None) -> Sample:
    """Read instruments at one instant: the next update of each, waited for side by side.

    instruments: opened ones whose role has `read()`. timeout: s, as `read()` takes it. The readings differ by at most
    the longest update interval among them; `skew` says by how much. If one fails, the others are aborted and its error
    is raised.
    """
    if not instruments:
        raise UsageError("no instrument to read", advice="name the instruments: sample_together(meter, other)")
    asked = Instant.now()
    readings = at_once([partial(one.read, timeout=timeout) for one in instruments], instruments)
    ends = [reading.window.stop.monotonic_ns for reading in readings]
    return Sample(tuple(readings), asked, (max(ends) - min(ends)) / 1e9)


def at_once(calls: Sequence[Callable[[], _T]], instruments: Sequence[Any]) -> list[_T]:
    """Return what each of `calls` returns, run side by side; one call alone runs in this thread.

    instruments: what is aborted as soon as a call fails, so that the others do not go on for nothing. The first error
    is raised, when all have ended.
    """
    if len(calls) == 1:
        return [calls[0]()]
    results: list[_T | None] = [None] * len(calls)
    errors: list[BaseException] = []
    start = threading.Barrier(len(calls))

    def run(number: int, call: Callable[[], _T]) -> None:
        try:
            start.wait()
            results[number] = call()
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            errors.append(error)
            if len(errors) == 1:
                for instrument in instruments:
                    instrument.abort()

    threads = [
        threading.Thread(target=run, args=(number, call), name=f"together-{number}", daemon=True)
        for number, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [result for result in results if result is not None]
