"""What loads the platform of a bench: one of its accelerators, the simulated world, or somebody by hand."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import Any, Self, cast

from aicalib_hw.interfaces import Accelerator, LoadRun


class Load:
    """What loads the platform of a bench.

    source: the name of an accelerator, "world", or "operator". host_is_metered: what this host does moves the power
    that a meter of the bench reads.
    """

    def __init__(self, source: str, target: Any, *, host_is_metered: bool) -> None:
        self.source = source
        self.host_is_metered = host_is_metered
        self._target = target
        self._runs: list[LoadRun] = []

    @cached_property
    def is_host(self) -> bool:
        """True where this host's processors are the load: what other programs take of them is load as well."""
        return isinstance(self._target, Accelerator) and bool(self._target.capabilities.host_processors)

    def run_load(self, fraction: float, *, duration: float | None = None) -> LoadRun:
        """Start a steady load of `fraction` (0…1) for `duration` s, None = until stopped."""
        run = cast(LoadRun, self._target.run_load(fraction, duration=duration))
        self._runs = [earlier for earlier in self._runs if earlier.running] + [run]
        return run

    def stop(self) -> None:
        """End every load that was started here; idempotent, from any thread."""
        for run in tuple(self._runs):
            run.stop()


class SetByOperator:
    """A load that somebody has put on the platform: it is taken as it is said, and neither begun nor measured here."""

    def run_load(self, fraction: float, *, duration: float | None = None) -> StatedLoad:
        """Return the load that was said to be there."""
        return StatedLoad(fraction)


class StatedLoad:
    """A load as an operator stated it, 0…1; it runs as long as nobody says otherwise."""

    def __init__(self, fraction: float) -> None:
        self.fraction = fraction
        self.running = True

    def achieved(self) -> None:
        """Nothing here can tell."""

    def others(self) -> None:
        """Nothing here can tell."""

    def stop(self) -> None:
        """Leave the load to the operator."""
        self.running = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
