"""Frozen dataclasses to plain JSON data and back, with integers as decimal text.

Counts here exceed 2**53 within seconds, where JSON readers begin to round: so every `int` travels
as a string of digits and comes back as the same `int`; where the field's type is Any, and digits
could also have been text, as {"$int": "digits"}. Booleans, floats, strings, enumerations,
tuples, mappings and dataclasses are what the data of this project is made of; nothing else is
accepted.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union

T = TypeVar("T")

_TAG = "$int"


def to_plain(value: object) -> Any:
    """Return `value` as JSON data; raise TypeError for what has no plain form, as NaN has none."""
    return _encode(value, typed=True)


def _encode(value: object, *, typed: bool) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, enum.Flag):
        return [member.name for member in type(value) if member in value and member.value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, int):
        return str(value) if typed else {_TAG: str(value)}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value!r} is not a measured number and has no place in a record")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = typing.get_type_hints(type(value))
        return {
            field.name: _encode(getattr(value, field.name), typed=not _mentions_any(hints[field.name]))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _encode(item, typed=typed) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_encode(item, typed=typed) for item in value]
    raise TypeError(f"{type(value).__name__} has no plain form")


def _mentions_any(kind: Any) -> bool:
    return kind in (Any, object) or any(_mentions_any(part) for part in typing.get_args(kind))


def _decode_untyped(data: Any) -> Any:
    if isinstance(data, dict):
        if set(data) == {_TAG}:
            return int(data[_TAG])
        return {key: _decode_untyped(item) for key, item in data.items()}
    if isinstance(data, list):
        return [_decode_untyped(item) for item in data]
    return data


def from_plain(kind: type[T], data: Any) -> T:
    """Rebuild a `kind` from what `to_plain` made of it."""
    return typing.cast(T, _decode(kind, data))


def _decode(kind: Any, data: Any) -> Any:
    if kind is Any or kind is object:
        return _decode_untyped(data)
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(typing.get_args(kind), data)
    if origin is tuple:
        items = typing.get_args(kind)
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(_decode(items[0], item) for item in data)
        return tuple(_decode(item_kind, item) for item_kind, item in zip(items, data, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _decode(typing.get_args(kind)[1], item) for key, item in data.items()}
    if origin is typing.Literal:
        return data
    if isinstance(kind, type):
        return _decode_class(kind, data)
    raise TypeError(f"{kind!r} cannot be rebuilt from plain data")


def _decode_class(kind: type[Any], data: Any) -> Any:
    if issubclass(kind, enum.Flag):
        flags = kind(0)
        for name in data:
            flags |= kind[name]
        return flags
    if issubclass(kind, enum.Enum):
        return kind(data)
    if kind in (bool, str):
        return data
    if kind is int:
        return int(data)
    if kind is float:
        return float(data)
    if kind is type(None):
        return None
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        # A record of an older version lacks fields that were added since; they have defaults.
        made = {
            field.name: _decode(hints[field.name], data[field.name])
            for field in dataclasses.fields(kind)
            if field.init and field.name in data
        }
        return kind(**made)
    raise TypeError(f"{kind.__name__} cannot be rebuilt from plain data")


def _decode_union(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) == 1:
        return _decode(rest[0], data)
    if isinstance(data, bool) and bool in rest:
        return data
    if isinstance(data, float) and float in rest:
        return data
    if isinstance(data, str) and int in rest and data.lstrip("-").isdigit():
        return int(data)
    if isinstance(data, str) and str in rest:
        return data
    raise TypeError(f"{data!r} fits none of {rest}")
