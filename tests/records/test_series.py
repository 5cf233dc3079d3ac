"""Samples in blobs: every one comes back, and anybody can unpack them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw.errors import RecordError
from aicalib_hw.readings import Series, Status
from aicalib_hw.records import Record, read_record
from aicalib_hw.records.chunks import SAMPLES_A_CHUNK, cut, joined, status_bits

from .sessions import BENCH, PLAN, Story, power_series

HEADER = {"quantity": "power", "unit": "W"}
flags = st.lists(st.sampled_from([status for status in Status if status.value]), max_size=3)
samples = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False),
    flags.map(lambda f: sum(x.value for x in f)),
)


@given(st.lists(samples, max_size=30), st.integers(1, 7))
def test_every_sample_comes_back(rows: list[tuple[int, float | None, int]], size: int) -> None:
    series = Series(
        HEADER,
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows),
        tuple(Status(row[2] & 0xFF) for row in rows),
        "instant",
    )
    chunks = list(cut(series, size))
    assert joined(chunks, status_bits()) == (series.times, series.values, series.statuses)
    assert {chunk.samples for chunk in chunks[:-1]} <= {size}


def test_a_channel_grows_call_by_call_over_many_chunks(tmp_path: Path) -> None:
    part = power_series(Story())
    with Record.create(tmp_path / "a.sqlite", title="", bench=BENCH, rule="none", plan=PLAN) as record:
        channels = {record.series("power", part) for _ in range(3)}
        long = Series(HEADER, tuple(range(2500)), (1.0,) * 2500, (Status.VALID,) * 2500, "instant")
        record.series("long", long)
    assert len(channels) == 1
    contents = read_record(tmp_path / "a.sqlite")
    assert contents.series["power"].values == part.values * 3
    assert contents.series["power"].statuses == part.statuses * 3
    assert contents.series["long"] == long
    assert 2 * SAMPLES_A_CHUNK < 2500


def test_samples_of_another_kind_get_a_channel_of_their_own(tmp_path: Path) -> None:
    part = power_series(Story())
    with Record.create(tmp_path / "a.sqlite", title="", bench=BENCH, rule="none", plan=PLAN) as record:
        record.series("power", part)
        with pytest.raises(RecordError, match="another kind"):
            record.series("power", replace(part, sample_kind="instant"))
        with pytest.raises(RecordError, match="another kind"):
            record.series("power", replace(part, header={**part.header, "unit": "kW"}))
    assert read_record(tmp_path / "a.sqlite").series == {"power": part}


def test_blobs_can_be_unpacked_without_this_package(tmp_path: Path) -> None:
    part = power_series(Story())
    with Record.create(tmp_path / "a.sqlite", title="", bench=BENCH, rule="none", plan=PLAN) as record:
        record.series("power", part)
    database = sqlite3.connect(tmp_path / "a.sqlite")
    count, times, values, statuses, mark = database.execute(
        "SELECT samples, monotonic_ns, value, status, sha256 FROM sample_chunk"
    ).fetchone()
    (bits,) = database.execute("SELECT status_bits FROM channel").fetchone()
    database.close()
    assert struct.unpack(f"<{count}q", times) == part.times
    unpacked = struct.unpack(f"<{count}d", values)
    assert unpacked[:250] == part.values[:250]
    assert unpacked[250] != unpacked[250]
    (lost,) = {status for status in struct.unpack(f"<{count}I", statuses) if status}
    assert json.loads(bits)[str(lost)] == "OVER_RANGE"
    assert hashlib.sha256(times + values + statuses).hexdigest() == mark
