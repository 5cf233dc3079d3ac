"""Whatever simulator is opened by its bare address: its mark is in the identity, in the record and on the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from aicalib_hw import registry
from aicalib_hw._plain import to_plain
from aicalib_hw.records import Record, read_record
from aicalib_hw.reports import write_report

from .pages import read_page

WITH_SIMULATOR = sorted(name for name, kind in registry.drivers().items() if kind.DRIVER.simulator)
BANNER = {"en": "SIMULATED", "zh": "仿真"}
NO_CERTIFICATE = {
    "en": "This is a measurement report, not a calibration certificate.",
    "zh": "不是校准证书",
}


@pytest.mark.parametrize("name", WITH_SIMULATOR)
def test_one_simulated_source_marks_record_and_report_and_there_is_no_certificate(name: str, tmp_path: Path) -> None:
    kind = registry.driver(name)
    world = registry.simulator(registry.WORLD).from_settings({"rate": 20})
    simulator = registry.simulator(kind.DRIVER.simulator)(world, name)
    world.start()
    simulator.start()
    try:
        with kind(simulator.address) as instrument:
            identity = instrument.identity
    finally:
        simulator.stop()
        world.stop()
    assert identity.simulated
    path = tmp_path / "record.sqlite"
    with Record.create(path, title="One source", bench={"bench": {"name": "one"}}, rule="none", plan={}) as record:
        record.equipment("it", identity, driver=to_plain(kind.DRIVER), snapshot={})
    contents = read_record(path)
    assert contents.simulated
    assert contents.simulated_identities == (identity,)
    for language, banner in BANNER.items():
        page = read_page(write_report(path, tmp_path / f"{language}.html", language=language))
        assert banner in page.text
        assert NO_CERTIFICATE[language] in page.text
