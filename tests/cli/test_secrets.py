"""A password in an address is used, and shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import aicalib_hw as hw
from aicalib_hw import registry
from aicalib_hw.cli import _problems
from aicalib_hw.cli._session import Session
from aicalib_hw.errors import LockedByOther
from aicalib_hw.trace import redacted

BENCH = """
[bench]
name = "port"
[instruments.tester]
driver = "xena"
address = "{address}"
"""


def test_a_password_in_a_bench_file_reaches_no_record(tmp_path: Path) -> None:
    world = registry.simulator(registry.WORLD).from_settings({"rate": 1})
    chassis = registry.simulator("xena")(world, "xena", password="open-sesame")
    world.start()
    chassis.start()
    try:
        path = tmp_path / "port.toml"
        path.write_text(BENCH.format(address=f"{chassis.address}&password=open-sesame"))
        record = tmp_path / "record.sqlite"
        with hw.open_bench(path) as bench:
            session = Session(bench, {}, record=record, plan={}, progress=lambda *_: None)
            session.run()
        assert session.error is None
        assert b"sesame" not in record.read_bytes()
    finally:
        chassis.stop()
        world.stop()


def test_a_password_in_an_address_is_not_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    address = "xena://192.0.2.7:22611?password=open-sesame&ports=0/0"
    _problems.show(LockedByOther("port 0/0 is reserved by other", where=address))
    shown = "".join(capsys.readouterr())
    assert "192.0.2.7" in shown
    assert "sesame" not in shown
    assert redacted(address) == "xena://192.0.2.7:22611?password=[redacted]&ports=0/0"
