"""From a rejected table to a message that names file, key, value, cause and what to do."""

from __future__ import annotations

import difflib
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
    first, *others = (_problem(details, model, prefix) for details in error.errors(include_url=False))
    what, key, why, advice = first
    if others:
        named = "; ".join(f"{key}: {what}" for what, key, _, _ in others[:_MORE])
        more = f"; and {len(others) - _MORE} more" if len(others) > _MORE else ""
        why = f"{why + '; ' if why else ''}further problems: {named}{more}"
    return BenchError(what, where=f"{file}: {key}", why=why, advice=advice)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return advice for a word that is not among `known`: the nearest ones, or all of them."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
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
    return text or "(whole file)"


def _problem(details: ErrorDetails, model: type[BaseModel] | None, prefix: Location) -> tuple[str, str, str, str]:
    local: Location = details["loc"]
    key = key_text(prefix + local)
    last = str(local[-1]) if local else ""
    kind, value, message = details["type"], details["input"], details["msg"]
    if kind == "extra_forbidden":
        advice = nearest(last, _known_keys(model, local[:-1])) or f"remove {key}"
        return f"unknown key {last!r}", key, f"its value is {_shown(value)}", advice
    if kind == "missing":
        return f"key {last!r} is missing", key, "", f"add {last} = …"
    context = details.get("ctx", {})
    advice = str(context.get("advice", ""))
    if last == "[key]":
        return f"unknown name {value!r}", key, "", f"known: {context.get('expected', message)}"
    if kind.endswith(("_type", "_parsing")):
        return f"{key} = {_shown(value)} has the wrong type", key, message, advice or _spelling(kind)
    what = f"{key} = {_shown(value)} cannot be used" if not isinstance(value, Mapping) else f"{key} cannot be used"
    if kind == "literal_error":
        expected = str(context.get("expected", ""))
        return what, key, "no such choice", f"one of {expected}"
    return what, key, message, advice or f"change {key}"


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
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
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
