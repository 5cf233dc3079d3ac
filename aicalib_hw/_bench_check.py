"""What can be known of a bench file without opening anything: every mistake in it, all at once."""

from __future__ import annotations

import contextlib
import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from aicalib_hw import discovery, registry
from aicalib_hw._bench_errors import nearest, problems_of
from aicalib_hw._bench_file import OPERATOR_LOAD, WORLD_LOAD, BenchFile, IndicationEntry, InstrumentEntry, LoadEntry
from aicalib_hw._bench_found import EVERY_ONE
from aicalib_hw._bench_plans import Plans
from aicalib_hw._bench_simulation import make_instrument, make_world
from aicalib_hw._bench_statements import contradictions
from aicalib_hw.errors import AicalibError, BenchError, MissingExtra, MissingProgram, Problem

Installed = Mapping[str, Mapping[str, registry.Entry]]
"""Drivers and simulators by group and name, looked up once: the look-up reads files of every distribution."""


_GIVEN_OTHERWISE = {"address", "timeout", "trace", "link"}
"""Parameters of constructors that are keys of their own, or that only a program can give."""

_SECRETS = {"password", "api_key"}
"""What no bench file may hold: it is kept with the records that are made with it."""


def checked(data: Mapping[str, Any]) -> tuple[BenchFile | None, list[Problem]]:
    """Return the tables of a bench file as its model has them, and every mistake in the order of the file; opens none.

    None where the model refuses them. A table that cannot be read hides no mistake in another one.
    """
    settings: BenchFile | None = None
    found: list[Problem] = []
    try:
        settings = BenchFile.model_validate(data)
    except ValidationError as error:
        found = problems_of(error, BenchFile)
    installed = {group: registry.entries(group) for group in (registry.DRIVERS, registry.SIMULATORS)}
    tables = _table(data, "instruments")
    entries = {name: _sound(InstrumentEntry, table) for name, table in tables.items()}
    with _world_to_try_in(installed) as world:
        for name, entry in entries.items():
            found += _of_names(name, tables[name], installed)
            if entry is not None:
                found += _of_instrument(name, entry, installed, world)
    found += _of_world(data, installed)
    load = _sound(LoadEntry, data.get("load"))
    plan = _sound(Plans, data.get("plan", {}))
    roles = {name: _role(entry, installed) for name, entry in entries.items()}
    if load is not None:
        found += _of_load(load, roles, plan)
    listed = data.get("indications")
    indications = [_sound(IndicationEntry, entry) for entry in listed] if isinstance(listed, list) else []
    # one that nobody has installed is a mistake by itself, and may be that of an accelerator
    drivers = [e.driver for name, e in entries.items() if e is not None and roles[name] in (None, "accelerator")]
    found += contradictions(indications, plan, drivers)
    return settings, sorted(found, key=lambda problem: _place(problem, list(data)))


def driver_options_of(entry: InstrumentEntry, kind: Any, origin: str, name: str) -> Mapping[str, Any]:
    """Return `timeout` and the `driver_options` of an instrument as its driver's constructor takes them.

    Raises BenchError for what it does not take, and for a secret.
    """
    found, problems = _driver_options(entry, kind, name)
    if problems:
        raise BenchError.of_problems(origin, problems)
    return found


def settings_of(entry: InstrumentEntry, kind: Any, origin: str, name: str) -> Mapping[str, Any]:
    """Return the `settings` of an instrument as its driver's `configure()` takes them; raises BenchError."""
    found, problems = _settings(entry, kind, name)
    if problems:
        raise BenchError.of_problems(origin, problems)
    return found


def _driver_options(entry: InstrumentEntry, kind: Any, name: str) -> tuple[Mapping[str, Any], list[Problem]]:
    timeout = {} if entry.timeout is None else {"timeout": entry.timeout}
    problems = [
        Problem(
            f"a bench file may not hold {secret!r}",
            f"instruments.{name}.driver_options.{secret}",
            "it is kept with every record that is made with it",
            "give it to the driver in a script",
        )
        for secret in sorted(_SECRETS & entry.driver_options.keys())
    ]
    given = {key: value for key, value in entry.driver_options.items() if key not in _SECRETS}
    found, further = _accepted(given, _model_of_options(kind), name)
    return {**timeout, **found}, problems + further


def _settings(entry: InstrumentEntry, kind: Any, name: str) -> tuple[Mapping[str, Any], list[Problem]]:
    configure = getattr(kind, "configure", None)
    if configure is not None:
        return _accepted(entry.settings, _model_of_settings(configure), name)
    key = f"instruments.{name}.settings"
    return {}, [Problem(f"the driver {entry.driver} has no settings", key, advice="remove the table")]


def _accepted(given: Mapping[str, Any], model: type[BaseModel], name: str) -> tuple[Mapping[str, Any], list[Problem]]:
    """What the model of a table of an instrument makes of it, and every mistake in it."""
    try:
        return model.model_validate(given).model_dump(exclude_unset=True), []
    except ValidationError as error:
        return {}, problems_of(error, model, prefix=("instruments", name, model.__name__))


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


@functools.cache
def _model_of_options(kind: Any) -> type[BaseModel]:
    return _model("driver_options", _constructor_keywords(kind))


@functools.cache
def _model_of_settings(configure: Any) -> type[BaseModel]:
    return _model("settings", _keywords(configure))


def _model(name: str, fields: Mapping[str, Any]) -> type[BaseModel]:
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


@contextlib.contextmanager
def _world_to_try_in(installed: Installed) -> Iterator[Callable[[], Any]]:
    """One world for all simulators of a file, made when it is first asked for, and stopped at the end.

    Its accelerators are a file in memory, which would otherwise stay there.
    """
    with contextlib.ExitStack() as made:

        @functools.cache
        def world() -> Any:
            found = make_world({}, "", installed[registry.SIMULATORS][registry.WORLD].load())
            made.callback(found.stop)
            return found

        yield world


def _of_instrument(
    name: str, entry: InstrumentEntry, installed: Installed, world: Callable[[], Any]
) -> Iterator[Problem]:
    """What is wrong with an entry whose keys are sound: settings, address, options."""
    kind = _loaded(entry.driver, installed[registry.DRIVERS])
    if kind is not None:
        if entry.settings:
            yield from _settings(entry, kind, name)[1]
        options, wrong = _driver_options(entry, kind, name)
        yield from wrong
        if entry.address is not None and not wrong:
            yield from _of_address(name, entry, kind, options)
    simulator = _loaded(entry.simulator, installed[registry.SIMULATORS])
    if simulator is None or kind is None:
        return
    if simulator.simulates != entry.driver:
        yield Problem(
            f"the simulator {entry.simulator!r} does not answer to the driver {entry.driver!r}",
            f"instruments.{name}.simulator",
            f"it simulates {simulator.simulates!r}",
            "name the simulator of that driver; `aicalib drivers` shows which",
        )
    else:
        yield from _of_options(name, entry, simulator, world)


def _of_names(name: str, entry: object, installed: Installed) -> Iterator[Problem]:
    """Which of the driver and simulator that an entry names nobody has installed."""
    if not isinstance(entry, Mapping):
        return
    for key, group in (("driver", registry.DRIVERS), ("simulator", registry.SIMULATORS)):
        named = entry.get(key)
        known = [known for known in installed[group] if known != registry.WORLD]
        if isinstance(named, str) and named and named not in known:
            advice = nearest(named, known) or f"install the distribution that has this {key}"
            yield Problem(
                f"unknown {key} {named!r}", f"instruments.{name}.{key}", f"no {key} of that name is installed", advice
            )


def _of_address(name: str, entry: InstrumentEntry, kind: Any, options: Mapping[str, Any]) -> Iterator[Problem]:
    """What keeps the driver from taking the address: constructing one does no I/O, and refuses what it cannot mean."""
    address, key = str(entry.address), f"instruments.{name}.address"
    schemes = kind.DRIVER.schemes
    if "://" in address and address.partition("://")[0] not in schemes:
        scheme = address.partition("://")[0]
        wanted = " or ".join(f"{one}://…" for one in schemes) or "TCPIP::HOST::INSTR or another VISA resource name"
        yield Problem(
            f"address = {_quoted(address)} is none of the driver {entry.driver}",
            key,
            f"it begins with {scheme}://",
            f"write {wanted}",
        )
        return
    if address.endswith(EVERY_ONE):
        return
    try:
        if "://" not in address and not schemes:
            discovery.require_resource_name(address)
        kind(address, **options)
    except (MissingExtra, MissingProgram):
        return  # of this machine, and not of the file
    except AicalibError as error:
        yield Problem(f"address = {_quoted(address)} cannot be used: {error.what}", key, error.why, error.advice)


def _of_options(name: str, entry: InstrumentEntry, simulator: Any, world: Callable[[], Any]) -> Iterator[Problem]:
    """What the simulator cannot make of its options: constructing one serves nothing yet."""
    try:
        make_instrument(simulator, world(), name, entry.options, "")
    except MissingExtra:
        return
    except BenchError as error:
        yield from error.problems
    except AicalibError as error:
        yield Problem(error.what, f"instruments.{name}.options", error.why, error.advice)


def _of_world(data: Mapping[str, Any], installed: Installed) -> list[Problem]:
    factory = installed[registry.SIMULATORS].get(registry.WORLD)
    if "world" not in data or factory is None:
        return []
    try:
        make_world(_table(data, "world"), "", factory.load())
    except BenchError as error:
        return list(error.problems)
    return []


def _of_load(load: LoadEntry, roles: Mapping[str, str | None], plan: Plans | None) -> Iterator[Problem]:
    source = load.source
    if source == OPERATOR_LOAD and plan is not None and len(plan.power.loads) > 1:
        yield Problem(
            f"{len(plan.power.loads)} loads cannot be measured in one go where an operator sets them",
            "plan.power.loads",
            "nothing here tells the operator when to change the load, nor sees that it was changed",
            "give the one that is set, as in loads = [1.0], and calibrate once for each",
        )
    if not load.is_of_an_instrument or (source in roles and roles[source] in (None, "accelerator")):
        return
    role = roles.get(source)
    yield Problem(
        f"{source!r} cannot load the platform",
        "load.source",
        f"it is a {role}" if role else "no instrument of this bench has that name",
        nearest(source, [*(name for name, role in roles.items() if role == "accelerator"), WORLD_LOAD, OPERATOR_LOAD]),
    )


def _role(entry: InstrumentEntry | None, installed: Installed) -> str | None:
    kind = _loaded(entry.driver, installed[registry.DRIVERS]) if entry is not None else None
    return None if kind is None else str(kind.DRIVER.role)


def _loaded(name: str | None, known: Mapping[str, registry.Entry]) -> Any | None:
    entry = known.get(name) if name is not None else None
    return None if entry is None or name == registry.WORLD else entry.load()


def _sound(model: type[Any], data: object) -> Any | None:
    """The table as its model has it, None if it is not there or not sound."""
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, Mapping) else {}


def _place(problem: Problem, tables: list[str]) -> int:
    table = problem.key.partition(".")[0].partition("[")[0]
    return tables.index(table) if table in tables else len(tables)


def _quoted(text: str) -> str:
    return f'"{text}"'
