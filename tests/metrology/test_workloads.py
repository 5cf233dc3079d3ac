"""Normalised effective compute of several workloads: all operations over all the time, by arithmetic of its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aicalib_hw as hw
from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.effective import Reference, Workload, effective_compute
from aicalib_hw.metrology.workloads import of_all_workloads
from aicalib_hw.readings import Component, Instant, Measurement, ValidityStatus, Window

PEAK = 1e12
TOKENS: dict[Workload, str] = {
    "training": "token/training/applied-steps/timed-here",
    "inference": "token/output/usage-counted/steady-window",
}


def part(
    workload: Workload,
    rate: float,
    operations: float,
    seconds: float,
    *,
    components: tuple[Component, ...] = (),
    of_reference: tuple[Component, ...] = (),
    **reference: Any,
) -> Measurement:
    """What a workload of `rate` token/s came to that took `operations` a token for `seconds` on devices of `PEAK`."""
    window = Window(Instant(0, 0), Instant(round(1e9 * seconds), round(1e9 * seconds)), "known")
    identity = hw.Identity("maker", workload, "1", "1", "x://0")
    tokens = Measurement(workload, TOKENS[workload], rate, "token/s", window, identity, components=components)
    stated = {"unit": "FLOP/s", "variant": "calibrated", "source": "measured", **reference}
    return effective_compute(
        tokens,
        {"bf16": Reference(PEAK, components=of_reference, **stated)},
        workload=workload,
        operations_per_token=operations,
        shares={"bf16": 1.0},
    )


def own(half_width: float) -> Component:
    return Component("digits", "B", "1", "known", half_width=half_width, relative=True)


positive = st.floats(1e-3, 1e3)


@given(positive, positive, st.floats(0.1, 1e4), st.floats(0.1, 1e4))
def test_it_is_the_operations_of_all_over_what_the_devices_could_have_done_in_the_time_of_all(
    trained: float, answered: float, training_time: float, inference_time: float
) -> None:
    both = of_all_workloads(
        [part("training", trained, 3e8, training_time), part("inference", answered, 1e8, inference_time)]
    )
    operations = 3e8 * trained * training_time + 1e8 * answered * inference_time
    assert both.value == pytest.approx(100 * operations / (PEAK * (training_time + inference_time)), rel=1e-6)
    assert both.validity, both.validity.reasons
    assert both.definition == "effective-compute/v1/all-workloads/calibrated"
    assert both.evidence["workload_seconds"] == pytest.approx(
        {"training": training_time, "inference": inference_time}, abs=1e-8
    )


def test_what_is_wrong_with_the_reference_is_wrong_in_every_workload_and_does_not_average_out() -> None:
    clock = Component("time base", "B", "1", "one clock", half_width=5e-4, relative=True, shared="host clock")
    reference = (own(0.01), clock)
    both = of_all_workloads(
        [
            part("training", 1000.0, 3e8, 10.0, components=(own(0.02),), of_reference=reference),
            part("inference", 1000.0, 1e8, 10.0, components=(own(0.02),), of_reference=reference),
        ]
    )
    widths = {one.name: one.half_width for one in both.components}
    assert widths == pytest.approx(
        {
            "training, token rate: digits": 0.015,
            "inference, token rate: digits": 0.005,
            "reference bf16: digits": 0.01,
            "time base": 5e-4,
        }
    )
    assert {one.name: one.shared for one in both.components}["time base"] == "host clock"


def test_causes_of_unlike_shape_add_up_as_standard_uncertainties() -> None:
    normal = Component("digits", "B", "1", "known", standard_uncertainty=0.01, relative=True, dof=5)
    both = of_all_workloads(
        [
            part("training", 1000.0, 1e8, 10.0, of_reference=(own(0.01 * 3**0.5),)),
            part("inference", 1000.0, 1e8, 10.0, of_reference=(normal,)),
        ]
    )
    (component,) = both.components
    assert component.standard_uncertainty == pytest.approx(0.01)
    assert component.dof == 5


def test_a_part_that_is_not_valid_or_more_than_everything_makes_the_whole_a_fault_that_keeps_its_value() -> None:
    over = of_all_workloads([part("training", 9000.0, 3e8, 9.0), part("inference", 1000.0, 1e8, 1.0)])
    assert over.value == pytest.approx(0.9 * 270 + 0.1 * 10)
    assert over.validity.status is ValidityStatus.INVALID
    assert over.validity.reasons[0] == "that of training is not valid"
    assert over.validity.reasons[1].startswith("244 % is more than 100 %")
    none = of_all_workloads([part("training", 0.0, 3e8, 9.0), part("inference", 1000.0, 1e8, 1.0)])
    assert none.value is None
    assert none.validity.reasons == ("that of training is not valid",)
    short = of_all_workloads([part("training", 1.0, 3e8, 0.0), part("inference", 1000.0, 1e8, 1.0)])
    assert (short.value, bool(short.validity)) == (None, False)


def test_one_workload_twice_the_same_and_references_of_two_kinds_are_refused() -> None:
    training, inference = part("training", 1.0, 1e8, 1.0), part("inference", 1.0, 1e8, 1.0)
    for wrong in ([], [training], [training, training]):
        with pytest.raises(UsageError, match="not one of several"):
            of_all_workloads(wrong)
    with pytest.raises(UsageError, match="not one of several"):
        of_all_workloads([training, part("inference", 1.0, 1e8, 1.0, variant="nominal")])
    assert of_all_workloads([training, inference]).value == pytest.approx(100 * 1e8 / PEAK)
