"""What a record keeps, and gives back."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import threading
from pathlib import Path, PureWindowsPath

import pytest

from aicalib_hw.errors import Aborted, ConnectionLost, RecordError
from aicalib_hw.readings import Measurement, from_plain, to_plain
from aicalib_hw.records import Record, read_record, verify_record
from aicalib_hw.records.contents import _only_to_read

from .sessions import BENCH, CPU, METER, PLAN, SIMULATED_METER, Story, compute, power, power_series, write_session


def begin(path: Path) -> Record:
    return Record.create(path, title="Server 42", bench=BENCH, rule="jjf1094", plan=PLAN)


def test_what_was_measured_comes_back_as_it_was(tmp_path: Path) -> None:
    story = Story()
    contents = read_record(write_session(tmp_path / "record.sqlite", story))
    assert contents.calibrations == (compute(story), power(story))
    assert contents.series == {"meter: active power": power_series(story)}
    assert [item.identity for item in contents.equipment] == [CPU, METER]
    assert contents.equipment[1].certificate == story.certificate
    assert contents.equipment[1].snapshot["update_interval"].value == 0.25
    assert (contents.bench, contents.plan, contents.rule) == (BENCH, PLAN, "jjf1094")
    assert len(contents.results) == 6
    assert len(contents.measurements) == 8


def test_sqlite_is_told_of_a_record_on_a_server_of_windows_without_a_host_which_it_refuses() -> None:
    with pytest.raises(sqlite3.OperationalError, match="authority"):
        sqlite3.connect("file://server/share/record.sqlite", uri=True)
    named = [_only_to_read(PureWindowsPath(path)) for path in (r"\\server\share\50 %.sqlite", r"C:\42\record.sqlite")]
    assert named == ["file:////server/share/50%20%25.sqlite?mode=ro", "file:///C:/42/record.sqlite?mode=ro"]


def test_a_count_beyond_64_bits_keeps_every_digit(tmp_path: Path) -> None:
    operations = 2**200 + 1
    with begin(tmp_path / "record.sqlite") as record:
        record.event("counted", operations=operations, nested={"each": [operations]})
    event = read_record(tmp_path / "record.sqlite").events[-2]
    assert event.data == {"operations": operations, "nested": {"each": [operations]}}


def test_an_ended_session_is_one_file_that_is_whole_wherever_it_is_taken(tmp_path: Path) -> None:
    path = write_session(tmp_path / "record.sqlite")
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "elsewhere").mkdir()
    copy = Path(shutil.copy(path, tmp_path / "elsewhere"))
    assert read_record(copy).results == read_record(path).results
    assert verify_record(copy)


def test_the_same_measurement_is_kept_once(tmp_path: Path) -> None:
    calibration = power(Story())
    with begin(tmp_path / "record.sqlite") as record:
        first = record.measurement(calibration.results[0].measurement)
        again = record.measurement(calibration.results[0].measurement)
        result = record.result(calibration.results[0])
        record.calibration(calibration)
        assert (first, record.result(calibration.results[0])) == (again, result)
    contents = read_record(tmp_path / "record.sqlite")
    assert len(contents.measurements) == len(contents.results) == 5


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "complete"),
        (KeyboardInterrupt(), "aborted"),
        (Aborted("the calibration was stopped"), "aborted"),
        (ConnectionLost("the meter is gone"), "error"),
        (ZeroDivisionError(), "error"),
    ],
)
def test_the_way_out_tells_how_the_session_ended(tmp_path: Path, error: BaseException | None, status: str) -> None:
    def session() -> None:
        with begin(tmp_path / "record.sqlite") as record:
            record.calibration(compute(Story()))
            if error is not None:
                raise error

    if error is None:
        session()
    else:
        with pytest.raises(type(error)):
            session()
    contents = read_record(tmp_path / "record.sqlite")
    assert (contents.status, len(contents.results)) == (status, 1)
    assert (contents.reason == "") == (error is None)
    assert verify_record(contents.path).seal


def test_a_record_is_incomplete_until_it_is_ended_and_can_be_read_meanwhile(tmp_path: Path) -> None:
    with begin(tmp_path / "record.sqlite") as record:
        record.calibration(compute(Story()))
        contents = read_record(record.path)
        assert (contents.status, contents.ended, contents.seal) == ("incomplete", None, "")
        assert len(contents.results) == 1
        assert verify_record(record.path)
    assert read_record(record.path).status == "complete"


def test_who_reads_at_the_end_neither_stops_it_nor_loses_by_it(tmp_path: Path) -> None:
    with begin(tmp_path / "record.sqlite") as record:
        record.calibration(compute(Story()))
        reader = sqlite3.connect(record.path)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM ending").fetchone() == (0,)
    contents = read_record(record.path)
    assert (contents.status, len(contents.results)) == ("complete", 1)
    assert reader.execute("SELECT count(*) FROM result").fetchone() == (1,)
    reader.close()
    assert verify_record(record.path).seal == contents.seal


def test_an_event_may_carry_any_key(tmp_path: Path) -> None:
    with begin(tmp_path / "record.sqlite") as record:
        record.event("retry", kind="time-out", self="meter")
    (event,) = (event for event in read_record(record.path).events if event.kind == "retry")
    assert event.data == {"kind": "time-out", "self": "meter"}


def test_nothing_can_be_added_after_the_end(tmp_path: Path) -> None:
    with begin(tmp_path / "record.sqlite") as record:
        record.finish("aborted", reason="the customer called")
        with pytest.raises(RecordError, match="finished"):
            record.event("afterthought")
    assert read_record(record.path).reason == "the customer called"


def test_the_records_own_events_cannot_be_imitated(tmp_path: Path) -> None:
    with begin(tmp_path / "record.sqlite") as record, pytest.raises(RecordError, match="the record's own"):
        record.event("recorded", table="result", row=1, sha256="")


def test_rows_can_be_added_and_never_changed_or_deleted(tmp_path: Path) -> None:
    path = write_session(tmp_path / "record.sqlite")
    database = sqlite3.connect(path)
    for statement in ("UPDATE measurement SET data = '{}'", "DELETE FROM event", "UPDATE ending SET status = 'error'"):
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            database.execute(statement)
    database.close()
    assert verify_record(path)


def test_threads_write_side_by_side(tmp_path: Path) -> None:
    story = Story()
    measurement = compute(story).results[0].measurement

    def write(record: Record, worker: int) -> None:
        for number in range(10):
            evidence = {"worker": worker, "number": number}
            data = {**to_plain(measurement), "evidence": to_plain({"of": evidence})}
            record.measurement(from_plain(Measurement, data))
            record.event("step", worker=worker, number=number)
            record.series(f"channel {worker}", power_series(story))

    with begin(tmp_path / "record.sqlite") as record:
        threads = [threading.Thread(target=write, args=(record, worker)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    contents = read_record(tmp_path / "record.sqlite")
    assert len(contents.measurements) == 40
    assert [event.number for event in contents.events] == list(range(1, len(contents.events) + 1))
    steps = [(event.data["worker"], event.data["number"]) for event in contents.events if event.kind == "step"]
    assert [number for worker, number in steps if worker == 3] == list(range(10))
    assert {len(series.times) for series in contents.series.values()} == {4000}
    assert verify_record(contents.path)


def test_it_is_simulated_as_soon_as_one_source_says_so_of_itself(tmp_path: Path) -> None:
    assert not read_record(write_session(tmp_path / "real.sqlite")).simulated
    contents = read_record(write_session(tmp_path / "simulated.sqlite", Story(meter=SIMULATED_METER)))
    assert contents.simulated_identities == (SIMULATED_METER,)
    with begin(tmp_path / "unlisted.sqlite") as record:
        marks = [record.simulated]
        record.measurement(power(Story(meter=SIMULATED_METER)).results[0].measurement)
        marks.append(record.simulated)
    assert marks == [False, True]
    assert read_record(record.path).simulated


def test_a_flag_in_the_file_cannot_make_a_simulated_source_real(tmp_path: Path) -> None:
    path = write_session(tmp_path / "record.sqlite", Story(meter=SIMULATED_METER))
    database = sqlite3.connect(path)
    database.execute("DROP TRIGGER equipment_is_never_changed")
    database.execute("DROP TRIGGER measurement_is_never_changed")
    database.execute("DROP TRIGGER result_is_never_changed")
    database.execute("UPDATE equipment SET simulated = 0")
    for table in ("equipment", "measurement", "result"):
        replaced = "replace(data, '\"simulated\":true', '\"simulated\":false')"
        database.execute(f"UPDATE {table} SET data = {replaced}")
    database.commit()
    database.close()
    assert read_record(path).simulated


def test_what_is_no_number_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with begin(tmp_path / "record.sqlite") as record:
        with pytest.raises(RecordError, match="nan"):
            record.event("temperature", value=math.nan)
        record.event("temperature", value=21.5)
    assert [event.data for event in read_record(record.path).events if event.kind == "temperature"] == [{"value": 21.5}]


def test_a_failure_half_way_leaves_nothing_of_that_call(tmp_path: Path) -> None:
    good, bad = compute(Story()), power(Story())
    with begin(tmp_path / "record.sqlite") as record:
        record.calibration(good)
        object.__setattr__(bad.results[-1].measurement, "evidence", {"frequency": math.inf})
        with pytest.raises(RecordError):
            record.calibration(bad)
    contents = read_record(record.path)
    assert contents.calibrations == (good,)
    assert len(contents.measurements) == 3
    assert verify_record(contents.path)


def test_a_record_of_an_older_version_lacks_fields_that_have_defaults_now(tmp_path: Path) -> None:
    path = write_session(tmp_path / "record.sqlite")
    database = sqlite3.connect(path)
    database.execute("DROP TRIGGER result_is_never_changed")
    for row, text in database.execute("SELECT id, data FROM result").fetchall():
        data = json.loads(text)
        del data["asked_load"]
        database.execute("UPDATE result SET data = ? WHERE id = ?", (json.dumps(data), row))
    database.commit()
    database.close()
    assert {result.asked_load for result in read_record(path).results} == {None}


def test_nothing_is_ever_written_over(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    path.write_text("precious")
    with pytest.raises(RecordError, match=r"(?s)already.*record\.sqlite.*new file"):
        begin(path)
    assert path.read_text() == "precious"


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"(?s)nowhere.record\.sqlite.*name a directory"):
        begin(tmp_path / "nowhere" / "record.sqlite")


@pytest.mark.parametrize("content", [b"", b"not a database, but quite a long text about something else" * 20])
def test_another_file_is_no_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.sqlite"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="no record"):
        read_record(path)
    with pytest.raises(RecordError, match="there is no record"):
        read_record(tmp_path / "other.sqlite")


def test_a_record_of_a_newer_version_is_not_guessed_at(tmp_path: Path) -> None:
    path = write_session(tmp_path / "record.sqlite")
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(RecordError, match="newer version"):
        read_record(path)


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = write_session(tmp_path / "record.sqlite")
    content = bytearray(path.read_bytes())
    content[20_000:90_000] = bytes(70_000)
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"record\.sqlite"):
        read_record(path)
