"""Plain data as a reader can take it in: evidence, settings and plans, each number with its unit.

The keys are those of drivers and procedures. A suffix names the unit (`stolen_s`, `window_ns`); the few keys that need
none of it are listed here. What is long stays in the record, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw import units
from aicalib_hw.reports import numbers
from aicalib_hw.reports.language import Words

_MOST_ROWS = 16
_MOST_WORDS = 12
_SUFFIXES = {
    "_s": "s",
    "_ns": "ns",
    "_hz": "Hz",
    "_w": "W",
    "_j": "J",
    "_v": "V",
    "_a": "A",
    "_b": "B",
    "_degc": "degC",
}
_UNITS = {
    "duration": "s",
    "settle": "s",
    "ranging_duration": "s",
    "warm_up": "s",
    "update_interval": "s",
    "voltage_range": "V",
    "current_range": "A",
    "voltage": "V",
    "current": "A",
    "frequency": "Hz",
    "clock": "Hz",
}
_RATIOS = ("share", "median_over_best", "repeatability", "settle_tolerance", "load", "load_achieved", "loads")
_OF_THE_VALUE = ("best_rate", "peak", "rate", "theoretical_peak")


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what it is, and what it is at each point; one text where all points agree."""

    label: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of like items, such as the cores of a processor; more: how many are left to the record."""

    label: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int


def facts(columns: Sequence[Mapping[str, Any]], unit: str, words: Words) -> list[Fact]:
    """Return a line for each key of any of the mappings; tables are left out."""
    keys = dict.fromkeys(key for column in columns for key, value in column.items() if not _is_table(value))
    lines = []
    for key in keys:
        texts = tuple(shown(key, column.get(key), unit, words) for column in columns)
        lines.append(Fact(label(key, words), texts[:1] if len(set(texts)) == 1 else texts))
    return lines


def tables(column: Mapping[str, Any], unit: str, words: Words) -> list[Table]:
    """Return the tables that a mapping holds: sequences of mappings, numbers in bulk left out."""
    found = []
    for key, value in column.items():
        if not _is_table(value):
            continue
        plain = [{k: v for k, v in row.items() if not isinstance(v, (list, tuple, Mapping))} for row in value]
        heads = tuple(dict.fromkeys(head for row in plain for head in row))
        if not heads:
            continue
        rows = tuple(tuple(shown(head, row.get(head), unit, words) for head in heads) for row in plain[:_MOST_ROWS])
        more = max(0, len(plain) - _MOST_ROWS)
        found.append(Table(label(key, words), tuple(label(head, words) for head in heads), rows, more))
    return found


def label(key: str, words: Words) -> str:
    """Return a key of plain data as words, without the suffix that names its unit."""
    for suffix in _SUFFIXES:
        key = key.removesuffix(suffix) if _unit_of(key) else key
    return words.fact(key)


def shown(key: str, value: Any, unit: str, words: Words) -> str:
    """Return a value of plain data as text; `unit`: of the measurement that it belongs to."""
    if value is None or value == "" or value == [] or value == {}:
        return numbers.NONE
    if isinstance(value, bool):
        return words("yes" if value else "no")
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "; ".join(f"{label(str(k), words)}: {shown(str(k), v, unit, words)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        if len(value) > _MOST_WORDS:
            return words("in the record", count=len(value))
        return ", ".join(shown(key, item, unit, words) for item in value)
    return _number(key, value, unit)


def _number(key: str, value: float | int, unit: str) -> str:
    own = _unit_of(key) or (unit if key in _OF_THE_VALUE else "")
    if own:
        if units.require(own).dimension == "time":
            return numbers.trimmed(numbers.short_time(units.convert(value, own, "s")))
        return numbers.trimmed(numbers.significant(value, own, 5))
    if key in _RATIOS:
        return numbers.trimmed(numbers.percent(value, 4))
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f").replace("-", numbers.MINUS)
    return f"{value:.6g}".replace("-", numbers.MINUS)


def _unit_of(key: str) -> str:
    if key in _UNITS:
        return _UNITS[key]
    return next((unit for suffix, unit in _SUFFIXES.items() if key.endswith(suffix)), "")


def _is_table(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(row, Mapping) for row in value)
