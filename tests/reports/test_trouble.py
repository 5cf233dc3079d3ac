"""Reports of sessions that went wrong, of records that were touched, and of words that mean harm."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aicalib_hw.errors import Aborted, ConnectionLost, RecordError, UsageError
from aicalib_hw.identity import Certificate
from aicalib_hw.metrology.decision import decide
from aicalib_hw.metrology.result import Calibration, Indication, PermissibleError
from aicalib_hw.readings import Validity, ValidityStatus
from aicalib_hw.records import Record
from aicalib_hw.reports import write_report
from tests.records.sessions import (
    BENCH,
    PLAN,
    Story,
    compute,
    decided,
    power,
    power_series,
    write_equipment,
    write_session,
)
from tests.records.test_seal import change

from .pages import read_page


def begin(path: Path, *, title: str = "Server 42", bench: dict[str, object] | None = None) -> Record:
    return Record.create(path, title=title, bench=bench or BENCH, rule="jjf1094", plan=PLAN)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Aborted("the calibration was stopped"), "ABORTED – the session was stopped before its end"),
        (ConnectionLost("the meter is gone"), "ENDED BY AN ERROR"),
    ],
)
def test_a_session_cut_short_says_so_and_shows_what_there_is(tmp_path: Path, error: Exception, said: str) -> None:
    story = Story()

    def session() -> None:
        with begin(tmp_path / "a.sqlite") as record:
            write_equipment(record, story)
            record.calibration(compute(story))
            for result in power(story).results[:2]:
                record.result(result)
            record.measurement(power(story).results[2].measurement)
            raise error

    with pytest.raises(type(error)):
        session()
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    assert said in page.text
    assert str(error.args[0]) in page.section("session").text
    assert "120.05\u00a0±" in page.source.replace(" ", "\u00a0")
    assert "not measured to its end" in page.section("q2").text
    assert "299.87" in page.section("other").text


def test_a_session_that_broke_off_has_a_report_without_seal(tmp_path: Path) -> None:
    with begin(tmp_path / "a.sqlite") as record:
        record.calibration(compute(Story()))
        page = read_page(write_report(record.path, tmp_path / "a.html", language="zh"))
    assert "不完整" in page.text
    assert "无：测量过程意外中断" in page.section("seal").text


def test_a_session_in_which_nothing_was_measured_has_a_report(tmp_path: Path) -> None:
    with begin(tmp_path / "a.sqlite"):
        pass
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    assert "No result was obtained in this session." in page.section("summary").text


def test_a_value_that_is_not_valid_is_crossed_out(tmp_path: Path) -> None:
    result = compute(Story(indicated_rate=170e9)).results[0]
    void = replace(result, validity=Validity(ValidityStatus.INVALID, ("the host was busy",)))
    with begin(tmp_path / "a.sqlite") as record:
        record.result(void)
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    crossed = [element.text for element in page.section("summary").all("s")]
    assert [text.replace("\u00a0", " ") for text in crossed] == ["170.01 ± 0.12 GFLOP/s"]
    assert "INVALID" in page.section("summary").text
    assert "PASS" not in page.section("summary").all("table")[0].text
    assert "the host was busy" in page.text


def test_a_record_that_was_touched_is_shown_to_be(tmp_path: Path) -> None:
    path = write_session(tmp_path / "a.sqlite")
    change(path, "UPDATE result SET data = replace(data, 'FAIL', 'PASS')")
    page = read_page(write_report(path, tmp_path / "a.html"))
    alarm = page.text.partition("CHANGED – the record is not as it was written")[2]
    assert "result 4 has been changed" in alarm[:200]


def test_words_from_outside_stay_words(tmp_path: Path) -> None:
    harm = "</style></title><script>alert(1)</script><img src=http://example.org/x>\"';}*{display:none}"
    with begin(tmp_path / "a.sqlite", title=harm, bench={"bench": {"name": harm, "description": harm}}) as record:
        record.event(harm, **{harm: harm})
        calibration = compute(Story())
        record.calibration(replace(calibration, notes=(harm,), results=(replace(calibration.results[0], title=harm),)))
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    assert page.root.all("h1")[0].text == harm
    assert page.root.all("script") == []
    assert len(page.root.all("style")) == 1
    assert all(image.attributes["src"].startswith("data:") for image in page.root.all("img"))


def test_an_expired_certificate_is_flagged(tmp_path: Path) -> None:
    old = Certificate("2001-1", "An institute", "2001-01-01", "2002-01-01", "")
    path = write_session(tmp_path / "a.sqlite", Story(certificate=old))
    page = read_page(write_report(path, tmp_path / "a.html"))
    assert "⚠ expired at the time of use" in page.section("equipment").text


def test_a_channel_of_no_quantity_is_shown_all_the_same(tmp_path: Path) -> None:
    samples = replace(power_series(Story()), header={"quantity": "temperature", "unit": "degC"})
    with begin(tmp_path / "a.sqlite") as record:
        record.series("inlet air", samples)
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    assert "inlet air over time" in page.section("channels").text


def test_reporting_leaves_the_record_as_it_is_and_replaces_an_older_report(tmp_path: Path) -> None:
    path = write_session(tmp_path / "a.sqlite")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "a.html").write_text("an older report")
    assert write_report(path, tmp_path / "a.html") == tmp_path / "a.html"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert (tmp_path / "a.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "a.sqlite"]


def test_what_cannot_be_done_is_said_with_path_and_choice(tmp_path: Path) -> None:
    path = write_session(tmp_path / "a.sqlite")
    with pytest.raises(RecordError, match=r"(?s)nowhere.*can be written"):
        write_report(path, tmp_path / "nowhere" / "a.html")
    with pytest.raises(UsageError, match="en, zh"):
        write_report(path, tmp_path / "a.html", language="de")
    with pytest.raises(RecordError, match="there is no record"):
        write_report(tmp_path / "b.sqlite", tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_a_missing_library_is_one_sentence_with_the_command_that_installs_it(tmp_path: Path, library: str) -> None:
    path = write_session(tmp_path / "a.sqlite")
    said = python(
        f"import sys; sys.modules[{library!r}] = None\n"
        "from aicalib_hw.errors import MissingExtra\n"
        "from aicalib_hw.reports import write_report\n"
        f"try: write_report({str(path)!r}, {str(tmp_path / 'a.html')!r})\n"
        "except MissingExtra as error: print(error)"
    )
    assert library in said
    assert 'pip install "aicalib-hw[reports]"' in said


def test_importing_reports_and_records_costs_little() -> None:
    heavy = ("jinja2", "matplotlib", "numpy", "pydantic", "pyvisa", "GTC")
    said = python(
        f"import aicalib_hw.reports, aicalib_hw.records, sys; print(*[n for n in {heavy} if n in sys.modules])"
    )
    assert said.split() == []


def test_a_session_without_valid_results_says_so_first_and_why(tmp_path: Path) -> None:
    story = Story(indicated_rate=170e9)
    why = "24 of 60 parts of the run were disturbed and not used: end other programs, and repeat"
    void = Validity(ValidityStatus.INVALID, (why,))

    def refused(calibration: Calibration) -> Calibration:
        results = []
        for result in calibration.results:
            runs = tuple(replace(run, used=False, reasons=(why,)) for run in result.measurement.runs)
            measured = replace(result.measurement, runs=runs, validity=void)
            results.append(replace(result, measurement=measured, evaluation=None, validity=void))
        return replace(calibration, results=tuple(results))

    with begin(tmp_path / "a.sqlite") as record:
        record.calibration(refused(compute(story)))
        record.series("meter: active power", power_series(story))
        record.calibration(refused(power(story)))
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    assert page.text.index("6 of 6 RESULTS NOT VALID") < page.text.index("Summary")
    assert "6 of 6 NOT VALID" in page.section("session").text
    assert why in page.section("summary").text
    for section in (page.section("q1"), page.section("q2")):
        assert "Not decided, as not valid: " in section.text
        assert "No decision was due" not in section.text
        assert "None: no point is valid" in section.text
    assert "none of which was used" in page.section("q2").text
    assert "shaded" not in page.section("q2").text
    chinese = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "zh.html", language="zh"))
    assert "6 项结果中 6 项无效" in chinese.text


@pytest.mark.parametrize(("language", "one", "two"), [("en", "note1", "notes2,3"), ("zh", "说明1", "说明2、3")])
def test_a_value_in_the_summary_leads_to_the_notes_that_qualify_it(
    tmp_path: Path, language: str, one: str, two: str
) -> None:
    said = ("25% load; 50% load: the window is short", "50% load: busy host")
    with begin(tmp_path / "a.sqlite") as record:
        record.calibration(compute(Story()))
        record.calibration(replace(power(Story()), notes=said))
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html", language=language))
    marked = {row.all("th")[0].text: row.all("a") for row in page.section("summary").all("tr") if row.all("a")}
    assert [[link.attributes["href"] for link in links] for links in marked.values()] == [
        ["#note-1"],  # of the whole quantity, in its heading
        ["#note-2"],
        ["#note-2", "#note-3"],
    ]
    shown = ["".join(head.split()) for head in marked]
    assert [shown[0].endswith(one), shown[2].endswith(two)] == [True, True], shown
    lists = page.root.all("ol")
    assert [each.attributes["start"] for each in lists] == ["1", "2"]
    assert {note.attributes["id"]: " ".join(note.text.split()) for each in lists for note in each.all("li")} == {
        "note-1": "Two physical cores.",
        "note-2": "25 % load; 50 % load: the window is short",
        "note-3": "50 % load: busy host",
    }


def test_an_error_without_a_limit_names_no_limit(tmp_path: Path) -> None:
    (rate,) = compute(Story(indicated_rate=171e9)).results
    decision = decide(rate.evaluation, rate.indication, None, "jjf1094", quantity="compute")
    with begin(tmp_path / "a.sqlite") as record:
        record.calibration(
            replace(compute(Story()), results=(replace(rate, permissible_error=None, decision=decision),))
        )
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    assert "add [permissible_errors.compute] to the bench file" in page.section("q1").text
    assert "MPE —" not in page.section("q1").text


def test_an_indication_in_watt_hours_is_shown_as_it_was_declared_too(tmp_path: Path) -> None:
    (rate,) = compute(Story()).results
    runs = tuple(replace(run, value=value) for run, value in zip(rate.measurement.runs, (60.9e3, 61.1e3), strict=False))
    energy = replace(rate.measurement, definition="energy/active/meter-integrator", value=61e3, unit="J", runs=runs)
    result = decided(energy, "energy", PermissibleError(0.05, "relative", "draft"), Indication(61920, "J", "BMC"))
    declared = replace(result, quantity="energy", indication=Indication(0.0172, "kWh", "BMC"))
    with begin(tmp_path / "a.sqlite") as record:
        record.calibration(Calibration("energy", (declared,)))
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    (row,) = (row for row in page.section("summary").all("table")[0].rows() if row[0] == "energy")
    assert " ".join(row[3].split()) == "61.92 kJ 0.0172 kWh"
    assert "Indication: 0.0172\u00a0kWh, BMC; MPE" in page.section("q1").text


def test_what_was_said_of_clocks_stands_in_the_order_of_time(tmp_path: Path) -> None:
    def said(at: int) -> dict[str, object]:
        return {"at": {"utc_ns": at * 10**9}, "synchronised": True, "source": f"host at {at}"}

    (rate,) = compute(Story()).results
    evidence = {**rate.measurement.evidence, "clock_after": said(30)}
    late = replace(rate, measurement=replace(rate.measurement, evidence=evidence))
    with begin(tmp_path / "a.sqlite") as record:
        record.event("clock", begin=said(20))
        record.event("clock", end=said(40), begin=said(10))
        record.calibration(replace(compute(Story()), results=(late,)))
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    rows = page.section("environment").all("table")[0].rows()[1:]
    assert [row[-1] for row in rows] == ["host at 10", "host at 20", "host at 30", "host at 40"]


def test_a_report_has_one_form_of_per_cent(tmp_path: Path) -> None:
    said = ("other programs held more than 10% of this host", "50%: kept")
    with begin(tmp_path / "a.sqlite") as record:
        record.event("warning", message="12.5% of a core", place="http://host/a1%20b")
        record.calibration(replace(power(Story()), notes=tuple(f"25% load: {text}" for text in said)))
    page = read_page(write_report(tmp_path / "a.sqlite", tmp_path / "a.html"))
    for part in ("25 % load: other programs held more than 10 % of this host", "50 %: kept", "12.5 % of a core"):
        assert part in page.text
    assert "http://host/a1%20b" in page.text
    assert re.findall(r"\d%(?!\w)", page.text) == []
    assert page.section("summary").all("a")


def test_windows_of_runs_that_were_not_used_are_told_from_the_others(tmp_path: Path) -> None:
    page = read_page(write_report(write_session(tmp_path / "a.sqlite"), tmp_path / "a.html"))
    assert "hatched: the" in page.section("q2").text
    assert "RESULTS NOT VALID" in page.text  # one point of the story is not valid
    sound = Story(invalid_load=None)
    page = read_page(write_report(write_session(tmp_path / "b.sqlite", sound), tmp_path / "b.html"))
    assert "shaded: the runs that were used" in page.section("q2").text
    assert "NOT VALID" not in page.text
