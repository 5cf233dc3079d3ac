"""Readings on their way out: what is not usable is a status, never a number."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import pytest

from aicalib_hw.cli._readings import CsvFile, channels, print_reading_as_json
from aicalib_hw.cli.read import _readings
from aicalib_hw.errors import UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import ElementReading, PowerReading, PowerSettings
from aicalib_hw.readings import Instant, Reading, Status, Window

METER = Identity("YOKOGAWA", "WT333E", "SIM00001", "F1.04", "TCPIP::192.0.2.7::INSTR")
WINDOW = Window(Instant(1_700_000_000_123_456_789, 0), Instant(1_700_000_000_373_456_789, 250_000_000), "one update")
SETTINGS = PowerSettings((1, 2), "1P3W", (300.0,), (20.0,), False, "3", 0.25, None, None, False, 1)


def reading(value: float | None, unit: str, status: Status = Status.VALID) -> Reading:
    return Reading(value, unit, status, WINDOW, METER)


def power_reading(status: Status = Status.VALID) -> PowerReading:
    element = ElementReading(reading(230.1, "V"), reading(1.5, "A"), reading(345.0, "W"))
    total = ElementReading(reading(230.1, "V"), reading(3.0, "A", status), reading(690.25, "W", status))
    return PowerReading((element, element), total, SETTINGS, WINDOW, status)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_elements_stand_apart_from_their_sum() -> None:
    found = channels(power_reading())
    assert found["active_power"].value == 690.25
    assert found["element_2_active_power"].value == 345.0
    assert len(found) == 9


def test_every_row_is_on_disk_before_the_next_reading(tmp_path: Path) -> None:
    with CsvFile(tmp_path / "log.csv") as log:
        log(power_reading(), METER)
        assert rows(tmp_path / "log.csv")[0]["active_power_W"] == "690.25"
        log(power_reading(), METER)
        assert len(rows(tmp_path / "log.csv")) == 2


@pytest.mark.parametrize("status", [Status.OVER_RANGE, Status.PEAK_OVER, Status.STALE, Status.NO_DATA | Status.INVALID])
def test_an_unusable_value_leaves_its_cell_empty_and_states_why(tmp_path: Path, status: Status) -> None:
    with CsvFile(tmp_path / "log.csv") as log:
        log(power_reading(status), METER)
    (row,) = rows(tmp_path / "log.csv")
    assert (row["active_power_W"], row["active_power_status"]) == ("", str(status))
    assert (row["voltage_V"], row["voltage_status"]) == ("230.1", "VALID")


def test_a_row_says_when_the_reading_ended_and_that_it_is_simulated(tmp_path: Path) -> None:
    with CsvFile(tmp_path / "log.csv") as log:
        log(power_reading(), METER)
    (row,) = rows(tmp_path / "log.csv")
    assert row["time_utc"] == "2023-11-14T22:13:20.373Z"
    assert "(simulated)" in row["instrument"]


def test_numbers_keep_every_digit_that_was_read(tmp_path: Path) -> None:
    with CsvFile(tmp_path / "log.csv") as log:
        log(
            PowerReading((), ElementReading(*[reading(0.1 + 0.2, u) for u in "VAW"]), SETTINGS, WINDOW, Status.VALID),
            METER,
        )
    assert float(rows(tmp_path / "log.csv")[0]["active_power_W"]) == 0.1 + 0.2


def test_an_existing_file_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("precious")
    with pytest.raises(UsageError), CsvFile(tmp_path / "log.csv"):
        pass
    assert (tmp_path / "log.csv").read_text() == "precious"


def test_json_gives_null_and_the_status_for_what_is_not_usable(capsys: pytest.CaptureFixture[str]) -> None:
    print_reading_as_json(power_reading(Status.OVER_RANGE), METER)
    sys.stdout.flush()
    (line,) = capsys.readouterr().out.splitlines()
    data = json.loads(line)
    assert data["simulated"] is True
    assert data["readings"]["active_power"] == {"value": None, "unit": "W", "status": "OVER_RANGE"}
    assert data["readings"]["voltage"]["value"] == 230.1


class Slow:
    """An instrument whose readings take longer than the time from one to the next that is asked for."""

    def __init__(self) -> None:
        self.began: list[float] = []

    def read(self) -> None:
        self.began.append(time.monotonic())
        time.sleep(0.25)


def test_a_reading_that_takes_too_long_leaves_ticks_out_and_the_next_is_on_the_grid() -> None:
    slow = Slow()
    list(_readings(slow, 0.2, 1.0))
    assert [one - slow.began[0] for one in slow.began] == pytest.approx([0.0, 0.4, 0.8], abs=0.05)
