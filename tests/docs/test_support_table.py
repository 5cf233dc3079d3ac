"""The page of accelerators shows the table that the drivers give, and a device's capabilities stand in it."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw import registry

from .pages import ROOT


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("support_table", ROOT / "docs" / "_extensions" / "support_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_present_table(generator: Any) -> None:
    text = generator.PAGE.read_text(encoding="utf-8")
    assert generator.with_table(text) == text, "run: python docs/_extensions/support_table.py"
    for maker in ("AMD", "Cambricon"):
        assert any(maker in line and "not supported" in line for line in text.splitlines())


def test_all_that_opened_devices_can_do_stands_in_the_table(generator: Any) -> None:
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in generator.table().splitlines()]
    world = registry.simulator(registry.WORLD).from_settings({"rate": 0, "seed": 1})
    gpus = [registry.simulator("nvidia")(world, model, model=model) for model in ("h100", "a100")]
    world.start()
    try:
        for address in ("cpu://local", "opencl://0/0", *(gpu.start() for gpu in gpus)):
            with hw.open_instrument(address) as device:
                supports = device.capabilities.supports
                assert supports
                for one in supports:
                    wanted = [device.DRIVER.name, one.path, one.precision, one.accumulator, one.implementation]
                    assert any(row[:5] == wanted for row in rows), wanted
    finally:
        world.stop()
