"""The shipped simulated server: eight accelerators in one world with the meter on its mains."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aicalib_hw.simulators import vendor_libraries

import aicalib_hw as hw
from aicalib_hw.bench import ComputePlan
from aicalib_hw.errors import Aborted, LockedByOther, UsageError
from aicalib_hw.procedures import calibrate_compute
from aicalib_hw.procedures._together import measure_together

OpenBench = Callable[..., hw.Bench]

PLAN = ComputePlan(path="gemm", duration=1.0, runs=2, warm_up=0.2)
PEAK = 8 * 20 * 2 * 16**3 / 4 * 1.8e9
"""Eight Ascend 910B3 of 20 cores at 1.8 GHz, fp32 at a quarter of fp16, as the simulated ones are made."""


@pytest.mark.alone
def test_eight_accelerators_are_measured_in_one_window_and_counted_by_the_simulator_itself(
    simulated_bench: OpenBench,
) -> None:
    bench = simulated_bench("simulated-server")
    npus = [one for name, one in bench.simulated.items() if name.startswith("npu")]
    assert len(npus) == 8
    calibration = calibrate_compute(bench, plan=PLAN)
    (result,) = calibration.results
    measured = result.measurement
    assert measured.evidence["devices"] == [f"ascend://{card}/0" for card in range(8)]
    assert all(common > 0.6 * PLAN.duration for common in measured.evidence["common_s"])
    # A busy host keeps devices waiting, which idle meanwhile: `share` says for how much of the time they worked.
    shares = [sum(measured.evidence["share"][8 * run : 8 * run + 8]) / 8 for run in range(PLAN.runs)]
    for run, share in zip(measured.runs, shares, strict=True):
        assert run.value is not None
        assert 0.7 * share * PEAK < run.value < PEAK
    counted = sum(npu.truth.operations["matrix-fp32"] for npu in npus)
    assert counted > sum(measured.evidence["operations"]) > 0
    assert result.simulated
    assert any("never run on hardware" in note for note in calibration.notes)
    # Of eight devices that draw some 357 W each at most.
    for power, share in zip(measured.evidence["power_W"], shares, strict=True):
        assert 0.5 * share < power["integral"] / (8 * 357.0) < 1.05
    assert len(measured.evidence["energy_J"]) == PLAN.runs
    assert measured.settings["accelerators"] == 8
    assert measured.settings["edge"] == 4096


@pytest.mark.alone
def test_what_is_launched_on_the_accelerators_moves_their_telemetry_and_the_meter_alike(
    simulated_bench: OpenBench, fast_server: Path
) -> None:
    bench = simulated_bench(fast_server)
    meter, npus = bench.the("power_meter"), bench.of_role("accelerator")
    simulated = [bench.simulated[f"npu{number}"] for number in range(8)]
    meter.configure(voltage_range=300.0, current_range=40.0, update_interval=0.5)

    def watched() -> tuple[float, float, float]:
        """Mean power over some 10 s of world time: by DCMI, by the energy truly drawn, and by the meter."""
        told = []
        begun, drawn = bench.world.clock.now(), sum(npu.truth.energy for npu in simulated)
        with ThreadPoolExecutor(1) as pool:
            measured = pool.submit(meter.measure_power, 10.0)
            while not measured.done():
                told.append(sum(float(npu.read().power) for npu in npus))
        lasted = bench.world.clock.now() - begun
        mean = (sum(npu.truth.energy for npu in simulated) - drawn) / lasted
        return sum(told) / len(told), mean, float(measured.result().value or 0.0)

    idle = watched()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(measure_together, npus, "fp32", path="gemm", duration=30.0)
        deadline = time.monotonic() + 30.0
        while min(npu.truth.power for npu in simulated) < 200.0 and time.monotonic() < deadline:
            time.sleep(0.05)
        busy = watched()
        with pytest.raises(LockedByOther):
            npus[0].configure(edge=512)
        npus[0].abort()
        with pytest.raises(Aborted):
            work.result()
    told, drawn, measured = (after - before for before, after in zip(idle, busy, strict=True))
    assert drawn > 8 * 150.0
    assert told == pytest.approx(drawn, rel=0.2)
    assert 0.8 < drawn / measured < 1.05


def test_the_edge_of_the_product_is_a_setting_of_the_bench(simulated_bench: OpenBench) -> None:
    bench = simulated_bench("simulated-server")
    npu: Any = bench.instruments["npu0"]
    assert npu.snapshot()["edge"].value == 4096
    assert npu.configure(edge=512)["edge"].value == 512
    for impossible in (0, 100):
        with pytest.raises(UsageError, match=str(impossible)):
            npu.configure(edge=impossible)
    assert npu.snapshot()["edge"].value == 512


def test_without_the_built_libraries_the_rest_of_the_server_is_there(
    simulated_bench: OpenBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vendor_libraries, "FOLDER", tmp_path)
    bench = simulated_bench("simulated-server")
    assert sorted(bench.left_out) == [f"npu{number}" for number in range(8)]
    assert "gcc" in bench.left_out["npu0"].advice
    assert bench.of_role("accelerator") == []
    assert bench.the("power_meter").identity.simulated
