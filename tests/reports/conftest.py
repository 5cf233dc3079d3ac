"""Reports that are written once and looked at by many tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from aicalib_hw.records import RecordContents, read_record
from aicalib_hw.reports import write_report
from tests.records.sessions import SIMULATED_METER, Story, write_session

from .pages import Page, read_page


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="session")
def record(folder: Path) -> RecordContents:
    """A record of real equipment with every verdict of JJF 1094."""
    return read_record(write_session(folder / "real.sqlite", Story(indicated_rate=171e9)))


@pytest.fixture(scope="session")
def page(folder: Path, record: RecordContents) -> Page:
    return read_page(write_report(record.path, folder / "real.html"))


@pytest.fixture(scope="session")
def page_zh(folder: Path, record: RecordContents) -> Page:
    return read_page(write_report(record.path, folder / "real-zh.html", language="zh"))


@pytest.fixture(scope="session")
def simulated(folder: Path) -> Page:
    path = write_session(folder / "simulated.sqlite", Story(meter=SIMULATED_METER, certificate=None))
    return read_page(write_report(path, folder / "simulated.html"))


@pytest.fixture(scope="session")
def simulated_zh(folder: Path, simulated: Page) -> Page:
    return read_page(write_report(folder / "simulated.sqlite", folder / "simulated-zh.html", language="zh"))
