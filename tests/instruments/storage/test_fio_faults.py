"""The fio driver against a simulated fio whose disk has a truth: what is found, and every fault that it offers."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aicalib_hw.instruments.storage.fio import Fio

import aicalib_hw as hw
from aicalib_hw.bench import StoragePlan, load_bench, simulated_alone
from aicalib_hw.errors import (
    Aborted,
    DeadlineExceeded,
    IdentityMismatch,
    InstrumentReportedError,
    MissingProgram,
    ProtocolError,
)
from aicalib_hw.interfaces import StorageJob
from aicalib_hw.metrology.budget import evaluate
from aicalib_hw.procedures import calibrate_storage
from aicalib_hw.readings import Measurement, ValidityStatus

MIB = 1 << 20
STATED = {"block_size": MIB // 4, "queue_depth": 16, "ramp": 0.0, "duration": 10.0, "disturbance": 0.05}
AMOUNT = {"delay": 0.3, "full": 2.0 * MIB, "io_error": 2.0 * MIB, "corrupt": 2.0 * MIB, "short_io": 3.0}
AMOUNT |= {"overrun": 5.0, "neighbour": 0.2, "gain": 0.7}


def job(pattern: Any = "sequential-read", **more: Any) -> StorageJob:
    stated: dict[str, Any] = {**STATED, **more}
    return StorageJob("", pattern, 16 * MIB, **stated)


def fault(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "amount": AMOUNT.get(kind, 1.0), **more}


@contextlib.contextmanager
def running() -> Iterator[Any]:
    """A simulated fio and its disk on a world of its own, as the fixture of one test has them."""
    world, simulated = simulated_alone("fio", "storage", world={"rate": 20.0}, options={}, where="test")
    world.start()
    simulated.start()
    try:
        yield simulated
    finally:
        simulated.stop()
        world.stop()


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """A simulated fio for tests that leave it as they found it: each of them ends with a sound run."""
    with running() as simulated:
        yield simulated


@pytest.fixture(scope="module")
def filled(shared: Any) -> Iterator[Fio]:
    """The shared one with its file filled: what is injected strikes the measured run."""
    with Fio(shared.address, timeout=10.0) as opened:
        fill(opened)
        yield opened


@pytest.fixture
def tester(simulated_storage_tester: Any) -> Iterator[Fio]:
    with Fio(simulated_storage_tester.address, timeout=10.0) as opened:
        yield opened


def fill(tester: Fio) -> None:
    """Have its file filled, once for all patterns; the run that this takes is the shortest there is."""
    tester.measure_throughput(job(duration=1.0))


@pytest.mark.parametrize("pattern", ["sequential-read", "sequential-write", "random-read", "mixed", "checkpoint-write"])
def test_what_truly_moved_is_what_is_found_within_the_uncertainty_and_it_is_called_simulated(
    shared: Any, pattern: str
) -> None:
    truth = shared.truth
    with Fio(shared.address, timeout=10.0) as tester:
        if pattern != "checkpoint-write":
            fill(tester)
        before = [truth.moved(way) for way in ("read", "write")]
        result = tester.measure_throughput(job(pattern))
    moved = [truth.moved(way) - then for way, then in zip(("read", "write"), before, strict=True)]
    assert result.validity, result.validity.reasons
    assert [result.evidence["bytes_read"], result.evidence["bytes_written"]] == [
        pytest.approx(one, rel=1e-4) for one in moved
    ]
    assert result.value is not None
    evaluation = evaluate(float(result.value), "bit/s", result.components)
    true_rate = 8 * sum(moved) / result.evidence["running_s"]
    assert abs(evaluation.value - true_rate) <= evaluation.expanded_uncertainty
    assert result.identity.simulated
    assert result.identity.firmware == "3.33"


@pytest.mark.parametrize(
    ("kind", "error", "named"),
    [
        ("refuse", MissingProgram, "cannot be run"),
        ("wrong_identity", IdentityMismatch, r"3\.33"),
    ],
)
def test_a_program_that_is_none_or_another_is_told_when_it_is_opened(
    shared: Any, kind: str, error: type[Exception], named: str
) -> None:
    shared.inject(fault(kind))
    with pytest.raises(error, match=named):
        Fio(shared.address).open()
    with Fio(shared.address) as sound:
        assert sound.identity.firmware == "3.33"


@pytest.mark.parametrize(
    ("kind", "error", "named"),
    [
        ("refuse", InstrumentReportedError, "error 127"),
        ("drop", InstrumentReportedError, "signal 9"),
        ("full", InstrumentReportedError, "the disk is full"),
        ("io_error", InstrumentReportedError, "Input/output error"),
        ("no_direct", InstrumentReportedError, "error 22"),
        ("half_line", ProtocolError, "did not tell"),
        ("garble", ProtocolError, "did not tell"),
        ("wrong_identity", ProtocolError, "wrote it, and"),
    ],
)
def test_a_file_that_was_not_filled_is_never_measured(
    shared: Any, kind: str, error: type[Exception], named: str
) -> None:
    with Fio(shared.address, timeout=10.0) as tester:
        shared.inject(fault(kind))
        with pytest.raises(error, match=named) as failed:
            tester.measure_throughput(job())
        assert "fill" in str(failed.value) or kind == "refuse"
        assert tester.measure_throughput(job(duration=2.0)).validity


@pytest.mark.parametrize(
    ("kind", "pattern", "status", "named"),
    [
        ("drop", "sequential-read", ValidityStatus.ERROR, "signal 9"),
        ("half_line", "sequential-read", ValidityStatus.ERROR, "not whole"),
        ("garble", "sequential-read", ValidityStatus.ERROR, "not whole"),
        ("wrong_identity", "sequential-read", ValidityStatus.ERROR, "wrote it, and"),
        ("full", "sequential-write", ValidityStatus.ERROR, "the disk is full"),
        ("io_error", "sequential-read", ValidityStatus.ERROR, "error 5 of fio"),
        ("no_direct", "sequential-read", ValidityStatus.ERROR, "error 22 of fio"),
        ("short_io", "sequential-read", ValidityStatus.INVALID, "3 transfers were cut short"),
        ("shallow", "sequential-read", ValidityStatus.INVALID, "queue depth of 16"),
    ],
)
def test_a_fault_in_the_measured_run_leaves_no_valid_value_and_the_next_run_is_sound(
    shared: Any, filled: Fio, kind: str, pattern: str, status: ValidityStatus, named: str
) -> None:
    shared.inject(fault(kind))
    result = filled.measure_throughput(job(pattern, duration=2.0))
    assert result.validity.status is status
    assert any(named in reason for reason in result.validity.reasons), result.validity.reasons
    assert (result.value is None) is (status is ValidityStatus.ERROR)
    assert filled.measure_throughput(job(pattern)).validity


def test_others_who_use_the_device_in_the_measured_run_are_found_and_its_rate_is_kept(
    simulated_storage_tester: Any, tester: Fio
) -> None:
    fill(tester)
    simulated_storage_tester.inject(fault("neighbour"))  # who stays
    result = tester.measure_throughput(job("sequential-write"))
    assert result.validity.status is ValidityStatus.INVALID
    assert any("disturbed: others moved" in reason for reason in result.validity.reasons), result.validity.reasons
    assert result.value is not None


def test_data_that_come_back_changed_are_found_where_they_are_read_back(
    simulated_storage_tester: Any, tester: Fio
) -> None:
    asked = job("sequential-write", verify=True, duration=1.0)
    assert tester.measure_throughput(asked).validity
    simulated_storage_tester.inject(fault("corrupt", count=None))
    result = tester.measure_throughput(asked)
    assert result.validity.status is ValidityStatus.INVALID
    assert any("verification: error 84 of fio" in reason for reason in result.validity.reasons)


@pytest.fixture(scope="module")
def usual(filled: Fio) -> float:
    """What the shared disk reads when nothing ails it, bit/s."""
    result = filled.measure_throughput(job())
    assert result.validity, result.validity.reasons
    assert result.value is not None
    return float(result.value)


@pytest.mark.parametrize("kind", ["delay", "chatter", "overrun"])
def test_what_changes_no_byte_and_no_second_changes_no_rate(shared: Any, filled: Fio, usual: float, kind: str) -> None:
    shared.inject(fault(kind))
    result = filled.measure_throughput(job())
    assert result.validity, result.validity.reasons
    assert result.value == pytest.approx(usual, rel=0.01)
    assert ("answered late" in "; ".join(result.evidence["remarks"])) is (kind == "overrun")


@pytest.mark.parametrize("kind", ["gain", "stuck"])
def test_a_disk_that_is_slower_for_a_time_is_measured_as_slow_as_it_was(
    simulated_storage_tester: Any, tester: Fio, usual: float, kind: str
) -> None:
    fill(tester)
    simulated_storage_tester.inject({"kind": kind, "amount": {"gain": 0.7, "stuck": 5.0}[kind]})
    truth = simulated_storage_tester.truth
    before = truth.moved("read")
    result = tester.measure_throughput(job())
    assert result.value == pytest.approx(8 * (truth.moved("read") - before) / result.evidence["running_s"], rel=1e-3)
    assert result.value is not None
    assert result.value < 0.8 * usual
    # One that stood still was not steady, or is not known to have been where fio told of itself too seldom.
    told = [*result.validity.reasons, *result.evidence["remarks"]]
    assert kind == "gain" or any("not steady" in one or "no steady state" in one for one in told), told


@pytest.mark.parametrize("simulated_storage_tester", [{"filled": False}], indirect=True)
def test_files_that_stay_sparse_give_a_rate_that_no_device_counted(tester: Fio) -> None:
    result = tester.measure_throughput(job())
    assert result.validity.status is ValidityStatus.INVALID
    assert any("unwritten file" in reason for reason in result.validity.reasons)


def test_a_program_that_answers_too_late_is_ended_and_one_that_is_aborted_keeps_what_it_had(
    simulated_storage_tester: Any,
) -> None:
    with Fio(simulated_storage_tester.address, timeout=2.0) as tester:
        fill(tester)
        simulated_storage_tester.inject({"kind": "delay", "amount": 30.0})
        with pytest.raises(DeadlineExceeded) as late:
            tester.measure_throughput(job(duration=1.0))
        assert isinstance(late.value.partial, Measurement)
        assert late.value.partial.value is None

        def abort_in_the_window(done: float, note: str) -> None:
            # Told by another thread than the one that waits for the run.
            if done > 0.4:
                tester.abort()

        with pytest.raises(Aborted) as aborted:
            tester.measure_throughput(job(duration=600.0), progress=abort_in_the_window)
        partial = aborted.value.partial
        assert isinstance(partial, Measurement)
        assert partial.validity.status is ValidityStatus.ABORTED
        assert tester.measure_throughput(job()).validity


BENCH = """
[bench]
name = "simulated-disk"

[decision]
rule = "jjf1094"

[instruments.disk]
driver = "fio"
simulator = "fio"

[world]
rate = 20.0
seed = 5

[permissible_errors.storage]
value = 0.05
kind = "relative"
source = "this test"
"""


def test_a_calibration_that_is_to_verify_is_invalid_where_data_come_back_changed(tmp_path: Any) -> None:
    path = tmp_path / "simulated-disk.toml"
    path.write_text(BENCH)
    plan = StoragePlan(size=16 * MIB, patterns=("sequential-write",), duration=1, warm_up=0, verify=True)
    with hw.open_bench(load_bench(path)) as bench:
        assert calibrate_storage(bench, plan=plan.model_copy(update={"disturbance": 1.0})).results[0].validity
        bench.simulated["disk"].inject(fault("corrupt", count=None))
        (result,) = calibrate_storage(bench, plan=plan).results
    assert not result.validity
    assert any("error 84 of fio" in reason for reason in result.validity.reasons)


def test_a_calibration_finds_the_true_rate_of_each_pattern_within_its_uncertainty(tmp_path: Any) -> None:
    path = tmp_path / "simulated-disk.toml"
    path.write_text(BENCH)
    plan = StoragePlan(size=64 * MIB, patterns=("sequential-read", "sequential-write"), duration=10, warm_up=1)
    with hw.open_bench(load_bench(path)) as bench:
        truth = bench.simulated["disk"].truth
        moved: list[SimpleNamespace] = []

        class Record:
            """Keeps what truly moved up to each run."""

            def measurement(self, run: Measurement) -> None:
                moved.append(SimpleNamespace(read=truth.moved("read"), write=truth.moved("write"), run=run))

            def result(self, result: Any) -> None:
                pass

            calibration = result

        calibration = calibrate_storage(bench, plan=plan, record=Record())
    for result, way in zip(calibration.results, ("read", "write"), strict=True):
        assert result.validity, result.validity.reasons
        assert result.simulated
        assert result.evaluation is not None
        of_point = [one for one in moved if one.run.definition == result.definition]
        true = [
            8 * (getattr(later, way) - getattr(former, way)) / later.run.evidence["running_s"]
            for former, later in itertools.pairwise(of_point)
        ]
        assert abs(result.evaluation.value - sum(true) / len(true)) <= result.evaluation.expanded_uncertainty
