"""The simulated part of a bench: one world, and the simulated instruments that stand in it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from aicalib_hw import registry
from aicalib_hw._bench_errors import rejected
from aicalib_hw._bench_file import BenchFile
from aicalib_hw.errors import AicalibError, MissingExtra


class Simulation:
    """The world of a bench, and those of its instruments that `names` lists, served on loopback.

    world: what the factory made, None before `start()`. instruments: the simulated ones by name,
    each with .address, .truth and .inject(fault). left_out: optional ones whose library is not there, with the reason.
    Nothing is started by constructing.
    """

    def __init__(self, settings: BenchFile, names: Iterable[str]) -> None:
        self._settings = settings
        self.names = tuple(names)
        self._started = contextlib.ExitStack()
        self.world: Any = None
        self.instruments: Mapping[str, Any] = {}
        self.addresses: Mapping[str, str] = {}
        self.left_out: Mapping[str, AicalibError] = {}

    def start(self) -> Self:
        """Start the world and serve every instrument on a port that the system chooses; raises BenchError."""
        instruments: dict[str, Any] = {}
        addresses: dict[str, str] = {}
        left_out: dict[str, AicalibError] = {}
        with contextlib.ExitStack() as started:
            self.world = make_world(self._settings.world, self._settings.origin, registry.simulator(registry.WORLD))
            started.callback(self.world.stop)
            self.world.start()
            for name in self.names:
                try:
                    entry = self._settings.instruments[name]
                    instruments[name] = make_instrument(
                        registry.simulator(str(entry.simulator)), self.world, name, entry.options, self._settings.origin
                    )
                except MissingExtra as error:
                    if not self._settings.instruments[name].optional:
                        raise
                    left_out[name] = error
                    continue
                started.callback(instruments[name].stop)
                addresses[name] = instruments[name].start()
            self._started = started.pop_all()
        self.instruments, self.addresses, self.left_out = instruments, addresses, left_out
        return self

    def stop(self) -> tuple[str, ...]:
        """Stop every instrument, then the world; idempotent, never raises; return what went wrong."""
        try:
            self._started.close()
        except Exception as error:  # noqa: BLE001 - the way out must never raise
            return (f"stopping the simulation: {error}",)
        return ()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def make_world(settings: Mapping[str, Any], origin: str, factory: Any) -> Any:
    """Return the world that a `[world]` table describes, not started; raises BenchError for what it does not know."""
    try:
        return factory.from_settings(settings)
    except ValidationError as error:
        raise rejected(origin, error, _model_of(factory, error), prefix=("world",)) from error


def make_instrument(kind: Any, world: Any, name: str, given: Mapping[str, Any], origin: str) -> Any:
    """Return a simulator with these options in this world, not started; raises BenchError for those it cannot take."""
    options = getattr(kind, "Options", None)
    try:
        if options is not None:
            options.model_validate(given)
        return kind(world, name, **given)
    except ValidationError as error:
        raise rejected(origin, error, options, prefix=("instruments", name, "options")) from error
    except AicalibError as error:
        place = f"{origin}: instruments.{name}.options"
        error.where = f"{place}, {error.where}" if error.where else place
        raise


def simulated_alone(
    simulator: str,
    name: str,
    *,
    world: Mapping[str, Any],
    options: Mapping[str, Any],
    where: str,
    load: float | None = None,
) -> tuple[Any, Any]:
    """Return a world and one simulated instrument in it, neither started; raises BenchError for what they do not know.

    simulator: name of its entry point. world, options: as a bench file has them. where: what the message names. load:
    of the platform, 0…1, before there is an instrument to see another one, None = idle.
    """
    made = make_world(world, where, registry.simulator(registry.WORLD))
    if load is not None:
        made.run_load(load)
    return made, make_instrument(registry.simulator(simulator), made, name, options, where)


def _model_of(factory: Any, error: ValidationError) -> type[BaseModel] | None:
    """The class that the world's factory validated by, so that the nearest known key can be named."""
    model = getattr(sys.modules[factory.__module__], error.title, None)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None
