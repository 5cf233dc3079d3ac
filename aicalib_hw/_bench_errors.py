"""From a rejected table to its mistakes, each with key, value, cause and what to do."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aicalib_hw.errors import BenchError, Problem

Location = tuple[int | str, ...]

_NEAR = 0.5
"""How alike two words must be, 0…1, for one to be taken for a slip of the other."""


def rejected(
    file: str, error: ValidationError, model: type[BaseModel] | None = None, *, prefix: Location = ()
) -> BenchError:
    """Return the BenchError for what pydantic found in the table at `prefix` of `file`; see `problems_of`."""
    return BenchError.of_problems(file, problems_of(error, model, prefix=prefix))


def problems_of(
    error: ValidationError, model: type[BaseModel] | None = None, *, prefix: Location = ()
) -> list[Problem]:
    """Return every mistake that pydantic found in the table at `prefix`, in the order in which they stand.

    model: the class that was validated, so that the nearest known key can be named; None = unknown.
    """
    found = error.errors(include_url=False)
    misspelt = [(details["loc"][:-1], str(details["loc"][-1])) for details in found if _is_unknown(details)]

    def follows(details: ErrorDetails) -> bool:
        """True for what another mistake explains: a key missing as it is misspelt, a list short of its wrong items."""
        if details["type"] == "too_short":
            return bool(len(details["input"]) >= details.get("ctx", {})["min_length"])
        *table, key = details["loc"] or ("",)
        return details["type"] == "missing" and any(
            tuple(table) == place and difflib.get_close_matches(word, [str(key)], cutoff=_NEAR)
            for place, word in misspelt
        )

    return [_problem(details, model, prefix) for details in found if not follows(details)]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return advice for a word that is not among `known`: the nearest one, or all of them."""
    words = sorted(known)
    near = meant(word, words)
    if near:
        return f"did you mean {near!r}?"
    return f"known: {', '.join(words)}" if words else ""


def meant(word: str, known: Iterable[str]) -> str:
    """Return the one among `known` that `word` is most likely a slip of, "" if it is like none."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1, cutoff=_NEAR)), "")


def key_text(location: Location) -> str:
    """Write a location as TOML writers know it: ("indications", 0, "unit") → indications[0].unit."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    return text or "the file"


def _problem(details: ErrorDetails, model: type[BaseModel] | None, prefix: Location) -> Problem:
    local: Location = details["loc"]
    context = details.get("ctx", {})
    kind, value, message = details["type"], details["input"], details["msg"].removeprefix("Value error, ")
    if "key" in context:  # what a table's own check found wrong is one of its keys
        local = (*local, context["key"])
        value = context.get("value", value.get(context["key"]) if isinstance(value, Mapping) else value)
    key = key_text(prefix + local)
    last = str(local[-1]) if local else ""
    table = key_text(prefix + local[:-1])
    if _is_unknown(details):
        advice = nearest(last, _known_keys(model, local[:-1])) or f"remove {key}"
        return Problem(f"unknown key {last!r}", key, f"{table} has no such key; its value is {_shown(value)}", advice)
    if kind == "missing":
        return Problem(f"key {last!r} is missing", key, f"{table} cannot be used without it", f"add {last} = …")
    advice = str(context.get("advice", ""))
    called = key_text(local[-2:] if local and isinstance(local[-1], int) else local[-1:]) if local else key_text(prefix)
    shown = f"{called} = {_shown(value)}" if local and _is_short(value) else called
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=_NEAR)
        advice = f"did you mean {near[0]!r}? " if near and len(choices) > 2 else ""
        advice += f"one of {', '.join(choices)}"
        if last == "[key]":
            return Problem(f"unknown name {value!r}", key, "only these names have a meaning here", advice)
        return Problem(f"{shown} is no choice", key, "only these have a meaning here", advice)
    if kind == "closed_table":
        return Problem(message, key, "only what stands in the project's table is known here", advice)
    if kind.endswith(("_type", "_parsing")):
        return Problem(f"{shown} has the wrong type", key, message, advice or _spelling(kind))
    return Problem(f"{shown} cannot be used", key, message, advice or _within(context, value) or f"change {key}")


def _within(context: Mapping[str, Any], value: object) -> str:
    """What to write instead of a share that was given in percent; "" for anything else."""
    limit = context.get("le", context.get("lt"))
    if limit == 1 and isinstance(value, (int, float)) and 1 < value <= 100:
        return f"a share is written from 0 to 1: {value / 100:g} for {value:g} %"
    return ""


def _is_unknown(details: ErrorDetails) -> bool:
    return details["type"] in ("extra_forbidden", "unexpected_keyword_argument")


def _is_short(value: object) -> bool:
    return not isinstance(value, Mapping) and not (isinstance(value, list) and any(isinstance(i, dict) for i in value))


def _spelling(kind: str) -> str:
    spellings = {
        "string": 'texts stand in quotes: "…"',
        "float": "numbers stand without quotes: 5.0",
        "int": "whole numbers stand without quotes and point: 3",
        "bool": "write true or false",
        "dict": "write a table",
        "model": "write a table",
        "tuple": "lists stand in brackets: [0, 0.5, 1]",
    }
    return spellings.get(kind.split("_")[0], "see docs/reference/bench-file.md")


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    if isinstance(value, bool):
        text = str(value).lower()
    return text if len(text) <= 60 else text[:57] + "…"


def _known_keys(model: Any, location: Location) -> list[str]:
    kind: Any = model
    for part in location:
        kind = _inside(kind, part)
    kind = _bare(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _bare(kind: Any) -> Any:
    while True:
        origin = typing.get_origin(kind)
        if origin is Annotated:
            kind = typing.get_args(kind)[0]
        elif origin in (Union, types.UnionType):
            kind = next(arg for arg in typing.get_args(kind) if arg is not type(None))
        else:
            return kind


def _inside(kind: Any, part: int | str) -> Any:
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return field.annotation if field is not None else None
    arguments = typing.get_args(kind)
    if not arguments:
        return None
    return arguments[-1] if isinstance(part, str) else arguments[0]
