"""The page of network testers shows the table that the drivers give, and says what is not supported."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

from aicalib_hw import registry

from .pages import ROOT


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = ROOT / "docs" / "_extensions" / "network_testers.py"
    spec = importlib.util.spec_from_file_location("network_testers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_present_table(generator: Any) -> None:
    text = generator.PAGE.read_text(encoding="utf-8")
    assert generator.with_table(text) == text, "run: python docs/_extensions/network_testers.py"


def test_every_driver_of_a_tester_has_a_row_and_what_it_rests_on(generator: Any) -> None:
    text = generator.PAGE.read_text(encoding="utf-8")
    names = [name for name, kind in registry.drivers().items() if kind.DRIVER.role == "network_tester"]
    assert len(names) >= 5
    gates = text.partition("## What a rate says")[2].partition("## When")[0]
    for name in names:
        assert text.count(f"| `{name}` |") >= 2
        assert f"| `{name}` |" in gates


@pytest.mark.parametrize("maker", ["VIAVI", "Spirent", "Anritsu", "EXFO", "perftest"])
def test_what_is_not_driven_is_said(generator: Any, maker: str) -> None:
    rows = [line for line in generator.table().splitlines() if maker in line]
    assert len(rows) == 1
    assert "not in this version" in rows[0]
