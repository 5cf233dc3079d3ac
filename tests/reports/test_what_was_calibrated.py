"""A report begins with what was calibrated and under what ambient conditions, as the bench file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aicalib_hw as hw
from aicalib_hw.cli._session import Session
from aicalib_hw.records import RecordContents, export_json_lines, read_record
from aicalib_hw.reports import write_report

from .pages import Page, read_page

BENCH = """
[bench]
name = "lab-3"

[instruments.meter]
driver = "yokogawa-wt300"
simulator = "yokogawa-wt300"
"""

PLATFORM = '[platform]\nmaker = "Example"\nmodel = "GX-8"\nserial_number = "0042"\nlocation = "room <204>"\n'
ENVIRONMENT = '[environment]\ntemperature = -3.5\nhumidity = 45\nsource = "thermo-hygrometer of the room"\n'


def recorded(folder: Path, *tables: str) -> RecordContents:
    """The record of a session of this bench that measures nothing."""
    path = folder / "lab-3.toml"
    path.write_text("\n".join((BENCH, *tables)), encoding="utf-8")
    with hw.open_bench(path) as bench:
        session = Session(bench, {}, record=folder / "a.sqlite", plan={}, progress=lambda *_: None)
        session.run()
    assert session.error is None
    return read_record(folder / "a.sqlite")


def top(page: Page) -> str:
    (header,) = page.root.all("header")
    return " ".join(header.text.split())


@pytest.mark.parametrize(
    ("language", "platform", "ambient"),
    [
        (
            "en",
            "Platform Example GX-8, serial number 0042, room <204>",
            "Ambient conditions −3.5 °C, 45 % relative humidity, source: thermo-hygrometer of the room",
        ),
        (
            "zh",
            "被校平台 Example GX-8、编号 0042、room <204>",
            "环境条件 −3.5 °C、相对湿度 45 %、来源：thermo-hygrometer of the room",
        ),
    ],
)
def test_what_the_bench_file_names_stands_at_the_top(
    tmp_path: Path, language: str, platform: str, ambient: str
) -> None:
    record = recorded(tmp_path, PLATFORM, ENVIRONMENT)
    shown = top(read_page(write_report(record.path, tmp_path / "a.html", language=language)))
    assert platform in shown
    assert ambient in shown


def test_what_is_given_in_part_is_told_in_part(tmp_path: Path) -> None:
    record = recorded(tmp_path, '[platform]\nmodel = "GX-8"', '[environment]\ntemperature = 23\nsource = "BMC"')
    shown = top(read_page(write_report(record.path, tmp_path / "a.html")))
    assert "Platform GX-8 Ambient conditions 23 °C, source: BMC This" in shown


@pytest.mark.parametrize(
    ("which", "platform", "ambient"),
    [
        (
            "page",
            "Platform not named in the bench file",
            "Ambient conditions not recorded; those of the data sheets are assumed",
        ),
        ("page_zh", "被校平台 校准台文件未写明", "环境条件 未记录；假定符合数据手册规定的条件"),
    ],
)
def test_what_is_missing_is_said_to_be(which: str, platform: str, ambient: str, request: pytest.FixtureRequest) -> None:
    shown = top(request.getfixturevalue(which))
    assert platform in shown
    assert ambient in shown


def test_the_session_line_of_an_export_has_both(tmp_path: Path) -> None:
    def session(*tables: str) -> dict[str, object]:
        lines = export_json_lines(recorded(tmp_path, *tables), tmp_path / "a.jsonl").read_text(encoding="utf-8")
        (tmp_path / "a.sqlite").unlink()
        return dict(json.loads(lines.splitlines()[0]))

    told = session(PLATFORM, ENVIRONMENT)
    assert told["platform"] == {"maker": "Example", "model": "GX-8", "serial_number": "0042", "location": "room <204>"}
    assert told["environment"] == {"temperature": -3.5, "humidity": 45.0, "source": "thermo-hygrometer of the room"}
    told = session()
    assert (told["platform"], told["environment"]) == (None, None)
