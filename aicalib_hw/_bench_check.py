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

_GIVEN_OTHERWISE = {"address", "timeout", "trace", "link"}
"""Parameters of constructors that are keys of their own, or that only a program can give."""

_SECRETS = {"password", "api_key"}
"""What no bench file may hold: it is kept with the records that are made with it."""


def check_instruments(settings: BenchFile) -> None:
    """Raise BenchError for an unknown driver, simulator, setting, or source of load; opens nothing."""
    for name, entry in settings.instruments.items():
        _require_known(settings, f"instruments.{name}.driver", entry.driver, registry.DRIVERS)
        if entry.simulator is not None:
            _require_known(settings, f"instruments.{name}.simulator", entry.simulator, registry.SIMULATORS)
            _require_fitting(settings, name, entry)
        if entry.driver_options:
            driver_options_of(entry, registry.driver(entry.driver), settings.origin, name)
        if entry.settings:
            settings_of(entry, registry.driver(entry.driver), settings.origin, name)
    _check_load(settings)


def driver_options_of(entry: InstrumentEntry, kind: Any, origin: str, name: str) -> Mapping[str, Any]:
    """Return `timeout` and the `driver_options` of an instrument as its driver's constructor takes them.

    Raises BenchError for what it does not take, and for a secret.
    """
    place: tuple[int | str, ...] = ("instruments", name, "driver_options")
    secret = next(iter(_SECRETS & entry.driver_options.keys()), None)
    if secret is not None:
        raise BenchError(
            f"a bench file may not hold {secret!r}",
            where=f"{origin}: instruments.{name}.driver_options.{secret}",
            why="it is kept with every record that is made with it",
            advice="give it to the driver in a script",
        )
    timeout = {} if entry.timeout is None else {"timeout": entry.timeout}
    model = _model("driver_options", _constructor_keywords(kind))
    try:
        return timeout | model.model_validate(entry.driver_options).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise rejected(origin, error, model, prefix=place) from error


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
    """The keywords of `configure()` as a table, from its signature and type hints; None for a driver without it."""
    configure = getattr(kind, "configure", None)
    return None if configure is None else _model("settings", _keywords(configure))


def _constructor_keywords(kind: Any) -> Mapping[str, Any]:
    """The keywords of a driver's constructor, with those that it passes on to the class before it."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        constructor = vars(base).get("__init__")
        if constructor is None:
            continue
        found = {**_keywords(constructor), **found}
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(constructor).parameters.values()):
            break
    return {name: field for name, field in found.items() if name not in _GIVEN_OTHERWISE | _SECRETS}


def _keywords(function: Any) -> Mapping[str, Any]:
    """The keywords of a function by name, each with its type and default."""
    try:
        hints = typing.get_type_hints(function)
    except NameError:
        hints = {}
    keywords = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {p.name: (hints.get(p.name, Any), p.default) for p in keywords}


def _model(name: str, fields: Mapping[str, Any]) -> type[BaseModel]:
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


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
