"""Several accelerators at once: the platform's rate is what they did in the time in which all of them worked."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.instruments.accelerators.cpu.driver import CpuAccelerator

import aicalib_hw as hw
from aicalib_hw.errors import DefinitionMismatch, MeasurementInvalid, NotSupported
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import PeakMeasurement
from aicalib_hw.procedures import calibrate_compute
from aicalib_hw.procedures._together import measure_together, sum_of
from aicalib_hw.readings import Instant, Measurement, Run, Validity, ValidityStatus, Window

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
def test_two_accelerators_are_measured_at_once_and_added_up(two: Any) -> None:
    calibration = calibrate_compute(two)
    (result,) = calibration.results
    assert result.measurement.evidence["devices"] == ["cpu://local", "opencl://0/0"]
    assert "2 accelerators" in result.measurement.identity.model
    rates = result.measurement.evidence["device_rates"]
    assert all(len(run) == 2 for run in rates)
    addresses = {one.identity.address for one in calibration.further}
    assert addresses == {"cpu://local", "opencl://0/0"}


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
