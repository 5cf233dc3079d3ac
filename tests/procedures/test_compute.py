"""The compute procedure, on this machine's own processor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import aicalib_hw as hw
from aicalib_hw.errors import NotSupported
from aicalib_hw.metrology import Verdict
from aicalib_hw.procedures import calibrate_compute
from aicalib_hw.readings import Validity, ValidityStatus
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record

BENCH = """
[bench]
name = "processor"
[decision]
rule = "simple"
[instruments.cpu]
driver = "cpu"
address = "cpu://local"
[permissible_errors.compute]
value = 0.02
kind = "relative"
source = "test"
[plan.compute]
duration = 0.2
runs = 3
warm_up = 0.1
gemm = false
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[hw.Bench]:
    path = tmp_path / "processor.toml"
    path.write_text(BENCH, encoding="utf-8")
    with hw.open_bench(path) as opened:
        yield opened


@pytest.mark.alone
def test_the_rate_lies_between_nothing_and_what_theory_allows(bench: hw.Bench) -> None:
    calibration = calibrate_compute(bench)
    (result,) = calibration.results
    measured = result.measurement
    assert measured.unit == "FLOP/s"
    assert measured.definition.endswith("vector/sustained")
    assert [run.value for run in measured.runs if run.value is not None]
    theory = measured.evidence["theoretical_measured_clock"]["value"]
    if theory is not None and result.validity:
        assert result.evaluation is not None
        assert 0 < result.evaluation.value < 1.003 * theory
    assert result.decision.verdict is Verdict.NOT_EVALUATED
    assert not result.simulated
    (peak,) = calibration.further
    assert peak.definition.endswith("vector/peak")


def test_the_operations_of_every_run_are_kept_as_whole_numbers(bench: hw.Bench, tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    with Record.create(path, title="t", bench={}, rule="simple", plan={}) as record:
        calibration = calibrate_compute(bench, record=record)
    operations = calibration.results[0].measurement.evidence["operations"]
    assert len(operations) == len(calibration.results[0].measurement.runs) >= 3
    kept = [one for one in read_record(path).measurements if one.definition.endswith("vector/sustained")]
    counted = [one.evidence["operations"] for one in kept if isinstance(one.evidence["operations"], int)]
    assert counted == operations
    for one in kept:
        if isinstance(one.evidence["operations"], int) and one.value is not None:
            assert one.value == pytest.approx(one.evidence["operations"] * 1e9 / one.evidence["window_ns"], rel=1e-9)


def test_a_precision_that_the_processor_lacks_is_refused_by_name(bench: hw.Bench) -> None:
    with pytest.raises(NotSupported, match="fp8e4m3"):
        calibrate_compute(bench, precision="fp8e4m3")


@pytest.mark.parametrize(("disturbed", "run_in_all", "valid"), [((1,), 5, True), ((1, 3), 4, False), ((), 3, True)])
def test_a_disturbed_run_is_repeated_within_a_bound_and_kept(
    bench: hw.Bench, monkeypatch: pytest.MonkeyPatch, disturbed: tuple[int, ...], run_in_all: int, valid: bool
) -> None:
    accelerator = bench.the("accelerator")
    really = accelerator.measure_peak
    begun: list[float] = []

    def measure(precision: Any, *, duration: float, **rest: Any) -> Any:
        peak = really(precision, duration=duration, **rest)
        if duration < 0.2:  # the warm-up
            return peak
        begun.append(duration)
        status = ValidityStatus.INVALID if len(begun) - 1 in disturbed else ValidityStatus.VALID
        validity = Validity(status, ("disturbed by the test",) if status is ValidityStatus.INVALID else ())
        sustained = replace(peak.sustained, value=peak.sustained.value or 1.0, validity=validity)
        return replace(peak, sustained=sustained)

    monkeypatch.setattr(accelerator, "measure_peak", measure)
    (result,) = calibrate_compute(bench).results
    assert len(begun) == run_in_all
    assert len(result.measurement.runs) == run_in_all
    assert [index for index, run in enumerate(result.measurement.runs) if not run.used] == list(disturbed)
    unused = [reason for reason in result.validity.reasons if "not usable" in reason]
    assert bool(unused) is not valid


def test_what_is_indicated_of_one_precision_is_not_held_against_another(tmp_path: Path) -> None:
    path = tmp_path / "processor.toml"
    said = 'quantity = "compute"\nvalue = 1.0\nunit = "TFLOP/s"\nsource = "data sheet"\n'
    path.write_text(f"{BENCH}\n[[indications]]\n{said}", encoding="utf-8")
    with hw.open_bench(path) as bench:
        (single,) = calibrate_compute(bench).results
        (double,) = calibrate_compute(bench, precision="fp64").results
    assert single.indication is not None
    assert double.indication is None
    assert double.decision.verdict is Verdict.NOT_EVALUATED
