"""What a report shows, and what it can never be taken for."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
import xml.etree.ElementTree as ET

import pytest

from aicalib_hw._bench_file import IndicationEntry
from aicalib_hw.identity import Identity
from aicalib_hw.records import RecordContents
from aicalib_hw.reports.session import _each_once
from tests.records.sessions import CERTIFICATE, CPU, LOADS, SIMULATED_METER

from .pages import Element, Page

BANNER = "SIMULATED – not a calibration of real equipment"
BANNER_ZH = "仿真数据 – 不是对真实设备的校准"
NUMBER_WITH_UNIT = re.compile(r"[\d ](W|kW|%|GFLOP/s|TFLOP/s)\b|%")


def spaced(text: str) -> str:
    return " ".join(text.split())


def summary(page: Page) -> list[list[str]]:
    return [[spaced(cell) for cell in row] for row in page.section("summary").all("table")[0].rows()]


@pytest.mark.parametrize("which", ["page", "page_zh", "simulated", "simulated_zh"])
def test_nothing_comes_from_outside(which: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(which)
    assert page.root.all("script") + page.root.all("link") + page.root.all("iframe") == []
    addresses = [
        element.attributes[name]
        for tag in ("a", "img", "source", "form", "object")
        for element in page.root.all(tag)
        for name in ("href", "src", "data", "action")
        if name in element.attributes
    ]
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    style = "".join(element.text for element in page.root.all("style"))
    assert not re.search(r"url\(|@import|expression", style)
    assert "http" not in re.sub(r"data:[^\"]*", "", page.source).replace('http-equiv="Content-Security-Policy"', "")


def test_links_inside_the_page_lead_somewhere(page: Page) -> None:
    ids = [one.attributes["id"] for tag in ("section", "li") for one in page.root.all(tag) if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    assert {link.attributes["href"][1:] for link in page.root.all("a")} <= set(ids)


@pytest.mark.parametrize("which", ["page", "page_zh"])
def test_tables_have_heads_and_pictures_have_words(which: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(which)
    tables, pictures = page.root.all("table"), page.root.all("img")
    assert len(tables) > 10
    assert all(table.all("th") for table in tables)
    assert all(head.attributes.get("scope") for table in tables for head in table.all("th"))
    assert len(pictures) == 5
    assert all(len(picture.attributes["alt"]) > 30 for picture in pictures)
    assert len(page.root.all("h1")) == 1


def test_every_row_of_a_table_fills_it(page: Page) -> None:
    for table in page.root.all("table"):
        widths = []
        hanging = 0
        for row in table.all("tr"):
            cells = [cell for cell in row.content if isinstance(cell, Element)]
            widths.append(sum(int(cell.attributes.get("colspan", 1)) for cell in cells) + (hanging > 0))
            hanging = max([hanging - 1, *(int(cell.attributes.get("rowspan", 1)) - 1 for cell in cells)])
        assert len(set(widths)) == 1, (table.rows()[0], widths)


def test_each_result_stands_in_the_summary_with_unit_k_limit_and_verdict(page: Page) -> None:
    rows = {row[0]: row[1:] for row in summary(page) if len(row) == 8}
    assert rows["0 % load"] == ["120.05 ± 0.39 W", "2.00", "121 W", "+0.95 W (+0.79 %)", "±5 %", "6.6 %", "✓ PASS"]
    assert rows["25 % load"][-2:] == ["45 % > 1/3", "? INDETERMINATE"]
    assert rows["50 % load"][3] == "+17.13 W (+5.71 %)"
    assert rows["50 % load"][-1] == "✗ FAIL"
    assert rows["75 % load"][0] == "—"
    assert rows["75 % load"][-1] == "⊘ INVALID"
    assert rows["100 % load"][-1] == "○ NOT EVALUATED"
    assert rows["fp32, sustained"][0] == "170.01 ± 0.12 GFLOP/s"
    assert rows["fp32, sustained"][-1] == "✓ PASS"


@pytest.mark.parametrize("which", ["page", "page_zh"])
def test_no_number_of_the_summary_lacks_its_unit(which: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(which)
    cells = [cell for row in summary(page) if len(row) == 8 for cell in (row[1], *row[3:7]) if re.search(r"\d", cell)]
    assert len(cells) > 15
    assert [cell for cell in cells if not NUMBER_WITH_UNIT.search(cell)] == []


def test_a_definition_is_told_with_sentence_formula_and_source(page: Page, page_zh: Page) -> None:
    assert "flop/fp32-accumulate-fp32/vector/sustained" in page.section("q1").text
    assert "all operations of all cores over their common window" in page.section("q1").text
    assert "P = sum(P_i) / n" in page.section("q2").text
    assert "所有核在公共时间窗内的全部运算" in page_zh.section("q1").text


def test_budgets_are_there_with_shares_that_add_up(page: Page, record: RecordContents) -> None:
    budgets = [table for table in page.root.all("table") if "budget" in table.attributes.get("class", "")]
    assert len(budgets) == sum(result.evaluation is not None for result in record.results) == 5
    for table in budgets:
        shares = [float(cell.removesuffix("%")) for row in table.rows() for cell in row if cell.endswith("\u00a0%")]
        assert sum(shares) == pytest.approx(100.0, abs=0.3)
    accuracy = spaced(" ".join(" ".join(row) for row in budgets[1].rows()))
    assert "accuracy of range B rectangular 0.17 W ∞" in accuracy
    assert "manual, 0.05 % of range" in accuracy


def test_runs_that_were_not_used_are_shown_with_their_reason(page: Page) -> None:
    assert "✗ no" in page.section("q1").text
    assert "slices ran 1.07 times as long as the clock allows" in page.section("q1").text
    assert "PEAK_OVER in 4 of 60 updates" in page.section("q2").text


def test_a_missing_indication_comes_with_lines_that_a_bench_file_takes(page: Page) -> None:
    (snippet,) = (element.text for element in page.section("summary").all("pre"))
    declared = tomllib.loads(snippet.replace("…", "480.0", 1))
    (entry,) = (IndicationEntry.model_validate(one) for one in declared["indications"])
    assert (entry.quantity, entry.load, entry.unit) == ("power", LOADS[-1], "W")
    assert "Power draw (100 % load)" in spaced(page.section("summary").text)


def test_what_was_measured_beside_names_its_source(page: Page) -> None:
    beside = [row for table in page.section("q1").all("table") for row in table.rows() if "/peak" in row[0]]
    assert [CPU.address in row[0] for row in beside] == [True]


def test_equipment_is_listed_with_certificate_settings_and_address(page: Page) -> None:
    text = spaced(page.section("equipment").text)
    for part in ("WT310E", "C3SB12345V", "F1.04", "TCPIP::192.168.1.7::INSTR", "yokogawa-wt300", "Xeon Platinum 8581C"):
        assert part in text
    for part in (CERTIFICATE.number, CERTIFICATE.issuer, "2030-01-11", "−0.11 W", "update interval 0.25 s read back"):
        assert part in text
    assert "expired" not in text


def test_software_clocks_events_and_assumptions_are_told(page: Page, record: RecordContents) -> None:
    environment, events = page.section("environment").text, page.section("events").text
    assert "aicalib-hw" in environment
    assert "Python" in environment
    assert re.search(r"[+−][\d.]+\u00a0ms", environment)
    assert "another program took 3 % of a core during run 4" in spaced(events)
    assert "⚠" in events
    assert "under different compute loads" in page.section("assumptions").text.lower()
    assert record.code


def test_the_seal_of_the_record_can_be_compared(page: Page, record: RecordContents) -> None:
    text = page.section("seal").text
    assert record.seal in text
    assert hashlib.sha256(record.path.read_bytes()).hexdigest() in text
    assert "every row, event and digest is as it was written" in text


def test_plots_are_pictures_that_stand_alone(page: Page, page_zh: Page) -> None:
    for one, label in ((page, "Load achieved in %"), (page_zh, "实际负载 / %")):
        texts = []
        for picture in one.root.all("img"):
            content = base64.b64decode(picture.attributes["src"].partition(",")[2])
            root = ET.fromstring(content)
            assert root.tag.endswith("svg")
            texts.append("".join(root.itertext()))
            references = [value for node in root.iter() for name, value in node.attrib.items() if name.endswith("href")]
            assert all(value.startswith(("#", "data:")) for value in references)
        assert any(label in text for text in texts)


def test_a_plot_is_told_in_words_with_its_numbers(page: Page) -> None:
    texts = [spaced(picture.attributes["alt"]) for picture in page.root.all("img")]
    assert any("100 %: 479.90 ± 0.69 W" in text and "75" not in text for text in texts)
    assert any("400 samples, 1 of them without value" in text for text in texts)


@pytest.mark.parametrize("which", ["page", "simulated"])
def test_it_always_says_that_it_is_no_certificate(which: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(which)
    assert page.text.count("This is a measurement report, not a calibration certificate.") == 2


def test_a_chinese_report_says_so_too(page_zh: Page) -> None:
    assert page_zh.text.count("本文件为测量报告，不是校准证书。") == 2


def test_simulated_sources_cannot_be_overlooked(simulated: Page, simulated_zh: Page) -> None:
    for page, banner, word in ((simulated, BANNER, "SIMULATED"), (simulated_zh, BANNER_ZH, "仿真")):
        assert banner in page.text
        assert SIMULATED_METER.serial in page.text.partition(banner)[2][:400]
        rows = [row for row in summary(page) if len(row) == 8]
        assert [row[0].endswith(word) for row in rows[1:]] == [False] + [True] * 5
        assert f"{page.section('equipment').text}".count(word) == 1
        style = "".join(element.text for element in page.root.all("style"))
        assert "@top-center" in style
        assert "\\002013" in style


def test_real_equipment_carries_no_mark(page: Page, page_zh: Page) -> None:
    assert "SIMULATED" not in page.source
    assert "仿真" not in page_zh.source
    assert "@top-center" not in page.source


def test_devices_that_were_measured_together_are_listed_by_themselves_alone() -> None:
    one, other = (Identity("maker", "npu", f"SIM{n}", "", f"ascend://{n}/0") for n in (0, 1))
    both = Identity("maker", "2 accelerators: npu", "SIM0 SIM1", "", "ascend://0/0 ascend://1/0")
    far = Identity("maker", "2 accelerators: npu", "SIM0 SIM9", "", "ascend://0/0 ascend://9/0")
    assert _each_once([one, other, both, far]) == [one, other, far]
