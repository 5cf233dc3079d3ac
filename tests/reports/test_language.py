"""Both languages say the same, and all of it."""

from __future__ import annotations

import re
import string

import pytest

from aicalib_hw import definitions
from aicalib_hw.errors import UsageError
from aicalib_hw.metrology import Verdict
from aicalib_hw.readings import ValidityStatus
from aicalib_hw.reports._assumptions import STATED_AND_ASSUMED
from aicalib_hw.reports._labels import FACTS
from aicalib_hw.reports._words import WORDS
from aicalib_hw.reports.language import Words

from .pages import Page

CHINESE = re.compile(r"[\u4e00-\u9fff]")
SYMBOLS_IN_BOTH = {
    "k",
    "u over mpev",
    "expanded",
    "dof",
    "probability",
    "absolute error",
    "mpev",
    "degrees",
    "of",
    "axis value",
    "stop",
    "comma",
}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_every_word_with_the_same_fields() -> None:
    assert [key for key, (english, chinese) in WORDS.items() if fields(english) != fields(chinese)] == []
    assert [key for key, (english, _) in WORDS.items() if CHINESE.search(english)] == []
    untranslated = {key for key, (_, chinese) in WORDS.items() if not CHINESE.search(chinese)}
    assert untranslated == SYMBOLS_IN_BOTH


def test_every_label_is_there_in_both_languages() -> None:
    assert [key for key, (english, _) in FACTS.items() if not english or CHINESE.search(english)] == []
    assert [key for key, (_, chinese) in FACTS.items() if not CHINESE.search(chinese)] == []


def test_every_definition_has_a_chinese_sentence() -> None:
    for id, definition in definitions.DEFINITIONS.items():
        chinese = Words("zh").sentence(definition)
        assert CHINESE.search(chinese), f"{id} needs a sentence in aicalib_hw/reports/language.py"
        assert "{" not in chinese
        parts = id.split("/")[1].split("-accumulate-") if id.startswith("flop/") else ()
        assert all(part in chinese for part in parts)
        assert Words("en").sentence(definition) == definition.sentence


def test_what_cores_do_is_not_told_of_the_multiprocessors_of_a_device() -> None:
    for unit in ("matrix-amx-bf16", "matrix-wgmma"):
        chinese = Words("zh").sentence(definitions.require(f"flop/bf16-accumulate-fp32/{unit}/sustained"))
        assert ("所有核在公共时间窗内" in chinese) == (unit == "matrix-amx-bf16")
        assert unit.removeprefix("matrix-") in chinese


def test_every_verdict_validity_and_quantity_has_a_word() -> None:
    quantities = {"compute", "power", "energy", "network", "storage", "inference", "training", "effective_compute"}
    states = {verdict.value for verdict in Verdict} | {status.value for status in ValidityStatus}
    assert (quantities | states) <= set(WORDS)
    assert {f"rule {rule}" for rule in ("jjf1094", "nonbinary_u", "simple", "none")} <= set(WORDS)


def test_what_is_assumed_is_told_for_every_quantity_that_is_measured() -> None:
    for quantity in ("compute", "power", "energy", "network"):
        english, chinese = (Words(language).assumptions((quantity,)) for language in ("en", "zh"))
        assert len(english) == len(chinese) > len(STATED_AND_ASSUMED[""])
        assert all(CHINESE.search(cell) for row in chinese for cell in row)


def test_no_english_of_ours_is_left_in_a_chinese_report(page_zh: Page) -> None:
    own = [english for english, _ in WORDS.values() if len(english) > 14 and "{" not in english and "<" not in english]
    assert [text for text in own if text in page_zh.text] == []
    assert page_zh.root.attributes["lang"] == "zh-CN"


def test_an_english_report_holds_no_chinese(page: Page) -> None:
    assert not CHINESE.search(page.text)
    assert page.root.attributes["lang"] == "en"


def test_another_language_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"(?s)'fr'.*en, zh"):
        Words("fr")
