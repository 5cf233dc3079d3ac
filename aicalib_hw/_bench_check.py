"""What types cannot say of a bench file: that its drivers and simulators exist, and know what they are given."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from aicalib_hw import registry
from aicalib_hw._bench_errors import nearest, rejected
from aicalib_hw._bench_file import BenchFile, InstrumentEntry
from aicalib_hw.errors import BenchError

WORLD_LOAD = "world"


def check_instruments(settings: BenchFile) -> None:
    """Raise BenchError for an unknown driver, simulator, setting, or source of load; opens nothing."""
    for name, entry in settings.instruments.items():
        _require_known(settings, f"instruments.{name}.driver", entry.driver, registry.DRIVERS)
        if entry.simulator is not None:
            _require_known(settings, f"instruments.{name}.simulator", entry.simulator, registry.SIMULATORS)
            _require_fitting(settings, name, entry)
        if entry.settings:
            settings_of(entry, registry.driver(entry.driver), settings.origin, name)
    _check_load(settings)


def settings_of(entry: InstrumentEntry, kind: Any, origin: str, name: str) -> Mapping[str, Any]:
    """Return the `settings` of an instrument as its driver's `configure()` takes them; raises BenchError."""
    place: tuple[int | str, ...] = ("instruments", name, "settings")
    model = _settings_model(kind)
    if model is None:
        raise BenchError(
            f"the driver {entry.driver} has no settings",
            where=f"{origin}: instruments.{name}.settings",
            advice="remove the table",
        )
    try:
        return model.model_validate(entry.settings).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise rejected(origin, error, model, prefix=place) from error


def _settings_model(kind: Any) -> type[BaseModel] | None:
    """The keywords of `configure()` as a table, from its signature and type hints."""
    configure = getattr(kind, "configure", None)
    if configure is None:
        return None
    try:
        hints = typing.get_type_hints(configure)
    except NameError:
        hints = {}
    keywords = [p for p in inspect.signature(configure).parameters.values() if p.kind is p.KEYWORD_ONLY]
    fields: dict[str, Any] = {p.name: (hints.get(p.name, Any), p.default) for p in keywords}
    return create_model("settings", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _require_known(settings: BenchFile, key: str, name: str, group: str) -> None:
    known = [known for known in registry.entries(group) if known != registry.WORLD]
    if name in known:
        return
    kind = "driver" if group == registry.DRIVERS else "simulator"
    raise BenchError(
        f"unknown {kind} {name!r}",
        where=f"{settings.origin}: {key}",
        why=f"installed {kind}s: {', '.join(known) or 'none'}",
        advice=nearest(name, known),
    )


def _require_fitting(settings: BenchFile, name: str, entry: InstrumentEntry) -> None:
    simulates = registry.simulator(str(entry.simulator)).simulates
    if simulates != entry.driver:
        raise BenchError(
            f"the simulator {entry.simulator!r} does not answer to the driver {entry.driver!r}",
            where=f"{settings.origin}: instruments.{name}.simulator",
            why=f"it simulates {simulates!r}",
            advice="name the simulator of that driver; `aicalib drivers` shows which",
        )


def _check_load(settings: BenchFile) -> None:
    if settings.load is None or settings.load.source == WORLD_LOAD:
        return
    source = settings.load.source
    if source in settings.instruments and _role(settings.instruments[source]) == "accelerator":
        return
    accelerators = [name for name, entry in settings.instruments.items() if _role(entry) == "accelerator"]
    role = _role(settings.instruments[source]) if source in settings.instruments else ""
    raise BenchError(
        f"{source!r} cannot load the platform",
        where=f"{settings.origin}: load.source",
        why=f"it is a {role}" if role else "no instrument of this bench has that name",
        advice=nearest(source, [*accelerators, WORLD_LOAD]),
    )


def _role(entry: InstrumentEntry) -> str:
    return str(registry.driver(entry.driver).DRIVER.role)
