"""Normalised effective compute, measured: against devices and workloads whose truth is known, and on this processor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aicalib_hw as hw
from aicalib_hw.errors import NotSupported, UsageError
from aicalib_hw.interfaces import (
    AcceleratorCapabilities,
    DriverInfo,
    LoadRun,
    Peak,
    PeakMeasurement,
    PrecisionSupport,
    ReleaseReport,
    TelemetryReading,
)
from aicalib_hw.metrology.effective import Reference
from aicalib_hw.procedures.effective_compute import measure_effective_compute, nominal_references, path_of
from aicalib_hw.readings import Component, Instant, Measurement, Run, Validity, ValidityStatus, Window

VECTOR = "flop/fp32-accumulate-fp32/vector/sustained"
TRAINING = "token/training/applied-steps/timed-here"


class Device(hw.Accelerator):
    """A device that computes at known rates, one after the other."""

    DRIVER = DriverInfo("device", "accelerator", "a device of known rate", "none")

    def __init__(self, rates: Iterator[float], *, nominal: float | None = 2e12, path: Any = "vector") -> None:
        super().__init__("device://0")
        self._rates = rates
        self._nominal = nominal
        self._path = path
        self.open()

    def _connect(self) -> None: ...

    def _disconnect(self) -> None: ...

    def identify(self) -> hw.Identity:
        return hw.Identity("maker", "device", "1", "1", self.address)

    @property
    def capabilities(self) -> AcceleratorCapabilities:
        return AcceleratorCapabilities(supports=(PrecisionSupport("fp32", "fp32", self._path, "known"),))

    def snapshot(self) -> dict[str, Any]:
        return {}

    def abort(self) -> None: ...

    def release(self) -> ReleaseReport:
        return ReleaseReport()

    def read(self, *, fresh: bool = True, timeout: float | None = None) -> TelemetryReading:
        raise NotSupported("no telemetry")

    def stream(self, *, interval: float = 1.0, duration: float | None = None) -> Iterator[TelemetryReading]:
        raise NotSupported("no telemetry")

    def theoretical_peak(self, precision: Any, *, path: Any = "vector", clock: Any = "maximum") -> Peak:
        return Peak(self._nominal, "FLOP/s", "known", "this test")

    def lock_clocks(self, frequency: float) -> AbstractContextManager[None]:
        return nullcontext()

    def run_load(self, fraction: float, *, duration: float | None, precision: Any = "fp32") -> LoadRun:
        raise NotSupported("no load")

    def measure_peak(self, precision: Any = "fp32", **settings: Any) -> PeakMeasurement:
        now = Instant.now()
        window = Window(now, now, "known")
        rate = next(self._rates)
        components = (Component("operations", "B", "FLOP/s", "known", half_width=1e-3 * rate),)
        validity = Validity() if rate < 5e12 else Validity(ValidityStatus.INVALID, ("throttled",))
        sustained = Measurement(
            "compute",
            VECTOR,
            rate,
            "FLOP/s",
            window,
            self.identity,
            (Run(rate, window),),
            components,
            validity=validity,
        )
        return PeakMeasurement(sustained, sustained, None, None, None, None, None, 0)


def workload(rate: float) -> Measurement:
    now = Instant.now()
    identity = hw.Identity("maker", "job", "1", "1", "torch://local")
    return Measurement("training", TRAINING, rate, "token/s", Window(now, now, "steps"), identity)


def measured(*rates: float, tokens: float = 1000.0, operations: float = 5e8, **more: Any) -> Measurement:
    return measure_effective_compute(
        [Device(iter(rates))],
        lambda: workload(tokens),
        workload="training",
        operations_per_token=operations,
        shares={"fp32": 1.0},
        **more,
    )


@given(st.floats(1e9, 4e12), st.floats(-0.019, 0.019), st.floats(0.01, 0.9))
def test_a_known_share_is_found_within_its_uncertainty_though_the_reference_wanders(
    rate: float, wander: float, share: float
) -> None:
    # The device is at `rate` while the workload runs, half of the way between the two references or at either of them.
    for begin, end in ((-wander / 2, wander / 2), (0.0, wander), (-wander, 0.0)):
        found = measured(rate * (1 + begin), rate * (1 + end), tokens=share * rate / 5e8)
        assert found.validity, found.validity.reasons
        assert found.value is not None
        allowed = sum(one.half_width or 0.0 for one in found.components) * float(found.value)
        assert abs(float(found.value) - 100 * share) <= allowed * (1 + 1e-9)


def test_references_that_differ_by_more_than_two_per_cent_make_the_run_unusable_and_say_it_was_disturbed() -> None:
    found = measured(1e12, 1.03e12)
    assert found.validity.status is ValidityStatus.INVALID
    assert "disturbed" in found.validity.reasons[0]
    assert found.value == pytest.approx(100 * 5e11 / 1.015e12)
    assert found.evidence["references_before_after"] == {"fp32": [1e12, 1.03e12]}
    assert measured(1e12, 1.03e12, drift=0.05).validity


def test_a_reference_that_is_not_valid_makes_no_valid_share() -> None:
    found = measured(6e12, 6e12)
    assert any("throttled" in reason for reason in found.validity.reasons)
    assert not found.validity


def test_a_share_above_everything_keeps_its_value_and_is_called_a_fault() -> None:
    found = measured(1e12, 1e12, operations=1.2e9)
    assert found.value == pytest.approx(120.0)
    assert any("more than 100 %" in reason for reason in found.validity.reasons)


def test_several_devices_count_together() -> None:
    pair = [Device(itertools.repeat(1e12)), Device(itertools.repeat(1e12))]
    references = nominal_references(pair, {"fp32": 1.0})
    assert references is not None
    assert references["fp32"] == Reference(4e12, "FLOP/s", "nominal", "known (this test)", pair[0].identity)
    assert nominal_references([pair[0], Device(iter(()), nominal=None)], {"fp32": 1.0}) is None


def test_the_reference_is_of_the_path_that_all_devices_have_and_of_none_else() -> None:
    vector, matrix = Device(iter(()), path="vector"), Device(iter(()), path="matrix")
    assert path_of([vector], "fp32") == "vector"
    assert path_of([matrix], "fp32") == "matrix"
    with pytest.raises(NotSupported, match="not all accelerators"):
        path_of([vector, matrix], "fp32")
    with pytest.raises(NotSupported, match="by the path 'gemm'"):
        path_of([vector], "fp32", "gemm")


def test_a_reference_without_a_value_is_refused() -> None:
    from aicalib_hw.procedures.effective_compute import between

    sound = {"fp32": workload(1.0)}
    with pytest.raises(UsageError, match="has no value"):
        between(
            workload(1.0),
            {"fp32": Measurement("compute", VECTOR, None, "FLOP/s", sound["fp32"].window, sound["fp32"].identity)},
            sound,
            workload="training",
            operations_per_token=1.0,
            shares={"fp32": 1.0},
        )


def test_a_workload_that_does_half_of_what_this_processor_can_is_found_to_do_half() -> None:
    with hw.open_instrument("cpu://local") as processor:
        reference = processor.measure_peak("fp32", duration=0.3).sustained
        assert reference.value is not None
        half = float(reference.value) / 2
        found = measure_effective_compute(
            [processor],
            lambda: workload(half / 1e9),
            workload="training",
            operations_per_token=1e9,
            shares={"fp32": 1.0},
            duration=0.3,
            drift=1.0,
        )
    assert found.value is not None
    # Other programs take their part of a shared processor; what they took before and after is in the evidence.
    pair = found.evidence["references_before_after"]["fp32"]
    assert found.value == pytest.approx(100 * half / (sum(pair) / 2))
    assert found.evidence["reference_sources"]["fp32"].startswith("flop/fp32-accumulate-fp32/")
    names = {component.name for component in found.components}
    assert {"time base", "reference fp32: change from before to after the run"} <= names
