"""Several accelerators at once: the rate of those of one driver is what they did while all of them worked."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.cpu.driver import CpuAccelerator

import aicalib_hw as hw
from aicalib_hw.errors import Aborted, ConnectionLost, DefinitionMismatch, MeasurementInvalid, NotSupported
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import PeakMeasurement
from aicalib_hw.metrology import Verdict
from aicalib_hw.metrology.indications import declaration, lacks_indication
from aicalib_hw.procedures import calibrate_compute
from aicalib_hw.procedures._together import measure_together, sum_of
from aicalib_hw.readings import Instant, Measurement, Run, Validity, ValidityStatus, Window
from aicalib_hw.records import read_record
from aicalib_hw.records.store import Record

FP32 = "flop/fp32-accumulate-fp32/vector/sustained"


def window(begin: float, end: float) -> Window:
    return Window(Instant(0, round(begin * 1e9)), Instant(0, round(end * 1e9)), "test")


def part(begin: float, *rates: float, serial: str = "1", definition: str = FP32, valid: bool = True) -> Measurement:
    """One accelerator that works from `begin` on, at each rate for one second."""
    runs = tuple(Run(rate, window(begin + index, begin + index + 1)) for index, rate in enumerate(rates))
    return Measurement(
        quantity="compute",
        definition=definition,
        value=sum(rates) / len(rates),
        unit="FLOP/s",
        window=window(begin, begin + len(rates)),
        identity=Identity("Maker", "Model", serial, "", f"maker://{serial}"),
        runs=runs,
        validity=Validity() if valid else Validity(ValidityStatus.INVALID, ("wrong results",)),
    )


def test_the_sum_counts_work_inside_the_common_window_only() -> None:
    together = sum_of([part(0.0, 1e9, 2e9, 4e9), part(0.5, 8e9, 8e9, 16e9)])
    # Common from 0.5 s to 3.0 s: half a second at 1, one at 2, one at 4; and one at 8, one at 8, half a second at 16.
    assert together.value == pytest.approx((0.5 + 2 + 4 + 8 + 8 + 8) * 1e9 / 2.5)
    assert together.window.duration == pytest.approx(2.5)
    assert together.validity
    assert together.identity.address == "maker://1 maker://1"


def test_accelerators_that_hardly_overlap_did_not_work_together() -> None:
    together = sum_of([part(0.0, 1e9, 1e9), part(1.5, 1e9, 1e9)])
    assert together.value is None
    assert not together.validity


def test_one_invalid_part_makes_the_sum_invalid_and_is_named() -> None:
    together = sum_of([part(0.0, 1e9), part(0.0, 1e9, serial="7", valid=False)])
    assert not together.validity
    assert "maker://7: wrong results" in together.validity.reasons


def test_one_simulated_part_makes_the_sum_simulated() -> None:
    assert sum_of([part(0.0, 1e9), part(0.0, 1e9, serial="SIM3")]).identity.simulated
    assert not sum_of([part(0.0, 1e9), part(0.0, 1e9, serial="4")]).identity.simulated


def test_rates_of_different_definitions_are_never_added() -> None:
    with pytest.raises(DefinitionMismatch):
        sum_of([part(0.0, 1e9), part(0.0, 1e9, definition="flop/fp64-accumulate-fp64/vector/sustained")])


BENCH = """
[bench]
name = "two-accelerators"
[decision]
rule = "simple"
[instruments.cpu]
driver = "cpu"
address = "cpu://local"
[instruments.board]
driver = "opencl"
address = "opencl://0/0"
[load]
source = "cpu"
[plan.compute]
duration = 0.5
runs = 2
warm_up = 0.2
gemm = false
"""


@pytest.fixture
def two(tmp_path: Path) -> Any:
    path = tmp_path / "two.toml"
    path.write_text(BENCH, encoding="utf-8")
    with hw.open_bench(path) as opened:
        yield opened


@pytest.mark.alone
def test_accelerators_of_two_drivers_are_measured_one_after_the_other_and_never_added_up(two: Any) -> None:
    told: list[tuple[float, str]] = []
    calibration = calibrate_compute(two, progress=lambda done, note: told.append((done, note)))
    first, second = calibration.results
    assert [first.title, second.title] == ["fp32 sustained, cpu://local", "fp32 sustained, opencl://0/0"]
    assert first.measurement.evidence["devices"] == ["cpu://local"]
    assert second.measurement.evidence["devices"] == ["opencl://0/0"]
    assert first.measurement.window.stop.monotonic_ns < second.measurement.window.start.monotonic_ns
    assert [one.identity.address for one in calibration.further] == ["cpu://local", "opencl://0/0"]
    shares = [done for done, _ in told]
    assert shares == sorted(shares)
    assert all(done <= 0.5 for done, note in told if "cpu://local" in note)
    assert all(0.5 <= done <= 1.0 for done, note in told if "opencl://0/0" in note)
    assert all("://" in note for _, note in told)


def test_an_accelerator_that_lacks_the_precision_is_left_out_by_name(two: Any) -> None:
    able = two.instruments["cpu"].capabilities.supported("int8", "vector")
    if able is None:
        with pytest.raises(NotSupported, match="int8"):
            calibrate_compute(two, precision="int8")
        return
    calibration = calibrate_compute(two, precision="int8")
    assert calibration.results[0].measurement.identity.address == "cpu://local"
    assert any("opencl://0/0 is left out" in note for note in calibration.notes)


def test_if_one_fails_the_others_are_stopped_and_its_error_is_told(two: Any) -> None:
    cpu, board = two.instruments["cpu"], two.instruments["board"]
    began = time.monotonic()
    stopper = threading.Timer(1.0, board.abort)
    stopper.start()
    with pytest.raises(hw.AicalibError):
        measure_together([cpu, board], "fp32", path="vector", duration=60.0)
    assert time.monotonic() - began < 20.0


def test_an_interrupt_of_the_program_ends_what_all_of_them_compute(two: Any) -> None:
    interrupted = threading.Event()

    def interrupt(done: float, note: str) -> None:
        if not interrupted.is_set():
            interrupted.set()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    cpu, board = two.instruments["cpu"], two.instruments["board"]
    # A shell that starts programs in the background has them ignore interrupts.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            measure_together([cpu, board], "fp32", path="vector", duration=60.0, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, former)
    # Their threads have said that they end, and need a turn for it.
    deadline = time.monotonic() + 20.0
    while any(thread.name.startswith("measuring ") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Hasty(CpuAccelerator):
    """Does not ask whether the others are warm."""

    def measure_peak(self, *arguments: Any, ready: Any = None, **further: Any) -> PeakMeasurement:
        return super().measure_peak(*arguments, **further)


def test_one_that_does_not_wait_for_the_others_leaves_none_of_them_warming_without_end() -> None:
    with CpuAccelerator("cpu://local") as patient, Hasty("cpu://local") as hasty:
        rescue = threading.Timer(30.0, patient.abort)
        rescue.start()
        try:
            # On a busy host one of them may have found no turn: what counts here is that both come to their end.
            with contextlib.suppress(MeasurementInvalid):
                measure_together([patient, hasty], "fp32", path="vector", duration=0.3)
            assert rescue.is_alive()
        finally:
            rescue.cancel()


GPUS = """
[bench]
name = "gpus"
[decision]
rule = "simple"
[world]
rate = 1.0
seed = 5
[load]
source = "world"
[plan.compute]
duration = 0.8
runs = 2
warm_up = 0.2
gemm = false
"""


@pytest.mark.alone
def test_four_simulated_gpus_do_together_what_four_do_and_pass_for_nothing_real(tmp_path: Path) -> None:
    path = tmp_path / "gpus.toml"
    entry = '[instruments.gpu{}]\ndriver = "nvidia"\nsimulator = "nvidia"\n'
    path.write_text(GPUS + "".join(map(entry.format, range(4))), encoding="utf-8")
    with hw.open_bench(path) as bench:
        calibration = calibrate_compute(bench)
        counted = sum(
            value
            for simulated in bench.simulated.values()
            for unit, value in simulated.truth.operations.items()
            if unit == "fp32"
        )
    (result,) = calibration.results
    assert result.simulated
    assert result.title == "fp32 sustained, 4 accelerators together"
    for run, alone in zip(result.measurement.runs, result.measurement.evidence["device_rates"], strict=True):
        assert run.value is not None
        assert len(alone) == 4
        assert 0.5 * sum(alone) < run.value < 1.1 * sum(alone)
    assert sum(result.measurement.evidence["operations"]) < counted


MIXED = """
[bench]
name = "mixed"
[decision]
rule = "simple"
[load]
source = "world"
[permissible_errors.compute]
value = 0.1
kind = "relative"
source = "test"
[plan.compute]
duration = 0.2
runs = 2
warm_up = 0
gemm = false
"""
GPU = '[instruments.gpu{}]\ndriver = "nvidia"\nsimulator = "nvidia"\n'
CPU = '[instruments.cpu]\ndriver = "cpu"\naddress = "cpu://local"\n'
SAID = '[[indications]]\nquantity = "compute"\nvalue = {}\nunit = "GFLOP/s"\nsource = "data sheet"\n'
RATES = {"cpu": 1e9, "nvidia": 50e9}
"""FLOP/s that the tests of verdicts state of each: below what either can do."""


def mixed(tmp_path: Path, *parts: str) -> Any:
    path = tmp_path / "mixed.toml"
    path.write_text(MIXED + "".join(parts), encoding="utf-8")
    return hw.open_bench(path)


def stating(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bench, whose accelerators measure and then state another rate, which no busy host makes invalid."""

    def stated(really: Any, rate: float) -> Any:
        def measure(*arguments: Any, **further: Any) -> PeakMeasurement:
            peak: PeakMeasurement = really(*arguments, **further)
            return replace(peak, sustained=replace(peak.sustained, value=rate, validity=Validity()))

        return measure

    for one in bench.of_role("accelerator"):
        monkeypatch.setattr(one, "measure_peak", stated(one.measure_peak, RATES[one.DRIVER.name]))
    return bench


def test_several_of_one_driver_are_added_up_beside_another_driver(tmp_path: Path) -> None:
    with mixed(tmp_path, GPU.format(0), CPU, GPU.format(1)) as bench:
        calibration = calibrate_compute(bench)
        addresses = [one.address for one in bench.of_role("accelerator")]
    titles = [result.title for result in calibration.results]
    assert titles == ["fp32 sustained, 2 nvidia accelerators together", "fp32 sustained, cpu://local"]
    assert [result.simulated for result in calibration.results] == [True, False]
    assert calibration.results[0].measurement.evidence["devices"] == [addresses[0], addresses[2]]
    # Peaks and what each of the two did, then the peak of the cores.
    assert [one.identity.address for one in calibration.further] == [*addresses[::2], *addresses[::2], addresses[1]]


def test_what_is_indicated_of_one_driver_is_held_against_its_accelerators_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_gpus = SAID.format(50) + 'driver = "nvidia"\n'
    with mixed(tmp_path, CPU, GPU.format(0), of_gpus) as bench:
        cores, board = calibrate_compute(stating(bench, monkeypatch)).results
    assert cores.definition == board.definition == FP32
    assert board.decision.verdict is Verdict.PASS
    assert cores.decision.verdict is Verdict.NOT_EVALUATED
    assert cores.indication is None
    assert lacks_indication(cores)
    (tmp_path / "again").mkdir()
    of_cores = declaration(cores).replace("…", "1.0", 1).replace("…", "data sheet")
    assert 'driver = "cpu"' in of_cores
    with mixed(tmp_path / "again", CPU, GPU.format(0), of_gpus, of_cores) as bench:
        results = calibrate_compute(stating(bench, monkeypatch)).results
    assert [result.decision.verdict for result in results] == [Verdict.PASS, Verdict.PASS]


def test_an_indication_that_names_no_driver_is_held_against_none_of_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mixed(tmp_path, CPU, GPU.format(0), SAID.format(50)) as bench:
        results = calibrate_compute(stating(bench, monkeypatch)).results
    for result, driver in zip(results, RATES, strict=True):
        assert result.decision.verdict is Verdict.NOT_EVALUATED
        assert result.indication is None
        assert result.evaluation is not None
        assert f'add driver = "{driver}"' in result.decision.reason


def test_where_one_driver_has_the_precision_an_indication_may_name_it_and_need_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said in ("", 'driver = "cpu"\n'):
        with mixed(tmp_path, CPU, SAID.format(1), said) as bench:
            (result,) = calibrate_compute(stating(bench, monkeypatch)).results
        assert result.title == "fp32 sustained"
        assert result.decision.verdict is Verdict.PASS
        assert "driver" not in declaration(result)


def test_what_is_said_of_accelerators_that_are_not_here_is_held_against_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = '[instruments.gpu]\ndriver = "nvidia"\naddress = "nvidia://*"\n'
    with mixed(tmp_path, CPU, elsewhere, SAID.format(1), 'driver = "nvidia"\n') as bench:
        if len(bench.of_role("accelerator")) > 1:
            pytest.skip("this machine has an NVIDIA device")
        (result,) = calibrate_compute(stating(bench, monkeypatch)).results
    assert result.indication is None
    assert "driver" not in declaration(result)


def test_accelerators_that_fail_take_nothing_of_what_those_of_another_driver_did(tmp_path: Path) -> None:
    kept = tmp_path / "record.sqlite"
    with mixed(tmp_path, GPU.format(0), CPU) as bench:
        bench.simulated["gpu0"].inject("lost")
        record = Record.create(kept, title="t", bench={}, rule="simple", plan={})
        with record, pytest.raises(ConnectionLost) as lost:
            calibrate_compute(bench, record=record)
    contents = read_record(kept)
    (result,) = contents.results
    assert result.title == "fp32 sustained, cpu://local"
    (failure,) = [event.data for event in contents.events if event.kind == "failure"]
    assert failure == {"driver": "nvidia", "message": str(lost.value)}


def test_a_calibration_that_is_stopped_goes_on_with_no_other_driver(tmp_path: Path) -> None:
    notes: list[str] = []

    def stopped(done: float, note: str) -> None:
        notes.append(note)
        raise Aborted("the calibration was stopped")

    with mixed(tmp_path, CPU, GPU.format(0)) as bench, pytest.raises(Aborted):
        calibrate_compute(bench, progress=stopped)
    assert notes == ["fp32 sustained, cpu://local, warming up"]
