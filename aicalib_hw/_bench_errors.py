"""From a rejected table to a message that names file, key, value, cause and what to do."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aicalib_hw.errors import BenchError

Location = tuple[int | str, ...]

_MORE = 3
"""How many further problems of the same file are named beside the first."""


def rejected(
    file: str, error: ValidationError, model: type[BaseModel] | None = None, *, prefix: Location = ()
) -> BenchError:
    """Return the BenchError for what pydantic found in the table at `prefix` of `file`.

    model: the class that was validated, so that the nearest known key can be named; None = unknown.
    """
    # A misspelt key comes first: that another one is missing usually follows from it.
    found = sorted(error.errors(include_url=False), key=lambda details: details["type"] != "extra_forbidden")
    first, *others = (_problem(details, model, prefix) for details in found)
    what, key, why, advice = first
    if others:
        named = "; ".join(f"{what} at {key}" for what, key, _, _ in others[:_MORE])
        more = f"; and {len(others) - _MORE} more" if len(others) > _MORE else ""
        why = f"{why + '; ' if why else ''}further problems: {named}{more}"
    return BenchError(what, where=f"{file}: {key}", why=why, advice=advice)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return advice for a word that is not among `known`: the nearest ones, or all of them."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(words)}" if words else ""


def key_text(location: Location) -> str:
    """Write a location as TOML writers know it: ("indications", 0, "unit") → indications[0].unit."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    return text or "the file"


def _problem(details: ErrorDetails, model: type[BaseModel] | None, prefix: Location) -> tuple[str, str, str, str]:
    local: Location = details["loc"]
    key = key_text(prefix + local)
    last = str(local[-1]) if local else ""
    kind, value, message = details["type"], details["input"], details["msg"]
    if kind == "extra_forbidden":
        advice = nearest(last, _known_keys(model, local[:-1])) or f"remove {key}"
        table = key_text(prefix + local[:-1])
        return f"unknown key {last!r}", key, f"{table} has no such key; its value is {_shown(value)}", advice
    if kind == "missing":
        table = key_text(prefix + local[:-1])
        return f"key {last!r} is missing", key, f"{table} cannot be used without it", f"add {last} = …"
    context = details.get("ctx", {})
    advice = str(context.get("advice", ""))
    shown = key_text(prefix) if not local else f"{last} = {_shown(value)}" if _is_short(value) else last
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        advice = f"one of {', '.join(choices)}"
        if last == "[key]":
            return f"unknown name {value!r}", key, "only these names have a meaning here", advice
        return f"{shown} is no choice", key, "only these have a meaning here", advice
    if kind == "closed_table":
        return message, key, "only what stands in the project's table is known here", advice
    if kind.endswith(("_type", "_parsing")):
        return f"{shown} has the wrong type", key, message, advice or _spelling(kind)
    return f"{shown} cannot be used", key, message, advice or f"change {key}"


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
