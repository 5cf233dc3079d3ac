"""The tables of a record. `docs/reference/record.md` explains them; the comments below travel inside every file.

Data classes are kept whole, as JSON in `data`; the columns beside it are computed from that JSON by SQLite, so that
there is one truth, and people with no more than an SQLite shell can read it.
"""

from __future__ import annotations

SCHEMA_VERSION = 1
APPLICATION_ID = 0x41494352
"""Marks the file as a record for `file` and others: "AICR"."""

TABLES = ("session", "equipment", "channel", "sample_chunk", "measurement", "result", "calibration", "attachment")
"""Tables whose rows the chain of events announces; `event`, `ending` and `seal` seal themselves."""


def _utc(path: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(data, '{path}.utc_ns') / 1e9, 'unixepoch')"


_TABLES = f"""
CREATE TABLE schema_version (version INTEGER NOT NULL, software TEXT NOT NULL);

CREATE TABLE session (
  id TEXT PRIMARY KEY,            -- random UUID
  title TEXT NOT NULL,
  started_at TEXT NOT NULL,       -- UTC, ISO 8601
  utc_ns INTEGER NOT NULL,        -- the same moment by both clocks; durations come from the monotonic one only
  monotonic_ns INTEGER NOT NULL,
  clock TEXT NOT NULL,
  rule TEXT NOT NULL,             -- decision rule, agreed before anything was measured
  bench TEXT NOT NULL,            -- JSON: the bench file
  plan TEXT NOT NULL,             -- JSON
  environment TEXT NOT NULL       -- JSON: software, host, clocks
);

CREATE TABLE equipment (
  id INTEGER PRIMARY KEY,
  data TEXT NOT NULL,             -- JSON: name, identity, driver, certificate, snapshot
  simulated INTEGER NOT NULL,     -- 1 if the identity says so
  name TEXT AS (json_extract(data, '$.name')),
  maker TEXT AS (json_extract(data, '$.identity.maker')),
  model TEXT AS (json_extract(data, '$.identity.model')),
  serial TEXT AS (json_extract(data, '$.identity.serial')),
  firmware TEXT AS (json_extract(data, '$.identity.firmware')),
  address TEXT AS (json_extract(data, '$.identity.address')),
  driver TEXT AS (json_extract(data, '$.driver.name'))
);

CREATE TABLE event (
  number INTEGER PRIMARY KEY,     -- 1, 2, 3 … without gap
  at TEXT NOT NULL,               -- UTC, ISO 8601
  utc_ns INTEGER NOT NULL,
  monotonic_ns INTEGER NOT NULL,
  clock TEXT NOT NULL,
  kind TEXT NOT NULL,
  data TEXT NOT NULL,             -- JSON
  previous TEXT NOT NULL,         -- sha256 of the event before, 64 zeros for the first
  sha256 TEXT NOT NULL            -- of the JSON array [previous, number, utc_ns, monotonic_ns, clock, kind, data]
);

CREATE TABLE channel (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  header TEXT NOT NULL,           -- JSON: quantity, unit and whatever describes all samples
  sample_kind TEXT NOT NULL,      -- instant, or interval_mean with the time at the end of the interval
  status_bits TEXT NOT NULL,      -- JSON: meaning of each bit of a status
  unit TEXT AS (json_extract(header, '$.unit'))
);

CREATE TABLE sample_chunk (
  id INTEGER PRIMARY KEY,
  channel_id INTEGER NOT NULL REFERENCES channel,
  samples INTEGER NOT NULL,       -- how many
  monotonic_ns BLOB NOT NULL,     -- signed 64-bit integers, little-endian
  value BLOB NOT NULL,            -- IEEE 754 doubles, little-endian, NaN where the status leaves no value
  status BLOB NOT NULL,           -- unsigned 32-bit integers, little-endian, 0 = valid
  sha256 TEXT NOT NULL            -- of the three blobs, one after the other
);

CREATE TABLE measurement (
  id INTEGER PRIMARY KEY,
  data TEXT NOT NULL,             -- JSON
  sha256 TEXT NOT NULL UNIQUE,    -- of data
  quantity TEXT AS (json_extract(data, '$.quantity')),
  definition TEXT AS (json_extract(data, '$.definition')),
  value AS (json_extract(data, '$.value')),         -- a number, or the digits of a count
  unit TEXT AS (json_extract(data, '$.unit')),
  load REAL AS (json_extract(data, '$.load')),
  serial TEXT AS (json_extract(data, '$.identity.serial')),
  started_at TEXT AS ({_utc("$.window.start")}),
  stopped_at TEXT AS ({_utc("$.window.stop")}),
  validity TEXT AS (json_extract(data, '$.validity.status'))
);

CREATE TABLE result (
  id INTEGER PRIMARY KEY,
  measurement_id INTEGER NOT NULL REFERENCES measurement,
  data TEXT NOT NULL,             -- JSON, without the measurement
  sha256 TEXT NOT NULL UNIQUE,    -- of the JSON array [measurement_id, data]
  quantity TEXT AS (json_extract(data, '$.quantity')),
  title TEXT AS (json_extract(data, '$.title')),
  value REAL AS (json_extract(data, '$.evaluation.value')),
  unit TEXT AS (json_extract(data, '$.evaluation.unit')),
  expanded_uncertainty REAL AS (json_extract(data, '$.evaluation.expanded_uncertainty')),
  coverage_factor REAL AS (json_extract(data, '$.evaluation.coverage_factor')),
  verdict TEXT AS (json_extract(data, '$.decision.verdict')),
  validity TEXT AS (json_extract(data, '$.validity.status'))
);

CREATE TABLE calibration (
  id INTEGER PRIMARY KEY,
  data TEXT NOT NULL,             -- JSON: quantity, plan, validity, notes, ids of results and further measurements
  sha256 TEXT NOT NULL UNIQUE,    -- of data
  quantity TEXT AS (json_extract(data, '$.quantity'))
);

CREATE TABLE attachment (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  content BLOB NOT NULL,
  sha256 TEXT NOT NULL            -- of content
);

CREATE TABLE ending (             -- no row: the session broke off, and the record is incomplete
  status TEXT NOT NULL CHECK (status IN ('complete', 'aborted', 'error')),
  reason TEXT NOT NULL,
  ended_at TEXT NOT NULL,
  utc_ns INTEGER NOT NULL,
  monotonic_ns INTEGER NOT NULL,
  clock TEXT NOT NULL,
  software TEXT NOT NULL          -- JSON: sha256 of the file of each module of this package that was in use
);

CREATE TABLE seal (
  manifest TEXT NOT NULL,         -- canonical JSON
  sha256 TEXT NOT NULL            -- of manifest
);
"""

_VIEWS = """
CREATE VIEW certificate AS
  SELECT id AS equipment_id, name, json_extract(data, '$.certificate.number') AS number,
         json_extract(data, '$.certificate.issuer') AS issuer,
         json_extract(data, '$.certificate.calibrated_on') AS calibrated_on,
         json_extract(data, '$.certificate.valid_until') AS valid_until,
         json_extract(data, '$.certificate.traceable_to') AS traceable_to
  FROM equipment WHERE json_extract(data, '$.certificate') IS NOT NULL;

CREATE VIEW run AS
  SELECT measurement.id AS measurement_id, run.key + 1 AS number, json_extract(run.value, '$.value') AS value,
         measurement.unit AS unit,
         (json_extract(run.value, '$.window.stop.monotonic_ns')
          - json_extract(run.value, '$.window.start.monotonic_ns')) / 1e9 AS duration_s,
         json_extract(run.value, '$.used') AS used, json_extract(run.value, '$.reasons') AS reasons
  FROM measurement, json_each(measurement.data, '$.runs') AS run;

CREATE VIEW budget_component AS
  SELECT result.id AS result_id, line.key + 1 AS number, json_extract(line.value, '$.name') AS name,
         json_extract(line.value, '$.kind') AS kind, json_extract(line.value, '$.distribution') AS distribution,
         json_extract(line.value, '$.standard_uncertainty') AS standard_uncertainty,
         json_extract(line.value, '$.contribution') AS contribution, result.unit AS unit,
         json_extract(line.value, '$.share') AS share, json_extract(line.value, '$.dof') AS dof,
         json_extract(line.value, '$.source') AS source
  FROM result, json_each(result.data, '$.evaluation.budget') AS line;

CREATE VIEW verdict AS
  SELECT id AS result_id, title, verdict, json_extract(data, '$.decision.rule') AS rule,
         json_extract(data, '$.decision.error') AS error,
         json_extract(data, '$.decision.maximum_permissible_error') AS maximum_permissible_error,
         expanded_uncertainty, unit,
         json_extract(data, '$.decision.conformance_probability') AS conformance_probability,
         json_extract(data, '$.decision.reason') AS reason
  FROM result;
"""

_ONLY_ADDED_TO = "".join(
    f"CREATE TRIGGER {table}_is_never_{done} BEFORE {act} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, 'a record is only ever added to'); END;\n"
    for table in (*TABLES, "schema_version", "event", "ending", "seal")
    for act, done in (("UPDATE", "changed"), ("DELETE", "deleted"))
)

STATEMENTS = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
{_TABLES}{_VIEWS}{_ONLY_ADDED_TO}"""
