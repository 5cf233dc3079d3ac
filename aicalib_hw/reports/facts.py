"""Plain data as a reader can take it in: evidence, settings and plans, each number with its unit.

The keys are those of drivers and procedures. What follows the last underscore may name the unit (`stolen_s`,
`clock_Hz`); the few keys known without it are listed here. What is long stays in the record, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aicalib_hw import units
from aicalib_hw.records.canonical import iso_utc
from aicalib_hw.reports import numbers
from aicalib_hw.reports.language import Words

_MOST_ROWS = 16
_MOST_ITEMS = 12
_SENTENCE = 30
_ENDINGS = {unit: unit for unit in ("s", "ms", "ns", "Hz", "W", "V", "A", "J", "B", "degC")} | {"hz": "Hz", "us": "us"}
_UNITS = {
    "duration": "s",
    "settle": "s",
    "ranging_duration": "s",
    "energy_duration": "s",
    "warm_up": "s",
    "update_interval": "s",
    "ramp": "s",
    "seconds": "s",
    "ttft_limit": "s",
    "tpot_limit": "s",
    "latency_limit": "s",
    "every": "s",
    "step_timeout": "s",
    "voltage_range": "V",
    "current_range": "A",
}
_RATIOS = (
    "share",
    "median_over_best",
    "repeatability",
    "settle_tolerance",
    "load_tolerance",
    "load_achieved",
    "load_of_others",
    "loads",
    "read_share",
    "disturbance",
    "failure_rate",
    "coalesced_share",
    "drift",
    "outside",
    "outside_steps",
    "step_time_variation",
    "model_flop_utilisation",
    "efficiency_measured_clock",
    "efficiency_maximum_clock",
)
_OF_THE_VALUE = ("best_rate", "interval_rates", "line_rate", "device_rates")


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
    """Return a line for each key of any of the mappings; tables and evidence of clocks have places of their own."""
    keys = dict.fromkeys(
        key for column in columns for key, value in column.items() if not (_is_table(value) or is_clock(value))
    )
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
        rows = tuple(
            tuple(shown(_inner(head, key), row.get(head), unit, words) for head in heads) for row in plain[:_MOST_ROWS]
        )
        more = max(0, len(plain) - _MOST_ROWS)
        found.append(Table(label(key, words), tuple(label(head, words) for head in heads), rows, more))
    return found


def is_clock(value: Any) -> bool:
    """True for what a host said of its clock."""
    return isinstance(value, Mapping) and "synchronised" in value


def label(key: str, words: Words) -> str:
    """Return a key of plain data as words, without the ending that names its unit."""
    stem, _, ending = key.rpartition("_")
    return words.fact(stem if stem and ending in _ENDINGS else key)


def shown(key: str, value: Any, unit: str, words: Words) -> str:
    """Return a value of plain data as text; `unit`: of the measurement that it belongs to."""
    if value is None or value == "" or value == [] or value == {}:
        return numbers.NONE
    if isinstance(value, bool):
        return words("yes" if value else "no")
    if isinstance(value, str):
        return numbers.in_words(value)
    if isinstance(value, Mapping):
        return _mapping(key, value, unit, words)
    if isinstance(value, (list, tuple)):
        if len(value) > _MOST_ITEMS:
            return words("in the record", count=len(value))
        texts = [shown(key, item, unit, words) for item in value]
        return ("\n" if any(len(text) > _SENTENCE for text in texts) else ", ").join(texts)
    return _number(key, value, unit)


def _mapping(key: str, value: Mapping[str, Any], unit: str, words: Words) -> str:
    if set(value) == {"utc_ns", "monotonic_ns", "clock"}:
        return iso_utc(int(value["utc_ns"]))
    rest = dict(value)
    texts = []
    if isinstance(value.get("value"), (int, float)) and value.get("unit") in units.UNITS:
        texts = [numbers.significant(float(rest.pop("value")), rest.pop("unit"))]
    elif "unit" in value and value.get("value", 0) is None:
        del rest["value"], rest["unit"]
        texts = [words("unknown")]
    texts += [f"{label(str(k), words)}: {shown(_inner(str(k), key), v, unit, words)}" for k, v in rest.items()]
    return "\n".join(texts) if any(len(text) > _SENTENCE for text in texts) else "; ".join(texts)


def _inner(key: str, outer: str) -> str:
    """The key whose unit a number inside of a mapping has: its own, or where it names none, that of the mapping."""
    return key if _own_unit(key, "") or key in _RATIOS or not _own_unit(outer, "") else outer


def _own_unit(key: str, unit: str) -> str:
    """The unit that a key names or is known to have, "" where there is none; `unit`: of the measurement."""
    ending = key.rpartition("_")[2] if "_" in key else ""
    return _UNITS.get(key) or _ENDINGS.get(ending) or (unit if key in _OF_THE_VALUE else "")


def _number(key: str, value: float | int, unit: str) -> str:
    own = _own_unit(key, unit)
    if own and units.require(own).dimension == "time":
        return numbers.trimmed(numbers.short_time(units.convert(value, own, "s")))
    if own:
        return numbers.trimmed(numbers.significant(value, own, 5))
    if key in _RATIOS:
        return numbers.trimmed(numbers.percent(value, 4))
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f").replace("-", numbers.MINUS)
    return f"{value:.6g}".replace("-", numbers.MINUS)


def _is_table(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(row, Mapping) for row in value)
