"""The last words of a calibration whose results are not valid: how many, why, and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from aicalib_hw.cli._results import conclusion, how_to_declare, table_of
from aicalib_hw.metrology.decision import decide
from aicalib_hw.metrology.indications import NAMES_NO_DRIVER
from aicalib_hw.metrology.result import Calibration, Indication, Rule
from aicalib_hw.readings import Validity, ValidityStatus
from tests.records.sessions import Story, compute, power

BUSY = "24 of 60 parts of the run were disturbed and not used: end other programs, and repeat"


def refused(calibration: Calibration, *reasons: str) -> Calibration:
    void = Validity(ValidityStatus.INVALID, reasons)
    return replace(calibration, results=tuple(replace(one, validity=void) for one in calibration.results))


def sound() -> list[Calibration]:
    story = Story(invalid_load=None)
    return [compute(story), power(story)]


def test_valid_results_need_no_last_words() -> None:
    assert conclusion(sound()) == ""


def test_a_busy_host_is_named_with_what_to_do() -> None:
    rate, drawn = sound()
    assert conclusion([refused(rate, BUSY), drawn]) == (
        "1 of 6 results is not valid: this host was busy with other programs; end them and repeat"
    )


def test_other_reasons_are_not_put_down_to_the_host() -> None:
    rate, drawn = sound()
    told = conclusion([refused(rate, "the matrix product is wrong"), drawn])
    assert told == "1 of 6 results is not valid, for the reasons below its table"
    told = conclusion([refused(rate, "not settled"), refused(drawn, BUSY)])
    assert "6 of 6 results are not valid: 5 because this host was busy" in told


def test_an_indication_is_asked_for_only_where_the_result_is_valid(tmp_path: Path) -> None:
    rate, drawn = sound()
    assert "compute" in how_to_declare([rate], "a.toml")
    assert how_to_declare([refused(rate, BUSY), refused(drawn, BUSY)], "a.toml") == ""


def shown(calibration: Calibration) -> str:
    screen = Console(width=80)
    with screen.capture() as captured:
        screen.print(table_of(calibration))
    return " ".join(captured.get().split())


def undecided(rule: Rule) -> Calibration:
    (rate,) = compute(Story(invalid_load=None)).results
    said = Indication(171.0, "GFLOP/s", "data sheet")
    decision = decide(rate.evaluation, said, None, rule, quantity="compute")
    return Calibration("compute", (replace(rate, indication=said, permissible_error=None, decision=decision),))


def test_the_screen_tells_why_a_point_with_an_indication_has_no_verdict() -> None:
    reason = "no maximum permissible error is given; add [permissible_errors.compute] to the bench file"
    assert f"fp32, sustained: not evaluated: {reason}" in shown(undecided("jjf1094"))
    assert "not evaluated:" not in shown(undecided("none"))
    assert "not evaluated:" not in shown(sound()[0])


def test_the_screen_shows_an_indication_as_it_was_declared_too() -> None:
    (rate,) = compute(Story(invalid_load=None)).results
    energy = replace(rate.measurement, quantity="energy", definition="energy/active/meter-integrator", unit="J")
    said = Indication(0.0172, "kWh", "BMC")
    assert rate.evaluation is not None
    joules = replace(rate, measurement=energy, evaluation=replace(rate.evaluation, unit="J"), indication=said)
    assert "fp32, sustained: indicated as 0.0172 kWh" in shown(Calibration("energy", (joules,)))
    assert "indicated as" not in shown(sound()[0])


def test_where_an_indication_names_no_driver_that_is_told_and_no_other_one_asked_for() -> None:
    (rate,) = compute(Story(invalid_load=None)).results
    reason = f'{NAMES_NO_DRIVER}; add driver = "cpu" to it if it is said of these'
    unclear = replace(rate, indication=None, decision=replace(rate.decision, reason=reason))
    told = how_to_declare([Calibration("compute", (unclear,))], "a.toml")
    assert told == f"\nNot evaluated: {rate.title}: {reason}"


def test_where_the_indication_of_another_driver_is_declared_the_missing_one_is_asked_for_by_its_driver() -> None:
    (rate,) = compute(Story(invalid_load=None)).results
    missing = replace(rate, indication=None, conditions={"driver": "cpu"})
    declared = replace(rate, indication=Indication(60.0, "TFLOP/s", "data sheet"), conditions={"driver": "nvidia"})
    told = how_to_declare([Calibration("compute", (missing, declared))], "a.toml")
    assert f"no indication of compute as {rate.definition} of cpu." in told
    assert '\n  driver = "cpu"\n' in told
