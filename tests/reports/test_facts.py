"""Evidence is shown with units, and what is fixed vocabulary in the language of the report."""

from __future__ import annotations

from typing import Any

import pytest

from aicalib_hw.reports.facts import facts, tables
from aicalib_hw.reports.language import Words

EN, ZH = Words("en"), Words("zh")


def told(evidence: dict[str, Any], unit: str = "FLOP/s") -> str:
    return " | ".join(text for line in facts([evidence], unit, EN) for text in line.texts).replace("\u00a0", " ")


def test_rates_of_devices_are_in_the_unit_of_the_result() -> None:
    assert told({"device_rates": [[7.23942e13, 7.24e13]]}) == "72.394 TFLOP/s, 72.4 TFLOP/s"


def test_what_a_mapping_holds_has_the_unit_that_the_mapping_names() -> None:
    assert told({"energy_J": {"integral": 6344.97}}) == "by integrated power: 6.345 kJ"
    (table,) = tables({"energy_J": [{"integral": 6344.97}, {"integral": 500.0, "time_s": 2.0}]}, "FLOP/s", EN)
    assert [[cell.replace("\u00a0", " ") for cell in row] for row in table.rows] == [
        ["6.345 kJ", "—"],
        ["500 J", "2 s"],
    ]


def test_a_theoretical_peak_that_nobody_knows_is_said_to_be_unknown() -> None:
    text = told({"theoretical_nominal_clock": {"value": None, "unit": "FLOP/s", "formula": "cores x clock"}})
    assert text == "not known; formula: cores x clock"


@pytest.mark.parametrize(
    ("title", "chinese"),
    [
        ("sequential read, 1 MiB", "顺序读，1 MiB"),
        ("local to remote, layer 4", "本机至对端，第 4 层"),
        ("0/0 to 0/1, 1518 B", "0/0 至 0/1，1518 B"),
        ("fp32 sustained, 8 accelerators together", "fp32 持续，8 个加速器合计"),
        ("fp32 sustained, 8 nvidia accelerators together", "fp32 持续，8 个 nvidia 加速器合计"),
        ("40 at a time, 64 + 32 tokens", "并发 40，64 + 32 token"),
        ("batch of 16 × 4096 tokens", "批量 16 × 4096 token"),
        ("of somebody else, quite another", "of somebody else，quite another"),
    ],
)
def test_the_names_of_points_are_put_into_chinese_as_far_as_they_are_fixed(title: str, chinese: str) -> None:
    assert ZH.title(title) == chinese
    assert EN.title(title) == title


def test_the_names_of_components_are_put_into_chinese() -> None:
    assert (ZH.component("time base"), EN.component("time base")) == ("时基", "time base")
    assert ZH.component("of another driver") == "of another driver"
