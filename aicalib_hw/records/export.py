"""A record as text for other programs: JSON Lines with everything, CSV with the results."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aicalib_hw import units
from aicalib_hw.records.canonical import canonical_json, iso_utc, plain
from aicalib_hw.records.contents import RecordContents
from aicalib_hw.records.files import write_whole

CSV_COLUMNS = (
    "quantity",
    "definition",
    "point",
    "load",
    "value",
    "unit",
    "expanded_uncertainty",
    "coverage_factor",
    "indication",
    "declared_value",
    "declared_unit",
    "error",
    "maximum_permissible_error",
    "rule",
    "verdict",
    "validity",
    "simulated",
    "started_at",
    "duration_s",
    "world_rate",
)
"""Columns of `export_csv`; value, expanded uncertainty, indication, error and MPE are in `unit`.

declared_value, declared_unit: the indication as the bench file gives it.

world_rate: of what is simulated, seconds of its world in one of the host's clock; 1 where the two agree.
"""


def export_json_lines(record: RecordContents, path: str | Path) -> Path:
    """Write one JSON object a line, each with its `type`; integers are decimal text. Raises RecordError."""
    return write_whole(path, "".join(f"{canonical_json(line)}\n" for line in _lines(record)))


def export_csv(record: RecordContents, path: str | Path) -> Path:
    """Write one row a result (`CSV_COLUMNS`, UTF-8); cells without a value are empty. Raises RecordError."""
    return write_whole(path, _table(record))


def _lines(record: RecordContents) -> Iterator[dict[str, Any]]:
    yield {
        "type": "session",
        "id": record.id,
        "schema_version": record.schema_version,
        "title": record.title,
        "platform": record.bench.get("platform"),
        "environment": record.bench.get("environment"),
        "rule": record.rule,
        "started_at": iso_utc(record.started.utc_ns),
        "ended_at": iso_utc(record.ended.utc_ns) if record.ended is not None else None,
        "status": record.status,
        "reason": record.reason,
        "simulated": record.simulated,
        "world_rate": record.world_rate,
        "seal": record.seal,
    }
    groups: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("equipment", record.equipment),
        ("event", record.events),
        ("measurement", record.measurements),
        ("result", record.results),
    )
    for kind, items in groups:
        for item in items:
            yield {"type": kind, **plain(item)}
    for name, series in record.series.items():
        yield {"type": "series", "name": name, **plain(series)}


def _table(record: RecordContents) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for result in record.results:
        evaluation, decision, indication = result.evaluation, result.decision, result.indication
        window = result.measurement.window
        unit = evaluation.unit if evaluation is not None else result.measurement.unit
        writer.writerow(
            (
                result.quantity,
                result.definition,
                result.title,
                result.load,
                evaluation.value if evaluation is not None else None,
                unit,
                evaluation.expanded_uncertainty if evaluation is not None else None,
                evaluation.coverage_factor if evaluation is not None else None,
                units.convert(indication.value, indication.unit, unit) if indication is not None else None,
                indication.value if indication is not None else None,
                indication.unit if indication is not None else None,
                decision.error,
                decision.maximum_permissible_error,
                decision.rule,
                decision.verdict.value,
                result.validity.status.value,
                str(result.measurement.identity.simulated).lower(),
                iso_utc(window.start.utc_ns),
                window.duration,
                f"{record.world_rate:g}" if result.measurement.identity.simulated else None,
            )
        )
    return text.getvalue()
