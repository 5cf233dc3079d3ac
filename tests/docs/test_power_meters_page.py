"""The table of power meter families is made from the drivers themselves when the page is built, and leaves none out."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from aicalib_hw import registry

from .pages import ROOT

PAGE = ROOT / "docs/reference/power-meters.md"
METERS = sorted(name for name, kind in registry.drivers().items() if kind.DRIVER.role == "power_meter")


def extension() -> ModuleType:
    """The extension that makes the table; the same file that Sphinx loads."""
    path = ROOT / "docs/_extensions/power_meters.py"
    spec = importlib.util.spec_from_file_location("power_meters", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_a_place_for_the_table_and_sphinx_fills_it() -> None:
    assert PAGE.read_text(encoding="utf-8").count(extension().MARK) == 1
    assert '"power_meters"' in (ROOT / "docs/conf.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METERS)
def test_range_status_energy_and_uncertainty_of_a_family_are_shown_or_said_to_be_without_facts(name: str) -> None:
    made = extension()
    kind = registry.driver(name)
    cells = dict(zip(made.HEAD, made.row(kind), strict=True))
    assert cells["driver"] == f"`{name}`"
    assert all(cells.values())
    assert not any("|" in cell or "\n" in cell for cell in cells.values())
    assert name in made.FOREIGN or cells["read by others"] in ("none found", "no simulator to show it")
    if kind.DRIVER.simulator:
        assert cells["status"].startswith("over-range: ") or "instead of a number" in cells["status"]
    else:
        assert cells["status"] == "no simulator to show it"
